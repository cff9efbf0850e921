//! The training step laid out for vector units: one hidden unit a row, the examples of the
//! minibatch along it.
//!
//! The twin in [`super::Model`] keeps one example a row, as the lecture does. Turned round, three
//! things fall into place:
//!
//! * batch norm and tanh of a unit are a walk along one short row;
//! * the operands of all six products lie as their tiles read them, so nothing is copied;
//! * softmax runs over 27 rows for all examples at once, instead of over 27 values for each.
//!
//! Rows are cut into `Line`s of a fixed length, and units into `Block`s of a fixed number, so
//! that the compiler knows every loop's length and no access needs a check. What lies in the
//! padding is zero or is never read. The formulas are the twin's own functions; the tests hold this
//! against PyTorch and against the twin.
//!
//! A batch that is no multiple of a line pays for the padding too: 33 examples cost what 64 do.

use std::ops::{Deref, DerefMut};

use super::batchnorm::{
    batchnorm_backward, batchnorm_scale, batchnorm_var_inv, batchnorm_variance,
};
use super::linear::{Tile, tile};
use super::real::{Real, mul_add};
use super::sgd;
use super::tanh::tanh_backward;
use crate::dims::Dims;
use crate::params::{Params, Tensor};

/// Values of a line: two of the widest vectors, and the columns of the widest tile.
const LINE: usize = 32;
/// Units of a block: the rows of the highest tile.
const UNITS: usize = 8;

/// What embeddings are copied and summed in: a row of `C` is a few of these.
type Piece<R> = [R; 8];
/// A part of a row. Aligned, as no access of a vector unit then touches two lines of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line<R>([R; LINE]);

impl<R: Real> Line<R> {
    fn zero() -> Self {
        Self([R::zero(); LINE])
    }
}

impl<R> Deref for Line<R> {
    type Target = [R; LINE];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<R> DerefMut for Line<R> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The same part of the rows of a few units.
type Block<R> = [Line<R>; UNITS];

/// A matrix with a row for each hidden unit, in blocks: those of the first eight units, one for
/// each line of their rows, then those of the next eight.
#[derive(Clone, Debug)]
struct ByBlock<R> {
    blocks: Vec<Block<R>>,
    /// Lines of a row.
    lines: usize,
}

impl<R: Real> ByBlock<R> {
    fn zeros(hidden: usize, cols: usize) -> Self {
        let lines = lines(cols);
        Self {
            blocks: vec![[Line::zero(); UNITS]; hidden.div_ceil(UNITS) * lines],
            lines,
        }
    }

    /// The rows of the eight units number `j`.
    #[inline(always)]
    fn units(&self, j: usize) -> &[Block<R>] {
        &self.blocks[j * self.lines..][..self.lines]
    }

    /// The same, to be written.
    #[inline(always)]
    fn units_mut(&mut self, j: usize) -> &mut [Block<R>] {
        &mut self.blocks[j * self.lines..][..self.lines]
    }

