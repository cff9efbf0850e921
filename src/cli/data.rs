//! Data sets that the user names: built into the program, or files.

use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use super::error::Failure;
use crate::data::{self, DataError, Dataset, Format, MAX_FILE_BYTES, Reading, Vocabulary};

/// Where words come from.
///
/// As text, `names` and `municipalities` are the data sets in the program, `-` is standard input and
/// anything else is a path; a file that has one of these names is `./names`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// [`data::Source::Names`].
    Names,
    /// [`data::Source::Municipalities`].
    Municipalities,
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Names => f.pad(data::Source::Names.name()),
            Source::Municipalities => f.pad(data::Source::Municipalities.name()),
            Source::Stdin => f.pad("-"),
            Source::File(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "names" => Source::Names,
            "municipalities" => Source::Municipalities,
            "-" => Source::Stdin,
            path => Source::File(path.into()),
        })
    }
}

/// What to load, and how; see [`data::Options`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the words come from.
    pub source: Source,
    /// How they are read.
    pub reading: Reading,
    /// Context length.
    pub block: usize,
}

/// Why a data set that the user named could not be loaded. Every message is one line that says what was
/// wrong, where, and what to do about it.
///
/// `origin` is the data set as the command line names it: a path, `names` or `municipalities`.
#[derive(Debug, thiserror::Error)]
pub enum DataFileError {
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
    /// Nothing is piped in, and no one can be expected to type the words.
    #[error(
        "-: standard input is a terminal; pipe the words in, as in `cat words.txt | …`, or name a file"
    )]
    Terminal,
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
    /// Something in the data set.
    #[error(
        "{origin}{}{error}{}",
        if error.has_line() { ", " } else { ": " },
        advice(.error)
    )]
    Content {
        /// The data set.
        origin: String,
        /// What is wrong with it.
        error: DataError,
    },
    /// An option, whatever the data set is.
    #[error(transparent)]
    Option(DataError),
}

impl Failure for DataFileError {}

/// The options that help.
fn advice(error: &DataError) -> String {
    match error {
        DataError::NothingLeft => "; leave out --clean".to_owned(),
        DataError::NoColumns { column } => format!("; leave out --column {column}"),
        DataError::ColumnRequired { .. } => {
            "; choose one with --column, by its name or its number".to_owned()
        }
        DataError::UnknownColumn { .. } | DataError::UnknownMember { .. } => {
            "; choose one of them with --column".to_owned()
        }
        DataError::Nameless { .. } => "; leave out --no-header, or give a number".to_owned(),
        DataError::LooksLikeTable { .. } => {
            "; choose a column with --column 1 (or its name), or take whole lines with --as-text"
                .to_owned()
        }
        DataError::NotUtf8 {
            guess: Some((encoding, _)),
            ..
        } => format!(
            "; if that is right, add --encoding {encoding}, or leave out such lines with --skip-bad-lines"
        ),
        DataError::NotUtf8 { .. } => {
            "; name its encoding with --encoding, or leave out such lines with --skip-bad-lines"
                .to_owned()
        }
        DataError::NotInEncoding { .. } => {
            "; choose another --encoding, or leave out such lines with --skip-bad-lines".to_owned()
        }
        DataError::OnlyForFiles { choice } => {
            format!("; leave out --{}", choice.replace('_', "-"))
        }
        DataError::UnknownCharacter { .. } => ", or try --lowercase or --clean".to_owned(),
        _ => String::new(),
    }
}

/// Loads a data set: [`data::load`].
///
/// # Errors
///
/// The file cannot be read, or is not what the options call for.
pub fn load(options: &Options) -> Result<Dataset, DataFileError> {
    load_by(options, data::load)
}

/// Loads a data set for a model that is already trained: [`data::load_with_vocabulary`].
///
/// # Errors
///
/// As [`load`]; or the vocabulary lacks a character.
pub fn load_with_vocabulary(
    options: &Options,
    vocab: &Vocabulary,
) -> Result<Dataset, DataFileError> {
    load_by(options, |options| {
        data::load_with_vocabulary(options, vocab)
    })
}

