//! The staged schedule: one launch an operation, any size.
//!
//! [`STEP`] is the table of launches, in execution order: it reads as the forward and the backward
//! pass. Every launch names its kernel, the tensors that it binds and how its invocations are laid
//! out; everything else in this file serves that table.

use std::collections::HashMap;

use bytemuck::{Pod, Zeroable};
use wgpu::{BindGroup, Buffer, BufferUsages, CommandEncoder, ComputePipeline};

use super::GpuError;
use super::adapter::{Found, api_name};
use super::device::Gpu;
use super::shader;
use crate::backend::{Backend, BackendError, BackendInfo, MergedStatistics, Statistics, Steps};
use crate::dims::Dims;
use crate::params::{Params, Tensor};

/// A tensor on the device. Activations and their gradients have the lecture's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // shapes: `Slot::len`
pub enum Slot {
    Progress,
    X,
    Y,
    Lr,
    /// The loss of each example of each step of a chunk.
    Losses,
    /// One parameter.
    Param(Tensor),
    /// Its gradient.
    Grad(Tensor),
    /// All parameters, one after another.
    Params,
    /// All gradients, in the same order.
    Grads,
    Embcat,
    Hprebn,
    /// `bnmean`, `bnvar`, `bnvar_inv`, one after another.
    Bnstats,
    Bnraw,
    Hpreact,
    H,
    Logits,
    Dlogits,
    Dh,
    Dhpreact,
    Dhprebn,
    Dembcat,
}

impl Slot {
    /// Slots with a buffer of their own; parameters and gradients share one buffer each.
    const BUFFERS: [Slot; 19] = [
        Slot::Progress,
        Slot::X,
        Slot::Y,
        Slot::Lr,
        Slot::Losses,
        Slot::Params,
        Slot::Grads,
        Slot::Embcat,
        Slot::Hprebn,
        Slot::Bnstats,
        Slot::Bnraw,
        Slot::Hpreact,
        Slot::H,
        Slot::Logits,
        Slot::Dlogits,
        Slot::Dh,
        Slot::Dhpreact,
        Slot::Dhprebn,
        Slot::Dembcat,
    ];
}

/// How the invocations of a launch are laid out.
#[derive(Clone, Copy, Debug)]
enum Grid {
    /// One invocation for each of `rows * cols` elements.
    Elements(Size, Size),
    /// One invocation for each.
    Each(Size),
    /// One invocation for each tile of 4 x 4, in workgroups of 16 x 4: `(rows, cols)`.
    Tiles(Size, Size),
    /// One invocation for each value of the parameters.
    Params,
}

/// A size that a layout refers to.
#[derive(Clone, Copy, Debug)]
enum Size {
    Batch,
    Vocab,
    Embd,
    Hidden,
    FanIn,
}

/// Which linear layer the record of sizes describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// `hprebn = embcat @ W1 + b1`
    First,
    /// `logits = h @ W2 + b2`
    Second,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Entry point in `shaders/staged/`.
    pub kernel: &'static str,
    /// Binding number and tensor, as the entry point's module declares them.
    pub binds: &'static [(u32, Slot)],
    layer: Layer,
    grid: Grid,
}

const fn launch(
    kernel: &'static str,
    layer: Layer,
    grid: Grid,
    binds: &'static [(u32, Slot)],
) -> Launch {
    Launch {
        kernel,
        binds,
        layer,
        grid,
    }
}

use Layer::{First, Second};
use Size::{Batch, Embd, FanIn, Hidden, Vocab};
use Slot as S;
use Tensor as T;