    fn value(&mut self, unit: usize, col: usize) -> &mut R {
        &mut self.units_mut(unit / UNITS)[col / LINE][unit % UNITS][col % LINE]
    }
}

/// How many pieces a row of `C` is.
fn pieces(dims: &Dims) -> usize {
    dims.embd.div_ceil(8)
}

/// How many lines hold `size` values.
fn lines(size: usize) -> usize {
    size.div_ceil(LINE)
}

/// Values of a row of `embcat` with room for the padding of its last embedding.
fn row_len(dims: &Dims) -> usize {
    lines(dims.fan_in()) * LINE + 8
}

/// Values for the parameters in this layout: themselves or their gradients.
#[derive(Clone, Debug)]
struct Weights<R> {
    /// `C (vocab, embd)`, each row in pieces.
    c: Vec<Piece<R>>,
    /// `W1` turned round: `(hidden, fan_in)`.
    w1: ByBlock<R>,
    /// `(hidden)`. It stays as it is: batch norm takes it off again with the mean, so its gradient
    /// is zero.
    b1: Vec<R>,
    /// `W2 (hidden, vocab)`
    w2: ByBlock<R>,
    /// `(vocab)`
    b2: Vec<R>,
    /// `(hidden)`
    bngain: Vec<[R; UNITS]>,
    /// `(hidden)`
    bnbias: Vec<[R; UNITS]>,
}

/// A model with all that a training step needs.
#[derive(Clone, Debug)]
pub struct ByUnit<R> {
    dims: Dims,
    params: Weights<R>,
    grads: Weights<R>,
    /// `embcat (batch, fan_in)`: the first lines of all rows, then their second.
    emb: Vec<Line<R>>,
    /// The same less its mean over the batch and turned round, `(fan_in, batch)`.
    emb_t: Vec<Line<R>>,
    /// `bndiff`, then `bnraw`: `(hidden, batch)`
    bnraw: ByBlock<R>,
    /// `(hidden)`
    bnvar_inv: Vec<[R; UNITS]>,
    /// `(hidden, batch)`
    h: ByBlock<R>,
    /// `logits`, then their gradient, turned round: `(vocab, batch)`
    dlogits_t: Vec<Line<R>>,
    /// The gradient once more: `(batch, vocab)`
    dlogits: Vec<Line<R>>,
    /// `dh`, then `dhpreact`, then `dhprebn`: `(hidden, batch)`
    dhidden: ByBlock<R>,
    /// `dembcat (batch, fan_in)`
    demb: Vec<Line<R>>,
    /// The rows of `embcat` or `dembcat`, each its whole lines and a piece.
    rows: Vec<R>,
}

impl<R: Real> Weights<R> {
    fn zeros(dims: &Dims) -> Self {
        let zeros = |len: usize| vec![R::zero(); len];
        let by_unit = vec![[R::zero(); UNITS]; dims.hidden.div_ceil(UNITS)];
        Self {
            c: vec![[R::zero(); 8]; dims.vocab * pieces(dims)],
            w1: ByBlock::zeros(dims.hidden, dims.fan_in()),
            b1: zeros(dims.hidden),
            w2: ByBlock::zeros(dims.hidden, dims.vocab),
            b2: zeros(dims.vocab),
            bngain: by_unit.clone(),
            bnbias: by_unit,
        }
    }

    /// Value `i` of a parameter.
    fn value(&mut self, tensor: Tensor, i: usize, dims: &Dims) -> &mut R {
        match tensor {
            Tensor::C => {
                let row = i / dims.embd * pieces(dims);
                &mut self.c[row..].as_flattened_mut()[i % dims.embd]
            }
            Tensor::W1 => self.w1.value(i % dims.hidden, i / dims.hidden),
            Tensor::B1 => &mut self.b1[i],
            Tensor::W2 => self.w2.value(i / dims.vocab, i % dims.vocab),
            Tensor::B2 => &mut self.b2[i],
            Tensor::Bngain => &mut self.bngain[i / UNITS][i % UNITS],
            Tensor::Bnbias => &mut self.bnbias[i / UNITS][i % UNITS],
        }
    }

    fn load(&mut self, params: &Params<R>, dims: &Dims) {
        for tensor in Tensor::ALL {
            for (i, &value) in params.get(tensor).iter().enumerate() {
                *self.value(tensor, i, dims) = value;
            }
        }
    }

    fn save(&mut self, dims: &Dims) -> Params<R> {
        Params::from_fn(|tensor| {
            (0..tensor.len(dims))
                .map(|i| *self.value(tensor, i, dims))
                .collect()
        })
    }
}

impl<R: Real> ByUnit<R> {
    /// A model that starts from `params`.
    pub fn new(dims: Dims, params: &Params<R>) -> Self {
        let rows = |rows: usize, cols: usize| vec![Line::zero(); rows * lines(cols)];
        let by_unit = || ByBlock::zeros(dims.hidden, dims.batch);
        let mut weights = Weights::zeros(&dims);
        weights.load(params, &dims);
        Self {
            dims,
            params: weights,
            grads: Weights::zeros(&dims),
            emb: rows(dims.batch, dims.fan_in()),
            emb_t: rows(dims.fan_in(), dims.batch),
            bnraw: by_unit(),
            bnvar_inv: vec![[R::zero(); UNITS]; dims.hidden.div_ceil(UNITS)],
            h: by_unit(),
            dlogits_t: rows(dims.vocab.next_multiple_of(UNITS), dims.batch),
            dlogits: rows(dims.batch, dims.vocab),
            dhidden: by_unit(),
            demb: rows(dims.batch.next_multiple_of(UNITS), dims.fan_in()),
            rows: vec![R::zero(); dims.batch * row_len(&dims)],
        }
    }

