//! Tables: what separates their columns, whether the first line names them, and the words of one column.

use std::borrow::Cow;

use super::error::DataError;
use super::reading::{Column, Reading};
use super::words::Collector;

/// What separates columns, if nothing says what does: the most usual first.
const DELIMITERS: [char; 4] = [',', '\t', ';', '|'];

/// Lines that are looked at to find out what a file is.
const SAMPLE: usize = 10_000;
/// Records that are looked at to find out how a table is written.
const RECORDS: usize = 200;

/// A separator of one byte that no text has, for those that are longer.
const UNIT_SEPARATOR: char = '\u{1f}';

/// Names that columns of words, and those beside them, usually have. A table of words alone gives no other
/// sign that its first line names the columns.
const USUAL_NAMES: &[&str] = &[
    "id",
    "index",
    "no",
    "nr",
    "number",
    "name",
    "names",
    "word",
    "words",
    "term",
    "text",
    "title",
    "label",
    "token",
    "value",
    "key",
    "string",
    "phrase",
    "lemma",
    "entry",
    "item",
    "first name",
    "firstname",
    "given name",
    "givenname",
    "forename",
    "last name",
    "lastname",
    "surname",
    "family name",
    "full name",
    "nickname",
    "username",
    "sex",
    "gender",
    "year",
    "count",
    "frequency",
    "freq",
    "rank",
    "score",
    "population",
    "country",
    "state",
    "province",
    "region",
    "county",
    "city",
    "town",
    "village",
    "place",
    "municipality",
    "street",
    "code",
    "lang",
    "language",
    "species",
    "genus",
    "type",
    "category",
    "class",
    "kind",
    "date",
    "note",
    "notes",
    "comment",
    "description",
    "nombre",
    "nombres",
    "palabra",
    "apellido",
    "municipio",
    "provincia",
    "ciudad",
    "nom",
    "prenom",
    "prénom",
    "mot",
    "ville",
    "vorname",
    "nachname",
    "wort",
    "stadt",
    "ort",
    "nome",
    "cognome",
    "parola",
    "palavra",
    "naam",
    "woord",
    "namn",
    "navn",
    "nimi",
    "imię",
    "nazwisko",
    "имя",
    "слово",
    "фамилия",
    "город",
    "名前",
    "姓",
    "名",
    "姓名",
    "名字",
    "词",
    "이름",
];

/// A line of a file that looks like a table.
pub(super) struct Look<'a> {
    pub(super) line: usize,
    pub(super) text: &'a str,
    pub(super) delimiter: char,
    pub(super) columns: usize,
}

/// Whether nearly all lines of a text, 19 in 20, hold the same number of a delimiter.
pub(super) fn looks_like_table(text: &str) -> Option<Look<'_>> {
    let is_word = |line: &(usize, &str)| !line.1.trim().is_empty();
    let lines: Vec<(usize, &str)> = (1..)
        .zip(text.split('\n'))
        .filter(is_word)
        .take(SAMPLE)
        .collect();
    DELIMITERS.into_iter().find_map(|delimiter| {
        let counts = lines
            .iter()
            .map(|(_, line)| line.matches(delimiter).count());
        let counts: Vec<usize> = counts.collect();
        let (usual, how_many) = most_frequent(&counts)?;
        let (line, text) = *lines.get(counts.iter().position(|&count| count == usual)?)?;
        let nearly_all = lines.len() > 1 && 20 * how_many >= 19 * lines.len();
        (usual > 0 && nearly_all).then_some(Look {
            line,
            text,
            delimiter,
            columns: usual + 1,
        })
    })
}

/// The number that stands there most often, and how often it does.
fn most_frequent(numbers: &[usize]) -> Option<(usize, usize)> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0], run.len())).max_by_key(|run| run.1)
}

/// Whether columns can be separated by it.
pub fn is_delimiter(delimiter: char) -> bool {
    !matches!(delimiter, '"' | '\n' | '\r')
}

/// A table as text, and how it is written.
struct Table<'a> {
    text: Cow<'a, str>,
    /// What separates the columns in the file.
    delimiter: char,
    /// The byte that does so in `text`.
    byte: u8,
    /// Lines of the file in front of `text`.
    skipped: usize,
}