/// One training step.
#[rustfmt::skip]
pub const STEP: [Launch; 14] = [
    // Forward.
    launch("embedding_forward_kernel", First, Grid::Elements(Batch, FanIn),
        &[(1, S::Progress), (2, S::X), (3, S::Param(T::C)), (4, S::Embcat)]),
    launch("linear_forward_kernel", First, Grid::Tiles(Batch, Hidden),
        &[(1, S::Embcat), (2, S::Param(T::W1)), (3, S::Param(T::B1)), (4, S::Hprebn)]),
    launch("batchnorm_forward_kernel", First, Grid::Each(Hidden),
        &[(1, S::Hprebn), (2, S::Param(T::Bngain)), (3, S::Param(T::Bnbias)), (4, S::Bnstats),
          (5, S::Bnraw), (6, S::Hpreact)]),
    launch("tanh_forward_kernel", First, Grid::Elements(Batch, Hidden),
        &[(1, S::Hpreact), (2, S::H)]),
    launch("linear_forward_kernel", Second, Grid::Tiles(Batch, Vocab),
        &[(1, S::H), (2, S::Param(T::W2)), (3, S::Param(T::B2)), (4, S::Logits)]),
    // Loss, and the first gradient with it.
    launch("softmax_cross_entropy_kernel", Second, Grid::Each(Batch),
        &[(1, S::Progress), (2, S::Y), (3, S::Logits), (4, S::Losses), (5, S::Dlogits)]),
    // Backward.
    launch("linear_backward_weight_kernel", Second, Grid::Tiles(Hidden, Vocab),
        &[(1, S::H), (5, S::Dlogits), (7, S::Grad(T::W2)), (8, S::Grad(T::B2))]),
    launch("linear_backward_input_kernel", Second, Grid::Tiles(Batch, Hidden),
        &[(2, S::Param(T::W2)), (5, S::Dlogits), (6, S::Dh)]),
    launch("tanh_backward_kernel", First, Grid::Elements(Batch, Hidden),
        &[(2, S::H), (3, S::Dh), (4, S::Dhpreact)]),
    launch("batchnorm_backward_kernel", First, Grid::Each(Hidden),
        &[(2, S::Param(T::Bngain)), (4, S::Bnstats), (5, S::Bnraw), (7, S::Dhpreact),
          (8, S::Grad(T::Bngain)), (9, S::Grad(T::Bnbias)), (10, S::Dhprebn)]),
    launch("linear_backward_weight_kernel", First, Grid::Tiles(FanIn, Hidden),
        &[(1, S::Embcat), (5, S::Dhprebn), (7, S::Grad(T::W1)), (8, S::Grad(T::B1))]),
    launch("linear_backward_input_kernel", First, Grid::Tiles(Batch, FanIn),
        &[(2, S::Param(T::W1)), (5, S::Dhprebn), (6, S::Dembcat)]),
    launch("embedding_backward_kernel", First, Grid::Elements(Vocab, Embd),
        &[(1, S::Progress), (2, S::X), (5, S::Dembcat), (6, S::Grad(T::C))]),
    // Update.
    launch("sgd_kernel", First, Grid::Params,
        &[(1, S::Progress), (2, S::Lr), (3, S::Params), (4, S::Grads)]),
];

/// Batch-norm statistics of a batch of contexts: the start of a step.
const CALIBRATE: [Launch; 3] = [STEP[0], STEP[1], STEP[2]];

/// The loss of a batch of examples with fixed statistics: a step's forward pass with another batch
/// norm.
#[rustfmt::skip]
const EVALUATE: [Launch; 6] = [
    STEP[0],
    STEP[1],
    launch("batchnorm_inference_kernel", First, Grid::Elements(Batch, Hidden),
        &[(1, S::Hprebn), (2, S::Param(T::Bngain)), (3, S::Param(T::Bnbias)), (4, S::Bnstats),
          (6, S::Hpreact)]),
    STEP[3],
    STEP[4],
    STEP[5],
];

/// Invocations of a workgroup; every kernel has the same number.
const WORKGROUP: usize = 64;

/// `struct Shape` of `shaders/shape.wgsl`, field for field.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ShapeRecord {
    batch: u32,
    block: u32,
    vocab: u32,
    embd: u32,
    hidden: u32,
    fan_in: u32,
    fan_out: u32,
    padding: u32,
}

impl ShapeRecord {
    fn new(dims: &Dims, layer: Layer) -> Self {
        let (fan_in, fan_out) = match layer {
            First => (dims.fan_in(), dims.hidden),
            Second => (dims.hidden, dims.vocab),
        };
        let [batch, block, vocab, embd, hidden, fan_in, fan_out] = [
            dims.batch,
            dims.block,
            dims.vocab,
            dims.embd,
            dims.hidden,
            fan_in,
            fan_out,
        ]
        .map(|size| size as u32);
        Self {
            batch,
            block,
            vocab,
            embd,
            hidden,
            fan_in,
            fan_out,
            padding: 0,
        }
    }
}

/// Where everything lies: sizes in values of 4 bytes.
#[derive(Clone, Debug)]
struct Layout {
    dims: Dims,
    /// Rows that the activations have room for: a minibatch or an evaluation batch.
    rows: usize,
    /// Steps that a chunk may have.
    steps: usize,
    /// First value of each parameter in the shared buffer.
    offsets: [usize; 7],
    /// Values in that buffer.
    params: usize,
}

