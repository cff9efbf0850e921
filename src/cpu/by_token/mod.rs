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
//!   (`tile` in `src/cpu/linear.rs`); the gradients of weights go straight into the update, but for those
//!   of `W2` where they are the sum of several chunks.
//!
//! The formulas are the twin's own functions; the tests hold this against PyTorch and the twin.

mod contexts;
mod lines;
mod panel;
mod tokens;

use std::hint::black_box;

use super::linear::{Tile, by_rows, tile, tiles};
use super::real::{Real, mul_add};
use super::sgd;
use crate::dims::Dims;
use crate::params::{Params, Tensor};
use contexts::{CHUNK, Contexts, Target};
use lines::{LANES, LINE, Line, each, lines, tile_of, tile_of_mut, totals};
use panel::{Panel, Step};
use tokens::{Piece, Tokens, pieces};

pub use lines::Turn;

/// A model with all that a training step needs.
#[derive(Clone, Debug)]
pub struct ByToken<R> {
    dims: Dims,
    /// `C (vocab, embd)`, each row in pieces.
    c: Vec<Piece<R>>,
    dc: Vec<Piece<R>>,
    /// `(hidden)`. It stays as it is: batch norm takes it off again with the mean, so its gradient
    /// is zero.
    b1: Vec<R>,
    /// `(vocab)`
    b2: Vec<R>,
    db2: Vec<R>,
    /// Its terms: partial sums.
    db2_lanes: Vec<[R; LANES]>,
    panels: Vec<Panel<R>>,
    contexts: Contexts<R>,
    tokens: Tokens<R>,
    /// `logits`, then their gradient, of a chunk, turned round: `(vocab, contexts)`
    dlogits: Vec<Line<R>>,
    /// The terms of `dC` of each row of tokens: partial sums, and sums.
    sixteenths: Vec<[R; LANES]>,
    dembeddings: Vec<R>,
    /// Between those two.
    fourths: Vec<[R; 4]>,
}

/// Calls a method of all panels, each with tiles that are no wider than its units.
macro_rules! each_panel {
    ($panels:expr, $method:ident($($arg:expr),*)) => {
        for panel in $panels {
            if panel.units > LANES {
                panel.$method::<FMA, ROWS, COLS, PARTS, 2, GRADS>($($arg),*);
            } else {
                panel.$method::<FMA, ROWS, COLS, 1, 1, GRADS>($($arg),*);
            }
        }
    };
}

impl<R: Real + Turn> ByToken<R> {
    /// A model that starts from `params`.
    pub fn new(dims: Dims, params: &Params<R>) -> Self {
        let embeddings = || vec![[R::zero(); LANES]; dims.vocab * pieces(&dims)];
        let zeros = |len: usize| vec![R::zero(); len];
        let panel = |p: usize| Panel::new(LINE.min(dims.hidden - p * LINE), &dims);
        let terms = Tokens::<R>::most_rows(&dims) * dims.embd;
        let mut model = Self {
            dims,
            c: embeddings(),
            dc: embeddings(),
            b1: zeros(dims.hidden),
            b2: zeros(dims.vocab),
            db2: zeros(dims.vocab),
            db2_lanes: vec![[R::zero(); LANES]; dims.vocab],
            panels: (0..lines(dims.hidden)).map(panel).collect(),
            contexts: Contexts::new(&dims),
            tokens: Tokens::new(&dims),
            dlogits: vec![Line::zero(); dims.vocab],
            sixteenths: vec![[R::zero(); LANES]; terms],
            fourths: vec![[R::zero(); 4]; terms.max(dims.vocab)],
            // A last piece is read as a whole.
            dembeddings: zeros(terms + LANES),
        };
        model.set_params(params);
        model
    }

