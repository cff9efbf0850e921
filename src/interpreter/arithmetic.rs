//! What operators do to words: IEEE arithmetic in `f32`, integers that wrap around. A division of integers by
//! zero gives the dividend and its remainder zero, as WGSL has it.

use naga::ir::{AtomicFunction, BinaryOperator, ScalarKind, UnaryOperator};

pub(super) type Unary = fn(u32) -> u32;
pub(super) type Binary = fn(u32, u32) -> u32;

pub(super) fn f(bits: u32) -> f32 {
    f32::from_bits(bits)
}

pub(super) fn unary(op: UnaryOperator, kind: ScalarKind) -> Option<Unary> {
    use ScalarKind as K;
    use UnaryOperator as O;
    Some(match (op, kind) {
        (O::Negate, K::Float) => |a| (-f(a)).to_bits(),
        (O::Negate, K::Sint) => |a| a.wrapping_neg(),
        (O::LogicalNot, K::Bool) => |a| u32::from(a == 0),
        (O::BitwiseNot, K::Sint | K::Uint) => |a| !a,
        _ => return None,
    })
}

pub(super) fn binary(op: BinaryOperator, kind: ScalarKind) -> Option<Binary> {
    use BinaryOperator as O;
    use ScalarKind as K;
    Some(match (kind, op) {
        (K::Float, O::Add) => |a, b| (f(a) + f(b)).to_bits(),
        (K::Float, O::Subtract) => |a, b| (f(a) - f(b)).to_bits(),
        (K::Float, O::Multiply) => |a, b| (f(a) * f(b)).to_bits(),
        (K::Float, O::Divide) => |a, b| (f(a) / f(b)).to_bits(),
        (K::Float, O::Modulo) => |a, b| (f(a) % f(b)).to_bits(),
        (K::Float, O::Equal) => |a, b| u32::from(f(a) == f(b)),
        (K::Float, O::NotEqual) => |a, b| u32::from(f(a) != f(b)),
        (K::Float, O::Less) => |a, b| u32::from(f(a) < f(b)),
        (K::Float, O::LessEqual) => |a, b| u32::from(f(a) <= f(b)),
        (K::Float, O::Greater) => |a, b| u32::from(f(a) > f(b)),
        (K::Float, O::GreaterEqual) => |a, b| u32::from(f(a) >= f(b)),
        (K::Uint, O::Divide) => |a, b| a.checked_div(b).unwrap_or(a),
        (K::Uint, O::Modulo) => |a, b| a.checked_rem(b).unwrap_or(0),
        (K::Uint, O::Less) => |a, b| u32::from(a < b),
        (K::Uint, O::LessEqual) => |a, b| u32::from(a <= b),
        (K::Uint, O::Greater) => |a, b| u32::from(a > b),
        (K::Uint, O::GreaterEqual) => |a, b| u32::from(a >= b),
        (K::Uint, O::ShiftRight) => |a, b| a.wrapping_shr(b),
        // The smallest number divided by -1 overflows: it stays as it is, and the remainder is zero.
        (K::Sint, O::Divide) => |a, b| (a as i32).checked_div(b as i32).map_or(a, |q| q as u32),
        (K::Sint, O::Modulo) => |a, b| (a as i32).checked_rem(b as i32).map_or(0, |r| r as u32),
        (K::Sint, O::Less) => |a, b| u32::from((a as i32) < b as i32),
        (K::Sint, O::LessEqual) => |a, b| u32::from(a as i32 <= b as i32),
        (K::Sint, O::Greater) => |a, b| u32::from(a as i32 > b as i32),
        (K::Sint, O::GreaterEqual) => |a, b| u32::from(a as i32 >= b as i32),
        (K::Sint, O::ShiftRight) => |a, b| (a as i32).wrapping_shr(b) as u32,
        (K::Sint | K::Uint, O::Add) => u32::wrapping_add,
        (K::Sint | K::Uint, O::Subtract) => u32::wrapping_sub,
        (K::Sint | K::Uint, O::Multiply) => u32::wrapping_mul,
        (K::Sint | K::Uint, O::ShiftLeft) => u32::wrapping_shl,
        (K::Sint | K::Uint, O::ExclusiveOr) => |a, b| a ^ b,
        (K::Sint | K::Uint | K::Bool, O::And) | (K::Bool, O::LogicalAnd) => |a, b| a & b,
        (K::Sint | K::Uint | K::Bool, O::InclusiveOr) | (K::Bool, O::LogicalOr) => |a, b| a | b,
        (K::Sint | K::Uint | K::Bool, O::Equal) => |a, b| u32::from(a == b),
        (K::Sint | K::Uint | K::Bool, O::NotEqual) => |a, b| u32::from(a != b),
        _ => return None,
    })
}

