//! What a command runs on: the answer to `--backend` and `--adapter`.

use crate::backend::{Api, Schedule};
use crate::cli::args::DeviceArgs;
use crate::cli::error::{Error, Usage};
use crate::cpu::CpuBackend;
use crate::engine::{Engine, Opened, open_on};
use crate::gpu::adapter::{Choice, api_name, choose};
use crate::gpu::staged::Staged;
use crate::model::dims::Dims;
use crate::model::params::Params;

/// What a command runs on.
pub struct Device(Choice);

impl Device {
    /// Resolves `--backend` and `--adapter`.
    pub async fn choose(args: &DeviceArgs) -> Result<Self, Error> {
        if args.backend == Api::Cpu && args.adapter.is_some() {
            let message = "--adapter chooses a GPU; it cannot be combined with --backend cpu";
            return Err(Usage(message.to_owned()).into());
        }
        Ok(Self(choose(args.backend, args.adapter.as_deref()).await?))
    }

    /// The choice itself.
    pub fn choice(&self) -> &Choice {
        &self.0
    }

    /// A backend for one model.
    pub async fn open(&self, dims: Dims, params: &Params<f32>) -> Result<Engine, Error> {
        Ok(match &self.0 {
            Choice::Cpu { .. } => CpuBackend::new(dims, params.clone()).into(),
            Choice::Gpu { found, .. } => Staged::new(found, dims, params).await?.into(),
        })
    }

    /// A backend that trains, with the schedule that was asked for, and why it has that one.
    pub async fn open_to_train(
        &self,
        dims: Dims,
        params: &Params<f32>,
        asked: Schedule,
    ) -> Result<Opened<Engine>, Error> {
        if asked != Schedule::Auto {
            self.needs_gpu(&format!("--schedule {asked}"))?;
        }
        Ok(open_on(&self.0, dims, params, asked).await?)
    }

    /// Refuses an option that a run on the CPU has no answer to.
    pub fn needs_gpu(&self, option: &str) -> Result<(), Error> {
        match &self.0 {
            Choice::Gpu { .. } => Ok(()),
            Choice::Cpu { why } => Err(Usage(format!(
                "{option} is about GPUs, and this run is on the CPU: {why}"
            ))
            .into()),
        }
    }

    /// What it is, in a few words.
    pub fn name(&self) -> String {
        match &self.0 {
            Choice::Cpu { .. } => "CPU".to_owned(),
            Choice::Gpu { found, .. } => {
                format!("{}, {}", found.info.name, api_name(found.info.backend))
            }
        }
    }

    /// Why it was taken, and what to expect of it if it is a software adapter.
    pub fn why(&self) -> String {
        match &self.0 {
            Choice::Cpu { why } => why.clone(),
            Choice::Gpu { found, why } if found.is_software() => format!(
                "{why}; a software adapter, which computes on the processor: --backend cpu is much \
                 faster"
            ),
            Choice::Gpu { found, why } => format!("{why}; {}", found.kind()),
        }
    }
}
