//! What every schedule is made of: tensors on the device, launches in tables, and the machine that
//! runs them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytemuck::{Pod, Zeroable};
use wgpu::{
    BindGroup, Buffer, BufferUsages, CommandEncoder, ComputePass, ComputePipeline, ShaderModule,
};

use super::adapter::Found;
use super::device::Gpu;
use super::shader::{Bindings, Module};
use super::timestamps::Profiler;
use crate::backend::DeviceError;
use crate::cores::{cores, share_out};
use crate::model::contexts::{Rows, Target};
use crate::model::dims::Dims;
use crate::model::params::{Params, Tensor};
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
    Chunk(LectureTensor),
    /// Its gradient.
    ChunkGrad(LectureTensor),
}

/// How the invocations of a launch are laid out. Where a sum is long and its results are few, a
/// workgroup cuts it into slices: see `Layout::slices`.
#[derive(Clone, Copy, Debug)]
pub enum Grid {
    /// One invocation for each value of a tensor `(rows, cols)`, pads included.
    Elements(Size, Size),
    /// One invocation for each four values of a row.
    Vectors(Size, Size),
    /// One invocation for each row or column: as many as the size.
    Each(Size),
    /// `(rows, cols, terms)`: one invocation for each slice of each tile of 8 x 4 sums.
    Tiles(Size, Size, Size),
    /// `(fan_in, fan_out)`: the same for the tiles of dW, and behind them for those of dx.
    TwoGradients(Size, Size),
    /// `(rows, cols, terms)`: one invocation for each part of each tile.
    TilesInParts(Size, Size, Size),
    /// One invocation for each four values of a row of what its parts add up to.
    SumOfTiles(Size, Size, Size),
    /// `(fan_in, fan_out)`: one invocation for each part of each tile of dW, and behind them for dx: for
    /// each part of each tile, or for each slice, as the last one says.
    GradientsInParts(Size, Size, Dx),
    /// One invocation for each four values of the gradients of a layer.
    SumOfGradients(Size, Size),
    /// One invocation for each slice of each four columns of a tensor `(rows, cols)`, all of whose
    /// rows are summed.
    Columns(Size),
    /// One invocation for each slice of each row of a tensor `(rows, cols)`.
    Rows(Size),
    /// One invocation for each slice of each value of `dC`.
    Embeddings,
    /// One invocation for each four values of the parameters.
    Params,
}

/// How dx is cut beside a dW in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dx {
    InSlices,
    InParts,
}

/// How the sums of a launch are cut: into slices, which a workgroup adds up, and into parts, which another
/// launch adds up. They are constants of its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// Slices of a sum.
    pub slices: usize,
    /// Of dx, where a launch computes dW and dx.
    pub dx_slices: usize,
    /// Parts of a sum.
    pub parts: usize,
    /// Of dx.
    pub dx_parts: usize,
}

impl Cut {
    /// Sums are whole.
    const NONE: Self = Self {
        slices: 1,
        dx_slices: 1,
        parts: 1,
        dx_parts: 1,
    };

    fn slices(slices: usize) -> Self {
        Self {
            slices,
            ..Self::NONE
        }
    }

    fn parts(parts: usize) -> Self {
        Self {
            parts,
            ..Self::NONE
        }
    }
}

/// A size that a layout refers to.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the fields of `Dims`
pub enum Size {
    /// Rows of the activations: contexts of a minibatch.
    Batch,
    Vocab,
    Embd,
    Hidden,
    FanIn,
}

/// Which linear layer the record of sizes describes.
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

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Entry point in `shaders/staged/`.
    pub kernel: &'static str,
    /// What the entry point uses: the name of a variable in its module, and the tensor that it stands
    /// for. The record of sizes, `shape`, comes without saying.
    pub binds: &'static [(&'static str, Slot)],
    /// Whose sizes the kernel sees.
    pub layer: Layer,
    /// Its invocations.
    pub grid: Grid,
}

/// A row of a table.
pub const fn launch(
    kernel: &'static str,
    layer: Layer,
    grid: Grid,
    binds: &'static [(&'static str, Slot)],
) -> Launch {
    Launch {
        kernel,
        binds,
        layer,
        grid,
    }
}

use Layer::{First, Second};
use LectureTensor as K;
use Size::{Batch, Embd, FanIn, Hidden, Vocab};
use Slot as S;
use Tensor as T;

/// Invocations of a workgroup, where a layout has no more.
const WORKGROUP: usize = 64;

/// Workgroups with an invocation for each of `values`. `invocation_index` of shape.wgsl puts the two
/// dimensions together again.
pub fn folded(values: usize) -> [u32; 3] {
    let groups = values.div_ceil(WORKGROUP);
    let x = groups.clamp(1, 32_768);
    [x as u32, groups.div_ceil(x) as u32, 1]
}

/// Values from one row of a tensor to the next: rows begin at multiples of four values, for the
/// kernels read four at once. The rest of a row, its pad, is zero.
pub fn pitch(cols: usize) -> usize {
    cols.next_multiple_of(4)
}

/// `struct Shape` of `shaders/shape.wgsl`, field for field.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ShapeRecord {
    rows: u32,
    block: u32,
    vocab: u32,
    embd: u32,
    hidden: u32,
    fan_in: u32,
    fan_out: u32,
    examples: u32,
}

