//! The 26 tensors that the lecture's first exercise asks a gradient of.

use crate::model::dims::Dims;

/// A tensor of the lecture, in the order in which the backward pass reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // names and shapes: `LectureTensor::name`, `LectureTensor::shape`
pub enum LectureTensor {
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

impl LectureTensor {
    /// All 26, in the lecture's order.
    pub const ALL: [LectureTensor; 26] = [
        LectureTensor::Logprobs,
        LectureTensor::Probs,
        LectureTensor::CountsSumInv,
        LectureTensor::CountsSum,
        LectureTensor::Counts,
        LectureTensor::NormLogits,
        LectureTensor::LogitMaxes,
        LectureTensor::Logits,
        LectureTensor::H,
        LectureTensor::W2,
        LectureTensor::B2,
        LectureTensor::Hpreact,
        LectureTensor::Bngain,
        LectureTensor::Bnbias,
        LectureTensor::Bnraw,
        LectureTensor::BnvarInv,
        LectureTensor::Bnvar,
        LectureTensor::Bndiff2,
        LectureTensor::Bndiff,
        LectureTensor::Hprebn,
        LectureTensor::Bnmeani,
        LectureTensor::Embcat,
        LectureTensor::W1,
        LectureTensor::B1,
        LectureTensor::Emb,
        LectureTensor::C,
    ];

    /// The lecture's name.
    pub fn name(self) -> &'static str {
        match self {
            LectureTensor::Logprobs => "logprobs",
            LectureTensor::Probs => "probs",
            LectureTensor::CountsSumInv => "counts_sum_inv",
            LectureTensor::CountsSum => "counts_sum",
            LectureTensor::Counts => "counts",
            LectureTensor::NormLogits => "norm_logits",
            LectureTensor::LogitMaxes => "logit_maxes",
            LectureTensor::Logits => "logits",
            LectureTensor::H => "h",
            LectureTensor::W2 => "W2",
            LectureTensor::B2 => "b2",
            LectureTensor::Hpreact => "hpreact",
            LectureTensor::Bngain => "bngain",
            LectureTensor::Bnbias => "bnbias",
            LectureTensor::Bnraw => "bnraw",
            LectureTensor::BnvarInv => "bnvar_inv",
            LectureTensor::Bnvar => "bnvar",
            LectureTensor::Bndiff2 => "bndiff2",
            LectureTensor::Bndiff => "bndiff",
            LectureTensor::Hprebn => "hprebn",
            LectureTensor::Bnmeani => "bnmeani",
            LectureTensor::Embcat => "embcat",
            LectureTensor::W1 => "W1",
            LectureTensor::B1 => "b1",
            LectureTensor::Emb => "emb",
            LectureTensor::C => "C",
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
            LectureTensor::Logprobs
            | LectureTensor::Probs
            | LectureTensor::Counts
            | LectureTensor::NormLogits
            | LectureTensor::Logits => {
                vec![batch, vocab]
            }
            LectureTensor::CountsSumInv | LectureTensor::CountsSum | LectureTensor::LogitMaxes => {
                vec![batch, 1]
            }
            LectureTensor::H
            | LectureTensor::Hpreact
            | LectureTensor::Bnraw
            | LectureTensor::Bndiff2
            | LectureTensor::Bndiff
            | LectureTensor::Hprebn => vec![batch, hidden],
            LectureTensor::Bngain
            | LectureTensor::Bnbias
            | LectureTensor::BnvarInv
            | LectureTensor::Bnvar
            | LectureTensor::Bnmeani => {
                vec![1, hidden]
            }
            LectureTensor::W2 => vec![hidden, vocab],
            LectureTensor::B2 => vec![vocab],
            LectureTensor::Embcat => vec![batch, block * embd],
            LectureTensor::W1 => vec![block * embd, hidden],
            LectureTensor::B1 => vec![hidden],
            LectureTensor::Emb => vec![batch, block, embd],
            LectureTensor::C => vec![vocab, embd],
        }
    }

    /// Whether it is one of the seven parameters.
    pub fn is_parameter(self) -> bool {
        use LectureTensor::{B1, B2, Bnbias, Bngain, C, W1, W2};
        matches!(self, C | W1 | B1 | W2 | B2 | Bngain | Bnbias)
    }

    /// Whether its gradient is zero for every minibatch, and what a device computes is rounding. Softmax
    /// does not change where a constant is taken off a row, as each maximum is; and batch norm takes off
    /// the mean, `b1` with it.
    pub fn is_zero(self) -> bool {
        matches!(self, LectureTensor::LogitMaxes | LectureTensor::B1)
    }

    /// Number of values.
    pub fn len(self, dims: &Dims) -> usize {
        self.shape(dims).iter().product()
    }
}

impl std::str::FromStr for LectureTensor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = LectureTensor::ALL.into_iter().find(|c| c.name() == text);
        found.ok_or_else(|| {
            let names = LectureTensor::ALL.map(LectureTensor::name).join(", ");
            format!("no such tensor; the tensors are {names}")
        })
    }
}

/// A value for each of the 26 tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct LectureTensors<R>([Vec<R>; 26]);

impl<R> LectureTensors<R> {
    /// Builds each tensor by one call.
    pub fn from_fn(f: impl FnMut(LectureTensor) -> Vec<R>) -> Self {
        Self(LectureTensor::ALL.map(f))
    }
}

impl<R> std::ops::Index<LectureTensor> for LectureTensors<R> {
    type Output = Vec<R>;

    fn index(&self, chunk: LectureTensor) -> &Vec<R> {
        &self.0[chunk as usize]
    }
}

impl<R> std::ops::IndexMut<LectureTensor> for LectureTensors<R> {
    fn index_mut(&mut self, chunk: LectureTensor) -> &mut Vec<R> {
        &mut self.0[chunk as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_leads_back_to_its_tensor() {
        for (i, chunk) in LectureTensor::ALL.into_iter().enumerate() {
            assert_eq!(chunk as usize, i);
            assert_eq!(chunk.name().parse(), Ok(chunk));
        }
        assert!("nonsense".parse::<LectureTensor>().is_err());
    }
}
