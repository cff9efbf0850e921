//! What every schedule is made of: tensors on the device, launches in tables, and the machine that
//! runs them.

use std::collections::HashMap;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use wgpu::{BindGroup, Buffer, BufferUsages, CommandEncoder, ComputePipeline};

use super::GpuError;
use super::adapter::Found;
use super::device::Gpu;
use super::shader::Module;
use crate::chunks::Chunk;
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
    /// A tensor of the lecture's chunked pass that the training step does not have.
    Chunk(Chunk),
    /// Its gradient.
    ChunkGrad(Chunk),
}

/// How the invocations of a launch are laid out.
#[derive(Clone, Copy, Debug)]
pub enum Grid {
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
#[allow(missing_docs)] // the fields of `Dims`
pub enum Size {
    Batch,
    Vocab,
    Embd,
    Hidden,
    FanIn,
}

/// Which linear layer the record of sizes describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
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
    /// Whose sizes the kernel sees.
    pub layer: Layer,
    /// Its invocations.
    pub grid: Grid,
}

/// A row of a table.
pub const fn launch(
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

/// Invocations of a workgroup; every kernel has the same number.
const WORKGROUP: usize = 64;

/// Workgroups with an invocation for each of `values`. `invocation_index` of shape.wgsl puts the two
/// dimensions together again.
pub fn folded(values: usize) -> [u32; 3] {
    let groups = values.div_ceil(WORKGROUP);
    let x = groups.clamp(1, 32_768);
    [x as u32, groups.div_ceil(x) as u32, 1]
}

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
pub struct Layout {
    /// Sizes; `batch` is that of a training step.
    pub dims: Dims,
    /// Rows that the activations have room for: a minibatch or an evaluation batch.
    pub rows: usize,
    /// Steps that a chunk may have.
    pub steps: usize,
    /// First value of each parameter in the shared buffer.
    pub offsets: [usize; 7],
    /// Values in that buffer.
    pub params: usize,
}

impl Layout {
    /// A bound range starts at a multiple of 256 bytes on every device.
    const ALIGN: usize = 64;
    /// Values of the widest activation in an evaluation batch: 4 MiB.
    const EVAL_VALUES: usize = 1 << 20;
    /// Steps of a chunk at most, which is what its buffers have room for; the training loop chooses
    /// the number by the time that a chunk takes.
    const MAX_STEPS: usize = 1024;
    /// Tokens of a chunk.
    const MAX_TOKENS: usize = 1 << 20;

    /// The layout for a model of these sizes.
    pub fn new(dims: Dims) -> Self {
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
    pub fn len(&self, slot: Slot) -> usize {
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
            S::Chunk(chunk) | S::ChunkGrad(chunk) => chunk.len(&self.dims),
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
    pub fn workgroups(&self, grid: Grid, rows: usize) -> [u32; 3] {
        let size = |s| self.size(s, rows);
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

    /// Whether the adapter can hold this model and run these tables.
    ///
    /// # Errors
    ///
    /// [`GpuError::Limit`], with the first limit that is too low.
    pub fn check(
        &self,
        tables: &[&[Launch]],
        limits: &wgpu::Limits,
        adapter: &str,
    ) -> Result<(), GpuError> {
        let error = |limit, needed, available| {
            Err(GpuError::Limit {
                adapter: adapter.to_owned(),
                limit,
                needed,
                available,
            })
        };
        let launches = || tables.iter().copied().flatten();
        let bindings = launches().map(|l| l.binds.len()).max().unwrap_or(0) as u32;
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
        let largest = launches()
            .flat_map(|l| l.binds)
            .map(|&(_, slot)| 4 * self.len(self.place(slot).0) as u64)
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
pub struct Pass {
    launches: Vec<Ready>,
    /// Sizes of the first and the second layer.
    shapes: [Buffer; 2],
}

/// A device with the tensors and the pipelines of some tables.
pub struct Machine {
    /// The device.
    pub gpu: Gpu,
    /// Where the tensors lie.
    pub layout: Layout,
    buffers: HashMap<Slot, Buffer>,
    pipelines: HashMap<&'static str, ComputePipeline>,
}

impl Machine {
    /// Opens the adapter, compiles `modules` and makes the tensors that `tables` bind, all zero.
    ///
    /// # Errors
    ///
    /// The adapter cannot hold the model, cannot be opened, or refuses a kernel.
    pub fn new(
        found: &Found,
        dims: Dims,
        tables: &[&[Launch]],
        modules: &[Module],
    ) -> Result<Self, GpuError> {
        let layout = Layout::new(dims);
        // The adapter's limits are known before anything is opened or compiled.
        layout.check(tables, &found.adapter.limits(), &found.info.name)?;
        let gpu = Gpu::open(found)?;
        let mut pipelines = HashMap::new();
        for Module {
            source,
            entry_points,
        } in modules
        {
            let compiled = gpu.pipelines(source, entry_points, &[])?;
            pipelines.extend(entry_points.iter().copied().zip(compiled));
        }
        let mut buffers = HashMap::new();
        for &(_, slot) in tables.iter().copied().flatten().flat_map(|l| l.binds) {
            let (slot, _) = layout.place(slot);
            buffers
                .entry(slot)
                .or_insert_with(|| gpu.storage(&format!("{slot:?}"), 4 * layout.len(slot) as u64));
        }
        gpu.check()?;
        Ok(Self {
            gpu,
            layout,
            buffers,
            pipelines,
        })
    }

    /// Uploads all seven parameters.
    pub fn write_params(&self, params: &Params<f32>) {
        for tensor in Tensor::ALL {
            self.write(Slot::Param(tensor), params.get(tensor));
        }
    }

    /// Overwrites a tensor's first values.
    pub fn write(&self, slot: Slot, values: &[f32]) {
        let (buffer, first) = self.layout.place(slot);
        let bytes = bytemuck::cast_slice(values);
        let buffer = &self.buffers[&buffer];
        self.gpu.queue.write_buffer(buffer, 4 * first as u64, bytes);
    }

    /// The first `len` values of a tensor.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn read(&self, slot: Slot, len: usize) -> Result<Vec<f32>, GpuError> {
        let mut bytes = self
            .gpu
            .finish_and_read(self.encoder(), &[self.range(slot, len)])?;
        Ok(to_f32(&bytes.swap_remove(0)))
    }

    /// Uploads the tokens of one step and resets the device's counters, so that launches can be
    /// run one by one with [`Machine::run`].
    pub fn write_step(&self, x: &[u8], y: &[u8], lr: f32) {
        self.upload(S::X, x, x.len());
        self.upload(S::Y, y, y.len());
        self.write(S::Lr, &[lr]);
        self.write(S::Progress, &[0.0, 0.0]);
    }

    /// Runs some launches of a pass, once, and waits for them.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn run(&self, pass: &Pass, launches: Range<usize>) -> Result<(), GpuError> {
        let mut encoder = self.encoder();
        encode(&mut encoder, &pass.launches[launches], 1);
        self.gpu.finish_and_read(encoder, &[]).map(|_| ())
    }

    /// Starts a list of commands.
    pub fn encoder(&self) -> CommandEncoder {
        self.gpu.device.create_command_encoder(&Default::default())
    }

    /// Buffer, offset and length in bytes of a slot's first `len` values.
    pub fn range(&self, slot: Slot, len: usize) -> (&Buffer, u64, u64) {
        let (buffer, first) = self.layout.place(slot);
        (&self.buffers[&buffer], 4 * first as u64, 4 * len as u64)
    }

    /// Packs tokens four to a word, each row of `row` tokens from a new word, and uploads them.
    pub fn upload(&self, slot: Slot, tokens: &[u8], row: usize) {
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

    /// Binds a table to the tensors, for launches over `rows` examples.
    pub fn pass(&self, table: &[Launch], rows: usize) -> Pass {
        let Self {
            gpu,
            layout,
            buffers,
            pipelines,
        } = self;
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
        Pass { launches, shapes }
    }
}

impl Pass {
    /// Changes the number of examples, at most that for which the pass was made.
    pub fn set_rows(&self, machine: &Machine, rows: usize) {
        let dims = machine.layout.dims.with_batch(rows);
        for (buffer, layer) in self.shapes.iter().zip([First, Second]) {
            let record = ShapeRecord::new(&dims, layer);
            machine
                .gpu
                .queue
                .write_buffer(buffer, 0, bytemuck::bytes_of(&record));
        }
    }

    /// Records `times` rounds of the launches.
    pub fn encode(&self, encoder: &mut CommandEncoder, times: usize) {
        encode(encoder, &self.launches, times);
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

/// Values as they come back from the device.
pub fn to_f32(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}