impl ShapeRecord {
    fn new(dims: &Dims, layer: Layer, rows: usize, examples: usize) -> Self {
        let (fan_in, fan_out) = match layer {
            First => (dims.fan_in(), dims.hidden),
            Second => (dims.hidden, dims.vocab),
        };
        let [rows, block, vocab, embd, hidden, fan_in, fan_out, examples] = [
            rows,
            dims.block,
            dims.vocab,
            dims.embd,
            dims.hidden,
            fan_in,
            fan_out,
            examples,
        ]
        .map(|size| size as u32);
        Self {
            rows,
            block,
            vocab,
            embd,
            hidden,
            fan_in,
            fan_out,
            examples,
        }
    }
}

/// Where everything lies: sizes in values of 4 bytes.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Sizes; `batch` is that of a training step.
    pub dims: Dims,
    /// Rows that the activations have room for: a minibatch or an evaluation batch.
    pub rows: usize,
    /// Steps that a chunk may have.
    pub steps: usize,
    /// First value of each parameter in the shared buffer.
    pub offsets: [usize; 7],
    /// Values in that buffer.
    pub params: usize,
    /// Sums are cut into slices until a launch has this many invocations.
    pub enough: usize,
    /// Invocations of a workgroup that adds up columns. It does little but load: many loads in flight hide
    /// each other's latency, and neighbouring invocations load neighbouring columns.
    pub adders: usize,
    /// Whether the long sums of the products are cut into parts.
    pub in_parts: bool,
    /// Loop iterations that each part of a sum has at least, four terms in each.
    pub part_rounds: usize,
}

impl Layout {
    /// A bound range starts at a multiple of 256 bytes on every device.
    const ALIGN: usize = 64;
    /// Values of the widest activation in an evaluation batch: 4 MiB.
    const EVAL_VALUES: usize = 1 << 20;
    /// The most steps that a chunk's buffers have room for. The training loop chooses the number by the
    /// time that a chunk takes.
    const MAX_STEPS: usize = 1024;
    /// Tokens of a chunk.
    const MAX_TOKENS: usize = 1 << 20;

    /// The layout for a model of these sizes on an adapter.
    pub fn of(found: &Found, dims: Dims) -> Self {
        Self::new(dims, found.is_software()).within_limits(found)
    }

    /// The layout of [`STEP_IN_PARTS`](super::staged::STEP_IN_PARTS) on an adapter, at any size. Training
    /// takes it for large models on a GPU only, and does not cut short sums. Here they are cut wherever
    /// two loop iterations are left for each part, so that a small minibatch shows a mistake in
    /// computing or adding up the parts.
    pub fn in_parts(found: &Found, dims: Dims) -> Self {
        let trained = Self::of(found, dims);
        if trained.in_parts {
            return trained;
        }
        Self {
            in_parts: true,
            part_rounds: 2,
            ..Self::new(dims, false).within_limits(found)
        }
    }

    /// Reduces the invocations of a workgroup to what the adapter allows.
    fn within_limits(self, found: &Found) -> Self {
        let limits = found.adapter.limits();
        let most = limits
            .max_compute_invocations_per_workgroup
            .min(limits.max_compute_workgroup_size_x);
        // Every WebGPU device has as many as a GPU gets here; GLES has devices with fewer.
        let fits = self.adders <= most as usize;
        Self {
            adders: if fits { self.adders } else { WORKGROUP },
            ..self
        }
    }

    /// The layout for a model of these sizes, on a GPU or on a software adapter.
    pub fn new(dims: Dims, software: bool) -> Self {
        let widest = dims.hidden.max(dims.fan_in()).max(dims.vocab);
        let mut layout = Self {
            dims,
            rows: dims.batch.max((Self::EVAL_VALUES / widest).min(4096)),
            steps: (Self::MAX_TOKENS / (dims.batch * dims.block)).clamp(1, Self::MAX_STEPS),
            offsets: [0; 7],
            params: 0,
            enough: if software { 1 } else { Self::ENOUGH },
            adders: if software { WORKGROUP } else { Self::ADDERS },
            in_parts: !software && dims.batch * dims.hidden >= Self::IN_PARTS,
            part_rounds: Self::PART_ROUNDS,
        };
        for tensor in Tensor::ALL {
            layout.offsets[tensor as usize] = layout.params;
            layout.params += layout.len(S::Param(tensor)).next_multiple_of(Self::ALIGN);
        }
        layout
    }

    /// Words of packed tokens of one step.
    fn x_words(&self, rows: usize) -> usize {
        (rows * self.dims.block).div_ceil(4)
    }

    /// Rows and columns of a slot, as the host knows it. What has one row or one column is a row.
    pub fn extent(&self, slot: Slot) -> (usize, usize) {
        let Dims {
            vocab,
            hidden,
            batch,
            ..
        } = self.dims;
        let fan_in = self.dims.fan_in();
        match slot {
            S::Progress => (1, 2),
            S::X => {
                let words = (self.steps * self.x_words(batch)).max(self.x_words(self.rows));
                (1, words)
            }
            S::Uses => (1, self.steps * uses_words(&self.dims, batch)),
            S::Targets => {
                let evaluated = self.rows + 1 + (self.rows * vocab).min(Rows::MOST);
                let words = self.steps * targets_words(batch, batch);
                (1, words.max(evaluated))
            }
            S::Examples => (1, self.rows),
            S::Y => (1, batch.div_ceil(4)),
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
                let cut = self.cut_of(Grid::TilesInParts(Batch, Vocab, Hidden), batch);
                (cut.parts * self.rows, vocab)
            }
            S::DembcatParts => (self.gradients_cut(First).dx_parts * self.rows, fan_in),
            S::WeightParts(layer) => {
                let (weight, _) = layer.tensors();
                let stride = self.len(S::Param(weight)).next_multiple_of(Self::ALIGN);
                (1, self.gradients_cut(layer).parts * stride)
            }
            S::BiasParts(layer) => {
                let (_, bias) = layer.tensors();
                let parts = self.gradients_cut(layer).parts;
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
            S::Chunk(K::CountsSumInv | K::CountsSum | K::LogitMaxes)
            | S::ChunkGrad(K::CountsSumInv | K::CountsSum | K::LogitMaxes) => (1, batch),
            S::Chunk(chunk) | S::ChunkGrad(chunk) => match chunk.shape(&self.dims)[..] {
                [rows, cols] => (rows, cols),
                ref shape => (1, shape.iter().product()),
            },
        }
    }

