//! A minibatch whose contexts fit in one block, as at the lecture's sizes.
//!
//! When batch norm's sums over the minibatch are complete, the activations of all contexts are still in their
//! buffer. So `dhprebn` is computed context by context, as in the textbook, and a tile of `dW2` is complete
//! while it is in registers: it goes straight into the update of `W2`.

use super::{Line, Panel, Step, Transpose, add, each};
use crate::cpu::by_token::lines::LANES;
use crate::reference::fma::mul_add;
use crate::reference::real::Real;
use crate::reference::sgd::sgd_update;

impl<R: Real + Transpose> Panel<R> {
    /// `dhprebn` of each context, summed by the rows of its tokens.
    #[inline(always)]
    pub(super) fn through_batchnorm<const FMA: bool, const HALVES: usize>(
        &mut self,
        step: &Step<'_, R>,
    ) {
        self.sums[..step.tokens.count()].fill(Line::zero());
        let zero = [[R::zero(); LANES]; HALVES];
        let (mut scale, mut shift, mut slope) = (zero, zero, zero);
        for half in 0..HALVES {
            [scale[half], shift[half], slope[half]] = self.batchnorm_factors(half, step.dims);
        }
        let (uses, rows) = step.contexts_of(0);
        for ((&uses, rows), acts) in uses.iter().zip(rows).zip(&self.buffers[0].acts) {
            let mut dhprebn = zero;
            for half in 0..HALVES {
                let (d, bndiff) = (acts.dhpreact.half(half), acts.bndiff.half(half));
                for l in 0..LANES {
                    let shared = mul_add::<R, FMA>(slope[half][l], bndiff[l], shift[half][l]);
                    dhprebn[half][l] = mul_add::<R, FMA>(-uses, shared, scale[half][l] * d[l]);
                }
            }
            add(rows, &dhprebn, &mut self.sums);
        }
    }
}

/// Updates rows of `W2` in the columns of tile `c` with their gradient, which is stored only with `GRADS`.
#[inline(always)]
pub(super) fn update_w2<
    R: Real,
    const FMA: bool,
    const ROWS: usize,
    const COLS: usize,
    const PARTS: usize,
    const GRADS: bool,
>(
    w2: &mut [Line<R>; ROWS],
    dw2: &mut [Line<R>; ROWS],
    c: usize,
    lr: R,
    sums: &[[[R; COLS]; 2]; ROWS],
) {
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
}
