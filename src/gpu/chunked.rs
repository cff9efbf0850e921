//! The lecture's first exercise on the device: every line of the notebook's forward and backward
//! pass is a launch, and every gradient is computed from the one before.
//!
//! Where a line is one operation of the training step too (the linear layers, the embedding), the
//! launch is that of [`STEP`]. What the step computes in one go, softmax with cross-entropy, batch norm
//! and the tanh beside them, comes apart here. So the two can be compared on one device with one set of inputs.

use super::adapter::Found;
use super::machine::Layer::{First, Second};
use super::machine::Size::{Batch, Hidden, Vocab};
use super::machine::{Grid, Launch, Machine, Slot, launch};
use super::shader::Module;
use super::staged::{
    EMBEDDING_BACKWARD, EMBEDDING_FORWARD, LINEAR_1_BACKWARD, LINEAR_1_FORWARD, LINEAR_2_FORWARD,
    STEP,
};
use crate::backend::DeviceError;
use crate::model::dims::Dims;
use crate::model::params::{Params, Tensor};
use crate::model::tensors::{LectureTensor, LectureTensors};

use LectureTensor as K;
use Slot as S;
use Tensor as T;

const ROWS_BY_VOCAB: Grid = Grid::Elements(Batch, Vocab);
const ROWS_BY_HIDDEN: Grid = Grid::Elements(Batch, Hidden);

