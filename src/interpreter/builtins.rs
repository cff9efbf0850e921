//! The functions that WGSL brings along.

use naga::ir::{MathFunction, ScalarKind};

use super::arithmetic::{Unary, f, sum};
use super::layout::column;

/// A function of words.
#[derive(Clone, Copy)]
pub(super) enum Math {
    /// Component by component.
    One(Unary),
    Two(fn(u32, u32) -> u32),
    Three(fn(u32, u32, u32) -> u32),
    Four(fn(u32, u32, u32, u32) -> u32),
    /// Of the vectors as a whole.
    Whole(fn(&[&[u32]], &mut [u32])),
    /// Of a matrix with this many columns and rows.
    Matrix(fn((usize, usize), &[u32], &mut [u32])),
    /// Two results for each component, which are the members of a struct.
    Pair(fn(u32) -> (u32, u32)),
}

macro_rules! floats {
    ($($x:ident),+ => $value:expr) => { |$($x),+| { $(let $x = f($x);)+ f32::to_bits($value) } };
}
macro_rules! ints {
    ($($x:ident),+ => $value:expr) => { |$($x),+| { $(let $x = $x as i32;)+ ($value) as u32 } };
}

pub(super) fn math(function: MathFunction, kind: ScalarKind) -> Option<Math> {
    match kind {
        ScalarKind::Float => of_floats(function),
        ScalarKind::Sint => of_ints(function).or_else(|| of_bits(function)),
        ScalarKind::Uint => of_uints(function).or_else(|| of_bits(function)),
        _ => None,
    }
}

