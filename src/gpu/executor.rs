//! A device with the tensors of a layout, on which the launches of a table run.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wgpu::{
    BindGroup, Buffer, BufferUsages, CommandEncoder, ComputePass, ComputePipeline, ShaderModule,
};

use super::adapter::Found;
use super::device::Gpu;
use super::launch::{Cut, Invocations, Launch};
use super::layout::Layer::{First, Second};
use super::layout::{Layout, Slot, packed_words, pitch, targets_words};
use super::packing::list_targets;
use super::shader::{Bindings, Module};
use super::timestamps::Profiler;
use crate::backend::DeviceError;
use crate::cores::share_out;
use crate::model::contexts::Rows;
use crate::model::dims::Token;
use crate::model::params::{Params, Tensor};

use Slot as S;

/// A launch with its pipeline and bindings.
struct Ready {
    pipeline: ComputePipeline,
    bindings: BindGroup,
    invocations: Invocations,
    cut: Cut,
    workgroups: [u32; 3],
}

impl Ready {
    fn encode(&self, pass: &mut ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        let [x, y, z] = self.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Launches over a given number of rows, with their pipelines and bindings.
pub struct Pass {
    launches: Vec<Ready>,
    /// Sizes of the first and the second layer.
    shapes: [Buffer; 2],
}

/// What a pipeline depends on: its entry point, and how its sums are cut.
type Kernel = (&'static str, Cut);

/// What an entry point is compiled and bound with.
#[derive(Clone)]
struct Entry {
    module: ShaderModule,
    bindings: Bindings,
    /// The constants that its module declares: a pipeline is given these and no others, so that layouts that
    /// differ in something else share it ([`Gpu::keep_compiled`]).
    overrides: HashSet<String>,
}

/// A device with the tensors and the pipelines of some tables.
pub struct Executor {
    /// The device.
    pub gpu: Gpu,
    /// Where the tensors lie.
    pub layout: Layout,
    buffers: HashMap<Slot, Buffer>,
    /// Those of all modules.
    entries: HashMap<&'static str, Entry>,
    /// Those compiled so far.
    pipelines: Mutex<HashMap<Kernel, ComputePipeline>>,
}

impl Executor {
    /// Opens the adapter, compiles `modules` and makes the tensors that `tables` bind, all zero.
    ///
    /// # Errors
    ///
    /// The adapter cannot hold the model, cannot be opened, or refuses a kernel.
    pub async fn new(
        found: &Found,
        layout: Layout,
        tables: &[&[Launch]],
        modules: &[Module],
    ) -> Result<Self, DeviceError> {
        // The adapter's limits are known before anything is opened or compiled.
        layout.check(tables, &found.adapter.limits(), &found.info.name)?;
        Self::on(Gpu::open(found).await?, layout, tables, modules).await
    }

    /// Compiles `modules` and makes the tensors, as [`Executor::new`] does, on a device that is open.
    ///
    /// # Errors
    ///
    /// As for [`Executor::new`], but a model that does not fit is a fault of the device.
    pub async fn on(
        gpu: Gpu,
        layout: Layout,
        tables: &[&[Launch]],
        modules: &[Module],
    ) -> Result<Self, DeviceError> {
        let read = gpu.modules(modules).await?;
        let mut entries = HashMap::new();
        for (own, module) in modules.iter().zip(read) {
            let entry = Entry {
                module,
                bindings: own.source.bindings(),
                overrides: own.source.overrides(),
            };
            let names = own.entry_points.iter();
            entries.extend(names.map(|&name| (name, entry.clone())));
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
            entries,
            pipelines: Mutex::default(),
        })
    }

    /// Compiles those kernels of some tables that are not compiled yet, each table for launches over a
    /// number of rows. A driver takes up to a second per kernel, so several cores compile at once
    /// where the API can do that.
    ///
    /// A kernel that is refused is a fault of the device.
    pub fn compile(&self, tables: &[(&[Launch], usize)]) {
        let mut there = self.lock_pipelines();
        let mut wanted = Vec::new();
        for &(table, rows) in tables {
            for launch in table {
                let kernel = self.kernel(launch, rows);
                if !there.contains_key(&kernel) && !wanted.contains(&kernel) {
                    wanted.push(kernel);
                }
            }
        }
        let made = share_out(self.gpu.compilers(), wanted, |kernel| {
            let (name, cut) = kernel;
            let entry = &self.entries[name];
            let constants = self.layout.constants(cut).into_iter();
            let constants: Vec<_> = constants
                .filter(|&(name, _)| entry.overrides.contains(name))
                .collect();
            (kernel, self.gpu.pipeline(&entry.module, name, &constants))
        });
        there.extend(made);
    }

    /// What the pipeline of a launch over `rows` rows depends on.
    fn kernel(&self, launch: &Launch, rows: usize) -> Kernel {
        (launch.kernel, self.layout.cut_of(launch.invocations, rows))
    }

    fn lock_pipelines(&self) -> MutexGuard<'_, HashMap<Kernel, ComputePipeline>> {
        self.pipelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Uploads all seven parameters.
    pub fn write_params(&self, params: &Params<f32>) {
        for tensor in Tensor::ALL {
            self.write(Slot::Param(tensor), params.get(tensor));
        }
    }

    /// Writes a tensor's first values, a whole number of rows, and zeros into their padding.
    pub fn write(&self, slot: Slot, values: &[f32]) {
        let (buffer, first) = self.layout.place(slot);
        let values = self.layout.with_pads(slot, values);
        let bytes = bytemuck::cast_slice(&values);
        let buffer = &self.buffers[&buffer];
        self.gpu.queue.write_buffer(buffer, 4 * first as u64, bytes);
    }

    /// The first `len` values of a tensor.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn read(&self, slot: Slot, len: usize) -> Result<Vec<f32>, DeviceError> {
        let sources = [self.range(slot, len)];
        let bytes = self.gpu.finish_and_read(self.encoder(), &sources).await?;
        Ok(self.values(slot, len, &bytes[0]))
    }

    /// The first `len` values of a tensor, from the bytes of their [`range`](Self::range).
    pub fn values(&self, slot: Slot, len: usize, bytes: &[u8]) -> Vec<f32> {
        let (_, cols) = self.layout.extent(slot);
        let padded: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
        let rows = padded.chunks(pitch(cols));
        let mut values: Vec<f32> = rows
            .flat_map(|row| &row[..cols.min(row.len())])
            .copied()
            .collect();
        values.truncate(len);
        values
    }

    /// All seven parameters.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn read_params(&self) -> Result<Params<f32>, DeviceError> {
        let layout = &self.layout;
        let sources = [self.range(S::Params, layout.params)];
        let bytes = self.gpu.finish_and_read(self.encoder(), &sources).await?;
        Ok(Params::from_fn(|tensor| {
            let first = layout.offsets[tensor as usize];
            let slot = S::Param(tensor);
            let bytes = &bytes[0][4 * first..4 * (first + layout.len(slot))];
            self.values(slot, tensor.len(&layout.dims), bytes)
        }))
    }

