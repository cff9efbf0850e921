//! Exercises: backward passes that a learner writes as WGSL, and the check of what was written.
//!
//! The files lie in `exercises/`, the answers in `exercises/answers/`. A check needs no GPU: the
//! [`interpreter`](crate::interpreter) runs the learner's function for every element of the tensor that is
//! wanted, and the values are held against the reference in `f64`.

mod answers;
mod beside;
mod check;
mod device;
mod inputs;
mod list;
mod slips;
mod task;
mod told;
mod train;

pub use answers::{Answers, Mistake};
pub use beside::{Losses, SideBySide};
pub use check::{Known, Problem, Right, Verdict, Wrong, check};
pub use device::Device;
pub use list::{EXERCISES, Exercise, find};
pub use task::Task;
pub use told::{verdict as lines, wrapped};
pub use train::{OwnGradients, TrainError};
