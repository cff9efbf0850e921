//! Two operations that are not in the lecture's model, for `gradcheck --exercise extras`: the linear layer of
//! one-hot rows and `repeat_kv`. Twins of the kernels in `shaders/extras/`, where both are derived.

use super::real::Real;

/// `y = x @ w` with `x = F.one_hot(ix, classes)`, by its sizes.
///
/// `ix (rows)`, each below `classes`; `w (classes, cols)`, `y (rows, cols)`. No size is zero. The
/// kernels have loops of `rows` or `cols` iterations, and some software drivers silently stop all loops after
/// 65,535 iterations: that is the limit of the two sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnehotLinear {
    /// One-hot rows of `x`.
    pub rows: usize,
    /// Columns of `x`, rows of `w`.
    pub classes: usize,
    /// Columns of `w`.
    pub cols: usize,
}

impl OnehotLinear {
    /// `y[r, :] = w[ix[r], :]`
    pub fn forward<R: Real>(&self, ix: &[u32], w: &[R]) -> Vec<R> {
        let mut y = Vec::with_capacity(self.rows * self.cols);
        for &k in ix {
            let k = k as usize;
            y.extend_from_slice(&w[k * self.cols..(k + 1) * self.cols]);
        }
        y
    }

    /// `dw = x.T @ dy`: `dw[ix[r], :] += dy[r, :]`, in the order of the rows.
    pub fn backward_weight<R: Real>(&self, ix: &[u32], dy: &[R]) -> Vec<R> {
        let mut dw = vec![R::zero(); self.classes * self.cols];
        for (dy, &k) in dy.chunks_exact(self.cols).zip(ix) {
            let k = k as usize;
            for (dw, &dy) in dw[k * self.cols..(k + 1) * self.cols].iter_mut().zip(dy) {
                *dw += dy;
            }
        }
        dw
    }

    /// `dx = dy @ w.T`: for all of `x`, its zeros included.
    pub fn backward_input<R: Real>(&self, dy: &[R], w: &[R]) -> Vec<R> {
        let mut dx = Vec::with_capacity(self.rows * self.classes);
        for dy in dy.chunks_exact(self.cols) {
            for w in w.chunks_exact(self.cols) {
                let terms = dy.iter().zip(w).map(|(&dy, &w)| dy * w);
                dx.push(terms.fold(R::zero(), |sum, term| sum + term));
            }
        }
        dx
    }
}

/// `y = torch.repeat_interleave(x, copies, dim=2)`, by its sizes.
///
/// `x (batch, seq, kv_heads, head_dim)`, `y (batch, seq, kv_heads * copies, head_dim)`. No size is
/// zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatKv {
    /// Sequences.
    pub batch: usize,
    /// Positions of each.
    pub seq: usize,
    /// Heads of the keys and values.
    pub kv_heads: usize,
    /// Values of a head.
    pub head_dim: usize,
    /// Copies of each head in `y`; `n` in the formulas.
    pub copies: usize,
}

impl RepeatKv {
    /// Heads of all positions: batch, position and head always occur together.
    pub fn heads(&self) -> usize {
        self.batch * self.seq * self.kv_heads
    }

    /// Every head of `x`, repeated `copies` times.
    pub fn forward<R: Real>(&self, x: &[R]) -> Vec<R> {
        x.chunks_exact(self.head_dim)
            .flat_map(|head| head.repeat(self.copies))
            .collect()
    }

