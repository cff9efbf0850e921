//! The layouts of a step, and the search among them: every one that a search tries is right, and what it chooses
//! is remembered, stands in the run's records, and gives the same bits again.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use common::adapters::{self, OnEach, Outcome};
use common::{gradients_of_one_step, inputs};
use gpu_makemore::backend::Schedule;
use gpu_makemore::cli::report::Summary;
use gpu_makemore::engine::tune::{Tune, candidates};
use gpu_makemore::engine::{How, open_with};
use gpu_makemore::gpu::adapter::{Found, api_name};
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::kernels::Kernels;
use gpu_makemore::gpu::shader::{Module, ProbeModules};
use gpu_makemore::gpu::tuning::{Cuts, Sharing, Tuning};
use gpu_makemore::model::dims::Dims;
use libtest_mimic::Failed;
use pollster::FutureExt as _;
use tempfile::TempDir;
use wgpu::ComputePipeline;

fn main() -> ExitCode {
    let checks = [
        OnEach::new("a_search_ends_with_a_layout_that_is_right", searches),
        OnEach::new("kernels_are_kept_while_layouts_are_tried", keeps_kernels),
        OnEach::new("what_a_search_chose_is_remembered", remembers),
        OnEach::new("a_layout_by_its_name_gives_the_same_bits", same_bits),
        OnEach::new("a_run_goes_on_with_its_layout", goes_on),
        // In these a driver compiles several layouts anew; OpenGL's takes three seconds for most.
        OnEach::new("gradcheck_checks_the_layout_that_train_takes", checks).long(),
        OnEach::new("every_layout_gives_the_gradients", every_layout).long(),
    ];
    adapters::run(checks, Vec::new())
}

/// Two tiles and a rest in every direction.
const DIMS: Dims = Dims {
    vocab: 27,
    block: 3,
    embd: 5,
    hidden: 36,
    batch: 20,
};

fn every_layout(found: &Found) -> Outcome {
    for schedule in [Schedule::Staged, Schedule::Resident] {
        let all = Tuning::candidates(found, &DIMS, schedule);
        assert!(all.len() > 8, "{all:?}");
        for tuning in all {
            let inputs = inputs(&DIMS, 7);
            let how = How {
                schedule,
                kernels: Kernels::default(),
                tune: Tune::Given(tuning),
            };
            let opened = open_with(found, DIMS, &inputs.params, how, &ProbeModules::new);
            let mut opened = opened.block_on()?;
            assert_eq!(opened.backend.tuning(), tuning);
            gradients_of_one_step(&mut opened.backend, &inputs, &tuning.to_string())?;
        }
    }
    Ok(())
}

/// The staged schedule, whose kernels compile faster. The parameters are those of the start again.
fn searches(found: &Found) -> Outcome {
    let inputs = inputs(&DIMS, 7);
    let how = How {
        schedule: Schedule::Staged,
        kernels: Kernels::default(),
        tune: Tune::Search {
            budget: Duration::from_secs(2),
            steps: u64::MAX,
        },
    };
    let opened = open_with(found, DIMS, &inputs.params, how, &ProbeModules::new);
    let mut opened = opened.block_on()?;
    let tuned = opened.tuned.take().ok_or("there was no search")?;
    let usual = Tuning::Staged(Cuts::usual(found, &DIMS, &[]));
    let all = candidates(found, &DIMS, Schedule::Staged, usual);
    if !tuned.wrong.is_empty() || tuned.candidates != all.len() || tuned.times.len() < 2 {
        return Err(format!("{tuned:?}").into());
    }
    assert_eq!(tuned.times[0].0, all[0]);
    assert_eq!(opened.backend.tuning(), tuned.chosen);
    gradients_of_one_step(&mut opened.backend, &inputs, &tuned.chosen.to_string())
}

/// Only while it is asked for: a pipeline takes memory.
fn keeps_kernels(found: &Found) -> Outcome {
    let gpu = Gpu::open(found).block_on()?;
    let modules = Kernels::default().staged(Sharing::Alone);
    let compile = |adders: f64| -> Result<ComputePipeline, Failed> {
        let is_batchnorm = |module: &&Module| module.source.name() == "staged/batchnorm.wgsl";
        let module = modules.iter().find(is_batchnorm).ok_or("no batch norm")?;
        let shader = gpu.modules([module]).block_on()?.swap_remove(0);
        let entry = "batchnorm_tanh_forward_kernel";
        Ok(gpu.pipeline(&shader, entry, &[("INVOCATIONS", adders)]))
    };
    for keep in [true, false] {
        gpu.keep_compiled(keep);
        assert_eq!(compile(64.0)? == compile(64.0)?, keep);
        assert_ne!(compile(64.0)?, compile(128.0)?);
    }
    Ok(gpu.check()?)
}

