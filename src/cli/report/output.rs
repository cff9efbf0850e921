//! Lines on stdout, whoever reads it.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::error::Failure;

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub struct OutputError(#[from] io::Error);

impl Failure for OutputError {}

/// Prints lines until the reader is gone.
#[derive(Debug)]
pub struct Output {
    /// Cleared when whoever read stdout is gone.
    open: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl Output {
    /// Output to stdout.
    pub fn new() -> Self {
        Self { open: true }
    }

    /// Output to nobody, as if the reader were gone from the start.
    pub fn to_nobody() -> Self {
        Self { open: false }
    }

    /// Whether there is somebody to print for, as far as is known.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Prints something as JSON, with line breaks.
    ///
    /// # Errors
    ///
    /// As [`Output::line`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), OutputError> {
        let text = serde_json::to_string_pretty(value);
        self.line(&text.map_err(io::Error::from)?)
    }

    /// Prints a line.
    ///
    /// When the reader of stdout is gone (`gpu-makemore train | head -1`), this and all further
    /// lines are dropped without an error. It has what it wanted, and a command's exit code tells of
    /// its work, not of its reader: a training continues, because its result goes into its folder, and
    /// hours of it are not to be lost with a pager; `gradcheck` continues, whose exit code is its
    /// result; `sample`, which has nothing but its lines, ends ([`Output::is_open`]).
    ///
    /// # Errors
    ///
    /// Anything else that keeps the line from being written, such as a full disk.
    pub fn line(&mut self, text: &str) -> Result<(), OutputError> {
        Ok(write_line(&mut io::stdout().lock(), &mut self.open, text)?)
    }
}

/// Writes a line unless the reader is gone, which `open` remembers.
fn write_line(out: &mut impl Write, open: &mut bool, text: &str) -> io::Result<()> {
    if !*open {
        return Ok(());
    }
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
            *open = false;
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stdout that fails, and counts how often it is asked.
    struct Failing {
        kind: io::ErrorKind,
        calls: usize,
    }

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            Err(self.kind.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_stdout_is_no_error() {
        let mut out = Failing {
            kind: io::ErrorKind::BrokenPipe,
            calls: 0,
        };
        let mut open = true;
        for _ in 0..3 {
            write_line(&mut out, &mut open, "text").unwrap();
        }
        assert_eq!(out.calls, 1);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut out = Failing {
            kind: io::ErrorKind::StorageFull,
            calls: 0,
        };
        write_line(&mut out, &mut true, "text").unwrap_err();
    }

    #[test]
    fn lines_end_in_a_line_feed() {
        let mut out = Vec::new();
        write_line(&mut out, &mut true, "a").unwrap();
        assert_eq!(out, b"a\n");
    }
}