fn of_floats(function: MathFunction) -> Option<Math> {
    use Math::{Matrix, One, Pair, Three, Two, Whole};
    use MathFunction as M;
    Some(match function {
        M::Abs => One(floats!(x => x.abs())),
        M::Min => Two(floats!(a, b => a.min(b))),
        M::Max => Two(floats!(a, b => a.max(b))),
        M::Clamp => Three(floats!(x, low, high => x.max(low).min(high))),
        M::Saturate => One(floats!(x => x.clamp(0.0, 1.0))),
        M::Cos => One(floats!(x => x.cos())),
        M::Cosh => One(floats!(x => x.cosh())),
        M::Sin => One(floats!(x => x.sin())),
        M::Sinh => One(floats!(x => x.sinh())),
        M::Tan => One(floats!(x => x.tan())),
        M::Tanh => One(floats!(x => x.tanh())),
        M::Acos => One(floats!(x => x.acos())),
        M::Asin => One(floats!(x => x.asin())),
        M::Atan => One(floats!(x => x.atan())),
        M::Atan2 => Two(floats!(y, x => y.atan2(x))),
        M::Asinh => One(floats!(x => x.asinh())),
        M::Acosh => One(floats!(x => x.acosh())),
        M::Atanh => One(floats!(x => x.atanh())),
        M::Radians => One(floats!(x => x.to_radians())),
        M::Degrees => One(floats!(x => x.to_degrees())),
        M::Ceil => One(floats!(x => x.ceil())),
        M::Floor => One(floats!(x => x.floor())),
        M::Round => One(floats!(x => x.round_ties_even())),
        M::Fract => One(floats!(x => x - x.floor())),
        M::Trunc => One(floats!(x => x.trunc())),
        M::Modf => Pair(|x| ((f(x) - f(x).trunc()).to_bits(), f(x).trunc().to_bits())),
        M::Frexp => Pair(frexp),
        M::Ldexp => Two(|x, e| {
            let scale = 2_f64.powi((e as i32).clamp(-400, 400));
            ((f64::from(f(x)) * scale) as f32).to_bits()
        }),
        M::Exp => One(floats!(x => x.exp())),
        M::Exp2 => One(floats!(x => x.exp2())),
        M::Log => One(floats!(x => x.ln())),
        M::Log2 => One(floats!(x => x.log2())),
        M::Pow => Two(floats!(x, y => x.powf(y))),
        M::Dot => Whole(|args, to| to[0] = dot(args[0], args[1]).to_bits()),
        M::Cross => Whole(|args, to| {
            let [a, b] = [args[0], args[1]];
            for (i, to) in to.iter_mut().enumerate() {
                let (j, k) = ((i + 1) % 3, (i + 2) % 3);
                *to = (f(a[j]) * f(b[k]) - f(a[k]) * f(b[j])).to_bits();
            }
        }),
        M::Distance => Whole(|args, to| {
            let difference = args[0].iter().zip(args[1]).map(|(&a, &b)| f(a) - f(b));
            to[0] = sum(difference.map(|d| d * d)).sqrt().to_bits();
        }),
        M::Length => Whole(|args, to| {
            to[0] = match args[0] {
                &[x] => f(x).abs().to_bits(),
                x => dot(x, x).sqrt().to_bits(),
            }
        }),
        M::Normalize => Whole(|args, to| {
            let length = dot(args[0], args[0]).sqrt();
            for (to, &x) in to.iter_mut().zip(args[0]) {
                *to = (f(x) / length).to_bits();
            }
        }),
        M::FaceForward => Whole(|args, to| {
            let sign = if dot(args[1], args[2]) < 0.0 {
                1.0
            } else {
                -1.0
            };
            for (to, &x) in to.iter_mut().zip(args[0]) {
                *to = (sign * f(x)).to_bits();
            }
        }),
        M::Reflect => Whole(|args, to| {
            let twice = 2.0 * dot(args[1], args[0]);
            for (to, (&x, &normal)) in to.iter_mut().zip(args[0].iter().zip(args[1])) {
                *to = (f(x) - twice * f(normal)).to_bits();
            }
        }),
        M::Refract => Whole(|args, to| {
            let (along, ratio) = (dot(args[1], args[0]), f(args[2][0]));
            let k = 1.0 - ratio * ratio * (1.0 - along * along);
            for (to, (&x, &normal)) in to.iter_mut().zip(args[0].iter().zip(args[1])) {
                *to = match k < 0.0 {
                    true => 0,
                    false => (ratio * f(x) - (ratio * along + k.sqrt()) * f(normal)).to_bits(),
                };
            }
        }),
        M::Sign => One(floats!(x => if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x })),
        M::Fma => Three(floats!(a, b, c => a.mul_add(b, c))),
        M::Mix => Three(floats!(a, b, t => a * (1.0 - t) + b * t)),
        M::Step => Two(floats!(edge, x => if edge <= x { 1.0 } else { 0.0 })),
        M::SmoothStep => Three(floats!(low, high, x => {
            let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
            t * t * (3.0 - 2.0 * t)
        })),
        M::Sqrt => One(floats!(x => x.sqrt())),
        M::InverseSqrt => One(floats!(x => 1.0 / x.sqrt())),
        M::Transpose => Matrix(|(columns, rows), from, to| {
            for c in 0..columns {
                for r in 0..rows {
                    to[r * column(columns) + c] = from[c * column(rows) + r];
                }
            }
        }),
        M::Determinant => Matrix(|(n, _), from, to| {
            let rows: Vec<Vec<f32>> = (0..n)
                .map(|c| from[c * column(n)..][..n].iter().map(|&x| f(x)).collect())
                .collect();
            to[0] = determinant(&rows).to_bits();
        }),
        _ => return None,
    })
}

fn of_ints(function: MathFunction) -> Option<Math> {
    use Math::{One, Three, Two, Whole};
    use MathFunction as M;
    Some(match function {
        M::Abs => One(ints!(x => x.wrapping_abs())),
        M::Min => Two(ints!(a, b => a.min(b))),
        M::Max => Two(ints!(a, b => a.max(b))),
        M::Clamp => Three(ints!(x, low, high => x.max(low).min(high))),
        M::Sign => One(ints!(x => x.signum())),
        M::Dot => Whole(integer_dot),
        M::ExtractBits => Three(|x, offset, count| {
            let (offset, count) = field(offset, count);
            match count {
                0 => 0,
                _ => ((x << (32 - offset - count)) as i32 >> (32 - count)) as u32,
            }
        }),
        // The highest bit that differs from the sign.
        M::FirstLeadingBit => {
            One(|x| 31_u32.wrapping_sub((x ^ ((x as i32) >> 31) as u32).leading_zeros()))
        }
        _ => return None,
    })
}

