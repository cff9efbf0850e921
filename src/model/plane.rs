//! The embeddings in the plane: their two axes, or the two directions in which they vary most.

use serde::Serialize;

/// What the two coordinates of a point are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axes {
    /// The one coordinate that there is, and the number of the row.
    ValueAndRow,
    /// The coordinates themselves.
    Both,
    /// Principal components, with the share of the variance that each has.
    PrincipalComponents([f64; 2]),
}

/// Points for the rows of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// What the coordinates are.
    pub axes: Axes,
    /// A point for each row.
    pub points: Vec<(f64, f64)>,
}

impl Plane {
    /// The rows of `c (vocab, embd)` in the plane.
    pub fn of(c: &[f32], embd: usize) -> Self {
        let rows = c.chunks_exact(embd);
        match embd {
            1 => Self {
                axes: Axes::ValueAndRow,
                points: (c.iter().enumerate())
                    .map(|(row, &value)| (value.into(), row as f64))
                    .collect(),
            },
            2 => Self {
                axes: Axes::Both,
                points: rows.map(|row| (row[0].into(), row[1].into())).collect(),
            },
            _ => Self::principal(c, embd),
        }
    }

    /// The two directions in which the rows vary most. Which way along a direction is up is arbitrary: here,
    /// its largest coordinate is positive.
    fn principal(c: &[f32], embd: usize) -> Self {
        let n = (c.len() / embd) as f64;
        let mut mean = vec![0.0; embd];
        for row in c.chunks_exact(embd) {
            mean.iter_mut()
                .zip(row)
                .for_each(|(sum, &x)| *sum += f64::from(x) / n);
        }
        let centred = |row: &[f32]| -> Vec<f64> {
            let pairs = row.iter().zip(&mean);
            pairs.map(|(&x, mean)| f64::from(x) - mean).collect()
        };
        let mut covariance = vec![0.0; embd * embd];
        for row in c.chunks_exact(embd).map(centred) {
            for (i, sums) in covariance.chunks_exact_mut(embd).enumerate() {
                sums.iter_mut()
                    .zip(&row)
                    .for_each(|(sum, x)| *sum += row[i] * x / (n - 1.0));
            }
        }
        let mut found = eigen(covariance, embd);
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let total: f64 = found.iter().map(|(value, _)| value).sum();
        let share = |i: usize| if total > 0.0 { found[i].0 / total } else { 0.0 };
        let along = |row: &[f64], i: usize| -> f64 {
            row.iter().zip(&found[i].1).map(|(x, d)| x * d).sum()
        };
        Self {
            axes: Axes::PrincipalComponents([share(0), share(1)]),
            points: (c.chunks_exact(embd).map(centred))
                .map(|row| (along(&row, 0), along(&row, 1)))
                .collect(),
        }
    }
}

/// Sweeps over a matrix at most; a dozen do for any that is 128 wide.
const SWEEPS: usize = 64;

