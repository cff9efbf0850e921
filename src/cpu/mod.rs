//! `--backend cpu`: the training step in `f32` by distinct contexts and tokens, laid out for vector units
//! ([`by_token`]); `scalar.rs` has it in plain loops. Evaluation uses the reference's pass
//! ([`crate::reference`]) in `f32`.

pub mod by_token;
#[cfg(test)]
mod scalar;

use std::panic::resume_unwind;
use std::thread;

use multiversion::multiversion;
use multiversion::target::match_target;

use crate::backend::{Backend, BackendInfo, DeviceError};
use crate::model::contexts::Rows;
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::statistics::{MergedStatistics, Statistics};
use crate::model::steps::Steps;
use crate::reference::Model;
use crate::reference::batchnorm::{self, BatchStatistics};
#[cfg_attr(target_arch = "wasm32", allow(unused_imports))]
// no vector unit is chosen at run time there
use crate::reference::linear::{FUSED_4X16, FUSED_8X32, PLAIN};
use crate::reference::softmax_cross_entropy::{self, cross_entropy_loss};
use by_token::{ByToken, Minibatch, NATIVE, Team};

// Each function below is compiled for several sets of target features, one of which is chosen at run time.
#[multiversion(targets(
    "x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn step_by_token(model: &mut ByToken<f32>, x: &[Token], y: &[Token], lr: f32) -> f32 {
    match_target! {
        "x86_64+avx512f" => model.run(FUSED_8X32, &NATIVE, x, y, lr),
        "x86_64+avx2+fma" => model.run(FUSED_4X16, &NATIVE, x, y, lr),
        "aarch64+neon" => model.run(FUSED_4X16, &NATIVE, x, y, lr),
        _ => model.run(PLAIN, &NATIVE, x, y, lr),
    }
}

#[multiversion(targets(
    "x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn work_by_token(team: &Team<'_>, me: usize, steps: &[Minibatch<'_>]) -> Vec<f32> {
    match_target! {
        "x86_64+avx512f" => team.work(FUSED_8X32, me, steps),
        "x86_64+avx2+fma" => team.work(FUSED_4X16, me, steps),
        "aarch64+neon" => team.work(FUSED_4X16, me, steps),
        _ => team.work(PLAIN, me, steps),
    }
}

#[multiversion(targets(
    "x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn hidden_inputs<'a>(model: &'a mut Model<f32>, x: &[Token], rows: usize) -> &'a mut [f32] {
    match_target! {
        "x86_64+avx512f" => model.hidden_inputs(FUSED_8X32, x, rows),
        "x86_64+avx2+fma" => model.hidden_inputs(FUSED_4X16, x, rows),
        "aarch64+neon" => model.hidden_inputs(FUSED_4X16, x, rows),
        _ => model.hidden_inputs(PLAIN, x, rows),
    }
}

#[multiversion(targets(
    "x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn infer<'a>(model: &'a mut Model<f32>, x: &[Token], bnmean: &[f32], bnvar: &[f32]) -> &'a [f32] {
    match_target! {
        "x86_64+avx512f" => model.infer_tiled(FUSED_8X32, x, bnmean, bnvar),
        "x86_64+avx2+fma" => model.infer_tiled(FUSED_4X16, x, bnmean, bnvar),
        "aarch64+neon" => model.infer_tiled(FUSED_4X16, x, bnmean, bnvar),
        _ => model.infer_tiled(PLAIN, x, bnmean, bnvar),
    }
}

/// `--backend cpu`: the training step in `f32`.
pub struct CpuBackend {
    info: BackendInfo,
    dims: Dims,
    /// Computes the steps.
    trainer: ByToken<f32>,
    /// Cores that work on a step.
    workers: usize,
    /// A model with room for evaluation's larger batches, made when first needed.
    large: Option<Box<Model<f32>>>,
}

impl CpuBackend {
    /// Rows of an evaluation batch: enough to reuse the weights many times, few enough for the activations to
    /// stay in the second-level cache.
    const EVAL_BATCH: usize = 256;

