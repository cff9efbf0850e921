//! The state that all panels share: the minibatch, the embeddings and the logits.

use std::hint::black_box;

use super::contexts::{CONTEXT_BLOCK, Contexts, Target};
use super::lines::{LANES, LINE, Line, each, tile_of, tile_of_mut, totals};
use super::panel::{Panel, Step};
use super::tokens::{FEW, Piece, Tokens, pieces};
use crate::model::dims::{Dims, Token};
use crate::reference::fma::mul_add;
use crate::reference::linear::{Tile, by_rows, tile, tiles};
use crate::reference::real::Real;
use crate::reference::sgd;

/// The parameters that all hidden units share, and what a step needs for them.
#[derive(Clone, Debug)]
pub struct Shared<R> {
    pub dims: Dims,
    /// `C (vocab, embd)`, each row in pieces.
    pub c: Vec<Piece<R>>,
    pub dc: Vec<Piece<R>>,
    /// `(hidden)`. It never changes: batch norm subtracts it again with the mean, so its gradient is zero.
    pub b1: Vec<R>,
    /// `(vocab)`
    pub b2: Vec<R>,
    pub db2: Vec<R>,
    pub contexts: Contexts<R>,
    tokens: Tokens<R>,
    /// Which rows of `dC` are not zero, in a vocabulary of more than [`FEW`].
    changed: Vec<Token>,
    /// The terms of `dC` of each row of tokens: first as sums per lane, then per four lanes, then in full.
    sixteenths: Vec<[R; LANES]>,
    fourths: Vec<[R; 4]>,
    dembeddings: Vec<R>,
}

/// The last layer's activations for a block of contexts.
#[derive(Clone, Debug)]
pub struct Logits<R> {
    /// `logits`, then their gradient, transposed: `(vocab, contexts)`
    pub dlogits: Vec<Line<R>>,
    pub sums: LogitSums<R>,
}

/// Sums over the examples of a block, or of all blocks.
#[derive(Clone, Debug)]
pub struct LogitSums<R> {
    /// `db2`, as sums per lane.
    db2: Vec<[R; LANES]>,
    pub loss: f64,
}

impl<R: Real> Logits<R> {
    pub fn new(dims: &Dims) -> Self {
        Self {
            dlogits: vec![Line::zero(); dims.vocab],
            sums: LogitSums::new(dims),
        }
    }
}

impl<R: Real> LogitSums<R> {
    pub fn new(dims: &Dims) -> Self {
        Self {
            db2: vec![[R::zero(); LANES]; dims.vocab],
            loss: 0.0,
        }
    }

    /// Sets the sums to zero.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.db2.fill([R::zero(); LANES]);
        self.loss = 0.0;
    }

    /// Adds the sums of a block. Called in the order of the blocks, so that the result does not depend on
    /// which worker computed them.
    #[inline(always)]
    pub fn add(&mut self, block: &Self) {
        let all = self.db2.as_flattened_mut().iter_mut();
        for (sum, term) in all.zip(block.db2.as_flattened()) {
            *sum += *term;
        }
        self.loss += block.loss;
    }
}

impl<R: Real> Shared<R> {
    pub fn new(dims: Dims) -> Self {
        let embeddings = || vec![[R::zero(); LANES]; dims.vocab * pieces(&dims)];
        let zeros = |len: usize| vec![R::zero(); len];
        let terms = Tokens::<R>::most_rows(&dims) * dims.embd;
        Self {
            dims,
            c: embeddings(),
            dc: embeddings(),
            b1: zeros(dims.hidden),
            b2: zeros(dims.vocab),
            db2: zeros(dims.vocab),
            contexts: Contexts::new(&dims),
            tokens: Tokens::new(&dims),
            changed: Vec::new(),
            sixteenths: vec![[R::zero(); LANES]; terms],
            // The last piece is read as a whole.
            dembeddings: zeros(terms + LANES),
            fourths: vec![[R::zero(); 4]; terms.max(dims.vocab)],
        }
    }

    /// Reads a minibatch, cut into tiles of at most `tile_rows` rows.
    #[inline(always)]
    pub fn begin(&mut self, x: &[Token], y: &[Token], tile_rows: usize) {
        let dims = &self.dims;
        self.contexts.read(x, y, dims);
        self.tokens.read(&self.contexts, dims, tile_rows);
        self.tokens.centre(&self.c, dims);
    }

