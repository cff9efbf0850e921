//! What several tests need: fixtures, random inputs, the twin's tensors, the checker's errors.

#![allow(dead_code)] // each test binary uses its part

pub mod adapters;
pub mod memory;
pub mod readers;

use gpu_makemore::backend::{Backend, DeviceError};
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::data::{self, Batch};
use gpu_makemore::gradcheck::compare::Element;
pub use gpu_makemore::gradcheck::compare::Tolerance;
use gpu_makemore::model::dims::{Dims, Token};
use gpu_makemore::model::params::{Params, Tensor};
use gpu_makemore::model::steps::Steps;
use gpu_makemore::reference::Model;
use gpu_makemore::rng::TorchGenerator;
use libtest_mimic::Failed;
use pollster::FutureExt as _;
use safetensors::{Dtype, SafeTensors};

/// Compares two tensors. The error names the worst element with both values, the largest distance
/// in units of the last place of f32, and what was allowed.
pub fn compare(name: &str, got: &[f64], want: &[f64], tolerance: Tolerance) -> Result<(), String> {
    let result = gpu_makemore::gradcheck::compare::compare(got, want, tolerance)
        .map_err(|e| format!("{name}: {e}"))?;
    if result.pass {
        return Ok(());
    }
    let Element {
        index,
        got,
        want,
        allowed,
    } = result.worst;
    Err(format!(
        "{name}[{index}] = {got:e}, expected {want:e}: off by {:e}, allowed {allowed:e}; the \
         tensor's largest distance is {} ULP",
        (got - want).abs(),
        result.max_ulps
    ))
}

/// Values as f64, for the checker.
pub fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// A file made by `tests/fixtures/make.py`.
pub struct Fixture(Vec<u8>);

impl Fixture {
    pub fn open(name: &str) -> Self {
        let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        Self(std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}")))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn tensor(&self, name: &str) -> (Dtype, Vec<usize>, Vec<u8>) {
        let file = SafeTensors::deserialize(&self.0).expect("fixture");
        let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        (
            tensor.dtype(),
            tensor.shape().to_vec(),
            tensor.data().to_vec(),
        )
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensor(name).1
    }

    pub fn f64(&self, name: &str) -> Vec<f64> {
        let (dtype, _, bytes) = self.tensor(name);
        match dtype {
            Dtype::F64 => bytemuck::pod_collect_to_vec(&bytes),
            Dtype::F32 => f64s(&bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)),
            other => panic!("{name}: {other:?}"),
        }
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        let (dtype, _, bytes) = self.tensor(name);
        assert_eq!(dtype, Dtype::F32, "{name}");
        bytemuck::pod_collect_to_vec(&bytes)
    }

    pub fn i64(&self, name: &str) -> Vec<i64> {
        let (dtype, _, bytes) = self.tensor(name);
        assert_eq!(dtype, Dtype::I64, "{name}");
        bytemuck::pod_collect_to_vec(&bytes)
    }

    pub fn tokens(&self, name: &str) -> Vec<Token> {
        self.i64(name)
            .into_iter()
            .map(|t| Token::try_from(t).expect("a token fits 16 bits"))
            .collect()
    }

    /// Sizes, as the shapes of its tensors tell them.
    pub fn dims(&self) -> Dims {
        let (x, c, w1) = (self.shape("X"), self.shape("C"), self.shape("W1"));
        Dims {
            vocab: c[0],
            block: x[1],
            embd: c[1],
            hidden: w1[1],
            batch: x[0],
        }
    }

    pub fn params(&self) -> Params<f64> {
        Params::from_fn(|t| self.f64(t.name()))
    }
}

/// The sizes that kernels are tested at: the lecture's, and odd ones around the edges of tiles,
/// workgroups and packed tokens.
pub const SIZES: [(&str, Dims); 7] = [
    ("lecture", Dims::LECTURE),
    ("odd", dims(29, 1, 5, 65, 33)),
    ("long", dims(11, 8, 3, 17, 5)),
    ("tiny", dims(2, 1, 1, 1, 2)),
    ("wide", dims(256, 2, 30, 301, 67)),
    ("deep", dims(5, 16, 32, 63, 130)),
    ("characters", dims(701, 3, 10, 36, 40)),
];

const fn dims(vocab: usize, block: usize, embd: usize, hidden: usize, batch: usize) -> Dims {
    Dims {
        vocab,
        block,
        embd,
        hidden,
        batch,
    }
}

/// Parameters and one minibatch, the same for the same seed.
pub struct Inputs {
    pub params: Params<f32>,
    pub x: Vec<Token>,
    pub y: Vec<Token>,
}

pub fn inputs(dims: &Dims, seed: u64) -> Inputs {
    let mut generator = TorchGenerator::manual_seed(seed);
    let params = Params::init(dims, &mut generator);
    let mut tokens = |len: usize| {
        let mut tokens = vec![0u32; len];
        generator.randint_into(dims.vocab as u32, &mut tokens);
        tokens.iter().map(|&t| t as Token).collect::<Vec<Token>>()
    };
    Inputs {
        params,
        x: tokens(dims.batch * dims.block),
        y: tokens(dims.batch),
    }
}

/// The f64 reference after a forward and a backward pass over `inputs`.
pub fn reference(dims: &Dims, inputs: &Inputs) -> Model<f64> {
    let mut model = Model::new(*dims, inputs.params.map(f64::from));
    model.forward(&inputs.x, &inputs.y);
    model.backward(&inputs.x);
    model
}

