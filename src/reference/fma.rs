//! `a * b + c`, rounded once or twice.

use num_traits::Float;

/// `a * b + c`: with `FMA` one operation that rounds once, which is an instruction where the machine has it
/// and a slow call elsewhere; without `FMA` two operations.
#[inline(always)]
pub fn mul_add<R: Float, const FMA: bool>(a: R, b: R, c: R) -> R {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}
