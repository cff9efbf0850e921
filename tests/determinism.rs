//! The same command gives the same bits: on the CPU, and on every adapter that the tests know with
//! both schedules. The program itself is run, several times, and the models that it leaves are
//! compared by their hash.
//!
//! `GPU_MAKEMORE_RUNS=50 cargo test --release --test determinism` runs each of them fifty times.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use common::adapters::{self, OnEach, Outcome};
use gpu_makemore::gpu::adapter::{Found, api_name};
use gpu_makemore::text::hex;
use libtest_mimic::{Failed, Trial};
use sha2::{Digest, Sha256};

fn main() -> ExitCode {
    let staged = OnEach::new("the_staged_schedule_gives_the_same_bits", |found| {
        on_adapter(found, "staged")
    });
    // Left to --all: each of its three processes compiles the large kernel.
    let resident = OnEach::new("the_resident_schedule_gives_the_same_bits", |found| {
        on_adapter(found, "resident")
    });
    let cpu = || same_bits(&["--backend", "cpu"]);
    let cpu = Trial::test("the_cpu_gives_the_same_bits", cpu);
    adapters::run([staged, resident.long()], vec![cpu])
}

/// Words of the lecture that are trained on. All of them would take longer to evaluate than to train.
const WORDS: usize = 3000;

fn runs() -> Result<usize, Failed> {
    match std::env::var("GPU_MAKEMORE_RUNS") {
        Ok(runs) => Ok(runs
            .parse()
            .map_err(|e| format!("GPU_MAKEMORE_RUNS: {e}"))?),
        Err(_) => Ok(2),
    }
}

fn on_adapter(found: &Found, schedule: &str) -> Outcome {
    let (api, name) = (api_name(found.info.backend), found.info.name.as_str());
    same_bits(&["--backend", api, "--adapter", name, "--schedule", schedule])
}

/// Hash of the model and the losses of a run.
fn hash(folder: &Path) -> Result<String, Failed> {
    let mut hash = Sha256::new();
    for file in ["model.safetensors", "metrics.jsonl"] {
        hash.update(fs::read(folder.join(file))?);
    }
    Ok(hex(&hash.finalize()))
}

/// Several runs with these options, two at a time: they hold each other up, so that they do not have
/// the same chunks, whose sizes follow the clock. And one with another seed, whose hash must be another.
fn same_bits(options: &[&str]) -> Outcome {
    let place = tempfile::tempdir()?;
    let names = concat!(env!("CARGO_MANIFEST_DIR"), "/data/names.txt");
    let words: Vec<String> = (fs::read_to_string(names)?.lines().take(WORDS))
        .map(str::to_owned)
        .collect();
    fs::write(place.path().join("words.txt"), words.join("\n"))?;
    let start = |out: &str, seed: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"));
        command.env("GPU_MAKEMORE_TUNE", "off");
        command.current_dir(place.path());
        command.args(["train", "--data", "words.txt", "--steps", "800"]);
        command.args(["--log-every", "50", "--seed", seed, "--out", out]);
        command
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn()
    };
    let mut hashes: BTreeMap<String, usize> = BTreeMap::new();
    let mut other = None;
    let mut todo: Vec<(String, &str)> = (0..runs()?).map(|run| (format!("{run}"), "7")).collect();
    todo.push(("other".to_owned(), "8"));
    for pair in todo.chunks(2) {
        let started: Result<Vec<_>, _> =
            (pair.iter()).map(|(out, seed)| start(out, seed)).collect();
        for ((out, _), child) in pair.iter().zip(started?) {
            let output = child.wait_with_output()?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
            }
            let hash = hash(&place.path().join(out))?;
            match out.as_str() {
                "other" => other = Some(hash),
                _ => *hashes.entry(hash).or_default() += 1,
            }
        }
    }
    eprintln!("{options:?}: {hashes:?}");
    if hashes.len() != 1 {
        return Err(format!("{} different models: {hashes:?}", hashes.len()).into());
    }
    match other {
        Some(other) if !hashes.contains_key(&other) => Ok(()),
        _ => Err("another seed gave the same model".into()),
    }
}