/// Compares all seven tensors.
pub fn compare_params(
    what: &str,
    got: &Params<f32>,
    want: &Params<f64>,
    tolerance: Tolerance,
) -> Result<(), String> {
    for tensor in Tensor::ALL {
        let name = format!("{what} {}", tensor.name());
        compare(&name, &f64s(got.get(tensor)), want.get(tensor), tolerance)?;
    }
    Ok(())
}

/// Real steps of the lecture's run, from its first on, and the parameters that it starts from.
pub fn lecture_steps(
    count: usize,
) -> Result<(Params<f32>, Steps), gpu_makemore::cli::error::Error> {
    let names = data::load(&data::Options::default())?;
    let mut generator = TorchGenerator::manual_seed(2147483647);
    let params = Params::init(&Dims::LECTURE, &mut generator);
    let mut batch = Batch::default();
    let mut ix = vec![0u32; Dims::LECTURE.batch];
    for _ in 0..count {
        generator.randint_into(names.train.len() as u32, &mut ix);
        for &i in &ix {
            names.train.write(i as usize, &mut batch);
        }
    }
    let Batch { x, y } = batch;
    let lr = vec![0.1; count];
    Ok((params, Steps { first: 0, x, y, lr }))
}

/// Some of a run of steps.
pub fn part(steps: &Steps, range: std::ops::Range<usize>) -> Steps {
    let (xs, ys) = (steps.x.len() / steps.len(), steps.y.len() / steps.len());
    Steps {
        first: steps.first + range.start as u64,
        x: steps.x[range.start * xs..range.end * xs].to_vec(),
        y: steps.y[range.start * ys..range.end * ys].to_vec(),
        lr: steps.lr[range].to_vec(),
    }
}

/// Every value as its bits, to compare runs that have to be the same.
pub fn bits(params: &Params<f32>) -> Vec<u32> {
    let values = Tensor::ALL.into_iter().flat_map(|t| params.get(t).to_vec());
    values.map(f32::to_bits).collect()
}

/// 2,000 steps of the lecture on a device and on the CPU, the losses held against each other and
/// PyTorch's.
pub fn two_thousand_steps<B: Backend>(
    open: impl Fn(&Params<f32>) -> Result<B, DeviceError>,
) -> Result<(), Failed> {
    let (params, steps) = lecture_steps(2000)?;
    let mut cpu = CpuBackend::new(Dims::LECTURE, params.clone());
    let (mut want, mut got) = (Vec::new(), Vec::new());
    cpu.train(&steps, &mut want).block_on()?;
    open(&params)?.train(&steps, &mut got).block_on()?;
    if got.len() != want.len() {
        return Err(format!("{} losses for {} steps", got.len(), want.len()).into());
    }
    // Measured on lavapipe and on llvmpipe: the worst loss is 5e-7 away, the worst mean of 200
    // 7e-8. A hardware driver has an exp and a division of its own, good to a few units in the last
    // place, so each is allowed some hundred times that.
    let torch = Fixture::open("lecture_run.safetensors").f32("losses");
    for (name, want, count) in [("PyTorch", &torch, 100), ("CPU", &want, 2000)] {
        for (i, (got, want)) in got.iter().zip(want).enumerate().take(count) {
            let close = (got - want).abs() <= 1e-4;
            if !close {
                return Err(format!("loss of step {i}: {got}, {name} {want}").into());
            }
        }
    }
    let mean = |losses: &[f32]| losses.iter().map(|&l| f64::from(l)).sum::<f64>() / 200.0;
    for (i, (got, want)) in got.chunks(200).zip(want.chunks(200)).enumerate() {
        let (got, want) = (mean(got), mean(want));
        let close = (got - want).abs() <= 1e-5;
        if !close {
            return Err(format!("mean loss of steps {}..: {got}, CPU {want}", i * 200).into());
        }
    }
    Ok(())
}

/// The loss and the seven gradients of one step of a backend that has the parameters of `inputs`. A step updates
/// at once and keeps no gradients; but one with a learning rate of 2^20 leaves nothing in the parameters but them:
/// what a parameter was is lost in the rounding.
pub fn gradients_of_one_step(
    device: &mut impl Backend,
    inputs: &Inputs,
    what: &str,
) -> Result<(), Failed> {
    const LR: f32 = 1048576.0;
    let dims = *device.dims();
    let model = reference(&dims, inputs);
    let steps = Steps {
        first: 0,
        x: inputs.x.clone(),
        y: inputs.y.clone(),
        lr: vec![LR],
    };
    let mut losses = Vec::new();
    device.train(&steps, &mut losses).block_on()?;
    let loss = model.acts.row_loss.iter().sum::<f64>() / dims.batch as f64;
    compare("loss", &f64s(&losses), &[loss], Tolerance::F32)?;
    let after = device.params().block_on()?;
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for tensor in Tensor::ALL {
        let (before, after) = (inputs.params.get(tensor), after.get(tensor));
        let grads: Vec<f64> = (before.iter().zip(after))
            .map(|(&before, &after)| (f64::from(before) - f64::from(after)) / f64::from(LR))
            .collect();
        // db1 is zero but for the rounding of its terms; see tests/gpu.rs.
        let absolute = match tensor {
            Tensor::B1 => {
                let terms = largest(&model.acts.dhprebn) * (dims.batch as f64).sqrt() / 4.0;
                Tolerance::F32.of_largest * terms
            }
            _ => 0.0,
        };
        let tolerance = Tolerance {
            absolute,
            ..Tolerance::F32_PASS
        };
        let name = format!("d{} ({dims}, {what})", tensor.name());
        compare(&name, &grads, model.grads.get(tensor), tolerance)?;
    }
    Ok(())
}
