//! `gradcheck --exercise extras`: two operations beside the lecture's model, the linear layer of
//! one-hot rows and `repeat_kv`, forward and backward, against their twins in `f64`.

use super::GradcheckError;
use super::engine::Engine;
use crate::backend::DeviceError;
use crate::gpu::extras::Extras;
use crate::gradcheck::compare::{Comparison, Tolerance, compare};
use crate::reference::extras::{OnehotLinear, RepeatKv};
use crate::reference::real::Real;
use crate::rng::TorchGenerator;

/// One line of the table: a tensor and how it compares.
#[derive(Clone, Debug)]
pub struct ExtraRow {
    /// Operation and tensor.
    pub name: &'static str,
    /// The loss that the tensor is a gradient of, in PyTorch; none for a forward pass.
    pub loss: Option<&'static str>,
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// Against the reference.
    pub comparison: Comparison,
    /// What was allowed.
    pub tolerance: Tolerance,
}

/// For copies and counts: f32 has to have the very bits.
const EXACT: Tolerance = Tolerance {
    relative: 0.0,
    of_largest: 0.0,
    absolute: 0.0,
};

/// The loss with a gradient of ones, and one whose gradient is random: `dy = v`.
const SUM: Option<&str> = Some("y.sum()");
const WEIGHTED: Option<&str> = Some("(y * v).sum()");

/// How many tensors are compared.
const TENSORS: usize = 8;

/// Name, loss and tolerance of each, in the order of [`Inputs::twin`] and [`Inputs::kernels`].
const ROWS: [(&str, Option<&str>, Tolerance); TENSORS] = [
    ("onehot_linear.y", None, EXACT),
    ("onehot_linear.dw", SUM, EXACT),
    ("onehot_linear.dx", SUM, Tolerance::F32),
    ("onehot_linear.dw", WEIGHTED, Tolerance::F32),
    ("onehot_linear.dx", WEIGHTED, Tolerance::F32),
    ("repeat_kv.y", None, EXACT),
    ("repeat_kv.dx", SUM, EXACT),
    ("repeat_kv.dx", WEIGHTED, Tolerance::F32),
];

/// The sizes of the exercise: 256 one-hot rows and a position-specific matrix of 20 x 1280; the
/// heads of Llama 3 8B, 8 for keys and values and 32 for queries, over two short sequences.
pub const SIZES: (OnehotLinear, RepeatKv) = (
    OnehotLinear {
        rows: 256,
        classes: 20,
        cols: 1280,
    },
    RepeatKv {
        batch: 2,
        seq: 16,
        kv_heads: 8,
        head_dim: 128,
        copies: 4,
    },
);

/// What both operations are computed from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Sizes of the one-hot linear.
    pub onehot: OnehotLinear,
    /// Its classes, `(rows)`.
    pub ix: Vec<u32>,
    /// Its matrix, `(classes, cols)`.
    pub w: Vec<f32>,
    /// A gradient of its `y`, `(rows, cols)`.
    pub onehot_v: Vec<f32>,
    /// Sizes of `repeat_kv`.
    pub repeat: RepeatKv,
    /// Its input, `(batch, seq, kv_heads, head_dim)`.
    pub x: Vec<f32>,
    /// A gradient of its `y`, `(batch, seq, kv_heads * copies, head_dim)`.
    pub repeat_v: Vec<f32>,
}

impl Inputs {
    /// Those of a seed: `torch.randint` for `ix`, then `torch.randn` for the others in their order.
    pub fn new((onehot, repeat): (OnehotLinear, RepeatKv), seed: u64) -> Self {
        let mut generator = TorchGenerator::manual_seed(seed);
        let mut ix = vec![0; onehot.rows];
        generator.randint_into(onehot.classes as u32, &mut ix);
        let heads = repeat.heads() * repeat.head_dim;
        Self {
            onehot,
            ix,
            w: generator.randn(onehot.classes * onehot.cols),
            onehot_v: generator.randn(onehot.rows * onehot.cols),
            repeat,
            x: generator.randn(heads),
            repeat_v: generator.randn(heads * repeat.copies),
        }
    }

