//! The lecture's first exercise on the device: every line of the notebook's forward and backward
//! pass is a launch, and every gradient is computed from the one before.
//!
//! Where a line is also one operation of the training step (the linear layers, the embedding), its launch is
//! that of [`STEP`]. What the step fuses, softmax with cross-entropy and batch norm with tanh, is several
//! launches here. So both can be compared on one device with the same inputs.

use super::adapter::Found;
use super::executor::Executor;
use super::kernels::Kernels;
use super::launch::Size::{Batch, Hidden, Vocab};
use super::launch::{Invocations, Launch, launch};
use super::layout::Layer::{First, Second};
use super::layout::{Layout, Slot};
use super::staged::{
    EMBEDDING_BACKWARD, EMBEDDING_FORWARD, LINEAR_1_BACKWARD, LINEAR_1_FORWARD, LINEAR_2_FORWARD,
    STEP,
};
use crate::backend::DeviceError;
use crate::model::dims::{Dims, Token};
use crate::model::params::{Params, Tensor};
use crate::model::tensors::{LectureTensor, LectureTensors};

use LectureTensor as K;
use Slot as S;
use Tensor as T;

const ROWS_BY_VOCAB: Invocations = Invocations::Elements(Batch, Vocab);
const ROWS_BY_HIDDEN: Invocations = Invocations::Elements(Batch, Hidden);

