//! `y = x @ W + b` and its three gradients. Twin of `shaders/linear.wgsl`.
//!
//! ```text
//! forward    y  = x @ W + b       (rows, fan_in) @ (fan_in, fan_out)
//! backward   dx = dy @ W.T        (rows, fan_out) @ (fan_out, fan_in)
//!            dW = x.T @ dy        (fan_in, rows) @ (rows, fan_out)
//!            db = dy.sum(0)
//! ```
//!
//! The gradients of a product are products again, so one routine computes all three: a transpose is only
//! another order of reading the same memory.

use std::ops::Range;

use super::fma::mul_add;
use super::real::Real;

/// How products are cut: into tiles of `ROWS` x (`PARTS` x `COLS`) sums that stay in vector registers. `FMA`
/// multiplies and adds in one instruction, which rounds once instead of twice.
#[derive(Clone, Copy, Debug)]
pub struct Tile<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>;

/// For any machine: 8 registers of four values hold the sums.
pub const PLAIN: Tile<false, 4, 8, 1> = Tile;
/// For AVX2, and for NEON: 8 or 16 registers.
pub const FUSED_4X16: Tile<true, 4, 16, 1> = Tile;
/// For AVX-512: 16 registers of 32. (On one core, at the lecture's sizes: 150 GFLOP/s; 128 with 4
/// rows; 94 for 4 x 16 in AVX2, 83 for 8 x 8.)
pub const FUSED_8X32: Tile<true, 8, 16, 2> = Tile;

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

    /// Copies `count` lanes from `first` on into `panel`, `WIDTH` values for each step along the sum. Lanes
    /// of the panel beyond `count` are left unchanged.
    #[inline(always)]
    fn pack<const WIDTH: usize>(self, first: usize, count: usize, panel: &mut [R]) {
        let (lines, _) = panel.as_chunks_mut::<WIDTH>();
        if self.lanes == 1 {
            // Neighbouring lanes are contiguous: copy whole lines.
            for (k, line) in lines.iter_mut().enumerate() {
                let start = k * self.inner + first;
                line[..count].copy_from_slice(&self.data[start..start + count]);
            }
        } else {
            // Each lane is contiguous: read it once, and scatter it over the lines.
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
pub fn forward<
    R: Real,
    const FMA: bool,
    const ROWS: usize,
    const COLS: usize,
    const PARTS: usize,
>(
    tile: Tile<FMA, ROWS, COLS, PARTS>,
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
pub fn backward_input<
    R: Real,
    const FMA: bool,
    const ROWS: usize,
    const COLS: usize,
    const PARTS: usize,
>(
    tile: Tile<FMA, ROWS, COLS, PARTS>,
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
pub fn backward_weight<
    R: Real,
    const FMA: bool,
    const ROWS: usize,
    const COLS: usize,
    const PARTS: usize,
>(
    tile: Tile<FMA, ROWS, COLS, PARTS>,
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
    /// Empty panels, which grow to what the products need.
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
/// Both operands are first copied into panels, padded with zeros to whole tiles. The innermost loop then runs
/// over arrays of fixed size without bounds checks, so that the compiler keeps a tile of sums in vector
/// registers.
#[inline(always)]
fn product<R: Real, const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
    _: Tile<FMA, ROWS, COLS, PARTS>,
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
    right.resize(inner * cols.next_multiple_of(PARTS * COLS), R::zero());
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
        let rows = &mut out[first_row * cols..][..height * cols];
        let mut store = |first_col: usize, sums: &[[[R; COLS]; 2]; ROWS]| {
            let width = (PARTS * COLS).min(cols - first_col);
            for (row, sums) in rows.chunks_exact_mut(cols).zip(sums) {
                row[first_col..][..width].copy_from_slice(&sums.as_flattened()[..width]);
            }
        };
        let panels = right
            .chunks_exact(inner * PARTS * COLS)
            .zip((0..cols).step_by(PARTS * COLS));
        if height == ROWS && a.inner == 1 {
            // Contiguous rows are read in place.
            let lanes: [&[R]; ROWS] =
                std::array::from_fn(|i| &a.data[(first_row + i) * a.lanes..][..inner]);
            for (panel, first_col) in panels {
                let parts = parts::<R, COLS, PARTS>(panel, inner);
                let sums = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                    std::iter::once(()),
                    |()| inner,
                    |(), k, i| lanes[i][k],
                    |(), k, part| &parts[part][k],
                );
                store(first_col, &sums);
            }
        } else {
            a.pack::<ROWS>(first_row, height, left);
            let (columns, _) = left.as_chunks::<ROWS>();
            for (panel, first_col) in panels {
                let parts = parts::<R, COLS, PARTS>(panel, inner);
                let sums = tile::<R, FMA, ROWS, COLS, PARTS, _>(
                    std::iter::once(()),
                    |()| inner,
                    |(), k, i| columns[k][i],
                    |(), k, part| &parts[part][k],
                );
                store(first_col, &sums);
            }
        }
    }
}

/// Neighbouring panels of `inner` lines.
#[inline(always)]
fn parts<R, const COLS: usize, const PARTS: usize>(
    panels: &[R],
    inner: usize,
) -> [&[[R; COLS]]; PARTS] {
    std::array::from_fn(|part| &panels.as_chunks().0[part * inner..][..inner])
}

/// Cuts `range` into tiles of at most `most` rows, of nearly equal size: a short last tile would take as long
/// as a full one.
#[inline(always)]
pub(crate) fn tiles(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = range.len().div_ceil(most).max(1);
    let rows = range.len().div_ceil(count).max(1);
    let end = range.end;
    range
        .step_by(rows)
        .map(move |first| first..end.min(first + rows))
}

/// Compiles an expression once for each number of rows that a tile can have.
macro_rules! by_rows {
    ($rows:expr, $ROWS:ident => $body:expr) => {
        by_rows!($rows, $ROWS => $body; 1, 2, 3, 4, 5, 6, 7; 8)
    };
    ($rows:expr, $ROWS:ident => $body:expr; $($count:literal),*; $most:literal) => {
        match $rows {
            $($count => {
                const $ROWS: usize = $count;
                $body
            })*
            _ => {
                const $ROWS: usize = $most;
                $body
            }
        }
    };
}
pub(crate) use by_rows;

/// One tile of a product: the sums, over all parts `p` and over `k < inner(p)`, of
/// `left(p, k, i) * right(p, k, part)[j]`, for the rows `i`.
///
/// Each vector of sums is a variable of its own: an array of rows is compiled to scalar additions (measured:
/// 4 GFLOP/s instead of 94 on a core with AVX-512). And the sums are returned instead of passed to a closure:
/// a closure that is not inlined is compiled without the vector instructions.
#[inline(always)]
pub(crate) fn tile<
    'a,
    R: Real,
    const FMA: bool,
    const ROWS: usize,
    const COLS: usize,
    const PARTS: usize,
    P: Copy,
>(
    parts: impl Iterator<Item = P>,
    inner: impl Fn(P) -> usize,
    left: impl Fn(P, usize, usize) -> R,
    right: impl Fn(P, usize, usize) -> &'a [R; COLS],
) -> [[[R; COLS]; 2]; ROWS] {
    const { assert!(ROWS <= 8 && PARTS <= 2) };
    let zero = [R::zero(); COLS];
    let (mut s0, mut s1, mut s2, mut s3) = (zero, zero, zero, zero);
    let (mut s4, mut s5, mut s6, mut s7) = (zero, zero, zero, zero);
    let (mut t0, mut t1, mut t2, mut t3) = (zero, zero, zero, zero);
    let (mut t4, mut t5, mut t6, mut t7) = (zero, zero, zero, zero);
    for p in parts {
        for k in 0..inner(p) {
            let first = right(p, k, 0);
            let second = right(p, k, PARTS - 1);
            macro_rules! add {
                ($($i:literal $s:ident $t:ident),*) => {$(
                    if $i < ROWS {
                        let factor = left(p, k, $i);
                        $s = add_scaled::<R, FMA, COLS>($s, factor, first);
                        if PARTS > 1 {
                            $t = add_scaled::<R, FMA, COLS>($t, factor, second);
                        }
                    }
                )*};
            }
            add!(0 s0 t0, 1 s1 t1, 2 s2 t2, 3 s3 t3, 4 s4 t4, 5 s5 t5, 6 s6 t6, 7 s7 t7);
        }
    }
    let sums = [
        [s0, t0],
        [s1, t1],
        [s2, t2],
        [s3, t3],
        [s4, t4],
        [s5, t5],
        [s6, t6],
        [s7, t7],
    ];
    // Copied as a whole: value by value, the compiler would split the vectors.
    *sums.first_chunk().expect("at most eight rows")
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