/// Eigenvalues of a symmetric matrix `a (n, n)`, each with its eigenvector of length 1, by Jacobi's method:
/// rotate away one element beside the diagonal after another, until none is left.
fn eigen(mut a: Vec<f64>, n: usize) -> Vec<(f64, Vec<f64>)> {
    let mut vectors = vec![0.0; n * n]; // a row each
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let size: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let beside = (0..n * n).filter(|i| i / n != i % n);
        if beside.map(|i| a[i] * a[i]).sum::<f64>() <= 1e-30 * size {
            break;
        }
        for (p, q) in (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))) {
            if a[p * n + q] == 0.0 {
                continue;
            }
            // The rotation by the smaller of the angles after which a[p][q] is zero.
            let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
            let tan = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let cos = 1.0 / (tan * tan + 1.0).sqrt();
            let sin = tan * cos;
            let rotate = |m: &mut [f64], i: usize, j: usize| {
                (m[i], m[j]) = (cos * m[i] - sin * m[j], sin * m[i] + cos * m[j]);
            };
            for k in 0..n {
                rotate(&mut a, k * n + p, k * n + q);
            }
            for k in 0..n {
                rotate(&mut a, p * n + k, q * n + k);
                rotate(&mut vectors, p * n + k, q * n + k);
            }
        }
    }
    let vectors = vectors.chunks_exact(n).enumerate();
    vectors
        .map(|(i, vector)| {
            let largest = vector
                .iter()
                .fold(0.0_f64, |m, &x| if x.abs() > m.abs() { x } else { m });
            let up = |x: &f64| x * largest.signum();
            (a[i * n + i], vector.iter().map(up).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_two_coordinates_stay_as_they_are() {
        let plane = Plane::of(&[1.0, -2.0, 3.0, 4.0], 2);
        assert_eq!(plane.points, [(1.0, -2.0), (3.0, 4.0)]);
        assert_eq!(plane.axes, Axes::Both);
        let plane = Plane::of(&[1.0, -2.0], 1);
        assert_eq!(plane.points, [(1.0, 0.0), (-2.0, 1.0)]);
    }

    /// Four points on two lines that cross at (1, 1, 1): 4 along (2, 2, 1)/3 and 1 along (1, -2, 2)/3, either
    /// way. So the variances are 2*16/3 and 2*1/3, of 34/3 in all, and there is none in the third direction.
    #[test]
    fn principal_components_are_those_that_the_points_were_made_of() {
        let [long, short] = [[2.0, 2.0, 1.0], [1.0, -2.0, 2.0]];
        let point = |along: f64, across: f64| {
            (0..3).map(move |i| (1.0 + (along * long[i] + across * short[i]) / 3.0) as f32)
        };
        let wanted = [(4.0, 0.0), (-4.0, 0.0), (0.0, 1.0), (0.0, -1.0)];
        let c: Vec<f32> = wanted.iter().flat_map(|&(x, y)| point(x, y)).collect();
        let plane = Plane::of(&c, 3);
        let Axes::PrincipalComponents([first, second]) = plane.axes else {
            panic!("{:?}", plane.axes);
        };
        assert!((first - 16.0 / 17.0).abs() < 1e-6, "{first}");
        assert!((second - 1.0 / 17.0).abs() < 1e-6, "{second}");
        for (&(x, y), (along, across)) in plane.points.iter().zip(wanted) {
            // The sign of the second direction is that of the larger of two nearly equal coordinates.
            assert!((x - along).abs() < 1e-6, "{x}, not {along}");
            assert!(
                (y.abs() - f64::abs(across)).abs() < 1e-6,
                "{y}, not {across}"
            );
        }
        let [_, _, up, down] = plane.points[..] else {
            panic!("four points");
        };
        assert!((up.1 + down.1).abs() < 1e-6, "the two are opposite");
    }

    #[test]
    fn eigenvectors_are_orthogonal_and_what_the_matrix_only_stretches() {
        let n = 9;
        let entry = |i: usize, j: usize| f64::from((i * j) as u32 % 7) - (i + j) as f64 / 3.0;
        let a: Vec<f64> = (0..n * n).map(|i| entry(i / n, i % n)).collect();
        let found = eigen(a.clone(), n);
        for (i, (value, vector)) in found.iter().enumerate() {
            for (row, x) in a.chunks_exact(n).zip(vector) {
                let image: f64 = row.iter().zip(vector).map(|(a, x)| a * x).sum();
                assert!(
                    (image - value * x).abs() < 1e-12,
                    "{image}, not {value} * {x}"
                );
            }
            for (j, (_, other)) in found.iter().enumerate() {
                let product: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-12, "{i} {j}: {product}");
            }
        }
    }

    #[test]
    fn equal_points_have_no_variance_to_share() {
        let plane = Plane::of(&[0.5; 12], 3);
        assert_eq!(plane.axes, Axes::PrincipalComponents([0.0, 0.0]));
        assert_eq!(plane.points, [(0.0, 0.0); 4]);
    }
}
