//! Lines of values, which vector units work on, and the few operations across their lanes.

use std::ops::{Deref, DerefMut};

use crate::reference::real::Real;

/// Values that elementwise loops take at a time: the widest vector. A loop over an array of this length,
/// copied out of memory and back as a whole, becomes vector instructions. Loops over longer arrays or over
/// references sometimes become gathers.
pub const LANES: usize = 16;
/// Values of a line: two of the widest vectors, and the columns of the widest tile.
pub const LINE: usize = 2 * LANES;

/// A row of values, aligned so that no vector access crosses a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Line<R>(pub [R; LINE]);

impl<R: Real> Line<R> {
    pub fn zero() -> Self {
        Self([R::zero(); LINE])
    }

    /// Half number `half` of the line.
    #[inline(always)]
    pub fn half(&self, half: usize) -> &[R; LANES] {
        self.part(half)
    }

    /// Half number `half` of the line, mutable.
    #[inline(always)]
    pub fn half_mut(&mut self, half: usize) -> &mut [R; LANES] {
        self.part_mut(half)
    }

    /// Part number `part` of the line, in parts of `WIDTH` values.
    #[inline(always)]
    pub fn part<const WIDTH: usize>(&self, part: usize) -> &[R; WIDTH] {
        &self.0.as_chunks().0[part]
    }

    /// Part number `part` of the line, in parts of `WIDTH` values, mutable.
    #[inline(always)]
    pub fn part_mut<const WIDTH: usize>(&mut self, part: usize) -> &mut [R; WIDTH] {
        &mut self.0.as_chunks_mut().0[part]
    }
}

