//! Where words come from.

/// Longest file that is read, in bytes (64 MiB, about 300 times the names).
///
/// Examples take up to 17 bytes for each byte of the file, and `/dev/zero` has no end at all: a
/// wrong path must not exhaust the memory.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Where words come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The 32,033 first names of the lecture.
    Names,
    /// The 8,133 municipalities of Spain, always cleaned. CSV with the columns `province` and
    /// `name`; `name` unless another is chosen.
    Municipalities,
    /// Text in UTF-8, with any line breaks: one word a line, or CSV.
    ///
    /// It is read as CSV if a column is chosen or `csv` says so. The first record of a CSV file names the
    /// columns; a column must be chosen unless there is only one.
    Bytes {
        /// What people call it.
        name: &'a str,
        /// The text, of which [`MAX_FILE_BYTES`] are read at most.
        bytes: &'a [u8],
        /// Whether it is CSV even if no column is chosen.
        csv: bool,
    },
}

impl Source<'_> {
    /// What people call it.
    pub fn name(&self) -> &str {
        match self {
            Source::Names => "names",
            Source::Municipalities => "municipalities",
            Source::Bytes { name, .. } => name,
        }
    }
}
