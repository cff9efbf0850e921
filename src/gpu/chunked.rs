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
use super::staged::STEP;
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
    STEP[0], // embcat = C[Xb].view(n, -1)
    STEP[1], // hprebn = embcat @ W1 + b1
    launch("bnmeani_kernel", First, Grid::Each(Hidden),
        &[(1, S::Hprebn), (2, S::Chunk(K::Bnmeani))]),
    launch("bndiff_kernel", First, ROWS_BY_HIDDEN,
        &[(1, S::Hprebn), (2, S::Chunk(K::Bnmeani)), (3, S::Chunk(K::Bndiff))]),
    launch("bndiff2_kernel", First, ROWS_BY_HIDDEN,
        &[(3, S::Chunk(K::Bndiff)), (4, S::Chunk(K::Bndiff2))]),
    launch("bnvar_kernel", First, Grid::Each(Hidden),
        &[(4, S::Chunk(K::Bndiff2)), (5, S::Chunk(K::Bnvar))]),
    launch("bnvar_inv_kernel", First, Grid::Each(Hidden),
        &[(5, S::Chunk(K::Bnvar)), (6, S::Chunk(K::BnvarInv))]),
    launch("bnraw_kernel", First, ROWS_BY_HIDDEN,
        &[(3, S::Chunk(K::Bndiff)), (6, S::Chunk(K::BnvarInv)), (7, S::Bnraw)]),
    launch("hpreact_kernel", First, ROWS_BY_HIDDEN,
        &[(7, S::Bnraw), (8, S::Hpreact), (9, S::Param(T::Bngain)), (10, S::Param(T::Bnbias))]),
    launch("tanh_forward_kernel", First, Grid::Vectors(Batch, Hidden),
        &[(1, S::Hpreact), (2, S::H)]),
    STEP[3], // logits = h @ W2 + b2
    launch("logit_maxes_kernel", Second, Grid::Each(Batch),
        &[(2, S::Logits), (3, S::Chunk(K::LogitMaxes))]),
    launch("norm_logits_kernel", Second, ROWS_BY_VOCAB,
        &[(2, S::Logits), (3, S::Chunk(K::LogitMaxes)), (4, S::Chunk(K::NormLogits))]),
    launch("counts_kernel", Second, ROWS_BY_VOCAB,
        &[(4, S::Chunk(K::NormLogits)), (5, S::Chunk(K::Counts))]),
    launch("counts_sum_kernel", Second, Grid::Each(Batch),
        &[(5, S::Chunk(K::Counts)), (6, S::Chunk(K::CountsSum))]),
    launch("counts_sum_inv_kernel", Second, Grid::Each(Batch),
        &[(6, S::Chunk(K::CountsSum)), (7, S::Chunk(K::CountsSumInv))]),
    launch("probs_kernel", Second, ROWS_BY_VOCAB,
        &[(5, S::Chunk(K::Counts)), (7, S::Chunk(K::CountsSumInv)), (8, S::Chunk(K::Probs))]),
    launch("logprobs_kernel", Second, ROWS_BY_VOCAB,
        &[(8, S::Chunk(K::Probs)), (9, S::Chunk(K::Logprobs))]),
    // Backward.
    launch("dlogprobs_kernel", Second, ROWS_BY_VOCAB,
        &[(1, S::Y), (10, S::ChunkGrad(K::Logprobs))]),
    launch("dprobs_kernel", Second, ROWS_BY_VOCAB,
        &[(8, S::Chunk(K::Probs)), (10, S::ChunkGrad(K::Logprobs)), (11, S::ChunkGrad(K::Probs))]),
    launch("dcounts_sum_inv_kernel", Second, Grid::Each(Batch),
        &[(5, S::Chunk(K::Counts)), (11, S::ChunkGrad(K::Probs)),
          (12, S::ChunkGrad(K::CountsSumInv))]),
    launch("dcounts_sum_kernel", Second, Grid::Each(Batch),
        &[(6, S::Chunk(K::CountsSum)), (12, S::ChunkGrad(K::CountsSumInv)),
          (13, S::ChunkGrad(K::CountsSum))]),
    launch("dcounts_kernel", Second, ROWS_BY_VOCAB,
        &[(7, S::Chunk(K::CountsSumInv)), (11, S::ChunkGrad(K::Probs)),
          (13, S::ChunkGrad(K::CountsSum)), (14, S::ChunkGrad(K::Counts))]),
    launch("dnorm_logits_kernel", Second, ROWS_BY_VOCAB,
        &[(5, S::Chunk(K::Counts)), (14, S::ChunkGrad(K::Counts)),
          (15, S::ChunkGrad(K::NormLogits))]),
    launch("dlogit_maxes_kernel", Second, Grid::Each(Batch),
        &[(15, S::ChunkGrad(K::NormLogits)), (16, S::ChunkGrad(K::LogitMaxes))]),
    launch("dlogits_kernel", Second, Grid::Each(Batch),
        &[(2, S::Logits), (15, S::ChunkGrad(K::NormLogits)), (16, S::ChunkGrad(K::LogitMaxes)),
          (17, S::Dlogits)]),
    // dh = dlogits @ W2.T; dW2 = h.T @ dlogits; db2 = dlogits.sum(0)
    launch("linear_backward_kernel", Second, Grid::TwoGradients(Hidden, Vocab),
        &[(1, S::H), (2, S::Param(T::W2)), (5, S::Dlogits), (6, S::Dh), (7, S::Grad(T::W2)),
          (8, S::Grad(T::B2))]),
    launch("tanh_backward_kernel", First, Grid::Vectors(Batch, Hidden),
        &[(2, S::H), (3, S::Dh), (4, S::Dhpreact)]),
    launch("dbngain_kernel", First, Grid::Each(Hidden),
        &[(7, S::Bnraw), (11, S::Dhpreact), (12, S::Grad(T::Bngain))]),
    launch("dbnbias_kernel", First, Grid::Each(Hidden),
        &[(11, S::Dhpreact), (13, S::Grad(T::Bnbias))]),
    launch("dbnraw_kernel", First, ROWS_BY_HIDDEN,
        &[(9, S::Param(T::Bngain)), (11, S::Dhpreact), (14, S::ChunkGrad(K::Bnraw))]),
    launch("dbnvar_inv_kernel", First, Grid::Each(Hidden),
        &[(3, S::Chunk(K::Bndiff)), (14, S::ChunkGrad(K::Bnraw)), (15, S::ChunkGrad(K::BnvarInv))]),
    launch("dbnvar_kernel", First, Grid::Each(Hidden),
        &[(5, S::Chunk(K::Bnvar)), (15, S::ChunkGrad(K::BnvarInv)), (16, S::ChunkGrad(K::Bnvar))]),
    launch("dbndiff2_kernel", First, ROWS_BY_HIDDEN,
        &[(16, S::ChunkGrad(K::Bnvar)), (17, S::ChunkGrad(K::Bndiff2))]),
    launch("dbndiff_kernel", First, ROWS_BY_HIDDEN,
        &[(3, S::Chunk(K::Bndiff)), (6, S::Chunk(K::BnvarInv)), (14, S::ChunkGrad(K::Bnraw)),
          (17, S::ChunkGrad(K::Bndiff2)), (18, S::ChunkGrad(K::Bndiff))]),
    launch("dbnmeani_kernel", First, Grid::Each(Hidden),
        &[(18, S::ChunkGrad(K::Bndiff)), (19, S::ChunkGrad(K::Bnmeani))]),
    launch("dhprebn_kernel", First, ROWS_BY_HIDDEN,
        &[(18, S::ChunkGrad(K::Bndiff)), (19, S::ChunkGrad(K::Bnmeani)), (20, S::Dhprebn)]),
    STEP[7], // dembcat = dhprebn @ W1.T; dW1 = embcat.T @ dhprebn; db1 = dhprebn.sum(0)
    STEP[8], // dC[Xb[k,j]] += demb[k,j]
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
        self.run(&STEP[..STEP.len() - 1]).await?;
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
        let pass = self.machine.pass(table, self.machine.layout.dims.batch);
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
