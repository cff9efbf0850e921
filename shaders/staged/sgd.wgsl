// Launch of the update. Formula: sgd.wgsl.

@group(0) @binding(1) var<storage, read_write> progress: Progress;
@group(0) @binding(2) var<storage, read> lr: array<f32>;                 // (steps)
@group(0) @binding(3) var<storage, read_write> params: array<vec4<f32>>; // all seven parameters
@group(0) @binding(4) var<storage, read> grads: array<vec4<f32>>;        // in the same order

// One invocation, four values, over all parameters at once. Last kernel of a step.
@compute @workgroup_size(64)
fn sgd_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    let step = progress.started;
    if i == 0u {
        progress.finished = step + 1u;
    }
    if i < arrayLength(&params) {
        params[i] = sgd_update(params[i], lr[step], grads[i]);
    }
}
