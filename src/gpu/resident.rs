//! The resident schedule: one workgroup keeps a model and runs many steps in a dispatch.
//!
//! `shaders/resident/train.wgsl` has the step. Here is what surrounds it: how the work is shared out
//! on an adapter ([`Split`]), where everything lies in the four buffers ([`Plan`]), the words of a
//! chunk of steps, and the proof that all of them were done.

use std::iter::repeat_n;
use std::ops::Range;

use serde::Serialize;
use wgpu::{Buffer, ComputePass, ComputePipeline, Features, Limits};

use super::adapter::Found;
use super::device::Gpu;
use super::machine::{Layout, list_uses, to_f32, uses_words};
use super::probe::{Answers, Probe};
use super::shader::{Module, resident_module};
use super::staged::{STEP, Staged, check_progress, info, mean};
use super::submission::{Submitted, overlapped, parts};
use super::timestamps::Profiler;
use super::work::kernels_of;
use crate::backend::DeviceError;
use crate::backend::Schedule;
use crate::backend::profile::{Kernel, Profile, Work};
use crate::backend::{Backend, BackendInfo};
use crate::cores::{cores, share_out};
use crate::model::dims::Dims;
use crate::model::params::{Params, Tensor};
use crate::model::statistics::Statistics;
use crate::model::steps::Steps;

/// Rows of a tile, `TILE_ROWS` of the kernel.
const TILE_ROWS: usize = 8;
/// Steps of a chunk at most.
const MAX_STEPS: usize = 4096;
/// Words that a chunk may have in one buffer, over all models: 16 MiB.
const MAX_WORDS: usize = 1 << 22;
/// Words of a chunk before those of its steps: see `shaders/resident/train.wgsl`.
const HEADER: usize = 2;
/// Steps, over all models, whose words are packed in one go: a tenth of a millisecond of work, which is
/// some times what it takes to start a thread for it.
const PACKED: usize = 1000;
/// Storage buffers of the kernel, by their names there.
const NAMES: [&str; 4] = ["inputs", "models", "scratch", "results"];

/// How the work of a step is shared out among the invocations of a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Invocations of the workgroup.
    pub workers: usize,
    /// Those that hand each other what they load: all of them, if the workgroup is one subgroup;
    /// else 1.
    pub lanes: usize,
    /// Parts of the sums over all hidden units.
    pub slices: usize,
    /// Parts of the sums over all examples in batch norm.
    pub row_slices: usize,
    /// Invocations that share a row of logits.
    pub row_workers: usize,
}

impl Split {
    /// On a GPU: many invocations, and something to do for each of them in every phase.
    pub fn hardware(dims: &Dims, limits: &Limits) -> Self {
        let most = limits
            .max_compute_invocations_per_workgroup
            .min(limits.max_compute_workgroup_size_x);
        Self::with_workers(dims, most.clamp(1, 256) as usize)
    }

    /// The split of [`Split::hardware`] for a given number of invocations.
    pub fn with_workers(dims: &Dims, workers: usize) -> Self {
        let rows = dims.batch.div_ceil(TILE_ROWS);
        let tiles = rows * dims.vocab.max(dims.fan_in()).div_ceil(4);
        Self {
            workers,
            lanes: 1,
            slices: (workers / tiles).max(1),
            // With more than eight, an invocation would spend longer adding up parts than computing its own.
            row_slices: (workers / dims.hidden.div_ceil(4)).clamp(1, 8),
            row_workers: (workers / dims.batch).clamp(1, dims.vocab.div_ceil(4)),
        }
    }

    /// On a software adapter with subgroups of a known size of eight or more: one of them.
    fn subgroup(found: &Found) -> Option<Self> {
        let needed = Features::SUBGROUP | Features::SUBGROUP_BARRIER;
        let size = found.info.subgroup_min_size;
        let known = size == found.info.subgroup_max_size && (8..=64).contains(&size);
        (known && found.adapter.features().contains(needed)).then_some(Self {
            workers: size as usize,
            lanes: size as usize,
            slices: 1,
            row_slices: 1,
            row_workers: 1,
        })
    }

