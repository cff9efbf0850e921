//! `y = x @ W + b` and its three gradients. Twin of `shaders/linear.wgsl`.
//!
//! ```text
//! forward    y  = x @ W + b       (rows, fan_in) @ (fan_in, fan_out)
//! backward   dx = dy @ W.T        (rows, fan_out) @ (fan_out, fan_in)
//!            dW = x.T @ dy        (fan_in, rows) @ (rows, fan_out)
//!            db = dy.sum(0)
//! ```
//! A product's gradients are products again, so one routine does all three: a transpose is only
//! another way to walk through the same memory.

use super::real::{Real, mul_add};

/// How products are cut: into tiles of `ROWS` x `COLS` sums that stay in vector registers, with a
/// multiplication and an addition in one instruction (`FMA`, which also rounds once instead of
/// twice) where the machine has it.
#[derive(Clone, Copy, Debug)]
pub struct Tile<const FMA: bool, const ROWS: usize, const COLS: usize>;

/// For any machine: 8 registers of four values hold the sums.
pub const PLAIN: Tile<false, 4, 8> = Tile;
/// For AVX2, and for NEON: 8 or 16 registers.
pub const FUSED_4X16: Tile<true, 4, 16> = Tile;
/// For AVX-512: 16 registers of 32. (On one core, at the lecture's sizes: 150 GFLOP/s; 128 with 4
/// rows; 94 for 4 x 16 in AVX2, 83 for 8 x 8.)
pub const FUSED_8X32: Tile<true, 8, 32> = Tile;

/// One side of a product: the sums run along `inner`, and each lane is a row of the result (left
/// side) or a column of it (right side). Element `k` of a lane is `data[lane * lanes + k * inner]`.
#[derive(Clone, Copy)]
struct Operand<'a, R> {
    data: &'a [R],
    lanes: usize,
    inner: usize,
}

impl<'a, R: Copy> Operand<'a, R> {
    /// A matrix of `cols` columns whose rows are the lanes.
    #[inline(always)]
    fn by_rows(data: &'a [R], cols: usize) -> Self {
        Self {
            data,
            lanes: cols,
            inner: 1,
        }
    }

    /// A matrix of `cols` columns whose columns are the lanes.
    #[inline(always)]
    fn by_cols(data: &'a [R], cols: usize) -> Self {
        Self {
            data,
            lanes: 1,
            inner: cols,
        }
    }

    /// Copies `count` lanes from `first` on into `panel`, `WIDTH` values for each step along the
    /// sum. Lanes that a panel has beyond `count` keep what they had.
    #[inline(always)]
    fn pack<const WIDTH: usize>(self, first: usize, count: usize, panel: &mut [R]) {
        let (lines, _) = panel.as_chunks_mut::<WIDTH>();
        if self.lanes == 1 {
            // Neighbouring lanes are neighbours in memory: whole lines are copied.
            for (k, line) in lines.iter_mut().enumerate() {
                let start = k * self.inner + first;
                line[..count].copy_from_slice(&self.data[start..start + count]);
            }
        } else {
            // Each lane is contiguous: read it once, and write it across the lines.
            for i in 0..count {
                let lane = &self.data[(first + i) * self.lanes..][..lines.len()];
                for (line, &value) in lines.iter_mut().zip(lane) {
                    line[i] = value;
                }
            }
        }
    }
}

/// `y = x @ w + b`. `x (rows, fan_in)`, `w (fan_in, fan_out)`, `b (fan_out)`, `y (rows, fan_out)`.
#[inline(always)]
pub fn forward<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    tile: Tile<FMA, ROWS, COLS>,
    x: &[R],
    w: &[R],
    b: &[R],
    y: &mut [R],
    panels: &mut Panels<R>,
) {
    let fan_out = b.len();
    let fan_in = w.len() / fan_out;
    product(
        tile,
        Operand::by_rows(x, fan_in),
        Operand::by_cols(w, fan_out),
        fan_in,
        fan_out,
        y,
        panels,
    );
    for row in y.chunks_exact_mut(fan_out) {
        for (y, &b) in row.iter_mut().zip(b) {
            *y += b;
        }
    }
}

/// `dx = dy @ w.T`. `dy (rows, fan_out)`, `w (fan_in, fan_out)`, `dx (rows, fan_in)`.
#[inline(always)]
pub fn backward_input<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    tile: Tile<FMA, ROWS, COLS>,
    dy: &[R],
    w: &[R],
    fan_out: usize,
    dx: &mut [R],
    panels: &mut Panels<R>,
) {
    let fan_in = w.len() / fan_out;
    product(
        tile,
        Operand::by_rows(dy, fan_out),
        Operand::by_rows(w, fan_out),
        fan_out,
        fan_in,
        dx,
        panels,
    );
}

/// `dw = x.T @ dy`, `db = dy.sum(0)`. `x (rows, fan_in)`, `dy (rows, fan_out)`.
#[inline(always)]
pub fn backward_weight<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    tile: Tile<FMA, ROWS, COLS>,
    x: &[R],
    dy: &[R],
    dw: &mut [R],
    db: &mut [R],
    panels: &mut Panels<R>,
) {
    let fan_out = db.len();
    let rows = dy.len() / fan_out;
    let fan_in = x.len() / rows;
    product(
        tile,
        Operand::by_cols(x, fan_in),
        Operand::by_cols(dy, fan_out),
        rows,
        fan_out,
        dw,
        panels,
    );
    db.fill(R::zero());
    for row in dy.chunks_exact(fan_out) {
        for (db, &dy) in db.iter_mut().zip(row) {
            *db += dy;
        }
    }
}

