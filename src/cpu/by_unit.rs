//! The training step laid out for vector units: one hidden unit a row, the examples of the
//! minibatch along it.
//!
//! The twin in [`super::Model`] keeps one example a row, as the lecture does. Turned round, three
//! things fall into place:
//!
//! * batch norm and tanh of a unit are a walk along one short row, with the sums in registers;
//! * the operands of five of the six products lie as their tiles read them, so nothing is copied;
//! * softmax runs over 27 rows for all examples at once, instead of over 27 values for each.
//!
//! Every size is padded to whole tiles, and what lies in the padding is zero and stays zero, so no
//! loop has an edge. The formulas are the twin's own functions; the tests hold this against PyTorch
//! and against the twin.

use super::batchnorm::{
    batchnorm_backward, batchnorm_normalize, batchnorm_scale, batchnorm_var_inv, batchnorm_variance,
};
use super::linear::{Tile, tile};
use super::real::Real;
use super::sgd;
use super::softmax_cross_entropy::cross_entropy_loss;
use super::tanh::tanh_backward;
use crate::dims::Dims;
use crate::params::{Params, Tensor};

/// Rows and columns are padded to a multiple of this: the largest tile has 32 columns.
const PAD: usize = 32;

fn padded(size: usize) -> usize {
    size.next_multiple_of(PAD)
}

/// Values for the parameters in this layout: themselves or their gradients.
#[derive(Clone, Debug)]
struct Weights<R> {
    /// `C (vocab, embd)`, without padding: it is only looked up.
    c: Vec<R>,
    /// `W1` turned round: `(hidden, fan_in)`.
    w1: Vec<R>,
    /// `(hidden)`
    b1: Vec<R>,
    /// `W2 (hidden, vocab)`
    w2: Vec<R>,
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
    /// `embcat (batch, fan_in)`
    emb: Vec<R>,
    /// The same turned round: `(fan_in, batch)`
    emb_t: Vec<R>,
    /// `hprebn`, then `bnraw`: `(hidden, batch)`
    bnraw: Vec<R>,
    /// `(hidden)`
    bnvar_inv: Vec<R>,
    /// `(hidden, batch)`
    h: Vec<R>,
    /// `logits`, then their gradient: `(vocab, batch)`
    dlogits_t: Vec<R>,
    /// The gradient once more: `(batch, vocab)`
    dlogits: Vec<R>,
    /// `dh`, then `dhpreact`, then `dhprebn`: `(hidden, batch)`
    dhidden: Vec<R>,
    /// `dembcat` turned round: `(fan_in, batch)`
    demb_t: Vec<R>,
    /// Largest logit of each example, sum of its counts: `(batch)` each.
    logit_max: Vec<R>,
    counts_sum: Vec<R>,
}

impl<R: Real> Weights<R> {
    fn zeros(dims: &Dims) -> Self {
        let zeros = |len: usize| vec![R::zero(); len];
        let hidden = padded(dims.hidden);
        Self {
            c: zeros(dims.vocab * dims.embd),
            w1: zeros(hidden * padded(dims.fan_in())),
            b1: zeros(hidden),
            w2: zeros(hidden * padded(dims.vocab)),
            b2: zeros(padded(dims.vocab)),
            bngain: zeros(hidden),
            bnbias: zeros(hidden),
        }
    }

    /// The place of value `i` of a parameter, in its vector and in this layout.
    fn tensor(&mut self, tensor: Tensor, dims: &Dims) -> (&mut Vec<R>, impl Fn(usize) -> usize) {
        let (hidden, vocab) = (dims.hidden, dims.vocab);
        let (fan_p, vocab_p) = (padded(dims.fan_in()), padded(dims.vocab));
        let values = match tensor {
            Tensor::C => &mut self.c,
            Tensor::W1 => &mut self.w1,
            Tensor::B1 => &mut self.b1,
            Tensor::W2 => &mut self.w2,
            Tensor::B2 => &mut self.b2,
            Tensor::Bngain => &mut self.bngain,
            Tensor::Bnbias => &mut self.bnbias,
        };
        let place = move |i: usize| match tensor {
            Tensor::W1 => i % hidden * fan_p + i / hidden,
            Tensor::W2 => i / vocab * vocab_p + i % vocab,
            _ => i,
        };
        (values, place)
    }

    fn load(&mut self, params: &Params<R>, dims: &Dims) {
        for tensor in Tensor::ALL {
            let (values, place) = self.tensor(tensor, dims);
            for (i, &value) in params.get(tensor).iter().enumerate() {
                values[place(i)] = value;
            }
        }
    }

    fn save(&mut self, dims: &Dims) -> Params<R> {
        Params::from_fn(|tensor| {
            let (values, place) = self.tensor(tensor, dims);
            (0..tensor.len(dims)).map(|i| values[place(i)]).collect()
        })
    }
}

