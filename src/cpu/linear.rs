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
/// Rows of a register tile.
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
pub fn forward<R: Real>(x: &[R], w: &[R], b: &[R], y: &mut [R], panel: &mut Vec<R>) {
    let fan_out = b.len();
    let fan_in = w.len() / fan_out;
    product(
        Strided::new(x, fan_in),
        Strided::new(w, fan_out),
        fan_in,
        fan_out,
        y,
        panel,
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
    panel: &mut Vec<R>,
) {
    let fan_in = w.len() / fan_out;
    product(
        Strided::new(dy, fan_out),
        Strided::transposed(w, fan_out),
        fan_out,
        fan_in,
        dx,
        panel,
    );
}

/// `dw = x.T @ dy`, `db = dy.sum(0)`. `x (rows, fan_in)`, `dy (rows, fan_out)`.
#[inline(always)]
pub fn backward_weight<R: Real>(x: &[R], dy: &[R], dw: &mut [R], db: &mut [R], panel: &mut Vec<R>) {
    let fan_out = db.len();
    let rows = dy.len() / fan_out;
    let fan_in = x.len() / rows;
    product(
        Strided::transposed(x, fan_in),
        Strided::new(dy, fan_out),
        rows,
        fan_out,
        dw,
        panel,
    );
    db.fill(R::zero());
    for row in dy.chunks_exact(fan_out) {
        for (db, &dy) in db.iter_mut().zip(row) {
            *db += dy;
        }
    }
}

/// `out = a @ b` for `a (m, inner)`, `b (inner, cols)`, `out (m, cols)` row-major.
///
/// Goes over panels of [`TILE_COLS`] columns of `b`, copied together and padded with zeros into
/// `panel`, so that the innermost loop always runs over one fixed-size array: that is what lets the
/// compiler keep a tile of sums in vector registers.
#[inline(always)]
fn product<R: Real>(
    a: Strided<'_, R>,
    b: Strided<'_, R>,
    inner: usize,
    cols: usize,
    out: &mut [R],
    panel: &mut Vec<R>,
) {
    let rows = out.len() / cols;
    panel.clear();
    panel.resize(inner * TILE_COLS, R::zero());
    for first_col in (0..cols).step_by(TILE_COLS) {
        let width = TILE_COLS.min(cols - first_col);
        for (k, line) in panel.chunks_exact_mut(TILE_COLS).enumerate() {
            for (j, value) in line.iter_mut().enumerate().take(width) {
                *value = b.at(k, first_col + j);
            }
            line[width..].fill(R::zero());
        }
        let mut row = 0;
        while row + TILE_ROWS <= rows {
            tile::<R, TILE_ROWS>(a, row, panel, first_col, width, cols, out);
            row += TILE_ROWS;
        }
        while row < rows {
            tile::<R, 1>(a, row, panel, first_col, width, cols, out);
            row += 1;
        }
    }
}

/// One register tile: `ROWS` rows by [`TILE_COLS`] columns of the product.
#[inline(always)]
fn tile<R: Real, const ROWS: usize>(
    a: Strided<'_, R>,
    first_row: usize,
    panel: &[R],
    first_col: usize,
    width: usize,
    cols: usize,
    out: &mut [R],
) {
    let mut sums = [[R::zero(); TILE_COLS]; ROWS];
    let (lines, _) = panel.as_chunks::<TILE_COLS>();
    for (k, line) in lines.iter().enumerate() {
        for (i, sums) in sums.iter_mut().enumerate() {
            let a = a.at(first_row + i, k);
            for (sum, &b) in sums.iter_mut().zip(line) {
                *sum += a * b;
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let start = (first_row + i) * cols + first_col;
        out[start..start + width].copy_from_slice(&sums[..width]);
    }
}
