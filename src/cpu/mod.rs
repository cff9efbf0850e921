//! The CPU twin: the same pass as the kernels, operation by operation, generic over the float type.
//! In `f64` it is the reference that the kernels are held against. In `f32` it evaluates for
//! `--backend cpu`; the training is done by the same step by distinct contexts and tokens, laid out for
//! vector units ([`by_token`]).

pub mod batchnorm;
pub mod by_token;
pub mod chunked;
pub mod embedding;
pub mod extras;
pub mod linear;
pub mod real;
pub mod sgd;
pub mod softmax_cross_entropy;
pub mod tanh;

use std::panic::resume_unwind;
use std::thread;

use multiversion::multiversion;
use multiversion::target::match_target;

use crate::backend::{Backend, BackendError, BackendInfo, Statistics, Steps};
use crate::contexts::Rows;
use crate::dims::Dims;
use crate::params::{Params, Tensor};
use batchnorm::BatchStatistics;
use by_token::{ByToken, Example, NATIVE, Team};
use linear::{FUSED_4X16, FUSED_8X32, PLAIN, Tile};
use real::Real;
use softmax_cross_entropy::cross_entropy_loss;

/// The model with everything that a step writes: parameters, activations and gradients. All memory
/// is taken once; a step allocates nothing.
#[derive(Clone, Debug)]
pub struct Model<R> {
    /// Sizes; `batch` is the number of examples of a step.
    pub dims: Dims,
    /// The seven parameters.
    pub params: Params<R>,
    /// Their gradients of the last [`Model::backward`].
    pub grads: Params<R>,
    /// What the forward pass left, and the gradients of it that the backward pass adds.
    pub acts: Activations<R>,
    /// Copies for the product at hand.
    panels: linear::Panels<R>,
}

/// The tensors of one pass under the lecture's names, each row-major in the shape given.
#[derive(Clone, Debug)]
pub struct Activations<R> {
    /// `(batch, block * embd)`
    pub embcat: Vec<R>,
    /// `(batch, hidden)`
    pub hprebn: Vec<R>,
    /// Mean, variance and inverse root of each unit.
    pub stats: BatchStatistics<R>,
    /// `(batch, hidden)`
    pub bnraw: Vec<R>,
    /// `(batch, hidden)`
    pub hpreact: Vec<R>,
    /// `(batch, hidden)`
    pub h: Vec<R>,
    /// `(batch, vocab)`
    pub logits: Vec<R>,
    /// Loss of each example, `(batch)`.
    pub row_loss: Vec<R>,
    /// `(batch, vocab)`
    pub dlogits: Vec<R>,
    /// `(batch, hidden)`
    pub dh: Vec<R>,
    /// `(batch, hidden)`
    pub dhpreact: Vec<R>,
    /// `(batch, hidden)`
    pub dhprebn: Vec<R>,
    /// `(batch, block * embd)`
    pub dembcat: Vec<R>,
}

impl<R: Real> Activations<R> {
    fn new(dims: &Dims) -> Self {
        let zeros = |cols: usize| vec![R::zero(); dims.batch * cols];
        Self {
            embcat: zeros(dims.fan_in()),
            hprebn: zeros(dims.hidden),
            stats: BatchStatistics::new(dims.hidden),
            bnraw: zeros(dims.hidden),
            hpreact: zeros(dims.hidden),
            h: zeros(dims.hidden),
            logits: zeros(dims.vocab),
            row_loss: zeros(1),
            dlogits: zeros(dims.vocab),
            dh: zeros(dims.hidden),
            dhpreact: zeros(dims.hidden),
            dhprebn: zeros(dims.hidden),
            dembcat: zeros(dims.fan_in()),
        }
    }
}

impl<R: Real> Model<R> {
    /// A model that starts from `params`.
    pub fn new(dims: Dims, params: Params<R>) -> Self {
        Self {
            dims,
            params,
            grads: Params::filled(&dims, R::zero()),
            acts: Activations::new(&dims),
            panels: linear::Panels::new(),
        }
    }