impl Layout {
    /// A bound range starts at a multiple of 256 bytes on every device.
    const ALIGN: usize = 64;
    /// Values of the widest activation in an evaluation batch: 4 MiB.
    const EVAL_VALUES: usize = 1 << 20;
    /// Steps of a chunk: half a second at most on a GPU at the lecture's size.
    const MAX_STEPS: usize = 1024;
    /// Tokens of a chunk.
    const MAX_TOKENS: usize = 1 << 20;

    fn new(dims: Dims) -> Self {
        let widest = dims.hidden.max(dims.fan_in()).max(dims.vocab);
        let mut offsets = [0; 7];
        let mut params = 0;
        for (offset, tensor) in offsets.iter_mut().zip(Tensor::ALL) {
            *offset = params;
            params += tensor.len(&dims).next_multiple_of(Self::ALIGN);
        }
        Self {
            dims,
            rows: dims.batch.max((Self::EVAL_VALUES / widest).min(4096)),
            steps: (Self::MAX_TOKENS / (dims.batch * dims.block)).clamp(1, Self::MAX_STEPS),
            offsets,
            params,
        }
    }

    /// Words of packed tokens of one step.
    fn x_words(&self, rows: usize) -> usize {
        (rows * self.dims.block).div_ceil(4)
    }

    fn y_words(&self, rows: usize) -> usize {
        rows.div_ceil(4)
    }

    /// Values of a slot.
    fn len(&self, slot: Slot) -> usize {
        let Dims {
            vocab,
            hidden,
            batch,
            ..
        } = self.dims;
        let fan_in = self.dims.fan_in();
        match slot {
            S::Progress => 2,
            S::X => (self.steps * self.x_words(batch)).max(self.x_words(self.rows)),
            S::Y => (self.steps * self.y_words(batch)).max(self.y_words(self.rows)),
            S::Lr => self.steps,
            S::Losses => (self.steps * batch).max(self.rows),
            S::Param(tensor) | S::Grad(tensor) => tensor.len(&self.dims),
            S::Params | S::Grads => self.params,
            S::Embcat | S::Dembcat => self.rows * fan_in,
            S::Bnstats => 3 * hidden,
            S::Hprebn | S::Bnraw | S::Hpreact | S::H | S::Dh | S::Dhpreact | S::Dhprebn => {
                self.rows * hidden
            }
            S::Logits | S::Dlogits => self.rows * vocab,
        }
    }

    /// The buffer that holds a slot, and the first value of the slot in it.
    fn place(&self, slot: Slot) -> (Slot, usize) {
        match slot {
            S::Param(tensor) => (S::Params, self.offsets[tensor as usize]),
            S::Grad(tensor) => (S::Grads, self.offsets[tensor as usize]),
            other => (other, 0),
        }
    }

    fn size(&self, size: Size, rows: usize) -> usize {
        match size {
            Batch => rows,
            Vocab => self.dims.vocab,
            Embd => self.dims.embd,
            Hidden => self.dims.hidden,
            FanIn => self.dims.fan_in(),
        }
    }

    /// Workgroups of a launch over `rows` rows.
    fn workgroups(&self, grid: Grid, rows: usize) -> [u32; 3] {
        let size = |s| self.size(s, rows);
        // `invocation_index` of shape.wgsl puts the two dimensions together again.
        let folded = |values: usize| {
            let groups = values.div_ceil(WORKGROUP);
            let x = groups.clamp(1, 32_768);
            [x as u32, groups.div_ceil(x) as u32, 1]
        };
        match grid {
            Grid::Elements(rows, cols) => folded(size(rows) * size(cols)),
            Grid::Params => folded(self.params),
            Grid::Each(count) => [size(count).div_ceil(WORKGROUP) as u32, 1, 1],
            Grid::Tiles(rows, cols) => [
                size(cols).div_ceil(4 * 16) as u32,
                size(rows).div_ceil(4 * 4) as u32,
                1,
            ],
        }
    }

