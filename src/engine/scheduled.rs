//! A model on an adapter with one of the two schedules.

use super::dispatch::backend_by_match;
use crate::backend::profile::Profile;
use crate::backend::{Backend, BackendInfo, DeviceError};
use crate::gpu::adapter::Found;
use crate::gpu::device::Gpu;
use crate::gpu::kernels::Kernels;
use crate::gpu::layout::Layout;
use crate::gpu::plan::Plan;
use crate::gpu::probe::Answers;
use crate::gpu::resident::Resident;
use crate::gpu::staged::Staged;
use crate::gpu::tuning::Tuning;
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::model::steps::Steps;

/// A schedule on an adapter.
pub enum Scheduled {
    /// One launch per operation.
    Staged(Box<Staged>),
    /// Many steps per launch.
    Resident(Box<Resident>),
}

backend_by_match!([] Scheduled, Staged, Resident);

impl Scheduled {
    /// How its step is laid out.
    pub fn tuning(&self) -> Tuning {
        match self {
            Self::Staged(staged) => Tuning::Staged(staged.executor().layout.cuts),
            Self::Resident(resident) => Tuning::Resident(resident.split()),
        }
    }
}

impl From<Staged> for Scheduled {
    fn from(staged: Staged) -> Self {
        Scheduled::Staged(Box::new(staged))
    }
}

impl From<Resident> for Scheduled {
    fn from(resident: Resident) -> Self {
        Scheduled::Resident(Box::new(resident))
    }
}

/// Opens a model with a layout on a device that is open and has been probed.
///
/// # Errors
///
/// As for [`super::open`].
pub(super) async fn open(
    gpu: Gpu,
    found: &Found,
    dims: Dims,
    tuning: Tuning,
    params: &Params<f32>,
    answers: &Answers,
    kernels: &Kernels,
) -> Result<Scheduled, DeviceError> {
    answers.check(tuning.schedule(), &found.info.name)?;
    Ok(match tuning {
        Tuning::Staged(cuts) => {
            let layout = Layout::new(dims, cuts);
            Staged::on(gpu, found, layout, params, kernels)
                .await?
                .into()
        }
        Tuning::Resident(split) => {
            let plan = Plan::for_driver(found, dims, 1, split, answers.loops.done)?;
            let mut resident = Resident::with(gpu, found, plan, [params], kernels).await?;
            if kernels.are_changed() {
                resident.compile_evaluation().await?;
            }
            resident.into()
        }
    })
}
