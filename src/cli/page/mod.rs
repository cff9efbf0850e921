//! `gpu-makemore page`: serves the page on this machine, if the program was built with it (the feature `page`).

// Their tests need no page, and so run with those of every program.
#[cfg(any(feature = "page", test))]
mod files;
#[cfg(any(feature = "page", test))]
mod request;
#[cfg(feature = "page")]
mod server;

use crate::cli::args::PageArgs;
use crate::cli::error::{Error, Failure};

/// Why the page is not served.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The program was built without the feature `page`.
    #[error(
        "this program was built without the page; in a clone of the repository, `web/build` makes it and `cargo \
         install --path . --features page` builds it in, or `web/serve` serves it from there"
    )]
    NotBuiltIn,
    /// The port is in use, or not for this user.
    #[error(
        "port {port} cannot be had: {reason}; without --port, the program takes one that is free"
    )]
    Port {
        /// The port asked for.
        port: u16,
        /// The operating system's reason.
        reason: std::io::Error,
    },
    /// Not even a free port can be had.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(std::io::Error),
}

impl Failure for PageError {}

/// Runs the command.
///
/// # Errors
///
/// The program has no page, or the port cannot be had.
#[cfg(feature = "page")]
pub fn run(args: &PageArgs) -> Result<(), Error> {
    server::run(args)
}

/// Runs the command.
///
/// # Errors
///
/// The program has no page.
#[cfg(not(feature = "page"))]
pub fn run(_: &PageArgs) -> Result<(), Error> {
    Err(PageError::NotBuiltIn.into())
}
