//! Batch normalisation over the examples of a minibatch. Twin of `shaders/batchnorm.wgsl`, where
//! the derivation of the backward formula stands.

use super::fma::mul_add;
use super::real::Real;

/// Keeps the root finite for a unit that never varies (PyTorch's and the lecture's value).
pub const EPSILON: f64 = 1e-5;

/// `bnvar = 1/(n-1) * bndiff2.sum(0)`: Bessel's correction, as in the lecture.
#[inline(always)]
pub fn batchnorm_variance<R: Real>(sum_bndiff2: R, n: R) -> R {
    sum_bndiff2 / (n - R::one())
}

/// `bnvar_inv = (bnvar + 1e-5)**-0.5`
#[inline(always)]
pub fn batchnorm_var_inv<R: Real>(bnvar: R) -> R {
    R::one() / (bnvar + R::of(EPSILON)).sqrt()
}

/// `bnraw = bndiff * bnvar_inv`
#[inline(always)]
pub fn batchnorm_normalize<R: Real>(hprebn: R, bnmean: R, bnvar_inv: R) -> R {
    (hprebn - bnmean) * bnvar_inv
}

/// `hpreact = bngain * bnraw + bnbias`
#[inline(always)]
pub fn batchnorm_scale<R: Real, const FMA: bool>(bngain: R, bnraw: R, bnbias: R) -> R {
    mul_add::<R, FMA>(bngain, bnraw, bnbias)
}

/// `dhprebn = bngain*bnvar_inv/n * (n*dhpreact - dhpreact.sum(0) - n/(n-1)*bnraw*(dhpreact*bnraw).sum(0))`
#[inline(always)]
pub fn batchnorm_backward<R: Real, const FMA: bool>(
    bngain: R,
    bnvar_inv: R,
    n: R,
    dhpreact: R,
    sum_dhpreact: R,
    bnraw: R,
    sum_dhpreact_bnraw: R,
) -> R {
    // Grouped so that the factors that all examples of a unit share are computed once.
    let factor = n / (n - R::one()) * sum_dhpreact_bnraw;
    let difference = mul_add::<R, FMA>(n, dhpreact, -sum_dhpreact);
    bngain * bnvar_inv / n * mul_add::<R, FMA>(-factor, bnraw, difference)
}

/// The statistics of each hidden unit over a minibatch, each `(hidden)`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchStatistics<R> {
    /// Mean of `hprebn` (`bnmeani` in the lecture).
    pub bnmean: Vec<R>,
    /// Variance with Bessel's correction.
    pub bnvar: Vec<R>,
    /// `(bnvar + 1e-5)**-0.5`
    pub bnvar_inv: Vec<R>,
}

impl<R: Real> BatchStatistics<R> {
    /// Room for `hidden` units.
    pub fn new(hidden: usize) -> Self {
        let zeros = vec![R::zero(); hidden];
        Self {
            bnmean: zeros.clone(),
            bnvar: zeros.clone(),
            bnvar_inv: zeros,
        }
    }
}

/// Mean, variance and inverse root of each column of `hprebn (batch, hidden)`.
#[inline(always)]
pub fn statistics<R: Real>(hprebn: &[R], stats: &mut BatchStatistics<R>) {
    let n = hprebn.len() / stats.bnmean.len();
    weighted_statistics(hprebn, std::iter::repeat_n(R::one(), n), n, stats);
}

/// Weighted [`statistics`]: each row counts `times`, and all rows together `n`.
#[inline(always)]
pub fn weighted_statistics<R: Real>(
    hprebn: &[R],
    times: impl Iterator<Item = R> + Clone,
    n: usize,
    stats: &mut BatchStatistics<R>,
) {
    let hidden = stats.bnmean.len();
    let n = R::of(n as f64);
    stats.bnmean.fill(R::zero());
    for (row, times) in hprebn.chunks_exact(hidden).zip(times.clone()) {
        for (sum, &x) in stats.bnmean.iter_mut().zip(row) {
            *sum += times * x;
        }
    }
    for mean in &mut stats.bnmean {
        *mean /= n;
    }
    stats.bnvar.fill(R::zero());
    for (row, times) in hprebn.chunks_exact(hidden).zip(times) {
        for ((sum, &x), &mean) in stats.bnvar.iter_mut().zip(row).zip(&stats.bnmean) {
            let bndiff = x - mean;
            *sum += times * bndiff * bndiff;
        }
    }
    for (var, var_inv) in stats.bnvar.iter_mut().zip(&mut stats.bnvar_inv) {
        *var = batchnorm_variance(*var, n);
        *var_inv = batchnorm_var_inv(*var);
    }
}

