//! How a training can end before it is done.

use std::path::{Path, PathBuf};

use crate::cli::data::DataFileError;
use crate::cli::error::{Error, FAILED, Failure, USAGE};
use crate::cli::model_file::ModelFileError;
use crate::gpu::kernels::Changed;

/// Why a training ended early, what is kept of it, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A run is finished, with all its files; only its results could not be printed.
    #[error("{error}; the run is finished all the same, and the model is in {}", .model.display())]
    Unprinted {
        /// Why they could not.
        error: Error,
        /// The trained model.
        model: PathBuf,
    },
    /// A loss or a parameter is no longer a finite number.
    #[error(
        "training diverged: {what} at step {step} with learning rate {lr:?}; try a smaller --lr{}",
        last_good(.saved)
    )]
    Diverged {
        /// The loss or the parameter, with its value.
        what: String,
        /// The step, from 0.
        step: u64,
        /// Its learning rate.
        lr: f64,
        /// The last model known to give a finite loss.
        saved: LastGood,
    },
    /// Every number is finite, but training has left the model far worse than it found it.
    #[error(
        "training diverged: after {steps} steps the loss over the training set is {loss:.4}, and that \
         of the {model} model was {untrained:.4}; try a smaller --lr than {lr:?}{}",
        last_good(.saved)
    )]
    Worse {
        /// Steps of the run.
        steps: u64,
        /// Mean loss over the training set in the end.
        loss: f64,
        /// What it was before the first step: `untrained` or `initial`.
        model: &'static str,
        /// Mean loss over the training set before the first step.
        untrained: f64,
        /// The largest learning rate of the run.
        lr: f64,
        /// The best checkpoint, or the untrained model if all were bad.
        saved: LastGood,
    },
    /// A run was ended from outside, and is kept.
    #[error("interrupted after {step} of {steps} steps; {}", how_to_continue(.folder, .shaders.as_deref()))]
    Interrupted {
        /// Steps done.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// The folder of the run.
        folder: PathBuf,
        /// `--shaders`, if it has to be given again.
        shaders: Option<PathBuf>,
        /// What shells expect for the signal that came.
        exit_code: u8,
    },
    /// A run failed, and is kept as it was at its last checkpoint.
    #[error("{error}; the run is kept as it was after {step} steps: {}", how_to_continue(.folder, .shaders.as_deref()))]
    Kept {
        /// What failed.
        error: Error,
        /// Steps done at the last checkpoint.
        step: u64,
        /// The folder of the run.
        folder: PathBuf,
        /// `--shaders`, if it has to be given again.
        shaders: Option<PathBuf>,
    },
    /// `train --resume` with an option that would make another model.
    #[error(
        "{option} {new} cannot be combined with --resume {}: that run was begun with {old}; leave \
         {option} out, or start a new run",
        .folder.display()
    )]
    Changed {
        /// The option.
        option: String,
        /// Its value now.
        new: String,
        /// Its value then.
        old: String,
        /// The folder of the run.
        folder: PathBuf,
    },
    /// `train --init-from` with a size that is not the model's.
    #[error(
        "{option} {given} with --init-from {}: that model has {own}; leave {option} out", .path.display()
    )]
    OtherSize {
        /// The option.
        option: &'static str,
        /// Its value.
        given: u64,
        /// The model's.
        own: usize,
        /// The model.
        path: PathBuf,
    },
    /// `train --init-from` with a model that is no start.
    #[error("the loss of {} over the training set is {loss}: nothing can start there", .path.display())]
    NoStart {
        /// The model.
        path: PathBuf,
        /// Its loss.
        loss: f64,
    },
    /// `train --resume` to an end that the run is beyond.
    #[error(
        "--steps {steps} with --resume {}: that run has done {done} steps already; give more, or start a \
         new run",
        .folder.display()
    )]
    Behind {
        /// Steps asked for.
        steps: u64,
        /// Steps done.
        done: u64,
        /// The folder of the run.
        folder: PathBuf,
    },
    /// `train --resume`, and the words are not those that the run was begun with.
    #[error(
        "{data}: these are not the words that the run in {} was begun with (SHA-256 {}, then {}); \
         --data PATH says where those are, or start a new run",
        .folder.display(), short(.now), short(.then)
    )]
    OtherData {
        /// The data.
        data: String,
        /// The folder of the run.
        folder: PathBuf,
        /// The checksum of the words.
        now: String,
        /// That of the run's words.
        then: String,
    },
    /// `train --resume`, and the kernels are not those that the run was begun with.
    #[error(
        "the run in {0} was begun with {1}, and is to go on with {2}: {3}, or start a new run, from the \
         parameters of this one with --init-from {0}",
        .folder.display(), named(.then.as_ref()), named(.now.as_ref()), match .then {
            Some(_) => "give --shaders with the folder of the former",
            None => "leave --shaders out",
        }
    )]
    OtherKernels {
        /// The kernels now, if they are not the program's own.
        now: Option<Changed>,
        /// Those of the run.
        then: Option<Changed>,
        /// The folder of the run.
        folder: PathBuf,
    },
    /// `train --resume`, and the words are not where they were.
    #[error(
        "{error}. If the words of the run in {} have moved, --data PATH says where they are", .folder.display()
    )]
    NoData {
        /// Why they cannot be had.
        error: DataFileError,
        /// The folder of the run.
        folder: PathBuf,
    },
}

/// Steps done and file of the last good model, or why it could not be saved.
pub type LastGood = Result<(u64, PathBuf), Box<ModelFileError>>;

impl Failure for TrainError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted { exit_code, .. } => *exit_code,
            Self::Kept { error, .. } | Self::Unprinted { error, .. } => error.exit_code(),
            Self::Changed { .. } | Self::Behind { .. } | Self::OtherSize { .. } => USAGE,
            Self::Diverged { .. }
            | Self::Worse { .. }
            | Self::OtherData { .. }
            | Self::OtherKernels { .. }
            | Self::NoData { .. }
            | Self::NoStart { .. } => FAILED,
        }
    }

    fn is_error(&self) -> bool {
        !matches!(self, Self::Interrupted { .. })
    }
}

/// Kernels in a few words.
fn named(kernels: Option<&Changed>) -> String {
    match kernels {
        None => "the program's own kernels".to_owned(),
        Some(Changed { files, sha256 }) => format!(
            "kernels of --shaders (another {}; SHA-256 {})",
            files.join(", "),
            short(sha256)
        ),
    }
}

/// Enough digits of a checksum to tell it from others.
fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

fn how_to_continue(folder: &Path, shaders: Option<&Path>) -> String {
    let folder = folder.display();
    let shaders = shaders.map(|shaders| format!(" --shaders {}", shaders.display()));
    format!(
        "continue with: gpu-makemore train --resume {folder}{}",
        shaders.unwrap_or_default()
    )
}

fn last_good(saved: &LastGood) -> String {
    match saved {
        Ok((steps, path)) => format!(
            ". The last good model, after {steps} steps, is in {}",
            path.display()
        ),
        Err(error) => format!(". The last good model could not be saved: {error}"),
    }
}