    /// The parameters as they stand.
    pub fn params(&mut self) -> Params<R> {
        self.params.save(&self.dims)
    }

    /// Replaces the parameters.
    pub fn set_params(&mut self, params: &Params<R>) {
        self.params.load(params, &self.dims);
    }

    /// The gradients of the last [`ByUnit::step_with_grads`].
    pub fn grads(&mut self) -> Params<R> {
        self.grads.save(&self.dims)
    }

    /// One step of gradient descent over `x (batch, block)`, `y (batch)`. Returns the loss before
    /// the update.
    #[inline(always)]
    pub fn step<const FMA: bool, const ROWS: usize, const COLS: usize>(
        &mut self,
        tile: Tile<FMA, ROWS, COLS>,
        x: &[u8],
        y: &[u8],
        lr: R,
    ) -> R {
        self.run::<FMA, ROWS, COLS, false>(tile, x, y, lr)
    }

    /// The same step, after which [`ByUnit::grads`] has its gradients. Training needs none: those
    /// of the weights go into the update without ever being written to memory.
    #[inline(always)]
    pub fn step_with_grads<const FMA: bool, const ROWS: usize, const COLS: usize>(
        &mut self,
        tile: Tile<FMA, ROWS, COLS>,
        x: &[u8],
        y: &[u8],
        lr: R,
    ) -> R {
        self.run::<FMA, ROWS, COLS, true>(tile, x, y, lr)
    }

