//! Why a command failed, in one line, and the exit code that says so.
//!
//! Every module has errors of its own; [`Error`] carries whichever ended a command. What an error means for
//! the exit code stands beside the error ([`Failure`]), here for the modules below the command line.

use std::error::Error as StdError;
use std::fmt;

use crate::backend::{Api, DeviceError};
use crate::cli::files::FileError;
use crate::cli::model_file::ModelFileError;
use crate::data::DataError;
use crate::gradcheck::GradcheckError;
use crate::model::dims::DimsError;

/// The exit code of a command that was used wrongly.
pub const USAGE: u8 = 2;
/// The exit code of a command that failed otherwise.
pub const FAILED: u8 = 1;

/// An error that can end a command. Its text is one line that names what was wrong and what to do.
pub trait Failure: StdError + Send + Sync + 'static {
    /// [`USAGE`] for wrong usage, 128 and the signal's number for an interruption, [`FAILED`] for anything
    /// else.
    fn exit_code(&self) -> u8 {
        FAILED
    }

    /// Whether something went wrong. Nothing did where the user or a scheduler ended the command, or where
    /// exercises are left to do or a guess was wrong: the line then stands without `error:`.
    fn is_error(&self) -> bool {
        true
    }

    /// Lines that are printed below the text as they are: a piece of the user's source.
    fn below(&self) -> Vec<String> {
        Vec::new()
    }

    /// The failure of a device that it carries, to which [`Error`] adds what the user can do.
    fn device(&self) -> Option<&DeviceError> {
        None
    }
}

/// The error of a command.
pub struct Error(Box<dyn Failure>);

impl Error {
    /// The exit code that says so.
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code()
    }

    /// Whether something went wrong.
    pub fn is_error(&self) -> bool {
        self.0.is_error()
    }

    /// Lines that are printed below the text as they are.
    pub fn below(&self) -> Vec<String> {
        self.0.below()
    }

    /// The failure of a device that it carries, if it does.
    pub fn device(&self) -> Option<&DeviceError> {
        self.0.device()
    }

    /// The error itself, if it is of this type.
    pub fn downcast_ref<T: Failure>(&self) -> Option<&T> {
        let error: &(dyn StdError + 'static) = &*self.0;
        error.downcast_ref()
    }
}

impl<F: Failure> From<F> for Error {
    fn from(failure: F) -> Self {
        Self(Box::new(failure))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        match self.0.device() {
            Some(error) => f.write_str(&advice(error)),
            None => Ok(()),
        }
    }
}

/// What the user can do about the failure of a device, to be read behind its text.
fn advice(error: &DeviceError) -> String {
    let advice = match error {
        DeviceError::Limit { .. } => "; choose smaller sizes or --backend cpu",
        DeviceError::Loops { .. } => "; use --schedule staged",
        DeviceError::Driver { instead, .. } => {
            let instead = match instead {
                Some(schedule) => format!("--schedule {schedule}"),
                None => "--backend cpu".to_owned(),
            };
            return format!(
                " (`git diff shaders` tells): undo the change, update the driver, or use {instead}"
            );
        }
        DeviceError::Lost(_) => "; restart the program, or use --backend cpu",
        DeviceError::Timeout { .. } => {
            "; try a smaller --batch-size or --n-hidden, or --backend cpu"
        }
        DeviceError::LostTwice { .. } | DeviceError::ShortChunk { .. } => {
            "; update the driver, or use --backend cpu"
        }
        DeviceError::NotBack { error, .. } => return advice(error),
        DeviceError::Gone { .. } => "; `gpu-makemore adapters` tells what is",
        DeviceError::NoAdapter { apis, .. } => return format!("; {}", hint(apis)),
        DeviceError::NoSuchAdapter { apis, found, .. } if found == "none" => {
            return format!("; {}", hint(apis));
        }
        DeviceError::NoSuchAdapter { .. } | DeviceError::OtherApi { .. } => {
            "; `gpu-makemore adapters` numbers them"
        }
        DeviceError::NoCompute { .. }
        | DeviceError::Open { .. }
        | DeviceError::Shader(_)
        | DeviceError::Fault(_) => "",
    };
    advice.to_owned()
}

/// What brings an adapter of these APIs on this system.
fn hint(apis: &[Api]) -> String {
    let elsewhere = match apis {
        [Api::Metal] if cfg!(not(target_os = "macos")) => "Metal exists on macOS only; ",
        [Api::Dx12] if cfg!(not(target_os = "windows")) => "Direct3D exists on Windows only; ",
        _ => "",
    };
    format!("{elsewhere}{}", install_hint())
}

/// What brings an adapter on this system.
pub fn install_hint() -> &'static str {
    if cfg!(target_os = "macos") {
        "Metal is part of macOS 10.13 and later; a virtual machine may hide it"
    } else if cfg!(target_os = "windows") {
        "install the driver of the graphics card from its maker"
    } else {
        "install the GPU's Vulkan driver, or Mesa's drivers, a software one among them: `apt install \
         libvulkan1 mesa-vulkan-drivers` on Debian and Ubuntu, `dnf install vulkan-loader \
         mesa-vulkan-drivers` on Fedora (for OpenGL: libegl1 libgl1-mesa-dri); if a driver is \
         installed and not found, name its .json file in VK_DRIVER_FILES"
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Options that contradict each other.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Failure for Usage {
    fn exit_code(&self) -> u8 {
        USAGE
    }
}

impl Failure for DimsError {
    fn exit_code(&self) -> u8 {
        USAGE
    }
}

impl Failure for DataError {}
impl Failure for ModelFileError {}
impl Failure for FileError {}

impl Failure for DeviceError {
    fn device(&self) -> Option<&DeviceError> {
        Some(self)
    }
}

impl Failure for GradcheckError {
    fn device(&self) -> Option<&DeviceError> {
        match self {
            Self::Device(error) => Some(error),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Dims(error) => error.exit_code(),
            _ => FAILED,
        }
    }
}
