//! The resident schedule: one workgroup keeps a model and runs many steps in a dispatch.
//!
//! `shaders/resident/train.wgsl` has the step, and [`Plan`] what surrounds it in memory. Here are the
//! submissions of a chunk of steps, and the proof that all of the steps were done.

use std::iter::repeat_n;
use std::ops::Range;

use wgpu::{Buffer, ComputePass, ComputePipeline};

use super::adapter::Found;
use super::device::Gpu;
use super::executor::to_f32;
use super::kernels::Kernels;
use super::layout::Layout;
use super::plan::{Constants, NAMES, Plan};
use super::probe::Answers;
use super::staged::{STEP, Staged, check_progress, info, mean};
use super::submission::{Submitted, overlapped, submissions};
use super::timestamps::Profiler;
use super::tuning::{Tuning, WorkSplit};
use super::work::kernels_of;
use crate::backend::profile::{Kernel, Profile, Work};
use crate::backend::{Backend, BackendInfo, DeviceError, Schedule};
use crate::cores::{cores, share_out};
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::model::steps::Steps;

/// Steps, over all models, that a thread packs at a time: a tenth of a millisecond of work, several times
/// what it takes to start a thread.
const PACKED: usize = 1000;

/// Models on a device, trained by the resident schedule.
pub struct Resident {
    gpu: Gpu,
    plan: Plan,
    info: BackendInfo,
    pipeline: ComputePipeline,
    bindings: wgpu::BindGroup,
    inputs: Buffer,
    models: Buffer,
    results: Buffer,
    found: Found,
    kernels: Kernels,
    /// Evaluates; made when it is needed.
    staged: Option<Staged>,
    /// Steps of a submission at most.
    most: usize,
    profiler: Option<Profiler>,
}

