//! The vocabulary: which token stands for which character (`stoi` and `itos` in the lecture).

use std::collections::{HashMap, HashSet};

use crate::model::dims::{Dims, Token};

/// The characters of a data set, numbered: tokens are `0..len()`.
///
/// Token 0 is the end mark, which ends every word and fills the context before its first character.
/// The *letters*, which words are made of, follow: a vocabulary made from words has them in the order
/// of their code points, as the lecture's `sorted(list(set(''.join(words))))`. No word has the end mark
/// in it: it is shown as a character that is no letter, `.` if possible, and no character encodes it.
///
/// ```
/// use gpu_makemore::data::Vocabulary;
///
/// let vocab = Vocabulary::new(vec!['a', 'b', 'c'])?;
/// assert_eq!(vocab.len(), 4);
/// assert_eq!(vocab.encode('b'), Some(2));
/// assert_eq!(vocab.decode(2), Some('b'));
/// assert_eq!(vocab.decode(4), None);
/// assert_eq!((vocab.end(), vocab.decode(0)), ('.', Some('.')));
/// assert_eq!(vocab.encode('.'), None);
///
/// let vocab = Vocabulary::new(vec!['.', 'J', 'R'])?;
/// assert_eq!((vocab.end(), vocab.encode('.')), ('␃', Some(1)));
/// # Ok::<(), gpu_makemore::data::VocabularyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// All characters, the end mark first; the position is the token.
    chars: Vec<char>,
    /// The token of each letter.
    tokens: HashMap<char, Token>,
}

/// Why a list of letters makes no vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// None, or more than a [`Token`] can number.
    #[error(
        "a vocabulary of {0} letters; it must have between 1 and {max}",
        max = Vocabulary::MAX_LETTERS
    )]
    Count(usize),
    /// A letter appears twice, or is the end mark too.
    #[error("{0:?} (U+{code:04X}) appears twice in a vocabulary", code = *.0 as u32)]
    Duplicate(char),
    /// A control character, which no word can contain.
    #[error("control character U+{code:04X} in a vocabulary", code = *.0 as u32)]
    Control(char),
}

impl Vocabulary {
    /// Token of the end mark.
    pub const END_TOKEN: Token = 0;
    /// Most letters: with the end mark they make the largest vocabulary.
    pub const MAX_LETTERS: usize = *Dims::VOCAB.end() - 1;
    /// What shows the end mark: the first of these that is no letter. If all are, it is one of the
    /// characters that Unicode leaves to private use.
    const ENDS: [char; 4] = ['.', '␃', '∎', '⏎'];

    /// Numbers the letters in the order given, from 1. The end mark is not listed.
    ///
    /// # Errors
    ///
    /// Unless there are between 1 and [`MAX_LETTERS`](Self::MAX_LETTERS) letters, all different,
    /// with no control character (the tab apart) among them.
    pub fn new(letters: impl IntoIterator<Item = char>) -> Result<Self, VocabularyError> {
        let letters: Vec<char> = letters.into_iter().collect();
        let taken: HashSet<char> = letters.iter().copied().collect();
        let private = ('\u{e000}'..='\u{f8ff}').chain('\u{f0000}'..='\u{ffffd}');
        let end = Self::ENDS
            .into_iter()
            .chain(private)
            .find(|c| !taken.contains(c));
        match end {
            Some(end) => Self::from_chars(std::iter::once(end).chain(letters)),
            None => Err(VocabularyError::Count(letters.len())), // more letters than may be
        }
    }