/// The value of one kind as one of another kind.
pub(super) fn converted(from: ScalarKind, to: ScalarKind) -> Option<Unary> {
    use ScalarKind as K;
    Some(match (from, to) {
        (K::Uint | K::Bool, K::Float) => |a| (a as f32).to_bits(),
        (K::Sint, K::Float) => |a| (a as i32 as f32).to_bits(),
        // What does not fit becomes the nearest that does.
        (K::Float, K::Uint) => |a| f(a) as u32,
        (K::Float, K::Sint) => |a| f(a) as i32 as u32,
        (K::Float, K::Bool) => |a| u32::from(f(a) != 0.0),
        (K::Uint | K::Sint, K::Bool) => |a| u32::from(a != 0),
        (K::Float, K::Float)
        | (K::Bool, K::Bool)
        | (K::Bool | K::Uint | K::Sint, K::Uint | K::Sint) => |a| a,
        _ => return None,
    })
}

/// The new value of an atomic variable.
pub(super) fn atomic(function: AtomicFunction, kind: ScalarKind) -> Option<Binary> {
    use AtomicFunction as A;
    use ScalarKind as K;
    Some(match (function, kind) {
        (A::Add, K::Sint | K::Uint) => u32::wrapping_add,
        (A::Subtract, K::Sint | K::Uint) => u32::wrapping_sub,
        (A::And, K::Sint | K::Uint) => |a, b| a & b,
        (A::InclusiveOr, K::Sint | K::Uint) => |a, b| a | b,
        (A::ExclusiveOr, K::Sint | K::Uint) => |a, b| a ^ b,
        (A::Min, K::Uint) => |a, b| a.min(b),
        (A::Max, K::Uint) => |a, b| a.max(b),
        (A::Min, K::Sint) => |a, b| (a as i32).min(b as i32) as u32,
        (A::Max, K::Sint) => |a, b| (a as i32).max(b as i32) as u32,
        (A::Exchange { .. }, K::Sint | K::Uint) => |_, b| b,
        _ => return None,
    })
}

/// A side of a product: a scalar, a vector or a matrix.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Scalar,
    Vector,
    /// Columns and rows.
    Matrix(usize, usize),
}

/// A product of which at least one side is a matrix.
pub(super) fn product((a, left): (&[u32], Side), (b, right): (&[u32], Side), to: &mut [u32]) {
    use super::layout::column;
    match (left, right) {
        (Side::Scalar, _) => scaled(b, right, f(a[0]), to),
        (_, Side::Scalar) => scaled(a, left, f(b[0]), to),
        (Side::Matrix(columns, rows), Side::Vector) => {
            for (r, to) in to.iter_mut().enumerate().take(rows) {
                let term = |c: usize| f(a[c * column(rows) + r]) * f(b[c]);
                *to = sum((0..columns).map(term)).to_bits();
            }
        }
        (Side::Vector, Side::Matrix(columns, rows)) => {
            for (c, to) in to.iter_mut().enumerate().take(columns) {
                let term = |r: usize| f(a[r]) * f(b[c * column(rows) + r]);
                *to = sum((0..rows).map(term)).to_bits();
            }
        }
        (Side::Matrix(inner, rows), Side::Matrix(columns, _)) => {
            for c in 0..columns {
                for r in 0..rows {
                    let term = |i: usize| f(a[i * column(rows) + r]) * f(b[c * column(inner) + i]);
                    to[c * column(rows) + r] = sum((0..inner).map(term)).to_bits();
                }
            }
        }
        (Side::Vector, Side::Vector) => {}
    }
}

/// The components of a matrix, without its pads, times a number.
fn scaled(from: &[u32], side: Side, factor: f32, to: &mut [u32]) {
    if let Side::Matrix(columns, rows) = side {
        let stride = super::layout::column(rows);
        for c in 0..columns {
            for i in c * stride..c * stride + rows {
                to[i] = (f(from[i]) * factor).to_bits();
            }
        }
    }
}

/// From the first to the last.
pub(super) fn sum(terms: impl Iterator<Item = f32>) -> f32 {
    terms.reduce(|sum, term| sum + term).unwrap_or(0.0)
}
