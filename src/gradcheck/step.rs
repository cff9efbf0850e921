//! The gradients of one real training step, by each code that trains.
//!
//! A step keeps no gradients: it updates the parameters and forgets them. But with a learning rate of
//! 2^40, `before - after` is the gradient times that power of two, to the last bits of f32, since the
//! parameter itself is lost in the rounding. So what is checked is the very code that `train` runs, its
//! update included.

use super::GradcheckError;
use super::Inputs;
pub use super::code::{Code, Layouts};
use super::engine::{Engine, Kernels};
use crate::backend::{Backend, DeviceError, Schedule};
use crate::cores::cores;
use crate::cpu::CpuBackend;
use crate::engine::tune::Tune;
use crate::engine::{self, How};
use crate::gpu::adapter::Found;
use crate::gpu::device::Gpu;
use crate::gpu::layout::{Layout, Slot};
use crate::gpu::probe::Answers;
use crate::gpu::resident::Resident;
use crate::gpu::shader::ProbeModules;
use crate::gpu::staged::Staged;
use crate::gpu::tuning::{Cuts, Tuning, WorkSplit};
use crate::model::contexts::Numbering;
use crate::model::dims::Dims;
use crate::model::params::{Params, Tensor};
use crate::model::steps::Steps;
use crate::model::tensors::{LectureTensor, LectureTensors};
use crate::reference::chunked::chunk_of;

/// The learning rate that leaves nothing of a parameter but its gradient: 2^40. A gradient of 1e-7, the
/// rounding of one that is zero, becomes 1e5; one of 1e26 would still be finite.
const LR: f32 = (1u64 << 40) as f32;

/// `gradcheck --schedule`: which of an adapter's training steps are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The one that `train` would take
    Auto,
    /// One launch per operation, with whole sums and with sums in parts
    Staged,
    /// Many steps in one launch
    Resident,
    /// All that fit the adapter
    All,
}

/// The gradients that one training step left.
#[derive(Clone, Debug)]
pub struct Step {
    /// What computed them.
    pub code: Code,
    /// Those of the parameters, and of the activations where the step stores them; the others are empty.
    /// A row of an activation is a context: the sum over the examples that have it.
    pub grads: LectureTensors<f32>,
}

impl Engine {
    /// The code that `train` would take.
    ///
    /// # Errors
    ///
    /// The device cannot train a model of these sizes.
    pub async fn trained(&self, inputs: &Inputs) -> Result<Code, GradcheckError> {
        let Engine::Gpu(found, kernels, layouts) = self else {
            return Ok(Code::Cpu);
        };
        let how = How {
            schedule: Schedule::Auto,
            kernels: kernels.clone(),
            tune: layouts.trained.map_or(Tune::Fixed, Tune::Given),
        };
        let modules = &ProbeModules::new;
        let opened = engine::open_with(found, inputs.dims, &inputs.params, how, modules).await?;
        Ok(Code::of(&opened.backend.tuning()))
    }

    /// The layout of the step that is checked by a code; none on the CPU, and for the chunked pass.
    pub fn layout(&self, code: Code, dims: &Dims) -> Option<Tuning> {
        let Engine::Gpu(found, kernels, layouts) = self else {
            return None;
        };
        match code {
            Code::Chunked | Code::Cpu => None,
            Code::Staged | Code::InParts => Some(Tuning::Staged(
                staged_layout(found, kernels, layouts, code, *dims).cuts,
            )),
            Code::Resident => Some(Tuning::Resident(split(found, layouts, dims))),
        }
    }

    /// The codes to check. Whether an adapter can run each of them shows when it does.
    ///
    /// # Errors
    ///
    /// As for [`Engine::trained`].
    pub async fn codes(
        &self,
        inputs: &Inputs,
        asked: Checked,
    ) -> Result<Vec<Code>, GradcheckError> {
        Ok(match (self, asked) {
            (Engine::Cpu, _) | (_, Checked::Auto) => vec![self.trained(inputs).await?],
            (_, Checked::All) => vec![Code::Staged, Code::InParts, Code::Resident],
            (_, Checked::Staged) => vec![Code::Staged, Code::InParts],
            (_, Checked::Resident) => vec![Code::Resident],
        })
    }

    /// One training step, and what it leaves.
    ///
    /// # Errors
    ///
    /// The device cannot run this code at these sizes, or failed.
    pub async fn step(&self, code: Code, inputs: &Inputs) -> Result<Step, GradcheckError> {
        let mut grads = LectureTensors::from_fn(|_| Vec::new());
        let after = match self {
            Engine::Gpu(found, kernels, layouts)
                if matches!(code, Code::Staged | Code::InParts) =>
            {
                let layout = staged_layout(found, kernels, layouts, code, inputs.dims);
                let mut staged =
                    Staged::with_layout(found, layout, &inputs.params, kernels).await?;
                let after = one_step(&mut staged, inputs).await?;
                let rows = Contexts::of(inputs).count;
                for (chunk, slot) in STORED {
                    let values = rows * chunk.len(&inputs.dims) / inputs.dims.batch;
                    grads[chunk] = staged.executor().read(slot, values).await?;
                }
                after
            }
            _ => one_step(&mut self.open(code, inputs).await?, inputs).await?,
        };
        for tensor in Tensor::ALL {
            let both = inputs.params.get(tensor).iter().zip(after.get(tensor));
            grads[chunk_of(tensor)] = both
                .map(|(&before, &after)| {
                    ((f64::from(before) - f64::from(after)) / f64::from(LR)) as f32
                })
                .collect();
        }
        Ok(Step { code, grads })
    }

