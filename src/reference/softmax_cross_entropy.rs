//! `loss = F.cross_entropy(logits, Yb)` and its gradient. Twin of
//! `shaders/softmax_cross_entropy.wgsl`, where the derivation stands.

use super::real::Real;
use crate::model::dims::Token;

/// `-logprobs[i, y] = log(counts_sum) - norm_logits[i, y]`
#[inline(always)]
pub fn cross_entropy_loss<R: Real>(norm_logit_of_target: R, counts_sum: R) -> R {
    counts_sum.ln() - norm_logit_of_target
}

/// `dlogits = (softmax(logits) - one_hot(y)) / n`
#[inline(always)]
pub fn softmax_cross_entropy_backward<R: Real>(prob: R, is_target: bool, n: R) -> R {
    (prob - if is_target { R::one() } else { R::zero() }) / n
}

/// Without the row's maximum, exp overflows for logits above 88 in f32.
#[inline(always)]
fn maximum<R: Real>(logits: &[R]) -> R {
    logits.iter().copied().fold(R::neg_infinity(), R::max)
}

/// The maximum of a row of logits and `counts_sum`: what [`cross_entropy_loss`] needs besides the target's
/// logit.
pub fn counts<R: Real>(logits: &[R]) -> (R, R) {
    let logit_max = maximum(logits);
    let counts = logits.iter().map(|&logit| (logit - logit_max).exp());
    (logit_max, counts.fold(R::zero(), |sum, count| sum + count))
}

/// The loss of each example into `row_loss (batch)` and `dlogits (batch, vocab)`, in one pass:
/// the softmax that the loss needs is most of its gradient.
#[inline(always)]
pub fn forward_backward<R: Real>(logits: &[R], y: &[Token], row_loss: &mut [R], dlogits: &mut [R]) {
    let vocab = logits.len() / y.len();
    let n = R::of(y.len() as f64);
    let rows = logits
        .chunks_exact(vocab)
        .zip(dlogits.chunks_exact_mut(vocab));
    for (((logits, dlogits), &target), loss) in rows.zip(y).zip(row_loss) {
        let target = usize::from(target);
        let logit_max = maximum(logits);
        let mut counts_sum = R::zero();
        for (count, &logit) in dlogits.iter_mut().zip(logits) {
            *count = (logit - logit_max).exp();
            counts_sum += *count;
        }
        *loss = cross_entropy_loss(logits[target] - logit_max, counts_sum);
        for (v, d) in dlogits.iter_mut().enumerate() {
            *d = softmax_cross_entropy_backward(*d / counts_sum, v == target, n);
        }
    }
}
