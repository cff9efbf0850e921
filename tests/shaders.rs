//! Kernels from files, as their user meets them: written by `shaders`, changed, and used by `--shaders`, on every
//! adapter that the tests know.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use common::adapters::{self, Check, OnEach, Outcome};
use common::{Inputs, bits, inputs};
use gpu_makemore::backend::{Backend, Schedule};
use gpu_makemore::engine::recovery::Reopen;
use gpu_makemore::engine::tune::Tune;
use gpu_makemore::engine::{How, Opener, open_with};
use gpu_makemore::gpu::adapter::{Found, api_name};
use gpu_makemore::gpu::kernels::Kernels;
use gpu_makemore::gpu::shader::ProbeModules;
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::steps::Steps;
use libtest_mimic::{Failed, Trial};
use pollster::FutureExt as _;
use serde_json::Value;
use tempfile::TempDir;

/// What is asked of every adapter.
const CHECKS: [Check; 6] = [
    (
        "unchanged_copies_change_no_bit_and_a_changed_tanh_does",
        trains,
    ),
    ("gradcheck_finds_a_mistake_in_a_file_tanh", checks),
    (
        "a_mistake_is_told_with_its_place_before_anything_is_made",
        mistakes,
    ),
    ("only_the_kernels_in_use_have_to_be_right", in_use),
    ("what_is_no_kernel_is_refused", refused),
    ("a_run_goes_on_with_its_own_kernels_alone", goes_on),
];

fn main() -> ExitCode {
    type Test = (&'static str, fn() -> Outcome);
    let others: [Test; 3] = [
        ("shaders_writes_what_is_not_there_and_nothing_else", written),
        ("shaders_cannot_write_everywhere", not_written),
        ("no_kernel_runs_on_the_cpu", on_the_cpu),
    ];
    let others = others.map(|(name, test)| Trial::test(name, test));
    // In these a driver compiles several changed kernels, which none of its caches has.
    let reopened = OnEach::new(
        "a_device_that_is_opened_again_has_the_same_kernels",
        opened_again,
    );
    let long = [reopened, OnEach::new("a_sweep_takes_them", sweeps)].map(OnEach::long);
    adapters::run(CHECKS.iter().map(OnEach::from).chain(long), others.into())
}

// -------------------------------------------------------------------------------------- helpers

/// A mistake of the lecture's: the derivative of tanh without its square.
const RIGHT: &str = "(1.0 - h * h)";
const WRONG: &str = "(1.0 - h)";

/// Sizes that compile and run quickly.
const SMALL: [&str; 6] = ["--n-hidden", "8", "--n-embd", "2", "--batch-size", "4"];

/// A folder with words.
struct Place(TempDir);

/// What a command printed.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Result<Self, Failed> {
        let place = Self(tempfile::tempdir()?);
        let words: Vec<&str> = include_str!("../data/names.txt")
            .lines()
            .step_by(200)
            .collect();
        fs::write(place.path("words.txt"), words.join("\n"))?;
        Ok(place)
    }

    /// With the files of the kernels in the folder `k`.
    fn with_kernels() -> Result<Self, Failed> {
        let place = Self::new()?;
        place.run(&["shaders", "k"])?.succeeded()?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces a text that a file has once.
    fn edit(&self, file: &str, from: &str, to: &str) -> Outcome {
        let text = fs::read_to_string(self.path(file))?;
        if text.matches(from).count() != 1 {
            return Err(format!("{from:?} is not in {file} once").into());
        }
        Ok(fs::write(self.path(file), text.replace(from, to))?)
    }

    fn run(&self, args: &[&str]) -> Result<Ran, Failed> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"));
        command.env("GPU_MAKEMORE_TUNE", "off");
        let output = command.args(args).current_dir(self.0.path()).output()?;
        Ok(Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs `command` on an adapter, with small sizes, few words and more options.
    fn on(&self, found: &Found, command: &str, more: &[&str]) -> Result<Ran, Failed> {
        let api = api_name(found.info.backend);
        let adapter = format!("name:{}", found.info.name);
        let device = ["--backend", api, "--adapter", &adapter];
        let words: &[&str] = match command {
            "gradcheck" => &[],
            _ => &["--data", "words.txt"],
        };
        // A run that goes on knows its options.
        let sizes: &[&str] = if more.contains(&"--resume") {
            &[]
        } else {
            &SMALL
        };
        self.run(&[&[command], &device[..], sizes, words, more].concat())
    }

    fn train(&self, found: &Found, out: &str, more: &[&str]) -> Result<Ran, Failed> {
        let options = ["--out", out, "--steps", "4", "--log-every", "1"];
        self.on(found, "train", &[&options, more].concat())
    }

    /// The loss of each step of a run.
    fn losses(&self, run: &str) -> Result<Vec<f64>, Failed> {
        let text = fs::read_to_string(self.path(run).join("metrics.jsonl"))?;
        let rows: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        Ok(rows?
            .iter()
            .filter_map(|row| row["loss"].as_f64())
            .collect())
    }

    fn json(&self, file: &str) -> Result<Value, Failed> {
        Ok(serde_json::from_slice(&fs::read(self.path(file))?)?)
    }
}

impl Ran {
    fn succeeded(self) -> Result<Self, Failed> {
        match self.code {
            Some(0) => Ok(self),
            code => Err(format!("{code:?}: {}", self.stderr).into()),
        }
    }

    /// The error, which has these parts.
    fn failed(&self, code: i32, parts: &[&str]) -> Result<&str, Failed> {
        let told = parts.iter().all(|part| self.stderr.contains(part));
        match self.code == Some(code) && self.stderr.starts_with("error: ") && told {
            true => Ok(&self.stderr),
            false => Err(format!(
                "{:?}, expected {code} and {parts:?}: {}",
                self.code, self.stderr
            )
            .into()),
        }
    }

    fn prints(&self, part: &str) -> Outcome {
        match self.stdout.contains(part) {
            true => Ok(()),
            false => Err(format!("no {part:?} in {}", self.stdout).into()),
        }
    }
}

fn expect(what: &str, holds: bool) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(what.into()),
    }
}