    /// Whether the adapter can hold this model.
    fn check(&self, limits: &wgpu::Limits, adapter: &str) -> Result<(), GpuError> {
        let error = |limit, needed, available| {
            Err(GpuError::Limit {
                adapter: adapter.to_owned(),
                limit,
                needed,
                available,
            })
        };
        let bindings = STEP.iter().map(|l| l.binds.len()).max().unwrap_or(0) as u32;
        if limits.max_storage_buffers_per_shader_stage < bindings {
            let available = limits.max_storage_buffers_per_shader_stage;
            return error(
                "maxStorageBuffersPerShaderStage",
                bindings.into(),
                available.into(),
            );
        }
        if limits.max_compute_invocations_per_workgroup < WORKGROUP as u32 {
            let available = limits.max_compute_invocations_per_workgroup;
            return error(
                "maxComputeInvocationsPerWorkgroup",
                WORKGROUP as u64,
                available.into(),
            );
        }
        let largest = Slot::BUFFERS
            .iter()
            .map(|&s| 4 * self.len(s) as u64)
            .max()
            .unwrap_or(0);
        if limits.max_storage_buffer_binding_size < largest {
            let available = limits.max_storage_buffer_binding_size;
            return error("maxStorageBufferBindingSize", largest, available);
        }
        if limits.max_buffer_size < largest {
            return error("maxBufferSize", largest, limits.max_buffer_size);
        }
        Ok(())
    }
}

/// A launch with its pipeline and bindings.
struct Ready {
    pipeline: ComputePipeline,
    bindings: BindGroup,
    workgroups: [u32; 3],
}

/// A list of launches over a given number of rows.
struct Pass {
    launches: Vec<Ready>,
    /// Sizes of the first and the second layer.
    shapes: [Buffer; 2],
}

/// A model on a device, trained by the staged schedule.
pub struct Staged {
    gpu: Gpu,
    info: BackendInfo,
    layout: Layout,
    buffers: HashMap<Slot, Buffer>,
    step: Pass,
    calibrate: Pass,
    evaluate: Pass,
}

impl Staged {
    /// Opens the adapter, compiles the kernels and uploads `params`.
    pub fn new(found: &Found, dims: Dims, params: &Params<f32>) -> Result<Self, GpuError> {
        let layout = Layout::new(dims);
        // The adapter's limits are known before anything is opened or compiled.
        layout.check(&found.adapter.limits(), &found.info.name)?;
        let gpu = Gpu::open(found)?;
        let info = BackendInfo {
            backend: api_name(found.info.backend),
            adapter: found.info.name.clone(),
            driver: found.driver(),
            software: found.is_software(),
        };
        let mut pipelines = HashMap::new();
        for (source, entry_points) in shader::staged_modules() {
            let compiled = gpu.pipelines(&source, entry_points)?;
            pipelines.extend(entry_points.iter().copied().zip(compiled));
        }
        let buffers: HashMap<Slot, Buffer> = Slot::BUFFERS
            .into_iter()
            .map(|slot| {
                (
                    slot,
                    gpu.storage(&format!("{slot:?}"), 4 * layout.len(slot) as u64),
                )
            })
            .collect();
        let pass =
            |table: &[Launch], rows| Pass::new(&gpu, &layout, &buffers, &pipelines, table, rows);
        let step = pass(&STEP, dims.batch);
        let calibrate = pass(&CALIBRATE, layout.rows);
        let evaluate = pass(&EVALUATE, layout.rows);
        let mut staged = Self {
            gpu,
            info,
            layout,
            buffers,
            step,
            calibrate,
            evaluate,
        };
        staged.gpu.check()?;
        staged.upload_params(params);
        Ok(staged)
    }

    fn upload_params(&mut self, params: &Params<f32>) {
        for tensor in Tensor::ALL {
            self.write(Slot::Param(tensor), params.get(tensor));
        }
    }

    /// Overwrites a tensor's first values.
    pub fn write(&self, slot: Slot, values: &[f32]) {
        let (buffer, first) = self.layout.place(slot);
        let bytes = bytemuck::cast_slice(values);
        self.gpu
            .queue
            .write_buffer(&self.buffers[&buffer], 4 * first as u64, bytes);
    }

    /// The first `len` values of a tensor.
    pub fn read(&self, slot: Slot, len: usize) -> Result<Vec<f32>, GpuError> {
        let mut bytes = self
            .gpu
            .finish_and_read(self.encoder(), &[self.range(slot, len)])?;
        Ok(to_f32(&bytes.swap_remove(0)))
    }

    /// Uploads the tokens of one step and resets the device's counters, so that launches can be
    /// run one by one with [`Staged::run`].
    pub fn write_step(&self, x: &[u8], y: &[u8], lr: f32) {
        self.upload(S::X, x, x.len());
        self.upload(S::Y, y, y.len());
        self.write(S::Lr, &[lr]);
        self.write(S::Progress, &[0.0, 0.0]);
    }

