//! The kernels of `shaders/extras/`, each run by itself on given values. They take part in no
//! schedule: every call makes its buffers, runs one launch and reads the result. Their tensors have
//! no pads, and an invocation computes one value: what the kernels of the step were before tiles.

use std::collections::HashMap;

use wgpu::{BufferUsages, ComputePipeline};

use super::adapter::Found;
use super::device::Gpu;
use super::executor::to_f32;
use super::launch::folded;
use super::shader::{Bindings, Module};
use crate::backend::DeviceError;
use crate::reference::extras::{OnehotLinear, RepeatKv};

/// A kernel that runs by itself.
struct Kernel {
    name: &'static str,
    pipeline: ComputePipeline,
    bindings: Bindings,
}

impl Gpu {
    /// Runs a kernel once, by itself, and waits for its result.
    ///
    /// `sizes` is the module's record of that name; `inputs` are names and bytes of what the kernel reads;
    /// the last pair is name and number of values of what it writes, with an invocation for each. A value
    /// that the kernel does not write stays a NaN.
    ///
    /// # Errors
    ///
    /// The device failed, or the module has no variable of one of the names.
    async fn run_once(
        &self,
        Kernel {
            name,
            pipeline,
            bindings,
        }: &Kernel,
        sizes: [u32; 4],
        inputs: &[(&str, &[u8])],
        (output, len): (&str, usize),
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
        let result = upload(output, bytemuck::cast_slice(&unwritten));
        let mut buffers = vec![("sizes", record), (output, result.clone())];
        for &(name, bytes) in inputs {
            buffers.push((name, upload(name, bytes)));
        }
        let resources = buffers.iter();
        let resources = resources.map(|(name, buffer)| (*name, buffer.as_entire_binding()));
        let bindings = self.bind(pipeline, name, bindings, resources)?;
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
    kernels: HashMap<&'static str, Kernel>,
}

impl Extras {
    /// Opens the adapter and compiles `modules`: [`extras_modules`](super::shader::extras_modules).
    ///
    /// # Errors
    ///
    /// The adapter cannot be opened, or refuses a kernel.
    pub async fn new(found: &Found, modules: &[Module]) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(found).await?;
        let mut kernels = HashMap::new();
        for (module, shader) in modules.iter().zip(gpu.modules(modules).await?) {
            for &name in module.entry_points {
                let kernel = Kernel {
                    name,
                    pipeline: gpu.pipeline(&shader, name, &[]),
                    bindings: module.source.bindings(),
                };
                kernels.insert(name, kernel);
            }
        }
        gpu.check()?;
        Ok(Self { gpu, kernels })
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
                &self.kernels["onehot_linear_forward_kernel"],
                sizes.record(),
                &[
                    ("ix", bytemuck::cast_slice(ix)),
                    ("W", bytemuck::cast_slice(w)),
                ],
                ("y", sizes.rows * sizes.cols),
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
                &self.kernels["onehot_linear_backward_weight_kernel"],
                sizes.record(),
                &[
                    ("ix", bytemuck::cast_slice(ix)),
                    ("dy", bytemuck::cast_slice(dy)),
                ],
                ("dW", sizes.classes * sizes.cols),
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
                &self.kernels["onehot_linear_backward_input_kernel"],
                sizes.record(),
                &[
                    ("W", bytemuck::cast_slice(w)),
                    ("dy", bytemuck::cast_slice(dy)),
                ],
                ("dx", sizes.rows * sizes.classes),
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
                &self.kernels["repeat_kv_forward_kernel"],
                sizes.record(),
                &[("x", bytemuck::cast_slice(x))],
                ("y", sizes.heads() * sizes.copies * sizes.head_dim),
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
                &self.kernels["repeat_kv_backward_kernel"],
                sizes.record(),
                &[("dy", bytemuck::cast_slice(dy))],
                ("dx", sizes.heads() * sizes.head_dim),
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