/// Copies of the operands of a product in the order in which its tiles read them.
#[derive(Clone, Debug)]
pub struct Panels<R> {
    /// A tile's rows of the left operand, column by column.
    left: Vec<R>,
    /// The right operand, a tile's columns at a time.
    right: Vec<R>,
}

impl<R> Panels<R> {
    /// Empty ones; they grow to what the products need and stay.
    pub fn new() -> Self {
        Self {
            left: Vec::new(),
            right: Vec::new(),
        }
    }
}

impl<R> Default for Panels<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// `out = a @ b` for `a (rows, inner)`, `b (inner, cols)`, `out (rows, cols)` row-major.
///
/// Both operands are first copied into panels, padded with zeros to whole tiles. The innermost loop
/// then runs over arrays of fixed size without a single check, and that is what lets the compiler
/// keep a tile of sums in vector registers.
#[inline(always)]
fn product<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize>(
    _: Tile<FMA, ROWS, COLS>,
    a: Operand<'_, R>,
    b: Operand<'_, R>,
    inner: usize,
    cols: usize,
    out: &mut [R],
    panels: &mut Panels<R>,
) {
    let rows = out.len() / cols;
    let Panels { left, right } = panels;
    right.clear();
    right.resize(inner * cols.next_multiple_of(COLS), R::zero());
    for (panel, first_col) in right
        .chunks_exact_mut(inner * COLS)
        .zip((0..cols).step_by(COLS))
    {
        let width = COLS.min(cols - first_col);
        b.pack::<COLS>(first_col, width, panel);
    }
    left.clear();
    left.resize(inner * ROWS, R::zero());
    for first_row in (0..rows).step_by(ROWS) {
        let height = ROWS.min(rows - first_row);
        let mut store = |first_col: usize, i: usize, sums: [R; COLS]| {
            if i < height {
                let width = COLS.min(cols - first_col);
                let start = (first_row + i) * cols + first_col;
                out[start..start + width].copy_from_slice(&sums[..width]);
            }
        };
        let panels = right
            .chunks_exact(inner * COLS)
            .zip((0..cols).step_by(COLS));
        if height == ROWS && a.inner == 1 {
            // Rows that are contiguous are read where they lie.
            let lanes: [&[R]; ROWS] =
                std::array::from_fn(|i| &a.data[(first_row + i) * a.lanes..][..inner]);
            for (panel, first_col) in panels {
                let (lines, _) = panel.as_chunks::<COLS>();
                tile::<R, FMA, ROWS, COLS, _>(
                    std::iter::once(()),
                    |()| inner,
                    |(), k, i| lanes[i][k],
                    |(), k| &lines[k],
                    |i, sums| store(first_col, i, sums),
                );
            }
        } else {
            a.pack::<ROWS>(first_row, height, left);
            let (columns, _) = left.as_chunks::<ROWS>();
            for (panel, first_col) in panels {
                let (lines, _) = panel.as_chunks::<COLS>();
                tile::<R, FMA, ROWS, COLS, _>(
                    std::iter::once(()),
                    |()| inner,
                    |(), k, i| columns[k][i],
                    |(), k| &lines[k],
                    |i, sums| store(first_col, i, sums),
                );
            }
        }
    }
}

/// One tile of a product: the sums, over all parts and over `k < inner(part)`, of
/// `left(part, k, i) * right(part, k)[j]`. Row `i` of them goes to `store`.
///
/// Each row of sums is a variable of its own: of an array of rows, the compiler makes single
/// additions (measured: 4 GFLOP/s instead of 94 on a core with AVX-512).
#[inline(always)]
pub(super) fn tile<'a, R: Real, const FMA: bool, const ROWS: usize, const COLS: usize, P: Copy>(
    parts: impl Iterator<Item = P>,
    inner: impl Fn(P) -> usize,
    left: impl Fn(P, usize, usize) -> R,
    right: impl Fn(P, usize) -> &'a [R; COLS],
    mut store: impl FnMut(usize, [R; COLS]),
) {
    const { assert!(ROWS == 4 || ROWS == 8) };
    let zero = [R::zero(); COLS];
    let (mut s0, mut s1, mut s2, mut s3) = (zero, zero, zero, zero);
    let (mut s4, mut s5, mut s6, mut s7) = (zero, zero, zero, zero);
    for p in parts {
        for k in 0..inner(p) {
            let line = right(p, k);
            s0 = add_scaled::<R, FMA, COLS>(s0, left(p, k, 0), line);
            s1 = add_scaled::<R, FMA, COLS>(s1, left(p, k, 1), line);
            s2 = add_scaled::<R, FMA, COLS>(s2, left(p, k, 2), line);
            s3 = add_scaled::<R, FMA, COLS>(s3, left(p, k, 3), line);
            if ROWS == 8 {
                s4 = add_scaled::<R, FMA, COLS>(s4, left(p, k, 4), line);
                s5 = add_scaled::<R, FMA, COLS>(s5, left(p, k, 5), line);
                s6 = add_scaled::<R, FMA, COLS>(s6, left(p, k, 6), line);
                s7 = add_scaled::<R, FMA, COLS>(s7, left(p, k, 7), line);
            }
        }
    }
    store(0, s0);
    store(1, s1);
    store(2, s2);
    store(3, s3);
    if ROWS == 8 {
        store(4, s4);
        store(5, s5);
        store(6, s6);
        store(7, s7);
    }
}

/// `sums + factor * line`
#[inline(always)]
fn add_scaled<R: Real, const FMA: bool, const COLS: usize>(
    mut sums: [R; COLS],
    factor: R,
    line: &[R; COLS],
) -> [R; COLS] {
    for j in 0..COLS {
        sums[j] = mul_add::<R, FMA>(factor, line[j], sums[j]);
    }
    sums
}
