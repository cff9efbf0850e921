//! The data: from bytes to examples.
//!
//! [`load`] reads words, numbers their characters ([`Vocabulary`]), shuffles the words and slides a
//! context over each of them ([`Examples`]) for the three parts of the data set ([`Split`]). For the
//! names it gives, example for example, what the lecture's notebook gives.

mod cleaning;
mod error;
mod examples;
mod reader;
mod source;
mod split;
mod vocabulary;

use std::borrow::Cow;
use std::collections::BTreeSet;

pub use cleaning::clean;
pub use error::DataError;
pub use examples::Examples;
pub use source::{MAX_FILE_BYTES, Source};
pub use split::{ParseSplitError, Split};
pub use vocabulary::{Vocabulary, VocabularyError};

use sha2::{Digest, Sha256};

use crate::model::dims::{Dims, DimsError};
use crate::rng::PythonRandom;
use crate::text::hex;
use reader::Word;

/// Seed of the shuffle that precedes the split, the lecture's `random.seed(42)`. It is fixed: the
/// same words are held out from every training.
const SHUFFLE_SEED: u64 = 42;

/// What to load, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options<'a> {
    /// Where the words come from.
    pub source: Source<'a>,
    /// The CSV column to read; the first, if several have this name.
    pub column: Option<String>,
    /// Whether to [`clean`] the words. The municipalities are cleaned in any case.
    pub clean: bool,
    /// Context length, within [`Dims::BLOCK`].
    pub block: usize,
}

impl Default for Options<'_> {
    /// The lecture's: the names, with a context of 3.
    fn default() -> Self {
        Self {
            source: Source::Names,
            column: None,
            clean: false,
            block: Dims::LECTURE.block,
        }
    }
}

impl Options<'_> {
    /// Whether the words are cleaned.
    fn cleans(&self) -> bool {
        self.clean || self.source == Source::Municipalities
    }

    /// The source and, unless it is the only one there is to read, the column.
    fn label(&self) -> String {
        match &self.column {
            Some(column) => format!("{}, column {column}", self.source.name()),
            None => self.source.name().to_owned(),
        }
    }
}

/// How many words each part of a data set has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordCounts {
    /// Words to train on.
    pub train: usize,
    /// Words to validate on.
    pub val: usize,
    /// Words to test on.
    pub test: usize,
}

impl WordCounts {
    /// Words of one split.
    pub fn of(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Val => self.val,
            Split::Test => self.test,
            Split::All => self.train + self.val + self.test,
        }
    }
}

/// A data set that is ready to train on: three parts, none of them empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// What was loaded, for people to read: `names`, or `towns.csv, column name`.
    pub label: String,
    /// Whether the words were cleaned.
    pub cleaned: bool,
    /// The characters.
    pub vocab: Vocabulary,
    /// How many words there are.
    pub words: WordCounts,
    /// Examples to train on, at least 8.
    pub train: Examples,
    /// Examples to validate on.
    pub val: Examples,
    /// Examples to test on.
    pub test: Examples,
}

impl Dataset {
    /// The examples of one split; [`Split::All`] puts the three together.
    pub fn split(&self, split: Split) -> Cow<'_, Examples> {
        match split {
            Split::Train => Cow::Borrowed(&self.train),
            Split::Val => Cow::Borrowed(&self.val),
            Split::Test => Cow::Borrowed(&self.test),
            Split::All => {
                let parts = [&self.train, &self.val, &self.test];
                Cow::Owned(Examples::concat(self.train.block(), &parts))
            }
        }
    }

    /// A checksum of the vocabulary and of all words in their order, as 64 hexadecimal digits. It does
    /// not depend on the context length.
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.vocab.chars().collect::<String>());
        for part in [&self.train, &self.val, &self.test] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.y());
        }
        hex(&digest.finalize())
    }

    /// Number of examples over the three splits.
    pub fn total(&self) -> usize {
        self.train.len() + self.val.len() + self.test.len()
    }
}

