//! What can be wrong with a data set.

use std::io;

use crate::model::dims::DimsError;

/// Why a data set could not be loaded. Every message is one line that says what was wrong, where,
/// and what to do about it.
///
/// `origin` is the data set as the command line names it: a path, `names` or `municipalities`.
/// Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The path leads nowhere.
    #[error(
        "{origin}: no such file; give the path of a text file, or one of the built-in data sets \
         `names` and `municipalities`"
    )]
    Missing {
        /// The data set.
        origin: String,
    },

    /// The path leads to a directory.
    #[error("{origin}: is a directory; give the path of a text file inside it")]
    Directory {
        /// The data set.
        origin: String,
    },

    /// The operating system refused to open or read the file.
    #[error("{origin}: cannot be read: {reason}; check the path and its permissions")]
    Unreadable {
        /// The data set.
        origin: String,
        // Not a `source`: the message already has it, and a caller that prints the whole chain
        // would print it twice.
        /// What the operating system said.
        reason: io::Error,
    },

    /// The file is longer than [`MAX_FILE_BYTES`](super::MAX_FILE_BYTES).
    #[error("{origin}: is larger than {} MiB, the most a data set may have; use a part of it", limit >> 20)]
    TooLarge {
        /// The data set.
        origin: String,
        /// The limit, in bytes.
        limit: u64,
    },

    /// The file has no bytes at all.
    #[error("{origin}: is empty; put one word on each line")]
    Empty {
        /// The data set.
        origin: String,
    },

    /// The file has lines, but none with a word.
    #[error("{origin}: has no words, only blank lines or empty fields; put one word on each line")]
    OnlyBlank {
        /// The data set.
        origin: String,
    },

    /// There were words, and cleaning left nothing of any of them.
    #[error(
        "{origin}: cleaning leaves nothing of any word (it keeps what can be written in ASCII); \
         leave out --clean"
    )]
    NothingLeft {
        /// The data set.
        origin: String,
    },

    /// The bytes are not UTF-8.
    #[error(
        "{origin}, line {line}: is not UTF-8 text (at byte {offset} of the file); if it is text in \
         another encoding, save it as UTF-8"
    )]
    NotUtf8 {
        /// The data set.
        origin: String,
        /// Line of the first wrong byte.
        line: usize,
        /// Offset of that byte from the start of the file, counted from 0.
        offset: usize,
    },

    /// A control character: the mark of a binary file.
    #[error(
        "{origin}, line {line}: control character U+{:04X}, which suggests a binary file; \
         give a text file, or take the character out",
        *.character as u32
    )]
    ControlCharacter {
        /// The data set.
        origin: String,
        /// Line of the character.
        line: usize,
        /// The character.
        character: char,
    },

    /// A column was asked of a data set that has none.
    #[error("{origin}: has no columns, only lines; leave out --column {column}")]
    NoColumns {
        /// The data set.
        origin: String,
        /// The column asked for.
        column: String,
    },

    /// A CSV file has several columns, and none was chosen.
    #[error("{origin}: has several columns; choose one with --column: {}", list(.columns))]
    ColumnRequired {
        /// The data set.
        origin: String,
        /// The columns there are.
        columns: Vec<String>,
    },

    /// A CSV file lacks the column asked for.
    #[error("{origin}: has no column {column:?}; its first line names these: {}", list(.columns))]
    UnknownColumn {
        /// The data set.
        origin: String,
        /// The column asked for.
        column: String,
        /// The columns there are.
        columns: Vec<String>,
    },

    /// The file's columns are not separated by commas.
    #[error(
        "{origin}: its columns are separated by {separator:?}; save it as CSV with commas instead"
    )]
    Separator {
        /// The data set.
        origin: String,
        /// What separates the columns of the first line.
        separator: char,
    },

    /// A CSV file breaks the format.
    #[error("{origin}, line {line}: malformed CSV: {reason}")]
    Csv {
        /// The data set.
        origin: String,
        /// Line on which the record starts, or an open quotation mark stands.
        line: usize,
        /// What is wrong, and what to do.
        reason: String,
    },

    /// A word contains `.`, which marks the end of words.
    #[error(
        "{origin}, line {line}: the word {} contains '.', which is kept for the end of words \
         (--clean does not remove it); take it out of the word",
        excerpt(.word)
    )]
    EndMark {
        /// The data set.
        origin: String,
        /// Line of the word.
        line: usize,
        /// The word, after cleaning if there was any.
        word: String,
    },

    /// More distinct characters than tokens of one byte.
    #[error(
        "{origin}: {count} distinct characters, but at most {max} fit; \
         --clean brings the words down to plain ASCII",
        max = super::Vocabulary::MAX_LETTERS
    )]
    TooManyCharacters {
        /// The data set.
        origin: String,
        /// How many there are, the end mark not counted.
        count: usize,
    },

    /// A character that the checkpoint's vocabulary lacks.
    #[error(
        "{origin}, line {line}: {character:?} (U+{:04X}) in the word {} is not in the vocabulary of \
         the trained model; use data with the characters it was trained on, or try --clean",
        *.character as u32,
        excerpt(.word)
    )]
    UnknownCharacter {
        /// The data set.
        origin: String,
        /// Line of the word.
        line: usize,
        /// The character.
        character: char,
        /// The word, after cleaning if there was any.
        word: String,
    },

    /// Too few words for three splits that are not empty.
    #[error(
        "{origin}: too few words for three splits: {count}, but at least {minimum} are needed \
         (80 % for training, 10 % for validation, 10 % for testing)"
    )]
    TooFewWords {
        /// The data set.
        origin: String,
        /// How many words there are.
        count: usize,
        /// The fewest that do.
        minimum: usize,
    },

    /// A context length that the model cannot have.
    #[error(transparent)]
    Block(#[from] DimsError),
}

/// The most characters of a file's content that a message repeats: a line of a file that is no
/// list of words can be megabytes long.
const EXCERPT: usize = 40;

/// The text quoted, and cut if it is long.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The most columns that a message lists.
const LISTED: usize = 20;

/// Column names, quoted, with commas between them.
fn list(columns: &[String]) -> String {
    let mut names: Vec<String> = columns.iter().take(LISTED).map(|c| excerpt(c)).collect();
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
        assert_eq!(excerpt("ñandú"), "\"ñandú\"");
        assert_eq!(excerpt(&"ñ".repeat(40)), format!("\"{}\"", "ñ".repeat(40)));
        assert_eq!(excerpt(&"ñ".repeat(41)), format!("\"{}\"…", "ñ".repeat(40)));
    }

    #[test]
    fn long_lists_are_cut() {
        let columns: Vec<String> = (0..22).map(|i| format!("c{i}")).collect();
        assert_eq!(list(&columns[..2]), r#""c0", "c1""#);
        assert!(list(&columns).ends_with(r#""c19", and 2 more"#));
    }
}
