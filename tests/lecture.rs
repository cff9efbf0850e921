//! The lecture's run against PyTorch's, from the random numbers to the names that come out.
//!
//! The other end of the chain of trust: `reference.rs` and `gpu.rs` hold single passes against
//! PyTorch, this file holds the whole program against it, on the CPU backend.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Fixture, Tolerance, compare, f64s};
use gpu_makemore::backend::Backend;
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::data::{self, Batch, Dataset, Options, Source, Split};
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::params::{Params, Tensor};
use gpu_makemore::rng::{PythonRandom, TorchGenerator};
use gpu_makemore::{model::steps::LearningRate, training::Stream};
use pollster::FutureExt as _;
use serde_json::Value;

/// The lecture's `torch.Generator().manual_seed(2147483647)`.
const SEED: u64 = 2_147_483_647;

const SCHEDULE: LearningRate = LearningRate {
    lr: 0.1,
    lr_final: 0.01,
    decay_at: 100_000,
};

fn names() -> Dataset {
    data::load(&Options::default()).unwrap()
}

// ---------------------------------------------------------------------- random numbers and data

/// The numbers under `key`.
fn numbers<T: serde::de::DeserializeOwned>(call: &Value, key: &str) -> Vec<T> {
    serde_json::from_value(call[key].clone()).unwrap()
}

#[test]
fn random_streams_are_pytorchs() {
    let random = std::fs::read_to_string("tests/fixtures/random.json").unwrap();
    let random: Value = serde_json::from_str(&random).unwrap();
    let mut compared = 0;
    for stream in random["streams"].as_array().unwrap() {
        let seed = stream["seed"].as_u64().unwrap();
        let mut g = TorchGenerator::manual_seed(seed);
        for call in stream["calls"].as_array().unwrap() {
            let n = call["n"].as_u64().unwrap() as usize;
            let kind = call["kind"].as_str().unwrap();
            let what = format!("seed {seed}, {kind} of {n}");
            if kind == "randn" {
                // JSON has every digit, so what is compared are the bits.
                assert_eq!(g.randn(n), numbers::<f32>(call, "values"), "{what}");
            } else {
                let mut got = vec![0; n];
                if kind == "randint" {
                    g.randint_into(call["high"].as_u64().unwrap() as u32, &mut got);
                } else {
                    assert_eq!(kind, "multinomial");
                    let probs: Vec<f32> = numbers(call, "probs");
                    got.fill_with(|| g.multinomial(&probs) as u32);
                }
                assert_eq!(got, numbers::<u32>(call, "values"), "{what}");
            }
            compared += n;
        }
    }
    assert_eq!(compared, 859, "the fixture lost values");
}

#[test]
fn shuffles_are_pythons() {
    let random = std::fs::read_to_string("tests/fixtures/random.json").unwrap();
    let random: Value = serde_json::from_str(&random).unwrap();
    let shuffles = random["shuffles"].as_array().unwrap();
    assert_eq!(shuffles.len(), 6);
    for shuffle in shuffles {
        let seed = shuffle["seed"].as_u64().unwrap();
        let mut items: Vec<u64> = (0..shuffle["n"].as_u64().unwrap()).collect();
        PythonRandom::seed(seed).shuffle(&mut items);
        assert_eq!(items, numbers::<u64>(shuffle, "items"), "seed {seed}");
    }
}

#[test]
fn the_data_sets_have_the_known_counts() {
    let count = |dataset: &Dataset| {
        [Split::Train, Split::Val, Split::Test, Split::All].map(|s| dataset.split(s).len())
    };
    let names = names();
    assert_eq!(names.vocab.len(), 27);
    assert_eq!(count(&names), [182_625, 22_655, 22_866, 228_146]);
    let municipalities = data::load(&Options {
        source: Source::Municipalities,
        ..Options::default()
    })
    .unwrap();
    assert_eq!(municipalities.vocab.len(), 29);
    assert_eq!(municipalities.total(), 106_404);
}

// ------------------------------------------------------------------- the first thousand steps

