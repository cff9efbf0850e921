//! What the commands ask of a device. The CPU twin and the GPU schedules answer the same trait, so
//! each of them sees the same stream of steps.

mod api;
mod error;
pub mod profile;

pub use api::{Api, Schedule};
pub use error::GpuError;

use crate::model::dims::Dims;
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::model::steps::Steps;
use profile::Profile;

/// What a backend runs on, for the set-up lines and `summary.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// `cpu`, `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: &'static str,
    /// The adapter's own name.
    pub adapter: String,
    /// The driver and its version, as it reports them.
    pub driver: String,
    /// How the steps are launched: `staged` or `resident`; a CPU launches nothing.
    pub schedule: Option<&'static str>,
}

/// A device that can train and evaluate one model.
pub trait Backend {
    /// What it runs on.
    fn info(&self) -> &BackendInfo;

    /// Sizes of the model and its minibatch.
    fn dims(&self) -> &Dims;

    /// Does every step of `steps` in order and appends the loss of each, taken before its update.
    /// An error means that nothing of this chunk may be used.
    fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), BackendError>;

    /// The parameters as they stand.
    fn params(&mut self) -> Result<Params<f32>, BackendError>;

    /// Replaces the parameters.
    fn set_params(&mut self, params: &Params<f32>) -> Result<(), BackendError>;

    /// Batch-norm statistics over all contexts `x (examples, block)`; two examples at least.
    fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, BackendError>;

    /// Mean loss over the examples `x (examples, block)`, `y (examples)` with fixed statistics.
    fn evaluate(&mut self, stats: &Statistics, x: &[u8], y: &[u8]) -> Result<f64, BackendError>;

    /// Measures from now on where the time of training steps goes, if this is a GPU. Their results
    /// stay the same, bit for bit.
    fn start_profile(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    /// What has been measured since [`Backend::start_profile`].
    fn profile(&self) -> Option<&Profile> {
        None
    }
}

/// A backend that could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The GPU or its driver failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}