fn of_uints(function: MathFunction) -> Option<Math> {
    use Math::{One, Three, Two, Whole};
    use MathFunction as M;
    Some(match function {
        M::Abs => One(|x| x),
        M::Min => Two(u32::min),
        M::Max => Two(u32::max),
        M::Clamp => Three(|x, low, high| x.max(low).min(high)),
        M::Dot => Whole(integer_dot),
        M::ExtractBits => Three(|x, offset, count| {
            let (offset, count) = field(offset, count);
            match count {
                0 => 0,
                _ => (x << (32 - offset - count)) >> (32 - count),
            }
        }),
        M::FirstLeadingBit => One(|x| 31_u32.wrapping_sub(x.leading_zeros())),
        _ => return None,
    })
}

/// The same for both kinds of integers.
fn of_bits(function: MathFunction) -> Option<Math> {
    use Math::{Four, One};
    use MathFunction as M;
    Some(match function {
        M::CountTrailingZeros => One(u32::trailing_zeros),
        M::CountLeadingZeros => One(u32::leading_zeros),
        M::CountOneBits => One(u32::count_ones),
        M::ReverseBits => One(u32::reverse_bits),
        M::FirstTrailingBit => One(|x| if x == 0 { u32::MAX } else { x.trailing_zeros() }),
        M::InsertBits => Four(|x, new, offset, count| {
            let (offset, count) = field(offset, count);
            let bits = match count {
                0 => 0,
                _ => (u32::MAX >> (32 - count)) << offset,
            };
            x & !bits | new.checked_shl(offset).unwrap_or(0) & bits
        }),
        _ => return None,
    })
}

/// Offset and count of bits, held to those there are.
fn field(offset: u32, count: u32) -> (u32, u32) {
    let offset = offset.min(32);
    (offset, count.min(32 - offset))
}

fn dot(a: &[u32], b: &[u32]) -> f32 {
    sum(a.iter().zip(b).map(|(&a, &b)| f(a) * f(b)))
}

fn integer_dot(args: &[&[u32]], to: &mut [u32]) {
    let products = args[0]
        .iter()
        .zip(args[1])
        .map(|(&a, &b)| a.wrapping_mul(b));
    to[0] = products.fold(0, u32::wrapping_add);
}

/// A fraction of at least a half and below one, and a power of two.
fn frexp(bits: u32) -> (u32, u32) {
    let x = f(bits);
    if x == 0.0 || !x.is_finite() {
        return (bits, 0);
    }
    // Numbers with leading zeros are scaled up first.
    let (scaled, shift) = if x.is_normal() {
        (bits, 0)
    } else {
        ((x * 16_777_216.0).to_bits(), 24)
    };
    let exponent = (scaled >> 23 & 0xff) as i32 - 126 - shift;
    (scaled & 0x807f_ffff | 126 << 23, exponent as u32)
}

/// By the first column. A matrix has at most four.
fn determinant(columns: &[Vec<f32>]) -> f32 {
    if let [column] = columns {
        return column[0];
    }
    sum((0..columns.len()).map(|r| {
        let minor: Vec<Vec<f32>> = columns[1..]
            .iter()
            .map(|column| {
                let others = column.iter().enumerate().filter(|(i, _)| *i != r);
                others.map(|(_, &x)| x).collect()
            })
            .collect();
        let sign = if r % 2 == 0 { 1.0 } else { -1.0 };
        sign * columns[0][r] * determinant(&minor)
    }))
}
