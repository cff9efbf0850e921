//! The curves of a run while it is trained: `metrics.jsonl`, and with `--tensorboard` an event file beside it.

use std::path::Path;

use crate::checkpoint::MetricsMark;
use crate::cli::files::FileError;
use crate::cli::report::metrics::{self, Line};
use crate::cli::report::tensorboard::{self, EventFile};
use crate::cli::report::{Metrics, RunDir};
use crate::training::log::{LossLog, Row, Validation};
use crate::training::ratios::Ratios;

/// The files that get each row.
pub(super) struct Curves {
    metrics: Metrics,
    events: Option<EventFile>,
}

impl Curves {
    /// Makes the files of a run that begins in `folder`.
    ///
    /// # Errors
    ///
    /// A file exists or cannot be made.
    pub(super) fn begin(folder: &Path, tensorboard: bool) -> Result<Self, FileError> {
        Ok(Self {
            metrics: Metrics::create(&folder.join(RunDir::METRICS))?,
            events: match tensorboard {
                true => Some(EventFile::begin(folder, 0)?),
                false => None,
            },
        })
    }

    /// Opens the files of a run that continues after `steps` steps, when `metrics.jsonl` had `bytes` bytes.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, read or written.
    pub(super) fn go_on(
        folder: &Path,
        bytes: u64,
        steps: u64,
        tensorboard: bool,
    ) -> Result<Self, FileError> {
        let path = folder.join(RunDir::METRICS);
        let metrics = Metrics::go_on(&path, bytes)?;
        let mut events = None;
        if tensorboard {
            // A run that had no event file so far gets the curve from its beginning on.
            let from = match tensorboard::files(folder)?.is_empty() {
                true => 0,
                false => steps,
            };
            let mut file = EventFile::begin(folder, from)?;
            // The new file tells TensorBoard to discard everything from step `from` on, a validation loss at that
            // very step included, so those rows are written again.
            for line in metrics::lines(&path)? {
                match line {
                    Ok(Line::Step(row)) if row.step >= from => file.record(&row)?,
                    Ok(Line::Validation(row)) if row.step >= from => file.record_validation(row)?,
                    // A line that somebody has changed does not keep the run from continuing.
                    _ => {}
                }
            }
            events = Some(file);
        }
        Ok(Self { metrics, events })
    }

    /// Writes the row of a training step.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) fn record(&mut self, row: &Row) -> Result<(), FileError> {
        self.metrics.record(row)?;
        self.events.as_mut().map_or(Ok(()), |file| file.record(row))
    }

    /// Writes the ratios of a step.
    ///
    /// # Errors
    ///
    /// `metrics.jsonl` cannot be written.
    pub(super) fn record_ratios(&mut self, ratios: &Ratios) -> Result<(), FileError> {
        self.metrics.record(ratios)
    }

    /// Writes the row of a validation loss.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) fn record_validation(&mut self, row: Validation) -> Result<(), FileError> {
        self.metrics.record_validation(row)?;
        (self.events.as_mut()).map_or(Ok(()), |file| file.record_validation(row))
    }

    /// Writes the losses over the three sets after the last of `steps` steps: `metrics.jsonl` leaves them to
    /// `summary.json`.
    ///
    /// # Errors
    ///
    /// The event file cannot be written.
    pub(super) fn record_final(&mut self, steps: u64, losses: [f64; 3]) -> Result<(), FileError> {
        self.events.as_mut().map_or(Ok(()), |file| {
            file.record_final(steps, losses)?;
            file.sync()
        })
    }

    /// Waits until the rows are on the disk, and tells where they and the log of losses end.
    ///
    /// # Errors
    ///
    /// The disk does not take them.
    pub(super) fn mark(&mut self, log: &LossLog) -> Result<MetricsMark, FileError> {
        if let Some(file) = &self.events {
            file.sync()?;
        }
        self.metrics.mark(log)
    }

    /// The rows of the validation losses so far, those before an interruption included.
    pub(super) fn validation(&self) -> &[Validation] {
        self.metrics.validation()
    }
}