impl<'a> Table<'a> {
    fn new(text: &'a str, chosen: Option<char>) -> Result<Self, DataError> {
        // Spreadsheets write this line for each other: `sep=;`.
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let named = first.strip_prefix("sep=").and_then(|rest| {
            let mut chars = rest.chars();
            chars.next().filter(|_| chars.next().is_none())
        });
        let (text, skipped) = match named {
            Some(_) => (rest, 1),
            None => (text, 0),
        };
        let delimiter = chosen.or(named).unwrap_or_else(|| detect(text));
        if !is_delimiter(delimiter) {
            return Err(DataError::Delimiter(delimiter));
        }
        let (text, byte) = match u8::try_from(delimiter) {
            Ok(byte) if byte.is_ascii() => (Cow::Borrowed(text), byte),
            _ => {
                let separated = text.replace(delimiter, UNIT_SEPARATOR.encode_utf8(&mut [0; 1]));
                (Cow::Owned(separated), UNIT_SEPARATOR as u8)
            }
        };
        Ok(Self {
            text,
            delimiter,
            byte,
            skipped,
        })
    }

    /// The records that are not blank.
    fn records(&self) -> impl Iterator<Item = csv::Result<csv::StringRecord>> {
        let is_blank =
            |record: &csv::StringRecord| record.iter().all(|field| field.trim().is_empty());
        reader(&self.text, self.byte)
            .into_records()
            .filter(move |record| !record.as_ref().is_ok_and(is_blank))
    }

    /// The line on which a record begins.
    fn line(&self, record: &csv::StringRecord) -> usize {
        self.skipped
            + record.position().map_or(1, |position| {
                // The position is where the record before it ended, ahead of blank lines.
                let blank = self.text.as_bytes().iter().skip(position.byte() as usize);
                position.line() as usize + blank.take_while(|&&byte| byte == b'\n').count()
            })
    }
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        // Field counts are compared below: the message can then say how many there should be.
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text.as_bytes())
}

/// The delimiter that gives the most records the same number of columns, above one; of those the first. A
/// comma where none does: the table has one column.
fn detect(text: &str) -> char {
    let score = |delimiter: char| {
        let records = reader(text, delimiter as u8).into_records().take(RECORDS);
        let counts: Vec<usize> = records.flatten().map(|record| record.len()).collect();
        match most_frequent(&counts) {
            Some((columns, how_many)) if columns > 1 && 2 * how_many > counts.len() => how_many,
            _ => 0,
        }
    };
    let mut best = (',', 0);
    for delimiter in DELIMITERS {
        let score = score(delimiter);
        if score > best.1 {
            best = (delimiter, score);
        }
    }
    best.0
}

/// Whether the first record names the columns: one has the name that was asked for, or a name that columns
/// usually have, or is no number above numbers.
fn is_header(first: &[String], rest: &[csv::StringRecord], column: Option<&str>) -> bool {
    if column.is_some_and(|column| first.iter().any(|name| name == column)) {
        return true;
    }
    if first.iter().any(|name| is_number(name)) {
        return false;
    }
    let above_numbers = |i: usize| {
        let fields = rest.iter().filter_map(|record| record.get(i));
        let (mut fields, mut numbers) = (
            fields.filter(|field| !field.trim().is_empty()).peekable(),
            0,
        );
        let any = fields.peek().is_some();
        let count = fields
            .inspect(|field| numbers += usize::from(is_number(field)))
            .count();
        any && 10 * numbers >= 9 * count
    };
    let is_usual = |name: &String| {
        let name = name.to_lowercase().replace(['_', '-'], " ");
        USUAL_NAMES.contains(&name.as_str())
    };
    first.iter().any(is_usual) || (0..first.len()).any(above_numbers)
}

fn is_number(field: &str) -> bool {
    field.trim().replace(',', ".").parse::<f64>().is_ok()
}

/// Adds the words of the chosen column. Empty fields are counted.
pub(super) fn read(
    text: &str,
    reading: &Reading,
    words: &mut Collector<'_, '_>,
) -> Result<(), DataError> {
    let table = Table::new(text, reading.delimiter)?;
    let malformed = |line: usize, reason: String| DataError::Csv { line, reason };
    // The csv crate would take the rest of the file for the field, without a word.
    if let Some(line) = unclosed_quote(&table.text, table.byte) {
        let reason = "a quotation mark opens a field here and is never closed; close it, or double it \
                      and quote the field";
        return Err(malformed(line + table.skipped, reason.to_owned()));
    }
    let mut sample = table.records().flatten().take(RECORDS);
    let Some(first) = sample.next() else {
        return Ok(());
    };
    let first: Vec<String> = first.iter().map(|name| name.trim().to_owned()).collect();
    let rest: Vec<csv::StringRecord> = sample.collect();
    let wanted = reading.column.as_deref().map(str::trim);
    let header = !reading.no_header && is_header(&first, &rest, wanted);
    let columns = first.len();
    let index = choose(&first, header, wanted).map_err(|error| match error {
        DataError::UnknownColumn { column, .. } if reading.no_header => {
            DataError::Nameless { column, columns }
        }
        error => error,
    })?;
    words.notes.column = Some(Column {
        number: index + 1,
        of: columns,
        delimiter: table.delimiter,
        name: header.then(|| first[index].clone()),
    });
    for record in table.records().skip(usize::from(header)) {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, |p| p.line() as usize);
            malformed(line + table.skipped, error.to_string())
        })?;
        let line = table.line(&record);
        if record.len() != columns {
            if reading.skip_bad_lines {
                words.notes.malformed += 1;
                continue;
            }
            let reason = format!(
                "the first line has {columns} columns, but this one has {}; quote fields that contain {:?}",
                record.len(),
                table.delimiter
            );
            return Err(malformed(line, reason));
        }
        let field = record.get(index).unwrap_or_default().trim();
        if field.contains('\n') {
            let reason = "the word goes over several lines; put it on one".to_owned();
            return Err(malformed(line, reason));
        }
        words.add(line, field)?;
    }
    Ok(())
}

