//! What a driver really does, found out before it is relied upon.

use super::GpuError;
use super::device::Gpu;
use super::shader::probe_module;

/// Rounds that are tried: more than a dispatch needs to be worth its launch, and a few milliseconds
/// on the slowest device.
const ROUNDS: u32 = 1 << 18;

/// How often an invocation can go round its loops in one dispatch, nested ones counted: what the
/// driver did of `ROUNDS`.
///
/// # Errors
///
/// The device failed, or did not even begin.
pub fn loop_rounds(gpu: &Gpu) -> Result<usize, GpuError> {
    let module = probe_module();
    let pipelines = gpu.pipelines(&module.source, module.entry_points)?;
    let answers = gpu.storage("answers", 12);
    gpu.queue
        .write_buffer(&answers, 0, bytemuck::bytes_of(&ROUNDS));
    let bindings = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("probe"),
        layout: &pipelines[0].get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: answers.as_entire_binding(),
        }],
    });
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipelines[0]);
    pass.set_bind_group(0, &bindings, &[]);
    pass.dispatch_workgroups(1, 1, 1);
    drop(pass);
    let read = gpu.finish_and_read(encoder, &[(&answers, 4, 4)])?;
    let done: u32 = bytemuck::pod_read_unaligned(&read[0]);
    if done == 0 || done > ROUNDS {
        return Err(GpuError::Fault(format!(
            "a loop of {ROUNDS} rounds was reported as {done}"
        )));
    }
    Ok(done as usize)
}