impl<R: Real> ByUnit<R> {
    /// Whether this layout is the faster one. It is from small models to large (measured from
    /// hidden 64 to 2,048 and batch 32 to 2,048: by 1.15 to 1.6 times), unless much of it would be
    /// padding: a batch of 33 has 64 columns, and takes 1.4 times as long as the twin.
    pub fn fits(dims: &Dims) -> bool {
        4 * padded(dims.batch) <= 5 * dims.batch
    }

    /// A model that starts from `params`.
    pub fn new(dims: Dims, params: &Params<R>) -> Self {
        let zeros = |len: usize| vec![R::zero(); len];
        let (batch, hidden) = (padded(dims.batch), padded(dims.hidden));
        let (vocab, fan_in) = (padded(dims.vocab), padded(dims.fan_in()));
        let mut weights = Weights::zeros(&dims);
        weights.load(params, &dims);
        Self {
            dims,
            params: weights,
            grads: Weights::zeros(&dims),
            emb: zeros(batch * fan_in),
            emb_t: zeros(fan_in * batch),
            bnraw: zeros(hidden * batch),
            bnvar_inv: zeros(hidden),
            h: zeros(hidden * batch),
            dlogits_t: zeros(vocab * batch),
            dlogits: zeros(batch * vocab),
            dhidden: zeros(hidden * batch),
            demb_t: zeros(fan_in * batch),
            logit_max: zeros(batch),
            counts_sum: zeros(batch),
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
        let Dims {
            hidden,
            batch,
            vocab,
            ..
        } = self.dims;
        let fan_in = self.dims.fan_in();
        let (batch_p, vocab_p, fan_p) = (padded(batch), padded(vocab), padded(fan_in));
        let Self {
            params: p,
            grads: g,
            ..
        } = self;

        // hprebn = embcat @ W1 (+ b1, which batch norm takes off again with the mean)
        lookup(x, &p.c, &self.dims, &mut self.emb, &mut self.emb_t);
        product(
            tile,
            hidden,
            fan_in,
            Rows {
                data: &p.w1,
                stride: fan_p,
                inner: fan_in,
            },
            &self.emb_t,
            batch_p,
            &mut self.bnraw,
        );
        // bnraw, hpreact and h, a unit at a time
        for j in 0..hidden {
            self.bnvar_inv[j] = unit_forward(
                &mut self.bnraw[j * batch_p..][..batch],
                &mut self.h[j * batch_p..][..batch],
                p.bngain[j],
                p.bnbias[j],
            );
        }
        // logits = h @ W2 (+ b2)
        product(
            tile,
            vocab,
            hidden,
            Cols {
                data: &p.w2,
                stride: vocab_p,
            },
            &self.h,
            batch_p,
            &mut self.dlogits_t,
        );
        let loss = softmax(
            &mut self.dlogits_t,
            &mut self.dlogits,
            &p.b2,
            &mut g.b2,
            y,
            &self.dims,
            &mut self.logit_max,
            &mut self.counts_sum,
        );

        // dW2 = h.T @ dlogits; dh = dlogits @ W2.T
        product(
            tile,
            hidden,
            batch,
            Rows {
                data: &self.h,
                stride: batch_p,
                inner: batch,
            },
            &self.dlogits,
            vocab_p,
            &mut g.w2,
        );
        product(
            tile,
            hidden,
            vocab,
            Rows {
                data: &p.w2,
                stride: vocab_p,
                inner: vocab,
            },
            &self.dlogits_t,
            batch_p,
            &mut self.dhidden,
        );
        // dhpreact, dbngain, dbnbias and dhprebn, a unit at a time
        for j in 0..hidden {
            (g.bngain[j], g.bnbias[j], g.b1[j]) = unit_backward(
                &mut self.dhidden[j * batch_p..][..batch],
                &self.h[j * batch_p..][..batch],
                &self.bnraw[j * batch_p..][..batch],
                p.bngain[j],
                self.bnvar_inv[j],
            );
        }
        // dW1 = embcat.T @ dhprebn, turned round; dembcat = dhprebn @ W1.T, turned round
        product(
            tile,
            hidden,
            batch,
            Rows {
                data: &self.dhidden,
                stride: batch_p,
                inner: batch,
            },
            &self.emb,
            fan_p,
            &mut g.w1,
        );
        product(
            tile,
            fan_in,
            hidden,
            Cols {
                data: &p.w1,
                stride: fan_p,
            },
            &self.dhidden,
            batch_p,
            &mut self.demb_t,
        );
        gather(x, &self.demb_t, &self.dims, &mut g.c);

        // p.data += -lr * p.grad
        sgd::update(&mut p.c, lr, &g.c);
        sgd::update(&mut p.w1, lr, &g.w1);
        sgd::update(&mut p.b1, lr, &g.b1);
        sgd::update(&mut p.w2, lr, &g.w2);
        sgd::update(&mut p.b2, lr, &g.b2);
        sgd::update(&mut p.bngain, lr, &g.bngain);
        sgd::update(&mut p.bnbias, lr, &g.bnbias);
        loss
    }
}

/// `embcat` of the minibatch, an example a row and an input a row.
#[inline(always)]
fn lookup<R: Real>(x: &[u8], c: &[R], dims: &Dims, emb: &mut [R], emb_t: &mut [R]) {
    let (batch_p, fan_p) = (padded(dims.batch), padded(dims.fan_in()));
    for (b, (tokens, row)) in x
        .chunks_exact(dims.block)
        .zip(emb.chunks_exact_mut(fan_p))
        .enumerate()
    {
        for (&token, part) in tokens.iter().zip(row.chunks_exact_mut(dims.embd)) {
            part.copy_from_slice(&c[usize::from(token) * dims.embd..][..dims.embd]);
        }
        for (column, &value) in emb_t.chunks_exact_mut(batch_p).zip(&row[..dims.fan_in()]) {
            column[b] = value;
        }
    }
}

/// `dC[X[p]] += demb[p]`, in the order of the positions.
#[inline(always)]
fn gather<R: Real>(x: &[u8], demb_t: &[R], dims: &Dims, dc: &mut [R]) {
    let batch_p = padded(dims.batch);
    dc.fill(R::zero());
    for (b, tokens) in x.chunks_exact(dims.block).enumerate() {
        for (t, &token) in tokens.iter().enumerate() {
            let rows = demb_t[t * dims.embd * batch_p..].chunks_exact(batch_p);
            let dc = &mut dc[usize::from(token) * dims.embd..][..dims.embd];
            for (dc, row) in dc.iter_mut().zip(rows) {
                *dc += row[b];
            }
        }
    }
}

/// Batch norm and tanh of one unit: `row` holds `hprebn` over the batch and receives `bnraw`.
/// Returns `bnvar_inv`.
#[inline(always)]
fn unit_forward<R: Real>(row: &mut [R], h: &mut [R], bngain: R, bnbias: R) -> R {
    let n = R::of(row.len() as f64);
    let mean = sum(row, |x| x) / n;
    let var = batchnorm_variance(sum(row, |x| (x - mean) * (x - mean)), n);
    let var_inv = batchnorm_var_inv(var);
    for (x, h) in row.iter_mut().zip(h) {
        *x = batchnorm_normalize(*x, mean, var_inv);
        *h = batchnorm_scale(bngain, *x, bnbias).tanh_forward();
    }
    var_inv
}

/// Backward through tanh and batch norm of one unit: `row` holds `dh` over the batch and receives
/// `dhprebn`. Returns `dbngain`, `dbnbias` and `db1`.
#[inline(always)]
fn unit_backward<R: Real>(
    row: &mut [R],
    h: &[R],
    bnraw: &[R],
    bngain: R,
    bnvar_inv: R,
) -> (R, R, R) {
    let n = R::of(row.len() as f64);
    for (d, &h) in row.iter_mut().zip(h) {
        *d = tanh_backward(*d, h);
    }
    let dbnbias = sum(row, |d| d);
    let dbngain = sum_of_products(row, bnraw);
    for (d, &bnraw) in row.iter_mut().zip(bnraw) {
        *d = batchnorm_backward(bngain, bnvar_inv, n, *d, dbnbias, bnraw, dbngain);
    }
    (dbngain, dbnbias, sum(row, |d| d))
}

/// Loss and gradient of softmax and cross-entropy. `logits_t (vocab, batch)` becomes its gradient,
/// which is written to `dlogits (batch, vocab)` too, and summed into `db2`.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // the tensors of one formula
fn softmax<R: Real>(
    logits_t: &mut [R],
    dlogits: &mut [R],
    b2: &[R],
    db2: &mut [R],
    y: &[u8],
    dims: &Dims,
    logit_max: &mut [R],
    counts_sum: &mut [R],
) -> R {
    let (batch, batch_p, vocab_p) = (dims.batch, padded(dims.batch), padded(dims.vocab));
    let n = R::of(batch as f64);
    let (logit_max, counts_sum) = (&mut logit_max[..batch], &mut counts_sum[..batch]);
    logit_max.fill(R::neg_infinity());
    counts_sum.fill(R::zero());
    for (row, &b2) in logits_t.chunks_exact_mut(batch_p).zip(&b2[..dims.vocab]) {
        for (logit, max) in row.iter_mut().zip(&mut *logit_max) {
            *logit += b2;
            *max = if *logit > *max { *logit } else { *max };
        }
    }
    let mut loss = 0.0;
    for (b, &target) in y.iter().enumerate() {
        // The target's logit is read before the next loop overwrites it with its count.
        let norm_logit = logits_t[usize::from(target) * batch_p + b] - logit_max[b];
        loss -= norm_logit.as_f64();
    }
    for row in logits_t.chunks_exact_mut(batch_p).take(dims.vocab) {
        for ((logit, &max), sum) in row.iter_mut().zip(&*logit_max).zip(&mut *counts_sum) {
            *logit = (*logit - max).exp_forward();
            *sum += *logit;
        }
    }
    for sum in &mut *counts_sum {
        loss += cross_entropy_loss(R::zero(), *sum).as_f64();
        *sum = R::one() / (*sum * n);
    }
    for row in logits_t.chunks_exact_mut(batch_p).take(dims.vocab) {
        for (count, &scale) in row.iter_mut().zip(&*counts_sum) {
            *count *= scale;
        }
    }
    for (b, &target) in y.iter().enumerate() {
        logits_t[usize::from(target) * batch_p + b] -= R::one() / n;
    }
    for (v, row) in logits_t.chunks_exact(batch_p).take(dims.vocab).enumerate() {
        db2[v] = sum(&row[..batch], |d| d);
        for (b, &d) in row[..batch].iter().enumerate() {
            dlogits[b * vocab_p + v] = d;
        }
    }
    R::of(loss / batch as f64)
}

/// Partial sums that [`sum`] keeps: as many as the widest vector has values.
const LANES: usize = 16;

/// The sum of `f` over a row, in `LANES` partial sums: in one, each addition would wait for the one
/// before. The order is fixed, so it has the same bits on every machine.
#[inline(always)]
fn sum<R: Real>(row: &[R], f: impl Fn(R) -> R) -> R {
    let mut lanes = [R::zero(); LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += f(chunk[i]);
        }
    }
    if !rest.is_empty() {
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane += f(x);
        }
    }
    lanes_sum(lanes)
}

