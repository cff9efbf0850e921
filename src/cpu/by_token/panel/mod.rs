//! A panel: thirty-two hidden units with their part of the parameters and of every phase of a step.
//!
//! A unit is a lane. So batch norm and tanh never look across lanes, and panels depend on each other only
//! through the logits.
//!
//! Here is what all minibatches have in common. The end of the backward pass, from `dhpreact` to `dW2` and to
//! the sums of `dhprebn` by token, is in two files: [`one_block`] if all contexts of the minibatch fit in one
//! block, [`many_blocks`] if they do not.

mod many_blocks;
mod one_block;

use super::contexts::{CONTEXT_BLOCK, Contexts};
use super::lines::{LANES, LINE, Line, Transpose, each, tile_of, tile_of_mut};
use super::tokens::{Tokens, pieces};
use crate::model::dims::Dims;
use crate::reference::batchnorm::{batchnorm_scale, batchnorm_var_inv, batchnorm_variance};
use crate::reference::fma::mul_add;
use crate::reference::linear::{by_rows, tile, tiles};
use crate::reference::real::Real;
use crate::reference::sgd::{self, sgd_update};
use crate::reference::tanh::tanh_backward;

/// The activations of one context. They are interleaved, because separate arrays would lie a power of two
/// apart, which causes 4K aliasing.
#[derive(Clone, Copy, Debug)]
struct Activations<R> {
    bndiff: Line<R>,
    h: Line<R>,
    dhpreact: Line<R>,
}

/// What all panels read in a step.
pub struct Step<'a, R> {
    pub dims: &'a Dims,
    pub contexts: &'a Contexts<R>,
    pub tokens: &'a Tokens<R>,
    pub lr: R,
}

impl<R: Real> Step<'_, R> {
    /// Whether the minibatch has only one block of contexts.
    #[inline(always)]
    fn one_block(&self) -> bool {
        self.contexts.blocks() == 1
    }

    /// The contexts of a block: how many examples have each, and their rows of tokens.
    #[inline(always)]
    fn contexts_of(&self, block: usize) -> (&[R], std::slice::ChunksExact<'_, u32>) {
        let length = self.dims.block;
        let uses = &self.contexts.uses()[block * CONTEXT_BLOCK..];
        let rows = &self.tokens.rows[block * CONTEXT_BLOCK * length..];
        let count = CONTEXT_BLOCK.min(uses.len());
        (&uses[..count], rows[..count * length].chunks_exact(length))
    }
}

/// The units. The phases are methods, called one after another; `phases.rs` explains their const generics.
#[derive(Clone, Debug)]
pub struct Panel<R> {
    /// How many units there are; unused lanes are zero.
    pub units: usize,
    /// `W1 (fan_in, units)`
    pub w1: Vec<Line<R>>,
    /// `W2` transposed: `(vocab, units)`
    pub w2: Vec<Line<R>>,
    /// `(units)`
    pub bngain: Line<R>,
    /// `(units)`
    pub bnbias: Line<R>,
    /// The gradients of these. `dw1`, and in one block `dw2`, are written only with `GRADS`.
    pub dw1: Vec<Line<R>>,
    pub dw2: Vec<Line<R>>,
    pub dbngain: Line<R>,
    pub dbnbias: Line<R>,
    bnvar_inv: Line<R>,
    /// `embedding @ W1` for the row of each token.
    products: Vec<Line<R>>,
    /// `S[t, v]`: `dhprebn` summed over the uses of each row of tokens. With many blocks, it first holds
    /// the sums of `dhpreact`.
    pub sums: Vec<Line<R>>,
    /// `bndiff` summed over the uses of each row; with many blocks only.
    bndiffs: Vec<Line<R>>,
    /// The blocks being worked on: block number `i` has buffer `i % buffers.len()`.
    buffers: Vec<BlockBuffers<R>>,
}

/// The activations of a block of contexts.
#[derive(Clone, Debug)]
pub struct BlockBuffers<R> {
    acts: [Activations<R>; CONTEXT_BLOCK],
    /// `h` transposed: `(units, contexts)`
    pub h: [Line<R>; LINE],
}

