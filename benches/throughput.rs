//! The time of a training step of every backend, side by side in one run: the CPU reference in f64,
//! the CPU backend on one core and, where it pays, on all, and each schedule on each adapter found; at
//! the lecture's size, along two growth curves, and at the largest size there is. As `elem/s`,
//! `cargo bench` prints examples a second. A third curve is of many models at once, as `sweep` trains
//! them; there `elem/s` are model-steps a second.
//!
//! Each backend first does a few steps that are held against the reference: a fast wrong kernel is
//! not worth a time. Afterwards `cargo run --release --example growth` draws the three curves.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use gpu_makemore::backend::{Api, Backend, DeviceError};
use gpu_makemore::cli::environment;
use gpu_makemore::cli::sweep::work::{self, End, Event, Job};
use gpu_makemore::cores::cores;
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::data::{self, Dataset};
use gpu_makemore::engine::Engine;
use gpu_makemore::gpu::adapter::{Found, api_name, enumerate};
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::resident::Resident;
use gpu_makemore::gpu::staged::Staged;
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::params::Params;
use gpu_makemore::model::recipe::Recipe;
use gpu_makemore::model::steps::Steps;
use gpu_makemore::reference::Model;
use gpu_makemore::rng::TorchGenerator;
use gpu_makemore::{model::steps::LearningRate, training::Stream};
use pollster::FutureExt as _;

/// Opens an adapter with a schedule.
type Open = fn(&Found, Dims, &Params<f32>) -> Result<Engine, DeviceError>;

/// The schedules, each of which is timed on each adapter.
const SCHEDULES: &[(&str, Open)] = &[
    // One a line.
    ("staged", |f, d, p| {
        Ok(Staged::new(f, d, p).block_on()?.into())
    }),
    ("resident", |f, d, p| {
        Ok(Resident::new(f, d, p).block_on()?.into())
    }),
];

/// Group, name and sizes of each point. The lecture's is the first point of both curves.
const POINTS: [(&str, &str, usize, usize); 10] = [
    // group, name, batch, hidden
    ("lecture", "batch 32, hidden 200", 32, 200),
    ("batch", "128", 128, 200),
    ("batch", "512", 512, 200),
    ("batch", "2048", 2048, 200),
    ("batch", "4096", 4096, 200),
    ("hidden", "400", 32, 400),
    ("hidden", "800", 32, 800),
    ("hidden", "1200", 32, 1200),
    ("hidden", "2048", 32, 2048),
    ("largest", "batch 4096, hidden 2048", 4096, 2048),
];

/// A backend whose step takes longer is left out at that size: ten samples and the checks would keep
/// the run waiting for one row out of some sixty.
const SLOWEST: Duration = Duration::from_secs(2);
/// About how long a call of `train` should take, as in the trainer.
const CHUNK: Duration = Duration::from_millis(50);

/// Steps that are held against the reference.
const FIRST: usize = 3;
/// Models at once at most, on a hardware adapter.
const MOST_MODELS: usize = 512;
/// A core of a software adapter does one model after another: once twice the models take so much
/// longer, further points would tell the same.
const LINEAR: f64 = 1.85;
/// Steps of each model in a run of the CPU's part of that curve at least: the first chunks are short.
const CPU_STEPS: u64 = 4000;

/// The names that come with the program.
fn names() -> &'static Dataset {
    static NAMES: OnceLock<Dataset> = OnceLock::new();
    NAMES.get_or_init(|| data::load(&data::Options::default()).unwrap_or_else(|e| panic!("{e}")))
}

/// Initial values, and the first `count` steps as they are trained: minibatches of names, whose examples
/// share contexts, as random tokens would not.
fn inputs(dims: &Dims, count: usize) -> (Params<f32>, Steps) {
    let mut generator = TorchGenerator::manual_seed(2_147_483_647);
    let params = Params::init(dims, &mut generator);
    let rate = LearningRate {
        lr: 0.01,
        lr_final: 0.01,
        decay_at: 0,
    };
    let steps = Stream::new(&names().train, generator, rate, dims.batch).take(count);
    (params, steps)
}

/// The reference after some steps, and their losses.
fn reference(dims: Dims) -> (Model<f64>, Vec<f64>) {
    let (params, steps) = inputs(&dims, FIRST);
    let mut model = Model::new(dims, params.map(f64::from));
    let losses = (0..steps.len())
        .map(|i| {
            let (x, y, lr) = steps.step(i);
            model.step(x, y, f64::from(lr))
        })
        .collect();
    (model, losses)
}