/// A folder with some words, and one for what is remembered.
struct Place(TempDir);

/// What a run left.
struct Run {
    said: String,
    tuning: String,
    model: Vec<u8>,
}

impl Place {
    fn new() -> Result<Self, Failed> {
        let place = Self(tempfile::tempdir()?);
        let words: Vec<&str> = (include_str!("../data/names.txt").lines())
            .step_by(100)
            .collect();
        fs::write(place.path("words.txt"), words.join("\n"))?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"));
        command.current_dir(self.0.path()).args(args);
        for cache in ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"] {
            command.env(cache, self.path("cache"));
        }
        command.env_remove("GPU_MAKEMORE_TUNE");
        command
    }

    fn output(&self, args: &[&str]) -> Result<String, Failed> {
        let output = self.command(args).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(format!("{args:?}: {text}").into()),
        }
    }

    /// Trains on an adapter by the staged schedule, unless `args` say otherwise.
    fn train(&self, found: &Found, out: &str, args: &[&str]) -> Result<Run, Failed> {
        let api = api_name(found.info.backend);
        let common = ["train", "--backend", api, "--adapter", &found.info.name];
        let data = ["--data", "words.txt", "--out", out];
        let said = self.output(&[&common[..], &data, args].concat())?;
        self.run(out, said)
    }

    fn run(&self, out: &str, said: String) -> Result<Run, Failed> {
        let summary = Summary::load(&self.path(out).join("summary.json"))?;
        Ok(Run {
            said,
            tuning: summary.tuning.ok_or("no tuning in summary.json")?,
            model: fs::read(self.path(out).join("model.safetensors"))?,
        })
    }
}

fn holds(text: &str, what: &str) -> Outcome {
    match text.contains(what) {
        true => Ok(()),
        false => Err(format!("{what:?} is not in: {text}").into()),
    }
}

fn remembers(found: &Found) -> Outcome {
    let place = Place::new()?;
    // So short that it pays for no search, even where other work makes a step take ten times as long.
    let short = ["--steps", "10", "--schedule", "staged"];
    let again = [&short[..], &["--tune", "again", "--tune-budget", "1"]].concat();
    let nothing = place.output(&["adapters", "--tuning"])?;
    holds(&nothing, "No layout was measured on this machine yet")?;
    let first = place.train(found, "first", &again)?;
    holds(&first.said, "schedule    staged; measured: ")?;
    holds(&first.said, &format!("tuning      {}\n", first.tuning))?;
    // For the next run of this size, whatever it has of steps.
    let second = place.train(found, "second", &short)?;
    holds(&second.said, "schedule    staged; measured before: ")?;
    assert_eq!(
        (&first.tuning, &first.model),
        (&second.tuning, &second.model)
    );
    let table = place.output(&["adapters", "--tuning"])?;
    holds(&table, &first.tuning)?;
    // Not for another size, and such a short run does not search.
    let other = [&short[..], &["--n-hidden", "40"]].concat();
    let other = place.train(found, "other", &other)?;
    holds(&other.said, "schedule    staged; as asked for")?;
    // Nor is it asked where it is not wanted.
    let off = [&short[..], &["--tune", "off"]].concat();
    holds(
        &place.train(found, "off", &off)?.said,
        "schedule    staged; as asked for",
    )?;
    // A damaged file is told, and no more than that.
    let folder = place.path("cache/gpu-makemore/tunings");
    let folder = if folder.exists() {
        folder
    } else {
        return Ok(());
    }; // elsewhere, on other systems
    let files: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
    assert_eq!(files.len(), 1, "{files:?}");
    fs::write(files[0].path(), "{")?;
    let damaged = place.train(found, "damaged", &short)?;
    holds(&damaged.said, "is ignored: it cannot be read")?;
    holds(&damaged.said, "schedule    staged; as asked for")?;
    holds(
        &place.output(&["adapters", "--tuning"])?,
        "is ignored: it cannot be read",
    )
}