fn load_by(
    options: &Options,
    load: impl Fn(&data::Options<'_>) -> Result<Dataset, DataError>,
) -> Result<Dataset, DataFileError> {
    let origin = options.source.to_string();
    let bytes;
    let source = match &options.source {
        Source::Names => data::Source::Names,
        Source::Municipalities => data::Source::Municipalities,
        Source::Stdin => data::Source::Bytes {
            name: &origin,
            bytes: stdin()?,
            format: Format::Detect,
        },
        Source::File(path) => {
            bytes = read(path)?;
            data::Source::Bytes {
                name: &origin,
                bytes: &bytes,
                format: Format::of_name(&path.to_string_lossy()),
            }
        }
    };
    load(&data::Options {
        source,
        reading: options.reading.clone(),
        block: options.block,
    })
    .map_err(|error| match error {
        DataError::Block(_) => DataFileError::Option(error),
        error => DataFileError::Content { origin, error },
    })
}

/// What is on standard input. It can be read once, and a sweep asks for it again.
fn stdin() -> Result<&'static [u8], DataFileError> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(bytes) = BYTES.get() {
        return Ok(bytes);
    }
    if io::stdin().is_terminal() {
        return Err(DataFileError::Terminal);
    }
    let mut bytes = Vec::new();
    let read = io::stdin()
        .lock()
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes);
    read.map_err(|reason| DataFileError::Unreadable {
        origin: Source::Stdin.to_string(),
        reason,
    })?;
    Ok(BYTES.get_or_init(|| bytes))
}

