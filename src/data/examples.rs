//! Examples: contexts and the tokens that follow them.

use super::Vocabulary;
use crate::model::dims::Token;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examples {
    block: usize,
    x: Vec<Token>,
    y: Vec<Token>,
}

impl Examples {
    /// Slides a context of `block` tokens over each word. Words are tokens without the end mark.
    pub(crate) fn build<W>(words: impl IntoIterator<Item = W>, block: usize) -> Self
    where
        W: IntoIterator<Item = Token>,
    {
        let mut examples = Self {
            block,
            x: Vec::new(),
            y: Vec::new(),
        };
        // A word as its contexts see it: behind end marks, and with one behind it.
        let mut padded = vec![Vocabulary::END_TOKEN; block];
        for word in words {
            padded.truncate(block);
            padded.extend(word);
            padded.push(Vocabulary::END_TOKEN);
            examples.y.extend_from_slice(&padded[block..]);
            let contexts = padded.windows(block).take(padded.len() - block);
            match block {
                // The lecture's: copies of a known length are the faster ones.
                3 => contexts.for_each(|c| examples.x.extend_from_slice(&[c[0], c[1], c[2]])),
                _ => contexts.for_each(|c| examples.x.extend_from_slice(c)),
            }
        }
        examples
    }

    /// The examples of several sets of the same block, one after the other.
    pub(super) fn concat(block: usize, sets: &[&Self]) -> Self {
        Self {
            block,
            x: sets.iter().flat_map(|set| &set.x).copied().collect(),
            y: sets.iter().flat_map(|set| &set.y).copied().collect(),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// Context length.
    pub fn block(&self) -> usize {
        self.block
    }

    /// All contexts, `(len, block)` row-major: `Xtr` of the lecture.
    pub fn x(&self) -> &[Token] {
        &self.x
    }

    /// The token after each context, `(len)`: `Ytr` of the lecture.
    pub fn y(&self) -> &[Token] {
        &self.y
    }

    /// Context of example `i`, `(block)`.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`len`](Self::len), as indexing a slice does.
    pub fn context(&self, i: usize) -> &[Token] {
        &self.x[i * self.block..(i + 1) * self.block]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(examples: &Examples) -> Vec<(&[Token], Token)> {
        (0..examples.len())
            .map(|i| (examples.context(i), examples.y()[i]))
            .collect()
    }

    #[test]
    fn each_word_starts_with_an_empty_context() {
        let examples = Examples::build([vec![5, 13, 13, 1], vec![2]], 3);
        assert_eq!(
            rows(&examples),
            [
                (&[0, 0, 0][..], 5),
                (&[0, 0, 5], 13),
                (&[0, 5, 13], 13),
                (&[5, 13, 13], 1),
                (&[13, 13, 1], 0),
                (&[0, 0, 0], 2),
                (&[0, 0, 2], 0),
            ]
        );
        assert_eq!(examples.x().len(), examples.len() * 3);
        assert_eq!(examples.block(), 3);
        assert!(!examples.is_empty());
    }

    #[test]
    fn other_blocks() {
        let one = Examples::build([[5, 13]], 1);
        assert_eq!(rows(&one), [(&[0][..], 5), (&[5], 13), (&[13], 0)]);
        let five = Examples::build([[5, 13]], 5);
        assert_eq!(five.context(2), [0, 0, 0, 5, 13]);
        assert!(Examples::build([[]; 0], 3).is_empty());
    }

    #[test]
    fn concatenation_is_the_same_as_building_from_all_words() {
        let (a, b) = (vec![1, 2, 3], vec![4]);
        let parts = [&a, &b].map(|word| Examples::build([word.clone()], 2));
        assert_eq!(
            Examples::concat(2, &[&parts[0], &parts[1]]),
            Examples::build([a, b], 2)
        );
    }
}
