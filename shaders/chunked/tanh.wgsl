// Launches of tanh by itself; in the training step it is part of batch norm's and the linear layer's
// launches. Formulas: tanh.wgsl.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> hpreact: array<vec4<f32>>;        // (batch, hidden)
@group(0) @binding(2) var<storage, read_write> h: array<vec4<f32>>;        // (batch, hidden)
@group(0) @binding(3) var<storage, read> dh: array<vec4<f32>>;             // (batch, hidden)
@group(0) @binding(4) var<storage, read_write> dhpreact: array<vec4<f32>>; // (batch, hidden)

// h = tanh(hpreact). One invocation, four values.
@compute @workgroup_size(64)
fn tanh_forward_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i < shape.rows * vectors(shape.hidden) {
        h[i] = tanh_forward(hpreact[i]);
    }
}

// dhpreact = (1 - h**2) * dh. One invocation, four values.
@compute @workgroup_size(64)
fn tanh_backward_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i < shape.rows * vectors(shape.hidden) {
        dhpreact[i] = tanh_backward(dh[i], h[i]);
    }
}