    #[inline(always)]
    fn run<const FMA: bool, const ROWS: usize, const COLS: usize, const GRADS: bool>(
        &mut self,
        tile: Tile<FMA, ROWS, COLS>,
        x: &[u8],
        y: &[u8],
        lr: R,
    ) -> R {
        let Self {
            params: p,
            grads: g,
            dims,
            ..
        } = self;
        let (batch, vocab, fan_in) = (dims.batch, dims.vocab, dims.fan_in());
        let n = R::of(batch as f64);
        let blocks = self.bnvar_inv.len();

        // bndiff = embcat @ W1 + b1 less its mean: embcat is less its mean already
        lookup(
            x,
            &p.c,
            dims,
            &mut self.rows,
            &mut self.emb,
            &mut self.emb_t,
        );
        let mut squares = BlockParts([[R::zero(); LINE / 2]; UNITS]);
        for j in 0..=blocks {
            // A block's variance takes its time, and so do the divisions of its tanh: the next
            // block's product goes in between.
            let before = j.checked_sub(1).map(|j| (j, variances(&squares, n)));
            if j < blocks {
                let (w1, bndiff) = (p.w1.units(j), self.bnraw.units_mut(j));
                rows_product(tile, w1, fan_in, &self.emb_t, fan_in, into(bndiff));
                sum_products::<R, FMA>(bndiff, bndiff, &mut squares);
            }
            if let Some((j, bnvar_inv)) = before {
                let (bnraw, h) = (self.bnraw.units_mut(j), self.h.units_mut(j));
                normalize::<R, FMA>(bnraw, h, &bnvar_inv, &p.bngain[j], &p.bnbias[j]);
                self.bnvar_inv[j] = bnvar_inv;
            }
        }
        // logits = h @ W2 (+ b2)
        columns_product(tile, &p.w2, vocab, &self.h, &mut self.dlogits_t);
        let loss = softmax::<R, FMA>(
            &mut self.dlogits_t,
            &mut self.dlogits,
            &p.b2,
            &mut g.b2,
            y,
            dims,
        );

        // dh = dlogits @ W2.T; dW2 = h.T @ dlogits
        let vocab_p = vocab.next_multiple_of(UNITS);
        let (mut sum_d, mut sum_d_bnraw) = (squares, squares);
        for j in 0..blocks {
            let (w2, dw2) = (p.w2.units_mut(j), g.w2.units_mut(j));
            let (d, h, bnraw) = (
                self.dhidden.units_mut(j),
                self.h.units(j),
                self.bnraw.units(j),
            );
            rows_product(tile, w2, vocab, &self.dlogits_t, vocab_p, into(d));
            through_tanh(d, h, &mut sum_d);
            sum_products::<R, FMA>(d, bnraw, &mut sum_d_bnraw);
            rows_product(
                tile,
                h,
                batch,
                &self.dlogits,
                batch,
                update::<R, FMA, COLS, GRADS>(w2, lr, dw2),
            );
            g.bnbias[j] = totals(&sum_d);
            g.bngain[j] = totals(&sum_d_bnraw);
            let (bngain, bnvar_inv) = (&p.bngain[j], &self.bnvar_inv[j]);
            through_norm::<R, FMA>(d, bnraw, n, bngain, bnvar_inv, &g.bnbias[j], &g.bngain[j]);
        }
        // dembcat = dhprebn @ W1.T; dW1 = embcat.T @ dhprebn, turned round
        columns_product(tile, &self.dhidden, batch, &p.w1, &mut self.demb);
        for j in 0..blocks {
            let (w1, dw1) = (p.w1.units_mut(j), g.w1.units_mut(j));
            let d = self.dhidden.units(j);
            rows_product(
                tile,
                d,
                batch,
                &self.emb,
                batch,
                update::<R, FMA, COLS, GRADS>(w1, lr, dw1),
            );
        }
        gather(x, &self.demb, dims, &mut self.rows, &mut g.c);
        sgd::update::<R, FMA>(p.c.as_flattened_mut(), lr, g.c.as_flattened());
        sgd::update::<R, FMA>(&mut p.b2, lr, &g.b2);
        sgd::update::<R, FMA>(p.bngain.as_flattened_mut(), lr, g.bngain.as_flattened());
        sgd::update::<R, FMA>(p.bnbias.as_flattened_mut(), lr, g.bnbias.as_flattened());
        loss
    }
}

/// Where [`rows_product`] puts its result: into a block's lines.
#[inline(always)]
fn into<R: Real, const COLS: usize>(
    out: &mut [Block<R>],
) -> impl FnMut(usize, usize, usize, [R; COLS]) {
    |line, i, c, sums| out[line][i].as_chunks_mut().0[c] = sums
}

/// The same for a gradient (if `GRADS`), and `p.data += -lr * p.grad` while it is at hand.
#[inline(always)]
fn update<R: Real, const FMA: bool, const COLS: usize, const GRADS: bool>(
    p: &mut [Block<R>],
    lr: R,
    grad: &mut [Block<R>],
) -> impl FnMut(usize, usize, usize, [R; COLS]) {
    move |line, i, c, sums| {
        if GRADS {
            grad[line][i].as_chunks_mut().0[c] = sums;
        }
        sgd::update::<R, FMA>(&mut p[line][i].as_chunks_mut::<COLS>().0[c], lr, &sums);
    }
}

/// `embcat` of the minibatch, an example a row and (less its mean) an input a row.
#[inline(always)]
fn lookup<R: Real>(
    x: &[u8],
    c: &[Piece<R>],
    dims: &Dims,
    rows: &mut [R],
    emb: &mut [Line<R>],
    emb_t: &mut [Line<R>],
) {
    let (fan_in, batch, pieces) = (dims.fan_in(), dims.batch, pieces(dims));
    // First all rows, then all lines: a line read right after the pieces that it is cut
    // from would wait until they have reached the cache.
    let row_len = row_len(dims);
    for (tokens, row) in x
        .chunks_exact(dims.block)
        .zip(rows.chunks_exact_mut(row_len))
    {
        for (t, &token) in tokens.iter().enumerate() {
            // The padding of the last piece lies where the next embedding will.
            let c = &c[usize::from(token) * pieces..][..pieces];
            let (to, _) = row[t * dims.embd..].as_chunks_mut();
            for (to, piece) in to.iter_mut().zip(c) {
                *to = *piece;
            }
        }
    }
    for (b, row) in rows.chunks_exact(row_len).enumerate() {
        for (emb, line) in emb.chunks_exact_mut(batch).zip(row.as_chunks().0) {
            emb[b] = Line(*line);
        }
    }
    let n = R::of(batch as f64);
    for (first, emb) in (0..fan_in).step_by(LINE).zip(emb.chunks_exact(batch)) {
        let mut mean = [R::zero(); LINE];
        for row in emb {
            for l in 0..LINE {
                mean[l] += row[l];
            }
        }
        for mean in &mut mean {
            *mean /= n;
        }
        for (rows, inputs) in emb.chunks(LINE).zip(emb_t.chunks_exact_mut(fan_in)) {
            for (f, input) in inputs[first..].iter_mut().enumerate().take(LINE) {
                for (value, row) in input.iter_mut().zip(rows) {
                    *value = row[f] - mean[f];
                }
            }
        }
    }
}

/// `dC[X[p]] += demb[p]`, in the order of the positions.
#[inline(always)]
fn gather<R: Real>(x: &[u8], demb: &[Line<R>], dims: &Dims, rows: &mut [R], dc: &mut [Piece<R>]) {
    let pieces = pieces(dims);
    let row_len = row_len(dims);
    for (b, row) in rows.chunks_exact_mut(row_len).enumerate() {
        let panels = demb.chunks_exact(dims.batch.next_multiple_of(UNITS));
        for (line, demb) in row.as_chunks_mut().0.iter_mut().zip(panels) {
            *line = *demb[b];
        }
    }
    dc.fill([R::zero(); 8]);
    for (tokens, row) in x.chunks_exact(dims.block).zip(rows.chunks_exact(row_len)) {
        for (t, &token) in tokens.iter().enumerate() {
            let dc = &mut dc[usize::from(token) * pieces..][..pieces];
            let (demb, _) = row[t * dims.embd..].as_chunks::<8>();
            for (dc, demb) in dc.iter_mut().zip(demb) {
                for l in 0..8 {
                    dc[l] += demb[l];
                }
            }
        }
    }
    // The padding of the rows got what belongs to the next position.
    for row in dc.chunks_exact_mut(pieces) {
        row.as_flattened_mut()[dims.embd..].fill(R::zero());
    }
}

/// A line's sum in parts: what is left of it when its second half is added to the first.
type Parts<R> = [R; LINE / 2];

#[inline(always)]
fn parts<R: Real>(line: &[R; LINE]) -> Parts<R> {
    std::array::from_fn(|l| line[l] + line[l + LINE / 2])
}

/// The parts of a block's sums. They lie in memory, where an access that touches two lines of the
/// cache costs twice, so they are aligned as a [`Line`] is.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct BlockParts<R>([Parts<R>; UNITS]);

/// The sums whose parts these are.
#[inline(always)]
fn totals<R: Real>(BlockParts(parts): &BlockParts<R>) -> [R; UNITS] {
    let (mut fourths, mut sums) = ([R::zero(); 4 * UNITS], [R::zero(); UNITS]);
    add_fours(parts.as_flattened(), &mut fourths);
    add_fours(&fourths, &mut sums);
    sums
}

/// Sums of four neighbours each.
#[inline(always)]
fn add_fours<R: Real>(values: &[R], sums: &mut [R]) {
    for (sum, v) in sums.iter_mut().zip(values.as_chunks::<4>().0) {
        *sum = (v[0] + v[1]) + (v[2] + v[3]);
    }
}

/// `(a * b).sum(0)` of the units of a block.
#[inline(always)]
fn sum_products<R: Real, const FMA: bool>(
    a: &[Block<R>],
    b: &[Block<R>],
    sums: &mut BlockParts<R>,
) {
    for (i, sums) in sums.0.iter_mut().enumerate() {
        let mut sum = [R::zero(); LINE];
        for (a, b) in a.iter().zip(b) {
            for l in 0..LINE {
                sum[l] = mul_add::<R, FMA>(a[i][l], b[i][l], sum[l]);
            }
        }
        *sums = parts(&sum);
    }
}

/// `bnvar_inv` of the units of a block.
#[inline(always)]
fn variances<R: Real>(bndiff2: &BlockParts<R>, n: R) -> [R; UNITS] {
    totals(bndiff2).map(|bndiff2| batchnorm_var_inv(batchnorm_variance(bndiff2, n)))
}

/// `bnraw` in the place of `bndiff`, and `h`, for the units of a block.
#[inline(always)]
fn normalize<R: Real, const FMA: bool>(
    bnraw: &mut [Block<R>],
    h: &mut [Block<R>],
    bnvar_inv: &[R; UNITS],
    bngain: &[R; UNITS],
    bnbias: &[R; UNITS],
) {
    for (bnraw, h) in bnraw.iter_mut().zip(h) {
        for i in 0..UNITS {
            let (mut x, var_inv, gain, bias) = (bnraw[i], bnvar_inv[i], bngain[i], bnbias[i]);
            for x in x.iter_mut() {
                *x *= var_inv;
            }
            bnraw[i] = x;
            let (first, second) = x.split_at_mut(LINE / 2);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = R::tanh_pair::<FMA>(
                    batchnorm_scale::<R, FMA>(gain, *a, bias),
                    batchnorm_scale::<R, FMA>(gain, *b, bias),
                );
            }
            h[i] = x;
        }
    }
}

