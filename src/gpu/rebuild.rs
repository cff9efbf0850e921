//! A device may be lost: taken away, reset by its driver, or without an answer. Then it is opened
//! again, once, and what it was doing is done again.

use std::sync::mpsc::Sender;

use super::GpuError;
use super::profile::Profile;
use crate::backend::{Backend, BackendError, BackendInfo, Statistics, Steps};
use crate::dims::Dims;
use crate::params::Params;

/// Opens the backend with these parameters.
pub type Open = Box<dyn FnMut(&Params<f32>) -> Result<Box<dyn Backend>, BackendError>>;

/// A backend that survives the loss of its device, once. It holds the parameters as they were after
/// the last chunk of steps: with them the device is opened again, and the chunk that was at work is
/// repeated. Since chunks do not change a bit of the result, neither does a loss.
pub struct Rebuilding {
    inner: Box<dyn Backend>,
    open: Open,
    /// As they were after the last chunk that was done in full.
    good: Params<f32>,
    /// How the device was lost, if it was.
    lost: Option<String>,
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
            inner,
            open,
            good: params.clone(),
            lost: None,
            profiles: false,
            notes,
        }
    }

    /// Does something that may be repeated, on this device or on the next one.
    fn attempt<T>(
        &mut self,
        mut work: impl FnMut(&mut dyn Backend) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let error = match work(&mut *self.inner) {
            Err(BackendError::Gpu(error)) if error.is_lost() => error,
            other => return other,
        };
        self.rebuild(&error)?;
        // A device that is lost at once is lost for the second time.
        work(&mut *self.inner).map_err(|BackendError::Gpu(error)| self.twice(error).into())
    }

    /// Opens the device again, with the last good parameters.
    fn rebuild(&mut self, error: &GpuError) -> Result<(), BackendError> {
        let Some(how) = error.lost() else {
            return Ok(());
        };
        if let Some(first) = &self.lost {
            let (first, second) = (first.clone(), how);
            return Err(GpuError::LostTwice { first, second }.into());
        }
        self.lost = Some(how.clone());
        let opened = (self.open)(&self.good).and_then(|mut opened| {
            if self.profiles {
                opened.start_profile()?;
            }
            Ok(opened)
        });
        self.inner = opened.map_err(|error| GpuError::NotBack {
            first: how.clone(),
            error: error.to_string(),
        })?;
        // Nobody listens to the notes of a run that has ended.
        let _ = self.notes.send(format!(
            "the GPU was lost ({how}); it was opened again, and the run goes on"
        ));
        Ok(())
    }

    /// An error of the second device: it may be the second loss.
    fn twice(&self, error: GpuError) -> GpuError {
        match (&self.lost, error.lost()) {
            (Some(first), Some(second)) => GpuError::LostTwice {
                first: first.clone(),
                second,
            },
            _ => error,
        }
    }
}

impl Backend for Rebuilding {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn dims(&self) -> &Dims {
        self.inner.dims()
    }

    /// The parameters are read at once: lost after the chunk and before that, they would be lost for
    /// good.
    fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), BackendError> {
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
        self.attempt(|backend| backend.set_params(params))
    }

    fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, BackendError> {
        self.attempt(|backend| backend.calibrate(x))
    }

    fn evaluate(&mut self, stats: &Statistics, x: &[u8], y: &[u8]) -> Result<f64, BackendError> {
        self.attempt(|backend| backend.evaluate(stats, x, y))
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
