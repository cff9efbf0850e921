//! The tensors of a model on a device: their sizes, their places in the buffers, and the number of slices and
//! parts of the sums over them.

use std::borrow::Cow;

use super::adapter::Found;
use super::tuning::{Cuts, Sharing};
use crate::model::contexts::Rows;
use crate::model::dims::Dims;
use crate::model::params::Tensor;
use crate::model::tensors::LectureTensor;

/// A tensor on the device. Activations and their gradients have the lecture's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // shapes: `Slot::len`
pub enum Slot {
    Progress,
    X,
    /// Where each token stands in `X`: see `list_uses`.
    Uses,
    /// What follows each context: see `list_targets`.
    Targets,
    /// How many examples have each context of a step.
    Examples,
    /// The target of each example of a step whose contexts are not merged.
    Y,
    Lr,
    /// The loss of each row of each step of a chunk, summed over the row's examples.
    Losses,
    /// One parameter.
    Param(Tensor),
    /// Its gradient.
    Grad(Tensor),
    /// All parameters, one after another.
    Params,
    /// All gradients, in the same order.
    Grads,
    Embcat,
    Hprebn,
    /// `bnmean`, `bnvar`, `bnvar_inv`, one after another.
    Bnstats,
    Bnraw,
    Hpreact,
    H,
    Logits,
    Dlogits,
    Dh,
    Dhpreact,
    Dhprebn,
    Dembcat,
    /// The parts of `Logits`, one after another.
    LogitParts,
    /// The parts of `Dembcat`.
    DembcatParts,
    /// The parts of the gradients of a layer: those of its weight, then those of its bias.
    GradParts(Layer),
    /// Those of the weight.
    WeightParts(Layer),
    /// Those of the bias.
    BiasParts(Layer),
    /// The gradients of a layer's weight and bias.
    LayerGrads(Layer),
    /// A tensor of the lecture's chunked pass that the training step does not have.
    Lecture(LectureTensor),
    /// Its gradient.
    LectureGrad(LectureTensor),
}

/// A linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// `hprebn = embcat @ W1 + b1`
    First,
    /// `logits = h @ W2 + b2`
    Second,
}

impl Layer {
    /// Its weight and its bias.
    fn tensors(self) -> (Tensor, Tensor) {
        match self {
            First => (T::W1, T::B1),
            Second => (T::W2, T::B2),
        }
    }
}

use Layer::{First, Second};
use LectureTensor as K;
use Slot as S;
use Tensor as T;

/// Values from the start of one row of a tensor to the start of the next. The kernels read four values at
/// once, so rows start at multiples of four. The padding is zero.
pub fn pitch(cols: usize) -> usize {
    cols.next_multiple_of(4)
}

/// Sizes and places of a model's tensors, in values of 4 bytes.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Sizes; `batch` is that of a training step.
    pub dims: Dims,
    /// Rows of the activations at most: those of a minibatch or of an evaluation batch.
    pub rows: usize,
    /// Steps that a chunk may have.
    pub steps: usize,
    /// First value of each parameter in the shared buffer.
    pub offsets: [usize; 7],
    /// Values in that buffer.
    pub params: usize,
    /// How the sums are cut.
    pub cuts: Cuts,
    /// Loop iterations of a part of a sum at least, with four terms each.
    pub part_rounds: usize,
}

impl Layout {
    /// The start of a bound range, 256 bytes, is aligned on every device.
    pub(super) const ALIGN: usize = 64;
    /// Values of the widest activation in an evaluation batch: 4 MiB.
    const EVAL_VALUES: usize = 1 << 20;
    /// The most steps that a chunk's buffers have room for. The training loop chooses the number by the
    /// time that a chunk takes.
    const MAX_STEPS: usize = 1024;
    /// Tokens of a chunk.
    const MAX_TOKENS: usize = 1 << 20;
    /// Words of a chunk's lists of uses: 16 MiB. A list begins with a word for each character.
    const MAX_USES: usize = 1 << 22;

    /// The layout for a model of these sizes that suits an adapter without a measurement.
    pub fn of(found: &Found, dims: Dims) -> Self {
        Self::new(dims, Cuts::of(found, &dims))
    }

