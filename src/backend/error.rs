//! What can go wrong between this program and a device.

use super::{Api, Schedule};

/// What can go wrong between this program and a device. The texts say what failed; the command line adds what
/// its user can do.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The API that was asked for has no adapter.
    #[error("no {api} adapter was found ({found}); {hint}")]
    NoAdapter {
        /// The API that was asked for.
        api: Api,
        /// Adapters of other APIs.
        found: String,
        /// What brings an adapter on this system.
        hint: String,
    },
    /// No adapter matches `--adapter`.
    #[error("no adapter matches --adapter '{text}'; found: {found}")]
    NoSuchAdapter {
        /// The text that was asked for.
        text: String,
        /// Adapters there are.
        found: String,
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
    #[error("{file}:{line}: {message}")]
    Shader {
        /// File under `shaders/`.
        file: &'static str,
        /// Line in it, from 1.
        line: u32,
        /// The compiler's words.
        message: String,
    },
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
