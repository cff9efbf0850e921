//! Logarithm, sine and cosine as PyTorch evaluates them.
//!
//! The standard library's `ln`, `sin` and `cos` round as the C library of the platform does. PyTorch
//! evaluates the single-precision polynomials of Cephes (S. L. Moshier, netlib.org/cephes) with
//! fused multiply-adds instead. So do the functions here, operation by operation: this gives
//! PyTorch's bits, and the same ones on every platform.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

/// Natural logarithm of a normal, positive number.
#[expect(
    clippy::excessive_precision,
    reason = "constants as Cephes prints them"
)]
pub(super) fn ln(x: f32) -> f32 {
    // x = m * 2^e with m in [sqrt(1/2), sqrt(2)), then f = m - 1
    let bits = x.to_bits();
    let mut e = ((bits >> 23) as i32 - 126) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000); // in [1/2, 1)
    let f = if m < FRAC_1_SQRT_2 {
        e -= 1.0;
        2.0 * m - 1.0
    } else {
        m - 1.0
    };
    // ln(1 + f) = f - f^2 / 2 + f^3 p(f)
    let p = polynomial(
        f,
        [
            7.037_683_629_2e-2,
            -1.151_461_031_0e-1,
            1.167_699_874_0e-1,
            -1.242_014_084_6e-1,
            1.424_932_278_7e-1,
            -1.666_805_766_5e-1,
            2.000_071_476_5e-1,
            -2.499_999_399_3e-1,
            3.333_333_117_4e-1,
        ],
    );
    // ln 2 in two parts: the product of e with the large one is exact.
    const LN_2_HIGH: f32 = 0.693_359_375;
    const LN_2_LOW: f32 = -2.121_944_40e-4;
    let f2 = f * f;
    let tail = (p * f).mul_add(f2, e * LN_2_LOW) - 0.5 * f2;
    f + tail + e * LN_2_HIGH
}

/// Sine and cosine of an angle in `[0, 2 pi]`.
#[expect(
    clippy::excessive_precision,
    reason = "constants as Cephes prints them"
)]
pub(super) fn sin_cos(theta: f32) -> (f32, f32) {
    // theta = quarters * pi/2 + r with r in [-pi/4, pi/4]
    let eighths = (theta * (2.0 * FRAC_2_PI)) as u32;
    let quarters = eighths.div_ceil(2);
    // pi/4 in three parts, each product but the last exact, so that r keeps its digits.
    let j = (2 * quarters) as f32;
    let r = j.mul_add(-0.785_156_25, theta);
    let r = j.mul_add(-2.418_756_484_985_351_562_5e-4, r);
    let r = j.mul_add(-3.774_894_977_445_941_08e-8, r);

    let r2 = r * r;
    let p = polynomial(
        r2,
        [
            2.443_315_711_809_948e-5,
            -1.388_731_625_493_765e-3,
            4.166_664_568_298_827e-2,
        ],
    );
    let cos = (p * r2).mul_add(r2, -0.5 * r2) + 1.0;
    let p = polynomial(
        r2,
        [-1.951_529_589_1e-4, 8.332_160_873_6e-3, -1.666_665_461_1e-1],
    );
    let sin = (p * r2).mul_add(r, r);
    match quarters % 4 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// A polynomial by Horner's rule, the coefficient of the highest power first.
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    // From zero the first step is exact: it yields the first coefficient.
    coefficients
        .into_iter()
        .fold(0.0, |sum: f32, c| sum.mul_add(x, c))
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    #[test]
    fn ln_and_sin_cos_over_the_range_that_box_muller_uses() {
        for i in 0..1 << 14 {
            let u = (i << 10) as f32 / (1 << 24) as f32;
            let (x, theta) = (1.0 - u, TAU * u);
            let exact = f64::from(x).ln();
            assert!(
                (f64::from(ln(x)) - exact).abs() <= 1e-7 * exact.abs(),
                "ln {x}"
            );
            let (sin, cos) = sin_cos(theta);
            let (exact_sin, exact_cos) = f64::from(theta).sin_cos();
            assert!((f64::from(sin) - exact_sin).abs() < 1e-7, "sin {theta}");
            assert!((f64::from(cos) - exact_cos).abs() < 1e-7, "cos {theta}");
        }
    }
}
