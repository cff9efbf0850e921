//! The adapters that the tests know: Vulkan on lavapipe, OpenGL on llvmpipe, and whatever hardware
//! there is. Two drivers that disagree find bugs.
//!
//! An adapter that is missing shows as ignored tests. `GPU_MAKEMORE_REQUIRE=vulkan,gl` makes its
//! absence a failure: that is how `tests/run` and CI promise that the kernels were really run.

use std::process::ExitCode;
use std::sync::Arc;

use gpu_makemore::gpu::adapter::{Api, Found, enumerate};
use libtest_mimic::{Arguments, Failed, Trial};

/// What a test comes to.
pub type Outcome = Result<(), Failed>;

/// What is asked of every adapter: the name of a test, and the test.
pub type Check = (&'static str, fn(&Found) -> Outcome);

/// Runs `others`, which need no adapter, and the checks on each adapter.
pub fn run(checks: &[Check], others: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One at a time: a software driver uses every core by itself.
    arguments.test_threads.get_or_insert(1);
    let required = std::env::var("GPU_MAKEMORE_REQUIRE").unwrap_or_default();
    let mut trials = others;
    for (api, name) in [(Api::Vulkan, "vulkan"), (Api::Gl, "gl")] {
        let found = enumerate(api).into_iter().find(Found::is_software);
        let required = required.split(',').any(|r| r == name);
        let target = format!("{name}_software");
        add(&mut trials, checks, &target, found, true, required);
    }
    let hardware = enumerate(Api::Auto)
        .into_iter()
        .find(|f| !f.is_software() && f.computes());
    let required = required.contains("hardware");
    add(&mut trials, checks, "hardware", hardware, false, required);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The checks on one adapter; ignored, or failed if it was promised, where there is none.
fn add(
    trials: &mut Vec<Trial>,
    checks: &[Check],
    target: &str,
    found: Option<Found>,
    software: bool,
    required: bool,
) {
    let found = found.map(Arc::new);
    let missing = found.is_none();
    let for_name = found.clone();
    trials.push(
        Trial::test(format!("{target}::the_adapter_is_there"), move || {
            let found = for_name.ok_or("no such adapter was found; tests/run installs it")?;
            if found.is_software() != software {
                return Err(format!("{found} is not what was looked for").into());
            }
            // Said in the log, so that a green run tells what it ran on.
            eprintln!("running on {found}, driver {}", found.driver());
            Ok(())
        })
        .with_ignored_flag(missing && !required),
    );
    for &(name, check) in checks {
        let found = found.clone();
        trials.push(
            Trial::test(format!("{target}::{name}"), move || {
                check(found.as_deref().ok_or("no such adapter")?)
            })
            .with_ignored_flag(missing && !required),
        );
    }
}
