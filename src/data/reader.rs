//! From text to words.

use std::borrow::Cow;

use super::error::DataError;
use super::source::{MAX_FILE_BYTES, Source};
use super::vocabulary::can_be_in_a_word;

// `data/README.md` says where they come from.
const NAMES: &str = include_str!("../../data/names.txt");
const MUNICIPALITIES: &str = include_str!("../../data/municipalities.csv");

/// Column of the municipalities that is read unless another is chosen.
pub(super) const MUNICIPALITIES_COLUMN: &str = "name";

/// A word and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Line of the file, from 1.
    pub line: usize,
    /// The word, without white space at the ends; never empty.
    pub text: String,
}

/// The words of a data set in their order; there is at least one.
pub(super) fn read(source: &Source<'_>, column: Option<&str>) -> Result<Vec<Word>, DataError> {
    let words = match *source {
        Source::Names => match column {
            None => lines(&with_line_feeds(NAMES)),
            Some(column) => {
                return Err(DataError::NoColumns {
                    column: column.to_owned(),
                });
            }
        },
        Source::Municipalities => {
            let column = column.unwrap_or(MUNICIPALITIES_COLUMN);
            csv_column(&with_line_feeds(MUNICIPALITIES), Some(column))?
        }
        Source::Bytes { bytes, csv, .. } => {
            let text = decode(bytes)?;
            if csv || column.is_some() {
                csv_column(&text, column)?
            } else {
                lines(&text)
            }
        }
    };
    match words.is_empty() {
        true => Err(DataError::OnlyBlank),
        false => Ok(words),
    }
}

/// The bytes as text whose lines end in `\n`, without a byte order mark; not empty.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, DataError> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(DataError::TooLarge);
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        let before = String::from_utf8_lossy(&bytes[..offset]);
        DataError::NotUtf8 {
            line: last_line(&before),
            offset,
        }
    })?;
    let text = with_line_feeds(text.strip_prefix('\u{feff}').unwrap_or(text));
    if text.is_empty() {
        return Err(DataError::Empty);
    }
    match text.find(|c| c != '\n' && !can_be_in_a_word(c)) {
        Some(offset) => Err(DataError::ControlCharacter {
            line: last_line(&text[..offset]),
            character: text[offset..].chars().next().unwrap_or_default(),
        }),
        None => Ok(text),
    }
}

/// Turns the line breaks `\r\n` and `\r` into `\n`.
fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Number of the line on which the text ends.
fn last_line(text: &str) -> usize {
    1 + with_line_feeds(text).matches('\n').count()
}

/// One word a line.
fn lines(text: &str) -> Vec<Word> {
    (1..)
        .zip(text.split('\n'))
        .filter_map(|(line, text)| word(line, text))
        .collect()
}

fn word(line: usize, text: &str) -> Option<Word> {
    let text = text.trim();
    (!text.is_empty()).then(|| Word {
        line,
        text: text.to_owned(),
    })
}

/// One word a record; the first record names the columns. Empty fields are skipped.
fn csv_column(text: &str, column: Option<&str>) -> Result<Vec<Word>, DataError> {
    let malformed = |line, reason: String| DataError::Csv { line, reason };
    // The csv crate would take the rest of the file for the field, without a word.
    if let Some(line) = unclosed_quote(text) {
        let reason = "a quotation mark opens a field here and is never closed; close it, or double it \
                      and quote the field";
        return Err(malformed(line, reason.to_owned()));
    }
    // Field counts are compared below: the message can then say how many there should be.
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());

    let mut words = Vec::new();
    let mut header: Option<(usize, usize)> = None;
    for record in reader.records() {
        let record = record.map_err(|error| {
            malformed(
                error.position().map_or(1, |p| p.line() as usize),
                error.to_string(),
            )
        })?;
        if record.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        let line = record.position().map_or(1, |position| {
            // The position is where the record before it ended, ahead of blank lines.
            let blank = text.as_bytes().iter().skip(position.byte() as usize);
            position.line() as usize + blank.take_while(|&&byte| byte == b'\n').count()
        });
        let Some((columns, index)) = header else {
            let names: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
            header = Some((names.len(), choose(names, column)?));
            continue;
        };
        if record.len() != columns {
            let reason = format!(
                "the first line names {columns} columns, but this one has {}; quote fields that \
                 contain commas",
                record.len()
            );
            return Err(malformed(line, reason));
        }
        let field = record.get(index).unwrap_or_default().trim();
        if field.contains('\n') {
            let reason = "the word goes over several lines; put it on one".to_owned();
            return Err(malformed(line, reason));
        }
        words.extend(word(line, field));
    }
    Ok(words)
}

/// Index of the column to read.
fn choose(columns: Vec<String>, wanted: Option<&str>) -> Result<usize, DataError> {
    let found = match wanted {
        Some(wanted) => columns.iter().position(|name| name == wanted.trim()),
        None => (columns.len() == 1).then_some(0),
    };
    // Spreadsheets of many languages write semicolons and call the result CSV.
    let separator = match &columns[..] {
        [only] => only.chars().find(|c| matches!(c, ';' | '\t')),
        _ => None,
    };
    match (found, separator, wanted) {
        (Some(index), None, _) | (Some(index), Some(_), Some(_)) => Ok(index),
        (_, Some(separator), _) => Err(DataError::Separator { separator }),
        (None, None, Some(wanted)) => Err(DataError::UnknownColumn {
            column: wanted.to_owned(),
            columns,
        }),
        (None, None, None) => Err(DataError::ColumnRequired { columns }),
    }
}

/// Line of the quotation mark that opens the last field of a CSV text and is not closed.
fn unclosed_quote(text: &str) -> Option<usize> {
    enum At {
        FieldStart,
        Plain,
        Quoted {
            opened: usize,
        },
        /// Behind a quotation mark in a quoted field: the end of it, or the first of a pair that
        /// stands for one.
        Mark {
            opened: usize,
        },
    }
    let mut at = At::FieldStart;
    let mut line = 1;
    for byte in text.bytes() {
        at = match (at, byte) {
            (At::FieldStart, b'"') => At::Quoted { opened: line },
            (At::Quoted { opened }, b'"') => At::Mark { opened },
            (At::Quoted { opened }, _) | (At::Mark { opened }, b'"') => At::Quoted { opened },
            (_, b',' | b'\n') => At::FieldStart,
            (_, _) => At::Plain,
        };
        line += usize::from(byte == b'\n');
    }
    match at {
        At::Quoted { opened } => Some(opened),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unclosed_quotes() {
        for (text, line) in [
            ("a,b\n\"c\",d\n", None),
            ("a\n\"b\"\",\"", None),
            ("a\n\"b\"\",", Some(2)),
            ("a\n\"b\nc", Some(2)),
            ("a\n\"b\nc\"\n\"", Some(4)),
            ("a\"b\"c\n", None),
            ("\"\"", None),
            ("\"\"\"", Some(1)),
            ("", None),
        ] {
            assert_eq!(unclosed_quote(text), line, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// A record added at the end is read as one if, and only if, no quote is open before it.
        #[test]
        fn quotes_are_read_as_the_csv_crate_reads_them(text in "[\",a\n]{0,12}") {
            let text = text + "\n";
            let longer = format!("{text}last");
            let last = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(longer.as_bytes())
                .records()
                .filter_map(Result::ok)
                .last();
            let separate = last.is_some_and(|record| record.iter().eq(["last"]));
            prop_assert_eq!(unclosed_quote(&text).is_none(), separate);
        }
    }
}
