//! Faults in the writing of files, for tests of what survives them. Only with the feature `faults`, which
//! `tests/run` turns on, is there anything that could fail.

use std::io;
use std::path::Path;
#[cfg(feature = "faults")]
use std::sync::OnceLock;

/// How far [`write_atomic`](super::files::write_atomic) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The temporary file is there, and empty.
    Created,
    /// A part of the content is in it.
    Filling,
    /// All of it is.
    Written,
    /// It is on the disk.
    Synced,
    /// It has its name.
    Renamed,
    /// The name is on the disk too.
    Done,
}

impl Point {
    /// All of them, in their order.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::Filling,
        Self::Written,
        Self::Synced,
        Self::Renamed,
        Self::Done,
    ];
}

/// What is called at each point, with the file that is to be written.
#[cfg(feature = "faults")]
pub type Fault = fn(&Path, Point) -> io::Result<()>;

#[cfg(feature = "faults")]
static FAULT: OnceLock<Fault> = OnceLock::new();

/// Once in a process: has `fault` called at each point of each file. It may end the process, or fail as the
/// file system would.
#[cfg(feature = "faults")]
pub fn at_each_point(fault: Fault) {
    let _ = FAULT.set(fault);
}

#[cfg(feature = "faults")]
pub(super) fn reached(path: &Path, point: Point) -> io::Result<()> {
    FAULT.get().map_or(Ok(()), |fault| fault(path, point))
}

#[cfg(feature = "faults")]
pub(super) fn are_injected() -> bool {
    FAULT.get().is_some()
}

#[cfg(not(feature = "faults"))]
pub(super) fn reached(_: &Path, _: Point) -> io::Result<()> {
    Ok(())
}

#[cfg(not(feature = "faults"))]
pub(super) fn are_injected() -> bool {
    false
}