    /// Values of a slot on the device, pads included.
    pub fn len(&self, slot: Slot) -> usize {
        let (rows, cols) = self.extent(slot);
        let rows = match slot {
            // A sum over the rows of a weight goes in steps of four as well.
            S::Param(T::W1 | T::W2) | S::Grad(T::W1 | T::W2) => pitch(rows),
            _ => rows,
        };
        rows * pitch(cols)
    }

    /// Bytes that a copy of a slot's first `len` values takes: up to the last of them, with the pads of
    /// the rows before its own. A slot of one row may be as long as a whole chunk of steps needs, of
    /// which a submission fills a part.
    pub fn bytes_read(&self, slot: Slot, len: usize) -> u64 {
        let (_, cols) = self.extent(slot);
        let values = match len.checked_sub(1) {
            Some(last) => last / cols * pitch(cols) + last % cols + 1,
            None => 0,
        };
        4 * values as u64
    }

    /// The buffer that holds a slot, and the first value of the slot in it.
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

    fn size(&self, size: Size, rows: usize) -> usize {
        match size {
            Batch => rows,
            Vocab => self.dims.vocab,
            Embd => self.dims.embd,
            Hidden => self.dims.hidden,
            FanIn => self.dims.fan_in(),
        }
    }

    /// Slices of a sum at most, where workgroups have 64 invocations.
    const MAX_SLICES: usize = 16;
    /// Invocations of a workgroup that adds up columns, on a GPU: `partial` of
    /// shaders/staged/batchnorm.wgsl has room for this many.
    const ADDERS: usize = 256;
    /// From this many values of `h` on, the long sums of the products are cut into parts on a GPU. With
    /// slices, a workgroup has a few tiles with all of their terms, and hundreds of workgroups load the same
    /// rows and columns: for the logits of 4,096 rows with 2,048 units 184 MB. In parts, a workgroup has 64
    /// tiles, and it is 48 MB. (That is counted. No GPU was at hand to measure; on lavapipe, laid out as for
    /// one, the launches with long sums took 651 ms with slices and 352 in parts. As a software adapter has
    /// them, with neither, it was 521; but with minibatches of names, a third of the rows, the same as in
    /// parts.) Smaller products have less to gain, and the sums are launches more.
    const IN_PARTS: usize = 1 << 20;
    /// Parts of a sum at most, and loop iterations that each has at least in training.
    const MAX_PARTS: usize = 16;
    const PART_ROUNDS: usize = 16;
    /// Rounds of a loop that a slice has at least.
    const SLICE_ROUNDS: usize = 2;
    /// Invocations that keep any GPU busy. A processor is busy with one, and slices are only work for
    /// it: two slices everywhere made a lecture step on lavapipe take 760 us and not 500 (one thread).
    const ENOUGH: usize = 1 << 16;

    /// Slices for the sums of a launch: as many as it takes for enough invocations. A GPU is idle while
    /// a few of them add up thousands of terms.
    fn slices(&self, results: usize, rounds: usize, most: usize) -> usize {
        let mut slices = 1;
        while 2 * slices <= most
            && 2 * slices * Self::SLICE_ROUNDS <= rounds
            && 2 * slices * results <= self.enough
        {
            slices *= 2;
        }
        slices
    }

    /// Slices for tiles of 8 x 4 sums.
    fn tile_slices(&self, rows: usize, cols: usize, terms: usize) -> usize {
        let tiles = rows.div_ceil(8) * cols.div_ceil(4);
        self.slices(tiles, terms.div_ceil(4), Self::MAX_SLICES)
    }

    /// Parts for tiles of 8 x 4 sums: as many as it takes for enough invocations.
    fn tile_parts(&self, rows: usize, cols: usize, terms: usize) -> usize {
        let (tiles, rounds) = (rows.div_ceil(8) * cols.div_ceil(4), terms.div_ceil(4));
        let mut parts = 1;
        while 2 * parts <= Self::MAX_PARTS
            && 2 * parts * self.part_rounds <= rounds
            && parts * tiles < self.enough
        {
            parts *= 2;
        }
        parts
    }

    /// How the gradients of a layer are cut where they are cut into parts.
    fn gradients_cut(&self, layer: Layer) -> Cut {
        let grid = match layer {
            First => Grid::GradientsInParts(FanIn, Hidden, Dx::InParts),
            Second => Grid::GradientsInParts(Hidden, Vocab, Dx::InSlices),
        };
        self.cut_of(grid, self.dims.batch)
    }

    /// Values of `dC`, pads included.
    fn embeddings(&self) -> usize {
        self.dims.vocab * pitch(self.dims.embd)
    }