    /// The layout of [`STEP_IN_PARTS`](super::staged::STEP_IN_PARTS) on an adapter, at any size. Training
    /// takes it for large models on a GPU only, and does not cut short sums. Here they are cut wherever
    /// two loop iterations are left for each part, so that a small minibatch shows a mistake in
    /// computing or adding up the parts.
    pub fn in_parts(found: &Found, dims: Dims) -> Self {
        let trained = Self::of(found, dims);
        if trained.cuts.in_parts() {
            return trained;
        }
        let cuts = Cuts::hardware(&dims).within(&found.adapter.limits());
        Self {
            part_rounds: 2,
            ..Self::new(dims, cuts.with_parts(true))
        }
    }

    /// The layout for a model of these sizes whose sums are cut like this.
    pub fn new(dims: Dims, cuts: Cuts) -> Self {
        let widest = dims.hidden.max(dims.fan_in()).max(dims.vocab);
        let mut layout = Self {
            dims,
            rows: dims.batch.max((Self::EVAL_VALUES / widest).min(4096)),
            steps: (Self::MAX_TOKENS / (dims.batch * dims.block))
                .min(Self::MAX_USES / uses_words(&dims, dims.batch))
                .clamp(1, Self::MAX_STEPS),
            offsets: [0; 7],
            params: 0,
            cuts,
            part_rounds: Self::PART_ROUNDS,
        };
        for tensor in Tensor::ALL {
            layout.offsets[tensor as usize] = layout.params;
            layout.params += layout.len(S::Param(tensor)).next_multiple_of(Self::ALIGN);
        }
        layout
    }

    /// This layout with room for minibatches only, to time some steps. An evaluation would go in batches no larger.
    pub fn for_steps_only(self) -> Self {
        Self {
            rows: self.dims.batch,
            ..self
        }
    }

    /// Rows and columns of a tensor without padding. A vector is one row.
    pub fn extent(&self, slot: Slot) -> (usize, usize) {
        let Dims {
            vocab,
            block,
            hidden,
            batch,
            ..
        } = self.dims;
        let fan_in = self.dims.fan_in();
        match slot {
            S::Progress => (1, 2),
            S::X => {
                let words =
                    (self.steps * packed_words(batch * block)).max(packed_words(self.rows * block));
                (1, words)
            }
            S::Uses => (1, self.steps * uses_words(&self.dims, batch)),
            S::Targets => {
                let evaluated = targets_words(self.rows, (self.rows * vocab).min(Rows::MOST));
                let words = self.steps * targets_words(batch, batch);
                (1, words.max(evaluated))
            }
            S::Examples => (1, self.rows),
            S::Y => (1, packed_words(batch)),
            S::Lr => (1, self.steps),
            S::Losses => (1, (self.steps * batch).max(self.rows)),
            S::Param(tensor) | S::Grad(tensor) => match tensor.shape(&self.dims)[..] {
                [rows, cols] => (rows, cols),
                ref shape => (1, shape.iter().product()),
            },
            S::Params | S::Grads => (1, self.params),
            S::Embcat | S::Dembcat => (self.rows, fan_in),
            S::Bnstats => (3, hidden),
            S::Hprebn | S::Bnraw | S::Hpreact | S::H | S::Dh | S::Dhpreact | S::Dhprebn => {
                (self.rows, hidden)
            }
            S::Logits | S::Dlogits => (self.rows, vocab),
            S::LogitParts => {
                let parts = self.tile_parts(batch, vocab, hidden);
                (parts * self.rows, vocab)
            }
            S::DembcatParts => {
                let parts = self.tile_parts(batch, fan_in, hidden);
                (parts * self.rows, fan_in)
            }
            S::WeightParts(layer) => {
                let (weight, _) = layer.tensors();
                let stride = self.len(S::Param(weight)).next_multiple_of(Self::ALIGN);
                (1, self.weight_parts(layer) * stride)
            }
            S::BiasParts(layer) => {
                let (_, bias) = layer.tensors();
                let parts = self.weight_parts(layer);
                (1, parts * self.len(S::Param(bias)))
            }
            S::GradParts(layer) => {
                let [weight, bias] = [S::WeightParts(layer), S::BiasParts(layer)];
                (1, self.len(weight) + self.len(bias))
            }
            S::LayerGrads(layer) => {
                let (weight, bias) = layer.tensors();
                let [first, last] = [weight, bias].map(|tensor| self.offsets[tensor as usize]);
                (1, last - first + self.len(S::Param(bias)))
            }
            S::Lecture(K::CountsSumInv | K::CountsSum | K::LogitMaxes)
            | S::LectureGrad(K::CountsSumInv | K::CountsSum | K::LogitMaxes) => (1, batch),
            S::Lecture(chunk) | S::LectureGrad(chunk) => match chunk.shape(&self.dims)[..] {
                [rows, cols] => (rows, cols),
                ref shape => (1, shape.iter().product()),
            },
        }
    }