    /// Forward pass over one minibatch: `x (batch, block)` and `y (batch)` are tokens. Returns the
    /// mean loss; `dlogits` comes with it, since softmax and loss share their work.
    pub fn forward(&mut self, x: &[u8], y: &[u8]) -> R {
        let Self {
            dims,
            params: p,
            acts: a,
            panels,
            ..
        } = self;
        embedding::forward(x, &p.c, dims.embd, &mut a.embcat);
        linear::forward(PLAIN, &a.embcat, &p.w1, &p.b1, &mut a.hprebn, panels);
        batchnorm::forward(
            &a.hprebn,
            &p.bngain,
            &p.bnbias,
            &mut a.stats,
            &mut a.bnraw,
            &mut a.hpreact,
        );
        tanh::forward(&a.hpreact, &mut a.h);
        linear::forward(PLAIN, &a.h, &p.w2, &p.b2, &mut a.logits, panels);
        softmax_cross_entropy::forward_backward(&a.logits, y, &mut a.row_loss, &mut a.dlogits);
        mean(&a.row_loss)
    }

    /// Backward pass of the last [`Model::forward`]: every gradient, written by hand.
    pub fn backward(&mut self, x: &[u8]) {
        let Self {
            dims,
            params: p,
            grads: g,
            acts: a,
            panels,
        } = self;
        linear::backward_weight(PLAIN, &a.h, &a.dlogits, &mut g.w2, &mut g.b2, panels);
        linear::backward_input(PLAIN, &a.dlogits, &p.w2, dims.vocab, &mut a.dh, panels);
        tanh::backward(&a.dh, &a.h, &mut a.dhpreact);
        batchnorm::backward(
            &a.dhpreact,
            &a.bnraw,
            &p.bngain,
            &a.stats.bnvar_inv,
            &mut g.bngain,
            &mut g.bnbias,
            &mut a.dhprebn,
        );
        linear::backward_weight(PLAIN, &a.embcat, &a.dhprebn, &mut g.w1, &mut g.b1, panels);
        linear::backward_input(
            PLAIN,
            &a.dhprebn,
            &p.w1,
            dims.hidden,
            &mut a.dembcat,
            panels,
        );
        embedding::backward(x, &a.dembcat, dims.embd, &mut g.c);
    }

    /// `p.data += -lr * p.grad` for every parameter.
    #[inline(always)]
    pub fn update(&mut self, lr: R) {
        for tensor in Tensor::ALL {
            let (p, grad) = (self.params.get_mut(tensor), self.grads.get(tensor));
            sgd::update::<R, false>(p, lr, grad);
        }
    }

    /// One step of gradient descent. Returns the loss before the update.
    pub fn step(&mut self, x: &[u8], y: &[u8], lr: R) -> R {
        let loss = self.forward(x, y);
        self.backward(x);
        self.update(lr);
        loss
    }

    /// `hprebn` of `x`, which holds `rows` contexts, at most `batch`.
    #[inline(always)]
    fn hidden_inputs<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[u8],
        rows: usize,
    ) -> &mut [R] {
        let Self {
            dims,
            params: p,
            acts: a,
            panels,
            ..
        } = self;
        let embcat = &mut a.embcat[..rows * dims.fan_in()];
        let hprebn = &mut a.hprebn[..rows * dims.hidden];
        embedding::forward(x, &p.c, dims.embd, embcat);
        linear::forward(tile, embcat, &p.w1, &p.b1, hprebn, panels);
        hprebn
    }

    /// Logits of `x`, at most `batch` contexts, by the trained model: batch norm with fixed
    /// statistics, so that one example does not depend on the others beside it.
    pub fn infer(&mut self, x: &[u8], bnmean: &[R], bnvar: &[R]) -> &[R] {
        self.infer_tiled(PLAIN, x, bnmean, bnvar)
    }

    #[inline(always)]
    fn infer_tiled<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &mut self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        x: &[u8],
        bnmean: &[R],
        bnvar: &[R],
    ) -> &[R] {
        let rows = x.len() / self.dims.block;
        self.hidden_inputs(tile, x, rows);
        let Self {
            dims,
            params: p,
            acts: a,
            panels,
            ..
        } = self;
        let hpreact = &mut a.hprebn[..rows * dims.hidden];
        batchnorm::inference(hpreact, &p.bngain, &p.bnbias, bnmean, bnvar);
        let h = &mut a.h[..rows * dims.hidden];
        tanh::forward(hpreact, h);
        let logits = &mut a.logits[..rows * dims.vocab];
        linear::forward(tile, h, &p.w2, &p.b2, logits, panels);
        logits
    }
}

