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

/// A model that is to be opened on a device that is open and has been probed.
pub(super) struct Opening<'a> {
    /// The device.
    pub gpu: Gpu,
    /// Its adapter.
    pub found: &'a Found,
    /// Sizes.
    pub dims: Dims,
    /// The parameters of the start.
    pub params: &'a Params<f32>,
    /// What the probe found.
    pub answers: &'a Answers,
    /// The kernels.
    pub kernels: &'a Kernels,
}

impl Opening<'_> {
    /// Opens the model with a layout.
    ///
    /// # Errors
    ///
    /// As for [`super::open`].
    pub async fn open(&self, tuning: Tuning) -> Result<Scheduled, DeviceError> {
        self.open_as(tuning, |layout| layout).await
    }

    /// Opens it to time some steps: without room for an evaluation's larger batches, whose kernels would have to
    /// be compiled and whose tensors would have to be cleared.
    ///
    /// # Errors
    ///
    /// As for [`super::open`].
    pub async fn open_to_time(&self, tuning: Tuning) -> Result<Scheduled, DeviceError> {
        self.open_as(tuning, Layout::for_steps_only).await
    }

    async fn open_as(
        &self,
        tuning: Tuning,
        staged: impl FnOnce(Layout) -> Layout,
    ) -> Result<Scheduled, DeviceError> {
        let (gpu, found, params) = (self.gpu.clone(), self.found, self.params);
        (self.answers).check(tuning.schedule(), &found.info.name)?;
        Ok(match tuning {
            Tuning::Staged(cuts) => {
                let layout = staged(Layout::new(self.dims, cuts));
                let staged = Staged::on(gpu, found, layout, params, self.kernels);
                staged.await?.into()
            }
            Tuning::Resident(split) => {
                let done = self.answers.loops.done;
                let plan = Plan::for_driver(found, self.dims, 1, split, done)?;
                let resident = Resident::with(gpu, found, plan, [params], self.kernels);
                let mut resident = resident.await?;
                if self.kernels.are_changed() {
                    resident.compile_evaluation().await?;
                }
                resident.into()
            }
        })
    }
}