    /// Values of a tensor on the device, padding included.
    pub fn len(&self, slot: Slot) -> usize {
        let (rows, cols) = self.extent(slot);
        let rows = match slot {
            // Sums over the rows of a weight also read four at once.
            S::Param(T::W1 | T::W2) | S::Grad(T::W1 | T::W2) => pitch(rows),
            _ => rows,
        };
        rows * pitch(cols)
    }

    /// Bytes to copy for a tensor's first `len` values: up to the last of them, with the padding of the rows
    /// before it. `Losses` has room for a whole chunk of steps, of which a submission fills a part.
    pub fn bytes_read(&self, slot: Slot, len: usize) -> u64 {
        let (_, cols) = self.extent(slot);
        let values = match len.checked_sub(1) {
            Some(last) => last / cols * pitch(cols) + last % cols + 1,
            None => 0,
        };
        4 * values as u64
    }

    /// The buffer that holds a tensor, and the tensor's first value in it.
    pub fn place(&self, slot: Slot) -> (Slot, usize) {
        match slot {
            S::Param(tensor) => (S::Params, self.offsets[tensor as usize]),
            S::Grad(tensor) => (S::Grads, self.offsets[tensor as usize]),
            S::LayerGrads(layer) => (S::Grads, self.offsets[layer.tensors().0 as usize]),
            S::WeightParts(layer) => (S::GradParts(layer), 0),
            S::BiasParts(layer) => (S::GradParts(layer), self.len(S::WeightParts(layer))),
            other => (other, 0),
        }
    }

    /// Slices of a sum at most, where workgroups have 64 invocations.
    pub(super) const MAX_SLICES: usize = 16;
    /// Loop iterations that a part of a sum has at least in training.
    const PART_ROUNDS: usize = 16;
    /// Rounds of a loop that a slice has at least.
    const SLICE_ROUNDS: usize = 2;

    /// Slices for the sums of a launch: as many as it takes for enough invocations. Otherwise most of a GPU
    /// is idle while a few invocations add up thousands of terms.
    pub(super) fn slices(&self, results: usize, rounds: usize, most: usize) -> usize {
        let mut slices = 1;
        while 2 * slices <= most
            && 2 * slices * Self::SLICE_ROUNDS <= rounds
            && 2 * slices * results <= self.cuts.invocations
        {
            slices *= 2;
        }
        slices
    }

    /// Slices for tiles of 8 x 4 sums.
    pub(super) fn tile_slices(&self, rows: usize, cols: usize, terms: usize) -> usize {
        if self.cuts.sharing() != Sharing::Alone {
            return 1; // all invocations of a tile's neighbours go through every round together
        }
        let tiles = rows.div_ceil(8) * cols.div_ceil(4);
        self.slices(tiles, terms.div_ceil(4), Self::MAX_SLICES)
    }

    /// Parts for tiles of 8 x 4 sums: as many as it takes for enough invocations.
    pub(super) fn tile_parts(&self, rows: usize, cols: usize, terms: usize) -> usize {
        let (tiles, rounds) = (rows.div_ceil(8) * cols.div_ceil(4), terms.div_ceil(4));
        let mut parts = 1;
        while 2 * parts <= self.cuts.parts
            && 2 * parts * self.part_rounds <= rounds
            && parts * tiles < self.cuts.invocations
        {
            parts *= 2;
        }
        parts
    }

    /// Parts of the sums of a layer's weight gradient.
    fn weight_parts(&self, layer: Layer) -> usize {
        let (weight, _) = layer.tensors();
        match weight.shape(&self.dims)[..] {
            [fan_in, fan_out] => self.tile_parts(fan_in, fan_out, self.dims.batch),
            _ => unreachable!("a weight is a matrix"),
        }
    }

