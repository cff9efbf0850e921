//! `h = torch.tanh(hpreact)`. Twin of `shaders/tanh.wgsl`.

use num_traits::Float;

use super::fma::mul_add;

/// A float type with its hyperbolic tangent.
pub trait Tanh: Float {
    /// Hyperbolic tangent: the library's for `f64`, the kernels' own formula for `f32`.
    fn tanh_forward(self) -> Self;

    /// Hyperbolic tangents of two numbers: in `f32` and with `FMA` for the price of one division
    /// ([`tanh_pair`](tanh_pair)).
    fn tanh_pair<const FMA: bool>(a: Self, b: Self) -> (Self, Self);
}

impl Tanh for f64 {
    #[inline(always)]
    fn tanh_forward(self) -> Self {
        self.tanh()
    }

    #[inline(always)]
    fn tanh_pair<const FMA: bool>(a: Self, b: Self) -> (Self, Self) {
        (a.tanh(), b.tanh())
    }
}

impl Tanh for f32 {
    #[inline(always)]
    fn tanh_forward(self) -> Self {
        tanh_forward(self)
    }

    #[inline(always)]
    fn tanh_pair<const FMA: bool>(a: Self, b: Self) -> (Self, Self) {
        tanh_pair::<FMA>(a, b)
    }
}

/// tanh of one `f32`, by the kernels' formula, term for term.
///
/// A rational function, odd in x over even in x (the coefficients are those of the Eigen library's
/// `generic_fast_tanh_float`). It needs no `exp`, so it vectorises, and no driver returns NaN for large x, as
/// some do for WGSL's built-in `tanh`. Beyond the clamp the quotient is within 1.2e-7 of 1. The error is at
/// most 4.5e-7, about 4 units in the last place of 1 (the tests measure it).
#[inline(always)]
pub fn tanh_forward(x: f32) -> f32 {
    let (p, q) = quotient::<false>(x);
    p / q
}

/// tanh of two `f32`; with `FMA` (see [`mul_add`]) they share one division, the bottleneck of a loop over
/// tanh: with `r = 1 / (q1 * q2)`, the quotients are `p1 * q2 * r` and `p2 * q1 * r`. A NaN in one then makes
/// both NaN.
#[inline(always)]
pub fn tanh_pair<const FMA: bool>(x1: f32, x2: f32) -> (f32, f32) {
    if !FMA {
        // Terms that are rounded twice leave no margin for the error of a shared division.
        return (tanh_forward(x1), tanh_forward(x2));
    }
    let ((p1, q1), (p2, q2)) = (quotient::<FMA>(x1), quotient::<FMA>(x2));
    let r = 1.0 / (q1 * q2);
    (p1 * q2 * r, p2 * q1 * r)
}

/// Numerator and denominator of tanh.
#[inline(always)]
fn quotient<const FMA: bool>(x: f32) -> (f32, f32) {
    // Where the quotient is closest to 1 depends on the rounding (both limits are Eigen's).
    let limit = if FMA { 7.998_812 } else { 7.905_311 };
    // `clamp` propagates NaN: a diverged run must not look like a saturated one.
    let x = x.clamp(-limit, limit);
    let z = x * x;
    let mut p = -2.760_768_5e-16f32;
    p = mul_add::<_, FMA>(p, z, 2.000_188e-13);
    p = mul_add::<_, FMA>(p, z, -8.604_672e-11);
    p = mul_add::<_, FMA>(p, z, 5.122_297e-8);
    p = mul_add::<_, FMA>(p, z, 1.485_722_4e-5);
    p = mul_add::<_, FMA>(p, z, 6.372_619e-4);
    p = mul_add::<_, FMA>(p, z, 4.893_525e-3);
    let mut q = 1.198_258_4e-6f32;
    q = mul_add::<_, FMA>(q, z, 1.185_347_1e-4);
    q = mul_add::<_, FMA>(q, z, 2.268_434_6e-3);
    q = mul_add::<_, FMA>(q, z, 4.893_525e-3);
    (x * p, q)
}

/// `dhpreact = (1 - h**2) * dh`: the derivative of tanh in terms of its value.
#[inline(always)]
pub fn tanh_backward<R: Float>(dh: R, h: R) -> R {
    (R::one() - h * h) * dh
}

/// `h = tanh(hpreact)`, elementwise over `(batch, hidden)`.
#[inline(always)]
pub fn forward<R: Tanh>(hpreact: &[R], h: &mut [R]) {
    for (h, &x) in h.iter_mut().zip(hpreact) {
        *h = x.tanh_forward();
    }
}

/// `dhpreact = (1 - h**2) * dh`, elementwise over `(batch, hidden)`.
#[inline(always)]
pub fn backward<R: Float>(dh: &[R], h: &[R], dhpreact: &mut [R]) {
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
            let exact = f64::from(x).tanh(); // takes longer than all the others
            let mut check = |tanh: f32| {
                let error = (f64::from(tanh) - exact).abs();
                worst = worst.max(error);
                if x != 0.0 && x.abs() < 0.1 {
                    worst_relative = worst_relative.max(error / exact.abs());
                }
            };
            check(tanh_forward(x));
            // As both members of a pair, with denominators from the smallest to the largest.
            for other in [0.0, -0.3, 1.7, -4.1, 9.0] {
                check(tanh_pair::<false>(x, other).0);
                check(tanh_pair::<true>(x, other).0);
                check(tanh_pair::<true>(other, x).1);
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
        check_edges(tanh_forward, 1.2e-7);
        // In a pair, the rounding of each depends on the other.
        for other in [0.0, -0.3, 1.7, -4.1, 9.0] {
            check_edges(|x| tanh_pair::<false>(x, other).0, 4.5e-7);
            check_edges(|x| tanh_pair::<true>(x, other).0, 4.5e-7);
            check_edges(|x| tanh_pair::<true>(other, x).1, 4.5e-7);
        }
    }

    fn check_edges(tanh_forward: impl Fn(f32) -> f32, tolerance: f32) {
        for x in [9.0, 44.0, 89.0, f32::MAX, f32::INFINITY] {
            assert!(
                (tanh_forward(x) - 1.0).abs() <= tolerance,
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