    /// The constants of a pipeline whose sums are cut like this, by their names in the shaders.
    pub fn constants(&self, cut: Cut) -> [(&'static str, f64); 5] {
        [
            ("SLICES", cut.slices),
            ("DX_SLICES", cut.dx_slices),
            ("PARTS", cut.parts),
            ("DX_PARTS", cut.dx_parts),
            ("INVOCATIONS", self.adders),
        ]
        .map(|(name, value)| (name, value as f64))
    }

    /// The words of the `Shape` that a launch over `rows` rows sees, which stand for `examples` examples.
    pub fn shape(&self, layer: Layer, rows: usize, examples: usize) -> [u32; 8] {
        bytemuck::cast(ShapeRecord::new(&self.dims, layer, rows, examples))
    }

    /// A tensor's first values, a whole number of rows, as they lie on the device: with their pads.
    pub fn with_pads<'a>(&self, slot: Slot, values: &'a [f32]) -> Cow<'a, [f32]> {
        let (_, cols) = self.extent(slot);
        if cols == pitch(cols) {
            values.into()
        } else {
            pad(values, cols).into()
        }
    }

    /// The words of `X`, `Uses` and `Targets` for some minibatches. Each takes `rows` rows; those that it
    /// does not have stand for no example.
    pub fn pack_steps(&self, minibatches: &[Rows], rows: usize) -> [Vec<u32>; 3] {
        let dims = &self.dims;
        let lengths = [
            packed_words(rows * dims.block),
            uses_words(dims, rows),
            targets_words(rows, dims.batch),
        ];
        let mut words = lengths.map(|length| vec![0; minibatches.len() * length]);
        let [x, uses, targets] = &mut words;
        let records = minibatches
            .iter()
            .zip(x.chunks_exact_mut(lengths[0]))
            .zip(uses.chunks_exact_mut(lengths[1]))
            .zip(targets.chunks_exact_mut(lengths[2]));
        for (((minibatch, x), uses), targets) in records {
            let x: &mut [u8] = bytemuck::cast_slice_mut(x);
            fill_up(minibatch.x(), dims.block, &mut x[..rows * dims.block]);
            list_uses(dims, pitch(dims.fan_in()), minibatch.x(), uses);
            list_targets(minibatch, rows, targets);
        }
        words
    }

    /// How the sums of a launch over `rows` rows are cut.
    pub fn cut_of(&self, grid: Grid, rows: usize) -> Cut {
        let size = |s| self.size(s, rows);
        match grid {
            Grid::Elements(..) | Grid::Vectors(..) | Grid::Params | Grid::Each(_) => Cut::NONE,
            Grid::Tiles(rows, cols, terms) => {
                Cut::slices(self.tile_slices(size(rows), size(cols), size(terms)))
            }
            Grid::TwoGradients(fan_in, fan_out) => {
                let (fan_in, fan_out) = (size(fan_in), size(fan_out));
                Cut {
                    slices: self.tile_slices(fan_in, fan_out, rows),
                    dx_slices: self.tile_slices(rows, fan_in, fan_out),
                    ..Cut::NONE
                }
            }
            Grid::TilesInParts(rows, cols, terms) | Grid::SumOfTiles(rows, cols, terms) => {
                Cut::parts(self.tile_parts(size(rows), size(cols), size(terms)))
            }
            Grid::GradientsInParts(fan_in, fan_out, dx) => {
                let (fan_in, fan_out) = (size(fan_in), size(fan_out));
                let cut = Cut::parts(self.tile_parts(fan_in, fan_out, rows));
                match dx {
                    Dx::InSlices => Cut {
                        dx_slices: self.tile_slices(rows, fan_in, fan_out),
                        ..cut
                    },
                    Dx::InParts => Cut {
                        dx_parts: self.tile_parts(rows, fan_in, fan_out),
                        ..cut
                    },
                }
            }
            Grid::SumOfGradients(fan_in, fan_out) => {
                Cut::parts(self.tile_parts(size(fan_in), size(fan_out), rows))
            }
            Grid::Columns(cols) => {
                // Four vectors side by side: what a memory brings at once.
                let (columns, most) = (size(cols).div_ceil(4), self.adders / 4);
                Cut::slices(self.slices(columns, rows.div_ceil(4), most))
            }
            Grid::Rows(cols) => {
                let rounds = size(cols).div_ceil(4);
                Cut::slices(self.slices(rows, rounds, Self::MAX_SLICES))
            }
            Grid::Embeddings => {
                // A frequent token has a sixteenth of all uses or so. One that has them all must
                // not bring an invocation near the 65,535 rounds after which Mesa 22 leaves loops.
                let uses = rows * self.dims.block;
                let at_least = uses.div_ceil(1 << 14).next_power_of_two();
                let slices = self.slices(self.embeddings(), uses / 16, Self::MAX_SLICES);
                Cut::slices(slices.max(at_least))
            }
        }
    }

    /// Workgroups of a launch over `rows` rows whose sums are cut by `cut`.
    pub fn groups_of(&self, grid: Grid, rows: usize, cut: Cut) -> [u32; 3] {
        let size = |s| self.size(s, rows);
        let of = |invocations: usize, results: usize| {
            let groups = results.div_ceil(invocations / cut.slices);
            [groups as u32, 1, 1]
        };
        match grid {
            Grid::Elements(rows, cols) => folded(size(rows) * pitch(size(cols))),
            Grid::Vectors(rows, cols) | Grid::SumOfTiles(rows, cols, _) => {
                folded(size(rows) * size(cols).div_ceil(4))
            }
            Grid::Params => folded(self.params / 4),
            Grid::Each(count) => folded(size(count)),
            Grid::Tiles(rows, cols, _) | Grid::TilesInParts(rows, cols, _) => {
                let groups = tile_groups(size(rows), size(cols), cut.slices);
                [(cut.parts * groups) as u32, 1, 1]
            }
            Grid::TwoGradients(fan_in, fan_out) | Grid::GradientsInParts(fan_in, fan_out, _) => {
                let weight = tile_groups(size(fan_in), size(fan_out), cut.slices);
                let input = tile_groups(rows, size(fan_in), cut.dx_slices);
                [(cut.parts * weight + cut.dx_parts * input) as u32, 1, 1]
            }
            Grid::SumOfGradients(fan_in, fan_out) => {
                let weight = pitch(size(fan_in)) * pitch(size(fan_out));
                let values = weight.next_multiple_of(Self::ALIGN) + pitch(size(fan_out));
                folded(values / 4)
            }
            Grid::Columns(cols) => of(self.adders, size(cols).div_ceil(4)),
            Grid::Rows(_) => of(WORKGROUP, rows),
            Grid::Embeddings => of(WORKGROUP, self.embeddings()),
        }
    }

    /// Whether the adapter can hold this model and run these tables.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`], with the first limit that is too low.
    pub fn check(
        &self,
        tables: &[&[Launch]],
        limits: &wgpu::Limits,
        adapter: &str,
    ) -> Result<(), DeviceError> {
        let error = |limit, needed, available| {
            Err(DeviceError::Limit {
                adapter: adapter.to_owned(),
                limit,
                needed,
                available,
            })
        };
        let launches = || tables.iter().copied().flatten();
        let bindings = launches().map(|l| l.binds.len()).max().unwrap_or(0) as u32;
        if limits.max_storage_buffers_per_shader_stage < bindings {
            let available = limits.max_storage_buffers_per_shader_stage;
            return error(
                "maxStorageBuffersPerShaderStage",
                bindings.into(),
                available.into(),
            );
        }
        if limits.max_compute_invocations_per_workgroup < WORKGROUP as u32 {
            let available = limits.max_compute_invocations_per_workgroup;
            return error(
                "maxComputeInvocationsPerWorkgroup",
                WORKGROUP as u64,
                available.into(),
            );
        }
        let largest = launches()
            .flat_map(|l| l.binds)
            .map(|&(_, slot)| 4 * self.len(self.place(slot).0) as u64)
            .max()
            .unwrap_or(0);
        if limits.max_storage_buffer_binding_size < largest {
            let available = limits.max_storage_buffer_binding_size;
            return error("maxStorageBufferBindingSize", largest, available);
        }
        if limits.max_buffer_size < largest {
            return error("maxBufferSize", largest, limits.max_buffer_size);
        }
        Ok(())
    }
}

