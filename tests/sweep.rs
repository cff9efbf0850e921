//! Sweeps, as their user meets them, on the CPU and on every adapter that the tests know.
//!
//! Everything runs in a temporary folder with tiny models.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use common::adapters::{self, Check, OnEach, Outcome};
use gpu_makemore::backend::DeviceError;
use gpu_makemore::cores::cores;
use gpu_makemore::gpu::adapter::{Found, api_name};
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::kernels::Kernels;
use gpu_makemore::gpu::resident::Resident;
use gpu_makemore::gpu::tuning::WorkSplit;
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::params::Params;
use gpu_makemore::rng::TorchGenerator;
use libtest_mimic::{Failed, Trial};
use pollster::FutureExt as _;
use serde_json::Value;
use tempfile::TempDir;

/// What is asked of every adapter.
const CHECKS: [Check; 2] = [
    (
        "a_width_beyond_the_adapter_is_cut_to_what_it_holds",
        wider_than_the_adapter,
    ),
    ("a_step_too_long_for_the_driver_runs_staged", falls_back),
];

fn main() -> ExitCode {
    type Test = (&'static str, fn() -> Outcome);
    let others: [Test; 13] = [
        ("cpu::each_member_is_what_train_makes", || {
            members_equal_train(&["--backend", "cpu"], None)
        }),
        ("a_sweep_goes_on_where_it_stopped", goes_on),
        ("a_sweep_takes_more_points", more_points),
        ("three_shards_are_the_whole", shards),
        ("a_report_names_what_is_missing_or_doubled", gaps),
        ("a_diverged_model_harms_no_other", divergence),
        ("the_best_models_are_kept", keeps),
        ("draws_are_repeated", draws),
        (
            "each_option_is_compared_with_the_others_held_fixed",
            compares,
        ),
        ("seeds_beyond_the_floats_are_told_apart", large_seeds),
        ("without_threads_the_models_follow_each_other", no_threads),
        ("an_interrupted_sweep_says_how_to_continue", interrupted),
        ("what_makes_no_sense_is_refused", refusals),
    ];
    let others = others
        .into_iter()
        .map(|(name, test)| Trial::test(name, test))
        .collect();
    let wide = OnEach::new(
        "a_width_beyond_the_cores_changes_no_model",
        wider_than_the_cores,
    );
    let members = OnEach::new("each_member_is_what_train_makes", |found| {
        let api = api_name(found.info.backend);
        members_equal_train(&["--backend", api], Some(found))
    });
    let checks = CHECKS.iter().map(OnEach::from);
    adapters::run(checks.chain([wide, members].map(OnEach::long)), others)
}

// -------------------------------------------------------------------------------------- helpers

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let words: Vec<&str> = include_str!("../data/names.txt")
            .lines()
            .step_by(100)
            .collect();
        place.write("words.txt", &words.join("\n"));
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"));
        command.env("GPU_MAKEMORE_TUNE", "off");
        command.current_dir(self.0.path()).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that has to succeed.
    fn succeed(&self, args: &[&str]) -> Result<String, Failed> {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(0) || !stderr.is_empty() {
            return Err(format!("{args:?}: {stderr}").into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `sweep` over the small data set, on the CPU unless the options say otherwise.
    fn sweep(&self, options: &[&str]) -> Result<String, Failed> {
        let mut args = vec!["sweep", "--data", "words.txt"];
        if !options.contains(&"--backend") {
            args.extend(["--backend", "cpu"]);
        }
        args.extend(options);
        self.succeed(&args)
    }

    /// The lines of a sweep's results, by their points.
    fn results(&self, folder: &str) -> Vec<Value> {
        let text = self.text(&format!("{folder}/results.jsonl"));
        let mut results: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        results.sort_by_key(|result| result["point"].as_u64());
        results
    }

    /// The results without the times, which differ from run to run.
    fn losses(&self, folder: &str) -> Vec<Value> {
        let mut results = self.results(folder);
        for result in &mut results {
            result["seconds"] = Value::Null;
        }
        results
    }

    /// The names in a folder, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A command that has to fail, with `part` in what it says, after it has printed something.
    fn refuse_after_output(&self, args: &[&str], code: i32, part: &str) -> Outcome {
        let output = self.run(args);
        let message = String::from_utf8_lossy(&output.stderr);
        same("exit code", &output.status.code(), &Some(code))?;
        same(part, &message.contains(part), &true)
    }

    /// A command that has to fail with this code and a line that has all of `parts`.
    fn refuse(&self, args: &[&str], code: i32, parts: &[&str]) -> Outcome {
        let output = self.run(args);
        let message = String::from_utf8_lossy(&output.stderr);
        let right = output.status.code() == Some(code)
            && message.starts_with("error: ")
            && message.lines().count() == 1
            && output.stdout.is_empty();
        match parts.iter().find(|part| !message.contains(**part)) {
            Some(part) => Err(format!("{args:?}: no {part:?} in {message}").into()),
            None if !right => Err(format!("{args:?}: {:?} {message}", output.status).into()),
            None => Ok(()),
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, want: &T) -> Outcome {
    if got == want {
        Ok(())
    } else {
        Err(format!("{what}: {got:?} instead of {want:?}").into())
    }
}

// ---------------------------------------------------------------------------------------- tests

/// Every member of a sweep against `train` with its options and the schedule that it had: the
/// checkpoint byte for byte, the three losses to the last bit. One size is trained in waves of two,
/// so that a model is also the second user of its place, and once beside one that diverges; another
/// is too large for waves.
fn members_equal_train(device: &[&str], found: Option<&Found>) -> Outcome {
    let place = Place::new();
    let many = ["--seeds", "3", "--lr", "0.1,1e38", "--n-hidden", "16"];
    // 1.25e7 multiplications a step, above which `auto` takes the staged schedule.
    let one = ["--seeds", "5,", "--n-hidden", "1100", "--batch-size", "200"];
    let mut sweeps = vec![("many", &many[..], "40", "resident")];
    if found.is_some() {
        sweeps.push(("one", &one, "2", "staged"));
    }
    for (out, grid, steps, schedule) in sweeps {
        let run = [
            "--steps", steps, "--keep", "100", "--width", "2", "--out", out,
        ];
        place.sweep(&[grid, &run, device].concat())?;
        let results = place.results(out);
        let count = if out == "many" { 6 } else { 1 };
        same("results", &results.len(), &count)?;
        for result in results {
            let point = result["point"].as_u64().ok_or("no point")?;
            let alone = format!("{out}-{point}");
            let mut args = vec!["train".to_owned()];
            for (name, value) in result["options"].as_object().ok_or("no options")? {
                let option = format!("--{}", name.replace('_', "-"));
                match value {
                    Value::Null | Value::Bool(false) => {} // not given
                    Value::Bool(true) => args.push(option),
                    Value::String(text) => args.extend([option, text.clone()]),
                    number => args.extend([option, number.to_string()]),
                }
            }
            if found.is_some() {
                same("schedule", &result["schedule"], &schedule.into())?;
                args.extend(["--schedule".to_owned(), schedule.to_owned()]);
            }
            args.extend(["--out".to_owned(), alone.clone()]);
            let args: Vec<&str> = args
                .iter()
                .map(String::as_str)
                .chain(device.iter().copied())
                .collect();
            if result["status"] == "diverged" {
                assert!((3..6).contains(&point), "point {point} diverged");
                place.refuse_after_output(&args, 1, "training diverged")?;
                continue;
            }
            place.succeed(&args)?;
            let summary: Value =
                serde_json::from_str(&place.text(&format!("{alone}/summary.json")))?;
            for loss in ["train_loss", "val_loss", "test_loss"] {
                same(
                    &format!("{loss} of point {point}"),
                    &result[loss],
                    &summary[loss],
                )?;
            }
            let kept = fs::read(place.path(&format!("{out}/models/{point}.safetensors")))?;
            let trained = fs::read(place.path(&format!("{alone}/model.safetensors")))?;
            same(&format!("the bytes of point {point}"), &kept, &trained)?;
        }
    }
    Ok(())
}

/// More models in a dispatch than this machine has cores, and so many that several threads prepare
/// their steps: each is what it is one at a time, to the last byte.
fn wider_than_the_cores(found: &Found) -> Outcome {
    let place = Place::new();
    let models = 128.max(2 * cores());
    let (seeds, width) = (models.to_string(), models.to_string());
    let api = api_name(found.info.backend);
    for (out, width) in [("wide", width.as_str()), ("narrow", "1")] {
        let small = ["--n-hidden", "8", "--batch-size", "4", "--steps", "30"];
        let grid = ["--seeds", &seeds, "--lr", "0.1", "--keep", &seeds];
        let run = ["--width", width, "--backend", api, "--out", out];
        let text = place.sweep(&[&small[..], &grid, &run].concat())?;
        let told = format!("resident, {width} model");
        if !text.contains(&told) {
            return Err(format!("no {told:?} in {text}").into());
        }
    }
    let (wide, narrow) = (place.losses("wide"), place.losses("narrow"));
    same("results", &wide.len(), &models)?;
    for (point, (wide, narrow)) in wide.iter().zip(&narrow).enumerate() {
        same(&format!("point {point}"), wide, narrow)?;
        let [wide, narrow] = ["wide", "narrow"]
            .map(|out| fs::read(place.path(&format!("{out}/models/{point}.safetensors"))));
        same(&format!("the bytes of point {point}"), &wide?, &narrow?)?;
    }
    Ok(())
}

/// So many models as any command may ask for, each of half a megabyte: 60 GB if they were made before the
/// adapter's limits were asked.
fn wider_than_the_adapter(found: &Found) -> Outcome {
    let dims = Dims {
        hidden: 2048,
        ..Dims::LECTURE
    };
    let params = Params::init(&dims, &mut TorchGenerator::manual_seed(1));
    let model = 4 * dims.parameter_count() as u64;
    let limit = found.adapter.limits().max_storage_buffer_binding_size;
    let resident = Resident::at_most(
        Gpu::open(found).block_on()?,
        found,
        dims,
        WorkSplit::of(found, &dims),
        &params,
        65_535,
        &Kernels::default(),
    )
    .block_on()?;
    let count = resident.count() as u64;
    assert!(0 < count && count <= limit / model, "{count} models");
    let last = resident.read_params(resident.count() - 1).block_on()?;
    same("the last model", &last, &params)
}

/// A model that is small, and yet has a step of so many examples that some drivers would leave its
/// loops: Mesa's do after 65,535 rounds, and an invocation there has the work of eight or more. What
/// the adapter can do is asked of the adapter, so that the test holds for those without such a limit.
fn falls_back(found: &Found) -> Outcome {
    let place = Place::new();
    let dims = Dims {
        batch: 4096,
        hidden: 8,
        ..Dims::LECTURE
    };
    let params = Params::init(&dims, &mut TorchGenerator::manual_seed(1));
    let (schedule, part) = match Resident::new(found, dims, &params).block_on() {
        Err(DeviceError::Loops { .. }) => ("staged", "one after another; a step of the resident"),
        Ok(_) => ("resident", "2 models at once; as asked for"),
        Err(error) => return Err(error.into()),
    };
    let api = api_name(found.info.backend);
    let sweep = [
        "--seeds",
        "2",
        "--n-hidden",
        "8",
        "--batch-size",
        "4096",
        "--steps",
        "2",
    ];
    let run = ["--width", "2", "--backend", api, "--out", "out"];
    let printed = place.sweep(&[&sweep[..], &run].concat())?;
    assert!(printed.contains(part), "{part}: {printed}");
    let results = place.results("out");
    same("results", &results.len(), &2)?;
    for result in &results {
        same("schedule", &result["schedule"], &schedule.into())?;
    }
    // What was asked for by name is refused where it cannot be, and nothing else is done instead.
    if schedule == "staged" {
        let by_name = ["--schedule", "resident", "--out", "named"];
        let base = ["sweep", "--data", "words.txt", "--backend", api];
        let args = [&base[..], &sweep, &by_name].concat();
        place.refuse_after_output(&args, 1, "use --schedule staged")?;
        same("results", &place.results("named").len(), &0)?;
    }
    Ok(())
}

/// Half of a sweep's results, the last of them torn: the same command trains what is missing and
/// nothing else.
fn goes_on() -> Outcome {
    let place = Place::new();
    let sweep = [
        "--seeds",
        "4",
        "--n-hidden",
        "8,12",
        "--steps",
        "20",
        "--out",
        "out",
    ];
    place.sweep(&sweep)?;
    let (whole, models) = (place.losses("out"), place.names("out/models"));
    let text = place.text("out/results.jsonl");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let torn = lines[..3].concat() + &lines[3][..lines[3].len() / 2];
    place.write("out/results.jsonl", &torn);
    // As if the program had been killed between saving a model and writing its line.
    fs::copy(
        place.path("out/models").join(&models[0]),
        place.path("out/models/7.safetensors"),
    )?;
    // And while it was writing.
    let all = place.names("out");
    place.write("out/.gpu-makemore-a.tmp", "");
    place.write("out/models/.gpu-makemore-b.tmp", "");
    let report = place.succeed(&["sweep", "report", "out"])?;
    assert!(report.contains("3 of 8 models have ended"), "{report}");
    assert!(report.contains("missing: 5 points: "), "{report}");
    assert!(report.contains("cut off"), "{report}");
    let printed = place.sweep(&sweep)?;
    assert!(printed.contains("cut off"), "{printed}");
    assert!(printed.contains("3 before, 5 to do"), "{printed}");
    same("results", &place.losses("out"), &whole)?;
    same("models", &place.names("out/models"), &models)?;
    same("files", &place.names("out"), &all)?;
    assert!(
        place
            .text("out/results.jsonl")
            .starts_with(&lines[..3].concat())
    );
    // Nothing is left to do, and nothing changes.
    let before = place.text("out/results.jsonl");
    let printed = place.sweep(&sweep)?;
    assert!(printed.contains("8 before, 0 to do"), "{printed}");
    same("results", &place.text("out/results.jsonl"), &before)?;
    // Without --out, too, the same command finds what it began.
    let unnamed = &sweep[..6];
    place.sweep(unnamed)?;
    let printed = place.sweep(unnamed)?;
    assert!(printed.contains("8 before, 0 to do"), "{printed}");
    Ok(())
}

/// A sweep that is given more points trains those and no others; all have the losses and the models that
/// they have in a sweep that had them from the start.
fn more_points() -> Outcome {
    let place = Place::new();
    let sweep = |out: &str, options: &[&str]| {
        let common = [
            "--steps",
            "20",
            "--n-hidden",
            "8",
            "--keep",
            "3",
            "--out",
            out,
        ];
        place.sweep(&[&common[..], options].concat())
    };
    sweep("out", &["--seeds", "2", "--lr", "0.1,0.2"])?;
    let before = place.text("out/results.jsonl");
    // Torn off in the middle of the new ones.
    let all = ["--seeds", "4", "--lr", "0.05,0.1,0.2"];
    let printed = sweep("out", &all)?;
    same("done", &printed.contains("4 before, 8 to do"), &true)?;
    let text = place.text("out/results.jsonl");
    same("the lines before", &text.starts_with(&before), &true)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    place.write("out/results.jsonl", &lines[..7].concat());
    let printed = sweep("out", &all)?;
    same("done", &printed.contains("7 before, 5 to do"), &true)?;
    let printed = sweep("out", &all)?;
    same("done", &printed.contains("12 before, 0 to do"), &true)?;
    let parts = ["--seeds is 1,2,3,4 there and 1,2 now"];
    let fewer = ["--seeds", "2", "--lr", "0.05,0.1,0.2", "--steps", "20"];
    let args = [
        "sweep",
        "--data",
        "words.txt",
        "--backend",
        "cpu",
        "--n-hidden",
        "8",
    ];
    place.refuse(&[&args[..], &fewer, &["--out", "out"]].concat(), 1, &parts)?;

    sweep("whole", &all)?;
    // In the order of their options: the numbers of the points are others.
    let sorted = |out| {
        let mut losses = place.losses(out);
        losses.sort_by_key(|result| result["options"].to_string());
        losses
    };
    let kept = |result: &Value, out: &str| {
        let path = format!("{out}/models/{}.safetensors", result["point"]);
        fs::read(place.path(&path)).ok()
    };
    let (added, whole) = (sorted("out"), sorted("whole"));
    same("results", &added.len(), &12)?;
    for (mut added, mut whole) in added.into_iter().zip(whole) {
        let models = [kept(&added, "out"), kept(&whole, "whole")];
        let point = added["options"].to_string();
        same(&format!("the model of {point}"), &models[0], &models[1])?;
        for result in [&mut added, &mut whole] {
            result["point"] = Value::Null;
        }
        same("a result", &added, &whole)?;
    }
    same("models", &place.names("out/models").len(), &3)?;
    // Each part of a sweep that is shared out takes its part of the new points.
    let mut points = Vec::new();
    for shard in ["1/2", "2/2"] {
        let out = shard.replace('/', "-");
        sweep(&out, &["--seeds", "3", "--shard", shard])?;
        sweep(&out, &["--seeds", "5", "--shard", shard])?;
        points.extend(
            place
                .results(&out)
                .iter()
                .filter_map(|r| r["point"].as_u64()),
        );
    }
    points.sort_unstable();
    same("points", &points, &vec![0, 1, 2, 3, 4])?;
    let report = place.succeed(&["sweep", "report", "1-2", "2-2"])?;
    same("report", &report.contains("missing"), &false)
}

const GRID: [&str; 6] = ["--seeds", "5", "--lr", "0.05,0.1", "--steps", "20"];

/// Three shards, and their report, against the whole.
fn shards() -> Outcome {
    let place = Place::new();
    place.sweep(&[&GRID[..], &["--out", "whole"]].concat())?;
    let mut results = Vec::new();
    for (shard, out) in [("1/3", "a"), ("2/3", "b"), ("3/3", "c")] {
        place.sweep(&[&GRID[..], &["--shard", shard, "--out", out]].concat())?;
        results.extend(place.losses(out));
    }
    results.sort_by_key(|result| result["point"].as_u64());
    same("results", &results, &place.losses("whole"))?;
    let csv = |folders: &[&str], file: &str| -> Result<(String, Vec<String>), Failed> {
        let report = place.succeed(&[&["sweep", "report", "--csv", file], folders].concat())?;
        let seconds = 13;
        let rows = place
            .text(file)
            .lines()
            .map(|row| {
                let mut cells: Vec<&str> = row.split(',').collect();
                cells.remove(seconds);
                cells.join(",")
            })
            .collect();
        Ok((report, rows))
    };
    let (parts, whole) = (
        csv(&["c", "a", "b"], "parts.csv")?,
        csv(&["whole"], "whole.csv")?,
    );
    same("reports", &parts, &whole)?;
    same("rows", &whole.1.len(), &11)?;
    assert!(
        whole.0.contains("10 of 10 models have ended"),
        "{}",
        whole.0
    );
    assert!(!whole.0.contains("missing") && !whole.0.contains("doubled"));
    // A shard beyond the last point has nothing to do.
    let none = place.sweep(&[
        "--seeds", "2", "--steps", "5", "--shard", "3/3", "--out", "none",
    ])?;
    assert!(none.contains("0 to do"), "{none}");
    Ok(())
}

fn gaps() -> Outcome {
    let place = Place::new();
    for (shard, out) in [("1/4", "a"), ("2/4", "b"), ("4/4", "d")] {
        place.sweep(&[&GRID[..], &["--shard", shard, "--out", out]].concat())?;
    }
    fs::create_dir(place.path("copy"))?;
    for file in ["sweep.json", "results.jsonl"] {
        fs::copy(place.path("a").join(file), place.path("copy").join(file))?;
    }
    let report = place.succeed(&[
        "sweep", "report", "a", "b", "copy", "d", "--png", "plot.png",
    ])?;
    assert!(
        report.contains("8 of 10 models have ended; 0 diverged"),
        "{report}"
    );
    assert!(report.contains("missing: 2 points: 2, 6\n"), "{report}");
    assert!(
        report.contains("doubled: 3 points: 0 (in a and copy), 4 (in a and copy), 8 "),
        "{report}"
    );
    assert!(fs::read(place.path("plot.png"))?.starts_with(b"\x89PNG"));
    // Mean and deviation over the seeds, computed here.
    let whole = ["--seeds", "3", "--steps", "20", "--out", "seeds"];
    place.sweep(&whole)?;
    let losses: Vec<f64> = place
        .results("seeds")
        .iter()
        .filter_map(|r| r["val_loss"].as_f64())
        .collect();
    let mean = losses.iter().sum::<f64>() / 3.0;
    let deviation = (losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    let report = place.succeed(&["sweep", "report", "seeds"])?;
    let row: Vec<&str> = report
        .lines()
        .nth(1)
        .ok_or("no row")?
        .split_whitespace()
        .collect();
    same(
        "row",
        &row[..2].to_vec(),
        &vec![&*format!("{mean:.4}"), &*format!("{deviation:.4}")],
    )
}

fn divergence() -> Outcome {
    let place = Place::new();
    place.sweep(&["--lr", "0.1,1e38,0.2", "--steps", "60", "--out", "out"])?;
    let results = place.results("out");
    same("status", &results[1]["status"], &"diverged".into())?;
    same("val_loss", &results[1]["val_loss"], &Value::Null)?;
    assert!(
        results[1]["diverged"]
            .as_str()
            .ok_or("no reason")?
            .contains(" is ")
    );
    // The others are what they are without it.
    place.sweep(&["--lr", "0.1,0.2", "--steps", "60", "--out", "without"])?;
    let without = place.results("without");
    for (with, without) in [(&results[0], &without[0]), (&results[2], &without[1])] {
        same("status", &with["status"], &"done".into())?;
        same("val_loss", &with["val_loss"], &without["val_loss"])?;
    }
    let report = place.succeed(&["sweep", "report", "out"])?;
    assert!(
        report.contains("3 of 3 models have ended; 1 diverged"),
        "{report}"
    );
    same(
        "last row",
        &report.lines().nth(3).map(|row| row.contains("1e38")),
        &Some(true),
    )
}

fn keeps() -> Outcome {
    let place = Place::new();
    let best = |count: usize| -> Vec<String> {
        let mut results = place.results("out");
        results.sort_by(|a, b| {
            a["val_loss"]
                .as_f64()
                .partial_cmp(&b["val_loss"].as_f64())
                .unwrap()
        });
        let mut names: Vec<String> = results[..count]
            .iter()
            .map(|result| format!("{}.safetensors", result["point"]))
            .collect();
        names.sort();
        names
    };
    // One after another, and the first ones hardly learn: each is kept until three better ones are
    // there.
    let rates = "0.0001,0.0003,0.001,0.01,0.05,0.1";
    let sweep = [
        "--lr",
        rates,
        "--lr-final",
        "0",
        "--lr-decay-at",
        "15",
        "--width",
        "1",
        "--steps",
        "20",
        "--out",
        "out",
    ];
    place.sweep(&sweep)?;
    let three = ["3.safetensors", "4.safetensors", "5.safetensors"].map(str::to_owned);
    same("the best", &best(3), &three.to_vec())?;
    same("models", &place.names("out/models"), &best(3))?;
    // Those no longer wanted go; a file of the user's stays.
    place.write("out/models/notes.txt", "");
    place.sweep(&[&sweep[..], &["--keep", "1"]].concat())?;
    let mut one = best(1);
    one.push("notes.txt".to_owned());
    same("models", &place.names("out/models"), &one)?;
    let model = format!("out/models/{}", one[0]);
    let loss = place.succeed(&[
        "eval",
        "--backend",
        "cpu",
        "--checkpoint",
        &model,
        "--split",
        "val",
    ])?;
    let want = place
        .results("out")
        .iter()
        .filter_map(|r| r["val_loss"].as_f64())
        .fold(9.0, f64::min);
    assert!(loss.contains(&format!("{want:.4}")), "{loss} is not {want}");
    Ok(())
}

/// The draws are those of the seed, within the range, and each is combined with what is listed.
fn draws() -> Outcome {
    let place = Place::new();
    let sweep = |out: &str, seed: &str| -> Result<Vec<Value>, Failed> {
        place.sweep(&[
            "--random",
            "6",
            "--lr",
            "0.01..0.3:log",
            "--n-hidden",
            "4..8",
            "--seeds",
            "2",
            "--steps",
            "5",
            "--sweep-seed",
            seed,
            "--out",
            out,
        ])?;
        Ok(place
            .results(out)
            .iter()
            .map(|r| r["options"].clone())
            .collect())
    };
    let (a, b, other) = (sweep("a", "1")?, sweep("b", "1")?, sweep("c", "2")?);
    same("draws", &a, &b)?;
    assert!(a != other, "two seeds gave the same draws");
    same("models", &a.len(), &12)?;
    // On every machine: these were drawn when the test was written.
    let drawn: Vec<f64> = a
        .iter()
        .step_by(2)
        .filter_map(|o| o["lr"].as_f64())
        .collect();
    same("learning rates", &drawn, &DRAWN.to_vec())?;
    assert!(
        a.iter()
            .all(|o| (4..=8).contains(&o["n_hidden"].as_u64().unwrap()))
    );
    let report = place.succeed(&["sweep", "report", "a"])?;
    assert!(
        report.contains("val loss against lr, log scale"),
        "{report}"
    );
    assert!(report.contains("val loss against n_hidden"), "{report}");
    Ok(())
}

const DRAWN: [f64; 6] = [0.02146, 0.01826, 0.01451, 0.1113, 0.05415, 0.03067];

#[rustfmt::skip] // a case a line
fn refusals() -> Outcome {
    let place = Place::new();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&[], 2, &["the grid is empty", "--seeds 8"]),
        (&["--lr", ""], 2, &["--lr <VALUES>", "the list is empty"]),
        (&["--lr", "0.3..0.01", "--random", "3"], 2, &["--lr <VALUES>", "the wrong way round", "0.01..0.3"]),
        (&["--lr", "0.01..0.3"], 2, &["--lr is a range", "--random N"]),
        (&["--lr", "0.1,0.2", "--random", "3"], 2, &["--random draws from ranges"]),
        (&["--lr", "0..0.3:log", "--random", "3"], 2, &["a logarithmic axis has no 0"]),
        (&["--lr", "0.1,0.2,0.1"], 2, &["0.1 is listed twice"]),
        (&["--lr", "-0.1"], 2, &["'-0.1' must be a number from 0"]),
        (&["--n-hidden", "64,4096"], 2, &["'4096' must be a whole number from 1 to 2048"]),
        (&["--seeds", "0"], 2, &["--seeds <N|LIST>", "must be a whole number from 1"]),
        (&["--seeds", "1..5"], 2, &["must be how many seeds"]),
        (&["--seeds", "3,3"], 2, &["3 is listed twice"]),
        (&["--seeds", "100000", "--lr", "0.1,0.2"], 2, &["200000 models", "at most 100000"]),
        (&["--n-hidden", "4..6", "--random", "9"], 2, &["--random 9", "3 were found"]),
        (&["--seeds", "2", "--shard", "0/3"], 2, &["must be from 1/3 to 3/3"]),
        (&["--seeds", "2", "--shard", "4/3"], 2, &["must be from 1/3 to 3/3"]),
        (&["--seeds", "2", "--shard", "two"], 2, &["must be I/N"]),
        (&["--seeds", "2", "--width", "0"], 2, &["must be a whole number from 1"]),
        (&["--seeds", "2", "--schedule", "staged"], 2, &["--schedule staged is about GPUs"]),
        (&["--seeds", "2", "--data", "none"], 1, &["none: no such file"]),
    ];
    for (options, code, parts) in cases {
        let args = [&["sweep", "--backend", "cpu", "--out", "out"], *options].concat();
        place.refuse(&args, *code, parts)?;
        assert!(!place.path("out").exists(), "{options:?} left a folder");
    }
    let sweep = ["sweep", "--backend", "cpu", "--data", "words.txt", "--out", "out", "--steps", "5"];
    place.succeed(&[&sweep[..], &["--seeds", "2"]].concat())?;
    let before = place.text("out/results.jsonl");
    let others: &[(&[&str], &str)] = &[
        (&["--seeds", "1"], "out holds another sweep: --seeds is 1,2 there and 1 now"),
        (&["--seeds", "2,3"], "out holds another sweep: --seeds is 1,2 there and 2,3 now"),
        (&["--seeds", "2", "--lr", "0.2"], "--lr is 0.1 there and 0.2 now"),
        (&["--seeds", "2", "--shard", "1/2"], "--shard is 1/1 there and 1/2 now"),
        (&["--seeds", "2", "--clean"], "--clean is false there and true now"),
    ];
    for (options, part) in others {
        place.refuse(&[&sweep[..], options].concat(), 1, &[part, "choose another --out"])?;
    }
    let words = place.text("words.txt");
    place.write("words.txt", &words.replacen("emma", "emmy", 1));
    place.refuse(&[&sweep[..], &["--seeds", "2"]].concat(), 1, &["the words of words.txt have changed"])?;
    place.write("words.txt", &words);
    same("results", &place.text("out/results.jsonl"), &before)?;

    // Folders that cannot be reported, or not together.
    place.succeed(&["sweep", "--backend", "cpu", "--data", "words.txt", "--out", "two", "--steps", "6", "--seeds", "2"])?;
    fs::create_dir(place.path("empty"))?;
    place.refuse(&["sweep", "report"], 2, &["<DIR>..."])?;
    place.refuse(&["sweep", "report", "empty"], 1, &["empty holds no sweep"])?;
    place.refuse(&["sweep", "report", "missing"], 1, &["missing holds no sweep"])?;
    place.refuse(&["sweep", "report", "out", "two"], 1, &["out and two hold different sweeps", "--steps is 5 in the first and 6 in the second"])?;
    place.refuse(&["sweep", "report", "out", "--png", "no/plot.png"], 1, &["cannot write no/plot.png"])?;
    place.write("two/results.jsonl", "{\"point\": 0}\n");
    place.refuse(&["sweep", "report", "two"], 1, &["results.jsonl: line 1 is no result", "restore the file"])?;
    place.write("two/results.jsonl", &before);
    place.refuse(&["sweep", "report", "two"], 1, &["line 1 is not of this sweep"])?;
    place.write("two/sweep.json", "{}");
    place.refuse(&["sweep", "report", "two"], 1, &["sweep.json: is not a sweep's manifest"])?;

    // A second process in the same folder.
    let file = fs::File::open(place.path("out/results.jsonl"))?;
    file.lock()?;
    place.refuse(&[&sweep[..], &["--seeds", "2"]].concat(), 1, &["out is in use", "wait for it"])?;
    // A folder of `train`.
    place.succeed(&["train", "--backend", "cpu", "--data", "words.txt", "--steps", "5", "--out", "run"])?;
    place.refuse(&["sweep", "--backend", "cpu", "--seeds", "2", "--out", "run"], 1, &["run already holds a run"])?;
    assert!(Path::new(&place.path("run/model.safetensors")).exists());
    Ok(())
}

/// Two options and two seeds: the plot of each has a line for each value of the other, and no bar that
/// spans two of them.
fn compares() -> Outcome {
    let place = Place::new();
    place.sweep(&[
        "--lr",
        "0.01,0.2",
        "--n-hidden",
        "4,64",
        "--seeds",
        "2",
        "--steps",
        "60",
        "--out",
        "out",
    ])?;
    let report = place.succeed(&["sweep", "report", "out", "--png", "plot.png"])?;
    for part in [
        "val loss against n_hidden; a letter is the mean of its lr\n  a: 0.01\n  b: 0.2\n",
        "val loss against lr; a letter is the mean of its n_hidden\n  a: 4\n  b: 64\n",
    ] {
        assert!(report.contains(part), "{part:?} is not in {report}");
    }
    assert!(fs::read(place.path("plot.png"))?.starts_with(b"\x89PNG"));
    // What is swept alone has one line, and the seeds need none.
    place.sweep(&[
        "--lr", "0.1,0.2", "--seeds", "2", "--steps", "5", "--out", "one",
    ])?;
    let report = place.succeed(&["sweep", "report", "one"])?;
    let line = "val loss against lr; the line joins the means\n";
    assert!(report.contains(line), "{report}");
    Ok(())
}

/// 2^53 and its neighbour, which are one float.
fn large_seeds() -> Outcome {
    let place = Place::new();
    let seeds = ["9007199254740992", "9007199254740993"];
    let list = seeds.join(",");
    let printed = place.sweep(&["--seeds", &list, "--steps", "5", "--out", "out"])?;
    for seed in seeds {
        let line = printed
            .lines()
            .find(|line| line.ends_with(&format!("  seed {seed}")));
        assert!(line.is_some(), "{seed} is not in {printed}");
    }
    let report = place.succeed(&["sweep", "report", "out"])?;
    assert!(report.contains("val loss against seed"), "{report}");
    let ends = report.lines().find(|line| line.starts_with(seeds[0]));
    assert!(
        ends.is_some_and(|line| line.ends_with(seeds[1])),
        "{report}"
    );
    // As another sweep than one with the first seed twice as far away.
    let other = [
        "sweep",
        "--backend",
        "cpu",
        "--data",
        "words.txt",
        "--steps",
        "5",
        "--out",
        "out",
    ];
    let list = [seeds[0], "9007199254740994"].join(",");
    let args = [&other[..], &["--seeds", &list]].concat();
    place.refuse(&args, 1, &["out holds another sweep"])
}

/// A system that grants no thread: the standard library asks for each with a stack of this size.
fn no_threads() -> Outcome {
    let place = Place::new();
    let sweep = [
        "sweep",
        "--data",
        "words.txt",
        "--backend",
        "cpu",
        "--width",
        "3",
    ];
    let grid = ["--seeds", "4", "--steps", "20"];
    place.succeed(&[&sweep[..], &grid, &["--out", "with"]].concat())?;
    let output = place
        .command(&[&sweep[..], &grid, &["--out", "without"]].concat())
        .env("RUST_MIN_STACK", (1_u64 << 61).to_string())
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    same("exit code", &output.status.code(), &Some(0))?;
    same("stderr", &stderr.as_ref(), &"")?;
    let stdout = String::from_utf8(output.stdout)?;
    let note = "1 model at once, not 3: the system grants no more threads";
    assert!(stdout.contains(note), "{stdout}");
    same("results", &place.losses("without"), &place.losses("with"))
}

/// Ctrl-C tells the very command with which to continue. Of two models, the second one has more steps than
/// any machine can do: so it is being trained whenever the signal comes.
fn interrupted() -> Outcome {
    let place = Place::new();
    fs::rename(place.path("words.txt"), place.path("my words.txt"))?;
    let words = [
        "sweep",
        "--backend",
        "cpu",
        "--data",
        "my words.txt",
        "--lr-decay-at",
        "5",
        "--steps",
        "20,1000000000000000",
        "--width",
        "1",
        "--out",
        "out",
    ];
    let told = words.join(" ").replace("my words.txt", "'my words.txt'");
    let want = format!("interrupted after 1 of 2 models; continue with: gpu-makemore {told}\n");
    let stderr = interrupt_at(place.command(&words), "1/2  ")?;
    same("stderr", &stderr, &want)?;
    let before = place.results("out");
    same("results", &before.len(), &1)?;
    // As a user would paste it, who has the program on the path.
    let program = Path::new(env!("CARGO_BIN_EXE_gpu-makemore"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = program.parent().ok_or("no folder")?.to_path_buf();
    let path = std::iter::once(folder).chain(std::env::split_paths(&path));
    let (_, pasted) = stderr.split_once("continue with: ").ok_or("no command")?;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("exec {pasted}")])
        .env("PATH", std::env::join_paths(path)?)
        .current_dir(place.0.path());
    let stderr = interrupt_at(shell, "done        1 before, 1 to do")?;
    same("stderr", &stderr, &want)?;
    same("results", &place.results("out"), &before)
}

/// Sends Ctrl-C to a command when it has printed a line that begins with `line`. What it said is
/// returned, if it ended with exit code 130.
fn interrupt_at(mut command: Command, line: &str) -> Result<String, Failed> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let found = lines.find(|got| got.as_ref().is_ok_and(|got| got.starts_with(line)));
    found.ok_or_else(|| format!("no line begins with {line:?}"))??;
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()?;
    same("kill", &kill.success(), &true)?;
    for line in lines {
        line?; // nothing is to wait for its reader
    }
    let output = child.wait_with_output()?;
    same("exit code", &output.status.code(), &Some(130))?;
    Ok(String::from_utf8(output.stderr)?)
}