// ---------------------------------------------------------------------------- without an adapter

fn written() -> Outcome {
    let place = Place::new()?;
    let first = place.run(&["shaders", "a/k"])?.succeeded()?;
    let count = Kernels::default().files().len();
    first.prints(&format!(
        "{count} files in a/k, {count} of them written now"
    ))?;
    first.prints("gpu-makemore train --shaders a/k")?;
    for part in Kernels::default().files() {
        let text = fs::read_to_string(place.path("a/k").join(part.file))?;
        expect(part.file, text == part.text)?;
    }
    let again = place.run(&["shaders", "a/k"])?.succeeded()?;
    again.prints(&format!("{count} files in a/k, 0 of them written now"))?;
    place.edit("a/k/tanh.wgsl", RIGHT, WRONG)?;
    fs::remove_file(place.path("a/k/sgd.wgsl"))?;
    let refused = place.run(&["shaders", "a/k"])?;
    refused.failed(1, &["a/k/tanh.wgsl", "differs", "nothing was written"])?;
    expect("written", !place.path("a/k/sgd.wgsl").exists())?;
    let text = fs::read_to_string(place.path("a/k/tanh.wgsl"))?;
    expect("overwritten", text.contains(WRONG))
}

fn not_written() -> Outcome {
    let place = Place::new()?;
    let file = place.run(&["shaders", "words.txt"])?;
    file.failed(1, &["words.txt is not a folder"])?;
    place.run(&["shaders"])?.failed(2, &["<DIR>"])?;
    #[cfg(target_os = "linux")]
    place
        .run(&["shaders", "/proc/none"])?
        .failed(1, &["cannot create the folder /proc/none"])?;
    Ok(())
}

fn on_the_cpu() -> Outcome {
    let place = Place::with_kernels()?;
    for command in ["train", "gradcheck", "sweep"] {
        let more: &[&str] = if command == "sweep" {
            &["--seeds", "2"]
        } else {
            &[]
        };
        let args = [&[command, "--backend", "cpu", "--shaders", "k"], more].concat();
        let parts = ["--shaders", "none runs on the CPU", "give --backend vulkan"];
        place.run(&args)?.failed(2, &parts)?;
    }
    expect("a folder was made", !place.path("runs").exists())
}

