//! The kernels of `shaders/extras/`, each run by itself on given values. They take part in no
//! schedule: every call makes its buffers, runs one launch and reads the result. Their tensors have
//! no pads, and an invocation computes one value: what the kernels of the step were before tiles.

use std::collections::HashMap;

use wgpu::{BindGroupEntry, BufferUsages, ComputePipeline};

use super::adapter::Found;
use super::device::Gpu;
use super::machine::{folded, to_f32};
use super::shader::Module;
use crate::backend::DeviceError;
use crate::reference::extras::{OnehotLinear, RepeatKv};

impl Gpu {
    /// Runs a kernel once, by itself, and waits for its result.
    ///
    /// `sizes` is the record at binding 0; `inputs` are binding and bytes of what it reads; the last
    /// pair is binding and number of values of what it writes, with an invocation for each. A value
    /// that the kernel does not write stays a NaN.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn run_once(
        &self,
        pipeline: &ComputePipeline,
        sizes: [u32; 4],
        inputs: &[(u32, &[u8])],
        (output, len): (u32, usize),
    ) -> Result<Vec<f32>, DeviceError> {
        let record = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("sizes"),
            size: size_of_val(&sizes) as u64,
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue
            .write_buffer(&record, 0, bytemuck::bytes_of(&sizes));
        let upload = |label: &str, bytes: &[u8]| {
            let buffer = self.storage(label, bytes.len() as u64);
            self.queue.write_buffer(&buffer, 0, bytes);
            buffer
        };
        let unwritten = vec![f32::NAN; len];
        let result = upload("output", bytemuck::cast_slice(&unwritten));
        let mut buffers = vec![(0, record), (output, result.clone())];
        for &(binding, bytes) in inputs {
            buffers.push((binding, upload("input", bytes)));
        }
        let entries: Vec<BindGroupEntry<'_>> = buffers
            .iter()
            .map(|(binding, buffer)| BindGroupEntry {
                binding: *binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("one launch"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &bindings, &[]);
            let [x, y, z] = folded(len);
            pass.dispatch_workgroups(x, y, z);
        }
        let mut bytes = self
            .finish_and_read(encoder, &[(&result, 0, 4 * len as u64)])
            .await?;
        Ok(to_f32(&bytes.swap_remove(0)))
    }
}

/// A device with the kernels of both operations. The methods are those of their twins,
/// [`OnehotLinear`] and [`RepeatKv`].
pub struct Extras {
    gpu: Gpu,
    pipelines: HashMap<&'static str, ComputePipeline>,
}

impl Extras {
    /// Opens the adapter and compiles `modules`: [`extras_modules`](super::shader::extras_modules).
    ///
    /// # Errors
    ///
    /// The adapter cannot be opened, or refuses a kernel.
    pub async fn new(found: &Found, modules: &[Module]) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(found).await?;
        let mut pipelines = HashMap::new();
        for Module {
            source,
            entry_points,
        } in modules
        {
            let compiled = gpu.pipelines(source, entry_points).await?;
            pipelines.extend(entry_points.iter().copied().zip(compiled));
        }
        Ok(Self { gpu, pipelines })
    }

    /// `y = w[ix]`
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn onehot_linear_forward(
        &self,
        sizes: &OnehotLinear,
        ix: &[u32],
        w: &[f32],
    ) -> Result<Vec<f32>, DeviceError> {
        self.gpu
            .run_once(
                &self.pipelines["onehot_linear_forward_kernel"],
                sizes.record(),
                &[(1, bytemuck::cast_slice(ix)), (2, bytemuck::cast_slice(w))],
                (4, sizes.rows * sizes.cols),
            )
            .await
    }

    /// `dw = x.T @ dy`
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn onehot_linear_backward_weight(
        &self,
        sizes: &OnehotLinear,
        ix: &[u32],
        dy: &[f32],
    ) -> Result<Vec<f32>, DeviceError> {
        self.gpu
            .run_once(
                &self.pipelines["onehot_linear_backward_weight_kernel"],
                sizes.record(),
                &[(1, bytemuck::cast_slice(ix)), (3, bytemuck::cast_slice(dy))],
                (5, sizes.classes * sizes.cols),
            )
            .await
    }

    /// `dx = dy @ w.T`
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn onehot_linear_backward_input(
        &self,
        sizes: &OnehotLinear,
        dy: &[f32],
        w: &[f32],
    ) -> Result<Vec<f32>, DeviceError> {
        self.gpu
            .run_once(
                &self.pipelines["onehot_linear_backward_input_kernel"],
                sizes.record(),
                &[(2, bytemuck::cast_slice(w)), (3, bytemuck::cast_slice(dy))],
                (6, sizes.rows * sizes.classes),
            )
            .await
    }

    /// Every head of `x`, `copies` times.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn repeat_kv_forward(
        &self,
        sizes: &RepeatKv,
        x: &[f32],
    ) -> Result<Vec<f32>, DeviceError> {
        self.gpu
            .run_once(
                &self.pipelines["repeat_kv_forward_kernel"],
                sizes.record(),
                &[(1, bytemuck::cast_slice(x))],
                (3, sizes.heads() * sizes.copies * sizes.head_dim),
            )
            .await
    }

    /// Every head of `dx` is the sum over its copies in `dy`.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn repeat_kv_backward(
        &self,
        sizes: &RepeatKv,
        dy: &[f32],
    ) -> Result<Vec<f32>, DeviceError> {
        self.gpu
            .run_once(
                &self.pipelines["repeat_kv_backward_kernel"],
                sizes.record(),
                &[(2, bytemuck::cast_slice(dy))],
                (4, sizes.heads() * sizes.head_dim),
            )
            .await
    }
}

impl OnehotLinear {
    /// `struct OnehotLinear` of `shaders/extras/onehot_linear.wgsl`, field for field.
    fn record(&self) -> [u32; 4] {
        [self.rows, self.classes, self.cols, 0].map(|size| size as u32)
    }
}

impl RepeatKv {
    /// `struct RepeatKv` of `shaders/extras/repeat_kv.wgsl`, field for field.
    fn record(&self) -> [u32; 4] {
        [self.heads(), self.copies, self.head_dim, 0].map(|size| size as u32)
    }
}
