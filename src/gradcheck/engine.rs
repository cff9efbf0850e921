//! What computes the gradients under test, and the reference that they are held against.

use super::GradcheckError;
use super::Inputs;
use super::code::Layouts;
use crate::backend::DeviceError;
use crate::gpu::adapter::{Choice, Found};
use crate::gpu::chunked::{Chunked, in_training_step};
pub use crate::gpu::kernels::Kernels;
use crate::gradcheck::compare::Tolerance;
use crate::model::tensors::{LectureTensor, LectureTensors};
use crate::reference::Model;
use crate::reference::chunked;
use crate::reference::real::Real;

/// The lecture's pass over one minibatch, line by line: the 26 tensors and their gradients.
#[derive(Clone, Debug)]
pub struct Pass<R> {
    /// Values.
    pub values: LectureTensors<R>,
    /// Gradients, each computed from the one before.
    pub grads: LectureTensors<R>,
}

impl Pass<f32> {
    /// Values and gradients converted to `f64`, for the comparison.
    pub fn to_f64(&self) -> Pass<f64> {
        let f64s = |chunks: &LectureTensors<f32>| {
            LectureTensors::from_fn(|c| chunks[c].iter().map(|&v| f64::from(v)).collect())
        };
        Pass {
            values: f64s(&self.values),
            grads: f64s(&self.grads),
        }
    }
}

impl Pass<f64> {
    /// What f32 is allowed for the gradient of a tensor.
    ///
    /// Mostly a part of the tensor's own size. But f32 rounds the terms of a sum, and where they
    /// cancel, the result can be smaller than their errors. So some tensors are held against their
    /// terms:
    ///
    /// * dlogit_maxes is zero, since a constant taken off a row does not change its softmax;
    /// * dbndiff and dhprebn are what batch norm leaves of dhpreact: in a batch of two next to
    ///   nothing. The errors continue into dbnmeani, dW1, dembcat and dC, and add up as a
    ///   random walk does, with the root of the number of terms; in db1, which is zero but for
    ///   them, with their number, because a column's errors have the one of its mean in common;
    /// * dbngain, dbnvar_inv, dbnvar and dbndiff2 are sums with `bnraw` or `bndiff`, which are zero
    ///   for a unit that sees the same contexts in every row.
    ///
    /// And where a unit varies little beside its mean, `bndiff` has lost digits before the backward
    /// pass begins: `hprebn * bnvar_inv` tells how many. It is below 8 for ordinary inputs.
    pub fn tolerance(&self, chunk: LectureTensor) -> Tolerance {
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let value = |chunk: LectureTensor| largest(&self.values[chunk]);
        let hidden = self.values[LectureTensor::BnvarInv].len();
        let condition = self.values[LectureTensor::Hprebn]
            .iter()
            .enumerate()
            .map(|(i, x)| x.abs() * self.values[LectureTensor::BnvarInv][i % hidden])
            .fold(0.0, f64::max);
        let factor = (condition / 8.0).max(1.0);

        let batchnorm = largest(&self.grads[LectureTensor::Bnraw]) * value(LectureTensor::BnvarInv);
        let root = |count: usize| (count as f64).sqrt();
        let n = self.values[LectureTensor::CountsSum].len() as f64;
        let rows = n.sqrt();
        let squares =
            value(LectureTensor::Hprebn) * largest(&self.grads[LectureTensor::Bnraw]) * rows;
        let inputs = batchnorm * root(hidden) * value(LectureTensor::W1);
        let positions = root(self.values[LectureTensor::Emb].len());
        let terms = match chunk {
            LectureTensor::LogitMaxes => largest(&self.grads[LectureTensor::NormLogits]),
            LectureTensor::Bndiff | LectureTensor::Hprebn => batchnorm,
            LectureTensor::Bngain => largest(&self.grads[LectureTensor::Hpreact]) * rows,
            LectureTensor::BnvarInv => squares,
            LectureTensor::Bnvar => squares * value(LectureTensor::BnvarInv).powi(3) / 2.0,
            LectureTensor::Bndiff2 => {
                squares * value(LectureTensor::BnvarInv).powi(3) / (2.0 * (n - 1.0))
            }
            LectureTensor::Bnmeani => batchnorm * rows,
            LectureTensor::B1 => batchnorm * n,
            LectureTensor::W1 => batchnorm * rows * value(LectureTensor::Embcat),
            LectureTensor::Embcat | LectureTensor::Emb => inputs,
            LectureTensor::C => inputs * positions,
            _ => 0.0,
        };
        let Tolerance {
            relative,
            of_largest,
            ..
        } = Tolerance::F32_PASS;
        // A tenth for the terms: they are the bound of a bound, and the check must stay sharp.
        Tolerance {
            relative: relative * factor,
            of_largest: of_largest * factor,
            absolute: of_largest * factor * terms / 10.0,
        }
    }
}