    /// A backend that trains by a code, from the parameters of `inputs`.
    ///
    /// # Errors
    ///
    /// The device cannot run this code at these sizes, or failed.
    pub async fn open(
        &self,
        code: Code,
        inputs: &Inputs,
    ) -> Result<engine::Engine, GradcheckError> {
        let Inputs { dims, params, .. } = inputs;
        Ok(match self {
            Engine::Cpu => CpuBackend::new(*dims, params.clone())
                .with_cores(cores())
                .into(),
            Engine::Gpu(found, kernels, layouts) if code == Code::Resident => {
                let split = split(found, layouts, dims);
                resident(found, kernels, split, inputs).await?.into()
            }
            Engine::Gpu(found, kernels, layouts) => {
                let layout = staged_layout(found, kernels, layouts, code, *dims);
                Staged::with_layout(found, layout, params, kernels)
                    .await?
                    .into()
            }
        })
    }
}

/// The activations whose gradients the staged schedule stores.
const STORED: [(LectureTensor, Slot); 5] = [
    (LectureTensor::Logits, Slot::Dlogits),
    (LectureTensor::Hpreact, Slot::Dhpreact),
    (LectureTensor::Hprebn, Slot::Dhprebn),
    (LectureTensor::Embcat, Slot::Dembcat),
    (LectureTensor::Emb, Slot::Dembcat),
];

/// The layout of the staged schedule by a code.
fn staged_layout(
    found: &Found,
    kernels: &Kernels,
    layouts: &Layouts,
    code: Code,
    dims: Dims,
) -> Layout {
    let changed: Vec<&str> = kernels.changed().collect();
    match (layouts.of_code(code), code) {
        (Some(Tuning::Staged(cuts)), _) => Layout::new(dims, cuts),
        (_, Code::InParts) => Layout::in_parts(found, dims),
        _ => Layout::new(dims, Cuts::usual(found, &dims, &changed).with_parts(false)),
    }
}

/// How the resident schedule shares a step out.
fn split(found: &Found, layouts: &Layouts, dims: &Dims) -> WorkSplit {
    match layouts.of_code(Code::Resident) {
        Some(Tuning::Resident(split)) => split,
        _ => WorkSplit::of(found, dims),
    }
}

async fn resident(
    found: &Found,
    kernels: &Kernels,
    split: WorkSplit,
    inputs: &Inputs,
) -> Result<Resident, DeviceError> {
    let Inputs { dims, params, .. } = inputs;
    let gpu = Gpu::open(found).await?;
    let answers = Answers::of(&gpu, split).await?;
    let params = std::slice::from_ref(params);
    Resident::probed(gpu, found, *dims, split, params, &answers, kernels).await
}

/// The parameters after one step with the rate that leaves nothing but gradients.
async fn one_step(
    backend: &mut impl Backend,
    inputs: &Inputs,
) -> Result<Params<f32>, GradcheckError> {
    let steps = Steps {
        first: 0,
        x: inputs.x.clone(),
        y: inputs.y.clone(),
        lr: vec![LR],
    };
    backend.train(&steps, &mut Vec::new()).await?;
    Ok(backend.params().await?)
}

/// The distinct contexts of a minibatch: equal ones share a row of the training step.
pub struct Contexts {
    /// How many there are.
    pub count: usize,
    /// The context of each example.
    of_example: Vec<usize>,
    /// The most examples that share one.
    pub most: usize,
}

impl Contexts {
    /// Those of the minibatch of `inputs`.
    pub fn of(inputs: &Inputs) -> Self {
        let Dims { block, batch, .. } = inputs.dims;
        let mut numbering = Numbering::new(batch);
        let mut examples = vec![0; batch];
        numbering.read(&inputs.x, block, |context| examples[context] += 1);
        Self {
            count: numbering.keys().len(),
            of_example: numbering.number_of().iter().map(|&n| n as usize).collect(),
            most: examples.into_iter().max().unwrap_or(0),
        }
    }

    /// A gradient `(batch, ...)` with a row for each context: the sum over its examples.
    pub fn summed(&self, grad: &[f64]) -> Vec<f64> {
        let cols = grad.len() / self.of_example.len();
        let mut sums = vec![0.0; self.count * cols];
        for (row, &context) in grad.chunks_exact(cols).zip(&self.of_example) {
            let sums = &mut sums[context * cols..][..cols];
            sums.iter_mut().zip(row).for_each(|(sum, d)| *sum += d);
        }
        sums
    }
}
