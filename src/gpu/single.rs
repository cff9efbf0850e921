//! A kernel that is no part of a schedule: what an exercise runs.

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayoutDescriptor,
    BindGroupLayoutEntry, BindingType, Buffer, BufferBindingType, CommandEncoder, ComputePipeline,
    ComputePipelineDescriptor, PipelineCompilationOptions, PipelineLayoutDescriptor, ShaderStages,
};

use super::device::Gpu;
use super::shader::Module;
use crate::backend::DeviceError;

/// A kernel with its buffers.
pub struct Single {
    pipeline: ComputePipeline,
    bindings: BindGroup,
}

impl Single {
    /// Compiles a module's first entry point, and binds storage buffers in their order. Each says whether the kernel may
    /// write it, as its declaration does.
    ///
    /// # Errors
    ///
    /// The device refuses the source.
    pub async fn new(
        gpu: &Gpu,
        module: &Module,
        buffers: &[(&Buffer, bool)],
    ) -> Result<Self, DeviceError> {
        let (entry, module) = (module.entry_points[0], gpu.module(module).await?);
        // Not derived from the kernel, which may leave a buffer unused.
        let entries: Vec<BindGroupLayoutEntry> = (0..)
            .zip(buffers)
            .map(|(binding, (_, written))| BindGroupLayoutEntry {
                binding,
                visibility: ShaderStages::COMPUTE,
                ty: BindingType::Buffer {
                    ty: BufferBindingType::Storage {
                        read_only: !written,
                    },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = gpu
            .device
            .create_bind_group_layout(&BindGroupLayoutDescriptor {
                label: Some(entry),
                entries: &entries,
            });
        let all = gpu
            .device
            .create_pipeline_layout(&PipelineLayoutDescriptor {
                label: Some(entry),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
        let pipeline = gpu
            .device
            .create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(entry),
                layout: Some(&all),
                module: &module,
                entry_point: Some(entry),
                // Workgroup memory begins as zero, as WGSL promises: the kernel may be a learner's.
                compilation_options: PipelineCompilationOptions::default(),
                cache: None,
            });
        let entries: Vec<BindGroupEntry<'_>> = (0..)
            .zip(buffers)
            .map(|(binding, (buffer, _))| BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bindings = gpu.device.create_bind_group(&BindGroupDescriptor {
            label: Some(entry),
            layout: &layout,
            entries: &entries,
        });
        gpu.check()?;
        Ok(Self { pipeline, bindings })
    }

    /// Encodes `times` launches of the kernel.
    pub fn encode(&self, encoder: &mut CommandEncoder, [x, y, z]: [u32; 3], times: usize) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        for _ in 0..times {
            pass.dispatch_workgroups(x, y, z);
        }
    }
}
