//! A minibatch with more contexts than fit in one block.
//!
//! The blocks take turns in a few buffers, so that the activations stay in the cache. When batch norm's sums
//! over the minibatch are complete, those of most blocks have been overwritten. But
//!
//! ```text
//! dhprebn[u] = scale * dhpreact[u] - c[u] * (shift + slope * bndiff[u])        c[u]: examples of context u
//! ```
//!
//! is linear in what a block knows by itself. So each block adds `dhpreact` and `c * bndiff` to sums by the
//! rows of tokens, and its part to `dW2`. After the last block, `scale`, `shift` and `slope` turn these sums
//! into those of `dhprebn`.

use super::{Activations, Line, Panel, Step, Transpose, add, each};
use crate::cpu::by_token::lines::LINE;
use crate::reference::fma::mul_add;
use crate::reference::real::Real;
use crate::reference::sgd;

impl<R: Real + Transpose> Panel<R> {
    /// Clears all sums over blocks, of `rows` rows of tokens.
    #[inline(always)]
    pub(super) fn clear_sums(&mut self, rows: usize) {
        for sums in [&mut self.sums, &mut self.bndiffs] {
            sums[..rows].fill(Line::zero());
        }
        self.dw2.fill(Line::zero());
    }

    /// After the last block: turns the sums of `dhpreact` into those of `dhprebn`, and updates `W2`.
    #[inline(always)]
    pub fn after_blocks<
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
        let mut factors = [Line::zero(); 3];
        for half in 0..HALVES {
            for (line, values) in factors.iter_mut().zip(self.batchnorm_factors(half, dims)) {
                *line.half_mut(half) = values;
            }
        }
        // The compiler must not know this length: it would unroll the loop, and vectorise across the lines
        // with a gather for each lane.
        let units = self.units.min(LINE);
        let [scale, shift, slope] = factors.each_ref().map(|line| &line[..units]);
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
}

/// Adds a block's part to rows of `dW2`, in the columns of tile `c`.
#[inline(always)]
pub(super) fn add_to_dw2<R: Real, const ROWS: usize, const COLS: usize, const PARTS: usize>(
    dw2: &mut [Line<R>; ROWS],
    c: usize,
    sums: &[[[R; COLS]; 2]; ROWS],
) {
    for i in 0..ROWS {
        for part in 0..PARTS {
            let (at, sums) = (PARTS * c + part, &sums[i][part]);
            each(dw2[i].part_mut::<COLS>(at), |dw2, l| dw2 + sums[l]);
        }
    }
}

/// Adds `dhpreact` and `c * bndiff` of a block's contexts to the sums of their tokens' rows.
#[inline(always)]
pub(super) fn add_to_sums<'a, R: Real, const HALVES: usize>(
    uses: &[R],
    rows: impl Iterator<Item = &'a [u32]>,
    acts: &[Activations<R>],
    sums: &mut [Line<R>],
    bndiffs: &mut [Line<R>],
) {
    for ((&uses, rows), acts) in uses.iter().zip(rows).zip(acts) {
        let d = acts.dhpreact.halves::<HALVES>();
        let mut bndiff = acts.bndiff.halves::<HALVES>();
        for bndiff in &mut bndiff {
            each(bndiff, |bndiff, _| uses * bndiff);
        }
        add(rows, &d, sums);
        add(rows, &bndiff, bndiffs);
    }
}
