//! The three parts of a data set.

use std::fmt;
use std::str::FromStr;

/// A part of a data set, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// 80 % of the words: what the model is trained on.
    Train,
    /// 10 %: what choices are made by.
    Val,
    /// 10 %: what the result is reported on.
    Test,
    /// The three together, in this order.
    All,
}

/// A text that names no [`Split`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no split {0:?}; the splits are train, val, test and all")]
pub struct ParseSplitError(pub String);

impl Split {
    /// All four.
    pub const ALL: [Split; 4] = [Split::Train, Split::Val, Split::Test, Split::All];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
            Split::All => "all",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Split {
    type Err = ParseSplitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|split| split.name() == text)
            .ok_or_else(|| ParseSplitError(text.to_owned()))
    }
}

/// The fewest words that leave none of the three parts empty: 4, 1 and 1.
pub(super) const MIN_WORDS: usize = 6;

/// Where the validation words and the test words start: the lecture's `n1 = int(0.8*len(words))`
/// and `n2 = int(0.9*len(words))`, in the same 64-bit floating point.
pub(super) fn boundaries(words: usize) -> (usize, usize) {
    let part = |fraction: f64| (fraction * words as f64) as usize;
    (part(0.8), part(0.9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_splits() {
        for split in Split::ALL {
            assert_eq!(split.to_string().parse(), Ok(split));
        }
        assert_eq!(
            "Dev".parse::<Split>().map_err(|e| e.to_string()),
            Err("no split \"Dev\"; the splits are train, val, test and all".to_owned())
        );
    }

    #[test]
    fn boundaries_are_the_lectures() {
        assert_eq!(boundaries(10), (8, 9));
        assert_eq!(boundaries(32_033), (25_626, 28_829));
    }

    #[test]
    fn six_words_are_the_fewest() {
        let complete = |words| {
            let (n1, n2) = boundaries(words);
            0 < n1 && n1 < n2 && n2 < words
        };
        assert!(!(0..MIN_WORDS).any(complete));
        assert!((MIN_WORDS..10_000).all(complete));
    }
}