impl<R> Deref for Line<R> {
    type Target = [R; LINE];

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<R> DerefMut for Line<R> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// How many lines hold `size` values.
pub fn lines(size: usize) -> usize {
    size.div_ceil(LINE)
}

/// The rows of a tile, from `first` on. Their number is a constant, so that the compiler keeps the tile in
/// registers.
#[inline(always)]
pub fn tile_of<T, const ROWS: usize>(all: &[T], first: usize) -> &[T; ROWS] {
    let rows = all[first..].first_chunk();
    rows.expect("a tile lies within its matrix")
}

/// The rows of a tile, from `first` on, mutable.
#[inline(always)]
pub fn tile_of_mut<T, const ROWS: usize>(all: &mut [T], first: usize) -> &mut [T; ROWS] {
    let rows = all[first..].first_chunk_mut();
    rows.expect("a tile lies within its matrix")
}

/// Each lane of `values` replaced by `f` of its value and number.
#[inline(always)]
pub fn each<R: Copy, const WIDTH: usize>(values: &mut [R; WIDTH], f: impl Fn(R, usize) -> R) {
    let mut copy = *values;
    for (l, value) in copy.iter_mut().enumerate() {
        *value = f(*value, l);
    }
    *values = copy;
}

/// The sums over the lanes of each of `values`. `fourths` takes the sums of four lanes each on the way.
#[inline(always)]
pub fn totals<R: Real>(values: &[[R; LANES]], fourths: &mut [[R; 4]], sums: &mut [R]) {
    let fourths = &mut fourths[..values.len()];
    add_fours(
        values.as_flattened().as_chunks().0,
        fourths.as_flattened_mut(),
    );
    add_fours(fourths, sums);
}

/// Sums of four neighbours each.
#[inline(always)]
fn add_fours<R: Real>(values: &[[R; 4]], sums: &mut [R]) {
    for (sum, v) in sums.iter_mut().zip(values) {
        *sum = (v[0] + v[1]) + (v[2] + v[3]);
    }
}

/// Transposing a square of values.
pub trait Transpose: Sized {
    /// Writes value `l` of row `i` to value `i` of half number `part` of line `l`.
    fn transpose(rows: [&[Self; LANES]; LANES], lines: &mut [Line<Self>; LANES], part: usize);
}

impl Transpose for f64 {
    fn transpose(rows: [&[Self; LANES]; LANES], lines: &mut [Line<Self>; LANES], part: usize) {
        one_by_one(rows, lines, part);
    }
}

impl Transpose for f32 {
    #[inline(always)]
    fn transpose(rows: [&[Self; LANES]; LANES], lines: &mut [Line<Self>; LANES], part: usize) {
        transpose(rows, lines, part);
    }
}

#[inline(always)]
fn one_by_one<R: Copy>(rows: [&[R; LANES]; LANES], lines: &mut [Line<R>; LANES], part: usize) {
    for (i, row) in rows.into_iter().enumerate() {
        for (line, &value) in lines.iter_mut().zip(row) {
            line[part * LANES + i] = value;
        }
    }
}

/// The compiler moves the values of a square one by one, whatever the loops look like. So the shuffles of
/// AVX-512 are written out. (A step of the lecture on a core of a Zen 4: 0.5 of 22 us instead of 1.8.)
#[multiversion::multiversion(targets("x86_64+avx512f"))]
fn transpose(rows: [&[f32; LANES]; LANES], lines: &mut [Line<f32>; LANES], part: usize) {
    multiversion::target::match_target! {
        "x86_64+avx512f" => {
            use std::arch::x86_64::{
                _mm512_castpd_ps as single, _mm512_castps_pd as double,
                _mm512_setzero_ps,
                _mm512_shuffle_f32x4 as fours, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
                _mm512_unpacklo_pd, _mm512_unpacklo_ps,
            };
            const EVEN: i32 = 0x88;
            const ODD: i32 = 0xdd;
            // Loops, because closures would be compiled as functions of their own.
            let mut r = [_mm512_setzero_ps(); LANES];
            for i in 0..LANES {
                r[i] = bytemuck::cast(*rows[i]);
            }
            // In each quarter, interleave the columns of two rows, then of four.
            let mut pairs = [[r[0]; 2]; 8];
            for i in 0..8 {
                let (a, b) = (r[2 * i], r[2 * i + 1]);
                pairs[i] = [_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)];
            }
            // Quarter q of `quads[i][k]` has column 4q + k of the rows from 4i on.
            let mut quads = [[r[0]; 4]; 4];
            for i in 0..4 {
                for k in 0..2 {
                    let (a, b) = (double(pairs[2 * i][k]), double(pairs[2 * i + 1][k]));
                    quads[i][2 * k] = single(_mm512_unpacklo_pd(a, b));
                    quads[i][2 * k + 1] = single(_mm512_unpackhi_pd(a, b));
                }
            }
            for k in 0..4 {
                let (upper, lower) = ((quads[0][k], quads[1][k]), (quads[2][k], quads[3][k]));
                let (a, b) = (fours::<EVEN>(upper.0, upper.1), fours::<EVEN>(lower.0, lower.1));
                let (c, d) = (fours::<ODD>(upper.0, upper.1), fours::<ODD>(lower.0, lower.1));
                *lines[k].half_mut(part) = bytemuck::cast(fours::<EVEN>(a, b));
                *lines[4 + k].half_mut(part) = bytemuck::cast(fours::<EVEN>(c, d));
                *lines[8 + k].half_mut(part) = bytemuck::cast(fours::<ODD>(a, b));
                *lines[12 + k].half_mut(part) = bytemuck::cast(fours::<ODD>(c, d));
            }
        }
        _ => one_by_one(rows, lines, part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_a_square_moves_every_value_and_leaves_the_rest() {
        fn check<R: Real + Transpose>() {
            let rows: [[R; LANES]; LANES] =
                std::array::from_fn(|i| std::array::from_fn(|l| R::of((100 * i + l) as f64)));
            for part in 0..2 {
                let mut lines = [Line([R::of(-1.0); LINE]); LANES];
                R::transpose(rows.each_ref(), &mut lines, part);
                for (l, line) in lines.iter().enumerate() {
                    for i in 0..LANES {
                        assert_eq!(line[part * LANES + i], rows[i][l]);
                        assert_eq!(line[(1 - part) * LANES + i], R::of(-1.0));
                    }
                }
            }
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn sums_across_lanes_count_each_lane_once() {
        let powers: [f64; LANES] = std::array::from_fn(|l| (1u64 << (2 * l)) as f64);
        let mut sums = [0.0, 0.0, -1.0];
        totals(
            &[powers, powers.map(|power| 3.0 * power)],
            &mut [[0.0; 4]; 3],
            &mut sums,
        );
        let sum = powers.iter().sum::<f64>();
        assert_eq!(sums, [sum, 3.0 * sum, -1.0]);
    }
}
