//! What can go wrong between this program and a device.

use super::{Api, Schedule};
use crate::text::drawing;

/// Things, one of which is enough.
fn or(apis: &[Api]) -> String {
    let names: Vec<String> = apis.iter().map(Api::to_string).collect();
    names.join(" or ")
}

/// A mistake that a driver's compiler found in a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}{}", self.drawing().map_or_else(String::new, |lines| format!("\n{}", lines.join("\n"))))]
pub struct ShaderError {
    /// File under `shaders/`.
    pub file: &'static str,
    /// Line in it, from 1.
    pub line: u32,
    /// Column in that line, in bytes, from 1.
    pub column: u32,
    /// The compiler's words.
    pub message: String,
    /// The line itself; empty where the mistake has no place.
    pub excerpt: String,
}

impl ShaderError {
    /// The line and, below it, a caret at the column; none where the mistake has no place.
    pub fn drawing(&self) -> Option<[String; 2]> {
        drawing(&self.excerpt, self.column)
    }
}

/// What can go wrong between this program and a device. The texts say what failed; the command line adds what
/// its user can do.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The APIs that were asked for have no adapter.
    #[error("no {} adapter was found (on other APIs: {others})", or(.apis))]
    NoAdapter {
        /// The APIs that were asked for.
        apis: Vec<Api>,
        /// Adapters of other APIs; `none`, if there are none.
        others: String,
    },
    /// No adapter is what was asked for.
    #[error("no adapter has {wanted}; found: {found}")]
    NoSuchAdapter {
        /// The APIs that were asked for.
        apis: Vec<Api>,
        /// What was asked for.
        wanted: String,
        /// Adapters there are; `none`, if there are none.
        found: String,
    },
    /// The adapter that was asked for is on another API than was asked for.
    #[error("{adapter} is on another API")]
    OtherApi {
        /// The adapter.
        adapter: String,
    },
    /// The adapter that was asked for cannot run kernels.
    #[error("{adapter} has no compute shaders: no kernel can run on it")]
    NoCompute {
        /// The adapter.
        adapter: String,
    },
    /// A size that the adapter cannot hold.
    #[error(
        "{adapter} cannot run this model: it needs {limit} = {needed}, and the adapter has \
         {available}"
    )]
    Limit {
        /// The adapter's name.
        adapter: String,
        /// WebGPU's name of the limit.
        limit: &'static str,
        /// What the sizes need.
        needed: u64,
        /// What the adapter has.
        available: u64,
    },
    /// A step that is too long for one dispatch.
    #[error(
        "a step of this size needs {needed} loop iterations in the resident schedule, and the driver of \
         {adapter} stops at {available}"
    )]
    Loops {
        /// The adapter's name.
        adapter: String,
        /// Loop iterations of the busiest invocation in a step.
        needed: usize,
        /// Loop iterations that are safe.
        available: usize,
    },
    /// The probe measured something that a schedule cannot work with. The driver may be wrong, or the
    /// kernels that the probe runs.
    #[error(
        "the {schedule} schedule cannot run on {adapter}, where the probe found {found}; either the \
         driver is wrong or a shader was changed"
    )]
    Driver {
        /// The adapter's name.
        adapter: String,
        /// The schedule.
        schedule: Schedule,
        /// What the probe found.
        found: String,
        /// The schedule that does not rely on it; without one, the CPU is left.
        instead: Option<Schedule>,
    },
    /// The driver gave no device.
    #[error("{adapter} was found but could not be opened: {message}")]
    Open {
        /// The adapter's name.
        adapter: String,
        /// The driver's words.
        message: String,
    },
    /// A kernel that the driver's compiler refuses.
    #[error(transparent)]
    Shader(#[from] ShaderError),
    /// The driver or the API layer reported a fault.
    #[error("the GPU reported a fault: {0}")]
    Fault(String),
    /// The device is gone: taken away, reset by its driver, or failed.
    #[error("the GPU was lost ({0})")]
    Lost(String),
    /// No answer in time.
    #[error("the GPU did not finish a chunk of work within {seconds} s")]
    Timeout {
        /// How long the program waited.
        seconds: f64,
    },
    /// A lost device was opened again, and lost again.
    #[error("the GPU was lost twice: first {first}; then {second}")]
    LostTwice {
        /// How it was lost first.
        first: String,
        /// How it was lost then.
        second: String,
    },
    /// A lost device cannot be opened again.
    #[error("the GPU was lost ({first}) and cannot be opened again: {error}")]
    NotBack {
        /// How it was lost.
        first: String,
        /// Why it cannot be opened.
        error: Box<DeviceError>,
    },
    /// An adapter that is no longer there.
    #[error("{adapter} is no longer there")]
    Gone {
        /// The adapter.
        adapter: String,
    },
    /// The device's own counter shows fewer steps than were asked for.
    #[error(
        "the GPU did {done} of {asked} steps of the chunk from step {first} and reported no fault: \
         its results cannot be trusted"
    )]
    ShortChunk {
        /// First step of the chunk.
        first: u64,
        /// Steps that were launched.
        asked: u32,
        /// Steps that the device counted.
        done: u32,
    },
}

impl DeviceError {
    /// How the device was lost, in a few words, if it was: then another one may do what this one did
    /// not.
    pub fn lost(&self) -> Option<String> {
        match self {
            DeviceError::Lost(message) => Some(message.clone()),
            DeviceError::Timeout { seconds } => Some(format!("no answer within {seconds} s")),
            _ => None,
        }
    }
}
