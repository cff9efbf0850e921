//! The staged schedule: one launch per operation, any size. A row of an activation is a context, however
//! many examples have it: see `shaders/shape.wgsl`.
//!
//! [`STEP`] is the table of launches, in execution order: it reads as the forward and the backward
//! pass. Every launch names its kernel, the tensors that it binds and how its invocations are laid
//! out; [`super::executor`] does the rest.

use std::ops::Range;

use super::adapter::{Found, api_name};
use super::device::Gpu;
use super::executor::{Executor, Pass};
use super::kernels::Kernels;
use super::launch::Size::{Batch, FanIn, Hidden, Vocab};
use super::launch::{Dx, Invocations, Launch, launch};
use super::layout::Layer::{First, Second};
use super::layout::{Layout, Slot};
use super::probe::Answers;
use super::submission::{Submitted, overlapped, submissions};
use super::timestamps::Profiler;
use super::tuning::{Tuning, WorkSplit};
use super::work::{kernels_of, work_of};
use crate::backend::profile::Profile;
use crate::backend::{Backend, BackendInfo, DeviceError, Schedule};
use crate::cores::{cores, share_out};
use crate::model::contexts::Rows;
use crate::model::dims::{Dims, Token};
use crate::model::params::{Params, Tensor};
use crate::model::statistics::{MergedStatistics, Statistics};
use crate::model::steps::Steps;

use Slot as S;
use Tensor as T;

/// `embcat = C[Xb].view(n, -1)`
#[rustfmt::skip]
pub const EMBEDDING_FORWARD: Launch =
    launch("embedding_forward_kernel", First, Invocations::Vectors(Batch, FanIn),
        &[("progress", S::Progress), ("X", S::X), ("C", S::Param(T::C)), ("embcat", S::Embcat),
          ("targets", S::Targets), ("examples", S::Examples)]);
/// `hprebn = embcat @ W1 + b1`
#[rustfmt::skip]
pub const LINEAR_1_FORWARD: Launch =
    launch("linear_forward_kernel", First, Invocations::Tiles(Batch, Hidden, FanIn),
        &[("x", S::Embcat), ("W", S::Param(T::W1)), ("b", S::Param(T::B1)), ("y", S::Hprebn)]);
/// `h = tanh(bngain * bnraw + bnbias)`, with the statistics of the minibatch
#[rustfmt::skip]
pub const BATCHNORM_TANH_FORWARD: Launch =
    launch("batchnorm_tanh_forward_kernel", First, Invocations::Columns(Hidden),
        &[("hprebn", S::Hprebn), ("bngain", S::Param(T::Bngain)), ("bnbias", S::Param(T::Bnbias)),
          ("bnstats", S::Bnstats), ("bnraw", S::Bnraw), ("h", S::H), ("examples", S::Examples)]);
/// `h = tanh(bngain * bnraw + bnbias)`, with given statistics
#[rustfmt::skip]
pub const BATCHNORM_TANH_INFERENCE: Launch =
    launch("batchnorm_tanh_inference_kernel", First, Invocations::Vectors(Batch, Hidden),
        &[("hprebn", S::Hprebn), ("bngain", S::Param(T::Bngain)), ("bnbias", S::Param(T::Bnbias)),
          ("bnstats", S::Bnstats), ("h", S::H)]);
/// `logits = h @ W2 + b2`
#[rustfmt::skip]
pub const LINEAR_2_FORWARD: Launch =
    launch("linear_forward_kernel", Second, Invocations::Tiles(Batch, Vocab, Hidden),
        &[("x", S::H), ("W", S::Param(T::W2)), ("b", S::Param(T::B2)), ("y", S::Logits)]);
/// The loss, and `dlogits` with it
#[rustfmt::skip]
pub const SOFTMAX_CROSS_ENTROPY: Launch =
    launch("softmax_cross_entropy_kernel", Second, Invocations::Rows(Vocab),
        &[("progress", S::Progress), ("targets", S::Targets), ("logits", S::Logits),
          ("losses", S::Losses), ("dlogits", S::Dlogits)]);