impl Resident {
    /// Opens the adapter, compiles the kernel and uploads `params`.
    ///
    /// # Errors
    ///
    /// The adapter cannot hold the model, cannot be opened, or refuses the kernel.
    pub async fn new(found: &Found, dims: Dims, params: &Params<f32>) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(found).await?;
        Self::several(gpu, found, dims, std::slice::from_ref(params)).await
    }

    /// Probes a device that is open, and makes room for several models of one size, each with its `params`.
    ///
    /// # Errors
    ///
    /// As [`Resident::new`].
    pub async fn several(
        gpu: Gpu,
        found: &Found,
        dims: Dims,
        params: &[Params<f32>],
    ) -> Result<Self, DeviceError> {
        let split = WorkSplit::of(found, &dims);
        let answers = Answers::of(&gpu, split).await?;
        Self::probed(
            gpu,
            found,
            dims,
            split,
            params,
            &answers,
            &Kernels::default(),
        )
        .await
    }

    /// Makes room for `most` models of one size, each of which begins with `params`, whose steps are split like
    /// this. As long as the adapter cannot hold them, their number is halved.
    ///
    /// # Errors
    ///
    /// As [`Resident::new`].
    pub async fn at_most(
        gpu: Gpu,
        found: &Found,
        dims: Dims,
        split: WorkSplit,
        params: &Params<f32>,
        most: usize,
        kernels: &Kernels,
    ) -> Result<Self, DeviceError> {
        let answers = Answers::of(&gpu, split).await?;
        answers.check(Schedule::Resident, &found.info.name)?;
        let mut count = most;
        // The limits are checked before anything is allocated.
        let plan = loop {
            let plan = Plan::for_driver(found, dims, count, split, answers.loops.done)?;
            match plan.check(found) {
                Err(DeviceError::Limit { .. }) if count > 1 => count /= 2,
                checked => break checked.map(|()| plan)?,
            }
        };
        Self::with(gpu, found, plan, repeat_n(params, count), kernels).await
    }

    /// As [`Resident::new`], with kernels that may have been changed.
    ///
    /// # Errors
    ///
    /// As [`Resident::new`].
    pub async fn with_kernels(
        found: &Found,
        dims: Dims,
        params: &Params<f32>,
        kernels: &Kernels,
    ) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(found).await?;
        let split = WorkSplit::of(found, &dims);
        let answers = Answers::of(&gpu, split).await?;
        let params = std::slice::from_ref(params);
        Self::probed(gpu, found, dims, split, params, &answers, kernels).await
    }

    /// Makes room for several models on a device that has been probed, with a plan for a split that its loops
    /// allow.
    ///
    /// # Errors
    ///
    /// As [`Resident::new`].
    pub async fn probed(
        gpu: Gpu,
        found: &Found,
        dims: Dims,
        split: WorkSplit,
        params: &[Params<f32>],
        answers: &Answers,
        kernels: &Kernels,
    ) -> Result<Self, DeviceError> {
        answers.check(Schedule::Resident, &found.info.name)?;
        let plan = Plan::for_driver(found, dims, params.len(), split, answers.loops.done)?;
        Self::with(gpu, found, plan, params, kernels).await
    }

    /// Several models, with a plan made for them, and kernels that may have been changed.
    ///
    /// # Errors
    ///
    /// As [`Resident::new`].
    pub async fn with<'a>(
        gpu: Gpu,
        found: &Found,
        plan: Plan,
        params: impl IntoIterator<Item = &'a Params<f32>>,
        kernels: &Kernels,
    ) -> Result<Self, DeviceError> {
        plan.check(found)?;
        let module = kernels.resident(plan.in_subgroups());
        let named = plan.named();
        let constants: Vec<_> = named
            .iter()
            .map(|(n, value)| (n.as_str(), *value))
            .collect();
        let shader = gpu.modules([&module]).await?.swap_remove(0);
        let pipeline = gpu.pipeline(&shader, module.entry_points[0], &constants);
        let bytes = plan.bytes();
        let buffers: [Buffer; NAMES.len()] =
            std::array::from_fn(|i| gpu.storage(NAMES[i], bytes[i]));
        let resources = buffers.iter().map(Buffer::as_entire_binding);
        let bindings = gpu.bind(
            &pipeline,
            module.entry_points[0],
            &module.source.bindings(),
            NAMES.into_iter().zip(resources),
        )?;
        let [inputs, models, _scratch, results] = buffers;
        let resident = Self {
            gpu,
            most: plan.capacity,
            info: info(found, Tuning::Resident(plan.split)),
            plan,
            pipeline,
            bindings,
            inputs,
            models,
            results,
            found: found.clone(),
            kernels: kernels.clone(),
            staged: None,
            profiler: None,
        };
        for (i, params) in params.into_iter().enumerate() {
            resident.write_params(i, params);
        }
        resident.gpu.check()?;
        Ok(resident)
    }

    /// How the work of a step is shared out.
    pub fn split(&self) -> WorkSplit {
        self.plan.split
    }

    /// How many models there is room for.
    pub fn count(&self) -> usize {
        self.plan.models
    }

    /// Replaces the parameters of one model.
    pub fn write_params(&self, model: usize, params: &Params<f32>) {
        let at = 16 * (self.plan.constants.model4 * model) as u64;
        let values = self.plan.pack(params);
        self.gpu
            .queue
            .write_buffer(&self.models, at, bytemuck::cast_slice(&values));
    }

    /// The parameters of one model.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn read_params(&self, model: usize) -> Result<Params<f32>, DeviceError> {
        let bytes = 16 * self.plan.constants.model4 as u64;
        let encoder = self.gpu.device.create_command_encoder(&Default::default());
        let source = (&self.models, bytes * model as u64, bytes);
        let mut read = self.gpu.finish_and_read(encoder, &[source]).await?;
        Ok(self.plan.unpack(&to_f32(&read.swap_remove(0))))
    }

    /// Trains the first `steps.len()` models, each on steps of its own, the same number for each,
    /// and appends the losses of each. The other models stay as they are.
    ///
    /// # Errors
    ///
    /// The device failed, or did not do all steps of every model.
    pub async fn train_all(
        &mut self,
        steps: &[&Steps],
        losses: &mut [Vec<f32>],
    ) -> Result<(), DeviceError> {
        let count = steps.first().map_or(0, |steps| steps.len());
        // A submission ends its last dispatch: with whole dispatches in each, only the last one is short.
        let submissions = submissions(
            count,
            self.steps_of_a_submission(),
            self.plan.constants.steps,
        );
        overlapped(
            self,
            submissions,
            |resident, range| resident.submit(steps, range),
            async |resident, part, submitted| resident.finish(steps, part, submitted, losses).await,
        )
        .await
    }

    /// Limits later submissions to `steps` steps. The results do not depend on it.
    pub fn set_most(&mut self, steps: usize) {
        self.most = steps.clamp(1, self.plan.capacity);
    }

    /// Steps that fit in a submission, by its buffers and its timestamps.
    fn steps_of_a_submission(&self) -> usize {
        match &self.profiler {
            None => self.most,
            Some(_) => self
                .most
                .min(Profiler::MAX_PASSES * self.plan.constants.steps),
        }
    }

    /// Packs and uploads the words of some steps of every model, on several cores if there are many: for many
    /// models this may take longer than the steps do on the device.
    fn upload(&self, steps: &[&Steps], range: Range<usize>) {
        let Constants {
            first_step,
            step_words,
            ..
        } = self.plan.constants;
        let (plan, queue, inputs) = (&self.plan, &self.gpu.queue, &self.inputs);
        queue.write_buffer(inputs, 0, bytemuck::cast_slice(&[range.len() as u32, 2]));
        let of_model = range.len() * step_words;
        let share = (PACKED / range.len()).clamp(1, steps.len());
        let threads = steps.len().div_ceil(share).min(cores());
        let shares = steps.chunks(share).enumerate();
        share_out(threads, shares, |(i, steps)| {
            let mut words = vec![0; steps.len() * of_model];
            for (steps, words) in steps.iter().zip(words.chunks_exact_mut(of_model)) {
                plan.pack_steps(steps, range.clone(), words);
            }
            let at = first_step + i * share * of_model;
            queue.write_buffer(inputs, 4 * at as u64, bytemuck::cast_slice(&words));
        });
    }

    /// Submits some of the steps of every model, together.
    fn submit(&self, steps: &[&Steps], range: Range<usize>) -> Submitted {
        let count = range.len();
        self.upload(steps, range);
        let Constants {
            workers,
            steps: in_dispatch,
            losses,
            ..
        } = self.plan.constants;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let counters = 4 * (steps.len() * workers) as u64;
        encoder.clear_buffer(&self.results, 0, Some(counters));
        let dispatches = count.div_ceil(in_dispatch);
        let bytes = 4 * (steps.len() * count * self.plan.dims.batch) as u64;
        let mut sources = vec![
            (&self.results, 0, counters),
            (&self.results, 4 * losses as u64, bytes),
        ];
        match self.profiler.as_ref().filter(|p| p.times_passes()) {
            None => {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                (0..dispatches).for_each(|_| self.dispatch(&mut pass, steps.len()));
            }
            Some(profiler) => {
                for i in 0..dispatches {
                    let mut pass = encoder.begin_compute_pass(&profiler.pass(i));
                    self.dispatch(&mut pass, steps.len());
                }
                sources.extend(profiler.resolve(&mut encoder, dispatches));
            }
        }
        self.gpu.submit(encoder, &sources)
    }

    /// Waits for submitted steps, and appends the losses of each model if the device did all of its steps.
    async fn finish(
        &mut self,
        steps: &[&Steps],
        range: Range<usize>,
        submitted: Submitted,
        losses: &mut [Vec<f32>],
    ) -> Result<(), DeviceError> {
        let Constants {
            workers,
            steps: in_dispatch,
            ..
        } = self.plan.constants;
        let batch = self.plan.dims.batch;
        let done = submitted.wait().await?;
        let counters: Vec<u32> = bytemuck::pod_collect_to_vec(&done.read[0]);
        for (steps, counters) in steps.iter().zip(counters.chunks_exact(workers)) {
            for &counted in counters {
                check_progress(
                    steps.first + range.start as u64,
                    range.len() as u32,
                    counted,
                )?;
            }
        }
        let of_examples = to_f32(&done.read[1]);
        let of_models = of_examples.chunks_exact(range.len() * batch);
        for (losses, of_examples) in losses.iter_mut().zip(of_models) {
            losses.extend(of_examples.chunks_exact(batch).map(mean));
        }
        if let Some(profiler) = &mut self.profiler {
            let times = done.read.get(2).map(Vec::as_slice);
            let firsts = (0..range.len()).step_by(in_dispatch);
            let steps = firsts.map(|first| in_dispatch.min(range.len() - first) as u64);
            profiler.add(range.len(), &done, times, steps.map(|steps| (0, steps)));
        }
        Ok(())
    }

    /// Records one dispatch: the next steps of every model.
    fn dispatch(&self, pass: &mut ComputePass<'_>, models: usize) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(models as u32, 1, 1);
    }

    /// Compiles what evaluates a model, which is otherwise done when it is needed: so that a mistake in a
    /// kernel shows before the first step.
    ///
    /// # Errors
    ///
    /// The device failed, or refuses a kernel.
    pub async fn compile_evaluation(&mut self) -> Result<(), DeviceError> {
        self.staged().await.map(|_| ())
    }

    /// The first model, ready to be evaluated.
    async fn staged(&mut self) -> Result<&mut Staged, DeviceError> {
        let params = self.read_params(0).await?;
        let staged = match self.staged.take() {
            Some(staged) => {
                staged.executor().write_params(&params);
                staged
            }
            None => {
                let layout = Layout::of(&self.found, self.plan.dims);
                let gpu = self.gpu.clone();
                Staged::on(gpu, &self.found, layout, &params, &self.kernels).await?
            }
        };
        Ok(self.staged.insert(staged))
    }
}

