//! Words in JSON: an array, or a value on each line (JSONL); strings, or objects of which one member is
//! read.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::error::DataError;
use super::vocabulary::can_be_in_a_word;
use super::words::Collector;

/// Whether a text is JSON, though nothing says so: an array of strings or objects, or lines that are all
/// objects.
pub(super) fn looks_like_json(text: &str) -> bool {
    match text.trim_start().as_bytes().first() {
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text).is_ok(),
        Some(b'{') => {
            let mut lines = text.lines().filter(|line| !line.trim().is_empty());
            lines.all(|line| serde_json::from_str::<BTreeMap<String, &RawValue>>(line).is_ok())
        }
        _ => false,
    }
}

/// Adds the words of an array or of JSONL.
pub(super) fn read(
    text: &str,
    column: Option<&str>,
    words: &mut Collector<'_, '_>,
) -> Result<(), DataError> {
    if text.trim_start().starts_with('[') {
        let values: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| malformed(0, &error))?;
        let (mut line, mut at) = (1, 0);
        for value in values {
            // Each value is a part of the text.
            let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
            line += text[at..start].matches('\n').count();
            at = start;
            add(line, value.get(), column, words)?;
        }
        return Ok(());
    }
    for (line, text) in (1..).zip(text.split('\n')) {
        match text.trim().is_empty() {
            true => words.notes.empty += usize::from(!text.is_empty()),
            false => add(line, text, column, words)?,
        }
    }
    Ok(())
}

/// The error of a value that begins after `before` lines.
fn malformed(before: usize, error: &serde_json::Error) -> DataError {
    // The crate's message ends with the place, which belongs to the front.
    let message = error.to_string();
    let (reason, _) = message.rsplit_once(" at line").unwrap_or((&message, ""));
    DataError::Json {
        line: before + error.line().max(1),
        reason: reason.to_owned(),
    }
}

fn add(
    line: usize,
    value: &str,
    column: Option<&str>,
    words: &mut Collector<'_, '_>,
) -> Result<(), DataError> {
    let wrong = |reason: &str| DataError::Json {
        line,
        reason: reason.to_owned(),
    };
    let is_object = value.trim_start().starts_with('{');
    let object: BTreeMap<String, &RawValue>;
    let string = match (is_object, column) {
        (false, Some(column)) => {
            return Err(DataError::NoColumns {
                column: column.to_owned(),
            });
        }
        (false, None) => value,
        (true, column) => {
            object = serde_json::from_str(value).map_err(|error| malformed(line - 1, &error))?;
            let columns = || object.keys().cloned().collect();
            let Some(column) = column else {
                return Err(DataError::ColumnRequired { columns: columns() });
            };
            match object.get(column) {
                Some(value) => value.get(),
                None => {
                    return Err(DataError::UnknownMember {
                        line,
                        column: column.to_owned(),
                        columns: columns(),
                    });
                }
            }
        }
    };
    let word: Option<String> =
        serde_json::from_str(string).map_err(|error| match error.is_data() {
            true => wrong("a word must be a string"),
            false => malformed(line - 1, &error),
        })?;
    let word = word.unwrap_or_default(); // null: an empty word
    match word.trim().chars().find(|&c| !can_be_in_a_word(c)) {
        Some('\n' | '\r') => Err(wrong("the word goes over several lines; put it on one")),
        Some(character) => Err(DataError::ControlCharacter { line, character }),
        None => words.add(line, &word),
    }
}
