// repeat_kv: every head of the keys and values, repeated n times side by side
//
//   x (batch, seq, kv_heads, head_dim)
//   y (batch, seq, kv_heads * n, head_dim)
//
//   y = x[:, :, :, None, :].expand(batch, seq, kv_heads, n, head_dim)
//           .reshape(batch, seq, kv_heads * n, head_dim)
//     = torch.repeat_interleave(x, n, dim=2)
//
// Llama has fewer heads of keys and values than of queries: n heads of queries share one. Repeated like this,
// the shapes agree, and head j of the queries is paired with head j / n of x. (The copies of a head are
// neighbours: 0 0 0 1 1 1. The other order, 0 1 0 1 0 1, has the same shape and is wrong.)
//
// Forward. Batch, position and head always occur together, so one index `head` counts through all three. With
// `copy` from 0 to n-1:
//
//   y[head, copy, d] = x[head, d]
//
// Backward. x[head, d] reaches the loss through each of its n copies, and each use counts:
//
//   dx[head, d] = sum over copy of dy[head, copy, d]
//
// This is the rule for every broadcast: `expand` forward is `sum` backward. The gradient of y.sum() is n
// everywhere.

struct RepeatKv { // src/gpu/extras.rs writes it
    heads: u32,   // batch * seq * kv_heads
    copies: u32,  // n
    head_dim: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> sizes: RepeatKv;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // (heads, head_dim)
@group(0) @binding(2) var<storage, read> dy: array<f32>;       // (heads, copies, head_dim)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // (heads, copies, head_dim)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // (heads, head_dim)

// One invocation, one element of y.
@compute @workgroup_size(64)
fn repeat_kv_forward_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i >= sizes.heads * sizes.copies * sizes.head_dim {
        return;
    }
    let head = i / (sizes.copies * sizes.head_dim);
    let d = i % sizes.head_dim;
    y[i] = x[head * sizes.head_dim + d];
}

// One invocation, one element of dx: it gathers its copies in order.
@compute @workgroup_size(64)
fn repeat_kv_backward_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i >= sizes.heads * sizes.head_dim {
        return;
    }
    let head = i / sizes.head_dim;
    let d = i % sizes.head_dim;
    var sum = 0.0;
    for (var copy = 0u; copy < sizes.copies; copy++) {
        sum += dy[(head * sizes.copies + copy) * sizes.head_dim + d];
    }
    dx[i] = sum;
}