/// `dhpreact = (1 - h**2) * (dlogits @ W2.T)`, `dW2 = h.T @ dlogits`, `db2 = dlogits.sum(0)`
#[rustfmt::skip]
pub const LINEAR_2_TANH_BACKWARD: Launch =
    launch("linear_tanh_backward_kernel", Second, Invocations::TwoGradients(Hidden, Vocab),
        &[("x", S::H), ("W", S::Param(T::W2)), ("dy", S::Dlogits), ("dx", S::Dhpreact),
          ("dW", S::Grad(T::W2)), ("db", S::Grad(T::B2))]);
/// `dbngain`, `dbnbias` and `dhprebn`
#[rustfmt::skip]
pub const BATCHNORM_BACKWARD: Launch =
    launch("batchnorm_backward_kernel", First, Invocations::Columns(Hidden),
        &[("bngain", S::Param(T::Bngain)), ("bnstats", S::Bnstats), ("bnraw", S::Bnraw),
          ("dhpreact", S::Dhpreact), ("dbngain", S::Grad(T::Bngain)),
          ("dbnbias", S::Grad(T::Bnbias)), ("dhprebn", S::Dhprebn), ("examples", S::Examples)]);
/// `dembcat = dhprebn @ W1.T`, `dW1 = embcat.T @ dhprebn`, `db1 = dhprebn.sum(0)`
#[rustfmt::skip]
pub const LINEAR_1_BACKWARD: Launch =
    launch("linear_backward_kernel", First, Invocations::TwoGradients(FanIn, Hidden),
        &[("x", S::Embcat), ("W", S::Param(T::W1)), ("dy", S::Dhprebn), ("dx", S::Dembcat),
          ("dW", S::Grad(T::W1)), ("db", S::Grad(T::B1))]);
/// `dC[Xb[k,j]] += demb[k,j]`
#[rustfmt::skip]
pub const EMBEDDING_BACKWARD: Launch =
    launch("embedding_backward_kernel", First, Invocations::Embeddings,
        &[("progress", S::Progress), ("uses", S::Uses), ("dembcat", S::Dembcat),
          ("dC", S::Grad(T::C))]);
/// `p += -lr * p.grad`
#[rustfmt::skip]
pub const SGD: Launch =
    launch("sgd_kernel", First, Invocations::Params,
        &[("progress", S::Progress), ("lr", S::Lr), ("params", S::Params), ("grads", S::Grads)]);

/// One training step.
pub const STEP: [Launch; 10] = [
    // Forward.
    EMBEDDING_FORWARD,
    LINEAR_1_FORWARD,
    BATCHNORM_TANH_FORWARD,
    LINEAR_2_FORWARD,
    // Loss, and the first gradient with it.
    SOFTMAX_CROSS_ENTROPY,
    // Backward.
    LINEAR_2_TANH_BACKWARD,
    BATCHNORM_BACKWARD,
    LINEAR_1_BACKWARD,
    EMBEDDING_BACKWARD,
    // Update.
    SGD,
];