    /// What the panels read in the step.
    #[inline(always)]
    pub fn step(&self, lr: R) -> Step<'_, R> {
        Step {
            dims: &self.dims,
            contexts: &self.contexts,
            tokens: &self.tokens,
            lr,
        }
    }

    /// `logits` of a block from the `h` of all panels, and their gradient.
    #[inline(always)]
    pub fn last_layer<
        'a,
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
    >(
        &self,
        _: Tile<FMA, ROWS, COLS, PARTS>,
        panels: impl Iterator<Item = &'a Panel<R>> + Clone,
        block: usize,
        logits: &mut Logits<R>,
    ) {
        let Logits { dlogits, sums } = logits;
        second_layer::<R, FMA, ROWS, COLS, PARTS>(panels, block, &self.b2, dlogits);
        let (uses, targets) = (
            self.contexts.uses_of_lanes(block),
            self.contexts.targets(block),
        );
        let n = R::of(self.dims.batch as f64);
        sums.loss = softmax::<R, FMA>(dlogits, &mut sums.db2, uses, targets, n);
    }

    /// The gradients of `C` and `b2` and their updates; returns the loss. Called before `W1` is updated,
    /// which `dC` needs.
    #[inline(always)]
    pub fn end<'a, const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &mut self,
        _: Tile<FMA, ROWS, COLS, PARTS>,
        panels: impl Iterator<Item = &'a Panel<R>> + Clone,
        sums: &LogitSums<R>,
        lr: R,
    ) -> R {
        totals(&sums.db2, &mut self.fourths, &mut self.db2);
        self.through_first_layer::<FMA, PARTS>(panels);
        if self.dims.vocab <= FEW {
            sgd::update::<R, FMA>(self.c.as_flattened_mut(), lr, self.dc.as_flattened());
        } else {
            // The other rows have no gradient.
            let pieces = pieces(&self.dims);
            for &token in &self.changed {
                let [c, dc] = [&mut self.c, &mut self.dc].map(|all| row_of(all, token, pieces));
                sgd::update::<R, FMA>(c.as_flattened_mut(), lr, dc.as_flattened());
            }
        }
        sgd::update::<R, FMA>(&mut self.b2, lr, &self.db2);
        R::of(sums.loss / self.dims.batch as f64)
    }

    /// `dC[v] = sum over t of S[t, v] @ W1[t].T`
    ///
    /// The sums run over all units, which are lanes of all panels. So they are first taken per lane over the
    /// panels, and then over the lanes, many sums at a time.
    #[inline(always)]
    fn through_first_layer<'a, const FMA: bool, const PARTS: usize>(
        &mut self,
        panels: impl Iterator<Item = &'a Panel<R>> + Clone,
    ) {
        let dims = &self.dims;
        let (embd, pieces) = (dims.embd, pieces(dims));
        // A pair of rows has twice as many sums as columns, and all of them stay in registers.
        let most = if PARTS > 1 { 7 } else { 3 };
        for (t, rows) in self.tokens.positions.iter().enumerate() {
            for first in rows.clone().step_by(2) {
                // An odd last row is paired with itself.
                let pair = [first, (first + 1).min(rows.end - 1)];
                for es in tiles(0..embd, most) {
                    by_rows!(es.len(), COUNT => {
                        let parts = panels.clone().map(|panel| {
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
        let few = dims.vocab <= FEW;
        if few {
            self.dc.fill([R::zero(); LANES]);
        } else {
            for &token in &self.changed {
                row_of(&mut self.dc, token, pieces).fill([R::zero(); LANES]);
            }
            self.tokens.distinct(&mut self.changed);
        }
        for (row, &token) in self.tokens.token[..self.tokens.count()].iter().enumerate() {
            let dc = row_of(&mut self.dc, token, pieces);
            let (dembedding, _) = self.dembeddings[row * embd..].as_chunks();
            for (dc, dembedding) in dc.iter_mut().zip(dembedding) {
                let dembedding: &[R; LANES] = dembedding;
                each(dc, |sum, l| sum + dembedding[l]);
            }
        }
        // The padding has been given values of the next row.
        if few {
            for dc in self.dc.chunks_exact_mut(pieces) {
                dc.as_flattened_mut()[embd..].fill(R::zero());
            }
        } else {
            for &token in &self.changed {
                let dc = row_of(&mut self.dc, token, pieces);
                dc.as_flattened_mut()[embd..].fill(R::zero());
            }
        }
    }
}

/// The row of a token in `C` or `dC`.
#[inline(always)]
fn row_of<R>(rows: &mut [Piece<R>], token: Token, pieces: usize) -> &mut [Piece<R>] {
    &mut rows[usize::from(token) * pieces..][..pieces]
}

/// `logits = h @ W2 + b2` of a block, transposed.
#[inline(always)]
fn second_layer<
    'a,
    R: Real,
    const FMA: bool,
    const ROWS: usize,
    const COLS: usize,
    const PARTS: usize,
>(
    panels: impl Iterator<Item = &'a Panel<R>> + Clone,
    block: usize,
    b2: &[R],
    logits: &mut [Line<R>],
) {
    for vs in tiles(0..logits.len(), ROWS) {
        for c in 0..LINE / (PARTS * COLS) {
            by_rows!(vs.len(), ROWS => {
                let sums = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                    panels.clone().map(|panel| {
                        let h = &panel.buffer(block).h;
                        (tile_of::<_, ROWS>(&panel.w2, vs.start), &h[..panel.units])
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

/// Loss and gradient of softmax and cross-entropy, for the examples of a block: `logits_t (vocab,
/// contexts)` becomes its gradient, and `db2` the sums of that. Returns the sum of the losses.
#[inline(always)]
fn softmax<R: Real, const FMA: bool>(
    logits_t: &mut [Line<R>],
    db2: &mut [[R; LANES]],
    uses: &[R; CONTEXT_BLOCK],
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
    // Lanes beyond the last context have no uses, and so a zero gradient.
    let mut scale = counts_sum;
    for (scale, uses) in scale.as_flattened_mut().iter_mut().zip(uses) {
        *scale = *uses / (*scale * n);
    }
    for v in 0..logits_t.len() {
        // If it knew the row numbers, the compiler would vectorise across the rows, with gathers.
        let v = black_box(v);
        let (logits, mut sum) = (&mut logits_t[v], [R::zero(); LANES]);
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
