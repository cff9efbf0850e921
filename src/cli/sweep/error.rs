//! What can go wrong with a sweep as a whole.

use std::path::PathBuf;

use crate::cli::error::{FAILED, Failure, USAGE};

/// Why a sweep, or its report, cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Nothing is listed.
    #[error(
        "the grid is empty: list what to try, as in --seeds 8 or --lr 0.05,0.1,0.2; `train` trains \
         a single model"
    )]
    EmptyGrid,
    /// A range, and no number of draws.
    #[error("{option} is a range: say how often to draw from it with --random N, or list values")]
    RangeInGrid {
        /// The option.
        option: String,
    },
    /// A number of draws, and no range.
    #[error(
        "--random draws from ranges, and no option is one: give a range, as in --lr 0.01..0.3:log"
    )]
    NothingToDraw,
    /// The ranges are too small.
    #[error(
        "--random {asked}: the ranges have too few values for so many different draws ({found} were found); \
         draw fewer or widen them"
    )]
    TooFewDraws {
        /// Draws asked for.
        asked: u64,
        /// Different ones found.
        found: usize,
    },
    /// More points than a sweep may have.
    #[error(
        "the sweep would have {points} models, and at most {max} are allowed: list fewer values"
    )]
    TooManyPoints {
        /// Points asked for.
        points: u128,
        /// Most there may be.
        max: usize,
    },
    /// The folder belongs to another sweep.
    #[error("{} holds another sweep: {difference}; choose another --out", .path.display())]
    OtherSweep {
        /// The folder.
        path: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// Folders of different sweeps cannot be merged.
    #[error(
        "{} and {} hold different sweeps: {difference}; report each by itself", .first.display(), .second.display()
    )]
    DifferentSweeps {
        /// A folder.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// The folder has no manifest.
    #[error("{} holds no sweep: it has no sweep.json; give the --out of a sweep", .path.display())]
    NoSweep {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the sweep that cannot be read as such.
    #[error("{}: {reason}; restore the file, or start again in another --out", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process writes into the folder.
    #[error(
        "{} is in use by a sweep that is still running; wait for it, or choose another --out (each --shard needs its own)",
        .path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The sweep was ended from outside; the models that have ended are kept.
    #[error("interrupted after {ended} of {total} models; continue with: {command}")]
    Interrupted {
        /// Models that have ended, now or before.
        ended: usize,
        /// Models of the whole sweep, or of the shard.
        total: usize,
        /// The command that was interrupted.
        command: String,
        /// What shells expect for the signal that came.
        exit_code: u8,
    },
    /// Another thread has ended the sweep.
    #[error("the sweep was stopped")]
    Stopped,
}

impl Failure for SweepError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::EmptyGrid
            | Self::RangeInGrid { .. }
            | Self::NothingToDraw
            | Self::TooFewDraws { .. }
            | Self::TooManyPoints { .. } => USAGE,
            Self::Interrupted { exit_code, .. } => *exit_code,
            _ => FAILED,
        }
    }

    fn is_error(&self) -> bool {
        !matches!(self, Self::Interrupted { .. })
    }
}