    /// A backend that starts from `params`, on one core.
    pub fn new(dims: Dims, params: Params<f32>) -> Self {
        let info = BackendInfo {
            backend: "cpu",
            adapter: "CPU".to_owned(),
            driver: format!("{} {}", std::env::consts::ARCH, vector_unit()),
            schedule: None,
            tuning: None,
        };
        let trainer = ByToken::new(dims, &params);
        Self {
            info,
            dims,
            trainer,
            workers: 1,
            large: None,
        }
    }

    /// Trains on up to `cores` cores, on as many as are worth it. Any number computes the same bits.
    pub fn with_cores(self, cores: usize) -> Self {
        let workers = ByToken::<f32>::workers(&self.dims, cores);
        Self { workers, ..self }
    }

    /// How many cores work on a step.
    pub fn workers(&self) -> usize {
        self.workers
    }

    fn large(&mut self) -> &mut Model<f32> {
        let params = self.trainer.params();
        let dims = self.dims.with_batch(Self::EVAL_BATCH);
        let large = self
            .large
            .get_or_insert_with(|| Box::new(Model::new(dims, params.clone())));
        large.params = params;
        large
    }
}

/// The widest vector instructions that the step is compiled for and this machine has.
fn vector_unit() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
    }
    if cfg!(target_arch = "aarch64") {
        return "NEON"; // every AArch64 processor has it
    }
    "baseline vectors"
}

impl Backend for CpuBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn dims(&self) -> &Dims {
        &self.dims
    }

    async fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), DeviceError> {
        if self.workers == 1 {
            for i in 0..steps.len() {
                let (x, y, lr) = steps.step(i);
                losses.push(step_by_token(&mut self.trainer, x, y, lr));
            }
            return Ok(());
        }
        let steps: Vec<_> = (0..steps.len()).map(|i| steps.step(i)).collect();
        let (team, steps) = (&Team::new(&mut self.trainer, self.workers), &steps);
        losses.extend(thread::scope(|scope| {
            // If a thread does not start, the others must not wait for it.
            let _alarm = team.alarm();
            let others: Vec<_> = (1..self.workers)
                .map(|me| scope.spawn(move || work_by_token(team, me, steps)))
                .collect();
            let losses = work_by_token(team, 0, steps);
            for other in others {
                other.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
            losses
        }));
        Ok(())
    }

    async fn params(&mut self) -> Result<Params<f32>, DeviceError> {
        Ok(self.trainer.params())
    }

    async fn set_params(&mut self, params: &Params<f32>) -> Result<(), DeviceError> {
        self.trainer.set_params(params);
        Ok(())
    }

    async fn calibrate(&mut self, x: &[Token]) -> Result<Statistics, DeviceError> {
        let model = self.large();
        let (block, hidden) = (model.dims.block, model.dims.hidden);
        let mut merged = MergedStatistics::new(hidden);
        let mut stats = BatchStatistics::new(hidden);
        for rows in Rows::batches(x, None, block, Self::EVAL_BATCH) {
            let hprebn = hidden_inputs(model, rows.x(), rows.len());
            let examples = (0..rows.len()).map(|row| rows.examples(row));
            let n = examples.clone().sum();
            let times = examples.map(|examples| examples as f32);
            batchnorm::weighted_statistics(hprebn, times, n, &mut stats);
            merged.add(n, &stats.bnmean, &stats.bnvar);
        }
        Ok(merged.finish())
    }

    async fn evaluate(
        &mut self,
        stats: &Statistics,
        x: &[Token],
        y: &[Token],
    ) -> Result<f64, DeviceError> {
        let model = self.large();
        let Dims { block, vocab, .. } = model.dims;
        let mut sum = 0.0f64;
        for rows in Rows::batches(x, Some(y), block, Self::EVAL_BATCH) {
            let logits = infer(model, rows.x(), &stats.bnmean, &stats.bnvar);
            for (row, logits) in logits.chunks_exact(vocab).enumerate() {
                let (logit_max, counts_sum) = softmax_cross_entropy::counts(logits);
                sum += rows
                    .targets(row)
                    .iter()
                    .map(|target| {
                        let norm_logit = logits[usize::from(target.token)] - logit_max;
                        let loss = cross_entropy_loss(norm_logit, counts_sum);
                        f64::from(target.examples) * f64::from(loss)
                    })
                    .sum::<f64>();
            }
        }
        Ok(sum / y.len() as f64)
    }
}