impl<R: Real> BlockBuffers<R> {
    fn new() -> Self {
        let acts = Activations {
            bndiff: Line::zero(),
            h: Line::zero(),
            dhpreact: Line::zero(),
        };
        Self {
            acts: [acts; CONTEXT_BLOCK],
            h: [Line::zero(); LINE],
        }
    }
}

impl<R> Panel<R> {
    /// The buffer of a block.
    #[inline(always)]
    pub fn buffer(&self, block: usize) -> &BlockBuffers<R> {
        &self.buffers[block % self.buffers.len()]
    }
}

impl<R: Real + Transpose> Panel<R> {
    pub fn new(units: usize, dims: &Dims) -> Self {
        let zeros = |rows: usize| vec![Line::zero(); rows];
        let rows = Tokens::<R>::most_rows(dims);
        Self {
            units,
            w1: zeros(dims.fan_in()),
            w2: zeros(dims.vocab),
            bngain: Line::zero(),
            bnbias: Line::zero(),
            dw1: zeros(dims.fan_in()),
            dw2: zeros(dims.vocab),
            dbngain: Line::zero(),
            dbnbias: Line::zero(),
            bnvar_inv: Line::zero(),
            products: zeros(rows),
            sums: zeros(rows),
            bndiffs: zeros(if dims.batch > CONTEXT_BLOCK { rows } else { 0 }),
            buffers: vec![BlockBuffers::new()],
        }
    }

    /// Makes room for working on `buffers` blocks at a time.
    pub fn set_buffers(&mut self, buffers: usize) {
        self.buffers.resize(buffers, BlockBuffers::new());
    }

    /// `bnvar_inv` of the minibatch. The mean needs no pass, because the embeddings are centred: the mean of
    /// `hprebn` is gone with theirs, and `b1` with it.
    #[inline(always)]
    pub fn statistics<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
        const HALVES: usize,
        const GRADS: bool,
    >(
        &mut self,
        step: &Step<'_, R>,
    ) {
        let &Step { dims, tokens, .. } = step;
        let n = R::of(dims.batch as f64);
        self.multiply::<FMA, COLS, PARTS, HALVES>(tokens, dims);
        let mut squares = [[R::zero(); LANES]; HALVES];
        for block in 0..step.contexts.blocks() {
            self.look_up::<FMA, HALVES>(step, block, &mut squares);
        }
        for (half, squares) in squares.iter().enumerate() {
            *self.bnvar_inv.half_mut(half) =
                squares.map(|sum| batchnorm_var_inv(batchnorm_variance(sum, n)));
        }
        if !step.one_block() {
            self.clear_sums(tokens.count());
        }
        self.dbngain = Line::zero();
        self.dbnbias = Line::zero();
    }