/// Index of the column to read.
fn choose(first: &[String], header: bool, wanted: Option<&str>) -> Result<usize, DataError> {
    let Some(wanted) = wanted else {
        return match first.len() {
            1 => Ok(0),
            _ => Err(DataError::ColumnRequired {
                columns: first.to_vec(),
            }),
        };
    };
    let named = first.iter().position(|name| header && name == wanted);
    let number = || {
        let number: usize = wanted.parse().ok()?;
        number.checked_sub(1).filter(|&index| index < first.len())
    };
    named
        .or_else(number)
        .ok_or_else(|| DataError::UnknownColumn {
            column: wanted.to_owned(),
            columns: first.to_vec(),
        })
}

/// Line of the quotation mark that opens the last field of a table and is not closed.
fn unclosed_quote(text: &str, delimiter: u8) -> Option<usize> {
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
            (_, b'\n') => At::FieldStart,
            (_, byte) if byte == delimiter => At::FieldStart,
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
            assert_eq!(unclosed_quote(text, b','), line, "{text:?}");
        }
    }

    #[test]
    fn what_separates_columns_is_detected() {
        for (text, delimiter) in [
            ("id,town\n1,a\n", ','),
            ("id;town\n1;a, b\n2;c\n", ';'),
            ("id\ttown\n1\ta b\n", '\t'),
            ("id|town\n1|a\n", '|'),
            // Commas in quoted fields separate nothing.
            ("id;town\n1;\"a, b\"\n2;\"c, d\"\n", ';'),
            ("word\nab\n\"c,d\"\n", ','),
            ("", ','),
        ] {
            assert_eq!(detect(text), delimiter, "{text:?}");
        }
    }

    #[test]
    fn lists_of_words_are_no_tables() {
        let list = "Rioja, La\nMadrid\nCoruña, A\nVigo\n";
        assert!(looks_like_table(list).is_none());
        assert!(looks_like_table("a,b\n").is_none(), "one line says nothing");
        let table = format!("\nname;sex\n{}x\n", "emma;F\n".repeat(40));
        let look = looks_like_table(&table).unwrap();
        assert_eq!(
            (look.line, look.text, look.delimiter, look.columns),
            (2, "name;sex", ';', 2)
        );
        // One line in ten is too many.
        let mixed = format!("{}x\n", "emma;F\n".repeat(9));
        assert!(looks_like_table(&mixed).is_none());
    }

    #[test]
    fn a_first_line_that_names_the_columns_is_told_from_data() {
        let is_header = |text: &str, column: Option<&str>| {
            let mut records = reader(text, b',').into_records().flatten();
            let first = records.next().unwrap();
            let first: Vec<String> = first.iter().map(str::to_owned).collect();
            is_header(&first, &records.collect::<Vec<_>>(), column)
        };
        assert!(is_header("name,sex\nemma,F\n", None));
        assert!(is_header("First_Name\nemma\n", None));
        assert!(is_header("Gemeente\nEde\n", Some("Gemeente")));
        assert!(
            is_header("Gemeente,Inwoners\nEde,124000\nAa,3\n", None),
            "above numbers"
        );
        assert!(!is_header("emma,F\nolivia,F\n", None));
        assert!(!is_header("emma,7\nolivia,8\n", None));
        assert!(!is_header("emma\nolivia\n", None));
        assert!(!is_header("1,emma\n2,olivia\n", None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// A record added at the end is read as one if, and only if, no quote is open before it.
        #[test]
        fn quotes_are_read_as_the_csv_crate_reads_them(text in "[\",a\n]{0,12}") {
            let text = text + "\n";
            let longer = format!("{text}last");
            let last = reader(&longer, b',').into_records().flatten().last();
            let separate = last.is_some_and(|record| record.iter().eq(["last"]));
            prop_assert_eq!(unclosed_quote(&text, b',').is_none(), separate);
        }
    }
}
