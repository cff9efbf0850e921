//! Examples: contexts and the tokens that follow them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::Vocabulary;
use crate::model::dims::Token;

const END: Token = Vocabulary::END_TOKEN;

/// Training examples: for each, a context of `block` tokens and the token that follows it.
///
/// They are what the lecture's `build_dataset` makes. The word `emma` with a block of 3 gives
///
/// ```text
/// ... --> e
/// ..e --> m
/// .em --> m
/// emm --> a
/// mma --> .
/// ```
///
/// Only the right column is stored, one word after another: `emma.olivia.ava.` The context of a target is the
/// tokens before it, back to the end of the previous word. So the examples of a large list take about as much
/// memory as its file, whatever the context length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examples {
    block: usize,
    targets: Targets,
}

/// The targets, preceded by `block` end marks, so that there are `block` tokens before the first target too.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Targets {
    /// For vocabularies of up to 256 tokens.
    Narrow(Vec<u8>),
    /// For larger ones.
    Wide(Vec<Token>),
}

/// Examples written out, as a [`Backend`](crate::backend::Backend) takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The contexts, `(examples, block)` row-major: `Xtr` of the lecture.
    pub x: Vec<Token>,
    /// The token after each context, `(examples)`: `Ytr` of the lecture.
    pub y: Vec<Token>,
}

impl<'a> From<&'a Examples> for Cow<'a, Examples> {
    fn from(examples: &'a Examples) -> Self {
        Cow::Borrowed(examples)
    }
}

impl From<Examples> for Cow<'_, Examples> {
    fn from(examples: Examples) -> Self {
        Cow::Owned(examples)
    }
}

impl Examples {
    /// The largest number of examples that [`parts`](Self::parts) writes out at once.
    const PART: usize = 1 << 20;

    /// Slides a context of `block` tokens over each word. Words are tokens below `vocab`, without the end
    /// mark.
    pub(crate) fn build<W>(words: impl IntoIterator<Item = W>, block: usize, vocab: usize) -> Self
    where
        W: IntoIterator<Item = Token>,
    {
        let words = words.into_iter();
        Self::of(
            words.flat_map(|word| word.into_iter().chain([END])),
            block,
            vocab,
        )
    }

    /// The examples with these targets: tokens below `vocab`, an end mark behind each word.
    fn of(targets: impl Iterator<Item = Token>, block: usize, vocab: usize) -> Self {
        // `for_each` compiles to two nested loops, over words and characters; `collect` would call `next` for
        // every token.
        let targets = if vocab <= 1 << u8::BITS {
            let mut narrow = vec![END as u8; block];
            targets.for_each(|token| narrow.push(token as u8)); // below `vocab`
            narrow.shrink_to_fit();
            Targets::Narrow(narrow)
        } else {
            let mut wide = vec![END; block];
            targets.for_each(|token| wide.push(token));
            wide.shrink_to_fit();
            Targets::Wide(wide)
        };
        Self { block, targets }
    }