    /// On other software adapters: few invocations, for each costs time at every barrier. (Measured
    /// on lavapipe, Mesa 22.3.6, a step of the lecture with 64 and 256: 619 and 664 us; on llvmpipe:
    /// 650 and 770.)
    pub fn software() -> Self {
        Self {
            workers: 32,
            lanes: 1,
            slices: 1,
            row_slices: 1,
            row_workers: 1,
        }
    }

    /// What suits an adapter.
    pub fn of(found: &Found, dims: &Dims) -> Self {
        if found.is_software() {
            Self::subgroup(found).unwrap_or(Self::software())
        } else {
            Self::hardware(dims, &found.adapter.limits())
        }
    }
}

/// The `override` constants of `shaders/resident/train.wgsl`, under their names there.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Constants {
    workers: usize,
    lanes: usize,
    groups: usize,
    batch: usize,
    vocab: usize,
    embd: usize,
    fan_in: usize,
    hidden4: usize,
    vocab4: usize,
    fan_in4: usize,
    embd4: usize,
    hidden_groups: usize,
    vocab_groups: usize,
    fan_in_groups: usize,
    batch_tiles: usize,
    hidden_tiles: usize,
    fan_in_tiles: usize,
    slices: usize,
    slice4: usize,
    row_slices: usize,
    slice_rows: usize,
    row_workers: usize,
    steps: usize,
    w1: usize,
    b1: usize,
    w2: usize,
    b2: usize,
    bngain: usize,
    bnbias: usize,
    model4: usize,
    hprebn: usize,
    bnmean: usize,
    bnvar_inv: usize,
    h: usize,
    logits: usize,
    dlogits: usize,
    dhprebn: usize,
    dembcat: usize,
    partials: usize,
    scratch4: usize,
    first_step: usize,
    step_words: usize,
    y: usize,
    uses: usize,
    lr: usize,
    losses: usize,
}

/// Where everything lies in the buffers.
#[derive(Clone, Debug)]
pub struct Plan {
    dims: Dims,
    /// Models that there is room for.
    models: usize,
    constants: Constants,
    /// Steps that a chunk may have.
    capacity: usize,
}

