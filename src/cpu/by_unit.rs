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
//! Rows are cut into [`Line`]s of a fixed length, and units into [`Block`]s of a fixed number, so
//! that the compiler knows every loop's length and no access needs a check. What lies in the
//! padding is zero or is never read. The formulas are the twin's own functions; the tests hold this
//! against PyTorch and against the twin.

use super::batchnorm::{
    batchnorm_backward, batchnorm_scale, batchnorm_var_inv, batchnorm_variance,
};
use super::linear::{Tile, tile};
use super::real::Real;
use super::sgd;
use super::softmax_cross_entropy::cross_entropy_loss;
use super::tanh::tanh_backward;
use crate::dims::Dims;
use crate::params::{Params, Tensor};

/// Values of a line: two of the widest vectors, and the columns of the widest tile.
const LINE: usize = 32;
/// Units of a block: the rows of the highest tile.
const UNITS: usize = 8;

/// A piece of a row.
type Line<R> = [R; LINE];
/// The same piece of the rows of a few units.
type Block<R> = [Line<R>; UNITS];

/// How many lines hold `size` values.
fn lines(size: usize) -> usize {
    size.div_ceil(LINE)
}

/// How many blocks hold `hidden` units.
fn blocks(hidden: usize) -> usize {
    hidden.div_ceil(UNITS)
}

/// Values for the parameters in this layout: themselves or their gradients.
#[derive(Clone, Debug)]
struct Weights<R> {
    /// `C (vocab, embd)`, as it is: it is only looked up.
    c: Vec<R>,
    /// `W1` turned round, `(hidden, fan_in)`: the blocks of the first eight units, then those of
    /// the next.
    w1: Vec<Block<R>>,
    /// `(hidden)`
    b1: Vec<R>,
    /// `W2 (hidden, vocab)`, in the same way.
    w2: Vec<Block<R>>,
    /// `(vocab)`
    b2: Vec<R>,
    /// `(hidden)`
    bngain: Vec<R>,
    /// `(hidden)`
    bnbias: Vec<R>,
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
    bnraw: Vec<Block<R>>,
    /// `(hidden)`
    bnvar_inv: Vec<R>,
    /// `(hidden, batch)`
    h: Vec<Block<R>>,
    /// `logits`, then their gradient, turned round: `(vocab, batch)`
    dlogits_t: Vec<Line<R>>,
    /// The gradient once more: `(batch, vocab)`
    dlogits: Vec<Line<R>>,
    /// `dh`, then `dhpreact`, then `dhprebn`: `(hidden, batch)`
    dhidden: Vec<Block<R>>,
    /// `dembcat` turned round: `(fan_in, batch)`
    demb_t: Vec<Line<R>>,
    /// Two sums over the batch for each unit, in four parts.
    sums: [Vec<[R; 4]>; 2],
}

impl<R: Real> Weights<R> {
    fn zeros(dims: &Dims) -> Self {
        let zeros = |len: usize| vec![R::zero(); len];
        let blocks = blocks(dims.hidden);
        let hidden = blocks * UNITS;
        let matrix = |cols: usize| vec![[[R::zero(); LINE]; UNITS]; blocks * lines(cols)];
        Self {
            c: zeros(dims.vocab * dims.embd),
            w1: matrix(dims.fan_in()),
            b1: zeros(hidden),
            w2: matrix(dims.vocab),
            b2: zeros(dims.vocab),
            bngain: zeros(hidden),
            bnbias: zeros(hidden),
        }
    }