/// `dhpreact` in the place of `dh`, for the units of a block, and `dhpreact.sum(0)`.
#[inline(always)]
fn through_tanh<R: Real>(dhidden: &mut [Block<R>], h: &[Block<R>], sums: &mut BlockParts<R>) {
    for (i, sums) in sums.0.iter_mut().enumerate() {
        let mut sum = [R::zero(); LINE];
        for (dhidden, h) in dhidden.iter_mut().zip(h) {
            let (mut d, h) = (dhidden[i], h[i]);
            for l in 0..LINE {
                d[l] = tanh_backward(d[l], h[l]);
                sum[l] += d[l];
            }
            dhidden[i] = d;
        }
        *sums = parts(&sum);
    }
}

/// `dhprebn` in the place of `dhpreact`, for the units of a block.
#[inline(always)]
fn through_norm<R: Real, const FMA: bool>(
    dhidden: &mut [Block<R>],
    bnraw: &[Block<R>],
    n: R,
    bngain: &[R; UNITS],
    bnvar_inv: &[R; UNITS],
    dbnbias: &[R; UNITS],
    dbngain: &[R; UNITS],
) {
    for (dhidden, bnraw) in dhidden.iter_mut().zip(bnraw) {
        for i in 0..UNITS {
            let (mut d, bnraw) = (dhidden[i], bnraw[i]);
            let (gain, var_inv) = (bngain[i], bnvar_inv[i]);
            let (sum_d, sum_d_bnraw) = (dbnbias[i], dbngain[i]);
            for l in 0..LINE {
                d[l] = batchnorm_backward::<R, FMA>(
                    gain,
                    var_inv,
                    n,
                    d[l],
                    sum_d,
                    bnraw[l],
                    sum_d_bnraw,
                );
            }
            dhidden[i] = d;
        }
    }
}