/// The lecture's pass line by line, forward and backward.
#[rustfmt::skip]
pub const CHUNKED: [Launch; 39] = [
    // Forward.
    EMBEDDING_FORWARD, // embcat = C[Xb].view(n, -1)
    LINEAR_1_FORWARD, // hprebn = embcat @ W1 + b1
    launch("bnmeani_kernel", First, Invocations::Each(Hidden),
        &[("hprebn", S::Hprebn), ("bnmeani", S::Lecture(K::Bnmeani))]),
    launch("bndiff_kernel", First, ROWS_BY_HIDDEN,
        &[("hprebn", S::Hprebn), ("bnmeani", S::Lecture(K::Bnmeani)),
          ("bndiff", S::Lecture(K::Bndiff))]),
    launch("bndiff2_kernel", First, ROWS_BY_HIDDEN,
        &[("bndiff", S::Lecture(K::Bndiff)), ("bndiff2", S::Lecture(K::Bndiff2))]),
    launch("bnvar_kernel", First, Invocations::Each(Hidden),
        &[("bndiff2", S::Lecture(K::Bndiff2)), ("bnvar", S::Lecture(K::Bnvar))]),
    launch("bnvar_inv_kernel", First, Invocations::Each(Hidden),
        &[("bnvar", S::Lecture(K::Bnvar)), ("bnvar_inv", S::Lecture(K::BnvarInv))]),
    launch("bnraw_kernel", First, ROWS_BY_HIDDEN,
        &[("bndiff", S::Lecture(K::Bndiff)), ("bnvar_inv", S::Lecture(K::BnvarInv)),
          ("bnraw", S::Bnraw)]),
    launch("hpreact_kernel", First, ROWS_BY_HIDDEN,
        &[("bnraw", S::Bnraw), ("hpreact", S::Hpreact), ("bngain", S::Param(T::Bngain)),
          ("bnbias", S::Param(T::Bnbias))]),
    launch("tanh_forward_kernel", First, Invocations::Vectors(Batch, Hidden),
        &[("hpreact", S::Hpreact), ("h", S::H)]),
    LINEAR_2_FORWARD, // logits = h @ W2 + b2
    launch("logit_maxes_kernel", Second, Invocations::Each(Batch),
        &[("logits", S::Logits), ("logit_maxes", S::Lecture(K::LogitMaxes))]),
    launch("norm_logits_kernel", Second, ROWS_BY_VOCAB,
        &[("logits", S::Logits), ("logit_maxes", S::Lecture(K::LogitMaxes)),
          ("norm_logits", S::Lecture(K::NormLogits))]),
    launch("counts_kernel", Second, ROWS_BY_VOCAB,
        &[("norm_logits", S::Lecture(K::NormLogits)), ("counts", S::Lecture(K::Counts))]),
    launch("counts_sum_kernel", Second, Invocations::Each(Batch),
        &[("counts", S::Lecture(K::Counts)), ("counts_sum", S::Lecture(K::CountsSum))]),
    launch("counts_sum_inv_kernel", Second, Invocations::Each(Batch),
        &[("counts_sum", S::Lecture(K::CountsSum)), ("counts_sum_inv", S::Lecture(K::CountsSumInv))]),
    launch("probs_kernel", Second, ROWS_BY_VOCAB,
        &[("counts", S::Lecture(K::Counts)), ("counts_sum_inv", S::Lecture(K::CountsSumInv)),
          ("probs", S::Lecture(K::Probs))]),
    launch("logprobs_kernel", Second, ROWS_BY_VOCAB,
        &[("probs", S::Lecture(K::Probs)), ("logprobs", S::Lecture(K::Logprobs))]),
    // Backward.
    launch("dlogprobs_kernel", Second, ROWS_BY_VOCAB,
        &[("Y", S::Y), ("dlogprobs", S::LectureGrad(K::Logprobs))]),
    launch("dprobs_kernel", Second, ROWS_BY_VOCAB,
        &[("probs", S::Lecture(K::Probs)), ("dlogprobs", S::LectureGrad(K::Logprobs)),
          ("dprobs", S::LectureGrad(K::Probs))]),
    launch("dcounts_sum_inv_kernel", Second, Invocations::Each(Batch),
        &[("counts", S::Lecture(K::Counts)), ("dprobs", S::LectureGrad(K::Probs)),
          ("dcounts_sum_inv", S::LectureGrad(K::CountsSumInv))]),
    launch("dcounts_sum_kernel", Second, Invocations::Each(Batch),
        &[("counts_sum", S::Lecture(K::CountsSum)),
          ("dcounts_sum_inv", S::LectureGrad(K::CountsSumInv)),
          ("dcounts_sum", S::LectureGrad(K::CountsSum))]),
    launch("dcounts_kernel", Second, ROWS_BY_VOCAB,
        &[("counts_sum_inv", S::Lecture(K::CountsSumInv)), ("dprobs", S::LectureGrad(K::Probs)),
          ("dcounts_sum", S::LectureGrad(K::CountsSum)), ("dcounts", S::LectureGrad(K::Counts))]),
    launch("dnorm_logits_kernel", Second, ROWS_BY_VOCAB,
        &[("counts", S::Lecture(K::Counts)), ("dcounts", S::LectureGrad(K::Counts)),
          ("dnorm_logits", S::LectureGrad(K::NormLogits))]),
    launch("dlogit_maxes_kernel", Second, Invocations::Each(Batch),
        &[("dnorm_logits", S::LectureGrad(K::NormLogits)),
          ("dlogit_maxes", S::LectureGrad(K::LogitMaxes))]),
    launch("dlogits_kernel", Second, Invocations::Each(Batch),
        &[("logits", S::Logits), ("dnorm_logits", S::LectureGrad(K::NormLogits)),
          ("dlogit_maxes", S::LectureGrad(K::LogitMaxes)),
          ("dlogits", S::Dlogits)]),
    // dh = dlogits @ W2.T; dW2 = h.T @ dlogits; db2 = dlogits.sum(0)
    launch("linear_backward_kernel", Second, Invocations::TwoGradients(Hidden, Vocab),
        &[("x", S::H), ("W", S::Param(T::W2)), ("dy", S::Dlogits), ("dx", S::Dh),
          ("dW", S::Grad(T::W2)),
          ("db", S::Grad(T::B2))]),
    launch("tanh_backward_kernel", First, Invocations::Vectors(Batch, Hidden),
        &[("h", S::H), ("dh", S::Dh), ("dhpreact", S::Dhpreact)]),
    launch("dbngain_kernel", First, Invocations::Each(Hidden),
        &[("bnraw", S::Bnraw), ("dhpreact", S::Dhpreact), ("dbngain", S::Grad(T::Bngain))]),
    launch("dbnbias_kernel", First, Invocations::Each(Hidden),
        &[("dhpreact", S::Dhpreact), ("dbnbias", S::Grad(T::Bnbias))]),
    launch("dbnraw_kernel", First, ROWS_BY_HIDDEN,
        &[("bngain", S::Param(T::Bngain)), ("dhpreact", S::Dhpreact),
          ("dbnraw", S::LectureGrad(K::Bnraw))]),
    launch("dbnvar_inv_kernel", First, Invocations::Each(Hidden),
        &[("bndiff", S::Lecture(K::Bndiff)), ("dbnraw", S::LectureGrad(K::Bnraw)),
          ("dbnvar_inv", S::LectureGrad(K::BnvarInv))]),
    launch("dbnvar_kernel", First, Invocations::Each(Hidden),
        &[("bnvar", S::Lecture(K::Bnvar)), ("dbnvar_inv", S::LectureGrad(K::BnvarInv)),
          ("dbnvar", S::LectureGrad(K::Bnvar))]),
    launch("dbndiff2_kernel", First, ROWS_BY_HIDDEN,
        &[("dbnvar", S::LectureGrad(K::Bnvar)), ("dbndiff2", S::LectureGrad(K::Bndiff2))]),
    launch("dbndiff_kernel", First, ROWS_BY_HIDDEN,
        &[("bndiff", S::Lecture(K::Bndiff)), ("bnvar_inv", S::Lecture(K::BnvarInv)),
          ("dbnraw", S::LectureGrad(K::Bnraw)),
          ("dbndiff2", S::LectureGrad(K::Bndiff2)), ("dbndiff", S::LectureGrad(K::Bndiff))]),
    launch("dbnmeani_kernel", First, Invocations::Each(Hidden),
        &[("dbndiff", S::LectureGrad(K::Bndiff)), ("dbnmeani", S::LectureGrad(K::Bnmeani))]),
    launch("dhprebn_kernel", First, ROWS_BY_HIDDEN,
        &[("dbndiff", S::LectureGrad(K::Bndiff)), ("dbnmeani", S::LectureGrad(K::Bnmeani)),
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
        _ => param(chunk).map_or(S::Lecture(chunk), S::Param),
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
        _ => param(chunk).map_or(S::LectureGrad(chunk), S::Grad),
    }
}

/// The parameter that a tensor is, if it is one.
fn param(chunk: LectureTensor) -> Option<Tensor> {
    Tensor::ALL.into_iter().find(|t| t.name() == chunk.name())
}

/// Whether the training step stores this tensor's gradient. Its fused kernels make some of them
/// unnecessary.
pub fn in_training_step(chunk: LectureTensor) -> bool {
    !matches!(grad_slot(chunk), S::LectureGrad(_) | S::Dh)
}

/// One minibatch on a device, by the training step's kernels and by the chunked ones. Each example has a
/// row of its own, as in the notebook.
pub struct Chunked {
    executor: Executor,
}

impl Chunked {
    /// Opens the adapter, compiles the kernels and uploads the inputs: `x (batch, block)`, `y (batch)`.
    ///
    /// # Errors
    ///
    /// The adapter cannot hold the model, cannot be opened, or refuses a kernel.
    pub async fn new(
        found: &Found,
        dims: Dims,
        params: &Params<f32>,
        x: &[Token],
        y: &[Token],
        kernels: &Kernels,
    ) -> Result<Self, DeviceError> {
        let layout = Layout::of(found, dims);
        let executor = Executor::new(found, layout, &[&STEP, &CHUNKED], &kernels.chunked()).await?;
        executor.write_params(params);
        executor.write_step(x, y, 0.0);
        Ok(Self { executor })
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

    /// The gradients by the training step's kernels, with a row for each example; those that they do not
    /// compute are left empty.
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
        let pass = self.executor.pass(table, self.executor.layout.dims.batch)?;
        self.executor.gpu.check()?;
        self.executor.run(&pass, 0..table.len()).await
    }

    async fn read(
        &self,
        slot: impl Fn(LectureTensor) -> Slot,
    ) -> Result<LectureTensors<f32>, DeviceError> {
        let dims = self.executor.layout.dims;
        let mut chunks = LectureTensors::from_fn(|_| Vec::new());
        for chunk in LectureTensor::ALL {
            chunks[chunk] = self.executor.read(slot(chunk), chunk.len(&dims)).await?;
        }
        Ok(chunks)
    }
}
