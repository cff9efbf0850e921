//! The adapters that the tests know: Vulkan on lavapipe, OpenGL on llvmpipe, and whatever hardware
//! there is. Two drivers that disagree find bugs.
//!
//! A test that does not run says why, and `tests/run` counts it. There are two reasons:
//!
//! * The adapter is missing. `GPU_MAKEMORE_REQUIRE=vulkan,gl` makes that a failure: this is how
//!   `tests/run` and CI promise that the kernels really ran.
//! * The test is long. `--include-ignored` runs it, as it does in the standard test harness, where
//!   long tests are `#[ignore = "long: …"]`; `tests/run --all` passes that option to every file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Seek};
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;

use gpu_makemore::backend::Api;
use gpu_makemore::cli::environment;
use gpu_makemore::gpu::adapter::{Found, enumerate};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use pollster::FutureExt as _;

/// The result of a test.
pub type Outcome = Result<(), Failed>;

/// The name of a test that runs on every adapter, and the test.
pub type Check = (&'static str, fn(&Found) -> Outcome);

/// What an [`OnEach`] runs.
type Test = dyn Fn(&Found) -> Result<Completion, Failed> + Send + Sync;

/// A test that runs on every adapter. Unlike a [`Check`] it can be long, or made while the program runs.
#[derive(Clone)]
pub struct OnEach {
    name: Cow<'static, str>,
    test: Arc<Test>,
    long: bool,
}

impl From<&Check> for OnEach {
    fn from(&(name, test): &Check) -> Self {
        Self::new(name, test)
    }
}

impl OnEach {
    /// `name` holds the operation that is tested (`embedding`, `linear`, `batchnorm`, `tanh`,
    /// `softmax_cross_entropy`, `sgd`) where there is one, so that `tests/run batchnorm` finds it.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        test: impl Fn(&Found) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self::ignorable(name, move |found| {
            test(found).map(|()| Completion::Completed)
        })
    }

    /// A test that may find out that it does not apply to this adapter.
    pub fn ignorable(
        name: impl Into<Cow<'static, str>>,
        test: impl Fn(&Found) -> Result<Completion, Failed> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            test: Arc::new(test),
            long: false,
        }
    }

    /// Leaves the test to `tests/run --all`.
    pub fn long(mut self) -> Self {
        self.long = true;
        self
    }
}

/// A test of one mistake, put into `file` under `shaders/` on purpose, that has to be noticed.
/// The name has the operation that the file is about.
pub fn mistake(
    file: &str,
    what: &str,
    test: impl Fn(&Found) -> Outcome + Send + Sync + 'static,
) -> OnEach {
    OnEach::new(mistake_name(file, what), test)
}

/// `mistake::batchnorm::n_for_n_1_in_the_variance`, from `staged/batchnorm.wgsl` and a description.
pub fn mistake_name(file: &str, what: &str) -> String {
    let operation = file.rsplit('/').next().unwrap_or(file);
    let operation = operation.trim_end_matches(".wgsl");
    let words = what.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("mistake::{operation}::{}", words.join("_"))
}

/// A test that needs no adapter and is left to `tests/run --all`.
pub fn long_test(
    name: impl Into<String>,
    test: impl FnOnce() -> Outcome + Send + 'static,
) -> Trial {
    let arguments = Arguments::from_args();
    let asked = asked_for_long_tests(&arguments);
    let trial = Trial::ignorable_test(name, move || match asked {
        true => test().map(|()| Completion::Completed),
        false => Ok(too_long()),
    });
    // With `--ignored`, the harness runs nothing but what has this flag.
    trial.with_ignored_flag(arguments.ignored)
}

fn asked_for_long_tests(arguments: &Arguments) -> bool {
    arguments.include_ignored || arguments.ignored
}

fn too_long() -> Completion {
    Completion::ignored_with("long: tests/run --all runs it")
}