/// The sum of `a * b`, in the same way.
#[inline(always)]
fn sum_of_products<R: Real>(a: &[R], b: &[R]) -> R {
    let mut lanes = [R::zero(); LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    if !a_rest.is_empty() {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
            *lane += a * b;
        }
    }
    lanes_sum(lanes)
}

#[inline(always)]
fn lanes_sum<R: Real>(mut lanes: [R; LANES]) -> R {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The left side of a product: where the factors of its rows come from.
trait Left<R, const ROWS: usize> {
    /// For a tile from row `first` on: element `k` of its row `i`.
    fn tile(&self, first: usize) -> impl Fn(usize, usize) -> R;
}

/// Rows of a matrix, `inner` elements of each.
struct Rows<'a, R> {
    data: &'a [R],
    stride: usize,
    inner: usize,
}

impl<R: Real, const ROWS: usize> Left<R, ROWS> for Rows<'_, R> {
    #[inline(always)]
    fn tile(&self, first: usize) -> impl Fn(usize, usize) -> R {
        // Slices of the length that the sum has: its loop needs no check.
        let rows: [&[R]; ROWS] =
            std::array::from_fn(|i| &self.data[(first + i) * self.stride..][..self.inner]);
        move |k, i| rows[i][k]
    }
}

/// Columns of a matrix: neighbours in memory.
struct Cols<'a, R> {
    data: &'a [R],
    stride: usize,
}

