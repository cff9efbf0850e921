//! Why a command failed, in one line, and the exit code that says so.

use std::path::{Path, PathBuf};

use crate::backend::BackendError;
use crate::checkpoint::CheckpointError;
use crate::cli::files::FileError;
use crate::cli::report::{PlotError, RunDirError};
use crate::cli::sweep::SweepError;
use crate::data::{DataError, VocabularyError};
use crate::gpu::GpuError;
use crate::gradcheck::against::AgainstError;
use crate::gradcheck::compare::CompareError;
use crate::model::dims::DimsError;

/// The error of a command. Its text is one line that names what was wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Options that contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A size out of range.
    #[error(transparent)]
    Dims(#[from] DimsError),
    /// No adapter, or one that cannot run the model.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// Failure at work.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A checkpoint that cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint whose characters are no vocabulary.
    #[error("the model's vocabulary: {0}; train a new model")]
    Vocabulary(VocabularyError),
    /// The output folder cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// A file of the run cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The picture cannot be written.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// The operating system does not let the program listen for Ctrl-C.
    #[error("cannot listen for Ctrl-C: {0}")]
    Signals(#[source] std::io::Error),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
    /// A run is finished, with all its files; only its results could not be printed.
    #[error("{error}; the run is finished all the same, and the model is in {}", .model.display())]
    Unprinted {
        /// Why they could not.
        error: Box<Error>,
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
        /// The last model known to give a finite loss: steps done and file, or why there is none.
        saved: Result<(u64, PathBuf), Box<CheckpointError>>,
    },
    /// Every number is finite, but training has left the model far worse than it found it.
    #[error(
        "training diverged: after {steps} steps the loss over the training set is {loss:.4}, and that \
         of the untrained model was {untrained:.4}; try a smaller --lr than {lr:?}{}",
        last_good(.saved)
    )]
    Worse {
        /// Steps of the run.
        steps: u64,
        /// Mean loss over the training set in the end.
        loss: f64,
        /// The same before the first step.
        untrained: f64,
        /// The largest learning rate of the run.
        lr: f64,
        /// The best checkpoint, or the untrained model if all were bad: steps done and file, or why
        /// there is none.
        saved: Result<(u64, PathBuf), Box<CheckpointError>>,
    },
    /// A run was ended from outside, and is kept.
    #[error("interrupted after {step} of {steps} steps; {}", how_to_continue(.folder))]
    Interrupted {
        /// Steps done.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// The folder of the run.
        folder: PathBuf,
        /// What shells expect for the signal that came.
        exit_code: u8,
    },
    /// A run failed, and is kept as it was at its last checkpoint.
    #[error("{error}; the run is kept as it was after {step} steps: {}", how_to_continue(.folder))]
    Kept {
        /// What failed.
        error: Box<Error>,
        /// Steps done at the last checkpoint.
        step: u64,
        /// The folder of the run.
        folder: PathBuf,
    },
    /// `train --resume` with an option that would make another model.
    #[error(
        "{option} {new} cannot be combined with --resume {}: that run was begun with {old}; leave \
         {option} out, or start a new run",
        .folder.display()
    )]
    Changed {
        /// The option.
        option: &'static str,
        /// Its value now.
        new: String,
        /// Its value then.
        old: String,
        /// The folder of the run.
        folder: PathBuf,
    },
    /// `train --resume`, and the data are no longer those that the run was begun with.
    #[error(
        "{data} has changed since the run in {} was begun: the words are not the same; bring the old \
         ones back, or start a new run",
        .folder.display()
    )]
    OtherData {
        /// The data.
        data: String,
        /// The folder of the run.
        folder: PathBuf,
    },
    /// A sweep that cannot be made or reported.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// `gradcheck` found gradients that differ.
    #[error("gradcheck: {wrong} of {of} tensors differ from the reference; the first is {first}")]
    Gradcheck {
        /// How many differ.
        wrong: usize,
        /// Of how many.
        of: usize,
        /// The first of them, in the order of the backward pass.
        first: String,
    },
    /// `gradcheck --against` with a file that cannot be checked.
    #[error(transparent)]
    Against(#[from] AgainstError),
    /// Tensors that cannot be compared.
    #[error("{0}: {1}")]
    Compare(String, CompareError),
    /// `sample --prefix` with a character that the model does not know.
    #[error("--prefix: the model knows no {character:?}; its characters are: {vocabulary}")]
    Prefix {
        /// The character.
        character: char,
        /// The model's characters.
        vocabulary: String,
    },
}

fn how_to_continue(folder: &Path) -> String {
    format!(
        "continue with: gpu-makemore train --resume {}",
        folder.display()
    )
}

fn last_good(saved: &Result<(u64, PathBuf), Box<CheckpointError>>) -> String {
    match saved {
        Ok((steps, path)) => format!(
            ". The last good model, after {steps} steps, is in {}",
            path.display()
        ),
        Err(error) => format!(". The last good model could not be saved: {error}"),
    }
}

impl Error {
    /// Whether it was the user or a scheduler who ended the command, and nothing went wrong.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Error::Interrupted { .. } | Error::Sweep(SweepError::Interrupted { .. })
        )
    }

    /// 2 for wrong usage, 128 and the signal's number for an interruption, 1 for anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Dims(_) | Error::Prefix { .. } | Error::Changed { .. } => 2,
            Error::Interrupted { exit_code, .. }
            | Error::Sweep(SweepError::Interrupted { exit_code, .. }) => *exit_code,
            Error::Kept { error, .. } | Error::Unprinted { error, .. } => error.exit_code(),
            Error::Sweep(error) if error.is_usage() => 2,
            _ => 1,
        }
    }
}

/// The text as one line that is safe to print: paths, file contents and drivers may bring line
/// breaks and the control characters with which a terminal can be garbled.
///
/// ```
/// use gpu_makemore::cli::error::one_line;
///
/// assert_eq!(one_line("a fault\n\n  caused by: \u{1b}[2J"), r"a fault caused by: \u{1b}[2J");
/// ```
pub fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let mut line = String::new();
    for c in lines.join(" ").chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