// -------------------------------------------------------------------------------- on each adapter

fn trains(found: &Found) -> Outcome {
    let place = Place::with_kernels()?;
    for schedule in ["staged", "resident"] {
        let asked = ["--schedule", schedule];
        let with = [&asked[..], &["--shaders", "k"]].concat();
        let name = |what: &str| format!("{schedule}-{what}");
        let (own, copied, changed) = (name("own"), name("copied"), name("changed"));
        place.train(found, &own, &asked)?.succeeded()?;
        let ran = place.train(found, &copied, &with)?.succeeded()?;
        ran.prints("shaders     k: no file differs from the program's own\n")?;
        for file in ["model.safetensors", "metrics.jsonl"] {
            let [a, b] = [&own, &copied].map(|run| fs::read(place.path(run).join(file)));
            expect(&format!("{file} of {schedule} is another"), a? == b?)?;
        }
        let summary = place.json(&format!("{copied}/summary.json"))?;
        expect("no kernel was changed", summary.get("shaders").is_none())?;

        place.edit("k/tanh.wgsl", RIGHT, WRONG)?;
        let ran = place.train(found, &changed, &with)?.succeeded()?;
        ran.prints("shaders     k: tanh.wgsl differs\n")?;
        place.edit("k/tanh.wgsl", WRONG, RIGHT)?;
        let (right, wrong) = (place.losses(&own)?, place.losses(&changed)?);
        // The backward pass of the first step is the first thing that is wrong.
        expect("the first forward pass is another", right[0] == wrong[0])?;
        let differ = right.iter().zip(&wrong).skip(1).all(|(a, b)| a != b);
        expect(
            &format!("{schedule}: {right:?} {wrong:?}"),
            differ && right.len() == 4,
        )?;
        let summary = place.json(&format!("{changed}/summary.json"))?;
        expect("the summary", summary["shaders"]["files"][0] == "tanh.wgsl")?;
    }
    Ok(())
}

fn checks(found: &Found) -> Outcome {
    let place = Place::with_kernels()?;
    let options = ["--shaders", "k", "--schedule", "staged"];
    let ran = place.on(found, "gradcheck", &options)?.succeeded()?;
    ran.prints("shaders   k: no file differs")?;
    place.edit("k/tanh.wgsl", RIGHT, WRONG)?;
    for schedule in ["staged", "all"] {
        let ran = place.on(
            found,
            "gradcheck",
            &["--shaders", "k", "--schedule", schedule],
        )?;
        ran.failed(1, &["the first is hpreact"])?;
        ran.prints("shaders   k: tanh.wgsl differs\n")?;
    }
    let ran = place.on(found, "gradcheck", &["--shaders", "k", "--exercise", "1"])?;
    ran.failed(1, &["the first is hpreact"])?;
    let ran = place.on(
        found,
        "gradcheck",
        &["--shaders", "k", "--json", "--schedule", "resident"],
    )?;
    ran.failed(1, &["differ"])?;
    let json: Value = serde_json::from_str(&ran.stdout)?;
    expect("the JSON", json["shaders"][0] == "tanh.wgsl")?;
    // The extra kernels are made of other files.
    let extras = ["--shaders", "k", "--exercise", "extras"];
    place.on(found, "gradcheck", &extras)?.succeeded()?;
    let from = "dx[i] = sum;";
    let file = "k/extras/repeat_kv.wgsl";
    place.edit(file, from, "dx[i] = 2.0 * sum;")?;
    place
        .on(found, "gradcheck", &extras)?
        .failed(1, &["differ"])
        .map(|_| ())
}

/// The error of a mistake: place, words, line and caret.
fn drawn(ran: &Ran, begins: &str, line: &str, at: &str) -> Outcome {
    let lines: Vec<&str> = ran.failed(1, &[begins])?.lines().collect();
    let [message, excerpt, caret] = lines[..] else {
        return Err(format!("not three lines: {}", ran.stderr).into());
    };
    let fits = message.starts_with(&format!("error: {begins}"))
        && excerpt.trim() == line
        && excerpt.find(at) == caret.find('^')
        && caret.trim() == "^";
    expect(&format!("{line:?}, {at:?}: {}", ran.stderr), fits)
}

