//! Steps a second of every backend, side by side in one run: the CPU reference in f64, the CPU
//! backend, and the staged schedule on each adapter found. `cargo bench` prints the time of a step
//! and, as `elem/s`, the steps a second.
//!
//! Each backend first does a few steps that are held against the reference: a fast wrong kernel is
//! not worth a time.

use std::time::Instant;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use gpu_makemore::backend::{Backend, Steps};
use gpu_makemore::cpu::{CpuBackend, Model};
use gpu_makemore::dims::Dims;
use gpu_makemore::gpu::adapter::{Api, api_name, enumerate};
use gpu_makemore::gpu::staged::Staged;
use gpu_makemore::params::Params;
use gpu_makemore::rng::TorchGenerator;

const SIZES: [(&str, Dims); 2] = [
    ("lecture", Dims::LECTURE),
    (
        "hidden_1024_batch_1024",
        Dims {
            hidden: 1024,
            batch: 1024,
            ..Dims::LECTURE
        },
    ),
];

/// Initial values and `count` steps of random tokens.
fn inputs(dims: &Dims, count: usize) -> (Params<f32>, Steps) {
    let mut generator = TorchGenerator::manual_seed(2_147_483_647);
    let params = Params::init(dims, &mut generator);
    let mut tokens = |len: usize| {
        let mut tokens = vec![0; len];
        generator.randint_into(dims.vocab as u32, &mut tokens);
        tokens.into_iter().map(|t| t as u8).collect::<Vec<u8>>()
    };
    let steps = Steps {
        first: 0,
        x: tokens(count * dims.batch * dims.block),
        y: tokens(count * dims.batch),
        lr: vec![0.01; count],
    };
    (params, steps)
}

/// Panics unless the first losses are the reference's.
fn check(backend: &mut dyn Backend, name: &str) {
    let (params, steps) = inputs(backend.dims(), 3);
    let mut reference = Model::new(*backend.dims(), params.map(f64::from));
    let mut losses = Vec::new();
    backend
        .train(&steps, &mut losses)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    for (i, &loss) in losses.iter().enumerate() {
        let (x, y, lr) = steps.step(i);
        let want = reference.step(x, y, f64::from(lr));
        let close = (f64::from(loss) - want).abs() <= 1e-4;
        assert!(
            close,
            "{name}: loss of step {i} is {loss}, reference {want}"
        );
    }
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, backend: &mut dyn Backend) {
    check(backend, name);
    let count = if backend.dims().batch > 100 { 4 } else { 256 };
    let (_, steps) = inputs(backend.dims(), count);
    let mut losses = Vec::new();
    group.bench_function(name, |b| {
        b.iter_custom(|iterations| {
            // Whole chunks, scaled to the iterations asked for: a chunk is what the trainer submits.
            let chunks = iterations.div_ceil(count as u64);
            let start = Instant::now();
            for _ in 0..chunks {
                losses.clear();
                backend
                    .train(&steps, &mut losses)
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            start
                .elapsed()
                .mul_f64(iterations as f64 / (chunks * count as u64) as f64)
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let adapters = enumerate(Api::Auto);
    for (size, dims) in SIZES {
        let mut group = criterion.benchmark_group(size);
        group.sample_size(10);
        group.throughput(Throughput::Elements(1));
        let (params, steps) = inputs(&dims, 1);
        let mut reference = Model::new(dims, params.map(f64::from));
        group.bench_function("reference_f64", |b| {
            let (x, y, lr) = steps.step(0);
            b.iter(|| reference.step(x, y, f64::from(lr)));
        });
        bench(
            &mut group,
            "cpu",
            &mut CpuBackend::new(dims, params.clone()),
        );
        for found in adapters.iter().filter(|f| f.computes()) {
            let name = format!(
                "staged_{}_{}",
                api_name(found.info.backend),
                found.info.name
            );
            match Staged::new(found, dims, &params) {
                Ok(mut staged) => bench(&mut group, &name, &mut staged),
                Err(error) => eprintln!("{name}: not timed: {error}"),
            }
        }
        group.finish();
    }
    criterion.final_summary();
}