    /// `products = embedding @ W1` for each token at its position: all that the first layer multiplies,
    /// because contexts with one token at one position share its product.
    #[inline(always)]
    fn multiply<const FMA: bool, const COLS: usize, const PARTS: usize, const HALVES: usize>(
        &mut self,
        tokens: &Tokens<R>,
        dims: &Dims,
    ) {
        let embd = dims.embd;
        for (t, rows) in &tokens.tiles {
            let w1 = &self.w1[t * embd..][..embd];
            for c in 0..HALVES * LANES / (PARTS * COLS) {
                by_rows!(rows.len(), ROWS => {
                    let pieces = (0..).zip(w1.chunks(LANES));
                    let sums = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                        pieces.map(|(piece, w1)| (tokens.centred::<ROWS>(piece, rows.start, dims), w1)),
                        |(_, w1)| w1.len().min(LANES),
                        |(left, _), k, i| left[i][k],
                        |(_, w1), k, part| w1[k].part(PARTS * c + part),
                    );
                    let products = tile_of_mut::<_, ROWS>(&mut self.products, rows.start);
                    for (product, sums) in products.iter_mut().zip(sums) {
                        for (part, sums) in sums.into_iter().enumerate().take(PARTS) {
                            *product.part_mut(PARTS * c + part) = sums;
                        }
                    }
                });
            }
        }
    }

    /// `bndiff` of the contexts of a block: the sum of the products of their tokens. Adds the square for each
    /// example to `bndiff2`.
    #[inline(always)]
    fn look_up<const FMA: bool, const HALVES: usize>(
        &mut self,
        step: &Step<'_, R>,
        block: usize,
        bndiff2: &mut [[R; LANES]; HALVES],
    ) {
        let mut sums = *bndiff2;
        let (uses, rows) = step.contexts_of(block);
        let buffer = block % self.buffers.len();
        let acts = &mut self.buffers[buffer].acts;
        if let Some(beyond) = acts.get_mut(uses.len()) {
            // `activate` takes contexts in pairs: the last one may be paired with this.
            beyond.bndiff = Line::zero();
        }
        for ((&uses, rows), acts) in uses.iter().zip(rows).zip(acts) {
            let mut bndiff = [[R::zero(); LANES]; HALVES];
            for &row in rows {
                let product = &self.products[row as usize];
                for (half, bndiff) in bndiff.iter_mut().enumerate() {
                    let product = product.half(half);
                    for l in 0..LANES {
                        bndiff[l] += product[l];
                    }
                }
            }
            for (half, (bndiff, sum)) in bndiff.iter().zip(&mut sums).enumerate() {
                for l in 0..LANES {
                    sum[l] = mul_add::<R, FMA>(uses * bndiff[l], bndiff[l], sum[l]);
                }
                *acts.bndiff.half_mut(half) = *bndiff;
            }
        }
        *bndiff2 = sums;
    }

    /// `h` of the contexts of a block, and its transpose. With many blocks, `bndiff` is recomputed: its
    /// buffer has been used for other blocks since.
    #[inline(always)]
    pub fn activate<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
        const HALVES: usize,
        const GRADS: bool,
    >(
        &mut self,
        step: &Step<'_, R>,
        block: usize,
    ) {
        if !step.one_block() {
            self.look_up::<FMA, HALVES>(step, block, &mut [[R::zero(); LANES]; HALVES]);
        }
        let count = step.contexts_of(block).0.len();
        let buffer = block % self.buffers.len();
        let BlockBuffers { acts, h } = &mut self.buffers[buffer];
        for half in 0..HALVES {
            let bnbias = *self.bnbias.half(half);
            let bnvar_inv = self.bnvar_inv.half(half);
            let mut scale = *self.bngain.half(half);
            each(&mut scale, |bngain, l| bngain * bnvar_inv[l]);
            // Two contexts share one division.
            for [first, second] in &mut acts.as_chunks_mut().0[..count.div_ceil(2)] {
                let mut a: [R; LANES] = *first.bndiff.half(half);
                let mut b: [R; LANES] = *second.bndiff.half(half);
                for l in 0..LANES {
                    a[l] = batchnorm_scale::<R, FMA>(scale[l], a[l], bnbias[l]);
                }
                for l in 0..LANES {
                    b[l] = batchnorm_scale::<R, FMA>(scale[l], b[l], bnbias[l]);
                }
                for l in 0..LANES {
                    (a[l], b[l]) = R::tanh_pair::<FMA>(a[l], b[l]);
                }
                *first.h.half_mut(half) = a;
                *second.h.half_mut(half) = b;
            }
            // Clear what an earlier block has left beyond the last context.
            for acts in &mut acts[count..] {
                *acts.h.half_mut(half) = [R::zero(); LANES];
            }
            let lines = &mut h.as_chunks_mut().0[half];
            for (part, acts) in acts.as_chunks::<LANES>().0.iter().enumerate() {
                R::transpose(acts.each_ref().map(|a| a.h.half(half)), lines, part);
            }
        }
    }

    /// From `dlogits (vocab, contexts)` of a block back to `dhpreact`, with the sums over contexts that this
    /// allows. One block also updates `W2` and continues to `dhprebn`.
    ///
    /// A tile is used in arithmetic before it is stored: with plain stores, the compiler vectorised across
    /// the rows of this tile and of the logits'. (Measured: 35 us per step, and 26 like this.)
    #[inline(always)]
    pub fn through_second_layer<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
        const HALVES: usize,
        const GRADS: bool,
    >(
        &mut self,
        step: &Step<'_, R>,
        dlogits: &[Line<R>],
        block: usize,
    ) {
        let (uses, rows) = step.contexts_of(block);
        let count = uses.len();
        let buffer = block % self.buffers.len();
        let all_acts = &mut self.buffers[buffer].acts;
        // dh = dlogits @ W2.T
        for contexts in tiles(0..count, ROWS) {
            for c in 0..HALVES * LANES / (PARTS * COLS) {
                by_rows!(contexts.len(), ROWS => {
                    let first = contexts.start.min(CONTEXT_BLOCK - ROWS);
                    let sums = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                        std::iter::once((dlogits, &self.w2[..dlogits.len()])),
                        |(_, w2)| w2.len(),
                        |(dlogits, _), k, i| dlogits[k][first + i],
                        |(_, w2), k, part| w2[k].part(PARTS * c + part),
                    );
                    let acts = tile_of_mut::<_, ROWS>(all_acts, contexts.start);
                    for (acts, dh) in acts.iter_mut().zip(sums) {
                        for (part, mut d) in dh.into_iter().enumerate().take(PARTS) {
                            // dhpreact = (1.0 - h**2) * dh
                            let h = acts.h.part::<COLS>(PARTS * c + part);
                            for l in 0..COLS {
                                d[l] = tanh_backward(d[l], h[l]);
                            }
                            *acts.dhpreact.part_mut(PARTS * c + part) = d;
                        }
                    }
                });
            }
        }
        // dbnbias = dhpreact.sum(0); dbngain, so far with bndiff instead of bnraw
        for half in 0..HALVES {
            let mut dbnbias: [R; LANES] = *self.dbnbias.half(half);
            let mut dbngain: [R; LANES] = *self.dbngain.half(half);
            for acts in &all_acts[..count] {
                let (d, bndiff) = (acts.dhpreact.half(half), acts.bndiff.half(half));
                for l in 0..LANES {
                    dbnbias[l] += d[l];
                }
                for l in 0..LANES {
                    dbngain[l] = mul_add::<R, FMA>(d[l], bndiff[l], dbngain[l]);
                }
            }
            *self.dbnbias.half_mut(half) = dbnbias;
            *self.dbngain.half_mut(half) = dbngain;
        }
        // dW2 = h.T @ dlogits
        let one_block = step.one_block();
        for vs in tiles(0..dlogits.len(), ROWS) {
            for c in 0..HALVES * LANES / (PARTS * COLS) {
                by_rows!(vs.len(), ROWS => {
                    let dlogits = tile_of::<_, ROWS>(dlogits, vs.start);
                    let acts = &all_acts[..count];
                    let sums = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                        std::iter::once(()),
                        |()| acts.len().min(CONTEXT_BLOCK),
                        |(), k, i| dlogits[i][k],
                        |(), k, part| acts[k].h.part(PARTS * c + part),
                    );
                    let dw2 = tile_of_mut::<_, ROWS>(&mut self.dw2, vs.start);
                    if one_block {
                        let w2 = tile_of_mut::<_, ROWS>(&mut self.w2, vs.start);
                        one_block::update_w2::<R, FMA, ROWS, COLS, PARTS, GRADS>(
                            w2, dw2, c, step.lr, &sums,
                        );
                    } else {
                        many_blocks::add_to_dw2::<R, ROWS, COLS, PARTS>(dw2, c, &sums);
                    }
                });
            }
        }
        if one_block {
            self.through_batchnorm::<FMA, HALVES>(step);
        } else {
            many_blocks::add_to_sums::<R, HALVES>(
                uses,
                rows,
                all_acts,
                &mut self.sums,
                &mut self.bndiffs,
            );
        }
    }

    /// The factors `[scale, shift, slope]` that all examples share in
    ///
    /// `dhprebn = bngain*bnvar_inv/n * (n*dhpreact - dhpreact.sum(0) - n/(n-1)*bnraw*(dhpreact*bnraw).sum(0))`
    ///
    /// written as `dhprebn = scale * dhpreact - shift - slope * bndiff`. Also completes `dbngain`: its sum
    /// was taken with `bndiff` and becomes that with `bnraw`.
    #[inline(always)]
    fn batchnorm_factors(&mut self, half: usize, dims: &Dims) -> [[R; LANES]; 3] {
        let n = R::of(dims.batch as f64);
        let (bngain, bnvar_inv) = (*self.bngain.half(half), *self.bnvar_inv.half(half));
        let dbnbias = *self.dbnbias.half(half);
        let mut dbngain = *self.dbngain.half(half);
        each(&mut dbngain, |sum, l| sum * bnvar_inv[l]);
        *self.dbngain.half_mut(half) = dbngain;
        let scale: [R; LANES] = std::array::from_fn(|l| bngain[l] * bnvar_inv[l]);
        let shift = std::array::from_fn(|l| scale[l] * (dbnbias[l] / n));
        let slope =
            std::array::from_fn(|l| scale[l] * (bnvar_inv[l] * dbngain[l] / (n - R::one())));
        [scale, shift, slope]
    }

    /// `dW1 = embcat.T @ dhprebn`, which is a sum over the rows of tokens, and the updates of `W1`, `bngain`
    /// and `bnbias`. (The embeddings may be centred here too, because `dhprebn.sum(0)` is zero.)
    #[inline(always)]
    pub fn update<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
        const HALVES: usize,
        const GRADS: bool,
    >(
        &mut self,
        &Step {
            dims, tokens, lr, ..
        }: &Step<'_, R>,
    ) {
        for (t, rows) in tokens.positions.iter().enumerate() {
            let sums = &self.sums[rows.clone()];
            for piece in 0..pieces(dims) {
                let left = &tokens.all_centred(piece, dims)[rows.clone()];
                let width = LANES.min(dims.embd - piece * LANES);
                for es in tiles(0..width, ROWS) {
                    for c in 0..HALVES * LANES / (PARTS * COLS) {
                        by_rows!(es.len(), ROWS => {
                            let first = es.start.min(LANES - ROWS);
                            let products = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                                std::iter::once(()),
                                |()| sums.len(),
                                |(), k, i| left[k][first + i],
                                |(), k, part| sums[k].part(PARTS * c + part),
                            );
                            let at = t * dims.embd + piece * LANES + es.start;
                            let w1 = tile_of_mut::<_, ROWS>(&mut self.w1, at);
                            let dw1 = tile_of_mut::<_, ROWS>(&mut self.dw1, at);
                            for i in 0..ROWS {
                                for part in 0..PARTS {
                                    let (at, products) = (PARTS * c + part, &products[i][part]);
                                    each(w1[i].part_mut::<COLS>(at), |w1, l| {
                                        sgd_update::<R, FMA>(w1, lr, products[l])
                                    });
                                    if GRADS {
                                        *dw1[i].part_mut(at) = *products;
                                    }
                                }
                            }
                        });
                    }
                }
            }
        }
        sgd::update::<R, FMA>(&mut self.bngain.0, lr, &self.dbngain.0);
        sgd::update::<R, FMA>(&mut self.bnbias.0, lr, &self.dbnbias.0);
    }
}

impl<R: Real> Line<R> {
    /// The first parts of `LANES` values.
    #[inline(always)]
    fn halves<const HALVES: usize>(&self) -> [[R; LANES]; HALVES] {
        std::array::from_fn(|half| *self.half(half))
    }
}

/// `sums[row] += values` for each of some rows.
#[inline(always)]
fn add<R: Real, const HALVES: usize>(
    rows: &[u32],
    values: &[[R; LANES]; HALVES],
    sums: &mut [Line<R>],
) {
    for &row in rows {
        let sums = &mut sums[row as usize];
        for (half, values) in values.iter().enumerate() {
            each(sums.half_mut(half), |sum, l| sum + values[l]);
        }
    }
}
