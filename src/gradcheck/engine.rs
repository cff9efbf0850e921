//! What computes the gradients under test: the CPU twin in `f32`, or the kernels on an adapter.

use super::Inputs;
use crate::chunks::{Chunk, Chunks};
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
