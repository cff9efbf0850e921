//! A backend for unit tests: the CPU's, with something that happens before its steps and before its
//! parameters are read.

use crate::backend::{Backend, BackendInfo, DeviceError};
use crate::cpu::CpuBackend;
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::model::steps::Steps;

/// What is about to be done.
pub(crate) enum Call<'a> {
    /// The steps, with the losses so far.
    Train(&'a Steps, &'a mut Vec<f32>),
    /// The parameters are read.
    Params,
}

/// Called before, with leave to fail or to take its time.
pub(crate) type Before = Box<dyn FnMut(Call<'_>) -> Result<(), DeviceError>>;

/// The backend.
pub(crate) struct Fake {
    cpu: CpuBackend,
    before: Before,
}

impl Fake {
    pub(crate) fn new(
        dims: Dims,
        params: &Params<f32>,
        before: impl FnMut(Call<'_>) -> Result<(), DeviceError> + 'static,
    ) -> Self {
        Self {
            cpu: CpuBackend::new(dims, params.clone()),
            before: Box::new(before),
        }
    }
}

impl Backend for Fake {
    fn info(&self) -> &BackendInfo {
        self.cpu.info()
    }

    fn dims(&self) -> &Dims {
        self.cpu.dims()
    }

    async fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), DeviceError> {
        (self.before)(Call::Train(steps, losses))?;
        self.cpu.train(steps, losses).await
    }

    async fn params(&mut self) -> Result<Params<f32>, DeviceError> {
        (self.before)(Call::Params)?;
        self.cpu.params().await
    }

    async fn set_params(&mut self, params: &Params<f32>) -> Result<(), DeviceError> {
        self.cpu.set_params(params).await
    }

    async fn calibrate(&mut self, x: &[Token]) -> Result<Statistics, DeviceError> {
        self.cpu.calibrate(x).await
    }

    async fn evaluate(
        &mut self,
        s: &Statistics,
        x: &[Token],
        y: &[Token],
    ) -> Result<f64, DeviceError> {
        self.cpu.evaluate(s, x, y).await
    }
}
