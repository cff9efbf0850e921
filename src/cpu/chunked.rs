//! The lecture's first exercise: forward and backward in small steps, each gradient from the one
//! before. Twin of the kernels in `shaders/chunked/`, where every line is derived.
//!
//! The training step computes the same with fewer operations ([`super::Model::backward`]); this
//! pass exists to be compared with it.

use super::real::Real;
use super::{Model, batchnorm, embedding, linear, tanh};
use crate::chunks::{Chunk, Chunks};
use crate::params::Tensor;

/// Values and gradients of the 26 tensors, from the parameters of `model`, whose own activations
/// are overwritten. `x (batch, block)`, `y (batch)`.
///
/// Each line below quotes the line of the notebook that it is.
pub fn pass<R: Real>(model: &mut Model<R>, x: &[u8], y: &[u8]) -> (Chunks<R>, Chunks<R>) {
    model.forward(x, y);
    let dims = model.dims;
    let (n, vocab, hidden) = (R::of(dims.batch as f64), dims.vocab, dims.hidden);
    let one = R::one();
    let mut panels = linear::Panels::new();
    let mut v = Chunks::from_fn(|c| vec![R::zero(); c.len(&dims)]);
    let mut d = Chunks::from_fn(|c| vec![R::zero(); c.len(&dims)]);

    // The tensors that the training step has too.
    for tensor in Tensor::ALL {
        v[chunk_of(tensor)] = model.params.get(tensor).to_vec();
    }
    v[Chunk::Emb] = model.acts.embcat.clone();
    v[Chunk::Embcat] = model.acts.embcat.clone();
    v[Chunk::Hprebn] = model.acts.hprebn.clone();

    // bnmeani = 1/n*hprebn.sum(0, keepdim=True)
    v[Chunk::Bnmeani] = sum_rows(&v[Chunk::Hprebn], hidden);
    v[Chunk::Bnmeani].iter_mut().for_each(|m| *m /= n);
    // bndiff = hprebn - bnmeani
    v[Chunk::Bndiff] = by_col(&v[Chunk::Hprebn], &v[Chunk::Bnmeani], |x, m| x - m);
    // bndiff2 = bndiff**2
    v[Chunk::Bndiff2] = v[Chunk::Bndiff].iter().map(|&x| x * x).collect();
    // bnvar = 1/(n-1)*(bndiff2).sum(0, keepdim=True)
    v[Chunk::Bnvar] = sum_rows(&v[Chunk::Bndiff2], hidden);
    v[Chunk::Bnvar]
        .iter_mut()
        .for_each(|s| *s = batchnorm::batchnorm_variance(*s, n));
    // bnvar_inv = (bnvar + 1e-5)**-0.5
    v[Chunk::BnvarInv] = map(&v[Chunk::Bnvar], batchnorm::batchnorm_var_inv);
    // bnraw = bndiff * bnvar_inv
    v[Chunk::Bnraw] = by_col(&v[Chunk::Bndiff], &v[Chunk::BnvarInv], |x, s| x * s);
    // hpreact = bngain * bnraw + bnbias
    v[Chunk::Hpreact] = by_col(&v[Chunk::Bnraw], &v[Chunk::Bngain], |x, g| x * g);
    v[Chunk::Hpreact] = by_col(&v[Chunk::Hpreact], &v[Chunk::Bnbias], |x, b| x + b);
    // h = torch.tanh(hpreact)
    v[Chunk::H] = map(&v[Chunk::Hpreact], R::tanh_forward);
    // logits = h @ W2 + b2
    let (h, w2, b2) = (&v[Chunk::H], &v[Chunk::W2], &v[Chunk::B2]);
    let mut logits = vec![R::zero(); dims.batch * vocab];
    linear::forward(linear::PLAIN, h, w2, b2, &mut logits, &mut panels);
    v[Chunk::Logits] = logits;
    // logit_maxes = logits.max(1, keepdim=True).values
    v[Chunk::LogitMaxes] = by_rows(&v[Chunk::Logits], vocab, R::neg_infinity(), R::max);
    // norm_logits = logits - logit_maxes
    v[Chunk::NormLogits] = by_row(&v[Chunk::Logits], &v[Chunk::LogitMaxes], |x, m| x - m);
    // counts = norm_logits.exp()
    v[Chunk::Counts] = map(&v[Chunk::NormLogits], R::exp);
    // counts_sum = counts.sum(1, keepdims=True)
    v[Chunk::CountsSum] = by_rows(&v[Chunk::Counts], vocab, R::zero(), |a, b| a + b);
    // counts_sum_inv = counts_sum**-1
    v[Chunk::CountsSumInv] = map(&v[Chunk::CountsSum], |s| one / s);
    // probs = counts * counts_sum_inv
    v[Chunk::Probs] = by_row(&v[Chunk::Counts], &v[Chunk::CountsSumInv], |x, s| x * s);
    // logprobs = probs.log()
    v[Chunk::Logprobs] = map(&v[Chunk::Probs], R::ln);

    // dlogprobs = torch.zeros_like(logprobs); dlogprobs[range(n), Yb] = -1.0/n
    for (row, &y) in y.iter().enumerate() {
        d[Chunk::Logprobs][row * vocab + usize::from(y)] = -one / n;
    }
    // dprobs = (1.0 / probs) * dlogprobs
    d[Chunk::Probs] = zip(&v[Chunk::Probs], &d[Chunk::Logprobs], |p, d| one / p * d);
    // dcounts_sum_inv = (counts * dprobs).sum(1, keepdim=True)
    let products = zip(&v[Chunk::Counts], &d[Chunk::Probs], |c, d| c * d);
    d[Chunk::CountsSumInv] = by_rows(&products, vocab, R::zero(), |a, b| a + b);
    // dcounts_sum = (-counts_sum**-2) * dcounts_sum_inv
    d[Chunk::CountsSum] = zip(&v[Chunk::CountsSum], &d[Chunk::CountsSumInv], |s, d| {
        -one / (s * s) * d
    });
    // dcounts = counts_sum_inv * dprobs; dcounts += torch.ones_like(counts) * dcounts_sum
    d[Chunk::Counts] = by_row(&d[Chunk::Probs], &v[Chunk::CountsSumInv], |d, s| s * d);
    d[Chunk::Counts] = by_row(&d[Chunk::Counts], &d[Chunk::CountsSum], |d, s| d + s);
    // dnorm_logits = counts * dcounts
    d[Chunk::NormLogits] = zip(&v[Chunk::Counts], &d[Chunk::Counts], |c, d| c * d);
    // dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)
    d[Chunk::LogitMaxes] = by_rows(&d[Chunk::NormLogits], vocab, R::zero(), |a, b| a - b);
    // dlogits = dnorm_logits.clone()
    // dlogits += F.one_hot(logits.max(1).indices, num_classes=vocab) * dlogit_maxes
    d[Chunk::Logits] = d[Chunk::NormLogits].clone();
    for row in 0..dims.batch {
        let logits = &v[Chunk::Logits][row * vocab..(row + 1) * vocab];
        // The first of equal maxima, as torch takes it.
        let at = (0..vocab).rev().max_by(|&a, &b| {
            logits[a]
                .partial_cmp(&logits[b])
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let dmax = d[Chunk::LogitMaxes][row];
        d[Chunk::Logits][row * vocab + at.unwrap_or(0)] += dmax;
    }
    // dh = dlogits @ W2.T; dW2 = h.T @ dlogits; db2 = dlogits.sum(0)
    let (mut dh, mut dw, mut db) = (
        d[Chunk::H].clone(),
        d[Chunk::W2].clone(),
        d[Chunk::B2].clone(),
    );
    linear::backward_input(
        linear::PLAIN,
        &d[Chunk::Logits],
        &v[Chunk::W2],
        vocab,
        &mut dh,
        &mut panels,
    );
    linear::backward_weight(
        linear::PLAIN,
        &v[Chunk::H],
        &d[Chunk::Logits],
        &mut dw,
        &mut db,
        &mut panels,
    );
    (d[Chunk::H], d[Chunk::W2], d[Chunk::B2]) = (dh, dw, db);
    // dhpreact = (1.0 - h**2) * dh
    d[Chunk::Hpreact] = zip(&d[Chunk::H], &v[Chunk::H], tanh::tanh_backward);
    // dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
    let products = zip(&v[Chunk::Bnraw], &d[Chunk::Hpreact], |r, d| r * d);
    d[Chunk::Bngain] = sum_rows(&products, hidden);
    // dbnbias = dhpreact.sum(0, keepdim=True)
    d[Chunk::Bnbias] = sum_rows(&d[Chunk::Hpreact], hidden);
    // dbnraw = bngain * dhpreact
    d[Chunk::Bnraw] = by_col(&d[Chunk::Hpreact], &v[Chunk::Bngain], |d, g| g * d);
    // dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)
    let products = zip(&v[Chunk::Bndiff], &d[Chunk::Bnraw], |x, d| x * d);
    d[Chunk::BnvarInv] = sum_rows(&products, hidden);
    // dbnvar = (-0.5*(bnvar + 1e-5)**-1.5) * dbnvar_inv
    d[Chunk::Bnvar] = zip(&v[Chunk::Bnvar], &d[Chunk::BnvarInv], |var, d| {
        let x = var + R::of(batchnorm::EPSILON);
        R::of(-0.5) / (x * x.sqrt()) * d
    });
    // dbndiff2 = (1.0/(n-1))*torch.ones_like(bndiff2) * dbnvar
    d[Chunk::Bndiff2] = by_col(&v[Chunk::Bndiff2], &d[Chunk::Bnvar], |_, d| {
        one / (n - one) * d
    });
    // dbndiff = bnvar_inv * dbnraw; dbndiff += (2*bndiff) * dbndiff2
    let direct = by_col(&d[Chunk::Bnraw], &v[Chunk::BnvarInv], |d, s| s * d);
    let squared = zip(&v[Chunk::Bndiff], &d[Chunk::Bndiff2], |x, d| (x + x) * d);
    d[Chunk::Bndiff] = zip(&direct, &squared, |a, b| a + b);
    // dbnmeani = (-dbndiff).sum(0)
    d[Chunk::Bnmeani] = map(&sum_rows(&d[Chunk::Bndiff], hidden), |s| -s);
    // dhprebn = dbndiff.clone(); dhprebn += 1.0/n * (torch.ones_like(hprebn) * dbnmeani)
    d[Chunk::Hprebn] = by_col(&d[Chunk::Bndiff], &d[Chunk::Bnmeani], |d, m| {
        d + one / n * m
    });
    // dembcat = dhprebn @ W1.T; dW1 = embcat.T @ dhprebn; db1 = dhprebn.sum(0)
    let mut de = d[Chunk::Embcat].clone();
    let (mut dw, mut db) = (d[Chunk::W1].clone(), d[Chunk::B1].clone());
    linear::backward_input(
        linear::PLAIN,
        &d[Chunk::Hprebn],
        &v[Chunk::W1],
        hidden,
        &mut de,
        &mut panels,
    );
    linear::backward_weight(
        linear::PLAIN,
        &v[Chunk::Embcat],
        &d[Chunk::Hprebn],
        &mut dw,
        &mut db,
        &mut panels,
    );
    (d[Chunk::W1], d[Chunk::B1]) = (dw, db);
    // demb = dembcat.view(emb.shape)
    d[Chunk::Emb] = de.clone();
    d[Chunk::Embcat] = de;
    // for k, j: dC[Xb[k,j]] += demb[k,j]
    let mut dc = d[Chunk::C].clone();
    embedding::backward(x, &d[Chunk::Emb], dims.embd, &mut dc);
    d[Chunk::C] = dc;
    (v, d)
}

/// The parameter's place among the 26.
pub fn chunk_of(tensor: Tensor) -> Chunk {
    match tensor {
        Tensor::C => Chunk::C,
        Tensor::W1 => Chunk::W1,
        Tensor::B1 => Chunk::B1,
        Tensor::W2 => Chunk::W2,
        Tensor::B2 => Chunk::B2,
        Tensor::Bngain => Chunk::Bngain,
        Tensor::Bnbias => Chunk::Bnbias,
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