/// Workgroups for tiles of 8 x 4 sums, as shaders/staged/linear.wgsl arranges them.
fn tile_groups(rows: usize, cols: usize, slices: usize) -> usize {
    let (high, wide) = (rows.div_ceil(8), cols.div_ceil(4));
    let tiles = WORKGROUP / slices;
    let tiles_wide = tiles.min(if wide <= 8 { 8 } else { 16 });
    wide.div_ceil(tiles_wide) * high.div_ceil(tiles / tiles_wide)
}

/// A launch with its pipeline and bindings.
struct Ready {
    pipeline: ComputePipeline,
    bindings: BindGroup,
    grid: Grid,
    cut: Cut,
    workgroups: [u32; 3],
}

impl Ready {
    fn encode(&self, pass: &mut ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        let [x, y, z] = self.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// A list of launches over a given number of rows.
pub struct Pass {
    launches: Vec<Ready>,
    /// Sizes of the first and the second layer.
    shapes: [Buffer; 2],
}

/// What a pipeline depends on: its entry point, and how its sums are cut.
type Kernel = (&'static str, Cut);

/// A device with the tensors and the pipelines of some tables.
pub struct Machine {
    /// The device.
    pub gpu: Gpu,
    /// Where the tensors lie.
    pub layout: Layout,
    buffers: HashMap<Slot, Buffer>,
    /// The module of each entry point, and the numbers of its variables.
    modules: HashMap<&'static str, (ShaderModule, Bindings)>,
    /// What was made of them so far.
    pipelines: Mutex<HashMap<Kernel, ComputePipeline>>,
}

impl Machine {
    /// Opens the adapter, compiles `modules` and makes the tensors that `tables` bind, all zero.
    ///
    /// # Errors
    ///
    /// The adapter cannot hold the model, cannot be opened, or refuses a kernel.
    pub async fn new(
        found: &Found,
        dims: Dims,
        tables: &[&[Launch]],
        modules: &[Module],
    ) -> Result<Self, DeviceError> {
        let layout = Layout::of(found, dims);
        Self::with_layout(found, layout, tables, modules).await
    }

    /// Opens the adapter as [`Machine::new`] does, with a given layout.
    ///
    /// # Errors
    ///
    /// As for [`Machine::new`].
    pub async fn with_layout(
        found: &Found,
        layout: Layout,
        tables: &[&[Launch]],
        modules: &[Module],
    ) -> Result<Self, DeviceError> {
        // The adapter's limits are known before anything is opened or compiled.
        layout.check(tables, &found.adapter.limits(), &found.info.name)?;
        Self::on(Gpu::open(found).await?, layout, tables, modules).await
    }

    /// The same on a device that is open.
    ///
    /// # Errors
    ///
    /// As for [`Machine::new`], but a model that does not fit is a fault of the device.
    pub async fn on(
        gpu: Gpu,
        layout: Layout,
        tables: &[&[Launch]],
        modules: &[Module],
    ) -> Result<Self, DeviceError> {
        let read = gpu.modules(modules).await?;
        let mut of_entries = HashMap::new();
        for (module, shader) in modules.iter().zip(read) {
            let of_entry = (shader, module.source.bindings());
            let entries = module.entry_points.iter();
            of_entries.extend(entries.map(|&entry| (entry, of_entry.clone())));
        }
        let mut buffers = HashMap::new();
        for &(_, slot) in tables.iter().copied().flatten().flat_map(|l| l.binds) {
            let (slot, _) = layout.place(slot);
            buffers
                .entry(slot)
                .or_insert_with(|| gpu.storage(&format!("{slot:?}"), 4 * layout.len(slot) as u64));
        }
        gpu.check()?;
        Ok(Self {
            gpu,
            layout,
            buffers,
            modules: of_entries,
            pipelines: Mutex::default(),
        })
    }

    /// Compiles those kernels of some tables that are not compiled yet, each table for launches over a
    /// number of rows. A driver takes up to a second per kernel, so several cores compile at once.
    ///
    /// A kernel that is refused is a fault of the device.
    pub fn compile(&self, tables: &[(&[Launch], usize)]) {
        let mut there = self.lock_pipelines();
        let mut wanted = Vec::new();
        for &(table, rows) in tables {
            for launch in table {
                let kernel = self.kernel(launch, rows);
                if !there.contains_key(&kernel) && !wanted.contains(&kernel) {
                    wanted.push(kernel);
                }
            }
        }
        let made = share_out(cores(), wanted, |kernel| {
            let (entry, cut) = kernel;
            let constants = self.layout.constants(cut);
            let (module, _) = &self.modules[entry];
            let pipeline = self.gpu.pipeline(module, entry, &constants);
            (kernel, pipeline)
        });
        there.extend(made);
    }

    /// What the pipeline of a launch over `rows` rows depends on.
    fn kernel(&self, launch: &Launch, rows: usize) -> Kernel {
        (launch.kernel, self.layout.cut_of(launch.grid, rows))
    }

    fn lock_pipelines(&self) -> MutexGuard<'_, HashMap<Kernel, ComputePipeline>> {
        self.pipelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Uploads all seven parameters.
    pub fn write_params(&self, params: &Params<f32>) {
        for tensor in Tensor::ALL {
            self.write(Slot::Param(tensor), params.get(tensor));
        }
    }

    /// Overwrites a tensor's first values, a whole number of rows, and their pads with zeros.
    pub fn write(&self, slot: Slot, values: &[f32]) {
        let (buffer, first) = self.layout.place(slot);
        let values = self.layout.with_pads(slot, values);
        let bytes = bytemuck::cast_slice(&values);
        let buffer = &self.buffers[&buffer];
        self.gpu.queue.write_buffer(buffer, 4 * first as u64, bytes);
    }

    /// The first `len` values of a tensor.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn read(&self, slot: Slot, len: usize) -> Result<Vec<f32>, DeviceError> {
        let sources = [self.range(slot, len)];
        let bytes = self.gpu.finish_and_read(self.encoder(), &sources).await?;
        Ok(self.values(slot, len, &bytes[0]))
    }

    /// The first `len` values of a tensor, from the bytes of their [`range`](Self::range).
    pub fn values(&self, slot: Slot, len: usize, bytes: &[u8]) -> Vec<f32> {
        let (_, cols) = self.layout.extent(slot);
        let padded: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
        let rows = padded.chunks(pitch(cols));
        let mut values: Vec<f32> = rows
            .flat_map(|row| &row[..cols.min(row.len())])
            .copied()
            .collect();
        values.truncate(len);
        values
    }

    /// All seven parameters.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn read_params(&self) -> Result<Params<f32>, DeviceError> {
        let layout = &self.layout;
        let sources = [self.range(S::Params, layout.params)];
        let bytes = self.gpu.finish_and_read(self.encoder(), &sources).await?;
        Ok(Params::from_fn(|tensor| {
            let first = layout.offsets[tensor as usize];
            let slot = S::Param(tensor);
            let bytes = &bytes[0][4 * first..4 * (first + layout.len(slot))];
            self.values(slot, tensor.len(&layout.dims), bytes)
        }))
    }

    /// Uploads the minibatches and learning rates of some steps, and resets the device's counters. Each
    /// minibatch takes `rows` rows; those that it does not have stand for no example.
    pub fn write_steps(&self, minibatches: &[Rows], rows: usize, lr: &[f32]) {
        let words = self.layout.pack_steps(minibatches, rows);
        for (slot, words) in [S::X, S::Uses, S::Targets].into_iter().zip(&words) {
            self.upload(slot, bytemuck::cast_slice(words));
        }
        self.write(S::Lr, lr);
        self.write(S::Progress, &[0.0, 0.0]);
    }

    /// The same for a single step, whose launches can then be run one by one with [`Machine::run`]. Each
    /// example has a row of its own, as in the lecture.
    pub fn write_step(&self, x: &[u8], y: &[u8], lr: f32) {
        let dims = &self.layout.dims;
        self.write_steps(&[Rows::apart(x, y, dims.block)], dims.batch, &[lr]);
        // The kernels of the chunked pass know no other rows.
        if self.buffers.contains_key(&S::Y) {
            let mut packed = y.to_vec();
            packed.resize(4 * packed_words(y.len()), 0);
            self.upload(S::Y, &packed);
        }
    }

    /// Uploads contexts that are to be evaluated.
    pub fn write_rows(&self, rows: &Rows) {
        let mut packed = rows.x().to_vec();
        packed.resize(4 * packed_words(packed.len()), 0);
        self.upload(S::X, &packed);
        let targets: usize = (0..rows.len()).map(|row| rows.targets(row).len()).sum();
        let mut list = vec![0; targets_words(rows.len(), targets)];
        list_targets(rows, rows.len(), &mut list);
        self.upload(S::Targets, bytemuck::cast_slice(&list));
        self.write(S::Progress, &[0.0, 0.0]);
    }

    fn upload(&self, slot: Slot, bytes: &[u8]) {
        self.gpu.queue.write_buffer(&self.buffers[&slot], 0, bytes);
    }

    /// Runs some launches of a pass, once, and waits for them.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn run(&self, pass: &Pass, launches: Range<usize>) -> Result<(), DeviceError> {
        let mut encoder = self.encoder();
        encode(&mut encoder, &pass.launches[launches], 1);
        self.gpu.finish_and_read(encoder, &[]).await?;
        Ok(())
    }

