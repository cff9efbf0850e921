//! The seven trained tensors: names, shapes and the lecture's initial values.

use sha2::{Digest, Sha256};

use crate::model::dims::Dims;
use crate::rng::TorchGenerator;
use crate::text::hex;

/// One of the seven parameters, in the order in which the lecture creates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tensor {
    /// Character embeddings, `(vocab, embd)`.
    C,
    /// First linear layer, `(block * embd, hidden)`.
    W1,
    /// Its bias, `(hidden)`.
    B1,
    /// Second linear layer, `(hidden, vocab)`.
    W2,
    /// Its bias, `(vocab)`.
    B2,
    /// Batch-norm gain, `(1, hidden)`.
    Bngain,
    /// Batch-norm bias, `(1, hidden)`.
    Bnbias,
}

impl Tensor {
    /// All seven, in the order in which they are drawn from the generator.
    pub const ALL: [Tensor; 7] = [
        Tensor::C,
        Tensor::W1,
        Tensor::B1,
        Tensor::W2,
        Tensor::B2,
        Tensor::Bngain,
        Tensor::Bnbias,
    ];

    /// The lecture's name.
    pub fn name(self) -> &'static str {
        match self {
            Tensor::C => "C",
            Tensor::W1 => "W1",
            Tensor::B1 => "b1",
            Tensor::W2 => "W2",
            Tensor::B2 => "b2",
            Tensor::Bngain => "bngain",
            Tensor::Bnbias => "bnbias",
        }
    }

    /// The lecture's shape.
    pub fn shape(self, dims: &Dims) -> Vec<usize> {
        match self {
            Tensor::C => vec![dims.vocab, dims.embd],
            Tensor::W1 => vec![dims.fan_in(), dims.hidden],
            Tensor::B1 => vec![dims.hidden],
            Tensor::W2 => vec![dims.hidden, dims.vocab],
            Tensor::B2 => vec![dims.vocab],
            Tensor::Bngain | Tensor::Bnbias => vec![1, dims.hidden],
        }
    }

    /// Number of values.
    pub fn len(self, dims: &Dims) -> usize {
        self.shape(dims).iter().product()
    }
}

/// Values for the seven parameters: the parameters themselves or their gradients. Each vector is
/// row-major in the shape of its [`Tensor`].
#[derive(Clone, Debug, PartialEq)]
pub struct Params<R> {
    /// `C (vocab, embd)`
    pub c: Vec<R>,
    /// `W1 (block * embd, hidden)`
    pub w1: Vec<R>,
    /// `b1 (hidden)`
    pub b1: Vec<R>,
    /// `W2 (hidden, vocab)`
    pub w2: Vec<R>,
    /// `b2 (vocab)`
    pub b2: Vec<R>,
    /// `bngain (1, hidden)`
    pub bngain: Vec<R>,
    /// `bnbias (1, hidden)`
    pub bnbias: Vec<R>,
}

impl<R: Copy> Params<R> {
    /// Every value set to `value`.
    pub fn filled(dims: &Dims, value: R) -> Self {
        Self::from_fn(|t| vec![value; t.len(dims)])
    }

    /// Builds the seven tensors in order, each by one call.
    pub fn from_fn(mut f: impl FnMut(Tensor) -> Vec<R>) -> Self {
        let [c, w1, b1, w2, b2, bngain, bnbias] = Tensor::ALL.map(&mut f);
        Self {
            c,
            w1,
            b1,
            w2,
            b2,
            bngain,
            bnbias,
        }
    }

    /// The values of one tensor.
    pub fn get(&self, tensor: Tensor) -> &[R] {
        match tensor {
            Tensor::C => &self.c,
            Tensor::W1 => &self.w1,
            Tensor::B1 => &self.b1,
            Tensor::W2 => &self.w2,
            Tensor::B2 => &self.b2,
            Tensor::Bngain => &self.bngain,
            Tensor::Bnbias => &self.bnbias,
        }
    }

    /// The values of one tensor, to change.
    pub fn get_mut(&mut self, tensor: Tensor) -> &mut [R] {
        match tensor {
            Tensor::C => &mut self.c,
            Tensor::W1 => &mut self.w1,
            Tensor::B1 => &mut self.b1,
            Tensor::W2 => &mut self.w2,
            Tensor::B2 => &mut self.b2,
            Tensor::Bngain => &mut self.bngain,
            Tensor::Bnbias => &mut self.bnbias,
        }
    }

    /// These tensors with `f` applied to every value.
    pub fn map<S: Copy>(&self, f: impl Fn(R) -> S) -> Params<S> {
        Params::from_fn(|t| self.get(t).iter().map(|&v| f(v)).collect())
    }
}

impl Params<f32> {
    /// The lecture's initial values, drawn from `generator` in the lecture's order.
    ///
    /// | tensor | value |
    /// |---|---|
    /// | `C` | `randn` |
    /// | `W1` | `randn * (5/3) / sqrt(n_embd * block_size)` (Kaiming's gain for tanh) |
    /// | `b1`, `W2`, `b2` | `randn * 0.1` |
    /// | `bngain` | `randn * 0.1 + 1` |
    /// | `bnbias` | `randn * 0.1` |
    ///
    /// Small random values, not zeros, so that no mistake in the backward pass is hidden by a
    /// gradient that happens to vanish.
    pub fn init(dims: &Dims, generator: &mut TorchGenerator) -> Self {
        let gain = (5.0 / 3.0) as f32;
        let root = (dims.fan_in() as f32).sqrt();
        Self::from_fn(|t| {
            let mut values = generator.randn(t.len(dims));
            for v in &mut values {
                *v = match t {
                    Tensor::C => *v,
                    Tensor::W1 => *v * gain / root,
                    Tensor::B1 | Tensor::W2 | Tensor::B2 | Tensor::Bnbias => *v * 0.1,
                    Tensor::Bngain => *v * 0.1 + 1.0,
                };
            }
            values
        })
    }

    /// A checksum of all values, as 64 hexadecimal digits.
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        for tensor in Tensor::ALL {
            let values = self.get(tensor).iter();
            digest.update(values.flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        }
        hex(&digest.finalize())
    }

    /// The first value that is not finite, as tensor and index.
    pub fn first_non_finite(&self) -> Option<(Tensor, usize)> {
        Tensor::ALL.into_iter().find_map(|t| {
            let index = self.get(t).iter().position(|v| !v.is_finite())?;
            Some((t, index))
        })
    }
}
impl Dims {
    /// Number of trained values over the seven parameters.
    pub fn parameter_count(&self) -> usize {
        Tensor::ALL.iter().map(|t| t.len(self)).sum()
    }
}