/// One training step with the long sums of the products cut into parts: for large models on a GPU.
#[rustfmt::skip]
pub const STEP_IN_PARTS: [Launch; 14] = [
    EMBEDDING_FORWARD,
    LINEAR_1_FORWARD,
    BATCHNORM_TANH_FORWARD,
    // logits = h @ W2 + b2
    launch("linear_forward_kernel", Second, Invocations::TilesInParts(Batch, Vocab, Hidden),
        &[("x", S::H), ("W", S::Param(T::W2)), ("b", S::Param(T::B2)), ("y", S::LogitParts)]),
    launch("linear_forward_sum_kernel", Second, Invocations::SumOfTiles(Batch, Vocab, Hidden),
        &[("parts", S::LogitParts), ("whole", S::Logits)]),
    SOFTMAX_CROSS_ENTROPY,
    // dhpreact, dW2 and db2
    launch("linear_tanh_backward_kernel", Second,
        Invocations::GradientsInParts(Hidden, Vocab, Dx::InSlices),
        &[("x", S::H), ("W", S::Param(T::W2)), ("dy", S::Dlogits), ("dx", S::Dhpreact),
          ("dW", S::WeightParts(Second)), ("db", S::BiasParts(Second))]),
    launch("linear_backward_weight_sum_kernel", Second, Invocations::SumOfGradients(Hidden, Vocab),
        &[("parts", S::GradParts(Second)), ("whole", S::LayerGrads(Second))]),
    BATCHNORM_BACKWARD,
    // dembcat, dW1 and db1
    launch("linear_backward_kernel", First, Invocations::GradientsInParts(FanIn, Hidden, Dx::InParts),
        &[("x", S::Embcat), ("W", S::Param(T::W1)), ("dy", S::Dhprebn), ("dx", S::DembcatParts),
          ("dW", S::WeightParts(First)), ("db", S::BiasParts(First))]),
    launch("linear_backward_weight_sum_kernel", First, Invocations::SumOfGradients(FanIn, Hidden),
        &[("parts", S::GradParts(First)), ("whole", S::LayerGrads(First))]),
    launch("linear_backward_input_sum_kernel", First, Invocations::SumOfTiles(Batch, FanIn, Hidden),
        &[("parts", S::DembcatParts), ("whole", S::Dembcat)]),
    EMBEDDING_BACKWARD,
    SGD,
];

/// Batch-norm statistics of a batch of contexts: the start of a step.
pub const CALIBRATE: [Launch; 3] = [EMBEDDING_FORWARD, LINEAR_1_FORWARD, BATCHNORM_TANH_FORWARD];

/// The loss of a batch of examples with fixed statistics: a step's forward pass with another batch
/// norm.
pub const EVALUATE: [Launch; 5] = [
    EMBEDDING_FORWARD,
    LINEAR_1_FORWARD,
    BATCHNORM_TANH_INFERENCE,
    LINEAR_2_FORWARD,
    SOFTMAX_CROSS_ENTROPY,
];

/// The launches of a step in a layout.
pub fn step_of(layout: &Layout) -> &'static [Launch] {
    if layout.cuts.in_parts() {
        &STEP_IN_PARTS
    } else {
        &STEP
    }
}

/// All tables of the schedule in a layout.
fn tables(layout: &Layout) -> [&'static [Launch]; 3] {
    [step_of(layout), &CALIBRATE, &EVALUATE]
}

/// Examples of a submission from which on all cores merge their contexts: to start a thread takes as long as
/// to merge a few hundred examples.
const SHARED: usize = 1 << 14;

/// A model on a device, trained by the staged schedule.
pub struct Staged {
    executor: Executor,
    info: BackendInfo,
    /// The launches of a step.
    table: &'static [Launch],
    step: Pass,
    calibrate: Pass,
    evaluate: Pass,
    /// Steps of a submission at most.
    most: usize,
    profiler: Option<Profiler>,
}

impl Staged {
    /// Opens the adapter, probes its driver, compiles the kernels and uploads `params`.
    ///
    /// # Errors
    ///
    /// The adapter cannot hold the model, cannot be opened, refuses a kernel, or its driver does not
    /// do what the kernels rely on.
    pub async fn new(found: &Found, dims: Dims, params: &Params<f32>) -> Result<Self, DeviceError> {
        Self::with_kernels(found, dims, params, &Kernels::default()).await
    }

    /// As [`Staged::new`], with kernels that may have been changed.
    ///
    /// # Errors
    ///
    /// As for [`Staged::new`].
    pub async fn with_kernels(
        found: &Found,
        dims: Dims,
        params: &Params<f32>,
        kernels: &Kernels,
    ) -> Result<Self, DeviceError> {
        // The adapter's limits are known before anything is opened or compiled.
        let layout = Layout::of(found, dims);
        layout.check(&tables(&layout), &found.adapter.limits(), &found.info.name)?;
        let gpu = Gpu::open(found).await?;
        let answers = Answers::of(&gpu, WorkSplit::of(found, &dims)).await?;
        answers.check(Schedule::Staged, &found.info.name)?;
        Self::on(gpu, found, layout, params, kernels).await
    }