    /// Uploads the minibatches and learning rates of some steps, and resets the device's counters. Each
    /// minibatch takes `rows` rows; those beyond its own stand for no example.
    pub fn write_steps(&self, minibatches: &[Rows], rows: usize, lr: &[f32]) {
        let words = self.layout.pack_steps(minibatches, rows);
        for (slot, words) in [S::X, S::Uses, S::Targets].into_iter().zip(&words) {
            self.upload(slot, bytemuck::cast_slice(words));
        }
        self.write(S::Lr, lr);
        self.write(S::Progress, &[0.0, 0.0]);
    }

    /// Uploads the minibatch and learning rate of a single step, whose launches can then be run one by one
    /// with [`Executor::run`]. Each example has a row of its own, as in the lecture.
    pub fn write_step(&self, x: &[Token], y: &[Token], lr: f32) {
        let dims = &self.layout.dims;
        self.write_steps(&[Rows::apart(x, y, dims.block)], dims.batch, &[lr]);
        // The kernels of the chunked pass have a row for each example, with its target in `Y`.
        if self.buffers.contains_key(&S::Y) {
            let mut packed = y.to_vec();
            packed.resize(2 * packed_words(y.len()), 0);
            self.upload(S::Y, bytemuck::cast_slice(&packed));
        }
    }

    /// Uploads contexts that are to be evaluated.
    pub fn write_rows(&self, rows: &Rows) {
        let mut packed = rows.x().to_vec();
        packed.resize(2 * packed_words(packed.len()), 0);
        self.upload(S::X, bytemuck::cast_slice(&packed));
        let targets: usize = (0..rows.len()).map(|row| rows.targets(row).len()).sum();
        let mut list = vec![0; targets_words(rows.len(), targets)];
        list_targets(rows, rows.len(), &mut list);
        self.upload(S::Targets, bytemuck::cast_slice(&list));
        self.write(S::Progress, &[0.0, 0.0]);
    }

    fn upload(&self, slot: Slot, bytes: &[u8]) {
        self.gpu.queue.write_buffer(&self.buffers[&slot], 0, bytes);
    }

