//! The one checker, and what several tests need: fixtures, random inputs, the twin's tensors.

#![allow(dead_code)] // each test binary uses its part

use gpu_makemore::cpu::Model;
use gpu_makemore::dims::Dims;
use gpu_makemore::params::{Params, Tensor};
use gpu_makemore::rng::TorchGenerator;
use safetensors::{Dtype, SafeTensors};

/// How far a value may be from the expected one:
/// `|got - want| <= relative * |want| + of_largest * max |want| + absolute`.
///
/// The second term is for sums that cancel: their error is that of the terms, not of the result.
/// The third is for tensors that cancel as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub relative: f64,
    pub of_largest: f64,
    pub absolute: f64,
}

impl Tolerance {
    /// One f64 computation against another that sums in a different order.
    pub const F64: Tolerance = Tolerance {
        relative: 1e-11,
        of_largest: 1e-13,
        absolute: 0.0,
    };

    /// One operation in f32 against the same in f64. The longest sum of the tests has 512 terms,
    /// and f32 rounds at 6e-8; the worst measured is about a tenth of this.
    pub const F32: Tolerance = Tolerance {
        relative: 1e-5,
        of_largest: 2e-6,
        absolute: 0.0,
    };

    /// A whole pass in f32 against f64: the errors of 13 operations in a row.
    pub const F32_PASS: Tolerance = Tolerance {
        relative: 1e-4,
        of_largest: 2e-5,
        absolute: 0.0,
    };
}

impl Tolerance {
    fn allowed(&self, want: f64, largest: f64) -> f64 {
        self.relative * want.abs() + self.of_largest * largest + self.absolute
    }
}

/// Compares two tensors. The error names the worst element with both values, their distance in
/// units of the last place of f32, and what was allowed. A NaN or an infinity on either side fails.
pub fn compare(name: &str, got: &[f64], want: &[f64], tolerance: Tolerance) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!(
            "{name}: {} values, expected {}",
            got.len(),
            want.len()
        ));
    }
    let largest = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
    let mut worst: Option<(usize, f64)> = None;
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let allowed = tolerance.allowed(want, largest);
        let difference = (got - want).abs();
        // `!(a <= b)` and not `a > b`: a NaN is never within a tolerance.
        let within = difference <= allowed && difference.is_finite();
        if !within {
            let excess = if difference.is_finite() {
                difference / allowed
            } else {
                f64::INFINITY
            };
            if worst.is_none_or(|(_, w)| excess > w) {
                worst = Some((i, excess));
            }
        }
    }
    match worst {
        None => Ok(()),
        Some((i, _)) => Err(format!(
            "{name}[{i}] = {:e}, expected {:e}: off by {:e} ({} f32 ULP), allowed {:e}",
            got[i],
            want[i],
            (got[i] - want[i]).abs(),
            ulps(got[i] as f32, want[i] as f32),
            tolerance.allowed(want[i], largest),
        )),
    }
}

/// Distance of two f32 values in units of the last place.
pub fn ulps(a: f32, b: f32) -> u64 {
    let ordered = |x: f32| {
        let bits = i64::from(x.to_bits() as i32);
        if bits < 0 {
            i64::from(i32::MIN) - bits
        } else {
            bits
        }
    };
    ordered(a).abs_diff(ordered(b))
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

    pub fn tokens(&self, name: &str) -> Vec<u8> {
        self.i64(name)
            .into_iter()
            .map(|t| u8::try_from(t).expect("a token fits a byte"))
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
pub const SIZES: [(&str, Dims); 6] = [
    ("lecture", Dims::LECTURE),
    ("odd", dims(29, 1, 5, 65, 33)),
    ("long", dims(11, 8, 3, 17, 5)),
    ("tiny", dims(2, 1, 1, 1, 2)),
    ("wide", dims(256, 2, 30, 301, 67)),
    ("deep", dims(5, 16, 32, 63, 130)),
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
    pub x: Vec<u8>,
    pub y: Vec<u8>,
}

pub fn inputs(dims: &Dims, seed: u64) -> Inputs {
    let mut generator = TorchGenerator::manual_seed(seed);
    let params = Params::init(dims, &mut generator);
    let mut tokens = |len: usize| {
        let mut tokens = vec![0u32; len];
        generator.randint_into(dims.vocab as u32, &mut tokens);
        tokens.iter().map(|&t| t as u8).collect::<Vec<u8>>()
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