/// The file's bytes; of a file that is too large, one byte more than the limit, which the core refuses.
fn read(path: &Path) -> Result<Vec<u8>, DataFileError> {
    let origin = || path.display().to_string();
    let failed = |reason: io::Error| match reason.kind() {
        io::ErrorKind::NotFound => DataFileError::Missing { origin: origin() },
        _ => DataFileError::Unreadable {
            origin: origin(),
            reason,
        },
    };
    // Asked first because systems disagree on what opening a directory gives.
    if fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(DataFileError::Directory { origin: origin() });
    }
    let mut bytes = Vec::new();
    // The length comes from reading, not from the metadata: pipes and devices have none there.
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten short words, the fewest with the round split 8/1/1.
    const TEN: &str = "ab\nba\na\nb\naa\nbb\naab\nabb\nbab\nbaa\n";

    fn options(source: Source) -> Options {
        Options {
            source,
            reading: Reading::default(),
            block: 3,
        }
    }

    /// The message of the error that loading a file gives, less the path's directory.
    #[track_caller]
    fn message(name: &str, content: impl AsRef<[u8]>, change: impl Fn(&mut Options)) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        let mut options = options(Source::File(path));
        change(&mut options);
        let message = load(&options).unwrap_err().to_string();
        message.replace(&directory.path().join("").display().to_string(), "")
    }

    #[test]
    fn sources_as_text() {
        for text in [
            "names",
            "municipalities",
            "./names",
            "a b/words.CSV",
            "Names",
            "",
        ] {
            let Ok(source) = text.parse::<Source>();
            assert_eq!(source.to_string(), text);
        }
        assert_eq!("names".parse(), Ok(Source::Names));
        assert_eq!("municipalities".parse(), Ok(Source::Municipalities));
        assert_eq!("./names".parse(), Ok(Source::File("./names".into())));
    }

    #[test]
    fn a_file_is_csv_by_its_name_or_by_a_column() {
        let directory = tempfile::tempdir().unwrap();
        let loaded = |name: &str, column: Option<&str>| {
            let path = directory.path().join(name);
            fs::write(&path, format!("word\n{TEN}")).unwrap();
            let mut options = options(Source::File(path));
            options.reading.column = column.map(str::to_owned);
            load(&options).unwrap()
        };
        let plain = loaded("words.txt", None);
        assert_eq!(plain.words.of(data::Split::All), 11);
        assert!(plain.label.ends_with("words.txt"));
        for csv in [
            loaded("words.CSV", None),
            loaded("words.csv", Some("word")),
            loaded("words.txt", Some("word")),
        ] {
            assert_eq!(csv.words.of(data::Split::All), 10);
        }
        let label = loaded("words.csv", Some("word")).label;
        assert!(label.ends_with("words.csv, column word"), "{label}");
        for (source, built_in) in [
            (Source::Names, data::Source::Names),
            (Source::Municipalities, data::Source::Municipalities),
        ] {
            let expected = data::load(&data::Options {
                source: built_in,
                ..data::Options::default()
            });
            assert_eq!(load(&options(source)).unwrap(), expected.unwrap());
        }
    }

    #[test]
    fn messages_name_the_file_what_is_wrong_and_what_to_do() {
        let other = |name: &'static str| {
            move |options: &mut Options| {
                let Source::File(path) = &options.source else {
                    panic!("a file")
                };
                options.source = Source::File(path.with_file_name(name));
            }
        };
        let column = |name: &'static str| {
            move |options: &mut Options| options.reading.column = Some(name.to_owned())
        };
        let clean = |options: &mut Options| options.reading.clean = true;
        let plain = |_: &mut Options| {};
        assert_eq!(
            message("words.txt", TEN, other("no.txt")),
            "no.txt: no such file; give the path of a text file, or one of the built-in data sets \
             `names` and `municipalities`"
        );
        assert_eq!(
            message("words.txt", b"ab\r\nc\xe9d\r\n", plain),
            "words.txt, line 2: byte 0xE9 (byte 5 of the file) is not UTF-8; in windows-1252, the line reads \
             \"céd\"; if that is right, add --encoding windows-1252, or leave out such lines with \
             --skip-bad-lines"
        );
        assert_eq!(
            message("words.txt", "", plain),
            "words.txt: is empty; put one word on each line"
        );
        assert_eq!(
            message("words.txt", "()\n'\n/x\n", clean),
            "words.txt: cleaning leaves nothing of any word (it keeps what can be written in ASCII); \
             leave out --clean"
        );
        assert_eq!(
            message("towns.csv", "id,town\n1,a\n", plain),
            "towns.csv: has several columns: \"id\", \"town\"; choose one with --column, by its name or its \
             number"
        );
        assert_eq!(
            message("towns.csv", "id,town\n1,a\n", column("city")),
            "towns.csv: has no column \"city\"; its first line has these: \"id\", \"town\"; choose one of them \
             with --column"
        );
        let many: String = ('\u{f0000}'..)
            .take(65_535)
            .flat_map(|c| [c, '\n'])
            .collect();
        assert_eq!(
            message("words.txt", many, plain),
            "words.txt: 65535 distinct characters, but at most 65534 fit; use a part of the data"
        );
        assert_eq!(
            message("words.txt", TEN, |options| options.block = 17),
            "--block-size is 17, but must be between 1 and 16"
        );
        let mut names = options(Source::Names);
        names.reading.column = Some("name".to_owned());
        assert_eq!(
            load(&names).unwrap_err().to_string(),
            "names: has no columns, only lines; leave out --column name"
        );
        let vocab = Vocabulary::new(['a']).unwrap();
        let unknown = load_with_vocabulary(&options(Source::Names), &vocab).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "names, line 1: 'e' (U+0065) in the word \"emma\" is not in the vocabulary of the trained \
             model; use data with the characters it was trained on, or try --lowercase or --clean"
        );
    }

    #[test]
    fn what_is_no_file_that_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let message = load(&options(Source::File(directory.path().into())));
        let message = message.unwrap_err().to_string();
        assert!(
            message.ends_with(": is a directory; give the path of a text file inside it"),
            "{message}"
        );
        let Ok(nameless) = "".parse();
        let error = load(&options(nameless));
        assert!(matches!(error, Err(DataFileError::Missing { .. })));
        // No system accepts this path, whoever runs the test.
        let error = load(&options(Source::File("words\0.txt".into())));
        assert!(matches!(error, Err(DataFileError::Unreadable { .. })));
    }
}
