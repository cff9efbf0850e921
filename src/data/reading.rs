//! How words are read from a file, and what there is to say about it.

use std::fmt;

use super::encoding::Encoding;
use crate::model::recipe::Recipe;

/// How a file is read, and what is done to its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The column to read: its name or its number, from 1. Of several columns with this name the first.
    pub column: Option<String>,
    /// What separates columns. Without it, it is detected.
    pub delimiter: Option<char>,
    /// Whether the first line of a table holds data, not the names of the columns. Without it, this is
    /// detected.
    pub no_header: bool,
    /// Whether each line is a word, whatever it looks like.
    pub as_text: bool,
    /// The encoding, unless a byte order mark says otherwise. Without it, UTF-8.
    pub encoding: Option<Encoding>,
    /// Whether lines that cannot be read are left out; they are counted. Without it, they are errors.
    pub skip_bad_lines: bool,
    /// Whether words are brought to lower case.
    pub lowercase: bool,
    /// Whether to [`clean`](super::clean) the words. The municipalities are cleaned in any case.
    pub clean: bool,
}

/// As the data of a model were read. An encoding of a name that is unknown counts as none: the checksum of
/// the words tells whether they are the same.
impl From<&Recipe> for Reading {
    fn from(recipe: &Recipe) -> Self {
        Self {
            column: recipe.column.clone(),
            delimiter: recipe.delimiter.as_ref().and_then(|d| d.chars().next()),
            no_header: recipe.no_header,
            as_text: recipe.as_text,
            encoding: recipe.encoding.as_ref().and_then(|name| name.parse().ok()),
            skip_bad_lines: recipe.skip_bad_lines,
            lowercase: recipe.lowercase,
            clean: recipe.clean,
        }
    }
}

impl Reading {
    /// Writes the choices that were made into a recipe, which keeps its own for the others.
    pub fn record(&self, recipe: &mut Recipe) {
        let text = |chosen: Option<String>, field: &mut Option<String>| {
            *field = chosen.or(field.take());
        };
        text(self.column.clone(), &mut recipe.column);
        text(self.delimiter.map(String::from), &mut recipe.delimiter);
        text(self.encoding.map(|e| e.to_string()), &mut recipe.encoding);
        recipe.no_header |= self.no_header;
        recipe.as_text |= self.as_text;
        recipe.skip_bad_lines |= self.skip_bad_lines;
        recipe.lowercase |= self.lowercase;
        recipe.clean |= self.clean;
    }

    /// The first choice that only files have, if one was made.
    pub(super) fn only_for_files(&self) -> Option<&'static str> {
        [
            (self.delimiter.is_some(), "delimiter"),
            (self.no_header, "no_header"),
            (self.as_text, "as_text"),
            (self.encoding.is_some(), "encoding"),
            (self.skip_bad_lines, "skip_bad_lines"),
        ]
        .into_iter()
        .find_map(|(chosen, name)| chosen.then_some(name))
    }
}

/// What happened on the way from a file to words. As text, one line; empty if there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The encoding, if it is not UTF-8.
    pub encoding: Option<Encoding>,
    /// The column that was read, of a table.
    pub column: Option<Column>,
    /// Lines skipped that are not text in their encoding.
    pub undecodable: usize,
    /// Lines skipped that have control characters.
    pub control: usize,
    /// Rows skipped that have another number of columns than the first.
    pub malformed: usize,
    /// Words whose accents were brought to their composed form (NFC).
    pub composed: usize,
    /// Invisible characters dropped: zero-width, soft hyphens, direction marks.
    pub invisible: usize,
    /// Whether the words were cleaned.
    pub cleaned: bool,
    /// Words of which cleaning left nothing.
    pub cleaned_away: usize,
    /// Whether the words were brought to lower case.
    pub lowercase: bool,
    /// Lines that begin with `#`, kept as words.
    pub hashes: usize,
    /// Words that stand in the data before, kept.
    pub duplicates: usize,
    /// Lines or fields without a word.
    pub empty: usize,
}

/// The column of a table that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its number, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// What separates them.
    pub delimiter: char,
    /// Its name, if the first line has names.
    pub name: Option<String>,
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {many}")),
        };
        let parts = [
            self.encoding.map(|encoding| format!("read as {encoding}")),
            self.column.as_ref().map(Column::to_string),
            counted(
                self.undecodable,
                "line skipped (not in its encoding)",
                "lines skipped (not in their encoding)",
            ),
            counted(
                self.control,
                "line skipped (control characters)",
                "lines skipped (control characters)",
            ),
            counted(
                self.malformed,
                "row skipped (another number of columns)",
                "rows skipped (another number of columns)",
            ),
            counted(
                self.composed,
                "word with accents composed (NFC)",
                "words with accents composed (NFC)",
            ),
            counted(
                self.invisible,
                "invisible character dropped",
                "invisible characters dropped",
            ),
            self.lowercase.then(|| "in lower case".to_owned()),
            self.cleaned
                .then(|| "cleaned: lower case, romanised to ASCII".to_owned()),
            counted(
                self.cleaned_away,
                "word dropped, of which cleaning leaves nothing",
                "words dropped, of which cleaning leaves nothing",
            ),
            counted(
                self.hashes,
                "line that begins with '#' kept as a word",
                "lines that begin with '#' kept as words",
            ),
            counted(self.duplicates, "duplicate kept", "duplicates kept"),
            counted(self.empty, "empty", "empty"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}", self.number)?;
        if self.of > 1 {
            write!(f, " of {}, separated by {:?}", self.of, self.delimiter)?;
        }
        match &self.name {
            Some(name) => write!(f, ", which the first line names {name:?}"),
            None => f.write_str(", the first line taken as data"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_say_is_an_empty_line() {
        assert_eq!(Notes::default().to_string(), "");
    }

    #[test]
    fn notes_are_one_line() {
        let notes = Notes {
            undecodable: 12,
            duplicates: 3,
            empty: 2,
            composed: 1,
            column: Some(Column {
                number: 2,
                of: 3,
                delimiter: '\t',
                name: Some("town".to_owned()),
            }),
            ..Notes::default()
        };
        assert_eq!(
            notes.to_string(),
            "column 2 of 3, separated by '\\t', which the first line names \"town\", \
             12 lines skipped (not in their encoding), 1 word with accents composed (NFC), \
             3 duplicates kept, 2 empty"
        );
    }

    #[test]
    fn a_recipe_has_all_of_it() {
        let reading = Reading {
            column: Some("2".to_owned()),
            delimiter: Some('\t'),
            no_header: true,
            as_text: true,
            encoding: "latin1".parse().ok(),
            skip_bad_lines: true,
            lowercase: true,
            clean: true,
        };
        let mut recipe = Recipe::default();
        assert_eq!(Reading::from(&recipe), Reading::default());
        reading.record(&mut recipe);
        assert_eq!(Reading::from(&recipe), reading);
        assert_eq!(recipe.encoding.as_deref(), Some("windows-1252"));
        // What was not chosen stays.
        let other = Reading {
            column: Some("3".to_owned()),
            ..Reading::default()
        };
        other.record(&mut recipe);
        let column = other.column;
        assert_eq!(Reading::from(&recipe), Reading { column, ..reading });
    }
}
