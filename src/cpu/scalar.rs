//! The step by distinct contexts and tokens, in plain loops: read this before [`super::by_token`], which
//! computes the same step with vector units. Only the tests run it.
//!
//! **A context is computed once.** Examples with equal contexts have equal activations and probabilities; only
//! their targets differ. So a row below is a distinct context `u`, `c[u]` is the number of examples that have
//! it, and `f[u, v]` the number of those whose target is token `v`. Sums over the `n` examples become sums
//! over rows:
//!
//! ```text
//! bnmean = 1/n * sum over u of c[u] * hprebn[u]        bnvar = 1/(n-1) * sum over u of c[u] * bndiff[u]**2
//! loss   = -1/n * sum over u, v of f[u, v] * log(probs[u, v])
//! ```
//!
//! The gradient of a row is the sum over its examples. Of `probs - one_hot(y)`, that is
//!
//! ```text
//! dlogits[u] = (c[u] * probs[u] - f[u]) / n
//! ```
//!
//! Every operation before it is linear in the gradient, so it takes sums to sums. Only batch norm's backward
//! pass also subtracts two terms that do not depend on the example: it subtracts them once per example, so
//! `c[u]` times from a row.
//!
//! **A token is multiplied once.** With `W1[t]` for the rows of `W1` that position `t` of the context meets,
//!
//! ```text
//! hprebn[u] = b1 + sum over t of C[X[u, t]] @ W1[t]
//! ```
//!
//! and `P[t, v] = C[v] @ W1[t]` serves all contexts that have token `v` at position `t`. In the backward
//! pass, let `S[t, v]` be the sum of `dhprebn[u]` over these contexts, which is the gradient of `P[t, v]`.
//! Then
//!
//! ```text
//! dW1[t] = sum over v of C[v].T @ S[t, v]        dC[v] = sum over t of S[t, v] @ W1[t].T
//! ```

// Loops over indices, which are those of the formulas.
#![allow(clippy::needless_range_loop)]

use crate::model::contexts::Rows;
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::reference::batchnorm::{
    batchnorm_backward, batchnorm_normalize, batchnorm_scale, batchnorm_var_inv, batchnorm_variance,
};
use crate::reference::softmax_cross_entropy::{counts, cross_entropy_loss};
use crate::reference::tanh::tanh_backward;

/// Loss and gradients of the minibatch `x (batch, block)`, `y (batch)`.
fn loss_and_grads(dims: &Dims, p: &Params<f64>, x: &[Token], y: &[Token]) -> (f64, Params<f64>) {
    let Dims {
        vocab,
        block,
        embd,
        hidden,
        ..
    } = *dims;
    let n = y.len() as f64;
    let contexts = Rows::merged(x, Some(y), block);
    let rows = 0..contexts.len();
    let c: Vec<f64> = rows.clone().map(|u| contexts.examples(u) as f64).collect();
    let token = |u: usize, t: usize| usize::from(contexts.x()[u * block + t]);
    // Row t * vocab + v of P and of S; row t * embd + e of W1.
    let mut is_used = vec![false; block * vocab];
    for u in rows.clone() {
        (0..block).for_each(|t| is_used[t * vocab + token(u, t)] = true);
    }
    let used = (0..block * vocab).filter(|&tv| is_used[tv]);

    // P[t, v] = C[v] @ W1[t]
    let mut products = vec![0.0; block * vocab * hidden];
    for tv in used.clone() {
        let (t, v) = (tv / vocab, tv % vocab);
        for e in 0..embd {
            for j in 0..hidden {
                products[tv * hidden + j] += p.c[v * embd + e] * p.w1[(t * embd + e) * hidden + j];
            }
        }
    }
    // hprebn, and batch norm with its weights; h
    let mut hprebn = vec![0.0; rows.len() * hidden];
    let (mut bnmean, mut bnvar_inv) = (vec![0.0; hidden], vec![0.0; hidden]);
    let (mut bnraw, mut h) = (hprebn.clone(), hprebn.clone());
    for j in 0..hidden {
        for u in rows.clone() {
            let terms = (0..block).map(|t| products[(t * vocab + token(u, t)) * hidden + j]);
            hprebn[u * hidden + j] = p.b1[j] + terms.sum::<f64>();
            bnmean[j] += c[u] * hprebn[u * hidden + j] / n;
        }
        let bndiff2 = |u: usize| (hprebn[u * hidden + j] - bnmean[j]).powi(2);
        let sum_bndiff2 = rows.clone().map(|u| c[u] * bndiff2(u)).sum();
        bnvar_inv[j] = batchnorm_var_inv(batchnorm_variance(sum_bndiff2, n));
        for i in rows.clone().map(|u| u * hidden + j) {
            bnraw[i] = batchnorm_normalize(hprebn[i], bnmean[j], bnvar_inv[j]);
            h[i] = batchnorm_scale::<_, false>(p.bngain[j], bnraw[i], p.bnbias[j]).tanh();
        }
    }
    // logits, the loss, and dlogits in the place of the logits
    let mut loss = 0.0;
    let mut dlogits = vec![0.0; rows.len() * vocab];
    for (u, row) in dlogits.chunks_exact_mut(vocab).enumerate() {
        for v in 0..vocab {
            let terms = (0..hidden).map(|j| h[u * hidden + j] * p.w2[j * vocab + v]);
            row[v] = p.b2[v] + terms.sum::<f64>();
        }
        let (logit_max, counts_sum) = counts(row);
        let targets = contexts.targets(u).iter();
        let targets = targets.map(|target| (usize::from(target.token), f64::from(target.examples)));
        for (y, f) in targets.clone() {
            loss += f * cross_entropy_loss(row[y] - logit_max, counts_sum) / n;
        }
        for logit in &mut *row {
            *logit = c[u] * (*logit - logit_max).exp() / counts_sum / n;
        }
        targets.for_each(|(y, f)| row[y] -= f / n);
    }

    let mut g = Params::filled(dims, 0.0);
    // dW2 = h.T @ dlogits, db2 = dlogits.sum(0); dhpreact; dbngain and dbnbias
    let mut dhpreact = vec![0.0; rows.len() * hidden];
    for (u, dlogits) in dlogits.chunks_exact(vocab).enumerate() {
        for v in 0..vocab {
            g.b2[v] += dlogits[v];
        }
        for j in 0..hidden {
            let i = u * hidden + j;
            let mut dh = 0.0;
            for v in 0..vocab {
                g.w2[j * vocab + v] += h[i] * dlogits[v];
                dh += dlogits[v] * p.w2[j * vocab + v];
            }
            dhpreact[i] = tanh_backward(dh, h[i]);
            g.bngain[j] += dhpreact[i] * bnraw[i];
            g.bnbias[j] += dhpreact[i];
        }
    }
    // dhprebn, summed into S[t, v] by the tokens of each context
    let mut sums = vec![0.0; block * vocab * hidden];
    for u in rows {
        for j in 0..hidden {
            let i = u * hidden + j;
            let (gain, var_inv) = (p.bngain[j], bnvar_inv[j]);
            let (mean_term, var_term) = (c[u] * g.bnbias[j], c[u] * g.bngain[j]);
            let dhprebn = batchnorm_backward::<_, false>(
                gain,
                var_inv,
                n,
                dhpreact[i],
                mean_term,
                bnraw[i],
                var_term,
            );
            g.b1[j] += dhprebn;
            (0..block).for_each(|t| sums[(t * vocab + token(u, t)) * hidden + j] += dhprebn);
        }
    }
    // dW1[t] = sum over v of C[v].T @ S[t, v]; dC[v] = sum over t of S[t, v] @ W1[t].T
    for tv in used {
        let (t, v) = (tv / vocab, tv % vocab);
        for e in 0..embd {
            for j in 0..hidden {
                let (w1, s) = ((t * embd + e) * hidden + j, sums[tv * hidden + j]);
                g.w1[w1] += p.c[v * embd + e] * s;
                g.c[v * embd + e] += s * p.w1[w1];
            }
        }
    }
    (loss, g)
}