/// The pass in chunks, forward and backward.
#[rustfmt::skip]
pub const CHUNKED: [Launch; 39] = [
    // Forward.
    EMBEDDING_FORWARD, // embcat = C[Xb].view(n, -1)
    LINEAR_1_FORWARD, // hprebn = embcat @ W1 + b1
    launch("bnmeani_kernel", First, Grid::Each(Hidden),
        &[("hprebn", S::Hprebn), ("bnmeani", S::Chunk(K::Bnmeani))]),
    launch("bndiff_kernel", First, ROWS_BY_HIDDEN,
        &[("hprebn", S::Hprebn), ("bnmeani", S::Chunk(K::Bnmeani)),
          ("bndiff", S::Chunk(K::Bndiff))]),
    launch("bndiff2_kernel", First, ROWS_BY_HIDDEN,
        &[("bndiff", S::Chunk(K::Bndiff)), ("bndiff2", S::Chunk(K::Bndiff2))]),
    launch("bnvar_kernel", First, Grid::Each(Hidden),
        &[("bndiff2", S::Chunk(K::Bndiff2)), ("bnvar", S::Chunk(K::Bnvar))]),
    launch("bnvar_inv_kernel", First, Grid::Each(Hidden),
        &[("bnvar", S::Chunk(K::Bnvar)), ("bnvar_inv", S::Chunk(K::BnvarInv))]),
    launch("bnraw_kernel", First, ROWS_BY_HIDDEN,
        &[("bndiff", S::Chunk(K::Bndiff)), ("bnvar_inv", S::Chunk(K::BnvarInv)),
          ("bnraw", S::Bnraw)]),
    launch("hpreact_kernel", First, ROWS_BY_HIDDEN,
        &[("bnraw", S::Bnraw), ("hpreact", S::Hpreact), ("bngain", S::Param(T::Bngain)),
          ("bnbias", S::Param(T::Bnbias))]),
    launch("tanh_forward_kernel", First, Grid::Vectors(Batch, Hidden),
        &[("hpreact", S::Hpreact), ("h", S::H)]),
    LINEAR_2_FORWARD, // logits = h @ W2 + b2
    launch("logit_maxes_kernel", Second, Grid::Each(Batch),
        &[("logits", S::Logits), ("logit_maxes", S::Chunk(K::LogitMaxes))]),
    launch("norm_logits_kernel", Second, ROWS_BY_VOCAB,
        &[("logits", S::Logits), ("logit_maxes", S::Chunk(K::LogitMaxes)),
          ("norm_logits", S::Chunk(K::NormLogits))]),
    launch("counts_kernel", Second, ROWS_BY_VOCAB,
        &[("norm_logits", S::Chunk(K::NormLogits)), ("counts", S::Chunk(K::Counts))]),
    launch("counts_sum_kernel", Second, Grid::Each(Batch),
        &[("counts", S::Chunk(K::Counts)), ("counts_sum", S::Chunk(K::CountsSum))]),
    launch("counts_sum_inv_kernel", Second, Grid::Each(Batch),
        &[("counts_sum", S::Chunk(K::CountsSum)), ("counts_sum_inv", S::Chunk(K::CountsSumInv))]),
    launch("probs_kernel", Second, ROWS_BY_VOCAB,
        &[("counts", S::Chunk(K::Counts)), ("counts_sum_inv", S::Chunk(K::CountsSumInv)),
          ("probs", S::Chunk(K::Probs))]),
    launch("logprobs_kernel", Second, ROWS_BY_VOCAB,
        &[("probs", S::Chunk(K::Probs)), ("logprobs", S::Chunk(K::Logprobs))]),
    // Backward.
    launch("dlogprobs_kernel", Second, ROWS_BY_VOCAB,
        &[("Y", S::Y), ("dlogprobs", S::ChunkGrad(K::Logprobs))]),
    launch("dprobs_kernel", Second, ROWS_BY_VOCAB,
        &[("probs", S::Chunk(K::Probs)), ("dlogprobs", S::ChunkGrad(K::Logprobs)),
          ("dprobs", S::ChunkGrad(K::Probs))]),
    launch("dcounts_sum_inv_kernel", Second, Grid::Each(Batch),
        &[("counts", S::Chunk(K::Counts)), ("dprobs", S::ChunkGrad(K::Probs)),
          ("dcounts_sum_inv", S::ChunkGrad(K::CountsSumInv))]),
    launch("dcounts_sum_kernel", Second, Grid::Each(Batch),
        &[("counts_sum", S::Chunk(K::CountsSum)),
          ("dcounts_sum_inv", S::ChunkGrad(K::CountsSumInv)),
          ("dcounts_sum", S::ChunkGrad(K::CountsSum))]),
    launch("dcounts_kernel", Second, ROWS_BY_VOCAB,
        &[("counts_sum_inv", S::Chunk(K::CountsSumInv)), ("dprobs", S::ChunkGrad(K::Probs)),
          ("dcounts_sum", S::ChunkGrad(K::CountsSum)), ("dcounts", S::ChunkGrad(K::Counts))]),
    launch("dnorm_logits_kernel", Second, ROWS_BY_VOCAB,
        &[("counts", S::Chunk(K::Counts)), ("dcounts", S::ChunkGrad(K::Counts)),
          ("dnorm_logits", S::ChunkGrad(K::NormLogits))]),
    launch("dlogit_maxes_kernel", Second, Grid::Each(Batch),
        &[("dnorm_logits", S::ChunkGrad(K::NormLogits)),
          ("dlogit_maxes", S::ChunkGrad(K::LogitMaxes))]),
    launch("dlogits_kernel", Second, Grid::Each(Batch),
        &[("logits", S::Logits), ("dnorm_logits", S::ChunkGrad(K::NormLogits)),
          ("dlogit_maxes", S::ChunkGrad(K::LogitMaxes)),
          ("dlogits", S::Dlogits)]),
    // dh = dlogits @ W2.T; dW2 = h.T @ dlogits; db2 = dlogits.sum(0)
    launch("linear_backward_kernel", Second, Grid::TwoGradients(Hidden, Vocab),
        &[("x", S::H), ("W", S::Param(T::W2)), ("dy", S::Dlogits), ("dx", S::Dh),
          ("dW", S::Grad(T::W2)),
          ("db", S::Grad(T::B2))]),
    launch("tanh_backward_kernel", First, Grid::Vectors(Batch, Hidden),
        &[("h", S::H), ("dh", S::Dh), ("dhpreact", S::Dhpreact)]),
    launch("dbngain_kernel", First, Grid::Each(Hidden),
        &[("bnraw", S::Bnraw), ("dhpreact", S::Dhpreact), ("dbngain", S::Grad(T::Bngain))]),
    launch("dbnbias_kernel", First, Grid::Each(Hidden),
        &[("dhpreact", S::Dhpreact), ("dbnbias", S::Grad(T::Bnbias))]),
    launch("dbnraw_kernel", First, ROWS_BY_HIDDEN,
        &[("bngain", S::Param(T::Bngain)), ("dhpreact", S::Dhpreact),
          ("dbnraw", S::ChunkGrad(K::Bnraw))]),
    launch("dbnvar_inv_kernel", First, Grid::Each(Hidden),
        &[("bndiff", S::Chunk(K::Bndiff)), ("dbnraw", S::ChunkGrad(K::Bnraw)),
          ("dbnvar_inv", S::ChunkGrad(K::BnvarInv))]),
    launch("dbnvar_kernel", First, Grid::Each(Hidden),
        &[("bnvar", S::Chunk(K::Bnvar)), ("dbnvar_inv", S::ChunkGrad(K::BnvarInv)),
          ("dbnvar", S::ChunkGrad(K::Bnvar))]),
    launch("dbndiff2_kernel", First, ROWS_BY_HIDDEN,
        &[("dbnvar", S::ChunkGrad(K::Bnvar)), ("dbndiff2", S::ChunkGrad(K::Bndiff2))]),
    launch("dbndiff_kernel", First, ROWS_BY_HIDDEN,
        &[("bndiff", S::Chunk(K::Bndiff)), ("bnvar_inv", S::Chunk(K::BnvarInv)),
          ("dbnraw", S::ChunkGrad(K::Bnraw)),
          ("dbndiff2", S::ChunkGrad(K::Bndiff2)), ("dbndiff", S::ChunkGrad(K::Bndiff))]),
    launch("dbnmeani_kernel", First, Grid::Each(Hidden),
        &[("dbndiff", S::ChunkGrad(K::Bndiff)), ("dbnmeani", S::ChunkGrad(K::Bnmeani))]),
    launch("dhprebn_kernel", First, ROWS_BY_HIDDEN,
        &[("dbndiff", S::ChunkGrad(K::Bndiff)), ("dbnmeani", S::ChunkGrad(K::Bnmeani)),
          ("dhprebn", S::Dhprebn)]),
    LINEAR_1_BACKWARD, // dembcat = dhprebn @ W1.T; dW1 = embcat.T @ dhprebn; db1 = dhprebn.sum(0)
    EMBEDDING_BACKWARD, // dC[Xb[k,j]] += demb[k,j]
];