    /// The examples of several sets of the same block and vocabulary, one after the other.
    pub(super) fn concat(sets: &[&Self], block: usize, vocab: usize) -> Self {
        Self::of(sets.iter().flat_map(|set| set.y()), block, vocab)
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        let padded = match &self.targets {
            Targets::Narrow(targets) => targets.len(),
            Targets::Wide(targets) => targets.len(),
        };
        padded - self.block
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Context length.
    pub fn block(&self) -> usize {
        self.block
    }

    /// The token after each context: `Ytr` of the lecture. As every word ends with an end mark, these are the
    /// words.
    pub fn y(&self) -> impl Iterator<Item = Token> {
        // One of the two is empty.
        let (narrow, wide): (&[u8], &[Token]) = match &self.targets {
            Targets::Narrow(targets) => (&targets[self.block..], &[]),
            Targets::Wide(targets) => (&[], &targets[self.block..]),
        };
        let narrow = narrow.iter().map(|&token| Token::from(token));
        narrow.chain(wide.iter().copied())
    }

    /// Feeds the targets to `digest`: one byte each, or two for large vocabularies, the lower one first.
    pub(super) fn update(&self, digest: &mut Sha256) {
        match &self.targets {
            Targets::Narrow(targets) => digest.update(&targets[self.block..]),
            Targets::Wide(targets) => {
                for &token in &targets[self.block..] {
                    digest.update(token.to_le_bytes());
                }
            }
        }
    }

    /// Appends example `i` to `batch`.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`len`](Self::len), as indexing a slice does.
    pub fn write(&self, i: usize, batch: &mut Batch) {
        match &self.targets {
            Targets::Narrow(targets) => write(&targets[i..=i + self.block], batch),
            Targets::Wide(targets) => write(&targets[i..=i + self.block], batch),
        }
    }

    /// The words that they are made of.
    pub fn words(&self) -> HashSet<Vec<Token>> {
        let mut words = HashSet::new();
        let mut word = Vec::new();
        for token in self.y() {
            match token {
                END => _ = words.insert(std::mem::take(&mut word)),
                token => word.push(token),
            }
        }
        words
    }

    /// Writes out a range of the examples.
    ///
    /// # Panics
    ///
    /// If the range ends after the last example, as slicing does.
    pub fn range(&self, range: Range<usize>) -> Batch {
        let mut batch = Batch::with_capacity(range.len(), self.block);
        for i in range {
            self.write(i, &mut batch);
        }
        batch
    }

    /// Writes out the first `count` examples, part by part: all of them at once would take several times the
    /// memory of the list.
    ///
    /// # Panics
    ///
    /// If there are fewer than `count`, as slicing does.
    pub fn parts(&self, count: usize) -> impl Iterator<Item = Batch> {
        let first = (0..count).step_by(Self::PART);
        first.map(move |first| self.range(first..count.min(first + Self::PART)))
    }
}

/// Appends an example to `batch`: the last of `tokens` is its target, those before it are its context. Tokens of
/// an earlier word are replaced by end marks.
#[inline(always)]
fn write<T: Copy + Into<Token>>(tokens: &[T], batch: &mut Batch) {
    let (&target, before) = tokens.split_last().expect("a target");
    let first = batch.x.len();
    batch.x.resize(first + before.len(), END);
    // Where a word begins is unpredictable: a branch would be mispredicted and cost more than this mask.
    let mut in_word = Token::MAX;
    for (to, &token) in batch.x[first..].iter_mut().zip(before).rev() {
        let token = token.into();
        in_word &= Token::from(token == END).wrapping_sub(1);
        *to = token & in_word;
    }
    batch.y.push(target.into());
}

impl Batch {
    /// An empty batch with room for this many examples.
    pub fn with_capacity(examples: usize, block: usize) -> Self {
        Self {
            x: Vec::with_capacity(examples * block),
            y: Vec::with_capacity(examples),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(examples: &Examples) -> Vec<(Vec<Token>, Token)> {
        let Batch { x, y } = examples.range(0..examples.len());
        assert_eq!(x.len(), y.len() * examples.block());
        assert!(examples.y().eq(y.iter().copied()));
        x.chunks(examples.block())
            .map(<[_]>::to_vec)
            .zip(y)
            .collect()
    }

    #[test]
    fn each_word_starts_with_an_empty_context() {
        // A vocabulary whose tokens fit a byte, and one where the words are the same modulo 256.
        for (vocab, more) in [(27, 0), (256, 0), (257, 0), (1000, 256)] {
            let words = [vec![5, 13, 13, 1], vec![2]];
            let words = words.map(|word| word.into_iter().map(move |token| token + more));
            let examples = Examples::build(words, 3, vocab);
            let expected = [
                ([0, 0, 0], 5 + more),
                ([0, 0, 5 + more], 13 + more),
                ([0, 5 + more, 13 + more], 13 + more),
                ([5, 13, 13].map(|token| token + more), 1 + more),
                ([13, 13, 1].map(|token| token + more), 0),
                ([0, 0, 0], 2 + more),
                ([0, 0, 2 + more], 0),
            ];
            let expected = expected.map(|(x, y)| (x.to_vec(), y));
            assert_eq!(rows(&examples), expected, "{vocab}");
            assert_eq!(examples.block(), 3);
            assert!(!examples.is_empty());
        }
    }

    #[test]
    fn other_blocks() {
        let one = Examples::build([[5, 13]], 1, 27);
        assert_eq!(rows(&one), [(vec![0], 5), (vec![5], 13), (vec![13], 0)]);
        let five = Examples::build([[5, 13], [7, 0]], 5, 27);
        assert_eq!(five.range(2..3).x, [0, 0, 0, 5, 13]);
        assert!(Examples::build([[]; 0], 3, 27).is_empty());
    }

    #[test]
    fn parts_are_the_whole() {
        let words = (0..400_000_u32).map(|i| [1 + i % 7, 1 + i % 3].map(|token| token as Token));
        let examples = Examples::build(words, 2, 8);
        let mut all = Batch::default();
        let mut sizes = Vec::new();
        for part in examples.parts(examples.len() - 1) {
            sizes.push(part.y.len());
            all.x.extend(part.x);
            all.y.extend(part.y);
        }
        assert_eq!(sizes, [Examples::PART, 1_199_999 - Examples::PART]);
        assert_eq!(all, examples.range(0..1_199_999));
    }

    #[test]
    fn concatenation_is_the_same_as_building_from_all_words() {
        for vocab in [10, 300] {
            let (a, b) = (vec![1, 2, 3], vec![4]);
            let parts = [&a, &b].map(|word| Examples::build([word.clone()], 2, vocab));
            assert_eq!(
                Examples::concat(&[&parts[0], &parts[1]], 2, vocab),
                Examples::build([a, b], 2, vocab)
            );
        }
    }
}
