//! Sizes: the one place that knows how large each dimension is and may be.

use std::fmt;
use std::ops::RangeInclusive;

/// A character as a number: its row of `C` and its column of the logits.
pub type Token = u16;

/// The five sizes that fix every shape in the program, under the names used throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Characters in the vocabulary, the end mark included: 27 for the names.
    pub vocab: usize,
    /// Context length: how many characters predict the next one (`block_size` in the lecture).
    pub block: usize,
    /// Length of a character's embedding vector (`n_embd`).
    pub embd: usize,
    /// Units of the hidden layer (`n_hidden`).
    pub hidden: usize,
    /// Examples in a minibatch (`batch_size`, `n` in the lecture's formulas).
    pub batch: usize,
}

/// A size outside the range that the kernels are built for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value}, but must be between {min} and {max}")]
pub struct DimsError {
    /// Name of the size, as the command line spells it.
    pub name: &'static str,
    /// The value that was asked for.
    pub value: usize,
    /// Smallest value allowed.
    pub min: usize,
    /// Largest value allowed.
    pub max: usize,
}

impl Dims {
    /// Vocabulary sizes: the end mark and one character at least; a [`Token`] fits 16 bits.
    pub const VOCAB: RangeInclusive<usize> = 2..=65_535;
    /// Context lengths.
    pub const BLOCK: RangeInclusive<usize> = 1..=16;
    /// Embedding lengths.
    pub const EMBD: RangeInclusive<usize> = 1..=128;
    /// Hidden layer sizes.
    pub const HIDDEN: RangeInclusive<usize> = 1..=2048;
    /// Batch sizes; one example has no variance, so batch norm needs two.
    pub const BATCH: RangeInclusive<usize> = 2..=4096;

    /// The lecture's sizes: 12,297 parameters.
    pub const LECTURE: Dims = Dims {
        vocab: 27,
        block: 3,
        embd: 10,
        hidden: 200,
        batch: 32,
    };

    /// Checks every size against its range and returns the sizes unchanged.
    pub fn validate(self) -> Result<Self, DimsError> {
        let checks = [
            ("vocabulary size", self.vocab, Self::VOCAB),
            ("--block-size", self.block, Self::BLOCK),
            ("--n-embd", self.embd, Self::EMBD),
            ("--n-hidden", self.hidden, Self::HIDDEN),
            ("--batch-size", self.batch, Self::BATCH),
        ];
        for (name, value, range) in checks {
            if !range.contains(&value) {
                return Err(DimsError {
                    name,
                    value,
                    min: *range.start(),
                    max: *range.end(),
                });
            }
        }
        Ok(self)
    }

    /// Inputs of the hidden layer: the concatenated embeddings, `block * embd`.
    pub fn fan_in(&self) -> usize {
        self.block * self.embd
    }

    /// These sizes with another number of examples in a minibatch.
    pub fn with_batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "vocab {}, block {}, embd {}, hidden {}, batch {}",
            self.vocab, self.block, self.embd, self.hidden, self.batch
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lecture_has_12297_parameters() {
        assert_eq!(Dims::LECTURE.parameter_count(), 12_297);
    }

    #[test]
    fn each_size_is_held_to_its_range_by_name() {
        let lecture = Dims::LECTURE;
        assert_eq!(lecture.validate(), Ok(lecture));
        let bad = [
            (
                Dims {
                    vocab: 65_536,
                    ..lecture
                },
                "vocabulary size",
            ),
            (
                Dims {
                    block: 17,
                    ..lecture
                },
                "--block-size",
            ),
            (Dims { embd: 0, ..lecture }, "--n-embd"),
            (
                Dims {
                    hidden: 2049,
                    ..lecture
                },
                "--n-hidden",
            ),
            (
                Dims {
                    batch: 1,
                    ..lecture
                },
                "--batch-size",
            ),
        ];
        for (dims, name) in bad {
            assert_eq!(dims.validate().unwrap_err().name, name);
        }
    }
}