    /// All tensors by the twin: in `f64` the reference, in `f32` what the CPU computes.
    pub fn twin<R: Real>(&self, convert: fn(f32) -> R) -> [Vec<R>; TENSORS] {
        let convert = |values: &[f32]| -> Vec<R> { values.iter().map(|&v| convert(v)).collect() };
        let (onehot, ix, w, v) = (
            &self.onehot,
            &self.ix,
            &convert(&self.w),
            &convert(&self.onehot_v),
        );
        let (repeat, x, repeat_v) = (&self.repeat, &convert(&self.x), &convert(&self.repeat_v));
        let ones = &vec![R::one(); v.len()];
        let repeat_ones = &vec![R::one(); repeat_v.len()];
        [
            onehot.forward(ix, w),
            onehot.backward_weight(ix, ones),
            onehot.backward_input(ones, w),
            onehot.backward_weight(ix, v),
            onehot.backward_input(v, w),
            repeat.forward(x),
            repeat.backward(repeat_ones),
            repeat.backward(repeat_v),
        ]
    }

    /// All tensors by the kernels.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn kernels(&self, device: &Extras) -> Result<[Vec<f32>; TENSORS], DeviceError> {
        let (onehot, ix, w, v) = (&self.onehot, &self.ix, &self.w, &self.onehot_v);
        let (repeat, x, repeat_v) = (&self.repeat, &self.x, &self.repeat_v);
        let ones = &vec![1.0; v.len()];
        let repeat_ones = &vec![1.0; repeat_v.len()];
        Ok([
            device.onehot_linear_forward(onehot, ix, w).await?,
            device
                .onehot_linear_backward_weight(onehot, ix, ones)
                .await?,
            device.onehot_linear_backward_input(onehot, ones, w).await?,
            device.onehot_linear_backward_weight(onehot, ix, v).await?,
            device.onehot_linear_backward_input(onehot, v, w).await?,
            device.repeat_kv_forward(repeat, x).await?,
            device.repeat_kv_backward(repeat, repeat_ones).await?,
            device.repeat_kv_backward(repeat, repeat_v).await?,
        ])
    }

    /// Compares all tensors with the `f64` twin's.
    ///
    /// # Errors
    ///
    /// A tensor has another number of values.
    pub fn rows(&self, got: &[Vec<f32>; TENSORS]) -> Result<Vec<ExtraRow>, GradcheckError> {
        let want = self.twin(f64::from);
        let mut rows = Vec::with_capacity(TENSORS);
        for (((&(name, loss, tolerance), shape), got), want) in
            ROWS.iter().zip(self.shapes()).zip(got).zip(&want)
        {
            let got: Vec<f64> = got.iter().map(|&v| f64::from(v)).collect();
            let comparison = compare(&got, want, tolerance)
                .map_err(|e| GradcheckError::Compare(name.to_owned(), e))?;
            rows.push(ExtraRow {
                name,
                loss,
                shape,
                comparison,
                tolerance,
            });
        }
        Ok(rows)
    }

    fn shapes(&self) -> [Vec<usize>; TENSORS] {
        let OnehotLinear {
            rows,
            classes,
            cols,
        } = self.onehot;
        let RepeatKv {
            batch,
            seq,
            kv_heads,
            head_dim,
            copies,
        } = self.repeat;
        let (dw, dx) = (vec![classes, cols], vec![rows, classes]);
        let repeat_dx = vec![batch, seq, kv_heads, head_dim];
        [
            vec![rows, cols],
            dw.clone(),
            dx.clone(),
            dw,
            dx,
            vec![batch, seq, kv_heads * copies, head_dim],
            repeat_dx.clone(),
            repeat_dx,
        ]
    }
}

/// Runs both operations on the inputs of a seed and compares all that they compute.
///
/// # Errors
///
/// The device failed.
pub async fn run(engine: &Engine, seed: u64) -> Result<Vec<ExtraRow>, GradcheckError> {
    let inputs = Inputs::new(SIZES, seed);
    let got = match engine {
        Engine::Cpu => inputs.twin(|v| v),
        Engine::Gpu(found, kernels, _) => {
            let device = Extras::new(found, &kernels.extras()).await?;
            inputs.kernels(&device).await?
        }
    };
    inputs.rows(&got)
}
