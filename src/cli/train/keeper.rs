//! The checkpoints of a run: the last one, to continue from, and the best one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::checkpoint::packed::{self, Measured};
use crate::checkpoint::{Best, Config, MetricsMark, Training as Record};
use crate::cli::error::Error;
use crate::cli::files::FileError;
use crate::cli::model_file;
use crate::cli::report::{RunDir, tensorboard};
use crate::cpu::CpuBackend;
use crate::data::Dataset;
use crate::engine::Engine;

use crate::training::{Snapshot, State};

/// Writes the checkpoints of a run.
pub(crate) struct Keeper<'a> {
    run_dir: RunDir,
    dataset: &'a Dataset,
    config: Config,
    /// As it was saved last.
    record: Record,
    /// Steps of the last checkpoint.
    saved: u64,
    /// Time that the checkpoints of this process and its evaluations took.
    took: Duration,
    /// Evaluates. Always the CPU: it has nothing else to do when a GPU trains, the numbers are the
    /// same for every backend, and a checkpoint can be written when the GPU is gone.
    evaluator: Engine,
}

impl<'a> Keeper<'a> {
    /// A keeper for a run that is as far as `record` says, whose parameters are in `start`.
    pub(crate) fn new(
        run_dir: RunDir,
        dataset: &'a Dataset,
        config: Config,
        record: Record,
        start: &Snapshot,
    ) -> Self {
        let dims = config.dims().with_batch(2);
        let evaluator = CpuBackend::new(dims, start.params.clone()).into();
        Self {
            run_dir,
            dataset,
            config,
            record,
            saved: start.steps,
            took: Duration::ZERO,
            evaluator,
        }
    }

    /// The folder of the run.
    pub(crate) fn folder(&self) -> &Path {
        self.run_dir.path()
    }

    /// Path of one of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.run_dir.file(name)
    }

    /// Steps of the last checkpoint; 0 if there is none.
    pub(crate) fn saved(&self) -> u64 {
        self.saved
    }

    /// Time that all checkpoints and evaluations since [`Keeper::new`] took.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// The checkpoint with the lowest validation loss so far.
    pub(crate) fn best(&self) -> Option<Best> {
        self.record.best
    }

    /// Measures the validation loss of the model as it stands. `None` if its batch-norm statistics
    /// are not finite: parameters so large diverge at the next step, and are not to be saved.
    ///
    /// # Errors
    ///
    /// The evaluation fails.
    pub(crate) async fn measure(&mut self, now: &Snapshot) -> Result<Option<Measured>, Error> {
        let begun = Instant::now();
        let config = self.config.clone();
        let result = packed::measure(&mut self.evaluator, config, now, self.dataset).await;
        self.took += begun.elapsed();
        Ok(result?)
    }

    /// Saves the run as it stands. Until the last file has its name, the checkpoint before is there.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(crate) fn save(
        &mut self,
        measured: Measured,
        state: &State,
        metrics: MetricsMark,
        seconds: f64,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let result = self.try_save(measured, state, metrics, seconds);
        self.took += begun.elapsed();
        result
    }

    fn try_save(
        &mut self,
        measured: Measured,
        state: &State,
        metrics: MetricsMark,
        seconds: f64,
    ) -> Result<(), Error> {
        let Measured {
            mut checkpoint,
            val_loss,
        } = measured;
        let now = &state.now;
        let best = match (val_loss, self.record.best) {
            (Some(val_loss), best)
                // The initial values are nobody's best.
                if now.steps > 0 && best.is_none_or(|best| val_loss < best.val_loss) =>
            {
                let step = now.steps;
                Some(Best { step, val_loss })
            }
            (_, best) => best,
        };
        let better = best != self.record.best;
        let standing = Record {
            seconds,
            metrics,
            val_loss,
            best,
            ..self.record.clone()
        };
        self.record = packed::record(standing, state);
        checkpoint.training = Some(self.record.clone());
        // In this order: a run that continues from the last checkpoint finds the best of its past.
        if better {
            model_file::save(&checkpoint, self.run_dir.file(RunDir::BEST))?;
        }
        model_file::save(&checkpoint, self.run_dir.file(RunDir::LAST))?;
        self.saved = now.steps;
        Ok(())
    }

    /// Removes what there is of a run that failed before its first step.
    ///
    /// # Errors
    ///
    /// A file cannot be removed.
    pub(crate) fn discard(&self) -> Result<(), FileError> {
        self.remove_last()?;
        let events = tensorboard::files(self.folder())?;
        for path in events.into_iter().chain([self.file(RunDir::METRICS)]) {
            fs::remove_file(&path).map_err(FileError::at("remove", &path))?;
        }
        Ok(())
    }

    /// Removes the last checkpoint: there is nothing to continue.
    ///
    /// # Errors
    ///
    /// The file cannot be removed.
    pub(crate) fn remove_last(&self) -> Result<(), FileError> {
        let path = self.file(RunDir::LAST);
        fs::remove_file(&path).map_err(FileError::at("remove", &path))
    }
}