    /// Compiles the kernels for a layout and uploads `params` on a device that is open and has been probed.
    ///
    /// # Errors
    ///
    /// As for [`Staged::new`].
    pub async fn on(
        gpu: Gpu,
        found: &Found,
        layout: Layout,
        params: &Params<f32>,
        kernels: &Kernels,
    ) -> Result<Self, DeviceError> {
        let tables = tables(&layout);
        layout.check(&tables, &found.adapter.limits(), &found.info.name)?;
        let modules = kernels.staged(layout.cuts.sharing());
        let executor = Executor::on(gpu, layout, &tables, &modules).await?;
        Self::with(executor, found, params)
    }

    /// Opens the adapter without probing its driver, with a given layout.
    ///
    /// # Errors
    ///
    /// As for [`Staged::new`].
    pub async fn with_layout(
        found: &Found,
        layout: Layout,
        params: &Params<f32>,
        kernels: &Kernels,
    ) -> Result<Self, DeviceError> {
        let tables = tables(&layout);
        let modules = kernels.staged(layout.cuts.sharing());
        let executor = Executor::new(found, layout, &tables, &modules).await?;
        Self::with(executor, found, params)
    }

    fn with(executor: Executor, found: &Found, params: &Params<f32>) -> Result<Self, DeviceError> {
        executor.write_params(params);
        let dims = executor.layout.dims;
        let rows = executor.layout.rows;
        // All tables at once: a single one has too few kernels to keep every core compiling.
        let table = step_of(&executor.layout);
        executor.compile(&[(table, dims.batch), (&CALIBRATE, rows), (&EVALUATE, rows)]);
        let staged = Self {
            info: info(found, Tuning::Staged(executor.layout.cuts)),
            table,
            step: executor.pass(table, dims.batch)?,
            calibrate: executor.pass(&CALIBRATE, rows)?,
            evaluate: executor.pass(&EVALUATE, rows)?,
            most: executor.layout.steps,
            profiler: None,
            executor,
        };
        staged.executor.gpu.check()?;
        Ok(staged)
    }

    /// The device and its tensors, to run launches one by one.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Runs launches of a step, each by its index.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn run(&self, launches: Range<usize>) -> Result<(), DeviceError> {
        self.executor.run(&self.step, launches).await
    }

    /// Limits later submissions to `steps` steps. The results do not depend on it.
    pub fn set_most(&mut self, steps: usize) {
        self.most = steps.clamp(1, self.executor.layout.steps);
    }

    /// The most steps that a submission's buffers and timestamps have room for.
    fn steps_of_a_submission(&self) -> usize {
        match &self.profiler {
            None => self.most,
            Some(_) => self.most.min(Profiler::MAX_PASSES / self.table.len()),
        }
    }

    /// Submits some of the steps together. Also returns how many rows each of them has.
    fn submit(&mut self, steps: &Steps, range: Range<usize>) -> (Submitted, usize) {
        let Dims { batch, block, .. } = self.executor.layout.dims;
        let count = range.len();
        let threads = if count * batch < SHARED { 1 } else { cores() };
        let minibatches = share_out(threads, range.clone(), |i| {
            let (x, y, _) = steps.step(i);
            Rows::merged(x, Some(y), block)
        });
        let rows = minibatches.iter().map(Rows::len).max().unwrap_or(0);
        self.step.set_rows(&self.executor, rows, batch);
        self.executor
            .write_steps(&minibatches, rows, &steps.lr[range]);
        let mut encoder = self.executor.encoder();
        let mut sources = vec![
            self.executor.range(S::Progress, 2),
            self.executor.range(S::Losses, count * rows),
        ];
        match self.profiler.as_ref().filter(|p| p.times_passes()) {
            None => self.step.encode(&mut encoder, count),
            Some(profiler) => {
                self.step.encode_timed(&mut encoder, count, profiler);
                sources.extend(profiler.resolve(&mut encoder, count * self.table.len()));
            }
        }
        (self.executor.gpu.submit(encoder, &sources), rows)
    }

    /// Waits for submitted steps, and appends their losses if the device did all of them.
    async fn finish(
        &mut self,
        steps: &Steps,
        range: Range<usize>,
        (submitted, rows): (Submitted, usize),
        losses: &mut Vec<f32>,
    ) -> Result<(), DeviceError> {
        let layout = &self.executor.layout;
        let count = range.len();
        let done = submitted.wait().await?;
        let progress: Vec<u32> = bytemuck::pod_collect_to_vec(&done.read[0]);
        check_progress(steps.first + range.start as u64, count as u32, progress[1])?;
        if let Some(profiler) = &mut self.profiler {
            let times = done.read.get(2).map(Vec::as_slice);
            let table = self.table;
            let work = table.iter().map(|launch| work_of(launch, layout, rows));
            profiler.set_rows(rows, work);
            let passes = (0..count).flat_map(|_| (0..table.len()).map(|kernel| (kernel, 1)));
            profiler.add(count, &done, times, passes);
        }
        let of_rows = self.executor.values(S::Losses, count * rows, &done.read[1]);
        let means = of_rows
            .chunks_exact(rows)
            .map(|of_rows| (sum(of_rows) / layout.dims.batch as f64) as f32);
        losses.extend(means);
        Ok(())
    }
}

