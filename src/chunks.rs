//! The 26 tensors that the lecture's first exercise asks a gradient of.

use crate::dims::Dims;

/// A tensor of the lecture, in the order in which the backward pass reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // names and shapes: `Chunk::name`, `Chunk::shape`
pub enum Chunk {
    Logprobs,
    Probs,
    CountsSumInv,
    CountsSum,
    Counts,
    NormLogits,
    LogitMaxes,
    Logits,
    H,
    W2,
    B2,
    Hpreact,
    Bngain,
    Bnbias,
    Bnraw,
    BnvarInv,
    Bnvar,
    Bndiff2,
    Bndiff,
    Hprebn,
    Bnmeani,
    Embcat,
    W1,
    B1,
    Emb,
    C,
}

impl Chunk {
    /// All 26, in the lecture's order.
    pub const ALL: [Chunk; 26] = [
        Chunk::Logprobs,
        Chunk::Probs,
        Chunk::CountsSumInv,
        Chunk::CountsSum,
        Chunk::Counts,
        Chunk::NormLogits,
        Chunk::LogitMaxes,
        Chunk::Logits,
        Chunk::H,
        Chunk::W2,
        Chunk::B2,
        Chunk::Hpreact,
        Chunk::Bngain,
        Chunk::Bnbias,
        Chunk::Bnraw,
        Chunk::BnvarInv,
        Chunk::Bnvar,
        Chunk::Bndiff2,
        Chunk::Bndiff,
        Chunk::Hprebn,
        Chunk::Bnmeani,
        Chunk::Embcat,
        Chunk::W1,
        Chunk::B1,
        Chunk::Emb,
        Chunk::C,
    ];

    /// The lecture's name.
    pub fn name(self) -> &'static str {
        match self {
            Chunk::Logprobs => "logprobs",
            Chunk::Probs => "probs",
            Chunk::CountsSumInv => "counts_sum_inv",
            Chunk::CountsSum => "counts_sum",
            Chunk::Counts => "counts",
            Chunk::NormLogits => "norm_logits",
            Chunk::LogitMaxes => "logit_maxes",
            Chunk::Logits => "logits",
            Chunk::H => "h",
            Chunk::W2 => "W2",
            Chunk::B2 => "b2",
            Chunk::Hpreact => "hpreact",
            Chunk::Bngain => "bngain",
            Chunk::Bnbias => "bnbias",
            Chunk::Bnraw => "bnraw",
            Chunk::BnvarInv => "bnvar_inv",
            Chunk::Bnvar => "bnvar",
            Chunk::Bndiff2 => "bndiff2",
            Chunk::Bndiff => "bndiff",
            Chunk::Hprebn => "hprebn",
            Chunk::Bnmeani => "bnmeani",
            Chunk::Embcat => "embcat",
            Chunk::W1 => "W1",
            Chunk::B1 => "b1",
            Chunk::Emb => "emb",
            Chunk::C => "C",
        }
    }

    /// The lecture's shape.
    pub fn shape(self, dims: &Dims) -> Vec<usize> {
        let Dims {
            vocab,
            block,
            embd,
            hidden,
            batch,
        } = *dims;
        match self {
            Chunk::Logprobs | Chunk::Probs | Chunk::Counts | Chunk::NormLogits | Chunk::Logits => {
                vec![batch, vocab]
            }
            Chunk::CountsSumInv | Chunk::CountsSum | Chunk::LogitMaxes => vec![batch, 1],
            Chunk::H
            | Chunk::Hpreact
            | Chunk::Bnraw
            | Chunk::Bndiff2
            | Chunk::Bndiff
            | Chunk::Hprebn => vec![batch, hidden],
            Chunk::Bngain | Chunk::Bnbias | Chunk::BnvarInv | Chunk::Bnvar | Chunk::Bnmeani => {
                vec![1, hidden]
            }
            Chunk::W2 => vec![hidden, vocab],
            Chunk::B2 => vec![vocab],
            Chunk::Embcat => vec![batch, block * embd],
            Chunk::W1 => vec![block * embd, hidden],
            Chunk::B1 => vec![hidden],
            Chunk::Emb => vec![batch, block, embd],
            Chunk::C => vec![vocab, embd],
        }
    }

    /// Whether it is one of the seven parameters.
    pub fn is_parameter(self) -> bool {
        use Chunk::{B1, B2, Bnbias, Bngain, C, W1, W2};
        matches!(self, C | W1 | B1 | W2 | B2 | Bngain | Bnbias)
    }

    /// Whether its gradient is zero for every minibatch, and what a device computes is rounding. Softmax
    /// does not change where a constant is taken off a row, as each maximum is; and batch norm takes off
    /// the mean, `b1` with it.
    pub fn is_zero(self) -> bool {
        matches!(self, Chunk::LogitMaxes | Chunk::B1)
    }

    /// Number of values.
    pub fn len(self, dims: &Dims) -> usize {
        self.shape(dims).iter().product()
    }
}

impl std::str::FromStr for Chunk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Chunk::ALL.into_iter().find(|c| c.name() == text);
        found.ok_or_else(|| {
            let names = Chunk::ALL.map(Chunk::name).join(", ");
            format!("no such tensor; the tensors are {names}")
        })
    }
}

/// A value for each of the 26 tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunks<R>([Vec<R>; 26]);

impl<R> Chunks<R> {
    /// Builds each tensor by one call.
    pub fn from_fn(f: impl FnMut(Chunk) -> Vec<R>) -> Self {
        Self(Chunk::ALL.map(f))
    }
}

impl<R> std::ops::Index<Chunk> for Chunks<R> {
    type Output = Vec<R>;

    fn index(&self, chunk: Chunk) -> &Vec<R> {
        &self.0[chunk as usize]
    }
}

impl<R> std::ops::IndexMut<Chunk> for Chunks<R> {
    fn index_mut(&mut self, chunk: Chunk) -> &mut Vec<R> {
        &mut self.0[chunk as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_leads_back_to_its_tensor() {
        for (i, chunk) in Chunk::ALL.into_iter().enumerate() {
            assert_eq!(chunk as usize, i);
            assert_eq!(chunk.name().parse(), Ok(chunk));
        }
        assert!("nonsense".parse::<Chunk>().is_err());
    }
}
