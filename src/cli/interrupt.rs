//! Ctrl-C: the first one asks, the second one ends the program.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cli::error::Failure;

/// The operating system does not let the program listen for Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for Ctrl-C: {0}")]
pub struct SignalsError(#[from] io::Error);

impl Failure for SignalsError {}

/// Listens for Ctrl-C, and for the signal with which schedulers end a job.
pub(crate) struct Interrupt {
    /// The signal that came, or 0.
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens from now on, until the end of the program.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub(crate) fn listen() -> Result<Self, SignalsError> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM] {
            let seen = Arc::new(AtomicBool::new(false));
            // In this order: at the first signal `seen` is still false when it is looked at.
            flag::register_conditional_shutdown(number, exit_code(number).into(), seen.clone())?;
            flag::register(number, seen)?;
            flag::register_usize(number, signal.clone(), number as usize)?;
        }
        Ok(Self { signal })
    }

    /// The exit code with which the program should end, if it should.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => Some(exit_code(number as i32)),
        }
    }
}

/// What shells make of a signal: 130 for Ctrl-C.
fn exit_code(number: i32) -> u8 {
    128 + number as u8
}
