//! `y = x @ W + b` and its three gradients. Twin of `shaders/linear.wgsl`.
//!
//! ```text
//! forward    y  = x @ W + b       (rows, fan_in) @ (fan_in, fan_out)
//! backward   dx = dy @ W.T        (rows, fan_out) @ (fan_out, fan_in)
//!            dW = x.T @ dy        (fan_in, rows) @ (rows, fan_out)
//!            db = dy.sum(0)
//! ```
//! A product's gradients are products again, so one routine does all three: a transpose is only
//! another pair of strides.

use super::real::Real;

/// Columns of a register tile: two vectors of AVX-512, four of AVX2.
const TILE_COLS: usize = 32;
/// Rows of a register tile: one variable of sums each in [`tile`].
const TILE_ROWS: usize = 4;

/// A matrix in memory: element `(i, j)` is `data[i * row + j * col]`.
#[derive(Clone, Copy)]
struct Strided<'a, R> {
    data: &'a [R],
    row: usize,
    col: usize,
}

impl<'a, R: Copy> Strided<'a, R> {
    #[inline(always)]
    fn new(data: &'a [R], cols: usize) -> Self {
        Self {
            data,
            row: cols,
            col: 1,
        }
    }

    #[inline(always)]
    fn transposed(data: &'a [R], cols: usize) -> Self {
        Self {
            data,
            row: 1,
            col: cols,
        }
    }

    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> R {
        self.data[i * self.row + j * self.col]
    }
}

/// `y = x @ w + b`. `x (rows, fan_in)`, `w (fan_in, fan_out)`, `b (fan_out)`, `y (rows, fan_out)`.
#[inline(always)]
pub fn forward<R: Real>(x: &[R], w: &[R], b: &[R], y: &mut [R], panels: &mut Panels<R>) {
    let fan_out = b.len();
    let fan_in = w.len() / fan_out;
    product(
        Strided::new(x, fan_in),
        Strided::new(w, fan_out),
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
pub fn backward_input<R: Real>(
    dy: &[R],
    w: &[R],
    fan_out: usize,
    dx: &mut [R],
    panels: &mut Panels<R>,
) {
    let fan_in = w.len() / fan_out;
    product(
        Strided::new(dy, fan_out),
        Strided::transposed(w, fan_out),
        fan_out,
        fan_in,
        dx,
        panels,
    );
}

/// `dw = x.T @ dy`, `db = dy.sum(0)`. `x (rows, fan_in)`, `dy (rows, fan_out)`.
#[inline(always)]
pub fn backward_weight<R: Real>(
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
        Strided::transposed(x, fan_in),
        Strided::new(dy, fan_out),
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
    /// [`TILE_ROWS`] rows of the left operand, column by column.
    left: Vec<R>,
    /// The right operand, [`TILE_COLS`] columns at a time.
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
fn product<R: Real>(
    a: Strided<'_, R>,
    b: Strided<'_, R>,
    inner: usize,
    cols: usize,
    out: &mut [R],
    panels: &mut Panels<R>,
) {
    let rows = out.len() / cols;
    let Panels { left, right } = panels;
    right.clear();
    right.resize(inner * cols.next_multiple_of(TILE_COLS), R::zero());
    for (panel, first_col) in right
        .chunks_exact_mut(inner * TILE_COLS)
        .zip((0..cols).step_by(TILE_COLS))
    {
        let width = TILE_COLS.min(cols - first_col);
        for (k, line) in panel.chunks_exact_mut(TILE_COLS).enumerate() {
            for (j, value) in line[..width].iter_mut().enumerate() {
                *value = b.at(k, first_col + j);
            }
        }
    }
    left.clear();
    left.resize(inner * TILE_ROWS, R::zero());
    for first_row in (0..rows).step_by(TILE_ROWS) {
        let height = TILE_ROWS.min(rows - first_row);
        for (k, column) in left.chunks_exact_mut(TILE_ROWS).enumerate() {
            for (i, value) in column[..height].iter_mut().enumerate() {
                *value = a.at(first_row + i, k);
            }
        }
        for (panel, first_col) in right
            .chunks_exact(inner * TILE_COLS)
            .zip((0..cols).step_by(TILE_COLS))
        {
            let width = TILE_COLS.min(cols - first_col);
            let sums = tile(left, panel);
            for (i, sums) in sums[..height].iter().enumerate() {
                let start = (first_row + i) * cols + first_col;
                out[start..start + width].copy_from_slice(&sums[..width]);
            }
        }
    }
}

/// One tile of the product: the sums over `k` of `left[k, i] * right[k, j]`.
///
/// Each row of sums is a variable of its own: of an array of rows, the compiler makes single
/// additions (measured: 4 GFLOP/s instead of 94 on a core with AVX-512).
#[inline(always)]
fn tile<R: Real>(left: &[R], right: &[R]) -> [[R; TILE_COLS]; TILE_ROWS] {
    let [mut s0, mut s1, mut s2, mut s3] = [[R::zero(); TILE_COLS]; TILE_ROWS];
    let (columns, _) = left.as_chunks::<TILE_ROWS>();
    let (lines, _) = right.as_chunks::<TILE_COLS>();
    for (column, line) in columns.iter().zip(lines) {
        s0 = add_scaled(s0, column[0], line);
        s1 = add_scaled(s1, column[1], line);
        s2 = add_scaled(s2, column[2], line);
        s3 = add_scaled(s3, column[3], line);
    }
    [s0, s1, s2, s3]
}

/// `sums + factor * line`
#[inline(always)]
fn add_scaled<R: Real>(
    mut sums: [R; TILE_COLS],
    factor: R,
    line: &[R; TILE_COLS],
) -> [R; TILE_COLS] {
    for j in 0..TILE_COLS {
        sums[j] += factor * line[j];
    }
    sums
}