    /// A vocabulary as [`chars`](Self::chars) gives it: what shows the end mark, then the letters.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); or the end mark is a letter, too.
    pub fn from_chars(chars: impl IntoIterator<Item = char>) -> Result<Self, VocabularyError> {
        let chars: Vec<char> = chars.into_iter().collect();
        let count = chars.len().saturating_sub(1);
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
                return Err(VocabularyError::Duplicate(c));
            }
        }
        tokens.remove(&chars[0]);
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

    /// What shows the end mark. It is no letter.
    pub fn end(&self) -> char {
        self.chars[0]
    }

    /// Token of a letter, if there is this letter.
    pub fn encode(&self, character: char) -> Option<Token> {
        self.tokens.get(&character).copied()
    }

    /// Character of a token, if there is one.
    pub fn decode(&self, token: Token) -> Option<char> {
        self.chars.get(usize::from(token)).copied()
    }

    /// All characters in the order of their tokens, the end mark first: what
    /// [`from_chars`](Self::from_chars) takes.
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
            assert_eq!(vocab.encode(c), Some(token).filter(|&token| token > 0));
            assert_eq!(vocab.decode(token), Some(c));
        }
        assert_eq!(Vocabulary::from_chars(vocab.chars())?, vocab);
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
    fn the_largest_vocabulary_has_65535_tokens() -> Result<(), VocabularyError> {
        let letters: Vec<char> = ('\u{4e00}'..).take(65_534).collect();
        let vocab = Vocabulary::new(letters.iter().copied())?;
        assert_eq!(vocab.len(), *Dims::VOCAB.end());
        let last = letters.last().copied();
        assert_eq!(vocab.decode(65_534), last);
        assert_eq!(last.and_then(|c| vocab.encode(c)), Some(65_534));
        Ok(())
    }

    /// Until not even one of the characters for private use is left, which is not before there are more
    /// letters than may be.
    #[test]
    fn the_end_mark_is_shown_as_no_letter_is() -> Result<(), VocabularyError> {
        for (letters, end) in [
            ("ab", '.'),
            ("a␃", '.'),
            ("J.R", '␃'),
            (".␃", '∎'),
            (".∎a", '␃'),
            (".∎␃⏎", '\u{e000}'),
            (".∎␃⏎\u{e000}\u{e001}", '\u{e002}'),
        ] {
            let vocab = Vocabulary::new(letters.chars())?;
            assert_eq!(vocab.end(), end, "{letters}");
            assert_eq!(vocab.encode(end), None);
            assert_eq!(vocab.decode(Vocabulary::END_TOKEN), Some(end));
            let token = letters
                .chars()
                .position(|c| c == '.')
                .map(|at| at as Token + 1);
            assert_eq!(vocab.encode('.'), token);
            assert_eq!(Vocabulary::from_chars(vocab.chars())?, vocab);
        }
        // A model may have been trained with another one.
        let vocab = Vocabulary::from_chars("$.a".chars())?;
        assert_eq!(
            (vocab.end(), vocab.encode('$'), vocab.encode('.')),
            ('$', None, Some(1))
        );
        let private = ('\u{e000}'..='\u{f8ff}').chain('\u{f0000}'..='\u{ffffd}');
        let most = Vocabulary::ENDS.into_iter().chain(private);
        let vocab = Vocabulary::new(most.clone().take(Vocabulary::MAX_LETTERS))?;
        assert!(!vocab.letters().contains(&vocab.end()));
        let count = most.clone().count();
        assert_eq!(Vocabulary::new(most), Err(VocabularyError::Count(count)));
        Ok(())
    }

    #[test]
    fn lists_that_make_no_vocabulary() {
        let error = |letters: &str| Vocabulary::new(letters.chars()).err();
        assert_eq!(error(""), Some(VocabularyError::Count(0)));
        let many: String = ('\u{4e00}'..).take(65_535).collect();
        assert_eq!(error(&many), Some(VocabularyError::Count(65_535)));
        let chars = |chars: &str| Vocabulary::from_chars(chars.chars()).err();
        assert_eq!(chars(""), Some(VocabularyError::Count(0)));
        assert_eq!(chars("."), Some(VocabularyError::Count(0)));
        assert_eq!(chars(".a.b"), Some(VocabularyError::Duplicate('.')));
        assert_eq!(chars("\u{1b}a"), Some(VocabularyError::Control('\u{1b}')));
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
