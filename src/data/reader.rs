//! From a source to words.

use std::borrow::Cow;

use super::decode::{decode, with_line_feeds};
use super::error::DataError;
use super::reading::{Notes, Reading};
use super::source::{Format, Source};
use super::words::{Collector, Words};
use super::{json, table};

// `data/README.md` says where they come from.
const NAMES: &str = include_str!("../../data/names.txt");
const MUNICIPALITIES: &str = include_str!("../../data/municipalities.csv");

/// Column of the municipalities that is read unless another is chosen.
pub(super) const MUNICIPALITIES_COLUMN: &str = "name";

/// The words of a data set in their order; there is at least one. And what there is to say of them.
pub(super) fn read<'a>(
    source: &Source<'a>,
    reading: &Reading,
) -> Result<(Words<'a>, Notes), DataError> {
    let mut notes = Notes::default();
    let choice = match source {
        Source::Bytes { .. } => None,
        Source::Names | Source::Municipalities => reading.only_for_files(),
    };
    if let Some(choice) = choice {
        return Err(DataError::OnlyForFiles { choice });
    }
    let words = match *source {
        Source::Names => match &reading.column {
            None => lines(with_line_feeds(NAMES.into()), reading, &mut notes)?,
            Some(column) => {
                let column = column.clone();
                return Err(DataError::NoColumns { column });
            }
        },
        Source::Municipalities => {
            let own = || MUNICIPALITIES_COLUMN.to_owned();
            let reading = Reading {
                column: Some(reading.column.clone().unwrap_or_else(own)),
                clean: true,
                ..reading.clone()
            };
            let text = with_line_feeds(MUNICIPALITIES.into());
            from_text(text, Format::Table, &reading, &mut notes)?
        }
        Source::Bytes { bytes, format, .. } => {
            let text = decode(bytes, reading, &mut notes)?;
            from_text(text, format, reading, &mut notes)?
        }
    };
    notes.duplicates = words.duplicates();
    match words.len() {
        0 if notes.cleaned_away > 0 => Err(DataError::NothingLeft),
        0 => Err(DataError::OnlyBlank),
        _ => Ok((words, notes)),
    }
}

/// The names. They are words as they stand, so nothing is needed that reads the files of other people.
pub(super) fn names() -> Result<(Words<'static>, Notes), DataError> {
    let mut notes = Notes::default();
    let mut words = Collector::new(Some(NAMES), &Reading::default(), &mut notes);
    for (line, name) in (1..).zip(NAMES.lines()) {
        words.push(line, name, true)?;
    }
    let words = words.finish();
    notes.duplicates = words.duplicates();
    Ok((words, notes))
}

/// The words of a text that is a list, a table or JSON.
fn from_text<'a>(
    text: Cow<'a, str>,
    format: Format,
    reading: &Reading,
    notes: &mut Notes,
) -> Result<Words<'a>, DataError> {
    let is_table = reading.column.is_some() || reading.delimiter.is_some() || reading.no_header;
    let format = match format {
        _ if reading.as_text => return lines(text, reading, notes),
        Format::Detect if json::looks_like_json(&text) => Format::Json,
        Format::Detect if is_table => Format::Table,
        Format::Detect => match table::looks_like_table(&text) {
            None => return lines(text, reading, notes),
            Some(look) => {
                return Err(DataError::LooksLikeTable {
                    line: look.line,
                    text: look.text.to_owned(),
                    delimiter: look.delimiter,
                    columns: look.columns,
                });
            }
        },
        format => format,
    };
    let mut words = Collector::new(None, reading, notes);
    match format {
        Format::Json => json::read(&text, reading.column.as_deref(), &mut words)?,
        _ => table::read(&text, reading, &mut words)?,
    }
    Ok(words.finish())
}

/// One word a line.
fn lines<'a>(
    text: Cow<'a, str>,
    reading: &Reading,
    notes: &mut Notes,
) -> Result<Words<'a>, DataError> {
    // Words that are parts of a text borrow it for as long as it lives.
    let (text, lasting): (&str, Option<&'a str>) = match &text {
        Cow::Borrowed(text) => (text, Some(text)),
        Cow::Owned(text) => (text, None),
    };
    // Lines that are skipped have been left blank, and are counted already.
    let skipped = notes.undecodable + notes.control;
    let mut words = Collector::new(lasting, reading, notes);
    for (line, text) in (1..).zip(text.strip_suffix('\n').unwrap_or(text).split('\n')) {
        words.notes.hashes += usize::from(text.trim_start().starts_with('#'));
        words.add(line, text)?;
    }
    words.notes.empty -= skipped;
    Ok(words.finish())
}