/// Mean of the losses of a minibatch. Summed in `f64`: 4,096 terms in `f32` would lose a digit.
fn mean<R: Real>(row_loss: &[R]) -> R {
    let sum: f64 = row_loss.iter().map(|l| l.as_f64()).sum();
    R::of(sum / row_loss.len() as f64)
}

// The same loops, compiled for what the machine has and chosen when they are called.
#[multiversion(targets(
    "x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn step_by_token(model: &mut ByToken<f32>, x: &[u8], y: &[u8], lr: f32) -> f32 {
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
fn work_by_token(team: &Team<'_>, me: usize, steps: &[Example<'_>]) -> Vec<f32> {
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
fn hidden_inputs<'a>(model: &'a mut Model<f32>, x: &[u8], rows: usize) -> &'a mut [f32] {
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
fn infer<'a>(model: &'a mut Model<f32>, x: &[u8], bnmean: &[f32], bnvar: &[f32]) -> &'a [f32] {
    match_target! {
        "x86_64+avx512f" => model.infer_tiled(FUSED_8X32, x, bnmean, bnvar),
        "x86_64+avx2+fma" => model.infer_tiled(FUSED_4X16, x, bnmean, bnvar),
        "aarch64+neon" => model.infer_tiled(FUSED_4X16, x, bnmean, bnvar),
        _ => model.infer_tiled(PLAIN, x, bnmean, bnvar),
    }
}

/// `--backend cpu`: the same step in `f32`.
pub struct CpuBackend {
    info: BackendInfo,
    dims: Dims,
    /// Does the steps.
    trainer: ByToken<f32>,
    /// Cores that work on a step.
    workers: usize,
    /// A model with room for evaluation's larger batches, made when first needed.
    large: Option<Box<Model<f32>>>,
}

impl CpuBackend {
    /// Rows of an evaluation batch: large enough to pass over the weights seldom, small enough for
    /// the activations to stay in the second-level cache.
    const EVAL_BATCH: usize = 256;

    /// A backend that starts from `params`, on one core.
    pub fn new(dims: Dims, params: Params<f32>) -> Self {
        let info = BackendInfo {
            backend: "cpu",
            adapter: "CPU".to_owned(),
            driver: format!("{} {}", std::env::consts::ARCH, vector_unit()),
            schedule: None,
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

    /// Trains on up to `cores` cores, as many as are worth it. The results have the same bits on any
    /// number.
    pub fn with_cores(self, cores: usize) -> Self {
        let workers = ByToken::<f32>::workers(&self.dims, cores);
        Self { workers, ..self }
    }

    /// How many cores it is on.
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

/// The widest vector instructions that the twin is compiled for and this machine has.
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
        return "NEON"; // every such processor has it
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

    fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), BackendError> {
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
            // Should a thread not start, those that did are not to wait for it.
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

    fn params(&mut self) -> Result<Params<f32>, BackendError> {
        Ok(self.trainer.params())
    }

    fn set_params(&mut self, params: &Params<f32>) -> Result<(), BackendError> {
        self.trainer.set_params(params);
        Ok(())
    }

    fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, BackendError> {
        let model = self.large();
        let (block, hidden) = (model.dims.block, model.dims.hidden);
        let mut merged = crate::backend::MergedStatistics::new(hidden);
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

    fn evaluate(&mut self, stats: &Statistics, x: &[u8], y: &[u8]) -> Result<f64, BackendError> {
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