impl Plan {
    /// The plan for `models` models of these sizes, with dispatches in which no invocation goes round
    /// loops more than `rounds` times.
    pub fn new(dims: Dims, models: usize, split: Split, rounds: usize) -> Self {
        let Split {
            workers,
            lanes,
            slices,
            row_slices,
            row_workers,
        } = split;
        let Dims {
            vocab,
            block,
            embd,
            hidden,
            batch,
        } = dims;
        let fan_in = dims.fan_in();
        // A tile of a weight gradient has eight rows: all weights are padded to multiples of eight.
        let rows = |size: usize| size.next_multiple_of(TILE_ROWS);
        let (batch_rows, hidden_rows, fan_in_rows) = (rows(batch), rows(hidden), rows(fan_in));
        let (hidden4, fan_in4, vocab4) = (hidden_rows / 4, fan_in_rows / 4, vocab.div_ceil(4));
        let embd4 = embd.div_ceil(4);
        let slice4 = hidden4.div_ceil(slices.clamp(1, hidden4));
        let slices = hidden4.div_ceil(slice4);
        let slice_rows = batch.div_ceil(row_slices);
        let row_slices = batch.div_ceil(slice_rows);

        let mut model = Places::default();
        let _c = model.take(vocab * embd4);
        let mut scratch = Places::default();
        let _embcat = scratch.take(batch_rows * fan_in4);
        let mut step = Places::default();
        let _x = step.take((batch * block).div_ceil(4));
        let (y, uses) = (
            step.take(batch.div_ceil(4)),
            step.take(uses_words(&dims, batch)),
        );
        let lr = step.take(1);
        let fitting = MAX_WORDS / (models * step.0.max(batch));
        let capacity = fitting.clamp(1, MAX_STEPS);

        let constants = Constants {
            workers,
            lanes,
            groups: workers / lanes,
            batch,
            vocab,
            embd,
            fan_in,
            hidden4,
            vocab4,
            fan_in4,
            embd4,
            hidden_groups: hidden4.div_ceil(lanes),
            vocab_groups: vocab4.div_ceil(lanes),
            fan_in_groups: fan_in4.div_ceil(lanes),
            batch_tiles: batch_rows / TILE_ROWS,
            hidden_tiles: hidden_rows / TILE_ROWS,
            fan_in_tiles: fan_in_rows / TILE_ROWS,
            slices,
            slice4,
            row_slices,
            slice_rows,
            row_workers,
            steps: 0,
            w1: model.take(fan_in_rows * hidden4),
            b1: model.take(hidden4),
            w2: model.take(hidden_rows * vocab4),
            b2: model.take(vocab4),
            bngain: model.take(hidden4),
            bnbias: model.take(hidden4),
            model4: model.0,
            hprebn: scratch.take(batch_rows * hidden4),
            bnmean: scratch.take(hidden4),
            bnvar_inv: scratch.take(hidden4),
            h: scratch.take(batch_rows * hidden4),
            logits: scratch.take(slices * batch_rows * vocab4),
            dlogits: scratch.take(batch_rows * vocab4),
            dhprebn: scratch.take(batch_rows * hidden4),
            dembcat: scratch.take(slices * batch_rows * fan_in4),
            partials: scratch.take(3 * row_slices * hidden4),
            scratch4: scratch.0,
            first_step: HEADER,
            step_words: step.0,
            y,
            uses,
            lr,
            losses: models * workers,
        };
        let mut plan = Self {
            dims,
            models,
            constants,
            capacity,
        };
        plan.constants.steps = (rounds / plan.rounds()).clamp(1, MAX_STEPS);
        plan
    }

    /// The plan for a driver that stops loops after `rounds` iterations.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Loops`] if a step is longer.
    pub fn for_driver(
        found: &Found,
        dims: Dims,
        models: usize,
        split: Split,
        rounds: u32,
    ) -> Result<Self, DeviceError> {
        // A margin, in case a compiler adds rounds of its own.
        let rounds = (rounds - rounds / 8) as usize;
        let plan = Self::new(dims, models, split, rounds);
        if plan.rounds() > rounds {
            return Err(DeviceError::Loops {
                adapter: found.info.name.clone(),
                needed: plan.rounds(),
                available: rounds,
            });
        }
        Ok(plan)
    }

    /// Steps that a dispatch has at most.
    pub fn steps_of_a_dispatch(&self) -> usize {
        self.constants.steps
    }

    /// Bytes of the four buffers: inputs, models, scratch, results.
    fn bytes(&self) -> [u64; NAMES.len()] {
        self.words(self.capacity).map(|words| 4 * words as u64)
    }

    /// Words of the four buffers for chunks of `steps` steps.
    fn words(&self, steps: usize) -> [usize; NAMES.len()] {
        let c = &self.constants;
        let steps = self.models * steps;
        [
            c.first_step + steps * c.step_words,
            self.models * 4 * c.model4,
            self.models * 4 * c.scratch4,
            c.losses + steps * self.dims.batch,
        ]
    }

