//! The float types that the CPU twin is written over.

use num_traits::{Float, NumAssign};

use super::fma::mul_add;
use super::tanh::Tanh;

/// `f64`, the reference that the kernels are compared with, or `f32`, the type that they compute in.
pub trait Real: Float + Tanh + NumAssign + Send + Sync + std::fmt::Debug + 'static {
    /// Exponential of a number of 0 or less: the library's for `f64`, one that vectorises for
    /// `f32`, with `FMA` as in [`mul_add`].
    fn exp_forward<const FMA: bool>(self) -> Self;

    /// Conversion from a count or a literal.
    fn of(value: f64) -> Self;

    /// Conversion for reports.
    fn as_f64(self) -> f64;
}

impl Real for f64 {
    #[inline(always)]
    fn exp_forward<const FMA: bool>(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        self
    }
}

impl Real for f32 {
    #[inline(always)]
    fn exp_forward<const FMA: bool>(self) -> Self {
        exp::<FMA>(self)
    }

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

/// `exp(x)` for `x <= 0`, with a relative error of at most 2.4e-7 (twice `f32::EPSILON`) down to -87, below
/// which it stays at 1.6e-38. The library's function would keep loops from being vectorised.
///
/// `x = n * ln 2 + r` with `|r| <= ln 2 / 2`; then `exp(x) = 2**n * exp(r)`, the second factor by its series
/// to the 7th power. `n` comes from adding 1.5 * 2**23, because near that number the f32 are whole numbers:
/// the last bits of the sum are `n`, ready to be shifted into an exponent.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first of which times n is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 0.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.0 / 5040.0f32;
    p = mul_add::<_, FMA>(p, r, 1.0 / 720.0);
    p = mul_add::<_, FMA>(p, r, 1.0 / 120.0);
    p = mul_add::<_, FMA>(p, r, 1.0 / 24.0);
    p = mul_add::<_, FMA>(p, r, 1.0 / 6.0);
    p = mul_add::<_, FMA>(p, r, 0.5);
    p = mul_add::<_, FMA>(p, r, 1.0);
    p = mul_add::<_, FMA>(p, r, 1.0);
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_epsilon_of_the_library() {
        check_exp::<false>();
        check_exp::<true>();
    }

    fn check_exp<const FMA: bool>() {
        let exp = exp::<FMA>;
        for i in 0..=870_000i32 {
            let x = -i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(
                error <= 2.0 * f64::from(f32::EPSILON),
                "exp({x}): {error:e}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
        assert!(exp(f32::NAN).is_nan());
    }
}
