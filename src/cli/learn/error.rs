//! Why a command about exercises ends early.

use std::path::PathBuf;

use crate::backend::DeviceError;
use crate::cli::error::{FAILED, Failure, USAGE};
use crate::exercises;

/// Why an exercise cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    #[error(
        "name a folder to write the exercises into, or a command; see gpu-makemore learn --help"
    )]
    Nothing,
    #[error("there is no exercise {0:?}; gpu-makemore learn list lists them")]
    NoSuchExercise(String),
    #[error("there is no hint {asked} for {name}: it has {of}")]
    NoSuchHint {
        name: &'static str,
        asked: usize,
        of: usize,
    },
    #[error(
        "there are no exercises in {}; gpu-makemore learn DIR writes them, and --dir DIR says where they are",
        .0.display()
    )]
    NoExercises(PathBuf),
    #[error("not begun yet: {}; training needs the gradients of exercises 1 to 26", .0.join(", "))]
    NotBegun(Vec<&'static str>),
    #[error("there is no mistake {asked}: they are numbered from 1 to {of}")]
    NoSuchMistake { asked: usize, of: usize },
    #[error("--line {0}: a file and a line are wanted, as in batchnorm.wgsl:57")]
    NoPlace(String),
    #[error("--line {0}: there is no such file; gpu-makemore shaders DIR writes all of them")]
    NoSuchFile(String),
    #[error("{0}")]
    NotFound(String),
    #[error(
        "the mistake is in a kernel, and kernels need a GPU; where Mesa's lavapipe is installed, --backend vulkan \
         takes that, which is software"
    )]
    NoGpu,
    #[error("{0}")]
    Changed(String),
    #[error(transparent)]
    Train(#[from] exercises::TrainError),
    #[error("{done} of {of} exercises are done")]
    NotDone { done: usize, of: usize },
}

impl Failure for LearnError {
    fn exit_code(&self) -> u8 {
        match self {
            LearnError::NoSuchExercise(_)
            | LearnError::Nothing
            | LearnError::NoSuchHint { .. }
            | LearnError::NoSuchMistake { .. }
            | LearnError::NoPlace(_)
            | LearnError::NoSuchFile(_)
            | LearnError::NoGpu => USAGE,
            _ => FAILED,
        }
    }

    fn is_error(&self) -> bool {
        !matches!(self, LearnError::NotDone { .. } | LearnError::NotFound(_))
    }

    fn device(&self) -> Option<&DeviceError> {
        match self {
            LearnError::Train(exercises::TrainError::Device(error)) => Some(error),
            _ => None,
        }
    }
}
