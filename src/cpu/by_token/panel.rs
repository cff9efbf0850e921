//! Thirty-two hidden units: their part of the parameters and of every phase of a step.
//!
//! A unit is a lane. So batch norm and tanh never look across lanes, and no panel needs to know of
//! another but through the logits.

use super::contexts::{CHUNK, Contexts};
use super::lines::{LANES, LINE, Line, Turn, each, tile_of, tile_of_mut};
use super::tokens::{Tokens, pieces};
use crate::model::dims::Dims;
use crate::reference::batchnorm::{batchnorm_scale, batchnorm_var_inv, batchnorm_variance};
use crate::reference::fma::mul_add;
use crate::reference::linear::{by_rows, tile, tiles};
use crate::reference::real::Real;
use crate::reference::sgd::{self, sgd_update};
use crate::reference::tanh::tanh_backward;

/// What the units make of one context. Side by side, since arrays of their own would lie a power of
/// two apart, where a processor takes the addresses of one for those of another.
#[derive(Clone, Copy, Debug)]
struct Activations<R> {
    bndiff: Line<R>,
    h: Line<R>,
    /// `dhpreact`
    d: Line<R>,
}

/// What all panels are told of a step.
pub struct Step<'a, R> {
    pub dims: &'a Dims,
    pub contexts: &'a Contexts<R>,
    pub tokens: &'a Tokens<R>,
    pub lr: R,
}

impl<R: Real> Step<'_, R> {
    /// Whether all contexts are at hand at once.
    #[inline(always)]
    fn one_chunk(&self) -> bool {
        self.contexts.chunks() == 1
    }

    /// The contexts of a chunk: how many examples have each, and their rows of tokens.
    #[inline(always)]
    fn chunk(&self, chunk: usize) -> (&[R], std::slice::ChunksExact<'_, u32>) {
        let block = self.dims.block;
        let uses = &self.contexts.uses()[chunk * CHUNK..];
        let rows = &self.tokens.rows[chunk * CHUNK * block..];
        let count = CHUNK.min(uses.len());
        (&uses[..count], rows[..count * block].chunks_exact(block))
    }
}

/// The units. Its methods are compiled for panels that fill their lines and for those that fill only
/// the first half (`HALVES`), with tiles that fit. They are called one after another.
#[derive(Clone, Debug)]
pub struct Panel<R> {
    /// How many there are; the lanes of others are zero.
    pub units: usize,
    /// `W1 (fan_in, units)`
    pub w1: Vec<Line<R>>,
    /// `W2` turned round: `(vocab, units)`
    pub w2: Vec<Line<R>>,
    /// `(units)`
    pub bngain: Line<R>,
    /// `(units)`
    pub bnbias: Line<R>,
    /// The gradients of these; that of `w1` is there if it was asked for.
    pub dw1: Vec<Line<R>>,
    pub dw2: Vec<Line<R>>,
    pub dbngain: Line<R>,
    pub dbnbias: Line<R>,
    bnvar_inv: Line<R>,
    /// `embedding @ W1` for the row of each token.
    products: Vec<Line<R>>,
    /// `dhprebn` summed over the uses of each row; in a minibatch of more than a chunk, `dhpreact`
    /// at first.
    pub sums: Vec<Line<R>>,
    /// `bndiff` summed over the uses of each row.
    bndiffs: Vec<Line<R>>,
    /// What is in work: chunk number `i` is at desk `i % desks.len()`.
    desks: Vec<Desk<R>>,
}

/// What the units make of a chunk.
#[derive(Clone, Debug)]
pub struct Desk<R> {
    acts: [Activations<R>; CHUNK],
    /// `h` turned round: `(units, contexts)`
    pub h: [Line<R>; LINE],
}

impl<R: Real> Desk<R> {
    fn new() -> Self {
        let acts = Activations {
            bndiff: Line::zero(),
            h: Line::zero(),
            d: Line::zero(),
        };
        Self {
            acts: [acts; CHUNK],
            h: [Line::zero(); LINE],
        }
    }
}

impl<R> Panel<R> {
    /// Where a chunk is in work.
    #[inline(always)]
    pub fn desk(&self, chunk: usize) -> &Desk<R> {
        &self.desks[chunk % self.desks.len()]
    }
}