fn mistakes(found: &Found) -> Outcome {
    let place = Place::with_kernels()?;
    let line_of = |file: &str, part: &str| -> Result<usize, Failed> {
        let text = fs::read_to_string(place.path(file))?;
        let line = text.lines().position(|line| line.contains(part));
        Ok(1 + line.ok_or("the line is not there")?)
    };
    let train = |more: &[&str]| place.train(found, "out", &[&["--shaders", "k"], more].concat());

    // A letter that is not there, in every command.
    place.edit("k/tanh.wgsl", RIGHT, "(1.0 - g * h)")?;
    let text = fs::read_to_string(place.path("k/tanh.wgsl"))?;
    let line = text
        .lines()
        .find(|line| line.contains("g * h"))
        .unwrap_or_default()
        .trim();
    let begins = format!("k/tanh.wgsl:{}:19: ", line_of("k/tanh.wgsl", "g * h")?);
    for schedule in ["auto", "staged", "resident"] {
        drawn(&train(&["--schedule", schedule])?, &begins, line, "g * h")?;
    }
    let ran = place.on(found, "gradcheck", &["--shaders", "k"])?;
    drawn(&ran, &begins, line, "g * h")?;
    expect("it printed", ran.stdout.is_empty())?;
    let sweep = [
        "--shaders",
        "k",
        "--seeds",
        "2",
        "--steps",
        "2",
        "--out",
        "out",
    ];
    drawn(&place.on(found, "sweep", &sweep)?, &begins, line, "g * h")?;
    place.edit("k/tanh.wgsl", "(1.0 - g * h)", RIGHT)?;

    // No WGSL at all.
    place.edit("k/sgd.wgsl", "fn sgd_update(", "fun sgd_update(")?;
    let begins = format!(
        "k/sgd.wgsl:{}:1: ",
        line_of("k/sgd.wgsl", "fun sgd_update(")?
    );
    train(&["--schedule", "staged"])?.failed(1, &[&begins, "\n  fun sgd_update(", "\n  ^\n"])?;
    place.edit("k/sgd.wgsl", "fun sgd_update(", "fn sgd_update(")?;

    // A function that another file uses, which is there or is the program's own.
    place.edit("k/tanh.wgsl", "fn tanh_backward(", "fn tanh_back(")?;
    let begins = format!(
        "error: k/staged/tiles.wgsl:{}:",
        line_of("k/staged/tiles.wgsl", "tanh_backward(")?
    );
    train(&["--schedule", "staged"])?.failed(1, &[&begins, "tanh_backward", "^"])?;
    fs::remove_file(place.path("k/staged/tiles.wgsl"))?;
    let begins = begins.replace(
        "k/staged/tiles.wgsl",
        "staged/tiles.wgsl (the program's own)",
    );
    train(&["--schedule", "staged"])?.failed(1, &[&begins, "tanh_backward", "^"])?;
    place.edit("k/tanh.wgsl", "fn tanh_back(", "fn tanh_backward(")?;

    // A function and a variable that the program asks for by name.
    place.edit("k/staged/sgd.wgsl", "fn sgd_kernel(", "fn sgd_kernels(")?;
    let says = ["k/staged/sgd.wgsl:1:1: no function is named 'sgd_kernel'"];
    train(&["--schedule", "staged"])?.failed(1, &says)?;
    expect("a folder was made", !place.path("out").exists())
}