/// The reference's step as a row among the others. It has no `Backend`, since nothing trains on it.
fn bench_reference(group: &mut BenchmarkGroup<'_, WallTime>, size: &str, dims: Dims) -> Vec<f64> {
    let start = Instant::now();
    let (mut model, losses) = reference(dims);
    if within_limit("reference_f64", &dims, start.elapsed() / FIRST as u32) {
        let (_, steps) = inputs(&dims, 1);
        let (x, y, lr) = steps.step(0);
        group.bench_function(BenchmarkId::new("reference_f64", size), |b| {
            b.iter(|| model.step(x, y, f64::from(lr)));
        });
    }
    losses
}

/// Checks a backend's first losses against the reference's, then times it.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    size: &str,
    backend: &mut impl Backend,
    reference: &[f64],
) {
    let dims = *backend.dims();
    let mut train = |steps: &Steps, losses: &mut Vec<f32>| {
        losses.clear();
        let start = Instant::now();
        backend
            .train(steps, losses)
            .block_on()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        start.elapsed()
    };
    let (_, steps) = inputs(&dims, reference.len());
    let mut losses = Vec::new();
    train(&steps, &mut losses);
    check(&format!("{name}, {size}"), &losses, reference);

    let step = train(&steps, &mut losses) / steps.len() as u32;
    if !within_limit(name, &dims, step) {
        return;
    }
    let count = in_a_chunk(step);
    let (_, steps) = inputs(&dims, count);
    time_chunks(group, BenchmarkId::new(name, size), count, || {
        train(&steps, &mut losses)
    });
}

/// Holds the losses of the first steps against the reference's.
fn check(what: &str, losses: &[f32], reference: &[f64]) {
    assert_eq!(losses.len(), reference.len(), "{what}: losses");
    for (i, (&loss, &want)) in losses.iter().zip(reference).enumerate() {
        assert!(
            (f64::from(loss) - want).abs() <= 1e-4,
            "{what}: loss of step {i} is {loss}, reference {want}"
        );
    }
}

/// Steps of a chunk, if one takes this long.
fn in_a_chunk(step: Duration) -> usize {
    (CHUNK.as_secs_f64() / step.as_secs_f64()).clamp(1.0, 512.0) as usize
}

/// Times steps by whole chunks, scaled to what criterion asks for: a chunk is what the trainer submits.
fn time_chunks(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    count: usize,
    mut chunk: impl FnMut() -> Duration,
) {
    group.bench_function(id, |b| {
        b.iter_custom(|iterations| {
            let chunks = iterations.div_ceil(count as u64);
            let elapsed: Duration = (0..chunks).map(|_| chunk()).sum();
            elapsed.mul_f64(iterations as f64 / (chunks * count as u64) as f64)
        });
    });
}

/// Whether a step is short enough to be timed; says so if not.
fn within_limit(name: &str, dims: &Dims, step: Duration) -> bool {
    let within = step <= SLOWEST;
    if !within {
        println!("{name}: left out at {dims}: a step takes {step:.1?}, the limit is {SLOWEST:?}");
    }
    within
}

/// The adapters that compute, each with a name of its own: a machine may have two of the same card.
fn adapters() -> Vec<(String, Found)> {
    let mut named: Vec<(String, Found)> = Vec::new();
    for found in enumerate(Api::Auto)
        .block_on()
        .into_iter()
        .filter(Found::computes)
    {
        let mut name = format!("{}_{}", api_name(found.info.backend), found.info.name);
        if named.iter().any(|(other, _)| *other == name) {
            name = format!("{name} #{}", named.len());
        }
        named.push((name, found));
    }
    named
}

/// 1, 2, 4 … up to `most`, and `most` itself.
fn doubling(most: usize) -> impl Iterator<Item = usize> {
    let powers = std::iter::successors(Some(1), |models| Some(2 * models));
    powers
        .take_while(move |&models| models < most)
        .chain([most])
}