impl<R: Real + Turn> Panel<R> {
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
            bndiffs: zeros(if dims.batch > CHUNK { rows } else { 0 }),
            desks: vec![Desk::new()],
        }
    }

    /// Makes room for `desks` chunks at a time.
    pub fn set_desks(&mut self, desks: usize) {
        self.desks.resize(desks, Desk::new());
    }

    /// `bnvar_inv` of the minibatch. The mean needs no pass: it is gone with that of the embeddings,
    /// and `b1` with it.
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
        for chunk in 0..step.contexts.chunks() {
            self.look_up::<FMA, HALVES>(step, chunk, &mut squares);
        }
        for (half, squares) in squares.iter().enumerate() {
            *self.bnvar_inv.half_mut(half) =
                squares.map(|sum| batchnorm_var_inv(batchnorm_variance(sum, n)));
        }
        if !step.one_chunk() {
            for sums in [&mut self.sums, &mut self.bndiffs] {
                sums[..tokens.count()].fill(Line::zero());
            }
            self.dw2.fill(Line::zero());
        }
        self.dbngain = Line::zero();
        self.dbnbias = Line::zero();
    }

    /// `products = embedding @ W1`, for each token at its position: what the first layer has to
    /// multiply, as examples with the same token there have the same product.
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

    /// `bndiff` of the contexts of a chunk, each the sum of the products of its tokens. Adds the squares,
    /// of each example, to `bndiff2`.
    #[inline(always)]
    fn look_up<const FMA: bool, const HALVES: usize>(
        &mut self,
        step: &Step<'_, R>,
        chunk: usize,
        bndiff2: &mut [[R; LANES]; HALVES],
    ) {
        let mut sums = *bndiff2;
        let (uses, rows) = step.chunk(chunk);
        let desk = chunk % self.desks.len();
        let acts = &mut self.desks[desk].acts;
        if let Some(beyond) = acts.get_mut(uses.len()) {
            // It may share a division with the last one.
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

    /// `h` of the contexts of a chunk, both ways round.
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
        chunk: usize,
    ) {
        if !step.one_chunk() {
            self.look_up::<FMA, HALVES>(step, chunk, &mut [[R::zero(); LANES]; HALVES]);
        }
        let count = step.chunk(chunk).0.len();
        let desk = chunk % self.desks.len();
        let Desk { acts, h } = &mut self.desks[desk];
        for half in 0..HALVES {
            let bnbias = *self.bnbias.half(half);
            let bnvar_inv = self.bnvar_inv.half(half);
            let mut scale = *self.bngain.half(half);
            each(&mut scale, |bngain, l| bngain * bnvar_inv[l]);
            // Two contexts share a division.
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
            // Beyond the last, nothing of another chunk is left to be a logit.
            for acts in &mut acts[count..] {
                *acts.h.half_mut(half) = [R::zero(); LANES];
            }
            let lines = &mut h.as_chunks_mut().0[half];
            for (part, acts) in acts.as_chunks::<LANES>().0.iter().enumerate() {
                R::turn(acts.each_ref().map(|a| a.h.half(half)), lines, part);
            }
        }
    }

    /// From `dlogits (vocab, examples)` of a chunk back to `dhpreact`, with all sums over examples
    /// that this allows. A minibatch of one chunk also updates `W2` and continues to `dhprebn`.
    ///
    /// What a tile gives is computed with before it is stored: of plain stores, the compiler made
    /// vectors across the rows of this tile and of the logits'. (Measured: 35 us a step, and 26 then.)
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
        chunk: usize,
    ) {
        let lr = step.lr;
        let (uses, rows) = step.chunk(chunk);
        let count = uses.len();
        let desk = chunk % self.desks.len();
        let all_acts = &mut self.desks[desk].acts;
        // dh = dlogits @ W2.T
        for examples in tiles(0..count, ROWS) {
            for c in 0..HALVES * LANES / (PARTS * COLS) {
                by_rows!(examples.len(), ROWS => {
                    let first = examples.start.min(CHUNK - ROWS);
                    let sums = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                        std::iter::once((dlogits, &self.w2[..dlogits.len()])),
                        |(_, w2)| w2.len(),
                        |(dlogits, _), k, i| dlogits[k][first + i],
                        |(_, w2), k, part| w2[k].part(PARTS * c + part),
                    );
                    let acts = tile_of_mut::<_, ROWS>(all_acts, examples.start);
                    for (acts, dh) in acts.iter_mut().zip(sums) {
                        for (part, mut d) in dh.into_iter().enumerate().take(PARTS) {
                            // dhpreact = (1.0 - h**2) * dh
                            let h = acts.h.part::<COLS>(PARTS * c + part);
                            for l in 0..COLS {
                                d[l] = tanh_backward(d[l], h[l]);
                            }
                            *acts.d.part_mut(PARTS * c + part) = d;
                        }
                    }
                });
            }
        }
        // dbnbias = dhpreact.sum(0); dbngain, here with bndiff in the place of bnraw
        for half in 0..HALVES {
            let mut dbnbias: [R; LANES] = *self.dbnbias.half(half);
            let mut dbngain: [R; LANES] = *self.dbngain.half(half);
            for acts in &all_acts[..count] {
                let (d, bndiff) = (acts.d.half(half), acts.bndiff.half(half));
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
        let one = step.one_chunk();
        for vs in tiles(0..dlogits.len(), ROWS) {
            for c in 0..HALVES * LANES / (PARTS * COLS) {
                by_rows!(vs.len(), ROWS => {
                    let dlogits = tile_of::<_, ROWS>(dlogits, vs.start);
                    let acts = &all_acts[..count];
                    let sums = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                        std::iter::once(()),
                        |()| acts.len().min(CHUNK),
                        |(), k, i| dlogits[i][k],
                        |(), k, part| acts[k].h.part(PARTS * c + part),
                    );
                    let dw2 = tile_of_mut::<_, ROWS>(&mut self.dw2, vs.start);
                    if one {
                        let w2 = tile_of_mut::<_, ROWS>(&mut self.w2, vs.start);
                        for i in 0..ROWS {
                            for part in 0..PARTS {
                                let (at, sums) = (PARTS * c + part, &sums[i][part]);
                                each(w2[i].part_mut::<COLS>(at), |w2, l| {
                                    sgd_update::<R, FMA>(w2, lr, sums[l])
                                });
                                if GRADS {
                                    *dw2[i].part_mut(at) = *sums;
                                }
                            }
                        }
                    } else {
                        for i in 0..ROWS {
                            for part in 0..PARTS {
                                let (at, sums) = (PARTS * c + part, &sums[i][part]);
                                each(dw2[i].part_mut::<COLS>(at), |dw2, l| dw2 + sums[l]);
                            }
                        }
                    }
                });
            }
        }
        if one {
            self.through_batchnorm::<FMA, HALVES>(step);
        } else {
            for ((&uses, rows), acts) in uses.iter().zip(rows).zip(&*all_acts) {
                let (d, mut bndiff) = (acts.d.halves::<HALVES>(), acts.bndiff.halves::<HALVES>());
                for bndiff in &mut bndiff {
                    each(bndiff, |bndiff, _| uses * bndiff);
                }
                add(rows, &d, &mut self.sums);
                add(rows, &bndiff, &mut self.bndiffs);
            }
        }
    }

    /// What the examples of a unit share in
    ///
    /// `dhprebn = bngain*bnvar_inv/n * (n*dhpreact - dhpreact.sum(0) - n/(n-1)*bnraw*(dhpreact*bnraw).sum(0))`
    ///
    /// so that `dhprebn = scale * dhpreact - shift - slope * bndiff`; and the sum with `bnraw`, which
    /// is `dbngain`, from that with `bndiff`.
    #[inline(always)]
    fn shared(&mut self, half: usize, dims: &Dims) -> [[R; LANES]; 3] {
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

    /// `dhprebn`, summed by the rows of tokens, where all contexts are at hand.
    #[inline(always)]
    fn through_batchnorm<const FMA: bool, const HALVES: usize>(&mut self, step: &Step<'_, R>) {
        self.sums[..step.tokens.count()].fill(Line::zero());
        let zero = [[R::zero(); LANES]; HALVES];
        let (mut scale, mut shift, mut slope) = (zero, zero, zero);
        for half in 0..HALVES {
            [scale[half], shift[half], slope[half]] = self.shared(half, step.dims);
        }
        let (uses, rows) = step.chunk(0);
        for ((&uses, rows), acts) in uses.iter().zip(rows).zip(&self.desks[0].acts) {
            let mut dhprebn = zero;
            for half in 0..HALVES {
                let (d, bndiff) = (acts.d.half(half), acts.bndiff.half(half));
                for l in 0..LANES {
                    let shared = mul_add::<R, FMA>(slope[half][l], bndiff[l], shift[half][l]);
                    dhprebn[half][l] = mul_add::<R, FMA>(-uses, shared, scale[half][l] * d[l]);
                }
            }
            add(rows, &dhprebn, &mut self.sums);
        }
    }

    /// The end of a step of more than a chunk: `dhprebn`, which is linear in `dhpreact` and `bndiff`,
    /// from their sums by the rows of tokens; and the update of `W2`.
    #[inline(always)]
    pub fn after_chunks<
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
        let mut shared = [Line::zero(); 3];
        for half in 0..HALVES {
            for (line, values) in shared.iter_mut().zip(self.shared(half, dims)) {
                *line.half_mut(half) = values;
            }
        }
        // Up to a length that the compiler does not know: of a loop that it unrolled, it would make
        // vectors across the lines, with a gather for each lane.
        let units = self.units.min(LINE);
        let [scale, shift, slope] = shared.each_ref().map(|line| &line[..units]);
        let rows = self.bndiffs.iter().zip(&tokens.uses[..tokens.count()]);
        for (sums, (bndiffs, &uses)) in self.sums.iter_mut().zip(rows) {
            let (sums, bndiffs) = (&mut sums[..units], &bndiffs[..units]);
            for l in 0..units {
                let scaled = mul_add::<R, FMA>(scale[l], sums[l], -(uses * shift[l]));
                sums[l] = mul_add::<R, FMA>(-slope[l], bndiffs[l], scaled);
            }
        }
        for (w2, dw2) in self.w2.iter_mut().zip(&self.dw2) {
            sgd::update::<R, FMA>(&mut w2[..units], lr, &dw2[..units]);
        }
    }

    /// `dW1 = embcat.T @ dhprebn`, which is a sum over the rows of tokens; the updates of `W1`,
    /// `bngain` and `bnbias`. (That the embeddings are centred makes no difference: `dhprebn.sum(0)`
    /// is zero.)
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