/// Where a tensor's values lie.
fn value_slot(chunk: LectureTensor) -> Slot {
    match chunk {
        K::Logits => S::Logits,
        K::H => S::H,
        K::Hpreact => S::Hpreact,
        K::Bnraw => S::Bnraw,
        K::Hprebn => S::Hprebn,
        K::Embcat | K::Emb => S::Embcat,
        _ => param(chunk).map_or(S::Chunk(chunk), S::Param),
    }
}

/// Where its gradient lies.
fn grad_slot(chunk: LectureTensor) -> Slot {
    match chunk {
        K::Logits => S::Dlogits,
        K::H => S::Dh,
        K::Hpreact => S::Dhpreact,
        K::Hprebn => S::Dhprebn,
        K::Embcat | K::Emb => S::Dembcat,
        _ => param(chunk).map_or(S::ChunkGrad(chunk), S::Grad),
    }
}

/// The parameter that a tensor is, if it is one.
fn param(chunk: LectureTensor) -> Option<Tensor> {
    Tensor::ALL.into_iter().find(|t| t.name() == chunk.name())
}

/// Whether the training step stores this tensor's gradient. It passes over what its fused kernels
/// make unnecessary.
pub fn in_training_step(chunk: LectureTensor) -> bool {
    !matches!(grad_slot(chunk), S::ChunkGrad(_) | S::Dh)
}

/// One minibatch on a device, by the training step's kernels and by the chunked ones. Each example has a
/// row of its own, as in the notebook.
pub struct Chunked {
    machine: Machine,
}

impl Chunked {
    /// Opens the adapter, compiles `modules` and uploads the inputs: `x (batch, block)`, `y (batch)`.
    ///
    /// # Errors
    ///
    /// The adapter cannot hold the model, cannot be opened, or refuses a kernel.
    pub async fn new(
        found: &Found,
        dims: Dims,
        params: &Params<f32>,
        x: &[u8],
        y: &[u8],
        modules: &[Module],
    ) -> Result<Self, DeviceError> {
        let machine = Machine::new(found, dims, &[&STEP, &CHUNKED], modules).await?;
        machine.write_params(params);
        machine.write_step(x, y, 0.0);
        Ok(Self { machine })
    }

    /// Values and gradients of all 26 tensors by the chunked kernels.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn chunked(&self) -> Result<(LectureTensors<f32>, LectureTensors<f32>), DeviceError> {
        self.run(&CHUNKED).await?;
        Ok((self.read(value_slot).await?, self.read(grad_slot).await?))
    }

    /// The gradients that the training step's kernels compute where each example has a row of its own;
    /// those that they pass over are left empty.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn fused(&self) -> Result<LectureTensors<f32>, DeviceError> {
        // All but the update, so that the parameters stay as they are.
        let [gradients @ .., _] = &STEP;
        self.run(gradients).await?;
        let mut grads = self.read(grad_slot).await?;
        for chunk in LectureTensor::ALL
            .into_iter()
            .filter(|&c| !in_training_step(c))
        {
            grads[chunk].clear();
        }
        Ok(grads)
    }

    /// Compiles the kernels of some launches and runs them, each once.
    async fn run(&self, table: &[Launch]) -> Result<(), DeviceError> {
        let pass = self.machine.pass(table, self.machine.layout.dims.batch)?;
        self.machine.gpu.check()?;
        self.machine.run(&pass, 0..table.len()).await
    }

    async fn read(
        &self,
        slot: impl Fn(LectureTensor) -> Slot,
    ) -> Result<LectureTensors<f32>, DeviceError> {
        let dims = self.machine.layout.dims;
        let mut chunks = LectureTensors::from_fn(|_| Vec::new());
        for chunk in LectureTensor::ALL {
            chunks[chunk] = self.machine.read(slot(chunk), chunk.len(&dims)).await?;
        }
        Ok(chunks)
    }
}
