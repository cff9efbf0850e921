//! What computes the gradients under test: the CPU twin in `f32`, or the kernels on an adapter.

use super::Inputs;
use crate::chunks::{Chunk, Chunks};
use crate::compare::Tolerance;
use crate::cpu::real::Real;
use crate::cpu::{Model, chunked};
use crate::device::Device;
use crate::error::Error;
use crate::gpu::adapter::{Choice, Found};
use crate::gpu::chunked::{Chunked, in_training_step};
use crate::gpu::shader::{Module, chunked_modules};

/// The gradients of one minibatch.
#[derive(Clone, Debug)]
pub struct Gradients<R> {
    /// Values of the 26 tensors.
    pub values: Chunks<R>,
    /// Their gradients by the chunked pass.
    pub chunked: Chunks<R>,
    /// Those that the training step computes; the others are empty.
    pub step: Chunks<R>,
}

impl<R> Gradients<R> {
    /// A tensor's gradient and what computed it: the training step where it has one, else the
    /// chunked pass.
    pub fn gradient(&self, chunk: Chunk) -> (&'static str, &[R]) {
        if in_training_step(chunk) {
            ("step", &self.step[chunk])
        } else {
            ("chunked", &self.chunked[chunk])
        }
    }
}

impl Gradients<f32> {
    /// The same as f64, to compare.
    pub fn to_f64(&self) -> Gradients<f64> {
        let f64s = |chunks: &Chunks<f32>| {
            Chunks::from_fn(|c| chunks[c].iter().map(|&v| f64::from(v)).collect())
        };
        Gradients {
            values: f64s(&self.values),
            chunked: f64s(&self.chunked),
            step: f64s(&self.step),
        }
    }
}

impl Gradients<f64> {
    /// What f32 is allowed for the gradient of a tensor.
    ///
    /// Mostly a part of the tensor's own size. But f32 rounds the terms of a sum, and where they
    /// cancel, the result can be smaller than their errors. So some tensors are held against their
    /// terms:
    ///
    /// * dlogit_maxes is zero, since a constant taken off a row does not change its softmax;
    /// * dbndiff and dhprebn are what batch norm leaves of dhpreact: in a batch of two next to
    ///   nothing. From there the errors go on into dbnmeani, dW1, dembcat and dC, and add up as a
    ///   random walk does, with the root of the number of terms; in db1, which is zero but for
    ///   them, with their number, because a column's errors have the one of its mean in common;
    /// * dbngain, dbnvar_inv, dbnvar and dbndiff2 are sums with `bnraw` or `bndiff`, which are zero
    ///   for a unit that sees the same contexts in every row.
    ///
    /// And where a unit varies little beside its mean, `bndiff` has lost digits before the backward
    /// pass begins: `hprebn * bnvar_inv` tells how many. It is below 8 for ordinary inputs.
    pub fn tolerance(&self, chunk: Chunk) -> Tolerance {
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let value = |chunk: Chunk| largest(&self.values[chunk]);
        let hidden = self.values[Chunk::BnvarInv].len();
        let condition = self.values[Chunk::Hprebn]
            .iter()
            .enumerate()
            .map(|(i, x)| x.abs() * self.values[Chunk::BnvarInv][i % hidden])
            .fold(0.0, f64::max);
        let factor = (condition / 8.0).max(1.0);

        let batchnorm = largest(&self.chunked[Chunk::Bnraw]) * value(Chunk::BnvarInv);
        let root = |count: usize| (count as f64).sqrt();
        let n = self.values[Chunk::CountsSum].len() as f64;
        let rows = n.sqrt();
        let squares = value(Chunk::Hprebn) * largest(&self.chunked[Chunk::Bnraw]) * rows;
        let inputs = batchnorm * root(hidden) * value(Chunk::W1);
        let positions = root(self.values[Chunk::Emb].len());
        let terms = match chunk {
            Chunk::LogitMaxes => largest(&self.chunked[Chunk::NormLogits]),
            Chunk::Bndiff | Chunk::Hprebn => batchnorm,
            Chunk::Bngain => largest(&self.chunked[Chunk::Hpreact]) * rows,
            Chunk::BnvarInv => squares,
            Chunk::Bnvar => squares * value(Chunk::BnvarInv).powi(3) / 2.0,
            Chunk::Bndiff2 => squares * value(Chunk::BnvarInv).powi(3) / (2.0 * (n - 1.0)),
            Chunk::Bnmeani => batchnorm * rows,
            Chunk::B1 => batchnorm * n,
            Chunk::W1 => batchnorm * rows * value(Chunk::Embcat),
            Chunk::Embcat | Chunk::Emb => inputs,
            Chunk::C => inputs * positions,
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
    /// The twin in `f32`.
    Cpu,
    /// An adapter, and the kernels to run on it.
    Gpu(Box<Found>, Vec<Module>),
}

impl Engine {
    /// The engine for a device that was chosen.
    pub fn new(device: &Device) -> Self {
        match device.choice() {
            Choice::Cpu { .. } => Engine::Cpu,
            Choice::Gpu { found, .. } => Engine::Gpu(found.clone(), chunked_modules()),
        }
    }

    /// In a few words.
    pub fn name(&self) -> String {
        match self {
            Engine::Cpu => "cpu".to_owned(),
            Engine::Gpu(found, _) => found.to_string(),
        }
    }

    /// An adapter's driver and its version.
    pub fn driver(&self) -> Option<String> {
        match self {
            Engine::Cpu => None,
            Engine::Gpu(found, _) => Some(found.driver()),
        }
    }

    /// Computes all gradients of the inputs.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn gradients(&self, inputs: &Inputs) -> Result<Gradients<f32>, Error> {
        match self {
            Engine::Cpu => Ok(twin(inputs, |v| v)),
            Engine::Gpu(found, modules) => {
                let Inputs { dims, params, x, y } = inputs;
                let device = Chunked::new(found, *dims, params, x, y, modules)?;
                let (values, chunked) = device.chunked()?;
                Ok(Gradients {
                    values,
                    chunked,
                    step: device.fused()?,
                })
            }
        }
    }
}

/// The reference: the twin in `f64` on the same inputs.
pub fn reference(inputs: &Inputs) -> Gradients<f64> {
    twin(inputs, f64::from)
}

fn twin<R: Real>(inputs: &Inputs, convert: impl Fn(f32) -> R) -> Gradients<R> {
    let mut model = Model::new(inputs.dims, inputs.params.map(convert));
    let (values, chunked) = chunked::pass(&mut model, &inputs.x, &inputs.y);
    // The pass above has left the model's activations as the forward pass did.
    model.backward(&inputs.x);
    let (acts, grads) = (&model.acts, &model.grads);
    let step = Chunks::from_fn(|chunk| match chunk {
        Chunk::Logits => acts.dlogits.clone(),
        Chunk::H => acts.dh.clone(),
        Chunk::Hpreact => acts.dhpreact.clone(),
        Chunk::Hprebn => acts.dhprebn.clone(),
        Chunk::Embcat | Chunk::Emb => acts.dembcat.clone(),
        Chunk::C => grads.c.clone(),
        Chunk::W1 => grads.w1.clone(),
        Chunk::B1 => grads.b1.clone(),
        Chunk::W2 => grads.w2.clone(),
        Chunk::B2 => grads.b2.clone(),
        Chunk::Bngain => grads.bngain.clone(),
        Chunk::Bnbias => grads.bnbias.clone(),
        other => {
            debug_assert!(!in_training_step(other));
            Vec::new()
        }
    });
    Gradients {
        values,
        chunked,
        step,
    }
}