/// Loss and gradient of softmax and cross-entropy. `logits_t (vocab, batch)` becomes its gradient,
/// which is written to `dlogits (batch, vocab)` too, and summed into `db2`.
#[inline(always)]
fn softmax<R: Real, const FMA: bool>(
    logits_t: &mut [Line<R>],
    dlogits: &mut [Line<R>],
    b2: &[R],
    db2: &mut [R],
    y: &[u8],
    dims: &Dims,
) -> R {
    let (batch, vocab) = (dims.batch, dims.vocab);
    let n = R::of(batch as f64);
    let mut loss = 0.0;
    let vocab_p = vocab.next_multiple_of(UNITS);
    for (first, (rows, y)) in (0..batch)
        .step_by(LINE)
        .zip(logits_t.chunks_exact_mut(vocab_p).zip(y.chunks(LINE)))
    {
        let rows_p = &mut rows[..vocab.next_multiple_of(4)];
        let rows = &mut rows_p[..vocab];
        let mut logit_max = [R::neg_infinity(); LINE];
        for (row, &b2) in rows.iter_mut().zip(b2) {
            for l in 0..LINE {
                row[l] += b2;
                logit_max[l] = if row[l] > logit_max[l] {
                    row[l]
                } else {
                    logit_max[l]
                };
            }
        }
        for (b, &target) in y.iter().enumerate() {
            // The target's logit is read before the next loop overwrites it with its count.
            loss -= (rows[usize::from(target)][b] - logit_max[b]).as_f64();
        }
        let mut counts_sum = [R::zero(); LINE];
        for row in &mut *rows {
            for l in 0..LINE {
                row[l] = (row[l] - logit_max[l]).exp_forward::<FMA>();
                counts_sum[l] += row[l];
            }
        }
        // All lanes are divided at once. Then, for the padding, the gradient is zero and the sum 1.
        let mut scale = counts_sum.map(|sum| R::one() / (sum * n));
        scale[y.len()..].fill(R::zero());
        counts_sum[y.len()..].fill(R::one());
        // The logarithm of the product is the sum of the logarithms. With a count of 1 for the
        // largest logit and at most 1 for the others, 32 sums multiply to at most vocab**32.
        let mut products = [1.0; 8];
        for sums in counts_sum.as_chunks::<8>().0 {
            for (product, sum) in products.iter_mut().zip(sums) {
                *product *= sum.as_f64();
            }
        }
        loss += products.iter().product::<f64>().ln();
        for row in &mut *rows {
            for l in 0..LINE {
                row[l] *= scale[l];
            }
        }
        for (b, &target) in y.iter().enumerate() {
            rows[usize::from(target)][b] -= R::one() / n;
        }
        // Turned round four rows and four examples at a time, so that four values are written at
        // once. Padding rows are zero, as they are in W2.
        for (v, rows) in (0..).step_by(4).zip(rows_p.as_chunks::<4>().0) {
            let lines = &mut dlogits[v / LINE * batch + first..][..y.len()];
            for (g, lines) in lines.chunks_mut(4).enumerate() {
                let four = |i: usize| rows[i].as_chunks::<4>().0[g];
                let (r0, r1, r2, r3) = (four(0), four(1), four(2), four(3));
                for (b, line) in lines.iter_mut().enumerate() {
                    line.as_chunks_mut::<4>().0[v % LINE / 4] = [r0[b], r1[b], r2[b], r3[b]];
                }
            }
        }
    }
    for (dlogits, db2) in dlogits.chunks_exact(batch).zip(db2.chunks_mut(LINE)) {
        let mut sum = [R::zero(); LINE];
        for row in dlogits {
            for l in 0..LINE {
                sum[l] += row[l];
            }
        }
        db2.copy_from_slice(&sum[..db2.len()]);
    }
    R::of(loss / batch as f64)
}