fn in_use(found: &Found) -> Outcome {
    let place = Place::with_kernels()?;
    // The staged schedule does not need it; and the resident one needs the staged kernels to evaluate.
    let forms = ["k/resident/workgroup.wgsl", "k/resident/subgroup.wgsl"];
    for form in forms {
        place.edit(form, "fn train_kernel(", "fn trains(")?;
    }
    let (staged, resident) = (
        ["--shaders", "k", "--schedule", "staged"],
        ["--shaders", "k", "--schedule", "resident"],
    );
    place.train(found, "staged", &staged)?.succeeded()?;
    place.on(found, "gradcheck", &staged)?.succeeded()?;
    for command in ["train", "gradcheck"] {
        let ran = place.on(found, command, &resident)?;
        ran.failed(
            1,
            &[
                "error: k/resident/",
                "group.wgsl:1:1: no function is named 'train_kernel'",
            ],
        )?;
    }
    for form in forms {
        place.edit(form, "fn trains(", "fn train_kernel(")?;
    }
    place.edit(
        "k/staged/batchnorm.wgsl",
        "fn batchnorm_tanh_inference_kernel(",
        "fn inference(",
    )?;
    let ran = place.train(found, "resident", &resident)?;
    ran.failed(
        1,
        &[
            "k/staged/batchnorm.wgsl:1:1: ",
            "batchnorm_tanh_inference_kernel",
        ],
    )?;
    expect("a folder was made", !place.path("resident").exists())
}

fn refused(found: &Found) -> Outcome {
    let place = Place::with_kernels()?;
    let train = || place.train(found, "out", &["--shaders", "k"]);
    fs::rename(place.path("k/tanh.wgsl"), place.path("k/tanh.wgs"))?;
    train()?.failed(
        1,
        &[
            "k/tanh.wgs is no file of the kernels",
            "nearest name is tanh.wgsl",
        ],
    )?;
    fs::remove_file(place.path("k/tanh.wgs"))?;
    fs::write(place.path("k/staged/sgd.wgsl"), b"// \xff")?;
    train()?.failed(1, &["k/staged/sgd.wgsl is not UTF-8 in line 1"])?;
    fs::write(place.path("k/staged/sgd.wgsl"), "\n")?;
    train()?.failed(1, &["k/staged/sgd.wgsl is empty"])?;
    fs::remove_file(place.path("k/staged/sgd.wgsl"))?;
    expect("a folder was made", !place.path("out").exists())?;
    // What is not there is the program's own.
    train()?
        .succeeded()?
        .prints("shaders     k: no file differs")?;
    let ran = place.train(found, "out2", &["--shaders", "none"])?;
    ran.failed(
        1,
        &[
            "--shaders none: there is no such folder",
            "gpu-makemore shaders none",
        ],
    )?;
    let ran = place.train(found, "out2", &["--shaders", "words.txt"])?;
    ran.failed(1, &["words.txt is not a folder"]).map(|_| ())
}

fn sweeps(found: &Found) -> Outcome {
    let place = Place::with_kernels()?;
    place.edit("k/tanh.wgsl", RIGHT, WRONG)?;
    for schedule in ["staged", "resident"] {
        let asked = ["--schedule", schedule, "--steps", "4"];
        let with = ["--shaders", "k"];
        let sweep = |out: &str, more: &[&str]| {
            place.on(
                found,
                "sweep",
                &[&asked[..], &["--seeds", "2", "--out", out], more].concat(),
            )
        };
        let out = format!("{schedule}-sweep");
        let ran = sweep(&out, &with)?.succeeded()?;
        ran.prints("shaders     k: tanh.wgsl differs\n")?;
        let manifest = place.json(&format!("{out}/sweep.json"))?;
        expect("sweep.json", manifest["shaders"]["files"][0] == "tanh.wgsl")?;
        // Each is what `train` makes of these kernels, and not of the program's own.
        let text = fs::read_to_string(place.path(&out).join("results.jsonl"))?;
        let first: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        let first = first?.into_iter().find(|row| row["options"]["seed"] == 1);
        let swept = first.ok_or("no seed 1")?["val_loss"].as_f64();
        for (more, same) in [(&with[..], true), (&[], false)] {
            let run = format!("{schedule}-{same}");
            let options = [&asked[..2], &["--seed", "1"], more].concat();
            place.train(found, &run, &options)?.succeeded()?;
            let trained = place.json(&format!("{run}/summary.json"))?["val_loss"].as_f64();
            expect(
                &format!("{schedule}: {swept:?} {trained:?}"),
                (swept == trained) == same,
            )?;
        }
        let parts = [
            "holds another sweep: --shaders is another tanh.wgsl (SHA-256 ",
            "and not given now",
        ];
        sweep(&out, &[])?.failed(1, &parts)?;
        sweep(&out, &with)?
            .succeeded()?
            .prints("done        2 before, 0 to do")?;
    }
    Ok(())
}

