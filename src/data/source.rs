//! Where words come from.

/// Longest file that is read, in bytes (1 GiB). `/dev/zero` has no end at all: a wrong path must not
/// exhaust the memory.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// What a file is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// It is told by its content: JSON, or a list with a word on each line. What looks like a table is
    /// one only if a column, a delimiter or the lack of a header is chosen, else it is refused.
    Detect,
    /// A table.
    Table,
    /// JSON: an array, or a value on each line.
    Json,
}

impl Format {
    /// By the ending of a file's name; what is packed by gzip is told by the ending before `.gz`.
    pub fn of_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("csv" | "tsv" | "tab") => Self::Table,
            Some("json" | "jsonl" | "ndjson") => Self::Json,
            _ => Self::Detect,
        }
    }
}

/// Where words come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The 32,033 first names of the lecture.
    Names,
    /// The 8,133 municipalities of Spain, always cleaned. CSV with the columns `province` and
    /// `name`; `name` unless another is chosen.
    Municipalities,
    /// A text with any line breaks, perhaps compressed by gzip: one word a line, a table, or JSON.
    Bytes {
        /// What people call it.
        name: &'a str,
        /// The file, of [`MAX_FILE_BYTES`] at most.
        bytes: &'a [u8],
        /// What it is.
        format: Format,
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
