//! The loop that drives a training on a backend. What is done with each chunk is the caller's business.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::backend::{Backend, DeviceError};
use crate::cli::error::Error;
use crate::cores::both;
use crate::training::{Diverged, Event, Training};

/// How a training ended.
pub enum Ended {
    /// All steps are done.
    Whole,
    /// A value is no longer finite.
    Diverged(Box<Diverged>),
    /// The caller did not want more.
    Stopped,
    /// The device failed. The training stands where it was before the chunk that failed.
    Failed(DeviceError),
}

/// Has a backend do the steps of a training, and reports each chunk: its losses and its events.
///
/// # Errors
///
/// Those of `on_chunk`.
pub async fn drive(
    training: &mut Training<'_>,
    backend: &mut impl Backend,
    mut on_chunk: impl AsyncFnMut(&Training<'_>, &[f32], &[Event]) -> Result<ControlFlow<()>, Error>,
) -> Result<Ended, Error> {
    let mut losses = Vec::new();
    while let Some(steps) = training.next_steps() {
        let began = Instant::now();
        losses.clear();
        // While the device is busy with these steps, the next are drawn.
        let ((), trained) =
            both(|| training.draw_ahead(), backend.train(&steps, &mut losses)).await;
        if let Err(error) = trained {
            return Ok(Ended::Failed(error));
        }
        if let Err(diverged) = training.accept_losses(&losses, began.elapsed()) {
            return Ok(Ended::Diverged(diverged));
        }
        let params = match backend.params().await {
            Ok(params) => params,
            Err(error) => return Ok(Ended::Failed(error)),
        };
        let events = match training.accept_params(params) {
            Ok(events) => events,
            Err(diverged) => return Ok(Ended::Diverged(diverged)),
        };
        if on_chunk(training, &losses, &events).await?.is_break() {
            return Ok(Ended::Stopped);
        }
    }
    Ok(Ended::Whole)
}
