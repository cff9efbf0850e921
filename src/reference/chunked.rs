//! The lecture's first exercise: forward and backward in small steps, each gradient from the one
//! before. Twin of the kernels in `shaders/chunked/`, where every line is derived.
//!
//! The training step computes the same gradients with fewer operations ([`super::Model::backward`]); this
//! pass exists to be compared with it.

use std::ops::Index;

use super::real::Real;
use super::{Model, batchnorm, embedding, linear, tanh};
use crate::model::dims::Token;
use crate::model::params::Tensor;
use crate::model::tensors::{LectureTensor, LectureTensors};

/// Values and gradients of the 26 tensors, from the parameters of `model`, whose own activations
/// are overwritten. `x (batch, block)`, `y (batch)`.
///
pub fn pass<R: Real>(
    model: &mut Model<R>,
    x: &[Token],
    y: &[Token],
) -> (LectureTensors<R>, LectureTensors<R>) {
    pass_with(model, x, y, |_, _| ())
}

/// The same, where `then` may change each gradient before the next ones are computed from it.
///
/// Each line below quotes its line of the notebook.
pub fn pass_with<R: Real>(
    model: &mut Model<R>,
    x: &[Token],
    y: &[Token],
    then: impl FnMut(LectureTensor, &mut [R]),
) -> (LectureTensors<R>, LectureTensors<R>) {
    model.forward(x, y);
    let dims = model.dims;
    let (n, vocab, hidden) = (R::of(dims.batch as f64), dims.vocab, dims.hidden);
    let one = R::one();
    let mut panels = linear::Panels::new();
    let mut v = LectureTensors::from_fn(|c| vec![R::zero(); c.len(&dims)]);
    let mut d = Grads {
        grads: LectureTensors::from_fn(|_| Vec::new()),
        then,
    };

    // The tensors that the training step also has.
    for tensor in Tensor::ALL {
        v[chunk_of(tensor)] = model.params.get(tensor).to_vec();
    }
    v[LectureTensor::Emb] = model.acts.embcat.clone();
    v[LectureTensor::Embcat] = model.acts.embcat.clone();
    v[LectureTensor::Hprebn] = model.acts.hprebn.clone();

    // bnmeani = 1/n*hprebn.sum(0, keepdim=True)
    v[LectureTensor::Bnmeani] = sum_rows(&v[LectureTensor::Hprebn], hidden);
    v[LectureTensor::Bnmeani].iter_mut().for_each(|m| *m /= n);
    // bndiff = hprebn - bnmeani
    v[LectureTensor::Bndiff] = by_col(
        &v[LectureTensor::Hprebn],
        &v[LectureTensor::Bnmeani],
        |x, m| x - m,
    );
    // bndiff2 = bndiff**2
    v[LectureTensor::Bndiff2] = v[LectureTensor::Bndiff].iter().map(|&x| x * x).collect();
    // bnvar = 1/(n-1)*(bndiff2).sum(0, keepdim=True)
    v[LectureTensor::Bnvar] = sum_rows(&v[LectureTensor::Bndiff2], hidden);
    v[LectureTensor::Bnvar]
        .iter_mut()
        .for_each(|s| *s = batchnorm::batchnorm_variance(*s, n));
    // bnvar_inv = (bnvar + 1e-5)**-0.5
    v[LectureTensor::BnvarInv] = map(&v[LectureTensor::Bnvar], batchnorm::batchnorm_var_inv);
    // bnraw = bndiff * bnvar_inv
    v[LectureTensor::Bnraw] = by_col(
        &v[LectureTensor::Bndiff],
        &v[LectureTensor::BnvarInv],
        |x, s| x * s,
    );
    // hpreact = bngain * bnraw + bnbias
    v[LectureTensor::Hpreact] = by_col(
        &v[LectureTensor::Bnraw],
        &v[LectureTensor::Bngain],
        |x, g| x * g,
    );
    v[LectureTensor::Hpreact] = by_col(
        &v[LectureTensor::Hpreact],
        &v[LectureTensor::Bnbias],
        |x, b| x + b,
    );
    // h = torch.tanh(hpreact)
    v[LectureTensor::H] = map(&v[LectureTensor::Hpreact], R::tanh_forward);
    // logits = h @ W2 + b2
    let (h, w2, b2) = (
        &v[LectureTensor::H],
        &v[LectureTensor::W2],
        &v[LectureTensor::B2],
    );
    let mut logits = vec![R::zero(); dims.batch * vocab];
    linear::forward(linear::PLAIN, h, w2, b2, &mut logits, &mut panels);
    v[LectureTensor::Logits] = logits;
    // logit_maxes = logits.max(1, keepdim=True).values
    v[LectureTensor::LogitMaxes] =
        by_rows(&v[LectureTensor::Logits], vocab, R::neg_infinity(), R::max);
    // norm_logits = logits - logit_maxes
    v[LectureTensor::NormLogits] = by_row(
        &v[LectureTensor::Logits],
        &v[LectureTensor::LogitMaxes],
        |x, m| x - m,
    );
    // counts = norm_logits.exp()
    v[LectureTensor::Counts] = map(&v[LectureTensor::NormLogits], R::exp);
    // counts_sum = counts.sum(1, keepdims=True)
    v[LectureTensor::CountsSum] =
        by_rows(&v[LectureTensor::Counts], vocab, R::zero(), |a, b| a + b);
    // counts_sum_inv = counts_sum**-1
    v[LectureTensor::CountsSumInv] = map(&v[LectureTensor::CountsSum], |s| one / s);
    // probs = counts * counts_sum_inv
    v[LectureTensor::Probs] = by_row(
        &v[LectureTensor::Counts],
        &v[LectureTensor::CountsSumInv],
        |x, s| x * s,
    );
    // logprobs = probs.log()
    v[LectureTensor::Logprobs] = map(&v[LectureTensor::Probs], R::ln);

    // dlogprobs = torch.zeros_like(logprobs); dlogprobs[range(n), Yb] = -1.0/n
    let mut dlogprobs = vec![R::zero(); dims.batch * vocab];
    for (row, &y) in y.iter().enumerate() {
        dlogprobs[row * vocab + usize::from(y)] = -one / n;
    }
    d.set(LectureTensor::Logprobs, dlogprobs);
    // dprobs = (1.0 / probs) * dlogprobs
    d.set(
        LectureTensor::Probs,
        zip(
            &v[LectureTensor::Probs],
            &d[LectureTensor::Logprobs],
            |p, d| one / p * d,
        ),
    );
    // dcounts_sum_inv = (counts * dprobs).sum(1, keepdim=True)
    let products = zip(
        &v[LectureTensor::Counts],
        &d[LectureTensor::Probs],
        |c, d| c * d,
    );
    d.set(
        LectureTensor::CountsSumInv,
        by_rows(&products, vocab, R::zero(), |a, b| a + b),
    );
    // dcounts_sum = (-counts_sum**-2) * dcounts_sum_inv
    d.set(
        LectureTensor::CountsSum,
        zip(
            &v[LectureTensor::CountsSum],
            &d[LectureTensor::CountsSumInv],
            |s, d| -one / (s * s) * d,
        ),
    );
    // dcounts = counts_sum_inv * dprobs; dcounts += torch.ones_like(counts) * dcounts_sum
    let direct = by_row(
        &d[LectureTensor::Probs],
        &v[LectureTensor::CountsSumInv],
        |d, s| s * d,
    );
    d.set(
        LectureTensor::Counts,
        by_row(&direct, &d[LectureTensor::CountsSum], |d, s| d + s),
    );
    // dnorm_logits = counts * dcounts
    d.set(
        LectureTensor::NormLogits,
        zip(
            &v[LectureTensor::Counts],
            &d[LectureTensor::Counts],
            |c, d| c * d,
        ),
    );
    // dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)
    d.set(
        LectureTensor::LogitMaxes,
        by_rows(&d[LectureTensor::NormLogits], vocab, R::zero(), |a, b| {
            a - b
        }),
    );
    // dlogits = dnorm_logits.clone()
    // dlogits += F.one_hot(logits.max(1).indices, num_classes=vocab) * dlogit_maxes
    let mut dlogits = d[LectureTensor::NormLogits].clone();
    for row in 0..dims.batch {
        let logits = &v[LectureTensor::Logits][row * vocab..(row + 1) * vocab];
        // The first of equal maxima, as in PyTorch.
        let at = (0..vocab).rev().max_by(|&a, &b| {
            logits[a]
                .partial_cmp(&logits[b])
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let dmax = d[LectureTensor::LogitMaxes][row];
        dlogits[row * vocab + at.unwrap_or(0)] += dmax;
    }
    d.set(LectureTensor::Logits, dlogits);
    // dh = dlogits @ W2.T; dW2 = h.T @ dlogits; db2 = dlogits.sum(0)
    let [mut dh, mut dw, mut db] = [LectureTensor::H, LectureTensor::W2, LectureTensor::B2]
        .map(|c| vec![R::zero(); c.len(&dims)]);
    linear::backward_input(
        linear::PLAIN,
        &d[LectureTensor::Logits],
        &v[LectureTensor::W2],
        vocab,
        &mut dh,
        &mut panels,
    );
    linear::backward_weight(
        linear::PLAIN,
        &v[LectureTensor::H],
        &d[LectureTensor::Logits],
        &mut dw,
        &mut db,
        &mut panels,
    );
    d.set(LectureTensor::H, dh);
    d.set(LectureTensor::W2, dw);
    d.set(LectureTensor::B2, db);
    // dhpreact = (1.0 - h**2) * dh
    d.set(
        LectureTensor::Hpreact,
        zip(
            &d[LectureTensor::H],
            &v[LectureTensor::H],
            tanh::tanh_backward,
        ),
    );
    // dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
    let products = zip(
        &v[LectureTensor::Bnraw],
        &d[LectureTensor::Hpreact],
        |r, d| r * d,
    );
    d.set(LectureTensor::Bngain, sum_rows(&products, hidden));
    // dbnbias = dhpreact.sum(0, keepdim=True)
    d.set(
        LectureTensor::Bnbias,
        sum_rows(&d[LectureTensor::Hpreact], hidden),
    );
    // dbnraw = bngain * dhpreact
    d.set(
        LectureTensor::Bnraw,
        by_col(
            &d[LectureTensor::Hpreact],
            &v[LectureTensor::Bngain],
            |d, g| g * d,
        ),
    );
    // dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)
    let products = zip(
        &v[LectureTensor::Bndiff],
        &d[LectureTensor::Bnraw],
        |x, d| x * d,
    );
    d.set(LectureTensor::BnvarInv, sum_rows(&products, hidden));
    // dbnvar = (-0.5*(bnvar + 1e-5)**-1.5) * dbnvar_inv
    d.set(
        LectureTensor::Bnvar,
        zip(
            &v[LectureTensor::Bnvar],
            &d[LectureTensor::BnvarInv],
            |var, d| {
                let x = var + R::of(batchnorm::EPSILON);
                R::of(-0.5) / (x * x.sqrt()) * d
            },
        ),
    );
    // dbndiff2 = (1.0/(n-1))*torch.ones_like(bndiff2) * dbnvar
    d.set(
        LectureTensor::Bndiff2,
        by_col(
            &v[LectureTensor::Bndiff2],
            &d[LectureTensor::Bnvar],
            |_, d| one / (n - one) * d,
        ),
    );
    // dbndiff = bnvar_inv * dbnraw; dbndiff += (2*bndiff) * dbndiff2
    let direct = by_col(
        &d[LectureTensor::Bnraw],
        &v[LectureTensor::BnvarInv],
        |d, s| s * d,
    );
    let squared = zip(
        &v[LectureTensor::Bndiff],
        &d[LectureTensor::Bndiff2],
        |x, d| (x + x) * d,
    );
    d.set(LectureTensor::Bndiff, zip(&direct, &squared, |a, b| a + b));
    // dbnmeani = (-dbndiff).sum(0)
    d.set(
        LectureTensor::Bnmeani,
        map(&sum_rows(&d[LectureTensor::Bndiff], hidden), |s| -s),
    );
    // dhprebn = dbndiff.clone(); dhprebn += 1.0/n * (torch.ones_like(hprebn) * dbnmeani)
    d.set(
        LectureTensor::Hprebn,
        by_col(
            &d[LectureTensor::Bndiff],
            &d[LectureTensor::Bnmeani],
            |d, m| d + one / n * m,
        ),
    );
    // dembcat = dhprebn @ W1.T; dW1 = embcat.T @ dhprebn; db1 = dhprebn.sum(0)
    let [mut de, mut dw, mut db] = [LectureTensor::Embcat, LectureTensor::W1, LectureTensor::B1]
        .map(|c| vec![R::zero(); c.len(&dims)]);
    linear::backward_input(
        linear::PLAIN,
        &d[LectureTensor::Hprebn],
        &v[LectureTensor::W1],
        hidden,
        &mut de,
        &mut panels,
    );
    linear::backward_weight(
        linear::PLAIN,
        &v[LectureTensor::Embcat],
        &d[LectureTensor::Hprebn],
        &mut dw,
        &mut db,
        &mut panels,
    );
    d.set(LectureTensor::Embcat, de);
    d.set(LectureTensor::W1, dw);
    d.set(LectureTensor::B1, db);
    // demb = dembcat.view(emb.shape)
    d.set(LectureTensor::Emb, d[LectureTensor::Embcat].clone());
    // for k, j: dC[Xb[k,j]] += demb[k,j]
    let mut dc = vec![R::zero(); LectureTensor::C.len(&dims)];
    embedding::backward(x, &d[LectureTensor::Emb], dims.embd, &mut dc);
    d.set(LectureTensor::C, dc);
    (v, d.grads)
}

/// The gradients, as far as they are computed.
struct Grads<R, F> {
    grads: LectureTensors<R>,
    then: F,
}

impl<R, F: FnMut(LectureTensor, &mut [R])> Grads<R, F> {
    fn set(&mut self, tensor: LectureTensor, mut grad: Vec<R>) {
        (self.then)(tensor, &mut grad);
        self.grads[tensor] = grad;
    }
}

impl<R, F> Index<LectureTensor> for Grads<R, F> {
    type Output = Vec<R>;

    fn index(&self, tensor: LectureTensor) -> &Vec<R> {
        &self.grads[tensor]
    }
}

/// The parameter's place among the 26.
pub fn chunk_of(tensor: Tensor) -> LectureTensor {
    match tensor {
        Tensor::C => LectureTensor::C,
        Tensor::W1 => LectureTensor::W1,
        Tensor::B1 => LectureTensor::B1,
        Tensor::W2 => LectureTensor::W2,
        Tensor::B2 => LectureTensor::B2,
        Tensor::Bngain => LectureTensor::Bngain,
        Tensor::Bnbias => LectureTensor::Bnbias,
    }
}

fn map<R: Real>(a: &[R], f: impl Fn(R) -> R) -> Vec<R> {
    a.iter().map(|&a| f(a)).collect()
}

fn zip<R: Real>(a: &[R], b: &[R], f: impl Fn(R, R) -> R) -> Vec<R> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

/// `a (rows, cols)` with `b (1, cols)` broadcast over the rows.
fn by_col<R: Real>(a: &[R], b: &[R], f: impl Fn(R, R) -> R) -> Vec<R> {
    a.iter()
        .enumerate()
        .map(|(i, &a)| f(a, b[i % b.len()]))
        .collect()
}

/// `a (rows, cols)` with `b (rows, 1)` broadcast over the columns.
fn by_row<R: Real>(a: &[R], b: &[R], f: impl Fn(R, R) -> R) -> Vec<R> {
    let cols = a.len() / b.len();
    a.iter()
        .enumerate()
        .map(|(i, &a)| f(a, b[i / cols]))
        .collect()
}

/// `a.sum(0, keepdim=True)`
fn sum_rows<R: Real>(a: &[R], cols: usize) -> Vec<R> {
    let mut sum = vec![R::zero(); cols];
    for (i, &a) in a.iter().enumerate() {
        sum[i % cols] += a;
    }
    sum
}

/// Folds each row to one value.
fn by_rows<R: Real>(a: &[R], cols: usize, start: R, f: impl Fn(R, R) -> R) -> Vec<R> {
    a.chunks_exact(cols)
        .map(|row| row.iter().fold(start, |sum, &x| f(sum, x)))
        .collect()
}
