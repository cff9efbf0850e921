//! A device may be lost: removed, reset by its driver, or without an answer in time. Then it is opened again,
//! once, and the work that was lost is repeated.
//!
//! After a second loss the training ends. The CPU then does what is left, such as the batch-norm statistics of
//! a last checkpoint, so that no trained model is lost with a device.

use std::sync::mpsc::Sender;

use super::dispatch::backend_by_match;
use crate::backend::profile::Profile;
use crate::backend::{Backend, BackendInfo, DeviceError};
use crate::cpu::CpuBackend;
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::model::steps::Steps;

/// Opens a lost backend again.
#[allow(async_fn_in_trait)] // one thread drives a backend and its futures: see `Backend`
pub trait Reopen {
    /// What it opens.
    type Backend: Backend;

    /// Opens the backend with these parameters.
    async fn reopen(&mut self, params: &Params<f32>) -> Result<Self::Backend, DeviceError>;
}

/// What a [`Rebuilding`] works on: a device, or the CPU once that is lost for good.
enum Inner<B> {
    Device(B),
    Cpu(Box<CpuBackend>),
}

backend_by_match!([B] Inner<B>, Device, Cpu);

/// A backend that survives the loss of its device, once. It holds the parameters as they were after
/// the last complete chunk of steps: with them the device is opened again, and the interrupted chunk is
/// repeated. The result does not depend on where chunks begin, so a loss does not change a bit of it.
///
/// When it is lost again, or cannot be opened again, [`Backend::train`] fails for good, and
/// [`Backend::params`] returns those of the last complete chunk. All other calls then work on the CPU.
pub struct Rebuilding<O: Reopen> {
    inner: Inner<O::Backend>,
    /// Of the device, even if the CPU has taken over.
    info: BackendInfo,
    open: O,
    /// As they were after the last complete chunk.
    good: Params<f32>,
    /// How the device was lost, if it was.
    lost: Option<String>,
    /// Whether there is no device any more.
    given_up: bool,
    profiles: bool,
    notes: Sender<String>,
}

impl<O: Reopen> Rebuilding<O> {
    /// Around a backend that has `params`. `open` opens it again; `notes` tells the user of it.
    pub fn new(inner: O::Backend, params: &Params<f32>, open: O, notes: Sender<String>) -> Self {
        Self {
            info: inner.info().clone(),
            inner: Inner::Device(inner),
            open,
            good: params.clone(),
            lost: None,
            given_up: false,
            profiles: false,
            notes,
        }
    }

    /// Does something that may be repeated, on this device or on the next one.
    async fn attempt<T>(
        &mut self,
        mut work: impl AsyncFnMut(&mut Inner<O::Backend>) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let error = match work(&mut self.inner).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(how) = error.lost() else {
            return Err(error);
        };
        if self.lost.is_none() {
            self.open_again(how).await?;
            let done = work(&mut self.inner).await;
            return done.map_err(|error| self.lost_again(error));
        }
        Err(self.lost_again(error))
    }

    /// Opens the device again, with the last good parameters.
    async fn open_again(&mut self, how: String) -> Result<(), DeviceError> {
        self.lost = Some(how.clone());
        match self.opened().await {
            Ok(opened) => self.inner = Inner::Device(opened),
            Err(error) => {
                self.give_up();
                let error = Box::new(error);
                return Err(DeviceError::NotBack { first: how, error });
            }
        }
        // Nobody listens to the notes of a run that has ended.
        let _ = self.notes.send(format!(
            "the GPU was lost ({how}); it was opened again, and the run continues"
        ));
        Ok(())
    }

    async fn opened(&mut self) -> Result<O::Backend, DeviceError> {
        let mut opened = self.open.reopen(&self.good).await?;
        if self.profiles {
            opened.start_profile().await?;
        }
        Ok(opened)
    }

    /// Turns the second loss of the device into the error for that.
    fn lost_again(&mut self, error: DeviceError) -> DeviceError {
        match (self.lost.clone(), error.lost()) {
            (Some(first), Some(second)) => {
                self.give_up();
                DeviceError::LostTwice { first, second }
            }
            _ => error,
        }
    }

    /// Does something after the training that may be repeated, on a device, or on the CPU if there is none
    /// left.
    async fn attempt_at_last<T>(
        &mut self,
        mut work: impl AsyncFnMut(&mut Inner<O::Backend>) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        match self.attempt(&mut work).await {
            Err(error) if self.given_up => {
                let _ = self.notes.send(format!("{error}; the CPU does the rest"));
                work(&mut self.inner).await
            }
            other => other,
        }
    }