/// Runs an evaluation pass over at most `layout.rows` rows.
async fn evaluate_rows(
    executor: &Executor,
    pass: &mut Pass,
    rows: &Rows,
    examples: usize,
    result: Slot,
    len: usize,
) -> Result<Vec<f32>, DeviceError> {
    pass.set_rows(executor, rows.len(), examples);
    executor.write_rows(rows);
    let mut encoder = executor.encoder();
    pass.encode(&mut encoder, 1);
    let bytes = executor
        .gpu
        .finish_and_read(encoder, &[executor.range(result, len)])
        .await?;
    Ok(executor.values(result, len, &bytes[0]))
}

/// A chunk counts only if the device counted every one of its steps.
pub(super) fn check_progress(first: u64, asked: u32, done: u32) -> Result<(), DeviceError> {
    if done == asked {
        Ok(())
    } else {
        Err(DeviceError::ShortChunk { first, asked, done })
    }
}

/// The description of a backend on this adapter.
pub(super) fn info(found: &Found, tuning: Tuning) -> BackendInfo {
    BackendInfo {
        backend: api_name(found.info.backend),
        adapter: found.info.name.clone(),
        driver: found.driver(),
        schedule: Some(match tuning {
            Tuning::Staged(_) => "staged",
            Tuning::Resident(_) => "resident",
        }),
        tuning: Some(tuning.to_string()),
    }
}

pub(super) fn mean(losses: &[f32]) -> f32 {
    (sum(losses) / losses.len() as f64) as f32
}

fn sum(losses: &[f32]) -> f64 {
    losses.iter().map(|&l| f64::from(l)).sum()
}

impl Backend for Staged {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn dims(&self) -> &Dims {
        &self.executor.layout.dims
    }

