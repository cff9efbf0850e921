//! `h = torch.tanh(hpreact)`. Twin of `shaders/tanh.wgsl`.

use super::real::Real;

/// tanh of one `f32`, by the kernels' formula, term for term.
///
/// A rational function, odd in x over even in x (the coefficients are those of the Eigen library's
/// `generic_fast_tanh_float`). It needs no `exp`, so it vectorises, and no driver can turn it into
/// a NaN for large x, as some do with WGSL's built-in `tanh`. Beyond the clamp the quotient rounds
/// to 1. The error is at most 4.5e-7, about 4 units of the last place of 1 (the tests
/// measure it).
#[inline(always)]
pub fn tanh_forward(x: f32) -> f32 {
    // `clamp` passes a NaN on: a diverged run must not look like a saturated one.
    let x = x.clamp(-7.905_311, 7.905_311);
    let z = x * x;
    let mut p = -2.760_768_5e-16f32;
    p = p * z + 2.000_188e-13;
    p = p * z + -8.604_672e-11;
    p = p * z + 5.122_297e-8;
    p = p * z + 1.485_722_4e-5;
    p = p * z + 6.372_619e-4;
    p = p * z + 4.893_525e-3;
    let mut q = 1.198_258_4e-6f32;
    q = q * z + 1.185_347_1e-4;
    q = q * z + 2.268_434_6e-3;
    q = q * z + 4.893_525e-3;
    x * p / q
}

/// `dhpreact = (1 - h**2) * dh`: the derivative of tanh in terms of its value.
#[inline(always)]
pub fn tanh_backward<R: Real>(dh: R, h: R) -> R {
    (R::one() - h * h) * dh
}

/// `h = tanh(hpreact)`, elementwise over `(batch, hidden)`.
#[inline(always)]
pub fn forward<R: Real>(hpreact: &[R], h: &mut [R]) {
    for (h, &x) in h.iter_mut().zip(hpreact) {
        *h = x.tanh_forward();
    }
}

/// `dhpreact = (1 - h**2) * dh`, elementwise over `(batch, hidden)`.
#[inline(always)]
pub fn backward<R: Real>(dh: &[R], h: &[R], dhpreact: &mut [R]) {
    for ((d, &dh), &h) in dhpreact.iter_mut().zip(dh).zip(h) {
        *d = tanh_backward(dh, h);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_below_4_5e_7_and_3_epsilon_near_zero() {
        let mut worst = 0.0f64;
        let mut worst_relative = 0.0f64;
        for i in -4_000_000..=4_000_000i32 {
            let x = i as f32 * 2.5e-6;
            let exact = f64::from(x).tanh();
            let error = (f64::from(tanh_forward(x)) - exact).abs();
            worst = worst.max(error);
            if x != 0.0 && x.abs() < 0.1 {
                worst_relative = worst_relative.max(error / exact.abs());
            }
        }
        assert!(worst <= 4.5e-7, "largest error {worst:e}");
        assert!(
            worst_relative <= 3.0 * f64::from(f32::EPSILON),
            "{worst_relative:e}"
        );
    }

    #[test]
    fn the_edges_saturate_and_a_nan_stays_one() {
        for x in [9.0, 44.0, 89.0, f32::MAX, f32::INFINITY] {
            assert!(
                (tanh_forward(x) - 1.0).abs() <= 1.2e-7,
                "{x}: {}",
                tanh_forward(x)
            );
            assert_eq!(tanh_forward(-x), -tanh_forward(x));
        }
        assert_eq!(tanh_forward(0.0), 0.0);
        assert!((tanh_forward(1e-4) - 1e-4).abs() < 1e-11);
        assert!(tanh_forward(f32::NAN).is_nan());
    }
}
