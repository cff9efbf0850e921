// Launches of tanh by itself; the training step has it in those of batch norm. Formulas: tanh.wgsl.

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
        let x = hpreact[i];
        h[i] = vec4<f32>(
            tanh_forward(x.x),
            tanh_forward(x.y),
            tanh_forward(x.z),
            tanh_forward(x.w),
        );
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
        let d = dh[i];
        let y = h[i];
        dhpreact[i] = vec4<f32>(
            tanh_backward(d.x, y.x),
            tanh_backward(d.y, y.y),
            tanh_backward(d.z, y.z),
            tanh_backward(d.w, y.w),
        );
    }
}