/// Loads a data set; its vocabulary is made of the characters of its words.
///
/// ```
/// use gpu_makemore::data::{Options, load};
///
/// let names = load(&Options::default())?;
/// assert_eq!(names.vocab.len(), 27);
/// assert_eq!(names.train.len(), 182_625);
/// # Ok::<(), gpu_makemore::data::DataError>(())
/// ```
///
/// # Errors
///
/// Whatever [`DataError`] lists, except for an unknown character.
pub fn load(options: &Options<'_>) -> Result<Dataset, DataError> {
    let words = words(options)?;
    let letters: BTreeSet<char> = words.iter().flat_map(|word| word.text.chars()).collect();
    let count = letters.len();
    // With the checks that `words` has made, the count is all that can be wrong.
    let vocab = Vocabulary::new(letters).map_err(|_| DataError::TooManyCharacters { count })?;
    assemble(options, &words, vocab)
}

/// Loads a data set for a model that is already trained: words are encoded with its vocabulary,
/// and the vocabulary of the result is a copy of it.
///
/// # Errors
///
/// Whatever [`DataError`] lists; a character that the vocabulary lacks is one of them.
pub fn load_with_vocabulary(
    options: &Options<'_>,
    vocab: &Vocabulary,
) -> Result<Dataset, DataError> {
    assemble(options, &words(options)?, vocab.clone())
}

/// The words, cleaned if the options say so; at least one, and none empty or with an end mark.
fn words(options: &Options<'_>) -> Result<Vec<Word>, DataError> {
    let mut words = reader::read(&options.source, options.column.as_deref())?;
    if !Dims::BLOCK.contains(&options.block) {
        return Err(DataError::Block(DimsError {
            name: "--block-size",
            value: options.block,
            min: *Dims::BLOCK.start(),
            max: *Dims::BLOCK.end(),
        }));
    }
    if options.cleans() {
        for word in &mut words {
            word.text = clean(&word.text);
        }
        words.retain(|word| !word.text.is_empty());
        if words.is_empty() {
            return Err(DataError::NothingLeft);
        }
    }
    match words
        .iter()
        .find(|word| word.text.contains(Vocabulary::END))
    {
        Some(word) => Err(DataError::EndMark {
            line: word.line,
            word: word.text.clone(),
        }),
        None => Ok(words),
    }
}

/// Encodes, shuffles and splits the words, and makes examples of them.
fn assemble(
    options: &Options<'_>,
    words: &[Word],
    vocab: Vocabulary,
) -> Result<Dataset, DataError> {
    if words.len() < split::MIN_WORDS {
        return Err(DataError::TooFewWords {
            count: words.len(),
            minimum: split::MIN_WORDS,
        });
    }
    // Before the shuffle, for errors to come in the order of the file.
    let mut tokens = words
        .iter()
        .map(|word| encode(word, &vocab))
        .collect::<Result<Vec<_>, _>>()?;
    PythonRandom::seed(SHUFFLE_SEED).shuffle(&mut tokens);

    let (n1, n2) = split::boundaries(tokens.len());
    let (train, val, test) = (&tokens[..n1], &tokens[n1..n2], &tokens[n2..]);
    let examples =
        |words: &[Vec<u8>]| Examples::build(words.iter().map(Vec::as_slice), options.block);
    Ok(Dataset {
        label: options.label(),
        cleaned: options.cleans(),
        vocab,
        words: WordCounts {
            train: train.len(),
            val: val.len(),
            test: test.len(),
        },
        train: examples(train),
        val: examples(val),
        test: examples(test),
    })
}

/// The tokens of a word, without the end mark.
fn encode(word: &Word, vocab: &Vocabulary) -> Result<Vec<u8>, DataError> {
    word.text
        .chars()
        .map(|character| {
            vocab
                .encode(character)
                .ok_or_else(|| DataError::UnknownCharacter {
                    line: word.line,
                    character,
                    word: word.text.clone(),
                })
        })
        .collect()
}

#[cfg(test)]
mod tests;