/// At the lecture's sizes with all contexts in one block, and with several blocks of them.
#[test]
fn the_plain_step_equals_the_reference_and_the_fast_step() {
    use crate::cpu::by_token::ByToken;
    use crate::model::params::Tensor;
    use crate::reference::Model;
    use crate::reference::linear::PLAIN;
    use crate::rng::TorchGenerator;

    for (batch, vocab, hidden) in [(32, 27, 200), (300, 5, 50), (300, 27, 40)] {
        let dims = Dims {
            batch,
            vocab,
            hidden,
            ..Dims::LECTURE
        };
        let mut generator = TorchGenerator::manual_seed(5);
        let params = Params::init(&dims, &mut generator).map(f64::from);
        let mut tokens = |count: usize| -> Vec<Token> {
            let mut tokens = vec![0; count];
            generator.randint_into(vocab as u32, &mut tokens);
            tokens.into_iter().map(|token| token as Token).collect()
        };
        let (mut x, y) = (tokens(batch * dims.block), tokens(batch));
        // Every fourth example has the context of the first.
        for b in (0..batch).step_by(4) {
            x.copy_within(..dims.block, b * dims.block);
        }
        let (loss, grads) = loss_and_grads(&dims, &params, &x, &y);

        let mut reference = Model::new(dims, params.clone());
        let want = reference.forward(&x, &y);
        reference.backward(&x);
        let mut fast = ByToken::new(dims, &params);
        let fast_loss = fast.step_with_grads(PLAIN, &x, &y, 0.0);
        for (name, loss_there, there) in [
            ("the reference", want, &reference.grads),
            ("the fast step", fast_loss, &fast.grads()),
        ] {
            assert!(
                (loss - loss_there).abs() < 1e-12,
                "{loss}, {name} {loss_there}"
            );
            for tensor in Tensor::ALL {
                let (grads, there) = (grads.get(tensor), there.get(tensor));
                assert_eq!(grads.len(), there.len());
                let largest = there.iter().fold(0.0f64, |largest, g| largest.max(g.abs()));
                // db1 is zero but for rounding.
                let tolerance = 1e-11 * largest + 1e-14;
                for (i, (&g, &want)) in grads.iter().zip(there).enumerate() {
                    let name = format!("d{}[{i}] of {name}", tensor.name());
                    assert!((g - want).abs() <= tolerance, "{g}, {name} {want}");
                }
            }
        }
    }
}