    /// Runs launches of [`STEP`], each by its index.
    pub fn run(&self, launches: std::ops::Range<usize>) -> Result<(), GpuError> {
        let mut encoder = self.encoder();
        encode(&mut encoder, &self.step.launches[launches], 1);
        self.gpu.finish_and_read(encoder, &[]).map(|_| ())
    }

    fn encoder(&self) -> CommandEncoder {
        self.gpu.device.create_command_encoder(&Default::default())
    }

    /// Buffer, offset and length in bytes of a slot's first `len` values.
    fn range(&self, slot: Slot, len: usize) -> (&Buffer, u64, u64) {
        let (buffer, first) = self.layout.place(slot);
        (&self.buffers[&buffer], 4 * first as u64, 4 * len as u64)
    }

    /// Packs tokens four to a word, each row of `row` tokens from a new word, and uploads them.
    fn upload(&self, slot: Slot, tokens: &[u8], row: usize) {
        let words = row.div_ceil(4);
        let mut packed = vec![0u8; tokens.len() / row * words * 4];
        for (to, from) in packed
            .chunks_exact_mut(words * 4)
            .zip(tokens.chunks_exact(row))
        {
            to[..row].copy_from_slice(from);
        }
        self.gpu
            .queue
            .write_buffer(&self.buffers[&slot], 0, &packed);
    }

    /// One chunk of at most `layout.steps` steps, in one submission.
    fn chunk(&self, steps: &Steps, range: std::ops::Range<usize>) -> Result<Vec<f32>, GpuError> {
        let Dims { batch, block, .. } = self.layout.dims;
        let count = range.len();
        let (xs, ys) = (batch * block, batch);
        self.upload(S::X, &steps.x[range.start * xs..range.end * xs], xs);
        self.upload(S::Y, &steps.y[range.start * ys..range.end * ys], ys);
        self.write(S::Lr, &steps.lr[range.clone()]);
        self.write(S::Progress, &[0.0, 0.0]);
        let mut encoder = self.encoder();
        encode(&mut encoder, &self.step.launches, count);
        let results = self.gpu.finish_and_read(
            encoder,
            &[
                self.range(S::Progress, 2),
                self.range(S::Losses, count * batch),
            ],
        )?;
        let progress: Vec<u32> = bytemuck::pod_collect_to_vec(&results[0]);
        check_progress(steps.first + range.start as u64, count as u32, progress[1])?;
        let losses = to_f32(&results[1]);
        Ok(losses.chunks_exact(batch).map(mean).collect())
    }

    /// Runs an evaluation pass over a batch of examples that has at most `layout.rows` rows.
    fn batch(
        &self,
        pass: &Pass,
        x: &[u8],
        y: &[u8],
        result: Slot,
        len: usize,
    ) -> Result<Vec<f32>, GpuError> {
        let dims = self
            .layout
            .dims
            .with_batch(x.len() / self.layout.dims.block);
        for (buffer, layer) in pass.shapes.iter().zip([First, Second]) {
            let record = ShapeRecord::new(&dims, layer);
            self.gpu
                .queue
                .write_buffer(buffer, 0, bytemuck::bytes_of(&record));
        }
        self.upload(S::X, x, x.len());
        if !y.is_empty() {
            self.upload(S::Y, y, y.len());
        }
        self.write(S::Progress, &[0.0, 0.0]);
        let mut encoder = self.encoder();
        encode(&mut encoder, &pass.launches, 1);
        let mut bytes = self
            .gpu
            .finish_and_read(encoder, &[self.range(result, len)])?;
        Ok(to_f32(&bytes.swap_remove(0)))
    }
}

