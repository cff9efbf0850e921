//! What the commands ask of a device. The CPU twin and the GPU schedules answer the same trait, so
//! each of them sees the same stream of steps.

mod api;
mod error;
pub mod profile;

pub use api::{Api, Schedule};
pub use error::{DeviceError, ShaderError};

use crate::model::dims::{Dims, Token};
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
    /// The name of the layout of its step, with which another run has the same bits on this device.
    pub tuning: Option<String>,
}

/// A device that can train and evaluate one model.
///
/// One thread drives a backend and its futures: wgpu's types cannot leave their thread in a browser.
#[allow(async_fn_in_trait)] // no future has to be Send, for the reason above
pub trait Backend {
    /// What it runs on.
    fn info(&self) -> &BackendInfo;

    /// Sizes of the model and its minibatch.
    fn dims(&self) -> &Dims;

    /// Does every step of `steps` in order and appends the loss of each, taken before its update.
    /// An error means that nothing of this chunk may be used.
    async fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), DeviceError>;

    /// The parameters as they stand.
    async fn params(&mut self) -> Result<Params<f32>, DeviceError>;

    /// Replaces the parameters.
    async fn set_params(&mut self, params: &Params<f32>) -> Result<(), DeviceError>;

    /// Batch-norm statistics over all contexts `x (examples, block)`; two examples at least.
    async fn calibrate(&mut self, x: &[Token]) -> Result<Statistics, DeviceError>;

    /// Mean loss over the examples `x (examples, block)`, `y (examples)` with fixed statistics.
    async fn evaluate(
        &mut self,
        stats: &Statistics,
        x: &[Token],
        y: &[Token],
    ) -> Result<f64, DeviceError>;

    /// Measures from now on where the time of training steps goes, if this is a GPU. Their results
    /// stay the same, bit for bit.
    async fn start_profile(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// What has been measured since [`Backend::start_profile`].
    fn profile(&self) -> Option<&Profile> {
        None
    }
}