    /// Every head of `dx` is the sum over its copies in `dy`, in their order.
    pub fn backward<R: Real>(&self, dy: &[R]) -> Vec<R> {
        let mut dx = vec![R::zero(); self.heads() * self.head_dim];
        let heads = dx.chunks_exact_mut(self.head_dim);
        for (dx, copies) in heads.zip(dy.chunks_exact(self.copies * self.head_dim)) {
            for dy in copies.chunks_exact(self.head_dim) {
                for (dx, &dy) in dx.iter_mut().zip(dy) {
                    *dx += dy;
                }
            }
        }
        dx
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::compare::{Tolerance, compare};
    use crate::rng::TorchGenerator;

    fn randn(generator: &mut TorchGenerator, n: usize) -> Vec<f64> {
        generator.randn(n).into_iter().map(f64::from).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// `a @ b` for `a (rows, inner)`, `b (inner, cols)`, by the definition.
    fn product(a: &[f64], b: &[f64], inner: usize, cols: usize) -> Vec<f64> {
        let rows = a.len() / inner;
        let term = |r: usize, i: usize, c: usize| a[r * inner + i] * b[i * cols + c];
        (0..rows * cols)
            .map(|at| (0..inner).map(|i| term(at / cols, i, at % cols)).sum())
            .collect()
    }

    fn transposed(a: &[f64], cols: usize) -> Vec<f64> {
        let rows = a.len() / cols;
        (0..a.len())
            .map(|at| a[at % rows * cols + at / rows])
            .collect()
    }

    /// Computes the layer from the dense `x`, by products that ignore that its rows are one-hot.
    #[test]
    fn the_one_hot_linear_equals_the_dense_products() {
        for (rows, classes, cols) in [(16, 20, 7), (5, 3, 40), (33, 2, 1), (1, 1, 1)] {
            let sizes = OnehotLinear {
                rows,
                classes,
                cols,
            };
            let mut generator = TorchGenerator::manual_seed(rows as u64);
            let mut ix = vec![0; rows];
            generator.randint_into(classes as u32, &mut ix);
            let w = randn(&mut generator, classes * cols);
            let dy = randn(&mut generator, rows * cols);
            let mut x = vec![0.0; rows * classes];
            for (row, &k) in x.chunks_exact_mut(classes).zip(&ix) {
                row[k as usize] = 1.0;
            }
            let y = product(&x, &w, classes, cols);
            let dw = product(&transposed(&x, classes), &dy, rows, cols);
            let dx = product(&dy, &transposed(&w, cols), cols, classes);
            assert_eq!(sizes.forward(&ix, &w), y);
            for (got, want) in [
                (sizes.backward_weight(&ix, &dy), dw),
                (sizes.backward_input(&dy, &w), dx),
            ] {
                let result = compare(&got, &want, Tolerance::F64).unwrap();
                assert!(result.pass, "{sizes:?}: {result:?}");
            }
        }
    }

    #[test]
    fn of_the_sum_dw_counts_and_dx_adds_up_the_rows_of_w() {
        let sizes = OnehotLinear {
            rows: 4,
            classes: 3,
            cols: 2,
        };
        let ones = [1.0f32; 8];
        let dw = sizes.backward_weight(&[2, 0, 2, 2], &ones);
        assert_eq!(dw, [1.0, 1.0, 0.0, 0.0, 3.0, 3.0]);
        let dx = sizes.backward_input(&ones, &[1.0, 2.0, 10.0, 20.0, 100.0, 200.0]);
        assert_eq!(dx, [3.0, 30.0, 300.0].repeat(4));
    }

    #[test]
    fn the_copies_of_a_head_are_neighbours() {
        let sizes = RepeatKv {
            batch: 1,
            seq: 1,
            kv_heads: 2,
            head_dim: 2,
            copies: 3,
        };
        let y = sizes.forward(&[1.0f32, 2.0, 3.0, 4.0]);
        assert_eq!(
            y,
            [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 3.0, 4.0]
        );
        let dx = sizes.backward(&[
            1.0f32, 2.0, 10.0, 20.0, 100.0, 200.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.5,
        ]);
        assert_eq!(dx, [111.0, 222.0, 3.0, 4.5]);
    }

    /// The definition of PyTorch's `repeat_interleave`, index by index. And the backward pass of a linear map
    /// is its transpose: `sum(y * dy) = sum(x * dx)` for all x and dy.
    #[test]
    fn repeat_kv_equals_its_definition_and_backward_is_its_transpose() {
        for (batch, seq, kv_heads, head_dim, copies) in
            [(2, 3, 2, 5, 3), (1, 7, 3, 4, 1), (3, 1, 1, 1, 8)]
        {
            let sizes = RepeatKv {
                batch,
                seq,
                kv_heads,
                head_dim,
                copies,
            };
            let mut generator = TorchGenerator::manual_seed(5);
            let x = randn(&mut generator, sizes.heads() * head_dim);
            let dy = randn(&mut generator, x.len() * copies);
            let y = sizes.forward(&x);
            for (i, &y) in y.iter().enumerate() {
                let (d, j) = (i % head_dim, i / head_dim % (kv_heads * copies));
                let position = i / head_dim / (kv_heads * copies);
                assert_eq!(y, x[(position * kv_heads + j / copies) * head_dim + d]);
            }
            let dx = sizes.backward(&dy);
            let (through_y, through_x) = (dot(&y, &dy), dot(&x, &dx));
            assert!((through_y - through_x).abs() < 1e-12, "{sizes:?}");
        }
    }
}