impl<R: Real, const ROWS: usize> Left<R, ROWS> for Cols<'_, R> {
    #[inline(always)]
    fn tile(&self, first: usize) -> impl Fn(usize, usize) -> R {
        move |k, i| self.data[k * self.stride + first..][..ROWS][i]
    }
}

/// `out = left @ right`, for `lanes` rows (rounded up to whole tiles; the padding allows it), sums
/// of `inner` terms and all `stride` columns of `right (inner, stride)`.
#[inline(always)]
fn product<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    _: Tile<FMA, ROWS, COLS>,
    lanes: usize,
    inner: usize,
    left: impl Left<R, ROWS>,
    right: &[R],
    stride: usize,
    out: &mut [R],
) {
    let panels = stride / COLS;
    let (lines, _) = right.as_chunks::<COLS>();
    let lines = &lines[..inner * panels];
    let (results, _) = out.as_chunks_mut::<COLS>();
    for first in (0..lanes).step_by(ROWS) {
        let left = left.tile(first);
        for panel in 0..panels {
            let sums = tile::<R, FMA, ROWS, COLS>(inner, &left, |k| &lines[k * panels + panel]);
            for (i, sums) in sums.iter().enumerate() {
                results[(first + i) * panels + panel] = *sums;
            }
        }
    }
}