    /// Value `i` of a parameter.
    fn value(&mut self, tensor: Tensor, i: usize, dims: &Dims) -> &mut R {
        let (matrix, cols, unit, k) = match tensor {
            Tensor::W1 => (
                &mut self.w1,
                dims.fan_in(),
                i % dims.hidden,
                i / dims.hidden,
            ),
            Tensor::W2 => (&mut self.w2, dims.vocab, i / dims.vocab, i % dims.vocab),
            Tensor::C => return &mut self.c[i],
            Tensor::B1 => return &mut self.b1[i],
            Tensor::B2 => return &mut self.b2[i],
            Tensor::Bngain => return &mut self.bngain[i],
            Tensor::Bnbias => return &mut self.bnbias[i],
        };
        &mut matrix[unit / UNITS * lines(cols) + k / LINE][unit % UNITS][k % LINE]
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
    /// Whether this layout is the faster one. It is from small models to large (measured from
    /// hidden 64 to 2,048 and batch 32 to 2,048: by 1.15 to 1.6 times), unless much of it would be
    /// padding: a batch of 33 has 64 columns, and takes 1.4 times as long as the twin.
    pub fn fits(dims: &Dims) -> bool {
        4 * dims.batch.next_multiple_of(LINE) <= 5 * dims.batch
    }

    /// A model that starts from `params`.
    pub fn new(dims: Dims, params: &Params<R>) -> Self {
        let line = [R::zero(); LINE];
        let rows = |rows: usize, cols: usize| vec![line; rows * lines(cols)];
        let units = blocks(dims.hidden);
        let by_unit = || vec![[line; UNITS]; units * lines(dims.batch)];
        let mut weights = Weights::zeros(&dims);
        weights.load(params, &dims);
        Self {
            dims,
            params: weights,
            grads: Weights::zeros(&dims),
            emb: rows(dims.batch, dims.fan_in()),
            emb_t: rows(dims.fan_in(), dims.batch),
            bnraw: by_unit(),
            bnvar_inv: vec![R::zero(); units * UNITS],
            h: by_unit(),
            dlogits_t: rows(dims.vocab.next_multiple_of(UNITS), dims.batch),
            dlogits: rows(dims.batch, dims.vocab),
            dhidden: by_unit(),
            demb_t: rows(dims.fan_in().next_multiple_of(UNITS), dims.batch),
            sums: [(); 2].map(|()| vec![[R::zero(); 4]; units * UNITS]),
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

    /// The gradients of the last step.
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
        let Self {
            params: p,
            grads: g,
            dims,
            ..
        } = self;
        let (batch, vocab, fan_in) = (dims.batch, dims.vocab, dims.fan_in());
        let batch_lines = lines(batch);
        let n = R::of(batch as f64);
        let [sum_a, sum_b] = &mut self.sums;

        // bndiff = embcat @ W1 + b1 less its mean: embcat is less its mean already
        lookup(x, &p.c, dims, &mut self.emb, &mut self.emb_t);
        rows_product(tile, &p.w1, fan_in, &self.emb_t, fan_in, &mut self.bnraw);
        for (bndiff, sums) in self
            .bnraw
            .chunks_exact(batch_lines)
            .zip(sum_a.as_chunks_mut().0)
        {
            sum_squares(bndiff, sums);
        }
        for (var_inv, sums) in self.bnvar_inv.iter_mut().zip(&*sum_a) {
            *var_inv = batchnorm_var_inv(batchnorm_variance(total(sums), n));
        }
        for (j, (bnraw, h)) in self
            .bnraw
            .chunks_exact_mut(batch_lines)
            .zip(self.h.chunks_exact_mut(batch_lines))
            .enumerate()
        {
            let (bngain, bnbias) = (of_block(&p.bngain, j), of_block(&p.bnbias, j));
            normalize(bnraw, h, of_block(&self.bnvar_inv, j), bngain, bnbias);
        }
        // logits = h @ W2 (+ b2)
        columns_product(
            tile,
            &p.w2,
            vocab,
            &self.h,
            &mut self.dlogits_t,
            batch_lines,
        );
        let loss = softmax(
            &mut self.dlogits_t,
            &mut self.dlogits,
            &p.b2,
            &mut g.b2,
            y,
            dims,
        );

        // dW2 = h.T @ dlogits; dh = dlogits @ W2.T
        rows_product(tile, &self.h, batch, &self.dlogits, batch, &mut g.w2);
        let vocab_p = vocab.next_multiple_of(UNITS);
        rows_product(
            tile,
            &p.w2,
            vocab,
            &self.dlogits_t,
            vocab_p,
            &mut self.dhidden,
        );
        // dhpreact, dbngain, dbnbias and dhprebn, a unit at a time
        for (j, (dhidden, (h, bnraw))) in self
            .dhidden
            .chunks_exact_mut(batch_lines)
            .zip(
                self.h
                    .chunks_exact(batch_lines)
                    .zip(self.bnraw.chunks_exact(batch_lines)),
            )
            .enumerate()
        {
            let sums = (
                &mut sum_a.as_chunks_mut().0[j],
                &mut sum_b.as_chunks_mut().0[j],
            );
            through_tanh(dhidden, h, bnraw, sums.0, sums.1);
        }
        for ((dbngain, dbnbias), (a, b)) in g
            .bngain
            .iter_mut()
            .zip(&mut g.bnbias)
            .zip(sum_a.iter().zip(&*sum_b))
        {
            *dbnbias = total(a);
            *dbngain = total(b);
        }
        for (j, (dhidden, bnraw)) in self
            .dhidden
            .chunks_exact_mut(batch_lines)
            .zip(self.bnraw.chunks_exact(batch_lines))
            .enumerate()
        {
            through_norm(
                dhidden,
                bnraw,
                n,
                of_block(&p.bngain, j),
                of_block(&self.bnvar_inv, j),
                of_block(&g.bngain, j),
                of_block(&g.bnbias, j),
            );
        }
        // dW1 = embcat.T @ dhprebn, turned round; dembcat = dhprebn @ W1.T, turned round
        rows_product(tile, &self.dhidden, batch, &self.emb, batch, &mut g.w1);
        columns_product(
            tile,
            &p.w1,
            fan_in,
            &self.dhidden,
            &mut self.demb_t,
            batch_lines,
        );
        gather(x, &self.demb_t, dims, &mut g.c);

        // p.data += -lr * p.grad
        sgd::update(&mut p.c, lr, &g.c);
        sgd::update(
            p.w1.as_flattened_mut().as_flattened_mut(),
            lr,
            g.w1.as_flattened().as_flattened(),
        );
        sgd::update(&mut p.b1, lr, &g.b1);
        sgd::update(
            p.w2.as_flattened_mut().as_flattened_mut(),
            lr,
            g.w2.as_flattened().as_flattened(),
        );
        sgd::update(&mut p.b2, lr, &g.b2);
        sgd::update(&mut p.bngain, lr, &g.bngain);
        sgd::update(&mut p.bnbias, lr, &g.bnbias);
        loss
    }
}

/// What the units of block `j` have of a vector.
#[inline(always)]
fn of_block<R>(vector: &[R], j: usize) -> &[R; UNITS] {
    &vector.as_chunks().0[j]
}

/// `embcat` of the minibatch, an example a row and (less its mean) an input a row.
#[inline(always)]
fn lookup<R: Real>(x: &[u8], c: &[R], dims: &Dims, emb: &mut [Line<R>], emb_t: &mut [Line<R>]) {
    let (embd, fan_in, batch) = (dims.embd, dims.fan_in(), dims.batch);
    for (b, tokens) in x.chunks_exact(dims.block).enumerate() {
        for (t, &token) in tokens.iter().enumerate() {
            let row = &c[usize::from(token) * embd..][..embd];
            for (e, &value) in row.iter().enumerate() {
                let f = t * embd + e;
                emb[f / LINE * batch + b][f % LINE] = value;
            }
        }
    }
    let n = R::of(batch as f64);
    for (fs, emb) in (0..fan_in).step_by(LINE).zip(emb.chunks_exact(batch)) {
        let mut mean = [R::zero(); LINE];
        for row in emb {
            for l in 0..LINE {
                mean[l] += row[l];
            }
        }
        for mean in &mut mean {
            *mean /= n;
        }
        for (b, row) in emb.iter().enumerate() {
            for f in 0..LINE.min(fan_in - fs) {
                emb_t[b / LINE * fan_in + fs + f][b % LINE] = row[f] - mean[f];
            }
        }
    }
}

/// `dC[X[p]] += demb[p]`, in the order of the positions.
#[inline(always)]
fn gather<R: Real>(x: &[u8], demb_t: &[Line<R>], dims: &Dims, dc: &mut [R]) {
    let (embd, fan_p) = (dims.embd, dims.fan_in().next_multiple_of(UNITS));
    dc.fill(R::zero());
    for (b, tokens) in x.chunks_exact(dims.block).enumerate() {
        let demb = &demb_t[b / LINE * fan_p..][..fan_p];
        for (t, &token) in tokens.iter().enumerate() {
            let dc = &mut dc[usize::from(token) * embd..][..embd];
            for (dc, row) in dc.iter_mut().zip(&demb[t * embd..]) {
                *dc += row[b % LINE];
            }
        }
    }
}

/// A sum that is kept in four parts.
#[inline(always)]
fn total<R: Real>(sums: &[R; 4]) -> R {
    (sums[0] + sums[2]) + (sums[1] + sums[3])
}

/// The parts of a line's sum.
#[inline(always)]
fn fold<R: Real>(line: &Line<R>) -> [R; 4] {
    let a: [R; 16] = std::array::from_fn(|i| line[i] + line[i + 16]);
    std::array::from_fn(|i| (a[i] + a[i + 8]) + (a[i + 4] + a[i + 12]))
}

/// `(bndiff**2).sum(0)`
#[inline(always)]
fn sum_squares<R: Real>(bndiff: &[Block<R>], sums: &mut [[R; 4]; UNITS]) {
    for i in 0..UNITS {
        let mut sum = [R::zero(); LINE];
        for block in bndiff {
            for l in 0..LINE {
                sum[l] += block[i][l] * block[i][l];
            }
        }
        sums[i] = fold(&sum);
    }
}

/// `bnraw` in the place of `bndiff`, `hpreact` and `h`.
#[inline(always)]
fn normalize<R: Real>(
    bnraw: &mut [Block<R>],
    h: &mut [Block<R>],
    bnvar_inv: &[R; UNITS],
    bngain: &[R; UNITS],
    bnbias: &[R; UNITS],
) {
    for (bnraw, h) in bnraw.iter_mut().zip(h) {
        for i in 0..UNITS {
            for l in 0..LINE {
                bnraw[i][l] *= bnvar_inv[i];
                h[i][l] = batchnorm_scale(bngain[i], bnraw[i][l], bnbias[i]).tanh_forward();
            }
        }
    }
}

/// `dhpreact` in the place of `dh`, with `dhpreact.sum(0)` and `(dhpreact * bnraw).sum(0)`.
#[inline(always)]
fn through_tanh<R: Real>(
    dhidden: &mut [Block<R>],
    h: &[Block<R>],
    bnraw: &[Block<R>],
    sums: &mut [[R; 4]; UNITS],
    sums_bnraw: &mut [[R; 4]; UNITS],
) {
    for i in 0..UNITS {
        let mut sum = [R::zero(); LINE];
        let mut sum_bnraw = [R::zero(); LINE];
        for (d, (h, bnraw)) in dhidden.iter_mut().zip(h.iter().zip(bnraw)) {
            for l in 0..LINE {
                d[i][l] = tanh_backward(d[i][l], h[i][l]);
                sum[l] += d[i][l];
                sum_bnraw[l] += d[i][l] * bnraw[i][l];
            }
        }
        sums[i] = fold(&sum);
        sums_bnraw[i] = fold(&sum_bnraw);
    }
}

/// `dhprebn` in the place of `dhpreact`.
#[inline(always)]
fn through_norm<R: Real>(
    dhidden: &mut [Block<R>],
    bnraw: &[Block<R>],
    n: R,
    bngain: &[R; UNITS],
    bnvar_inv: &[R; UNITS],
    dbngain: &[R; UNITS],
    dbnbias: &[R; UNITS],
) {
    for (d, bnraw) in dhidden.iter_mut().zip(bnraw) {
        for i in 0..UNITS {
            for l in 0..LINE {
                d[i][l] = batchnorm_backward(
                    bngain[i],
                    bnvar_inv[i],
                    n,
                    d[i][l],
                    dbnbias[i],
                    bnraw[i][l],
                    dbngain[i],
                );
            }
        }
    }
}

/// Loss and gradient of softmax and cross-entropy. `logits_t (vocab, batch)` becomes its gradient,
/// which is written to `dlogits (batch, vocab)` too, and summed into `db2`.
#[inline(always)]
fn softmax<R: Real>(
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
        let rows = &mut rows[..vocab];
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
                row[l] = (row[l] - logit_max[l]).exp_forward();
                counts_sum[l] += row[l];
            }
        }
        // Of the padding, the gradient is zero.
        let mut scale = [R::zero(); LINE];
        for (scale, &sum) in scale.iter_mut().zip(&counts_sum).take(y.len()) {
            loss += cross_entropy_loss(R::zero(), sum).as_f64();
            *scale = R::one() / (sum * n);
        }
        for row in &mut *rows {
            for l in 0..LINE {
                row[l] *= scale[l];
            }
        }
        for (b, &target) in y.iter().enumerate() {
            rows[usize::from(target)][b] -= R::one() / n;
        }
        for (v, row) in rows.iter().enumerate() {
            for (b, &d) in row[..y.len()].iter().enumerate() {
                dlogits[v / LINE * batch + first + b][v % LINE] = d;
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

/// `out = left @ right`: `left (units, inner)`, `right (inner, cols)`, of which `stride` lines hold
/// a line of columns.
#[inline(always)]
fn rows_product<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    _: Tile<FMA, ROWS, COLS>,
    left: &[Block<R>],
    inner: usize,
    right: &[Line<R>],
    stride: usize,
    out: &mut [Block<R>],
) {
    let panels = right.len() / stride;
    for (left, out) in left
        .chunks_exact(lines(inner))
        .zip(out.chunks_exact_mut(panels))
    {
        for (right, out) in right.chunks_exact(stride).zip(out) {
            let right = &right[..inner];
            for first in (0..UNITS).step_by(ROWS) {
                for c in 0..LINE / COLS {
                    let sums = tile::<R, FMA, ROWS, COLS, _>(
                        left.iter().zip(right.chunks(LINE)),
                        |(_, right)| right.len().min(LINE),
                        |(left, _), k, i| left[first + i][k],
                        |(_, right), k| &right[k].as_chunks().0[c],
                    );
                    for (i, sums) in sums.iter().enumerate() {
                        out[first + i].as_chunks_mut().0[c] = *sums;
                    }
                }
            }
        }
    }
}

/// `out = left.T @ right`: `left (units, rows)`, `right (units, cols)` of `right_lines` lines.
#[inline(always)]
fn columns_product<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    _: Tile<FMA, ROWS, COLS>,
    left: &[Block<R>],
    rows: usize,
    right: &[Block<R>],
    out: &mut [Line<R>],
    right_lines: usize,
) {
    let rows_p = rows.next_multiple_of(UNITS);
    for (panel, out) in out.chunks_exact_mut(rows_p).enumerate() {
        for first in (0..rows).step_by(ROWS) {
            for c in 0..LINE / COLS {
                let parts = left
                    .chunks_exact(lines(rows))
                    .zip(right.chunks_exact(right_lines))
                    .map(|(left, right)| (&left[first / LINE], &right[panel]));
                let group = first % LINE / ROWS;
                let sums = tile::<R, FMA, ROWS, COLS, _>(
                    parts,
                    |_| UNITS,
                    |(left, _), k, i| left[k].as_chunks::<ROWS>().0[group][i],
                    |(_, right), k| &right[k].as_chunks().0[c],
                );
                for (i, sums) in sums.iter().enumerate() {
                    out[first + i].as_chunks_mut().0[c] = *sums;
                }
            }
        }
    }
}
