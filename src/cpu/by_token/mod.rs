//! The training step by distinct contexts and distinct tokens: a hidden unit a lane, each product with
//! an embedding done once for all contexts that share it, and each context once for all examples.
//!
//! Every seventh example of the names is the beginning of one, so that their contexts are the same; of
//! the 32 of a minibatch of the lecture 28 are distinct, of 4,096 some 1,340. What the model makes of
//! equal contexts is equal, `h` and the probabilities too; only the targets are not. So with `c` the
//! number of examples that have a context, batch norm weighs it `c` times, and its row of `dlogits`,
//! summed over those examples, is
//!
//! ```text
//! dlogits = (c * probs - the number of times that each token follows) / n
//! ```
//!
//! From there back all rows are such sums: each step is linear in them, but for the means that batch
//! norm takes off each example, which are `c` times as much of a sum.
//!
//! The twin in [`super::Model`] computes `hprebn = embcat @ W1 + b1` as the lecture does, a row of
//! `embcat` for each example. But `embcat` is a few rows of `C` side by side, so that
//!
//! ```text
//! hprebn[b] = b1 + sum over the positions t of C[X[b, t]] @ W1[t]         W1[t]: the rows of position t
//! ```
//!
//! and `C[v] @ W1[t]` is the same for all examples that have the token `v` there. Of the 96 tokens of a
//! minibatch of the lecture about 40 are distinct in this sense; of the 12,288 of a minibatch of 4,096
//! at most 81. With `S[t, v]` the sum of `dhprebn[b]` over the examples that have `v` at `t`, the
//! backward pass gains as much:
//!
//! ```text
//! dW1[t] = sum over v of C[v].T @ S[t, v]         dC[v] = sum over t of S[t, v] @ W1[t].T
//! ```
//!
//! What else makes it fast:
//!
//! * Batch norm takes the mean of `hprebn` off. So the embeddings of a position are taken less their
//!   mean over the minibatch, and `bndiff` is the sum of their products; `b1` has no effect.
//! * Thirty-two units are a panel, whose part of every phase stays in the first-level cache.
//! * More than thirty-two contexts go through all phases that do not need the others thirty-two at a
//!   time. `dhprebn` needs them, but is linear in what does not: its sums are made of sums.
//! * All products are tiles of registers over operands that lie as they are read
//!   (`tile` in `src/reference/linear.rs`); the gradients of weights go straight into the update, but for those
//!   of `W2` where they are the sum of several chunks.
//!
//! The formulas are the twin's own functions; the tests hold this against PyTorch and the twin.

mod common;
mod contexts;
mod lines;
mod panel;
mod phases;
mod team;
mod tokens;

use crate::model::dims::Dims;
use crate::model::params::{Params, Tensor};
use crate::reference::linear::Tile;
use crate::reference::real::Real;
use common::{Common, LogitSums, Logits};
use contexts::CHUNK;
use lines::{LINE, Line, lines};
use panel::Panel;
use phases::Phases;
use tokens::{Piece, pieces};

pub use lines::Turn;
pub(super) use phases::NATIVE;
pub(super) use team::{Example, Team};

/// A model with all that a training step needs.
#[derive(Clone, Debug)]
pub struct ByToken<R> {
    common: Common<R>,
    panels: Vec<Panel<R>>,
    logits: Logits<R>,
    sums: LogitSums<R>,
}

impl<R: Real + Turn> ByToken<R> {
    /// A model that starts from `params`.
    pub fn new(dims: Dims, params: &Params<R>) -> Self {
        let panel = |p: usize| Panel::new(LINE.min(dims.hidden - p * LINE), &dims);
        let mut model = Self {
            common: Common::new(dims),
            panels: (0..lines(dims.hidden)).map(panel).collect(),
            logits: Logits::new(&dims),
            sums: LogitSums::new(&dims),
        };
        model.set_params(params);
        model
    }

    /// How many of `cores` it pays to have work on a step: see `team.rs`. (Measured on two cores of a Zen
    /// 4: a step of 128 examples with 200 hidden units takes 69 us instead of 75, of 256 104 instead of
    /// 124, of 4,096 with 2,048 units 4.2 ms instead of 7.6.)
    pub fn workers(dims: &Dims, cores: usize) -> usize {
        let pays = dims.batch > CHUNK && dims.batch * dims.hidden >= 32_768;
        if pays {
            cores.clamp(1, lines(dims.hidden))
        } else {
            1
        }
    }

    /// The parameters as they stand.
    pub fn params(&self) -> Params<R> {
        let dims = &self.common.dims;
        let Common { c, b1, b2, .. } = &self.common;
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
        let dims = &self.common.dims;
        let db1 = vec![R::zero(); dims.hidden];
        self.collect(
            &self.common.dc,
            &db1,
            &self.common.db2,
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

    /// Seven tensors in the lecture's layout: three that lie here, and the others value by value, from
    /// tensor, unit and index.
    fn collect(
        &self,
        c: &[Piece<R>],
        b1: &[R],
        b2: &[R],
        value: impl Fn(Tensor, usize, usize) -> R,
    ) -> Params<R> {
        let dims = &self.common.dims;
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
        let Common {
            dims, c, b1, b2, ..
        } = &mut self.common;
        let rows = c.chunks_exact_mut(pieces(dims));
        for (row, values) in rows.zip(params.c.chunks_exact(dims.embd)) {
            row.as_flattened_mut()[..dims.embd].copy_from_slice(values);
        }
        b1.copy_from_slice(&params.b1);
        b2.copy_from_slice(&params.b2);
        // Lanes without a unit stay zero, unless the model diverges.
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
        x: &[u8],
        y: &[u8],
        lr: R,
    ) -> R {
        let phases = Phases::of::<FMA, ROWS, COLS, PARTS, false>(tile);
        self.run(tile, &phases, x, y, lr)
    }

    /// The same step, after which [`ByToken::grads`] has its gradients. Training needs none and does
    /// not write those of `W1`.
    pub fn step_with_grads<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
    >(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[u8],
        y: &[u8],
        lr: R,
    ) -> R {
        let phases = Phases::of::<FMA, ROWS, COLS, PARTS, true>(tile);
        self.run(tile, &phases, x, y, lr)
    }

    /// A step with these phases of panels. The rest of it is compiled for what the caller is.
    #[inline(always)]
    pub(super) fn run<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        phases: &Phases<R>,
        x: &[u8],
        y: &[u8],
        lr: R,
    ) -> R {
        let Self {
            common,
            panels,
            logits,
            sums,
        } = self;
        common.begin(x, y, ROWS);
        let step = &common.step(lr);
        for panel in &mut *panels {
            (phases.statistics)(panel, step);
        }
        sums.clear();
        for chunk in 0..common.contexts.chunks() {
            for panel in &mut *panels {
                (phases.activate)(panel, step, chunk);
            }
            common.last_layer(tile, panels.iter(), chunk, logits);
            for panel in &mut *panels {
                (phases.through_second_layer)(panel, step, &logits.dlogits, chunk);
            }
            sums.add(&logits.sums);
        }
        if common.contexts.chunks() > 1 {
            for panel in &mut *panels {
                (phases.after_chunks)(panel, step);
            }
        }
        let loss = common.end(tile, panels.iter(), sums, lr);
        let step = &common.step(lr);
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