/// `bnraw` and `hpreact`, both `(batch, hidden)`, from `hprebn` and its statistics.
#[inline(always)]
pub fn forward<R: Real>(
    hprebn: &[R],
    bngain: &[R],
    bnbias: &[R],
    stats: &mut BatchStatistics<R>,
    bnraw: &mut [R],
    hpreact: &mut [R],
) {
    statistics(hprebn, stats);
    // Slices of equal length: without them every access is bounds-checked, and nothing is vectorised.
    let hidden = bngain.len();
    let (mean, var_inv) = (&stats.bnmean[..hidden], &stats.bnvar_inv[..hidden]);
    let bnbias = &bnbias[..hidden];
    let rows = hprebn.chunks_exact(hidden);
    let outs = bnraw
        .chunks_exact_mut(hidden)
        .zip(hpreact.chunks_exact_mut(hidden));
    for (hprebn, (bnraw, hpreact)) in rows.zip(outs) {
        for j in 0..hidden {
            bnraw[j] = batchnorm_normalize(hprebn[j], mean[j], var_inv[j]);
            hpreact[j] = batchnorm_scale::<R, false>(bngain[j], bnraw[j], bnbias[j]);
        }
    }
}

/// `hpreact` from fixed statistics, as in the trained model. In place over `(rows, hidden)`.
#[inline(always)]
pub fn inference<R: Real>(values: &mut [R], bngain: &[R], bnbias: &[R], bnmean: &[R], bnvar: &[R]) {
    let hidden = bngain.len();
    // Once and not per row, where the root and the division would be most of the work.
    let bnvar_inv: Vec<R> = bnvar.iter().map(|&v| batchnorm_var_inv(v)).collect();
    for row in values.chunks_exact_mut(hidden) {
        for j in 0..hidden {
            let bnraw = batchnorm_normalize(row[j], bnmean[j], bnvar_inv[j]);
            row[j] = batchnorm_scale::<R, false>(bngain[j], bnraw, bnbias[j]);
        }
    }
}

/// `dbngain = (bnraw*dhpreact).sum(0)`, `dbnbias = dhpreact.sum(0)`, both `(1, hidden)`, and with
/// them `dhprebn (batch, hidden)`: the two sums of the fused formula are these gradients.
#[inline(always)]
pub fn backward<R: Real>(
    dhpreact: &[R],
    bnraw: &[R],
    bngain: &[R],
    bnvar_inv: &[R],
    dbngain: &mut [R],
    dbnbias: &mut [R],
    dhprebn: &mut [R],
) {
    let hidden = bngain.len();
    let n = R::of((dhpreact.len() / hidden) as f64);
    let bnvar_inv = &bnvar_inv[..hidden];
    let (dbngain, dbnbias) = (&mut dbngain[..hidden], &mut dbnbias[..hidden]);
    dbngain.fill(R::zero());
    dbnbias.fill(R::zero());
    let rows = || {
        dhpreact
            .chunks_exact(hidden)
            .zip(bnraw.chunks_exact(hidden))
    };
    for (dhpreact, bnraw) in rows() {
        for j in 0..hidden {
            dbngain[j] += dhpreact[j] * bnraw[j];
            dbnbias[j] += dhpreact[j];
        }
    }
    for ((dhpreact, bnraw), dhprebn) in rows().zip(dhprebn.chunks_exact_mut(hidden)) {
        for j in 0..hidden {
            dhprebn[j] = batchnorm_backward::<R, false>(
                bngain[j],
                bnvar_inv[j],
                n,
                dhpreact[j],
                dbnbias[j],
                bnraw[j],
                dbngain[j],
            );
        }
    }
}
