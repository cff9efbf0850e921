// Launches of the linear layers. Formulas: linear.wgsl.
//
// Each invocation computes a tile of 4 x 4 elements: it loads 8 values for 16 products, where one
// element an invocation would load 32. Loads are what these kernels wait for. A workgroup of 16 x 4
// invocations covers 64 columns and 16 rows of the result. Beyond an edge the loads are held to the
// last row or column and the results dropped.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // (rows, fan_in)
@group(0) @binding(2) var<storage, read> W: array<f32>;        // (fan_in, fan_out)
@group(0) @binding(3) var<storage, read> b: array<f32>;        // (fan_out)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;  // (rows, fan_out)
@group(0) @binding(5) var<storage, read> dy: array<f32>;       // (rows, fan_out)
@group(0) @binding(6) var<storage, read_write> dx: array<f32>; // (rows, fan_in)
@group(0) @binding(7) var<storage, read_write> dW: array<f32>; // (fan_in, fan_out)
@group(0) @binding(8) var<storage, read_write> db: array<f32>; // (fan_out)

// The four rows or columns of a tile, each held to the last there is.
fn tile_indices(first: u32, count: u32) -> vec4<u32> {
    return min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
}

// y = x @ W + b
@compute @workgroup_size(16, 4)
fn linear_forward_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let first = id.xy * 4u; // column, row
    if first.x >= shape.fan_out || first.y >= shape.batch {
        return;
    }
    let cols = tile_indices(first.x, shape.fan_out);
    let rows = tile_indices(first.y, shape.batch) * shape.fan_in;
    var s0 = vec4<f32>(b[cols.x], b[cols.y], b[cols.z], b[cols.w]);
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    for (var i = 0u; i < shape.fan_in; i++) {
        let w = i * shape.fan_out + cols;
        let right = vec4<f32>(W[w.x], W[w.y], W[w.z], W[w.w]);
        s0 = linear_term(s0, x[rows.x + i], right);
        s1 = linear_term(s1, x[rows.y + i], right);
        s2 = linear_term(s2, x[rows.z + i], right);
        s3 = linear_term(s3, x[rows.w + i], right);
    }
    let sums = array<vec4<f32>, 4>(s0, s1, s2, s3);
    for (var r = 0u; r < min(4u, shape.batch - first.y); r++) {
        for (var c = 0u; c < min(4u, shape.fan_out - first.x); c++) {
            y[(first.y + r) * shape.fan_out + first.x + c] = sums[r][c];
        }
    }
}

// dx = dy @ W.T
@compute @workgroup_size(16, 4)
fn linear_backward_input_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let first = id.xy * 4u;
    if first.x >= shape.fan_in || first.y >= shape.batch {
        return;
    }
    let cols = tile_indices(first.x, shape.fan_in) * shape.fan_out; // rows of W, columns of W.T
    let rows = tile_indices(first.y, shape.batch) * shape.fan_out;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var o = 0u; o < shape.fan_out; o++) {
        let right = vec4<f32>(W[cols.x + o], W[cols.y + o], W[cols.z + o], W[cols.w + o]);
        s0 = linear_term(s0, dy[rows.x + o], right);
        s1 = linear_term(s1, dy[rows.y + o], right);
        s2 = linear_term(s2, dy[rows.z + o], right);
        s3 = linear_term(s3, dy[rows.w + o], right);
    }
    let sums = array<vec4<f32>, 4>(s0, s1, s2, s3);
    for (var r = 0u; r < min(4u, shape.batch - first.y); r++) {
        for (var c = 0u; c < min(4u, shape.fan_in - first.x); c++) {
            dx[(first.y + r) * shape.fan_in + first.x + c] = sums[r][c];
        }
    }
}

// dW = x.T @ dy, db = dy.sum(0)
@compute @workgroup_size(16, 4)
fn linear_backward_weight_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let first = id.xy * 4u;
    if first.x >= shape.fan_out || first.y >= shape.fan_in {
        return;
    }
    let cols = tile_indices(first.x, shape.fan_out);
    let rows = tile_indices(first.y, shape.fan_in); // columns of x, rows of x.T
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var bias = vec4<f32>();
    for (var r = 0u; r < shape.batch; r++) {
        let d = r * shape.fan_out + cols;
        let right = vec4<f32>(dy[d.x], dy[d.y], dy[d.z], dy[d.w]);
        let left = r * shape.fan_in + rows;
        s0 = linear_term(s0, x[left.x], right);
        s1 = linear_term(s1, x[left.y], right);
        s2 = linear_term(s2, x[left.z], right);
        s3 = linear_term(s3, x[left.w], right);
        bias += right;
    }
    let sums = array<vec4<f32>, 4>(s0, s1, s2, s3);
    for (var c = 0u; c < min(4u, shape.fan_out - first.x); c++) {
        for (var r = 0u; r < min(4u, shape.fan_in - first.y); r++) {
            dW[(first.y + r) * shape.fan_out + first.x + c] = sums[r][c];
        }
        // Every row of tiles has the sum; the first one stores it.
        if first.y == 0u {
            db[first.x + c] = bias[c];
        }
    }
}
