// One-hot linear: y = x @ W, where every row of x is one-hot
//
//   x  (rows, classes)   one-hot rows: x = F.one_hot(ix, classes)
//   ix (rows)            the column of the one in each row
//   W  (classes, cols)
//   y  (rows, cols)
//
// `gradcheck --exercise extras` has 256 rows of 20 classes and a W of 20 x 1280.
//
// Forward. One term of the sum over the classes is not zero, the one with the factor one:
//
//   y[r, c] = sum over k of x[r, k] * W[k, c] = W[ix[r], c]
//
// So the product is a lookup, x is never stored, and no rounding happens: y has the bits of W. (The
// embedding is this layer too: C[X] = F.one_hot(X, vocab) @ C.)
//
// Backward. The gradients are those of any product, y = x @ W:
//
//   dW = x.T @ dy        dx = dy @ W.T
//
// For dW the ones select again: W[k] takes part only in the rows that looked it up.
//
//   dW[k, c] = sum over r of x[r, k] * dy[r, c] = sum over r with ix[r] = k of dy[r, c]
//
// The gradient of y.sum(), where all of dy is one, is then a count: how often each class occurs. A
// class that never occurs gets zeros, which the kernel has to write as well.
//
// For dx no term vanishes. It says how the loss would change if a zero of x were no longer zero, so it needs
// every row of W, not only those that were looked up:
//
//   dx[r, k] = sum over c of dy[r, c] * W[k, c]
//
// (The indices ix have no gradient: they are not real numbers.)
//
// Each invocation owns one element of its result and gathers its terms in a fixed order. WGSL has no atomic
// addition of floats, and needs none here; and the sums have the same bits in every run.

struct OnehotLinear { // src/gpu/extras.rs writes it
    rows: u32,
    classes: u32,
    cols: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> sizes: OnehotLinear;
@group(0) @binding(1) var<storage, read> ix: array<u32>;       // (rows)
@group(0) @binding(2) var<storage, read> W: array<f32>;        // (classes, cols)
@group(0) @binding(3) var<storage, read> dy: array<f32>;       // (rows, cols)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;  // (rows, cols)
@group(0) @binding(5) var<storage, read_write> dW: array<f32>; // (classes, cols)
@group(0) @binding(6) var<storage, read_write> dx: array<f32>; // (rows, classes)

// y = W[ix]. One invocation, one element of y.
@compute @workgroup_size(64)
fn onehot_linear_forward_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i >= sizes.rows * sizes.cols {
        return;
    }
    let r = i / sizes.cols;
    let c = i % sizes.cols;
    y[i] = W[ix[r] * sizes.cols + c];
}

// dW[ix[r]] += dy[r], gathered. One invocation, one element of dW: neighbours have the same class
// and the next column, so they agree in every comparison and read dy side by side.
@compute @workgroup_size(64)
fn onehot_linear_backward_weight_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i >= sizes.classes * sizes.cols {
        return;
    }
    let k = i / sizes.cols;
    let c = i % sizes.cols;
    var sum = 0.0;
    for (var r = 0u; r < sizes.rows; r++) {
        if ix[r] == k {
            sum += dy[r * sizes.cols + c];
        }
    }
    dW[i] = sum;
}

// dx = dy @ W.T. One invocation, one element of dx.
@compute @workgroup_size(64)
fn onehot_linear_backward_input_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i >= sizes.rows * sizes.classes {
        return;
    }
    let r = i / sizes.classes;
    let k = i % sizes.classes;
    var sum = 0.0;
    for (var c = 0u; c < sizes.cols; c++) {
        sum += dy[r * sizes.cols + c] * W[k * sizes.cols + c];
    }
    dx[i] = sum;
}