impl Pass {
    fn new(
        gpu: &Gpu,
        layout: &Layout,
        buffers: &HashMap<Slot, Buffer>,
        pipelines: &HashMap<&'static str, ComputePipeline>,
        table: &[Launch],
        rows: usize,
    ) -> Self {
        let dims = layout.dims.with_batch(rows);
        let shapes = [First, Second].map(|layer| {
            let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("shape"),
                size: size_of::<ShapeRecord>() as u64,
                usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let record = ShapeRecord::new(&dims, layer);
            gpu.queue
                .write_buffer(&buffer, 0, bytemuck::bytes_of(&record));
            buffer
        });
        let launches = table
            .iter()
            .map(|launch| {
                let pipeline = pipelines[launch.kernel].clone();
                let mut entries = Vec::with_capacity(launch.binds.len() + 1);
                // The update needs no sizes: it covers its buffer, whatever lies in it.
                if !matches!(launch.grid, Grid::Params) {
                    entries.push(wgpu::BindGroupEntry {
                        binding: 0,
                        resource: shapes[launch.layer as usize].as_entire_binding(),
                    });
                }
                for &(binding, slot) in launch.binds {
                    let (buffer, first) = layout.place(slot);
                    entries.push(wgpu::BindGroupEntry {
                        binding,
                        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                            buffer: &buffers[&buffer],
                            offset: 4 * first as u64,
                            size: wgpu::BufferSize::new(4 * layout.len(slot) as u64),
                        }),
                    });
                }
                let bindings = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(launch.kernel),
                    layout: &pipeline.get_bind_group_layout(0),
                    entries: &entries,
                });
                Ready {
                    pipeline,
                    bindings,
                    workgroups: layout.workgroups(launch.grid, rows),
                }
            })
            .collect();
        Self { launches, shapes }
    }
}

/// Records `times` rounds of a list of launches.
fn encode(encoder: &mut CommandEncoder, launches: &[Ready], times: usize) {
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for _ in 0..times {
        for launch in launches {
            pass.set_pipeline(&launch.pipeline);
            pass.set_bind_group(0, &launch.bindings, &[]);
            let [x, y, z] = launch.workgroups;
            pass.dispatch_workgroups(x, y, z);
        }
    }
}

/// A chunk counts only if the device counted every one of its steps.
fn check_progress(first: u64, asked: u32, done: u32) -> Result<(), GpuError> {
    if done == asked {
        Ok(())
    } else {
        Err(GpuError::ShortChunk { first, asked, done })
    }
}

fn to_f32(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}

fn mean(losses: &[f32]) -> f32 {
    let sum: f64 = losses.iter().map(|&l| f64::from(l)).sum();
    (sum / losses.len() as f64) as f32
}

impl Backend for Staged {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn dims(&self) -> &Dims {
        &self.layout.dims
    }

    fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), BackendError> {
        let mut first = 0;
        while first < steps.len() {
            let end = steps.len().min(first + self.layout.steps);
            losses.extend(self.chunk(steps, first..end)?);
            first = end;
        }
        Ok(())
    }

    fn params(&mut self) -> Result<Params<f32>, BackendError> {
        let all = self.read(S::Params, self.layout.params)?;
        let layout = &self.layout;
        Ok(Params::from_fn(|t| {
            let first = layout.offsets[t as usize];
            all[first..first + t.len(&layout.dims)].to_vec()
        }))
    }

    fn set_params(&mut self, params: &Params<f32>) -> Result<(), BackendError> {
        self.upload_params(params);
        Ok(self.gpu.check()?)
    }

    fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, BackendError> {
        let Dims { block, hidden, .. } = self.layout.dims;
        let mut merged = MergedStatistics::new(hidden);
        for x in x.chunks(self.layout.rows * block) {
            let stats = self.batch(&self.calibrate, x, &[], S::Bnstats, 2 * hidden)?;
            merged.add(x.len() / block, &stats[..hidden], &stats[hidden..]);
        }
        Ok(merged.finish())
    }

    fn evaluate(&mut self, stats: &Statistics, x: &[u8], y: &[u8]) -> Result<f64, BackendError> {
        let Layout { rows, dims, .. } = self.layout;
        self.write(
            S::Bnstats,
            &[stats.bnmean.as_slice(), &stats.bnvar].concat(),
        );
        let mut sum = 0.0;
        for (x, y) in x.chunks(rows * dims.block).zip(y.chunks(rows)) {
            let losses = self.batch(&self.evaluate, x, y, S::Losses, y.len())?;
            sum += losses.iter().map(|&l| f64::from(l)).sum::<f64>();
        }
        Ok(sum / y.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(Layout::new(Dims::LECTURE).check(&enough, "GPU").is_ok());
        assert!(Layout::new(largest).check(&enough, "GPU").is_ok());
        let short = |change: fn(&mut wgpu::Limits)| {
            let mut limits = enough.clone();
            change(&mut limits);
            Layout::new(largest)
                .check(&limits, "GPU")
                .unwrap_err()
                .to_string()
        };
        let errors = [
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
        let layout = Layout::new(largest);
        for launch in STEP.iter().chain(&EVALUATE) {
            let groups = layout.workgroups(launch.grid, layout.rows);
            assert!(
                groups.iter().all(|&g| (1..=65_535).contains(&g)),
                "{groups:?}"
            );
        }
    }
}
