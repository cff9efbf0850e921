//! The vocabulary: which token stands for which character (`stoi` and `itos` in the lecture).

use std::collections::HashMap;

use crate::model::dims::Token;

/// The characters of a data set, numbered: tokens are `0..len()`.
///
/// Token 0 is the end mark `.`, which ends every word and fills the context before its first
/// character. The *letters*, all other characters, follow: a vocabulary made from words has them
/// in the order of their code points, as the lecture's `sorted(list(set(''.join(words))))`.
///
/// ```
/// use gpu_makemore::data::Vocabulary;
///
/// let vocab = Vocabulary::new(vec!['a', 'b', 'c'])?;
/// assert_eq!(vocab.len(), 4);
/// assert_eq!(vocab.encode('.'), Some(0));
/// assert_eq!(vocab.encode('b'), Some(2));
/// assert_eq!(vocab.decode(2), Some('b'));
/// assert_eq!(vocab.decode(4), None);
/// # Ok::<(), gpu_makemore::data::VocabularyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// All characters, the end mark first; the position is the token.
    chars: Vec<char>,
    tokens: HashMap<char, Token>,
}

/// Why a list of letters makes no vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// None, or more than a token of one byte can number.
    #[error(
        "a vocabulary of {0} letters; it must have between 1 and {max}",
        max = Vocabulary::MAX_LETTERS
    )]
    Count(usize),
    /// The end mark is among the letters.
    #[error("'.' among the letters of a vocabulary; it is the end mark and must not be listed")]
    EndMark,
    /// A letter appears twice.
    #[error("{0:?} (U+{code:04X}) appears twice in a vocabulary", code = *.0 as u32)]
    Duplicate(char),
    /// A control character, which no word can contain.
    #[error("control character U+{code:04X} in a vocabulary", code = *.0 as u32)]
    Control(char),
}

impl Vocabulary {
    /// The end mark, token [`END_TOKEN`](Self::END_TOKEN).
    pub const END: char = '.';
    /// Token of the end mark.
    pub const END_TOKEN: Token = 0;
    /// Most letters: with the end mark they make the 256 values of a byte.
    pub const MAX_LETTERS: usize = 255;

    /// Numbers the letters in the order given, from 1. The end mark is not listed.
    ///
    /// # Errors
    ///
    /// Unless there are between 1 and [`MAX_LETTERS`](Self::MAX_LETTERS) letters, all different,
    /// with no `.` and no control character (the tab apart) among them.
    pub fn new(letters: impl IntoIterator<Item = char>) -> Result<Self, VocabularyError> {
        let mut chars = vec![Self::END];
        chars.extend(letters);
        let count = chars.len() - 1;
        if !(1..=Self::MAX_LETTERS).contains(&count) {
            return Err(VocabularyError::Count(count));
        }
        let mut tokens = HashMap::with_capacity(chars.len());
        for (token, &c) in (0..=Token::MAX).zip(&chars) {
            // Vocabularies also come from checkpoints, and their characters reach the terminal:
            // no file must be able to put an escape sequence there.
            if !can_be_in_a_word(c) {
                return Err(VocabularyError::Control(c));
            }
            if tokens.insert(c, token).is_some() {
                return Err(match c {
                    Self::END => VocabularyError::EndMark,
                    _ => VocabularyError::Duplicate(c),
                });
            }
        }
        Ok(Self { chars, tokens })
    }

    /// Number of tokens, the end mark included: 27 for the names.
    #[expect(
        clippy::len_without_is_empty,
        reason = "there is always an end mark and a letter"
    )]
    pub fn len(&self) -> usize {
        self.chars.len()
    }

    /// Token of a character, if it has one.
    pub fn encode(&self, character: char) -> Option<Token> {
        self.tokens.get(&character).copied()
    }

    /// Character of a token, if there is one.
    pub fn decode(&self, token: Token) -> Option<char> {
        self.chars.get(usize::from(token)).copied()
    }

    /// All characters in the order of their tokens, the end mark first.
    pub fn chars(&self) -> impl ExactSizeIterator<Item = char> {
        self.chars.iter().copied()
    }

    /// The characters without the end mark, in the order of their tokens: what
    /// [`new`](Self::new) takes.
    pub fn letters(&self) -> &[char] {
        &self.chars[1..]
    }
}

/// Whether a character can be part of a word. Line breaks separate words, and other control
/// characters are the mark of a binary file.
pub(super) fn can_be_in_a_word(c: char) -> bool {
    !c.is_control() || c == '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_follow_the_order_given() -> Result<(), VocabularyError> {
        let vocab = Vocabulary::new("zañ -".chars())?;
        assert_eq!(vocab.len(), 6);
        assert_eq!(vocab.chars().collect::<String>(), ".zañ -");
        assert_eq!(vocab.letters(), ['z', 'a', 'ñ', ' ', '-']);
        for (token, c) in (0..).zip(vocab.chars()) {
            assert_eq!(vocab.encode(c), Some(token));
            assert_eq!(vocab.decode(token), Some(c));
        }
        assert_eq!(vocab.encode('b'), None);
        assert_eq!(vocab.decode(6), None);
        assert_eq!(Vocabulary::new(vocab.letters().iter().copied())?, vocab);
        assert_ne!(
            Vocabulary::new("za".chars())?,
            Vocabulary::new("az".chars())?
        );
        Ok(())
    }

    #[test]
    fn the_largest_vocabulary_uses_every_byte() -> Result<(), VocabularyError> {
        let letters: Vec<char> = ('\u{4e00}'..).take(255).collect();
        let vocab = Vocabulary::new(letters.iter().copied())?;
        assert_eq!(vocab.len(), 256);
        assert_eq!(vocab.decode(255), letters.last().copied());
        Ok(())
    }

    #[test]
    fn lists_that_make_no_vocabulary() {
        let error = |letters: &str| Vocabulary::new(letters.chars()).err();
        assert_eq!(error(""), Some(VocabularyError::Count(0)));
        let many: String = ('\u{4e00}'..).take(256).collect();
        assert_eq!(error(&many), Some(VocabularyError::Count(256)));
        assert_eq!(error("a.b"), Some(VocabularyError::EndMark));
        assert_eq!(error("abcb"), Some(VocabularyError::Duplicate('b')));
        assert_eq!(error("a\u{1b}"), Some(VocabularyError::Control('\u{1b}')));
        assert_eq!(error("a\n"), Some(VocabularyError::Control('\n')));
        assert_eq!(error("a\t"), None);
        assert_eq!(
            VocabularyError::Duplicate('ñ').to_string(),
            "'ñ' (U+00F1) appears twice in a vocabulary"
        );
    }
}
