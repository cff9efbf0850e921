//! What can be wrong with a data set.

use super::encoding::Encoding;
use super::source::MAX_FILE_BYTES;
use crate::model::dims::DimsError;
use crate::text::excerpt;

/// Why a data set could not be loaded. Every message is one line of which the data set is the subject; if
/// it is about a line, counted from 1, the message begins with it.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file is longer than [`MAX_FILE_BYTES`].
    #[error(
        "is larger than {} MiB, the most a data set may have; use a part of it",
        MAX_FILE_BYTES >> 20
    )]
    TooLarge,

    /// The file has no bytes at all.
    #[error("is empty; put one word on each line")]
    Empty,

    /// The file has lines, but none with a word.
    #[error("has no words, only blank lines or empty fields; put one word on each line")]
    OnlyBlank,

    /// There were words, and cleaning left nothing of any of them.
    #[error("cleaning leaves nothing of any word (it keeps what can be written in ASCII)")]
    NothingLeft,

    /// The bytes are not UTF-8.
    #[error(
        "line {line}: byte 0x{byte:02X} (byte {offset} of the file) is not UTF-8{}",
        reads_as(.guess)
    )]
    NotUtf8 {
        /// Line of the first wrong byte.
        line: usize,
        /// That byte.
        byte: u8,
        /// Its offset from the start of the file, counted from 0.
        offset: usize,
        /// The likeliest encoding, and the line in it.
        guess: Option<(Encoding, String)>,
    },

    /// The bytes are no text in the encoding that was chosen.
    #[error("line {line}: is not text in the encoding {encoding}")]
    NotInEncoding {
        /// The first line that is not.
        line: usize,
        /// The encoding.
        encoding: Encoding,
    },

    /// The file begins as gzip does, and cannot be unpacked.
    #[error("cannot be unpacked, though it begins as a gzip file does: {0}")]
    Gzip(String),

    /// A choice that only files have, of a data set that is built in.
    #[error("is built in, and is always read in the same way")]
    OnlyForFiles {
        /// The field of the recipe.
        choice: &'static str,
    },

    /// A list of words that is none: nearly all lines hold the same number of a delimiter.
    #[error(
        "line {line}: looks like a row of a table with {columns} columns, not like a word: {}",
        quoted(.text)
    )]
    LooksLikeTable {
        /// The first line that does.
        line: usize,
        /// The line.
        text: String,
        /// What separates the columns.
        delimiter: char,
        /// How many columns there are.
        columns: usize,
    },

    /// Columns cannot be separated by this.
    #[error("{0:?} cannot separate columns")]
    Delimiter(char),

    /// JSON that breaks the format, or has something else than words.
    #[error("line {line}: {reason}, where JSON with strings is expected")]
    Json {
        /// Where.
        line: usize,
        /// What is wrong.
        reason: String,
    },

    /// An object of a JSON file lacks the member asked for.
    #[error("line {line}: no member {column:?}; there are these: {}", list(.columns))]
    UnknownMember {
        /// Where.
        line: usize,
        /// The member asked for.
        column: String,
        /// The members there are.
        columns: Vec<String>,
    },

    /// A control character: the mark of a binary file.
    #[error(
        "line {line}: control character U+{:04X}, which suggests a binary file; \
         give a text file, or take the character out",
        *.character as u32
    )]
    ControlCharacter {
        /// Line of the character.
        line: usize,
        /// The character.
        character: char,
    },

    /// A column was asked of a data set that has none.
    #[error("has no columns, only lines")]
    NoColumns {
        /// The column asked for.
        column: String,
    },

    /// A table has several columns, and none was chosen.
    #[error("has several columns: {}", list(.columns))]
    ColumnRequired {
        /// The columns there are.
        columns: Vec<String>,
    },

    /// A table lacks the column asked for.
    #[error("has no column {column:?}; its first line has these: {}", list(.columns))]
    UnknownColumn {
        /// The column asked for.
        column: String,
        /// The columns there are.
        columns: Vec<String>,
    },

    /// A column was asked for by its name in a table that is said to have no names of columns.
    #[error("has no names of columns, and {column:?} is no number from 1 to {columns}")]
    Nameless {
        /// The column asked for.
        column: String,
        /// How many columns there are.
        columns: usize,
    },

    /// A table breaks the format.
    #[error("line {line}: malformed table: {reason}")]
    Csv {
        /// Line on which the record starts, or an open quotation mark stands.
        line: usize,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// More distinct characters than there are tokens.
    #[error(
        "{count} distinct characters, but at most {max} fit; use a part of the data",
        max = super::Vocabulary::MAX_LETTERS
    )]
    TooManyCharacters {
        /// How many there are, the end mark not counted.
        count: usize,
    },

    /// A character that the checkpoint's vocabulary lacks.
    #[error(
        "line {line}: {character:?} (U+{:04X}) in the word {} is not in the vocabulary of \
         the trained model; use data with the characters it was trained on",
        *.character as u32,
        quoted(.word)
    )]
    UnknownCharacter {
        /// Line of the word.
        line: usize,
        /// The character.
        character: char,
        /// The word, after cleaning if there was any.
        word: String,
    },

    /// Too few words for three splits that are not empty.
    #[error(
        "too few words for three splits: {count}, but at least {minimum} are needed \
         (80 % for training, 10 % for validation, 10 % for testing)"
    )]
    TooFewWords {
        /// How many words there are.
        count: usize,
        /// The fewest that do.
        minimum: usize,
    },

    /// A context length that the model cannot have.
    #[error(transparent)]
    Block(#[from] DimsError),
}

impl DataError {
    /// Whether the message begins with the line that it is about.
    pub fn has_line(&self) -> bool {
        use DataError as E;
        matches!(
            self,
            E::NotUtf8 { .. }
                | E::NotInEncoding { .. }
                | E::LooksLikeTable { .. }
                | E::Json { .. }
                | E::UnknownMember { .. }
                | E::ControlCharacter { .. }
                | E::Csv { .. }
                | E::UnknownCharacter { .. }
        )
    }
}

/// The most characters of a file's content that a message repeats: a line of a file that is no
/// list of words can be megabytes long.
const EXCERPT: usize = 40;

/// A text from a file, quoted, and cut if it is long.
fn quoted(text: &str) -> String {
    format!("\"{}\"", excerpt(text, EXCERPT))
}

/// What a line would be in the likeliest encoding.
fn reads_as(guess: &Option<(Encoding, String)>) -> String {
    match guess {
        Some((encoding, line)) => format!("; in {encoding}, the line reads {}", quoted(line)),
        None => String::new(),
    }
}

/// The most columns that a message lists.
const LISTED: usize = 20;

/// Column names, quoted, with commas between them.
fn list(columns: &[String]) -> String {
    let mut names: Vec<String> = columns.iter().take(LISTED).map(|c| quoted(c)).collect();
    if columns.len() > LISTED {
        names.push(format!("and {} more", columns.len() - LISTED));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(quoted("ñandú"), "\"ñandú\"");
        assert_eq!(quoted(&"ñ".repeat(40)), format!("\"{}\"", "ñ".repeat(40)));
        assert_eq!(quoted(&"ñ".repeat(41)), format!("\"{}…\"", "ñ".repeat(40)));
    }

    #[test]
    fn long_lists_are_cut() {
        let columns: Vec<String> = (0..22).map(|i| format!("c{i}")).collect();
        assert_eq!(list(&columns[..2]), r#""c0", "c1""#);
        assert!(list(&columns).ends_with(r#""c19", and 2 more"#));
    }
}