    async fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), DeviceError> {
        let submissions = submissions(steps.len(), self.steps_of_a_submission(), 1);
        overlapped(
            self,
            submissions,
            |staged, range| staged.submit(steps, range),
            async |staged, range, submitted| staged.finish(steps, range, submitted, losses).await,
        )
        .await
    }

    async fn params(&mut self) -> Result<Params<f32>, DeviceError> {
        self.executor.read_params().await
    }

    async fn set_params(&mut self, params: &Params<f32>) -> Result<(), DeviceError> {
        self.executor.write_params(params);
        self.executor.gpu.check()
    }

    async fn calibrate(&mut self, x: &[Token]) -> Result<Statistics, DeviceError> {
        let Layout {
            rows: most, dims, ..
        } = self.executor.layout;
        let hidden = dims.hidden;
        let (executor, pass) = (&self.executor, &mut self.calibrate);
        let mut merged = MergedStatistics::new(hidden);
        for rows in Rows::batches(x, None, dims.block, most) {
            let examples = (0..rows.len()).map(|row| rows.examples(row)).sum();
            let (slot, len) = (S::Bnstats, 2 * hidden);
            let stats = evaluate_rows(executor, pass, &rows, examples, slot, len).await?;
            merged.add(examples, &stats[..hidden], &stats[hidden..]);
        }
        Ok(merged.finish())
    }

    async fn evaluate(
        &mut self,
        stats: &Statistics,
        x: &[Token],
        y: &[Token],
    ) -> Result<f64, DeviceError> {
        let Layout {
            rows: most, dims, ..
        } = self.executor.layout;
        let (executor, pass) = (&self.executor, &mut self.evaluate);
        executor.write(
            S::Bnstats,
            &[stats.bnmean.as_slice(), &stats.bnvar].concat(),
        );
        let mut total = 0.0;
        for rows in Rows::batches(x, Some(y), dims.block, most) {
            let (examples, len) = (y.len(), rows.len());
            let losses = evaluate_rows(executor, pass, &rows, examples, S::Losses, len).await?;
            total += sum(&losses);
        }
        Ok(total / y.len() as f64)
    }

    async fn start_profile(&mut self) -> Result<(), DeviceError> {
        let Executor { gpu, layout, .. } = &self.executor;
        self.profiler = Some(Profiler::new(gpu, kernels_of(self.table, layout)));
        gpu.check()
    }

    fn profile(&self) -> Option<&Profile> {
        self.profiler.as_ref().map(Profiler::profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::tuning::Cuts;

    #[test]
    fn a_chunk_that_was_not_done_in_full_is_an_error() {
        assert!(check_progress(0, 7, 7).is_ok());
        for done in [0, 6, 8] {
            let error = check_progress(100, 7, done).unwrap_err().to_string();
            assert!(error.contains(&format!("did {done} of 7 steps")), "{error}");
            assert!(error.contains("from step 100"), "{error}");
        }
    }

    #[test]
    fn sizes_beyond_a_limit_are_an_error_that_names_it() {
        let largest = Dims {
            vocab: 256,
            block: 16,
            embd: 128,
            hidden: 2048,
            batch: 4096,
        };
        let enough = wgpu::Limits::default();
        let check = |dims, limits: &wgpu::Limits| {
            let layout = Layout::new(dims, Cuts::hardware(&dims));
            layout.check(&tables(&layout), limits, "GPU")
        };
        assert!(check(Dims::LECTURE, &enough).is_ok());
        assert!(check(largest, &enough).is_ok());
        let short = |change: fn(&mut wgpu::Limits)| {
            let mut limits = enough.clone();
            change(&mut limits);
            check(largest, &limits).unwrap_err().to_string()
        };
        // Their embeddings would take more workgroups than a dimension holds.
        let characters = Dims {
            vocab: 65_535,
            ..largest
        };
        let errors = [
            (
                check(characters, &enough).unwrap_err().to_string(),
                "maxComputeWorkgroupsPerDimension",
            ),
            (
                short(|l| l.max_storage_buffer_binding_size = 1 << 24),
                "maxStorageBufferBindingSize",
            ),
            (short(|l| l.max_buffer_size = 1 << 24), "maxBufferSize"),
            (
                short(|l| l.max_storage_buffers_per_shader_stage = 4),
                "maxStorageBuffersPerShaderStage",
            ),
            (
                short(|l| l.max_compute_invocations_per_workgroup = 32),
                "maxComputeInvocationsPerWorkgroup",
            ),
        ];
        for (error, limit) in errors {
            assert!(error.contains(limit), "{error}");
        }
    }

    #[test]
    fn no_launch_has_more_workgroups_than_a_dimension_holds() {
        let largest = Dims {
            vocab: 256,
            block: 16,
            embd: 128,
            hidden: 2048,
            batch: 4096,
        };
        for cuts in [Cuts::hardware(&largest), Cuts::WHOLE] {
            let layout = Layout::new(largest, cuts);
            for launch in tables(&layout).into_iter().flatten() {
                let cut = layout.cut_of(launch.invocations, layout.rows);
                let groups = layout.groups_of(launch.invocations, layout.rows, cut);
                let allowed = groups.iter().all(|g| (1..=65_535).contains(g));
                assert!(allowed, "{}: {groups:?}", launch.kernel);
            }
        }
    }
}
