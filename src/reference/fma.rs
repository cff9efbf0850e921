//! `a * b + c`, rounded once or twice.

use num_traits::Float;

/// `a * b + c`: with `FMA` one operation that rounds once, for machines that have an instruction for
/// it (on others it would be a call), and without it two.
#[inline(always)]
pub fn mul_add<R: Float, const FMA: bool>(a: R, b: R, c: R) -> R {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}