impl Backend for Resident {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn dims(&self) -> &Dims {
        &self.plan.dims
    }

    async fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), DeviceError> {
        self.train_all(&[steps], std::slice::from_mut(losses)).await
    }

    async fn params(&mut self) -> Result<Params<f32>, DeviceError> {
        self.read_params(0).await
    }

    async fn set_params(&mut self, params: &Params<f32>) -> Result<(), DeviceError> {
        self.write_params(0, params);
        self.gpu.check()
    }

    async fn calibrate(&mut self, x: &[Token]) -> Result<Statistics, DeviceError> {
        self.staged().await?.calibrate(x).await
    }

    async fn evaluate(
        &mut self,
        stats: &Statistics,
        x: &[Token],
        y: &[Token],
    ) -> Result<f64, DeviceError> {
        self.staged().await?.evaluate(stats, x, y).await
    }

    /// The kernel does the operations of the ten launches of [`STEP`]. Its tensors stay in the caches of one
    /// core, so their sizes tell nothing about memory bandwidth.
    async fn start_profile(&mut self) -> Result<(), DeviceError> {
        let layout = Layout::of(&self.found, self.plan.dims);
        let launches = kernels_of(&STEP, &layout);
        let flops: f64 = launches.iter().filter_map(|k| k.per_step.flops).sum();
        let work = Work {
            flops: Some(flops * self.plan.models as f64),
            bytes: None,
        };
        let kernel = Kernel::new("train_kernel", None, work);
        self.profiler = Some(Profiler::new(&self.gpu, vec![kernel]));
        self.gpu.check()
    }

    fn profile(&self) -> Option<&Profile> {
        self.profiler.as_ref().map(Profiler::profile)
    }
}
