//! The lecture's `cmp` for every tensor, on any device, by the code that trains.

pub mod against;
mod check;
mod code;
pub mod compare;
pub mod engine;
mod error;
pub mod explain;
pub mod extras;
pub mod hunt;
mod inputs;
#[doc(hidden)]
pub mod mistakes;
pub mod step;

pub use check::{Check, Row, check, check_chunked};
pub use error::GradcheckError;
pub use inputs::Inputs;