/// Models on the CPU as `sweep` trains them, one a core: the time until the last of them is done, with
/// the drawing of their minibatches and without their evaluation.
fn bench_models_on_cpu(group: &mut BenchmarkGroup<'_, WallTime>, names: &Dataset) {
    for models in doubling(cores()) {
        group.throughput(Throughput::Elements(models as u64));
        group.bench_function(BenchmarkId::new("cpu", models), |b| {
            b.iter_custom(|iterations| {
                let steps = iterations.max(CPU_STEPS);
                let recipe = |point: usize| Recipe {
                    steps,
                    seed: point as u64,
                    ..Recipe::default()
                };
                let job = |point| Job {
                    point,
                    recipe: recipe(point),
                    dims: Dims::LECTURE,
                    dataset: names,
                };
                let jobs: Vec<Job> = (0..models).map(job).collect();
                let mut slowest: f64 = 0.0;
                let mut done = 0;
                let mut sink = |event| {
                    if let Event::Ended(finished) = event {
                        assert!(matches!(finished.end, End::Done(..)), "a model diverged");
                        slowest = slowest.max(finished.seconds);
                        done += 1;
                    }
                    Ok(())
                };
                work::on_cpu(&jobs, None, &mut sink).unwrap_or_else(|e| panic!("cpu: {e}"));
                assert_eq!(done, models);
                Duration::from_secs_f64(slowest).mul_f64(iterations as f64 / steps as f64)
            });
        });
    }
    let cores = cores();
    println!("cpu: no more than {cores} models: each core does one at a time, the others wait");
}

/// Many models in one dispatch of the resident schedule. The losses of each are checked.
fn bench_models(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    found: &Found,
    reference: &[f64],
) {
    let dims = Dims::LECTURE;
    let (params, first) = inputs(&dims, reference.len());
    let mut before: Option<Duration> = None;
    for models in doubling(MOST_MODELS) {
        let opened = Gpu::open(found).block_on().and_then(|gpu| {
            Resident::several(gpu, found, dims, &vec![params.clone(); models]).block_on()
        });
        let mut resident = match opened {
            Ok(resident) => resident,
            Err(error) => {
                println!("{name}: no more than {} models: {error}", models / 2);
                return;
            }
        };
        let mut losses = vec![Vec::new(); models];
        let mut train = |steps: &Steps, losses: &mut [Vec<f32>]| {
            losses.iter_mut().for_each(Vec::clear);
            let start = Instant::now();
            resident
                .train_all(&vec![steps; models], losses)
                .block_on()
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            start.elapsed()
        };
        train(&first, &mut losses);
        for (model, losses) in losses.iter().enumerate() {
            check(
                &format!("{name}, model {model} of {models}"),
                losses,
                reference,
            );
        }
        // As many steps for each number of models, so that the two can be compared.
        let (_, steps) = inputs(&dims, 100);
        let step = train(&steps, &mut losses) / steps.len() as u32;
        let count = in_a_chunk(step);
        let (_, steps) = inputs(&dims, count);
        group.throughput(Throughput::Elements(models as u64));
        time_chunks(group, BenchmarkId::new(name, models), count, || {
            train(&steps, &mut losses)
        });
        let growth = before.map_or(0.0, |before| step.as_secs_f64() / before.as_secs_f64());
        if found.is_software() && models > cores() && growth >= LINEAR {
            println!(
                "{name}: no more than {models} models: twice as many take {growth:.2} times as long, \
                 on to {MOST_MODELS}"
            );
            return;
        }
        before = Some(step);
    }
}

fn main() {
    // SAFETY: no thread has been started yet.
    unsafe { environment::silence_device_select() };
    // Short, since the rows are many: the spread that criterion prints tells whether too short.
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let adapters = adapters();
    for (group, size, batch, hidden) in POINTS {
        let dims = Dims {
            batch,
            hidden,
            ..Dims::LECTURE
        };
        let (params, _) = inputs(&dims, 0);
        let mut group = criterion.benchmark_group(group);
        group.sampling_mode(SamplingMode::Flat); // the same number of steps in each sample
        group.throughput(Throughput::Elements(batch as u64));
        let losses = bench_reference(&mut group, size, dims);
        let mut cpu = CpuBackend::new(dims, params.clone());
        bench(&mut group, "cpu", size, &mut cpu, &losses);
        let mut all = CpuBackend::new(dims, params.clone()).with_cores(cores());
        if all.workers() > 1 {
            bench(&mut group, "cpu_all cores", size, &mut all, &losses);
        }
        for (adapter, found) in &adapters {
            for (schedule, open) in SCHEDULES {
                let name = format!("{schedule}_{adapter}");
                match open(found, dims, &params) {
                    Ok(mut backend) => bench(&mut group, &name, size, &mut backend, &losses),
                    Err(error) => println!("{name}: not timed at {dims}: {error}"),
                }
            }
        }
        group.finish();
    }

    let mut group = criterion.benchmark_group("models");
    group.sampling_mode(SamplingMode::Flat);
    bench_models_on_cpu(&mut group, names());
    let losses = reference(Dims::LECTURE).1;
    for (adapter, found) in &adapters {
        bench_models(&mut group, &format!("resident_{adapter}"), found, &losses);
    }
    group.finish();
    criterion.final_summary();
}