fn goes_on(found: &Found) -> Outcome {
    let place = Place::with_kernels()?;
    place.edit("k/tanh.wgsl", RIGHT, WRONG)?;
    let options = ["--lr-decay-at", "3", "--checkpoint-every", "2"];
    let with = [&options[..], &["--shaders", "k"]].concat();
    let whole = [
        &with[..],
        &["--out", "whole", "--steps", "8", "--log-every", "1"],
    ]
    .concat();
    place.on(found, "train", &whole)?.succeeded()?;
    place.train(found, "part", &with)?.succeeded()?;
    let go_on = |more: &[&str]| {
        place.on(
            found,
            "train",
            &[&["--resume", "part", "--steps", "8"], more].concat(),
        )
    };
    let begun = "was begun with kernels of --shaders (another tanh.wgsl; SHA-256 ";
    go_on(&[])?.failed(
        1,
        &[
            begun,
            "go on with the program's own kernels",
            "give --shaders",
        ],
    )?;
    place.edit("k/sgd.wgsl", "fn sgd_update(", "// more\nfn sgd_update(")?;
    go_on(&["--shaders", "k"])?.failed(1, &[begun, "(another sgd.wgsl, tanh.wgsl; SHA-256 "])?;
    place.edit("k/sgd.wgsl", "// more\nfn sgd_update(", "fn sgd_update(")?;
    // From any folder with the same files.
    fs::rename(place.path("k"), place.path("moved"))?;
    go_on(&["--shaders", "moved"])?
        .succeeded()?
        .prints("shaders     moved: tanh.wgsl differs\n")?;
    for file in ["model.safetensors", "metrics.jsonl"] {
        let [a, b] = ["whole", "part"].map(|run| fs::read(place.path(run).join(file)));
        expect(&format!("{file} is another"), a? == b?)?;
    }
    // A run with the program's own kernels has no others later on; copies of them are the same.
    place.train(found, "own", &options)?.succeeded()?;
    let resume = ["--resume", "own", "--steps", "6", "--shaders", "moved"];
    let parts = [
        "was begun with the program's own kernels",
        "leave --shaders out",
    ];
    place.on(found, "train", &resume)?.failed(1, &parts)?;
    place.edit("moved/tanh.wgsl", WRONG, RIGHT)?;
    place.on(found, "train", &resume)?.succeeded().map(|_| ())
}

fn opened_again(found: &Found) -> Outcome {
    let dims = Dims {
        hidden: 8,
        batch: 4,
        ..Dims::LECTURE
    };
    let Inputs { params, x, y } = inputs(&dims, 3);
    let steps = Steps {
        first: 0,
        x,
        y,
        lr: vec![0.1],
    };
    let wrong = Kernels::default().replaced("tanh.wgsl", RIGHT, WRONG);
    let wrong = wrong.ok_or("tanh.wgsl is another")?;
    for schedule in [Schedule::Staged, Schedule::Resident] {
        let mut after = Vec::new();
        for kernels in [&wrong, &Kernels::default()] {
            let how = How {
                tune: Tune::Fixed,
                schedule,
                kernels: kernels.clone(),
            };
            let opened = open_with(found, dims, &params, how.clone(), &ProbeModules::new);
            let again = Opener::new(found, dims, how).reopen(&params).block_on()?;
            for mut backend in [opened.block_on()?.backend, again] {
                backend.train(&steps, &mut Vec::new()).block_on()?;
                after.push(bits(&backend.params().block_on()?));
            }
        }
        let [first, again, own, own_again] = &after[..] else {
            return Err("four models were trained".into());
        };
        expect(
            "the kernels do not come back",
            first == again && own == own_again,
        )?;
        expect("the kernels are not used", first != own)?;
    }
    Ok(())
}