#[test]
fn initial_parameters_are_pytorchs_bit_by_bit() {
    let fixture = Fixture::open("lecture_run.safetensors");
    let mut generator = TorchGenerator::manual_seed(SEED);
    let params = Params::init(&Dims::LECTURE, &mut generator);
    for tensor in Tensor::ALL {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let want = fixture.f32(tensor.name());
        assert_eq!(
            fixture.shape(tensor.name()),
            tensor.shape(&Dims::LECTURE),
            "{}",
            tensor.name()
        );
        assert!(
            bits(params.get(tensor)) == bits(&want),
            "{} differs from PyTorch's",
            tensor.name()
        );
    }
}

#[test]
fn the_first_minibatches_are_pytorchs() {
    let names = names();
    let fixture = Fixture::open("lecture_run.safetensors");
    let rows = fixture.i64("ix");
    assert_eq!(rows.len(), 3 * Dims::LECTURE.batch);
    let mut generator = TorchGenerator::manual_seed(SEED);
    Params::init(&Dims::LECTURE, &mut generator);
    let mut stream = Stream::new(&names.train, generator, SCHEDULE, Dims::LECTURE.batch);
    // In two pieces: where the stream is cut must not matter.
    let (first, rest) = (stream.take(1), stream.take(2));
    assert_eq!((first.first, rest.first), (0, 1));
    let mut batch = Batch::default();
    for row in rows {
        names.train.write(row as usize, &mut batch);
    }
    assert_eq!([first.x, rest.x].concat(), batch.x);
    assert_eq!([first.y, rest.y].concat(), batch.y);
    assert_eq!([first.lr, rest.lr].concat(), [0.1; 3]);
}

/// The rounding of each step is carried into all that follow. Over 1,000 steps no loss was seen to
/// be off by more than 5e-7, the last place of a loss above 2; the bound leaves room for sums in
/// another order, and 1e-5 is still far below what any mistake in the step would do.
#[test]
fn the_first_thousand_losses_are_pytorchs() {
    let names = names();
    let want = Fixture::open("lecture_run.safetensors").f64("losses");
    assert_eq!(want.len(), 1000);
    let mut generator = TorchGenerator::manual_seed(SEED);
    let params = Params::init(&Dims::LECTURE, &mut generator);
    let mut stream = Stream::new(&names.train, generator, SCHEDULE, Dims::LECTURE.batch);
    let mut backend = CpuBackend::new(Dims::LECTURE, params);
    let mut losses = Vec::new();
    let steps = stream.take(want.len());
    backend.train(&steps, &mut losses).block_on().unwrap();
    let tolerance = Tolerance {
        relative: 0.0,
        of_largest: 0.0,
        absolute: 1e-5,
    };
    compare("loss", &f64s(&losses), &want, tolerance).unwrap();
}

// ------------------------------------------------------------------------------ the whole run
//
// The constants below were printed by PyTorch 2.15 on a CPU, by the lecture's notebook with its
// manual backward pass: 200,000 steps, float32, one thread.

/// The loss of the minibatch at the steps 0, 10,000, 20,000 and so on.
const PYTORCH_LOSSES: [f64; 20] = [
    3.950787, 2.361702, 2.297894, 2.219085, 2.543769, 2.136762, 2.273810, 1.972181, 1.833165,
    2.532867, 2.199349, 2.376704, 2.365361, 2.430827, 2.339048, 2.119280, 2.043577, 2.077344,
    2.044918, 2.238957,
];

/// The loss over the whole training, validation and test set in the end.
const PYTORCH_FINAL: [(&str, f64); 3] = [
    ("train_loss", 2.071082),
    ("val_loss", 2.111868),
    ("test_loss", 2.110749),
];

/// The names, sampled with the seed 2147483647 + 10.
const PYTORCH_NAMES: [&str; 20] = [
    "carlah",
    "amelle",
    "khi",
    "mri",
    "reigh",
    "skanden",
    "jazhitlalee",
    "arci",
    "aqui",
    "ner",
    "kea",
    "chaiiv",
    "kaleigh",
    "ham",
    "join",
    "quinn",
    "shoilea",
    "jaddi",
    "watell",
    "dearyxia",
];

/// How far a whole run may end up from PyTorch's.
struct Allowed {
    /// The loss of one minibatch.
    minibatch: f64,
    /// The loss over a whole set.
    set: f64,
}

