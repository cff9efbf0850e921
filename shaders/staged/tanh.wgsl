// Launches of tanh. Formulas: tanh.wgsl.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> hpreact: array<f32>;        // (batch, hidden)
@group(0) @binding(2) var<storage, read_write> h: array<f32>;        // (batch, hidden)
@group(0) @binding(3) var<storage, read> dh: array<f32>;             // (batch, hidden)
@group(0) @binding(4) var<storage, read_write> dhpreact: array<f32>; // (batch, hidden)

// h = tanh(hpreact). One invocation, one element.
@compute @workgroup_size(64)
fn tanh_forward_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i < shape.batch * shape.hidden {
        h[i] = tanh_forward(hpreact[i]);
    }
}

// dhpreact = (1 - h**2) * dh. One invocation, one element.
@compute @workgroup_size(64)
fn tanh_backward_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i < shape.batch * shape.hidden {
        dhpreact[i] = tanh_backward(dh[i], h[i]);
    }
}
