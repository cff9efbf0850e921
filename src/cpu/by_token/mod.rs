//! The training step by distinct contexts and distinct tokens, for vector units.
//!
//! `src/cpu/scalar.rs` has this step in plain loops, with the derivation: read it first. Two products are the
//! heart of it. `C[v] @ W1[t]` is computed once for all contexts that have token `v` at position `t`, and
//! with `S[t, v]`, the sum of `dhprebn` over these contexts,
//!
//! ```text
//! dW1[t] = sum over v of C[v].T @ S[t, v]         dC[v] = sum over t of S[t, v] @ W1[t].T
//! ```
//!
//! How much it saves: of the 32 contexts of a minibatch of the lecture, 28 are distinct on average, and of
//! 4,096 some 1,340, because every seventh example of the names is the beginning of one. Of the 96 tokens of
//! a minibatch of the lecture, counted by position, about 40 are distinct; of the 12,288 of 4,096 examples,
//! at most 81.
//!
//! What else makes it fast:
//!
//! * A hidden unit is a lane. Thirty-two units form a panel (`panel/mod.rs`), whose part of every phase stays in
//!   the first-level cache.
//! * Batch norm subtracts the mean of `hprebn`. So the embeddings of a position are centred (their mean over the
//!   minibatch is subtracted), the sum of their products is `bndiff`, and `b1` has no effect.
//! * Contexts are worked on in blocks of thirty-two. A minibatch with one block keeps all activations until
//!   batch norm's sums are complete (`panel/one_block.rs`); one with more takes another path to `dhprebn`
//!   (`panel/many_blocks.rs`).
//! * All products are tiles of sums in registers (`tile` in `src/reference/linear.rs`), over operands in the
//!   order in which they are read. Gradients of weights go from registers into the update, except `dW2` with
//!   many blocks, which is a sum over them.
//! * The phases are compiled for several sets of vector instructions: `phases.rs`, which also explains the const
//!   generics.
//!
//! The formulas are the functions of `src/reference`. The tests compare this step with PyTorch, with the
//! reference and with the plain loops.

mod contexts;
mod lines;
mod panel;
mod phases;
mod shared;
mod team;
mod tokens;

use crate::model::dims::{Dims, Token};
use crate::model::params::{Params, Tensor};
use crate::reference::linear::Tile;
use crate::reference::real::Real;
use contexts::CONTEXT_BLOCK;
use lines::{LINE, Line, lines};
use panel::Panel;
use phases::Phases;
use shared::{LogitSums, Logits, Shared};
use tokens::{Piece, pieces};

pub use lines::Transpose;
pub(super) use phases::NATIVE;
pub(super) use team::{Minibatch, Team};

/// A model with all that a training step needs.
#[derive(Clone, Debug)]
pub struct ByToken<R> {
    shared: Shared<R>,
    panels: Vec<Panel<R>>,
    logits: Logits<R>,
    sums: LogitSums<R>,
}

impl<R: Real + Transpose> ByToken<R> {
    /// A model that starts from `params`.
    pub fn new(dims: Dims, params: &Params<R>) -> Self {
        let panel = |p: usize| Panel::new(LINE.min(dims.hidden - p * LINE), &dims);
        let mut model = Self {
            shared: Shared::new(dims),
            panels: (0..lines(dims.hidden)).map(panel).collect(),
            logits: Logits::new(&dims),
            sums: LogitSums::new(&dims),
        };
        model.set_params(params);
        model
    }

    /// How many of `cores` are worth using for a step: see `team.rs`. (Measured on two cores of a Zen 4, with
    /// both and with one: a step of 128 examples with 200 hidden units takes 69 us and 75, of 256 examples
    /// 104 and 124, of 4,096 examples with 2,048 units 4.2 ms and 7.6.)
    pub fn workers(dims: &Dims, cores: usize) -> usize {
        let pays = dims.batch > CONTEXT_BLOCK && dims.batch * dims.hidden >= 32_768;
        if pays {
            cores.clamp(1, lines(dims.hidden))
        } else {
            1
        }
    }

    /// The current parameters.
    pub fn params(&self) -> Params<R> {
        let dims = &self.shared.dims;
        let Shared { c, b1, b2, .. } = &self.shared;
        self.collect(c, b1, b2, |tensor, unit, i| {
            let panel = &self.panels[unit / LINE];
            let line = match tensor {
                Tensor::W1 => &panel.w1[i / dims.hidden],
                Tensor::W2 => &panel.w2[i % dims.vocab],
                Tensor::Bngain => &panel.bngain,
                _ => &panel.bnbias,
            };
            line[unit % LINE]
        })
    }