/// Runs `others`, which need no adapter, and the checks on each adapter.
///
/// OpenGL has a process of its own beside that of all the rest. A software driver compiles kernels on
/// one core, so on two cores this halves the time. And two drivers at work in one process share more
/// than they should, see docs/drivers.md.
pub fn run<T: Into<OnEach>>(checks: impl IntoIterator<Item = T>, others: Vec<Trial>) -> ExitCode {
    // SAFETY: no thread has been started yet.
    unsafe { environment::silence_device_select() };
    let mut arguments = Arguments::from_args();
    // One at a time: a software driver runs kernels on every core by itself.
    arguments.test_threads.get_or_insert(1);
    let checks: Vec<OnEach> = checks.into_iter().map(T::into).collect();
    if std::env::var_os(OPENGL_ALONE).is_some() {
        let mut trials = Vec::new();
        software(Api::Gl, "gl").add(&mut trials, &checks, &arguments);
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let opengl = OpenGl::start();
    let mut trials = others;
    software(Api::Vulkan, "vulkan").add(&mut trials, &checks, &arguments);
    let hardware = Target {
        name: "hardware".to_owned(),
        found: enumerate(Api::Auto)
            .block_on()
            .into_iter()
            .find(|f| !f.is_software() && f.computes()),
        software: false,
        required: is_required("hardware"),
    };
    hardware.add(&mut trials, &checks, &arguments);
    let failed = libtest_mimic::run(&arguments, trials).has_failed();
    match opengl.and_then(OpenGl::finish) {
        Ok(true) if !failed => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(101),
        Err(error) => {
            eprintln!("the tests on OpenGL: {error}");
            ExitCode::from(101)
        }
    }
}

/// In the environment of the process that tests OpenGL and nothing else.
const OPENGL_ALONE: &str = "GPU_MAKEMORE_TEST_OPENGL_ALONE";

/// That process.
struct OpenGl {
    process: Child,
    /// Both of its streams, as it goes on beside the tests of this process.
    printed: File,
}

impl OpenGl {
    fn start() -> io::Result<Self> {
        let printed = tempfile::tempfile()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(std::env::args_os().skip(1))
            .env(OPENGL_ALONE, "1");
        command
            .stdout(printed.try_clone()?)
            .stderr(printed.try_clone()?);
        Ok(Self {
            process: command.spawn()?,
            printed,
        })
    }

    /// Waits for it, prints what it has printed, and says whether all of its tests passed.
    fn finish(mut self) -> io::Result<bool> {
        let status = self.process.wait()?;
        self.printed.rewind()?;
        io::copy(&mut self.printed, &mut io::stdout())?;
        if status.code().is_none() {
            eprintln!("the tests on OpenGL ended with {status}");
        }
        Ok(status.success())
    }
}

fn is_required(name: &str) -> bool {
    let required = std::env::var("GPU_MAKEMORE_REQUIRE").unwrap_or_default();
    required.split(',').any(|required| required == name)
}

/// The software adapter of an API.
fn software(api: Api, name: &str) -> Target {
    Target {
        name: format!("{name}_software"),
        found: enumerate(api)
            .block_on()
            .into_iter()
            .find(Found::is_software),
        software: true,
        required: is_required(name),
    }
}

/// An adapter that the tests look for.
struct Target {
    name: String,
    found: Option<Found>,
    software: bool,
    /// Its absence is a failure.
    required: bool,
}

impl Target {
    fn add(self, trials: &mut Vec<Trial>, checks: &[OnEach], arguments: &Arguments) {
        let Self {
            name: target,
            found,
            software,
            required,
        } = self;
        let found = found.map(Arc::new);
        let there = OnEach::new("the_adapter_is_there", move |found| {
            if found.is_software() != software {
                return Err(format!("{found} is not what was looked for").into());
            }
            // Said in the log, so that a green run tells what it ran on.
            eprintln!("running on {found}, driver {}", found.driver());
            Ok(())
        });
        let asked = asked_for_long_tests(arguments);
        for OnEach { name, test, long } in [&[there], checks].concat() {
            let (found, missing) = (found.clone(), format!("no adapter: {target}"));
            let trial = Trial::ignorable_test(format!("{target}::{name}"), move || match found {
                Some(_) if long && !asked => Ok(too_long()),
                Some(found) => test(&found),
                None if required => Err(format!("{missing}; tests/run installs it").into()),
                None => Ok(Completion::ignored_with(missing)),
            });
            trials.push(trial.with_ignored_flag(long && arguments.ignored));
        }
    }
}