    /// The parameters as they stand.
    pub fn params(&self) -> Params<R> {
        let dims = &self.dims;
        self.collect(&self.c, &self.b1, &self.b2, |tensor, unit, i| {
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
        let dims = &self.dims;
        let db1 = vec![R::zero(); dims.hidden];
        self.collect(&self.dc, &db1, &self.db2, |tensor, unit, i| {
            let panel = &self.panels[unit / LINE];
            let line = match tensor {
                Tensor::W1 => &panel.dw1[i / dims.hidden],
                Tensor::W2 => &panel.dw2[i % dims.vocab],
                Tensor::Bngain => &panel.dbngain,
                _ => &panel.dbnbias,
            };
            line[unit % LINE]
        })
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
        let dims = &self.dims;
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
        let dims = &self.dims;
        let rows = self.c.chunks_exact_mut(pieces(dims));
        for (row, values) in rows.zip(params.c.chunks_exact(dims.embd)) {
            row.as_flattened_mut()[..dims.embd].copy_from_slice(values);
        }
        self.b1.copy_from_slice(&params.b1);
        self.b2.copy_from_slice(&params.b2);
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
    #[inline(always)]
    pub fn step<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &mut self,
        _: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[u8],
        y: &[u8],
        lr: R,
    ) -> R {
        self.run::<FMA, ROWS, COLS, PARTS, false>(x, y, lr)
    }

    /// The same step, after which [`ByToken::grads`] has its gradients. Training needs none and does
    /// not write those of `W1`.
    #[inline(always)]
    pub fn step_with_grads<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
    >(
        &mut self,
        _: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[u8],
        y: &[u8],
        lr: R,
    ) -> R {
        self.run::<FMA, ROWS, COLS, PARTS, true>(x, y, lr)
    }

    #[inline(always)]
    fn run<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
        const GRADS: bool,
    >(
        &mut self,
        x: &[u8],
        y: &[u8],
        lr: R,
    ) -> R {
        let dims = &self.dims;
        self.contexts.read(x, y, dims);
        self.tokens.read(&self.contexts, dims, ROWS);
        self.tokens.centre(&self.c, dims);
        let step = &Step {
            dims,
            contexts: &self.contexts,
            tokens: &self.tokens,
            lr,
        };
        each_panel!(&mut self.panels, statistics(step));
        let mut loss = 0.0;
        self.db2_lanes.fill([R::zero(); LANES]);
        for chunk in 0..self.contexts.chunks() {
            each_panel!(&mut self.panels, activate(step, chunk));
            second_layer::<R, FMA, ROWS, COLS, PARTS>(&self.panels, &self.b2, &mut self.dlogits);
            let (uses, targets) = (
                self.contexts.uses_of_lanes(chunk),
                self.contexts.targets(chunk),
            );
            let n = R::of(dims.batch as f64);
            loss += softmax::<R, FMA>(&mut self.dlogits, &mut self.db2_lanes, uses, targets, n);
            let dlogits = &self.dlogits;
            each_panel!(&mut self.panels, through_second_layer(step, dlogits, chunk));
        }
        totals(&self.db2_lanes, &mut self.fourths, &mut self.db2);
        if self.contexts.chunks() > 1 {
            each_panel!(&mut self.panels, after_chunks(step));
        }
        // dC needs W1 as it was.
        self.through_first_layer::<FMA, PARTS>();
        let step = &Step {
            dims: &self.dims,
            contexts: &self.contexts,
            tokens: &self.tokens,
            lr,
        };
        each_panel!(&mut self.panels, update(step));
        sgd::update::<R, FMA>(self.c.as_flattened_mut(), lr, self.dc.as_flattened());
        sgd::update::<R, FMA>(&mut self.b2, lr, &self.db2);
        R::of(loss / self.dims.batch as f64)
    }

    /// `dC[v] = sum over t of S[t, v] @ W1[t].T`
    ///
    /// The sums run over all units, which are lanes: so they end as sums of lanes, made where they
    /// have come together.
    #[inline(always)]
    fn through_first_layer<const FMA: bool, const PARTS: usize>(&mut self) {
        let dims = &self.dims;
        let (embd, pieces) = (dims.embd, pieces(dims));
        // Twice as many sums as columns stay in registers.
        let most = if PARTS > 1 { 7 } else { 3 };
        for (t, rows) in self.tokens.positions.iter().enumerate() {
            for first in rows.clone().step_by(2) {
                // The last row may be a pair with itself.
                let pair = [first, (first + 1).min(rows.end - 1)];
                for es in tiles(0..embd, most) {
                    by_rows!(es.len(), COUNT => {
                        let parts = self.panels.iter().map(|panel| {
                            let w1 = tile_of::<_, COUNT>(&panel.w1, t * embd + es.start);
                            (pair.map(|row| &panel.sums[row]), w1, panel.units > LANES)
                        });
                        let sums = dots::<R, FMA, COUNT>(parts);
                        for (row, sums) in pair.into_iter().zip(&sums) {
                            let to = row * embd + es.start;
                            *tile_of_mut(&mut self.sixteenths, to) = *sums;
                        }
                    });
                }
            }
        }
        let terms = self.tokens.count() * embd;
        totals(
            &self.sixteenths[..terms],
            &mut self.fourths,
            &mut self.dembeddings,
        );
        self.dc.fill([R::zero(); LANES]);
        for (row, &token) in self.tokens.token[..self.tokens.count()].iter().enumerate() {
            let dc = &mut self.dc[usize::from(token) * pieces..][..pieces];
            let (dembedding, _) = self.dembeddings[row * embd..].as_chunks();
            for (dc, dembedding) in dc.iter_mut().zip(dembedding) {
                let dembedding: &[R; LANES] = dembedding;
                each(dc, |sum, l| sum + dembedding[l]);
            }
        }
        // The padding got what belongs to the next row.
        for dc in self.dc.chunks_exact_mut(pieces) {
            dc.as_flattened_mut()[embd..].fill(R::zero());
        }
    }
}

/// The hidden unit that a value of a tensor belongs to.
fn unit(tensor: Tensor, i: usize, dims: &Dims) -> usize {
    match tensor {
        Tensor::W2 => i / dims.vocab,
        _ => i % dims.hidden,
    }
}

/// `logits = h @ W2 + b2` of a chunk, turned round.
#[inline(always)]
fn second_layer<
    R: Real,
    const FMA: bool,
    const ROWS: usize,
    const COLS: usize,
    const PARTS: usize,
>(
    panels: &[Panel<R>],
    b2: &[R],
    logits: &mut [Line<R>],
) {
    for vs in tiles(0..logits.len(), ROWS) {
        for c in 0..LINE / (PARTS * COLS) {
            by_rows!(vs.len(), ROWS => {
                let sums = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                    panels.iter().map(|panel| {
                        (tile_of::<_, ROWS>(&panel.w2, vs.start), &panel.h[..panel.units])
                    }),
                    |(_, h)| h.len().min(LINE),
                    |(w2, _), k, i| w2[i][k],
                    |(_, h), k, part| h[k].part(PARTS * c + part),
                );
                let logits = tile_of_mut::<_, ROWS>(logits, vs.start);
                for i in 0..ROWS {
                    for part in 0..PARTS {
                        let mut sums = sums[i][part];
                        for sum in &mut sums {
                            *sum += b2[vs.start + i];
                        }
                        *logits[i].part_mut(PARTS * c + part) = sums;
                    }
                }
            });
        }
    }
}

/// Loss and gradient of softmax and cross-entropy, for the examples of a chunk: `logits_t (vocab,
/// contexts)` becomes its gradient, which is also added to `db2`. Returns the sum of the
/// losses.
#[inline(always)]
fn softmax<R: Real, const FMA: bool>(
    logits_t: &mut [Line<R>],
    db2: &mut [[R; LANES]],
    uses: &[R; CHUNK],
    targets: &[Target],
    n: R,
) -> f64 {
    let mut loss = 0.0;
    let mut logit_max = [[R::neg_infinity(); LANES]; 2];
    for logits in &*logits_t {
        for (half, max) in logit_max.iter_mut().enumerate() {
            let values = logits.half(half);
            for l in 0..LANES {
                max[l] = if values[l] > max[l] {
                    values[l]
                } else {
                    max[l]
                };
            }
        }
    }
    for &Target { lane, token } in targets {
        // The target's logit is read before the next loop overwrites it with its count.
        let lane = usize::from(lane);
        let max = logit_max.as_flattened()[lane];
        loss -= (logits_t[usize::from(token)][lane] - max).as_f64();
    }
    let mut counts_sum = [[R::zero(); LANES]; 2];
    for logits in &mut *logits_t {
        for half in 0..2 {
            let (max, sum) = (&logit_max[half], &mut counts_sum[half]);
            let mut values = *logits.half(half);
            for l in 0..LANES {
                values[l] = (values[l] - max[l]).exp_forward::<FMA>();
            }
            for l in 0..LANES {
                sum[l] += values[l];
            }
            *logits.half_mut(half) = values;
        }
    }
    // The logarithm of the product is the sum of the logarithms. With a count of 1 for the largest
    // logit and at most 1 for the others, 32 sums multiply to at most vocab**32.
    let sums = counts_sum.as_flattened();
    for targets in targets.chunks(32) {
        let sums = targets.iter().map(|target| sums[usize::from(target.lane)]);
        loss += sums.map(|sum| sum.as_f64()).product::<f64>().ln();
    }
    // Nothing in lanes beyond the last context.
    let mut scale = counts_sum;
    for (scale, uses) in scale.as_flattened_mut().iter_mut().zip(uses) {
        *scale = *uses / (*scale * n);
    }
    for v in 0..logits_t.len() {
        // Of rows whose places it knows, the compiler would make vectors across them, by gathers.
        let v = black_box(v);
        let (logits, mut sum) = (&mut logits_t[v], db2[v]);
        for (half, scale) in scale.iter().enumerate() {
            let mut values = *logits.half(half);
            for l in 0..LANES {
                values[l] *= scale[l];
            }
            for l in 0..LANES {
                sum[l] += values[l];
            }
            *logits.half_mut(half) = values;
        }
        db2[v] = sum;
    }
    for &Target { lane, token } in targets {
        let (token, lane) = (usize::from(token), usize::from(lane));
        logits_t[token][lane] -= R::one() / n;
        db2[token][lane % LANES] -= R::one() / n;
    }
    loss
}

/// Products of two rows of sums with `COUNT` rows of weights, lane by lane: the sums over the units
/// that share a lane.
#[inline(always)]
fn dots<'a, R: Real, const FMA: bool, const COUNT: usize>(
    parts: impl Iterator<Item = ([&'a Line<R>; 2], &'a [Line<R>; COUNT], bool)>,
) -> [[[R; LANES]; COUNT]; 2] {
    let zero = [R::zero(); LANES];
    let (mut s0, mut s1, mut s2, mut s3) = (zero, zero, zero, zero);
    let (mut s4, mut s5, mut s6, mut s7) = (zero, zero, zero, zero);
    let (mut t0, mut t1, mut t2, mut t3) = (zero, zero, zero, zero);
    let (mut t4, mut t5, mut t6, mut t7) = (zero, zero, zero, zero);
    for ([upper, lower], weights, whole) in parts {
        macro_rules! add_half {
            ($half:literal, $($i:literal $s:ident $t:ident),*) => {$(
                if $i < COUNT {
                    let weights = weights[$i % COUNT].half($half);
                    add_products::<R, FMA>(&mut $s, upper.half($half), weights);
                    add_products::<R, FMA>(&mut $t, lower.half($half), weights);
                }
            )*};
        }
        add_half!(0, 0 s0 t0, 1 s1 t1, 2 s2 t2, 3 s3 t3, 4 s4 t4, 5 s5 t5, 6 s6 t6, 7 s7 t7);
        if whole {
            add_half!(1, 0 s0 t0, 1 s1 t1, 2 s2 t2, 3 s3 t3, 4 s4 t4, 5 s5 t5, 6 s6 t6, 7 s7 t7);
        }
    }
    let (upper, lower) = (
        [s0, s1, s2, s3, s4, s5, s6, s7],
        [t0, t1, t2, t3, t4, t5, t6, t7],
    );
    [upper, lower].map(|sums| std::array::from_fn(|i| sums[i]))
}

/// `sums += a * b`
#[inline(always)]
fn add_products<R: Real, const FMA: bool>(sums: &mut [R; LANES], a: &[R; LANES], b: &[R; LANES]) {
    for l in 0..LANES {
        sums[l] = mul_add::<R, FMA>(a[l], b[l], sums[l]);
    }
}