    /// Starts a list of commands.
    pub fn encoder(&self) -> CommandEncoder {
        self.gpu.device.create_command_encoder(&Default::default())
    }

    /// Buffer, offset and length in bytes of what holds a slot's first `len` values.
    pub fn range(&self, slot: Slot, len: usize) -> (&Buffer, u64, u64) {
        let (buffer, first) = self.layout.place(slot);
        let bytes = self.layout.bytes_read(slot, len);
        (&self.buffers[&buffer], 4 * first as u64, bytes)
    }

    /// Binds a table to the tensors, for launches over at most `rows` rows, each of them an example
    /// until [`Pass::set_rows`] says otherwise.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Shader`]: a shader has no variable of a name that a launch binds.
    pub fn pass(&self, table: &[Launch], rows: usize) -> Result<Pass, DeviceError> {
        let Self {
            gpu,
            layout,
            buffers,
            ..
        } = self;
        self.compile(&[(table, rows)]);
        let pipelines = self.lock_pipelines();
        let shapes = [First, Second].map(|layer| {
            let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("shape"),
                size: size_of::<ShapeRecord>() as u64,
                usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let record = ShapeRecord::new(&layout.dims, layer, rows, rows);
            gpu.queue
                .write_buffer(&buffer, 0, bytemuck::bytes_of(&record));
            buffer
        });
        let ready = |launch: &Launch| -> Result<Ready, DeviceError> {
            let kernel = self.kernel(launch, rows);
            let (entry, cut) = kernel;
            let pipeline = pipelines[&kernel].clone();
            let mut resources = Vec::with_capacity(launch.binds.len() + 1);
            // The update needs no sizes: it covers its buffer, whatever lies in it.
            if !matches!(launch.grid, Grid::Params) {
                let shape = &shapes[launch.layer as usize];
                resources.push(("shape", shape.as_entire_binding()));
            }
            for &(name, slot) in launch.binds {
                let (buffer, first) = layout.place(slot);
                let range = wgpu::BufferBinding {
                    buffer: &buffers[&buffer],
                    offset: 4 * first as u64,
                    size: wgpu::BufferSize::new(4 * layout.len(slot) as u64),
                };
                resources.push((name, wgpu::BindingResource::Buffer(range)));
            }
            let (_, bindings) = &self.modules[entry];
            Ok(Ready {
                bindings: gpu.bind(&pipeline, entry, bindings, resources)?,
                pipeline,
                grid: launch.grid,
                cut,
                workgroups: layout.groups_of(launch.grid, rows, cut),
            })
        };
        let launches = table.iter().map(ready).collect::<Result<_, _>>()?;
        Ok(Pass { launches, shapes })
    }
}

