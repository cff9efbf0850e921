//! Why gradients could not be checked.

use crate::backend::DeviceError;
use crate::data::DataError;
use crate::gradcheck::compare::CompareError;
use crate::model::dims::DimsError;

/// Why gradients could not be checked. That a gradient is wrong is no error of a check.
#[derive(Debug, thiserror::Error)]
pub enum GradcheckError {
    /// The data that the minibatch is drawn from.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A size out of range.
    #[error(transparent)]
    Dims(#[from] DimsError),
    /// The device failed, or cannot run the code that is to be checked.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Tensors that cannot be compared.
    #[error("{0}: {1}")]
    Compare(String, CompareError),
    /// No training step was asked for.
    #[error("no training step to check")]
    NoStep,
}

impl GradcheckError {
    /// Whether it only tells that a code cannot run at these sizes, or on this adapter or driver. Another
    /// code may.
    pub fn is_unfit(&self) -> bool {
        use DeviceError::{Driver, Limit, Loops};
        matches!(
            self,
            Self::Device(Limit { .. } | Loops { .. } | Driver { .. })
        )
    }
}
