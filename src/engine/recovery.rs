//! A device may be lost: taken away, reset by its driver, or without an answer. Then it is opened
//! again, once, and what it was doing is done again.
//!
//! With the second loss the training ends. What is left to do then, such as the batch-norm statistics
//! of a last checkpoint, the CPU does: no trained model is lost with a device.

use std::sync::mpsc::Sender;

use crate::backend::GpuError;
use crate::backend::profile::Profile;
use crate::backend::{Backend, BackendError, BackendInfo};
use crate::cpu::CpuBackend;
use crate::model::dims::Dims;
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::model::steps::Steps;

/// Opens the backend with these parameters.
pub type Open = Box<dyn FnMut(&Params<f32>) -> Result<Box<dyn Backend>, BackendError>>;

/// A backend that survives the loss of its device, once. It holds the parameters as they were after
/// the last chunk of steps: with them the device is opened again, and the chunk that was at work is
/// repeated. Since chunks do not change a bit of the result, neither does a loss.
///
/// When it is lost again, or does not come back, [`Backend::train`] fails for good, and
/// [`Backend::params`] still has what was good. All other calls work on the CPU then.
pub struct Rebuilding {
    inner: Box<dyn Backend>,
    /// Of the device, whatever became of it.
    info: BackendInfo,
    open: Open,
    /// As they were after the last chunk that was done in full.
    good: Params<f32>,
    /// How the device was lost, if it was.
    lost: Option<String>,
    /// Whether there is no device any more.
    given_up: bool,
    profiles: bool,
    notes: Sender<String>,
}

impl Rebuilding {
    /// Around a backend that has `params`. `open` opens it again; `notes` tells the user of it.
    pub fn new(
        inner: Box<dyn Backend>,
        params: &Params<f32>,
        open: Open,
        notes: Sender<String>,
    ) -> Self {
        Self {
            info: inner.info().clone(),
            inner,
            open,
            good: params.clone(),
            lost: None,
            given_up: false,
            profiles: false,
            notes,
        }
    }

    /// Does something that may be repeated, on this device or on the next one.
    fn attempt<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn Backend) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let BackendError::Gpu(error) = match work(&mut *self.inner) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(how) = error.lost() else {
            return Err(error.into());
        };
        if self.lost.is_none() {
            self.open_again(how)?;
            return match work(&mut *self.inner) {
                Err(BackendError::Gpu(error)) => Err(self.lost_again(error).into()),
                done => done,
            };
        }
        Err(self.lost_again(error).into())
    }

    /// Opens the device again, with the last good parameters.
    fn open_again(&mut self, how: String) -> Result<(), BackendError> {
        self.lost = Some(how.clone());
        let opened = (self.open)(&self.good).and_then(|mut opened| {
            if self.profiles {
                opened.start_profile()?;
            }
            Ok(opened)
        });
        match opened {
            Ok(opened) => self.inner = opened,
            Err(error) => {
                self.give_up();
                let error = error.to_string();
                return Err(GpuError::NotBack { first: how, error }.into());
            }
        }
        // Nobody listens to the notes of a run that has ended.
        let _ = self.notes.send(format!(
            "the GPU was lost ({how}); it was opened again, and the run continues"
        ));
        Ok(())
    }

    /// What an error of the second device comes to.
    fn lost_again(&mut self, error: GpuError) -> GpuError {
        match (self.lost.clone(), error.lost()) {
            (Some(first), Some(second)) => {
                self.give_up();
                GpuError::LostTwice { first, second }
            }
            _ => error,
        }
    }

    /// The same for what is left to do after a training: without a device, the CPU does it.
    fn attempt_at_last<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn Backend) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        match self.attempt(&mut work) {
            Err(error) if self.given_up => {
                let _ = self.notes.send(format!("{error}; the CPU does the rest"));
                work(&mut *self.inner)
            }
            other => other,
        }
    }

    fn give_up(&mut self) {
        self.given_up = true;
        self.inner = Box::new(CpuBackend::new(*self.inner.dims(), self.good.clone()));
    }
}

impl Backend for Rebuilding {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn dims(&self) -> &Dims {
        self.inner.dims()
    }

    /// The parameters are read at once: lost after the chunk and before that, they would be lost for
    /// good.
    fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), BackendError> {
        if self.given_up {
            return Err(GpuError::Lost("and given up".to_owned()).into());
        }
        let before = losses.len();
        self.good = self.attempt(|backend| {
            losses.truncate(before);
            backend.train(steps, losses)?;
            backend.params()
        })?;
        Ok(())
    }

    /// Those after the last chunk that was done, whatever became of the device since.
    fn params(&mut self) -> Result<Params<f32>, BackendError> {
        Ok(self.good.clone())
    }

    fn set_params(&mut self, params: &Params<f32>) -> Result<(), BackendError> {
        self.good = params.clone();
        self.attempt_at_last(|backend| backend.set_params(params))
    }

    fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, BackendError> {
        self.attempt_at_last(|backend| backend.calibrate(x))
    }

    fn evaluate(&mut self, stats: &Statistics, x: &[u8], y: &[u8]) -> Result<f64, BackendError> {
        self.attempt_at_last(|backend| backend.evaluate(stats, x, y))
    }

    /// After a loss, the profile begins anew: what was measured before it is lost with the device.
    fn start_profile(&mut self) -> Result<(), BackendError> {
        self.profiles = true;
        self.attempt(|backend| backend.start_profile())
    }

    fn profile(&self) -> Option<&Profile> {
        self.inner.profile()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// A CPU that is lost like a GPU: in the midst of a chunk, or before its parameters are read.
    struct Frail {
        cpu: CpuBackend,
        in_chunk: bool,
        before_params: bool,
    }

    impl Backend for Frail {
        fn info(&self) -> &BackendInfo {
            self.cpu.info()
        }

        fn dims(&self) -> &Dims {
            self.cpu.dims()
        }

        fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), BackendError> {
            if self.in_chunk {
                losses.push(1.0);
                return Err(GpuError::Lost("in a chunk".to_owned()).into());
            }
            self.cpu.train(steps, losses)
        }

        fn params(&mut self) -> Result<Params<f32>, BackendError> {
            match self.before_params {
                true => Err(GpuError::Lost("after a chunk".to_owned()).into()),
                false => self.cpu.params(),
            }
        }

        fn set_params(&mut self, params: &Params<f32>) -> Result<(), BackendError> {
            self.cpu.set_params(params)
        }

        fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, BackendError> {
            self.cpu.calibrate(x)
        }

        fn evaluate(&mut self, s: &Statistics, x: &[u8], y: &[u8]) -> Result<f64, BackendError> {
            self.cpu.evaluate(s, x, y)
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
        cpu.train(&steps, &mut want).unwrap();
        for in_chunk in [true, false] {
            let frail = Frail {
                cpu: CpuBackend::new(dims, params.clone()),
                in_chunk,
                before_params: !in_chunk,
            };
            let open: Open =
                Box::new(move |params| Ok(Box::new(CpuBackend::new(dims, params.clone()))));
            let (notes, told) = channel();
            let mut backend = Rebuilding::new(Box::new(frail), &params, open, notes);
            let mut got = vec![9.0];
            backend.train(&steps, &mut got).unwrap();
            assert_eq!(got, want);
            assert_eq!(backend.params().unwrap(), cpu.params().unwrap());
            assert_eq!(told.try_iter().count(), 1);
        }
    }
}