impl Pass {
    /// Sets the number of rows, at most that for which the pass was made, and of the examples that they
    /// stand for. It applies to what is encoded and submitted after this.
    ///
    /// The sums are cut as before: rows without examples at the end change no bit of them.
    pub fn set_rows(&mut self, machine: &Machine, rows: usize, examples: usize) {
        let Machine { layout, gpu, .. } = machine;
        for (buffer, layer) in self.shapes.iter().zip([First, Second]) {
            let record = ShapeRecord::new(&layout.dims, layer, rows, examples);
            gpu.queue
                .write_buffer(buffer, 0, bytemuck::bytes_of(&record));
        }
        for launch in &mut self.launches {
            launch.workgroups = layout.groups_of(launch.grid, rows, launch.cut);
        }
    }

    /// Records `times` rounds of the launches.
    pub fn encode(&self, encoder: &mut CommandEncoder, times: usize) {
        encode(encoder, &self.launches, times);
    }

    /// The same with a timed pass for each launch.
    pub fn encode_timed(&self, encoder: &mut CommandEncoder, times: usize, profiler: &Profiler) {
        let launches = (0..times).flat_map(|_| &self.launches);
        for (i, launch) in launches.enumerate() {
            launch.encode(&mut encoder.begin_compute_pass(&profiler.pass(i)));
        }
    }
}