    fn give_up(&mut self) {
        self.given_up = true;
        let cpu = CpuBackend::new(*self.inner.dims(), self.good.clone());
        self.inner = Inner::Cpu(Box::new(cpu));
    }
}

impl<O: Reopen> Backend for Rebuilding<O> {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn dims(&self) -> &Dims {
        self.inner.dims()
    }

    /// The parameters are read at once: if the device were lost between the chunk and that, the chunk could
    /// not be repeated.
    async fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), DeviceError> {
        if self.given_up {
            return Err(DeviceError::Lost("and given up".to_owned()));
        }
        let before = losses.len();
        self.good = self
            .attempt(async |backend| {
                losses.truncate(before);
                backend.train(steps, losses).await?;
                backend.params().await
            })
            .await?;
        Ok(())
    }

    /// The parameters after the last complete chunk, even if the device has been lost since.
    async fn params(&mut self) -> Result<Params<f32>, DeviceError> {
        Ok(self.good.clone())
    }

    async fn set_params(&mut self, params: &Params<f32>) -> Result<(), DeviceError> {
        self.good = params.clone();
        self.attempt_at_last(async |backend| backend.set_params(params).await)
            .await
    }

    async fn calibrate(&mut self, x: &[Token]) -> Result<Statistics, DeviceError> {
        self.attempt_at_last(async |backend| backend.calibrate(x).await)
            .await
    }

    async fn evaluate(
        &mut self,
        stats: &Statistics,
        x: &[Token],
        y: &[Token],
    ) -> Result<f64, DeviceError> {
        self.attempt_at_last(async |backend| backend.evaluate(stats, x, y).await)
            .await
    }

    /// After a loss the profile starts anew: what had been measured is lost with the device.
    async fn start_profile(&mut self) -> Result<(), DeviceError> {
        self.profiles = true;
        self.attempt(async |backend| backend.start_profile().await)
            .await
    }

    fn profile(&self) -> Option<&Profile> {
        self.inner.profile()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use pollster::FutureExt as _;

    use super::*;
    use crate::engine::fake::{Call, Fake};

    /// Opens it again as a CPU that lasts.
    struct Sound(Dims);

    impl Reopen for Sound {
        type Backend = Fake;

        async fn reopen(&mut self, params: &Params<f32>) -> Result<Fake, DeviceError> {
            Ok(Fake::new(self.0, params, |_| Ok(())))
        }
    }

    /// Lost like a GPU: in the midst of a chunk, or before the parameters are read.
    fn lost(in_chunk: bool) -> impl FnMut(Call<'_>) -> Result<(), DeviceError> {
        move |call| match (call, in_chunk) {
            (Call::Train(_, losses), true) => {
                losses.push(1.0);
                Err(DeviceError::Lost("in a chunk".to_owned()))
            }
            (Call::Params, false) => Err(DeviceError::Lost("after a chunk".to_owned())),
            _ => Ok(()),
        }
    }

    /// Half of a chunk's losses may be there when it is lost, or all of them: none counts twice.
    #[test]
    fn a_repeated_chunk_counts_once() {
        let dims = Dims {
            vocab: 3,
            block: 1,
            embd: 2,
            hidden: 4,
            batch: 2,
        };
        let params = Params::filled(&dims, 0.5);
        let steps = Steps {
            first: 0,
            x: vec![0, 1, 2, 0],
            y: vec![1, 2, 0, 1],
            lr: vec![0.1, 0.1],
        };
        let mut cpu = CpuBackend::new(dims, params.clone());
        let mut want = vec![9.0];
        cpu.train(&steps, &mut want).block_on().unwrap();
        for in_chunk in [true, false] {
            let frail = Fake::new(dims, &params, lost(in_chunk));
            let (notes, told) = channel();
            let mut backend = Rebuilding::new(frail, &params, Sound(dims), notes);
            let mut got = vec![9.0];
            backend.train(&steps, &mut got).block_on().unwrap();
            assert_eq!(got, want);
            let [got, want] = [backend.params().block_on(), cpu.params().block_on()];
            assert_eq!(got.unwrap(), want.unwrap());
            assert_eq!(told.try_iter().count(), 1);
        }
    }
}