/// A device to check.
pub enum Engine {
    /// The processor: the fast step, and the twin in `f32` for what that step never stores.
    Cpu,
    /// An adapter, the kernels to run on it, and the layouts of their steps.
    Gpu(Box<Found>, Kernels, Layouts),
}

impl Engine {
    /// The engine for a device that was chosen.
    pub fn new(choice: &Choice) -> Self {
        Self::with_kernels(choice, Kernels::default())
    }

    /// The engine for a device that was chosen, with kernels that may have been changed.
    pub fn with_kernels(choice: &Choice, kernels: Kernels) -> Self {
        match choice {
            Choice::Cpu { .. } => Engine::Cpu,
            Choice::Gpu { found, .. } => Engine::Gpu(found.clone(), kernels, Layouts::default()),
        }
    }

    /// This engine, checking `layouts` in place of the usual ones. On the CPU there is nothing to lay out.
    #[must_use]
    pub fn with_layouts(self, layouts: Layouts) -> Self {
        match self {
            Engine::Cpu => Engine::Cpu,
            Engine::Gpu(found, kernels, _) => Engine::Gpu(found, kernels, layouts),
        }
    }

    /// The engine for an adapter.
    pub fn on(found: &Found) -> Self {
        Engine::Gpu(
            Box::new(found.clone()),
            Kernels::of(found),
            Layouts::default(),
        )
    }

    /// The files of the kernels whose text is not the program's own.
    pub fn changed(&self) -> Vec<&'static str> {
        match self {
            Engine::Cpu => Vec::new(),
            Engine::Gpu(_, kernels, _) => kernels.changed().collect(),
        }
    }

    /// In a few words.
    pub fn name(&self) -> String {
        match self {
            Engine::Cpu => "cpu".to_owned(),
            Engine::Gpu(found, ..) => found.to_string(),
        }
    }

    /// An adapter's driver and its version.
    pub fn driver(&self) -> Option<String> {
        match self {
            Engine::Cpu => None,
            Engine::Gpu(found, ..) => Some(found.driver()),
        }
    }

    /// The lecture's pass: one kernel per line of the notebook.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn pass(&self, inputs: &Inputs) -> Result<Pass<f32>, GradcheckError> {
        match self {
            Engine::Cpu => Ok(twin(inputs, |v| v)),
            Engine::Gpu(found, kernels, _) => {
                let (values, grads) = chunked(found, kernels, inputs).await?.chunked().await?;
                Ok(Pass { values, grads })
            }
        }
    }

    /// The gradients by the fused formulas of exercises 2 and 3, in the lecture's shapes: those that the
    /// training step computes; the others are empty.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn fused(&self, inputs: &Inputs) -> Result<LectureTensors<f32>, GradcheckError> {
        match self {
            Engine::Cpu => Ok(fused_twin(inputs)),
            Engine::Gpu(found, kernels, _) => {
                Ok(chunked(found, kernels, inputs).await?.fused().await?)
            }
        }
    }
}

async fn chunked(
    found: &Found,
    kernels: &Kernels,
    inputs: &Inputs,
) -> Result<Chunked, DeviceError> {
    let Inputs { dims, params, x, y } = inputs;
    Chunked::new(found, *dims, params, x, y, kernels).await
}

/// The reference: the twin in `f64` on the same inputs.
pub fn reference(inputs: &Inputs) -> Pass<f64> {
    twin(inputs, f64::from)
}

fn twin<R: Real>(inputs: &Inputs, convert: impl Fn(f32) -> R) -> Pass<R> {
    let mut model = Model::new(inputs.dims, inputs.params.map(convert));
    let (values, grads) = chunked::pass(&mut model, &inputs.x, &inputs.y);
    Pass { values, grads }
}

fn fused_twin(inputs: &Inputs) -> LectureTensors<f32> {
    let mut model = Model::new(inputs.dims, inputs.params.clone());
    model.forward(&inputs.x, &inputs.y);
    model.backward(&inputs.x);
    let (acts, grads) = (&model.acts, &model.grads);
    LectureTensors::from_fn(|chunk| match chunk {
        LectureTensor::Logits => acts.dlogits.clone(),
        LectureTensor::Hpreact => acts.dhpreact.clone(),
        LectureTensor::Hprebn => acts.dhprebn.clone(),
        LectureTensor::Embcat | LectureTensor::Emb => acts.dembcat.clone(),
        LectureTensor::C => grads.c.clone(),
        LectureTensor::W1 => grads.w1.clone(),
        LectureTensor::B1 => grads.b1.clone(),
        LectureTensor::W2 => grads.w2.clone(),
        LectureTensor::B2 => grads.b2.clone(),
        LectureTensor::Bngain => grads.bngain.clone(),
        LectureTensor::Bnbias => grads.bnbias.clone(),
        other => {
            debug_assert!(!in_training_step(other));
            Vec::new()
        }
    })
}