/// A run by the program.
struct Run {
    summary: Value,
    device: String,
    names: Vec<String>,
}

/// Runs `gpu-makemore train` with nothing but a backend and holds its losses against PyTorch's.
fn whole_run(backend: &str, allowed: Allowed) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let run = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"))
        .env("GPU_MAKEMORE_TUNE", "off")
        .args(["train", "--backend", backend, "--out"])
        .arg(&out)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{stderr}");

    let summary: Value = serde_json::from_str(&read(&out.join("summary.json"))).unwrap();
    assert_eq!(summary["steps"], 200_000);
    for (name, want) in PYTORCH_FINAL {
        let got = summary[name].as_f64().unwrap();
        let close = (got - want).abs() <= allowed.set;
        assert!(close, "{name} is {got}, PyTorch's {want}");
    }
    let rows: Vec<Value> = read(&out.join("metrics.jsonl"))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|row: &Value| !row["loss"].is_null()) // the others have validation losses
        .collect();
    assert_eq!(rows.len(), PYTORCH_LOSSES.len());
    for (i, (row, want)) in rows.iter().zip(PYTORCH_LOSSES).enumerate() {
        let step = i * 10_000;
        assert_eq!(row["step"], step);
        let got = row["loss"].as_f64().unwrap();
        let close = (got - want).abs() <= allowed.minibatch;
        assert!(close, "the loss of step {step} is {got}, PyTorch's {want}");
    }

    // After the validation loss come the names, and then two lines about the run.
    let text = String::from_utf8(run.stdout).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let start = lines.iter().position(|l| l.starts_with("val ")).unwrap() + 1;
    let is_end = |line: &String| line.starts_with("200000 steps in ");
    let end = lines.iter().position(is_end).unwrap();
    Run {
        summary,
        device: lines[..2].join("\n"),
        names: lines[start..end].to_vec(),
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Each step rounds, and all later steps build on it. Yet the minibatches pull both runs the same
/// way: after 200,000 steps the distance was 3e-6 for a minibatch's loss and 2e-7 for the losses
/// over whole sets. Sums in another order round otherwise, so that much is not asked for; but
/// with another seed the sets' losses are off by 0.001 to 0.004, which is more than is allowed.
#[test]
fn the_whole_run_ends_where_pytorch_ends() {
    let allowed = Allowed {
        minibatch: 1e-3,
        set: 5e-4,
    };
    let run = whole_run("cpu", allowed);
    assert_eq!(run.summary["backend"], "cpu");
    // The names are PyTorch's as well, all 20 of them. A letter would change only where the two
    // best candidates of a draw are as close as the rounding, and no draw of these is.
    assert_eq!(run.names, PYTORCH_NAMES);
}

/// The lecture's whole run by the kernels, on hardware if there is any. The tolerances are what the program
/// promises of every GPU: each sums in an order of its own, may fuse multiplications with
/// additions, and has its own `exp` and `tanh`, good to some units in the last place. So the names
/// are not promised letter by letter.
///
/// It takes a minute to a minute and a half on two cores, which is why only `tests/run --all` runs it, and
/// fails where there is no Vulkan adapter.
#[test]
#[ignore = "long: tests/run --all runs it"]
fn the_whole_run_on_a_software_adapter() {
    let allowed = Allowed {
        minibatch: 0.02,
        set: 0.005,
    };
    let run = whole_run("vulkan", allowed);
    assert_eq!(run.summary["backend"], "vulkan");
    // The first two lines have the adapter's name and its kind.
    let adapter = run.summary["adapter"].as_str().unwrap();
    assert!(run.device.contains(adapter), "{}", run.device);
    let kinds = ["software", "discrete GPU", "integrated GPU", "virtual GPU"];
    let kind = kinds.iter().find(|kind| run.device.contains(**kind));
    assert!(kind.is_some(), "{}", run.device);
    assert_eq!(run.names.len(), PYTORCH_NAMES.len());
    let same = PYTORCH_NAMES.iter().zip(&run.names).filter(|(a, b)| a == b);
    println!("{adapter}: {} of 20 names are PyTorch's", same.count());
}