fn checks(found: &Found) -> Outcome {
    let place = Place::new()?;
    let api = api_name(found.info.backend);
    let on = ["--backend", api, "--adapter", &found.info.name];
    let check = |args: &[&str]| place.output(&[&["gradcheck"][..], &on, args].concat());
    // At the sizes that the check has by itself.
    let sizes = ["--n-hidden", "64", "--steps", "20", "--out", "run"];
    let measured = ["--schedule", "staged", "--tune", "again"];
    let said = place.output(&[&["train"][..], &on, &sizes, &measured].concat())?;
    let run = place.run("run", said)?;
    let staged = check(&["--schedule", "staged"])?;
    holds(
        &staged,
        &format!("tuning    {}; measured before: ", run.tuning),
    )?;
    // The schedule was given then, so it says nothing of the choice between the two.
    holds(&check(&["--schedule", "auto"])?, "; the usual one\n")?;
    let name = "staged:invocations=16384";
    let asked = format!("tuning    {name}; as asked for\n");
    let given = check(&["--schedule", "auto", "--tuning", name])?;
    holds(&given, &asked)?;
    holds(&given, "staged    the training step")?;
    for (wrong, why) in [
        (
            &["--schedule", "resident", "--tuning", name][..],
            "cannot be combined with --schedule resident",
        ),
        (
            &["--backend", "cpu", "--tuning", name],
            "is about GPUs, and this run is on the CPU",
        ),
    ] {
        let on = if wrong.contains(&"cpu") { &[] } else { &on[..] };
        let args = [&["gradcheck"][..], on, wrong].concat();
        let output = place.command(&args).output()?;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        holds(&String::from_utf8_lossy(&output.stderr), why)?;
    }
    // Who wants nothing of what is remembered gets the usual layouts.
    let mut off = place.command(&[&["gradcheck"][..], &on, &["--schedule", "staged"]].concat());
    let off = off.env("GPU_MAKEMORE_TUNE", "off").output()?;
    let text = String::from_utf8_lossy(&off.stdout);
    holds(&text, "; the usual one\n")?;
    match text.contains("measured before") {
        false => Ok(()),
        true => Err(text.into_owned().into()),
    }
}

fn same_bits(found: &Found) -> Outcome {
    let place = Place::new()?;
    let short = |name| ["--steps", "60", "--tuning", name];
    let name = "staged:invocations=16384";
    let first = place.train(found, "first", &short(name))?;
    holds(&first.said, "schedule    staged; as asked for")?;
    assert_eq!(first.tuning, name);
    let again = place.train(found, "again", &short(name))?;
    assert!(
        first.model == again.model,
        "the same layout gave other bits"
    );
    // Whole sums are added in another order.
    let whole = place.train(found, "whole", &short("staged:invocations=1"))?;
    assert!(
        first.model != whole.model,
        "another layout gave the same bits"
    );
    // But not if rows are handed out by other invocations.
    let shared = place.train(found, "shared", &short("staged:invocations=1,lanes=64"))?;
    assert!(shared.model == whole.model, "handing rows out changed bits");
    let off = ["--steps", "60", "--schedule", "staged", "--tune", "off"];
    let usual = place.train(found, "usual", &off)?;
    if found.is_software() {
        assert!(
            usual.model == whole.model,
            "the usual layout has other bits than whole sums"
        );
    }
    let wrong = place
        .command(&["train", "--backend", "cpu", "--tuning", name])
        .output()?;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    Ok(())
}

fn goes_on(found: &Found) -> Outcome {
    let place = Place::new()?;
    let name = "staged:invocations=16384";
    let rates = ["--lr-decay-at", "30", "--tuning", name];
    let whole = place.train(found, "whole", &[&["--steps", "60"][..], &rates].concat())?;
    place.train(found, "half", &[&["--steps", "40"][..], &rates].concat())?;
    let said = place.output(&["train", "--resume", "half", "--steps", "60"])?;
    holds(&said, "as the run was begun")?;
    let half = place.run("half", said)?;
    assert_eq!(half.tuning, name);
    assert!(
        half.model == whole.model,
        "a run that went on has other bits"
    );
    // Another one can be asked for, and that is told.
    let other = ["--steps", "80", "--tuning", "staged:invocations=1"];
    let said = place.output(&[&["train", "--resume", "half"][..], &other].concat())?;
    holds(
        &said,
        &format!("the tuning was {name} and is staged:invocations=1"),
    )
}