/// Records `times` rounds of a list of launches.
fn encode(encoder: &mut CommandEncoder, launches: &[Ready], times: usize) {
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for _ in 0..times {
        for launch in launches {
            launch.encode(&mut pass);
        }
    }
}

/// Rows of `cols` values with their pads.
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

/// Words that `tokens` tokens take, four to a word.
fn packed_words(tokens: usize) -> usize {
    tokens.div_ceil(4)
}

/// The contexts `x (.., block)`, and the first of them again until `all` is full: what comes of it is
/// finite where `x` is, and counts for nothing.
fn fill_up(x: &[u8], block: usize, all: &mut [u8]) {
    let (own, others) = all.split_at_mut(x.len());
    own.copy_from_slice(x);
    for other in others.chunks_exact_mut(block) {
        other.copy_from_slice(&x[..block]);
    }
}

/// Words of a step's lists of targets.
fn targets_words(rows: usize, targets: usize) -> usize {
    rows + 1 + targets
}

/// What follows the context of each row, as shaders/staged/targets.wgsl reads it: the end of each row's
/// list, behind a 0; then the lists, row after row. Rows beyond the last have no targets.
fn list_targets(minibatch: &Rows, rows: usize, list: &mut [u32]) {
    let (ends, targets) = list.split_at_mut(rows + 1);
    let mut end = 0;
    ends[0] = 0;
    for (row, to) in ends[1..].iter_mut().enumerate() {
        if row < minibatch.len() {
            for &Target { token, examples } in minibatch.targets(row) {
                targets[end] = u32::from(token) | examples << 8;
                end += 1;
            }
        }
        *to = end as u32;
    }
}

/// Words of a step's lists of uses.
pub(super) fn uses_words(dims: &Dims, rows: usize) -> usize {
    dims.vocab + 1 + rows * dims.block
}

/// Where each token stands in the contexts `x (rows, block)` of a step: a row of dC is added up from
/// the list of its token. First the end of each token's list, behind a 0; then the lists, token after
/// token: where the embedding of each use begins in `dembcat`, whose rows are `row` values apart, in
/// the order of the positions.
pub(super) fn list_uses(dims: &Dims, row: usize, x: &[u8], uses: &mut [u32]) {
    let (ends, places) = uses.split_at_mut(dims.vocab + 1);
    // A counting sort: the lengths of the lists, then their beginnings, which move on to their ends
    // as the lists are filled.
    ends.fill(0);
    for &token in x {
        ends[usize::from(token) + 1] += 1;
    }
    let mut first = 0;
    for end in ends.iter_mut() {
        (first, *end) = (first + *end, first);
    }
    let (row, embd) = (row as u32, dims.embd as u32);
    for (r, tokens) in (0..).zip(x.chunks_exact(dims.block)) {
        for (k, &token) in (0..).zip(tokens) {
            let end = &mut ends[usize::from(token) + 1];
            places[*end as usize] = r * row + k * embd;
            *end += 1;
        }
    }
}

/// Values as they come back from the device.
pub fn to_f32(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uses_of_each_token_are_listed_in_the_order_of_the_positions() {
        let dims = Dims {
            vocab: 4,
            block: 3,
            embd: 5,
            hidden: 1,
            batch: 2,
        };
        let mut uses = [9; 4 + 1 + 6];
        list_uses(&dims, 16, &[2, 0, 2, 3, 2, 0], &mut uses);
        // A row of dembcat has 15 values and a pad of one.
        let (ends, places) = ([0, 2, 2, 5, 6], [5, 16 + 10, 0, 10, 16 + 5, 16]);
        assert_eq!(uses, [&ends[..], &places].concat()[..]);
    }

    #[test]
    fn the_targets_of_each_row_are_listed_and_the_rows_filled_up() {
        let y = [7, 8, 7, 7];
        let rows = Rows::merged(&[1, 2, 1, 2, 3, 4, 1, 2], Some(&y), 2);
        let mut list = [9; 4 + 1 + 4];
        list_targets(&rows, 4, &mut list);
        let (ends, lists) = ([0, 2, 3, 3, 3], [7 | 2 << 8, 8 | 1 << 8, 7 | 1 << 8, 9]);
        assert_eq!(list, [&ends[..], &lists].concat()[..]);
        let mut x = [9; 8];
        fill_up(rows.x(), 2, &mut x);
        assert_eq!(x, [1, 2, 3, 4, 1, 2, 1, 2]);
    }

    #[test]
    fn rows_are_padded_to_multiples_of_four_values() {
        assert_eq!([1, 4, 5].map(pitch), [4, 4, 8]);
        let (a, b) = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
        let want = [&a[..], &[0.0], &b, &[0.0]].concat();
        assert_eq!(pad(&[a, b].concat(), 3), want);
    }

    #[test]
    fn a_read_back_takes_what_is_read_and_no_more() {
        for software in [false, true] {
            for dims in [Dims::LECTURE, Dims::LECTURE.with_batch(4096)] {
                let layout = Layout::new(dims, software);
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
        let layout = Layout::new(Dims::LECTURE, true);
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
        let slices = |software, results, rounds| {
            Layout::new(Dims::LECTURE, software).slices(results, rounds, Layout::MAX_SLICES)
        };
        assert_eq!(slices(true, 28, 50), 1);
        assert_eq!(slices(false, 28, 50), 16); // logits: 28 tiles, 50 rounds
        assert_eq!(slices(false, 28, 3), 1);
        assert_eq!(slices(false, 1 << 15, 50), 2);
        assert_eq!(slices(false, 1 << 16, 50), 1);
    }
}