/// `left @ right` for the units of a block: `left (units, inner)`, `right (inner, cols)`, of which
/// `stride` lines hold a line of columns. Columns `c * COLS..` of line `line` of unit `i` go to
/// `store(line, i, c, ..)`.
#[inline(always)]
fn rows_product<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    _: Tile<FMA, ROWS, COLS>,
    left: &[Block<R>],
    inner: usize,
    right: &[Line<R>],
    stride: usize,
    mut store: impl FnMut(usize, usize, usize, [R; COLS]),
) {
    for (line, right) in right.chunks_exact(stride).enumerate() {
        let right = &right[..inner];
        for first in (0..UNITS).step_by(ROWS) {
            for c in 0..LINE / COLS {
                tile::<R, FMA, ROWS, COLS, _>(
                    left.iter().zip(right.chunks(LINE)),
                    |(_, right)| right.len().min(LINE),
                    |(left, _), k, i| left[first + i][k],
                    |(_, right), k| &right[k].as_chunks().0[c],
                    |i, sums| store(line, first + i, c, sums),
                );
            }
        }
    }
}

/// `out = left.T @ right`: `left (units, rows)`, `right (units, cols)`.
#[inline(always)]
fn columns_product<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    tile: Tile<FMA, ROWS, COLS>,
    left: &ByBlock<R>,
    rows: usize,
    right: &ByBlock<R>,
    out: &mut [Line<R>],
) {
    let rows_p = rows.next_multiple_of(UNITS);
    for (panel, out) in out.chunks_exact_mut(rows_p).enumerate() {
        for first in (0..rows).step_by(ROWS) {
            if rows - first <= 4 {
                columns_tile(Tile::<FMA, 4, COLS>, left, first, right, panel, out);
            } else {
                columns_tile(tile, left, first, right, panel, out);
            }
        }
    }
}

/// The tiles of a line of `out`, from row `first` on.
#[inline(always)]
fn columns_tile<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    _: Tile<FMA, ROWS, COLS>,
    left: &ByBlock<R>,
    first: usize,
    right: &ByBlock<R>,
    panel: usize,
    out: &mut [Line<R>],
) {
    let group = first % LINE / ROWS;
    let out = &mut out[first..][..ROWS];
    for c in 0..LINE / COLS {
        let lefts = left.blocks.chunks_exact(left.lines);
        let rights = right.blocks.chunks_exact(right.lines);
        tile::<R, FMA, ROWS, COLS, _>(
            lefts
                .zip(rights)
                .map(|(left, right)| (&left[first / LINE], &right[panel])),
            |_| UNITS,
            |(left, _), k, i| left[k].as_chunks::<ROWS>().0[group][i],
            |(_, right), k| &right[k].as_chunks().0[c],
            |i, sums| out[i].as_chunks_mut().0[c] = sums,
        );
    }
}
