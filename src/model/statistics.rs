//! Batch-norm statistics over a data set, which evaluation and sampling use.

/// Batch-norm statistics over a whole data set, each `(hidden)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Mean of `hprebn`.
    pub bnmean: Vec<f32>,
    /// Variance of `hprebn`, with Bessel's correction.
    pub bnvar: Vec<f32>,
}

/// Joins the statistics of batches to those of the whole, in `f64`, by Chan's formula:
/// `m2 = m2_a + m2_b + delta**2 * n_a * n_b / n`, which never subtracts large squares.
pub struct MergedStatistics {
    count: f64,
    mean: Vec<f64>,
    /// Sum of squared distances from the mean.
    m2: Vec<f64>,
}

impl MergedStatistics {
    /// Statistics of no batch, for `hidden` units.
    pub fn new(hidden: usize) -> Self {
        Self {
            count: 0.0,
            mean: vec![0.0; hidden],
            m2: vec![0.0; hidden],
        }
    }

    /// Adds a batch of `rows` examples with its mean and (Bessel-corrected) variance. The variance
    /// of a single row is 0/0 and counts for nothing.
    pub fn add(&mut self, rows: usize, mean: &[f32], var: &[f32]) {
        let rows = rows as f64;
        let total = self.count + rows;
        for j in 0..self.mean.len() {
            let delta = f64::from(mean[j]) - self.mean[j];
            self.mean[j] += delta * rows / total;
            self.m2[j] += delta * delta * self.count * rows / total;
            if rows > 1.0 {
                self.m2[j] += f64::from(var[j]) * (rows - 1.0);
            }
        }
        self.count = total;
    }

    /// Mean and variance, with Bessel's correction, over all batches.
    pub fn finish(self) -> Statistics {
        let degrees = self.count - 1.0;
        Statistics {
            bnmean: self.mean.iter().map(|&m| m as f32).collect(),
            bnvar: self.m2.iter().map(|&m| (m / degrees) as f32).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_statistics_equal_those_of_the_whole() {
        let values: Vec<f64> = (0..101).map(|i| 1e3 + f64::from(i * i % 37)).collect();
        let mut merged = MergedStatistics::new(1);
        for batch in values.chunks(10) {
            let (mean, var) = mean_and_variance(batch);
            merged.add(batch.len(), &[mean as f32], &[var as f32]);
        }
        let stats = merged.finish();
        let (mean, var) = mean_and_variance(&values);
        assert!((f64::from(stats.bnmean[0]) - mean).abs() < 1e-3);
        assert!((f64::from(stats.bnvar[0]) / var - 1.0).abs() < 1e-4);
    }

    fn mean_and_variance(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (
            mean,
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0),
        )
    }
}