    /// `struct Shape` of `shaders/shape.wgsl`, field for field, for a launch over `rows` rows that stand for
    /// `examples` examples.
    pub fn shape(&self, layer: Layer, rows: usize, examples: usize) -> [u32; 8] {
        let dims = &self.dims;
        let (fan_in, fan_out) = match layer {
            First => (dims.fan_in(), dims.hidden),
            Second => (dims.hidden, dims.vocab),
        };
        [
            rows,
            dims.block,
            dims.vocab,
            dims.embd,
            dims.hidden,
            fan_in,
            fan_out,
            examples,
        ]
        .map(|size| size as u32)
    }

    /// A tensor's first values, a whole number of rows, with the padding that they have on the device.
    pub fn with_pads<'a>(&self, slot: Slot, values: &'a [f32]) -> Cow<'a, [f32]> {
        let (_, cols) = self.extent(slot);
        if cols == pitch(cols) {
            values.into()
        } else {
            pad(values, cols).into()
        }
    }
}

/// Rows of `cols` values with their padding.
fn pad(values: &[f32], cols: usize) -> Vec<f32> {
    let mut padded = vec![0.0; values.len().div_ceil(cols) * pitch(cols)];
    for (to, from) in padded
        .chunks_exact_mut(pitch(cols))
        .zip(values.chunks(cols))
    {
        to[..from.len()].copy_from_slice(from);
    }
    padded
}

/// Words that `tokens` tokens take, two to a word.
pub(super) fn packed_words(tokens: usize) -> usize {
    tokens.div_ceil(2)
}

/// Words of a step's lists of targets.
pub(super) fn targets_words(rows: usize, targets: usize) -> usize {
    rows + 1 + 2 * targets
}

/// Words of a step's lists of uses.
pub(super) fn uses_words(dims: &Dims, rows: usize) -> usize {
    dims.vocab + 1 + rows * dims.block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_to_multiples_of_four_values() {
        assert_eq!([1, 4, 5].map(pitch), [4, 4, 8]);
        let (a, b) = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
        let want = [&a[..], &[0.0], &b, &[0.0]].concat();
        assert_eq!(pad(&[a, b].concat(), 3), want);
    }

    #[test]
    fn a_read_back_takes_what_is_read_and_no_more() {
        for dims in [Dims::LECTURE, Dims::LECTURE.with_batch(4096)] {
            for cuts in [Cuts::hardware(&dims), Cuts::WHOLE] {
                let layout = Layout::new(dims, cuts);
                // Two counters, and a loss for each row of each step.
                assert_eq!(layout.bytes_read(S::Progress, 2), 4 * 2);
                for losses in [1, 31, 32, layout.steps * dims.batch] {
                    assert_eq!(layout.bytes_read(S::Losses, losses), 4 * losses as u64);
                }
                // All the rest is there too.
                assert_eq!(layout.bytes_read(S::Lr, 0), 0);
                let all = layout.bytes_read(S::Params, layout.params);
                assert_eq!(all, 4 * layout.params as u64);
            }
        }
        // Rows of 27 values have a pad of one, which lies between those that are read.
        let layout = Layout::new(Dims::LECTURE, Cuts::WHOLE);
        for (values, with_pads) in [
            (1, 1),
            (27, 27),
            (28, 29),
            (54, 55),
            (32 * 27, 31 * 28 + 27),
        ] {
            assert_eq!(layout.bytes_read(S::Logits, values), 4 * with_pads);
        }
    }

    #[test]
    fn a_software_adapter_gets_one_slice_and_a_gpu_as_many_as_its_terms_allow() {
        let dims = Dims::LECTURE;
        let slices = |software, results, rounds| {
            let cuts = if software {
                Cuts::WHOLE
            } else {
                Cuts::hardware(&dims)
            };
            Layout::new(dims, cuts).slices(results, rounds, Layout::MAX_SLICES)
        };
        assert_eq!(slices(true, 28, 50), 1);
        assert_eq!(slices(false, 28, 50), 16); // logits: 28 tiles, 50 rounds
        assert_eq!(slices(false, 28, 3), 1);
        assert_eq!(slices(false, 1 << 15, 50), 2);
        assert_eq!(slices(false, 1 << 16, 50), 1);
    }
}
