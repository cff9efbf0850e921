//! The data: from bytes to examples.
//!
//! [`load`] reads words, numbers their characters ([`Vocabulary`]), shuffles the words and slides a
//! context over each of them ([`Examples`]) for the three parts of the data set ([`Split`]). For the
//! names it gives, example for example, what the lecture's notebook gives.

mod cleaning;
mod decode;
mod encoding;
mod error;
mod examples;
mod json;
mod reader;
mod reading;
mod source;
mod split;
mod table;
mod unicode;
mod vocabulary;
mod words;

use std::borrow::Cow;

pub use cleaning::clean;
pub use encoding::{Encoding, UnknownEncoding};
pub use error::DataError;
pub use examples::{Batch, Examples};
pub use reading::{Column, Notes, Reading};
pub use source::{Format, MAX_FILE_BYTES, Source};
pub use split::{ParseSplitError, Split};
pub use table::is_delimiter;
pub use unicode::normalized;
pub use vocabulary::{Vocabulary, VocabularyError};

use sha2::{Digest, Sha256};

use crate::model::dims::{Dims, DimsError, Token};
use crate::rng::PythonRandom;
use crate::text::hex;
use words::Words;

/// Seed of the shuffle that precedes the split, the lecture's `random.seed(42)`. It is fixed: the
/// same words are held out from every training.
const SHUFFLE_SEED: u64 = 42;

/// What to load, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options<'a> {
    /// Where the words come from.
    pub source: Source<'a>,
    /// How they are read.
    pub reading: Reading,
    /// Context length, within [`Dims::BLOCK`].
    pub block: usize,
}

impl Default for Options<'_> {
    /// The lecture's: the names, with a context of 3.
    fn default() -> Self {
        Self {
            source: Source::Names,
            reading: Reading::default(),
            block: Dims::LECTURE.block,
        }
    }
}

impl Options<'_> {
    /// The source and, unless it is the only one there is to read, the column.
    fn label(&self) -> String {
        match &self.reading.column {
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
    /// What happened on the way from the file to the words.
    pub notes: Notes,
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
                let vocab = self.vocab.len();
                Cow::Owned(Examples::concat(&parts, self.train.block(), vocab))
            }
        }
    }

    /// A checksum of the vocabulary and of all words in their order, as 64 hexadecimal digits. It does
    /// not depend on the context length. Tokens are one byte long where they all fit one, else two, the
    /// lower one first.
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.vocab.chars().collect::<String>());
        for part in [&self.train, &self.val, &self.test] {
            digest.update((part.len() as u64).to_le_bytes());
            part.update(&mut digest);
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
    let (words, notes) = words(options)?;
    with_own_vocabulary(options, words, notes)
}

/// The names with a context of `block` characters: what [`load`] gives for [`Source::Names`]. A program that
/// calls only this has nothing in it that reads tables, encodings and scripts.
///
/// # Errors
///
/// `block` is out of range.
pub fn names(block: usize) -> Result<Dataset, DataError> {
    let options = Options {
        block,
        ..Options::default()
    };
    in_range(block)?;
    let (words, notes) = reader::names()?;
    with_own_vocabulary(&options, words, notes)
}

/// The data set of words whose characters are the vocabulary.
fn with_own_vocabulary(
    options: &Options<'_>,
    words: Words<'_>,
    notes: Notes,
) -> Result<Dataset, DataError> {
    // One bit for each character that there is.
    let mut seen = vec![0_u64; (char::MAX as usize + 1) / 64];
    for c in words.iter().flat_map(|(_, word)| word.chars()) {
        seen[c as usize / 64] |= 1 << (c as usize % 64);
    }
    let some_of_64 = (0..).zip(&seen).filter(|(_, bits)| **bits != 0);
    let letters: Vec<char> = some_of_64
        .flat_map(|(i, bits)| {
            (0..64)
                .filter(move |bit| bits >> bit & 1 != 0)
                .map(move |bit| 64 * i + bit)
        })
        .filter_map(char::from_u32) // all are characters
        .collect();
    let count = letters.len();
    // With the checks that `words` has made, the count is all that can be wrong.
    let vocab = Vocabulary::new(letters).map_err(|_| DataError::TooManyCharacters { count })?;
    assemble(options, words, notes, vocab)
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
    let (words, notes) = words(options)?;
    let token = Tokens::new(vocab);
    // Before the shuffle, for errors to come in the order of the file.
    for (line, word) in words.iter() {
        if let Some(character) = word.chars().find(|&c| token.of(c).is_none()) {
            return Err(DataError::UnknownCharacter {
                line,
                character,
                word: word.to_owned(),
            });
        }
    }
    assemble(options, words, notes, vocab.clone())
}

/// The words, and what there is to say of them; at least one, and none empty.
fn words<'a>(options: &Options<'a>) -> Result<(Words<'a>, Notes), DataError> {
    in_range(options.block)?;
    reader::read(&options.source, &options.reading)
}

fn in_range(block: usize) -> Result<(), DataError> {
    match Dims::BLOCK.contains(&block) {
        true => Ok(()),
        false => Err(DataError::Block(DimsError {
            name: "--block-size",
            value: block,
            min: *Dims::BLOCK.start(),
            max: *Dims::BLOCK.end(),
        })),
    }
}

/// Encodes, shuffles and splits the words, whose characters are all in the vocabulary, and makes examples
/// of them.
fn assemble(
    options: &Options<'_>,
    mut words: Words<'_>,
    notes: Notes,
    vocab: Vocabulary,
) -> Result<Dataset, DataError> {
    let count = words.len();
    if count < split::MIN_WORDS {
        return Err(DataError::TooFewWords {
            count,
            minimum: split::MIN_WORDS,
        });
    }
    let token = Tokens::new(&vocab);
    words.shuffle(|order| PythonRandom::seed(SHUFFLE_SEED).shuffle(order));
    let (n1, n2) = split::boundaries(count);
    let examples = |range| {
        let words = words.words(range);
        let tokens = words.map(|word| word.chars().filter_map(|c| token.of(c)));
        Examples::build(tokens, options.block, vocab.len())
    };
    let (train, val, test) = (examples(0..n1), examples(n1..n2), examples(n2..count));
    Ok(Dataset {
        label: options.label(),
        notes,
        vocab,
        words: WordCounts {
            train: n1,
            val: n2 - n1,
            test: count - n2,
        },
        train,
        val,
        test,
    })
}

/// The token of each character, by its code point: a look-up for each character of a large file.
struct Tokens(Vec<Token>);

impl Tokens {
    /// No character has it: there are as many tokens at most.
    const NONE: Token = Token::MAX;

    fn new(vocab: &Vocabulary) -> Self {
        let last = vocab.letters().iter().max().map_or(0, |&c| c as usize);
        let mut tokens = vec![Self::NONE; last + 1];
        for &c in vocab.letters() {
            tokens[c as usize] = vocab.encode(c).unwrap_or(Self::NONE);
        }
        Self(tokens)
    }

    fn of(&self, c: char) -> Option<Token> {
        let token = self.0.get(c as usize).copied();
        token.filter(|&token| token != Self::NONE)
    }
}

#[cfg(test)]
mod tests;