    /// Whether the adapter can hold the models.
    fn check(&self, found: &Found) -> Result<(), DeviceError> {
        let limits = found.adapter.limits();
        let largest = self.bytes().into_iter().max().unwrap_or(0);
        let needs = [
            (
                "maxStorageBuffersPerShaderStage",
                NAMES.len() as u64,
                limits.max_storage_buffers_per_shader_stage.into(),
            ),
            (
                "maxComputeInvocationsPerWorkgroup",
                self.constants.workers as u64,
                limits.max_compute_invocations_per_workgroup.into(),
            ),
            (
                "maxStorageBufferBindingSize",
                largest,
                limits.max_storage_buffer_binding_size,
            ),
            ("maxBufferSize", largest, limits.max_buffer_size),
        ];
        match needs.into_iter().find(|(_, needed, there)| needed > there) {
            None => Ok(()),
            Some((limit, needed, available)) => Err(DeviceError::Limit {
                adapter: found.info.name.clone(),
                limit,
                needed,
                available,
            }),
        }
    }

    /// The constants of the kernel, by name.
    pub fn named(&self) -> Vec<(String, f64)> {
        match serde_json::to_value(self.constants) {
            Ok(serde_json::Value::Object(map)) => map
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.as_f64()?)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Rounds of loops, nested ones counted, of the busiest invocation in a step.
    fn rounds(&self) -> usize {
        let Dims {
            vocab,
            block,
            batch,
            ..
        } = self.dims;
        let c = &self.constants;
        let by_worker = |work: usize| work.div_ceil(c.workers);
        let by_group = |work: usize| work.div_ceil(c.groups);
        let embed = by_worker(batch * c.fan_in4);
        let first_layer = by_group(c.batch_tiles * c.hidden_groups) * (1 + c.fan_in4);
        // The rows of a column once, and what the slices of its sums add up to.
        let column = |sums: usize| {
            by_worker(c.hidden4 * c.row_slices) * (1 + c.slice_rows + sums * c.row_slices)
        };
        let normalize = column(0) + column(1) + column(1);
        let second_layer = by_group(c.batch_tiles * c.vocab_groups * c.slices) * (1 + c.slice4);
        let add_slices = by_worker(batch * c.vocab4) * (1 + c.slices);
        let loss = by_worker(batch * c.row_workers) * (1 + 3 * c.vocab4);
        let through_second = by_group(c.batch_tiles * c.hidden_groups) * (1 + c.vocab4);
        let through_batchnorm =
            column(0) + column(2) + by_worker(c.hidden4) * (1 + 3 * c.row_slices);
        let rows = 2 * c.batch_tiles; // four at a time
        let second_update = by_group(c.hidden_tiles * c.vocab_groups) * (1 + rows) + batch;
        let through_first = by_group(c.batch_tiles * c.fan_in_groups * c.slices) * (1 + c.slice4);
        let first_update = by_group(c.fan_in_tiles * c.hidden_groups) * (1 + rows);
        let add_dembcat = if c.slices > 1 {
            by_worker(batch * c.fan_in4) * c.slices
        } else {
            0
        };
        // Each position has one token: an invocation meets it once for each vec4 that it has of that.
        let uses = c.embd4.div_ceil(c.workers) * batch * block;
        let embedding = by_worker(vocab * c.embd4) + uses;
        embed
            + first_layer
            + normalize
            + second_layer
            + add_slices
            + loss
            + through_second
            + through_batchnorm
            + second_update
            + through_first
            + add_dembcat
            + first_update
            + embedding
            + 1
    }

    /// The four buffers before the first dispatch of a chunk of steps of each model, in the order of their
    /// bindings, for tests that have something else than a device run the kernel.
    pub fn memory(&self, params: &[Params<f32>], steps: &[&Steps]) -> [Vec<u32>; NAMES.len()] {
        let count = steps.first().map_or(0, |steps| steps.len());
        let mut memory = self.words(count).map(|words| vec![0; words]);
        let [inputs, models, ..] = &mut memory;
        inputs[..HEADER].copy_from_slice(&[count as u32, 2]);
        let of_models = inputs[HEADER..].chunks_mut(count * self.constants.step_words);
        for (words, steps) in of_models.zip(steps) {
            self.pack_steps(steps, 0..count, words);
        }
        for (words, params) in models.chunks_mut(4 * self.constants.model4).zip(params) {
            words.copy_from_slice(bytemuck::cast_slice(&self.pack(params)));
        }
        memory
    }

    /// Where value `i` of a parameter lies in a model's part of the buffer.
    fn place(&self, tensor: Tensor) -> impl Fn(usize) -> usize {
        let Dims { hidden, vocab, .. } = self.dims;
        let record = &self.constants;
        let (at, cols, row4) = match tensor {
            Tensor::C => (0, self.dims.embd, record.embd4),
            Tensor::W1 => (record.w1, hidden, record.hidden4),
            Tensor::B1 => (record.b1, 1, 0),
            Tensor::W2 => (record.w2, vocab, record.vocab4),
            Tensor::B2 => (record.b2, 1, 0),
            Tensor::Bngain => (record.bngain, 1, 0),
            Tensor::Bnbias => (record.bnbias, 1, 0),
        };
        let (at, pitch) = (4 * at, 4 * row4);
        move |i| {
            if pitch == 0 {
                at + i
            } else {
                at + i / cols * pitch + i % cols
            }
        }
    }

    /// A model as the kernel has it.
    fn pack(&self, params: &Params<f32>) -> Vec<f32> {
        let mut values = vec![0.0; 4 * self.constants.model4];
        for tensor in Tensor::ALL {
            let place = self.place(tensor);
            for (i, &value) in params.get(tensor).iter().enumerate() {
                values[place(i)] = value;
            }
        }
        values
    }

    /// The parameters of a model as the kernel left it.
    pub fn unpack(&self, values: &[f32]) -> Params<f32> {
        Params::from_fn(|tensor| {
            let place = self.place(tensor);
            (0..tensor.len(&self.dims))
                .map(|i| values[place(i)])
                .collect()
        })
    }

    /// Writes the words of some steps of a model, as the kernel reads them.
    fn pack_steps(&self, steps: &Steps, range: Range<usize>, words: &mut [u32]) {
        let places = &self.constants;
        for (i, words) in range.zip(words.chunks_exact_mut(places.step_words)) {
            let (x, y, lr) = steps.step(i);
            let (tokens, uses) = words.split_at_mut(places.uses);
            let (uses, rate) = uses.split_at_mut(places.lr - places.uses);
            let tokens: &mut [u8] = bytemuck::cast_slice_mut(tokens);
            tokens[..x.len()].copy_from_slice(x);
            tokens[4 * places.y..][..y.len()].copy_from_slice(y);
            list_uses(&self.dims, 4 * places.fan_in4, x, uses);
            rate[0] = lr.to_bits();
        }
    }
}

/// Hands out places one after another.
#[derive(Default)]
struct Places(usize);

impl Places {
    fn take(&mut self, len: usize) -> usize {
        let at = self.0;
        self.0 += len;
        at
    }
}

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