    /// The gradients of the last [`ByToken::step_with_grads`].
    pub fn grads(&self) -> Params<R> {
        let dims = &self.shared.dims;
        let db1 = vec![R::zero(); dims.hidden];
        self.collect(
            &self.shared.dc,
            &db1,
            &self.shared.db2,
            |tensor, unit, i| {
                let panel = &self.panels[unit / LINE];
                let line = match tensor {
                    Tensor::W1 => &panel.dw1[i / dims.hidden],
                    Tensor::W2 => &panel.dw2[i % dims.vocab],
                    Tensor::Bngain => &panel.dbngain,
                    _ => &panel.dbnbias,
                };
                line[unit % LINE]
            },
        )
    }

    /// Seven tensors in the lecture's layout: `c`, `b1` and `b2` as given, the others value by value from
    /// tensor, unit and index.
    fn collect(
        &self,
        c: &[Piece<R>],
        b1: &[R],
        b2: &[R],
        value: impl Fn(Tensor, usize, usize) -> R,
    ) -> Params<R> {
        let dims = &self.shared.dims;
        Params::from_fn(|tensor| match tensor {
            Tensor::C => {
                let rows = c.chunks_exact(pieces(dims));
                rows.flat_map(|row| &row.as_flattened()[..dims.embd])
                    .copied()
                    .collect()
            }
            Tensor::B1 => b1.to_vec(),
            Tensor::B2 => b2.to_vec(),
            _ => (0..tensor.len(dims))
                .map(|i| value(tensor, unit(tensor, i, dims), i))
                .collect(),
        })
    }

    /// Replaces the parameters.
    pub fn set_params(&mut self, params: &Params<R>) {
        let Shared {
            dims, c, b1, b2, ..
        } = &mut self.shared;
        let rows = c.chunks_exact_mut(pieces(dims));
        for (row, values) in rows.zip(params.c.chunks_exact(dims.embd)) {
            row.as_flattened_mut()[..dims.embd].copy_from_slice(values);
        }
        b1.copy_from_slice(&params.b1);
        b2.copy_from_slice(&params.b2);
        // Unused lanes stay zero, unless the model diverges.
        for panel in &mut self.panels {
            panel.w1.fill(Line::zero());
            panel.w2.fill(Line::zero());
            (panel.bngain, panel.bnbias) = (Line::zero(), Line::zero());
        }
        for tensor in [Tensor::W1, Tensor::W2, Tensor::Bngain, Tensor::Bnbias] {
            for (i, &value) in params.get(tensor).iter().enumerate() {
                let unit = unit(tensor, i, dims);
                let panel = &mut self.panels[unit / LINE];
                let line = match tensor {
                    Tensor::W1 => &mut panel.w1[i / dims.hidden],
                    Tensor::W2 => &mut panel.w2[i % dims.vocab],
                    Tensor::Bngain => &mut panel.bngain,
                    _ => &mut panel.bnbias,
                };
                line[unit % LINE] = value;
            }
        }
    }

    /// One step of gradient descent over `x (batch, block)`, `y (batch)`. Returns the loss before
    /// the update.
    pub fn step<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[Token],
        y: &[Token],
        lr: R,
    ) -> R {
        let phases = Phases::of::<FMA, ROWS, COLS, PARTS, false>(tile);
        self.run(tile, &phases, x, y, lr)
    }

    /// The same step as [`ByToken::step`], which also stores the gradients for [`ByToken::grads`]. Training
    /// does not need them.
    pub fn step_with_grads<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
    >(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[Token],
        y: &[Token],
        lr: R,
    ) -> R {
        let phases = Phases::of::<FMA, ROWS, COLS, PARTS, true>(tile);
        self.run(tile, &phases, x, y, lr)
    }

    /// A step with these phases. Everything else in it is compiled for the target features of the caller.
    #[inline(always)]
    pub(super) fn run<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        phases: &Phases<R>,
        x: &[Token],
        y: &[Token],
        lr: R,
    ) -> R {
        let Self {
            shared,
            panels,
            logits,
            sums,
        } = self;
        shared.begin(x, y, ROWS);
        let step = &shared.step(lr);
        for panel in &mut *panels {
            (phases.statistics)(panel, step);
        }
        sums.clear();
        for block in 0..shared.contexts.blocks() {
            for panel in &mut *panels {
                (phases.activate)(panel, step, block);
            }
            shared.last_layer(tile, panels.iter(), block, logits);
            for panel in &mut *panels {
                (phases.through_second_layer)(panel, step, &logits.dlogits, block);
            }
            sums.add(&logits.sums);
        }
        if shared.contexts.blocks() > 1 {
            for panel in &mut *panels {
                (phases.after_blocks)(panel, step);
            }
        }
        let loss = shared.end(tile, panels.iter(), sums, lr);
        let step = &shared.step(lr);
        for panel in panels {
            (phases.update)(panel, step);
        }
        loss
    }
}

/// The hidden unit that a value of a tensor belongs to.
fn unit(tensor: Tensor, i: usize, dims: &Dims) -> usize {
    match tensor {
        Tensor::W2 => i / dims.vocab,
        _ => i % dims.hidden,
    }
}
