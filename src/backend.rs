//! What the commands ask of a device. The CPU twin and the GPU schedules answer the same trait, so
//! each of them sees the same stream of steps.

use crate::dims::Dims;
use crate::gpu::GpuError;
use crate::gpu::profile::Profile;
use crate::params::Params;

/// What a backend runs on, for the set-up lines and `summary.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// `cpu`, `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: &'static str,
    /// The adapter's own name.
    pub adapter: String,
    /// The driver and its version, as it reports them.
    pub driver: String,
    /// How the steps are launched: `staged` or `resident`; a CPU launches nothing.
    pub schedule: Option<&'static str>,
}

/// A run of consecutive training steps, drawn by the host.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// Number of the first step in the run, for messages.
    pub first: u64,
    /// Context tokens, `(steps, batch, block)`.
    pub x: Vec<u8>,
    /// Target tokens, `(steps, batch)`.
    pub y: Vec<u8>,
    /// Learning rate of each step, `(steps)`.
    pub lr: Vec<f32>,
}

impl Steps {
    /// Number of steps.
    pub fn len(&self) -> usize {
        self.lr.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lr.is_empty()
    }

    /// Contexts, targets and learning rate of step `i`.
    pub fn step(&self, i: usize) -> (&[u8], &[u8], f32) {
        let (xs, ys) = (self.x.len() / self.len(), self.y.len() / self.len());
        (
            &self.x[i * xs..(i + 1) * xs],
            &self.y[i * ys..(i + 1) * ys],
            self.lr[i],
        )
    }
}

/// Batch-norm statistics over a whole data set, each `(hidden)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Mean of `hprebn`.
    pub bnmean: Vec<f32>,
    /// Variance of `hprebn`, with Bessel's correction.
    pub bnvar: Vec<f32>,
}

/// A device that can train and evaluate one model.
pub trait Backend {
    /// What it runs on.
    fn info(&self) -> &BackendInfo;

    /// Sizes of the model and its minibatch.
    fn dims(&self) -> &Dims;

    /// Does every step of `steps` in order and appends the loss of each, taken before its update.
    /// An error means that nothing of this chunk may be used.
    fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), BackendError>;

    /// The parameters as they stand.
    fn params(&mut self) -> Result<Params<f32>, BackendError>;

    /// Replaces the parameters.
    fn set_params(&mut self, params: &Params<f32>) -> Result<(), BackendError>;

    /// Batch-norm statistics over all contexts `x (examples, block)`; two examples at least.
    fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, BackendError>;

    /// Mean loss over the examples `x (examples, block)`, `y (examples)` with fixed statistics.
    fn evaluate(&mut self, stats: &Statistics, x: &[u8], y: &[u8]) -> Result<f64, BackendError>;

    /// Measures from now on where the time of training steps goes, if this is a GPU. Their results
    /// stay the same, bit for bit.
    fn start_profile(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    /// What has been measured since [`Backend::start_profile`].
    fn profile(&self) -> Option<&Profile> {
        None
    }
}

/// A backend that could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The GPU or its driver failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Joins the statistics of batches to those of the whole, in `f64`, by Chan's formula:
/// `m2 = m2_a + m2_b + delta**2 * n_a * n_b / n`, which never subtracts large squares.
pub(crate) struct MergedStatistics {
    count: f64,
    mean: Vec<f64>,
    /// Sum of squared distances from the mean.
    m2: Vec<f64>,
}

impl MergedStatistics {
    pub(crate) fn new(hidden: usize) -> Self {
        Self {
            count: 0.0,
            mean: vec![0.0; hidden],
            m2: vec![0.0; hidden],
        }
    }

    /// Adds a batch of `rows` examples with its mean and (Bessel-corrected) variance. The variance
    /// of a single row is 0/0 and counts for nothing.
    pub(crate) fn add(&mut self, rows: usize, mean: &[f32], var: &[f32]) {
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

    pub(crate) fn finish(self) -> Statistics {
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