    /// Room for several models of one size, each with its `params`, on a device that is open.
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
        let probe = Probe::new(&gpu, Split::of(found, &dims)).await?;
        let answers = probe.ask().await?;
        Self::probed(gpu, found, dims, params, &answers).await
    }

    /// Room for `most` models of one size, each of which begins with `params`; or for half as many, and so
    /// on, until the adapter can hold them.
    ///
    /// # Errors
    ///
    /// As [`Resident::new`].
    pub async fn at_most(
        gpu: Gpu,
        found: &Found,
        dims: Dims,
        params: &Params<f32>,
        most: usize,
    ) -> Result<Self, DeviceError> {
        let split = Split::of(found, &dims);
        let answers = Probe::new(&gpu, split).await?.ask().await?;
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
        let module = resident_module(split.lanes > 1);
        Self::with(gpu, found, plan, repeat_n(params, count), module).await
    }

    /// As [`Resident::several`], with a driver that has been probed.
    ///
    /// # Errors
    ///
    /// As [`Resident::new`].
    pub async fn probed(
        gpu: Gpu,
        found: &Found,
        dims: Dims,
        params: &[Params<f32>],
        answers: &Answers,
    ) -> Result<Self, DeviceError> {
        let kernel = Self::kernel(found, &dims);
        Self::laid_out(gpu, found, dims, params, answers, kernel).await
    }

    /// The kernel that suits an adapter.
    pub fn kernel(found: &Found, dims: &Dims) -> Module {
        resident_module(Split::of(found, dims).lanes > 1)
    }

    /// One model, trained by a kernel that tests may have changed, laid out as [`Resident::new`] does.
    ///
    /// # Errors
    ///
    /// As [`Resident::new`].
    pub async fn with_kernel(
        found: &Found,
        dims: Dims,
        params: &Params<f32>,
        kernel: Module,
    ) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(found).await?;
        let probe = Probe::new(&gpu, Split::of(found, &dims)).await?;
        let answers = probe.ask().await?;
        let params = std::slice::from_ref(params);
        Self::laid_out(gpu, found, dims, params, &answers, kernel).await
    }

    /// A plan that the driver's loops allow, and the models with it.
    async fn laid_out(
        gpu: Gpu,
        found: &Found,
        dims: Dims,
        params: &[Params<f32>],
        answers: &Answers,
        kernel: Module,
    ) -> Result<Self, DeviceError> {
        answers.check(Schedule::Resident, &found.info.name)?;
        let split = Split::of(found, &dims);
        let plan = Plan::for_driver(found, dims, params.len(), split, answers.loops.done)?;
        Self::with(gpu, found, plan, params, kernel).await
    }

    /// Several models, with a plan made for them and a kernel that tests may have changed.
    ///
    /// # Errors
    ///
    /// As [`Resident::new`].
    pub async fn with<'a>(
        gpu: Gpu,
        found: &Found,
        plan: Plan,
        params: impl IntoIterator<Item = &'a Params<f32>>,
        module: Module,
    ) -> Result<Self, DeviceError> {
        plan.check(found)?;
        let named = plan.named();
        let constants: Vec<_> = named
            .iter()
            .map(|(n, value)| (n.as_str(), *value))
            .collect();
        let shader = gpu.module(&module.source).await?;
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
            plan,
            info: info(found, "resident"),
            pipeline,
            bindings,
            inputs,
            models,
            results,
            found: found.clone(),
            staged: None,
            profiler: None,
        };
        for (i, params) in params.into_iter().enumerate() {
            resident.write_params(i, params);
        }
        resident.gpu.check()?;
        Ok(resident)
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
    /// and appends the losses of each. Further models stay as they are.
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
        // A dispatch ends with its part: parts of whole dispatches have no short ones between them.
        let parts = parts(
            count,
            self.steps_of_a_submission(),
            self.plan.constants.steps,
        );
        overlapped(
            self,
            parts,
            |resident, part| resident.submit(steps, part),
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

    /// Packs and uploads the words of some steps of every model, on several cores if there is enough
    /// to do: for many models, it may be more than the device has.
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

    /// Has the device do some of the steps of every model, in one submission.
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

    /// Waits for them, and appends the losses of each model if all of its steps were done.
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

    /// The first model, ready to be evaluated.
    async fn staged(&mut self) -> Result<&mut Staged, DeviceError> {
        let params = self.read_params(0).await?;
        let staged = match self.staged.take() {
            Some(staged) => {
                staged.machine().write_params(&params);
                staged
            }
            None => Staged::on(self.gpu.clone(), &self.found, self.plan.dims, &params).await?,
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

    async fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, DeviceError> {
        self.staged().await?.calibrate(x).await
    }

    async fn evaluate(
        &mut self,
        stats: &Statistics,
        x: &[u8],
        y: &[u8],
    ) -> Result<f64, DeviceError> {
        self.staged().await?.evaluate(stats, x, y).await
    }

    /// The kernel does the operations of the ten launches. What it moves stays in the caches of one
    /// core: no bandwidth can be told from the sizes of the tensors.
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