    /// Runs some launches of a pass, once, and waits for them.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn run(&self, pass: &Pass, launches: Range<usize>) -> Result<(), DeviceError> {
        let mut encoder = self.encoder();
        encode(&mut encoder, &pass.launches[launches], 1);
        self.gpu.finish_and_read(encoder, &[]).await?;
        Ok(())
    }

    /// Starts a list of commands.
    pub fn encoder(&self) -> CommandEncoder {
        self.gpu.device.create_command_encoder(&Default::default())
    }

    /// Buffer, offset and length in bytes of what holds a slot's first `len` values.
    pub fn range(&self, slot: Slot, len: usize) -> (&Buffer, u64, u64) {
        let (buffer, first) = self.layout.place(slot);
        let bytes = self.layout.bytes_read(slot, len);
        (&self.buffers[&buffer], 4 * first as u64, bytes)
    }

    /// Binds a table to the tensors, for launches over at most `rows` rows, each of them an example
    /// until [`Pass::set_rows`] says otherwise.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Shader`]: a shader has no variable of a name that a launch binds.
    pub fn pass(&self, table: &[Launch], rows: usize) -> Result<Pass, DeviceError> {
        let Self {
            gpu,
            layout,
            buffers,
            ..
        } = self;
        self.compile(&[(table, rows)]);
        let pipelines = self.lock_pipelines();
        let shapes = [First, Second].map(|layer| {
            let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("shape"),
                size: size_of::<[u32; 8]>() as u64,
                usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let shape = layout.shape(layer, rows, rows);
            gpu.queue
                .write_buffer(&buffer, 0, bytemuck::bytes_of(&shape));
            buffer
        });
        let ready = |launch: &Launch| -> Result<Ready, DeviceError> {
            let kernel = self.kernel(launch, rows);
            let (entry, cut) = kernel;
            let pipeline = pipelines[&kernel].clone();
            let mut resources = Vec::with_capacity(launch.binds.len() + 1);
            // The update needs no sizes: it goes over the whole buffer of parameters.
            if !matches!(launch.invocations, Invocations::Params) {
                let shape = &shapes[launch.layer as usize];
                resources.push(("shape", shape.as_entire_binding()));
            }
            for &(name, slot) in launch.binds {
                let (buffer, first) = layout.place(slot);
                let range = wgpu::BufferBinding {
                    buffer: &buffers[&buffer],
                    offset: 4 * first as u64,
                    size: wgpu::BufferSize::new(4 * layout.len(slot) as u64),
                };
                resources.push((name, wgpu::BindingResource::Buffer(range)));
            }
            let bindings = &self.entries[entry].bindings;
            Ok(Ready {
                bindings: gpu.bind(&pipeline, entry, bindings, resources)?,
                pipeline,
                invocations: launch.invocations,
                cut,
                workgroups: layout.groups_of(launch.invocations, rows, cut),
            })
        };
        let launches = table.iter().map(ready).collect::<Result<_, _>>()?;
        Ok(Pass { launches, shapes })
    }
}

impl Pass {
    /// Sets the number of rows, at most that for which the pass was made, and of the examples that they
    /// stand for. It applies to what is encoded and submitted after this.
    ///
    /// The sums are cut as before: rows without examples at the end do not change a bit of them.
    pub fn set_rows(&mut self, executor: &Executor, rows: usize, examples: usize) {
        let Executor { layout, gpu, .. } = executor;
        for (buffer, layer) in self.shapes.iter().zip([First, Second]) {
            let shape = layout.shape(layer, rows, examples);
            gpu.queue
                .write_buffer(buffer, 0, bytemuck::bytes_of(&shape));
        }
        for launch in &mut self.launches {
            launch.workgroups = layout.groups_of(launch.invocations, rows, launch.cut);
        }
    }

    /// Records `times` rounds of the launches.
    pub fn encode(&self, encoder: &mut CommandEncoder, times: usize) {
        encode(encoder, &self.launches, times);
    }

    /// Records `times` rounds of the launches, each in a timed pass of its own.
    pub fn encode_timed(&self, encoder: &mut CommandEncoder, times: usize, profiler: &Profiler) {
        let launches = (0..times).flat_map(|_| &self.launches);
        for (i, launch) in launches.enumerate() {
            launch.encode(&mut encoder.begin_compute_pass(&profiler.pass(i)));
        }
    }
}

/// Records `times` rounds of a list of launches.
fn encode(encoder: &mut CommandEncoder, launches: &[Ready], times: usize) {
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for _ in 0..times {
        for launch in launches {
            launch.encode(&mut pass);
        }
    }
}

/// Values as they come back from the device.
pub fn to_f32(bytes: &[u8]) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(bytes)
}
