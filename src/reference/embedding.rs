//! `emb = C[X]`; `embcat = emb.view(n, -1)`. Twin of `shaders/embedding.wgsl`.
//!
//! `emb (batch, block, embd)` and `embcat (batch, block * embd)` are the same memory.

use super::real::Real;
use crate::model::dims::Token;

/// `embcat[p, :] = C[X[p], :]` for every position `p` of `(batch, block)`.
///
/// `x (batch, block)` tokens, `c (vocab, embd)`, `embcat (batch, block * embd)`.
#[inline(always)]
pub fn forward<R: Real>(x: &[Token], c: &[R], embd: usize, embcat: &mut [R]) {
    for (row, &token) in embcat.chunks_exact_mut(embd).zip(x) {
        let token = usize::from(token);
        row.copy_from_slice(&c[token * embd..(token + 1) * embd]);
    }
}

/// `dC[X[p], :] += demb[p, :]`: the gradient of a character is the sum over all positions that hold it. They
/// are visited in order, so the sum has the same bits in every run.
#[inline(always)]
pub fn backward<R: Real>(x: &[Token], dembcat: &[R], embd: usize, dc: &mut [R]) {
    dc.fill(R::zero());
    for (row, &token) in dembcat.chunks_exact(embd).zip(x) {
        let token = usize::from(token);
        for (dc, &d) in dc[token * embd..(token + 1) * embd].iter_mut().zip(row) {
            *dc += d;
        }
    }
}
