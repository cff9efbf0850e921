// Launches of the linear layers, in which each invocation loads what it needs. Formulas: linear.wgsl.
//
// A slice of a tile takes every `slices`-th iteration.
//
// Rows beyond the last are clamped to it. Without slices, the invocation that owns the last row stores its
// value again, unchanged; with slices, which share the rows of a tile, they are skipped. Columns beyond the
// last are pad, and stay zero.

// Partial sums: the eight rows of a tile, and a ninth for db, each for 64 invocations.
var<workgroup> partial: array<vec4<f32>, 576>;

// Where the loop over a slice's terms begins: in its part, or at the end if there is no slice.
fn first_round(tile: Tile, part_begins: u32, end: u32) -> u32 {
    return select(end, part_begins + tile.slice, tile.slice != NO_SLICE);
}

// How many rows of a tile exist. (Not called for tiles beyond the last row, which have no slice.)
fn rows_of(tile: Tile, rows: u32) -> u32 {
    return min(rows - tile.row, 8u);
}

// Puts a slice's partial sums of a tile into workgroup memory.
fn put(
    lane: u32,
    s0: vec4<f32>,
    s1: vec4<f32>,
    s2: vec4<f32>,
    s3: vec4<f32>,
    s4: vec4<f32>,
    s5: vec4<f32>,
    s6: vec4<f32>,
    s7: vec4<f32>,
) {
    partial[lane] = s0;
    partial[64u + lane] = s1;
    partial[128u + lane] = s2;
    partial[192u + lane] = s3;
    partial[256u + lane] = s4;
    partial[320u + lane] = s5;
    partial[384u + lane] = s6;
    partial[448u + lane] = s7;
}

// One row of a tile: the sum of its slices, in their order.
fn sum_of_slices(row: u32, lane: u32, slices: u32) -> vec4<f32> {
    let tiles = 64u / slices;
    var sum = vec4<f32>();
    for (var i = 64u * row + lane % tiles; i < 64u * (row + 1u); i += tiles) {
        sum += partial[i];
    }
    return sum;
}

// ---- forward ----

// y = x @ W + b, or the parts of it one after another
@compute @workgroup_size(64)
fn linear_forward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let terms = vectors(shape.fan_in);
    let cols = vectors(shape.fan_out);
    let groups = groups_of_part(shape.rows, cols, SLICES);
    let part = group.x / groups;
    let part_terms = (terms + PARTS - 1u) / PARTS;
    let end = min((part + 1u) * part_terms, terms);
    let tile = tile_of(group.x % groups, lane, shape.rows, cols, SLICES);
    let upper = row_starts(tile.row, shape.rows, terms);
    let lower = row_starts(tile.row + 4u, shape.rows, terms);
    var s0 = vec4<f32>();
    if tile.slice == 0u && part == 0u {
        s0 = b[tile.col];
    }
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var s4 = s0;
    var s5 = s0;
    var s6 = s0;
    var s7 = s0;
    for (var i = first_round(tile, part * part_terms, end); i < end; i += SLICES) {
        let w = 4u * i * cols + tile.col; // four rows of W
        let right = mat4x4<f32>(W[w], W[w + cols], W[w + 2u * cols], W[w + 3u * cols]);
        s0 = linear_terms(s0, x[upper.x + i], right);
        s1 = linear_terms(s1, x[upper.y + i], right);
        s2 = linear_terms(s2, x[upper.z + i], right);
        s3 = linear_terms(s3, x[upper.w + i], right);
        s4 = linear_terms(s4, x[lower.x + i], right);
        s5 = linear_terms(s5, x[lower.y + i], right);
        s6 = linear_terms(s6, x[lower.z + i], right);
        s7 = linear_terms(s7, x[lower.w + i], right);
    }
    let to = part * shape.rows * cols + tile.col;
    let to_upper = row_starts(tile.row, shape.rows, cols) + to;
    let to_lower = row_starts(tile.row + 4u, shape.rows, cols) + to;
    if SLICES > 1u {
        put(lane, s0, s1, s2, s3, s4, s5, s6, s7);
        workgroupBarrier();
        // The slices share the rows of their tile.
        for (var r = tile.slice; r < rows_of(tile, shape.rows); r += SLICES) {
            let at = select(to_upper, to_lower, r >= 4u)[r % 4u];
            y[at] = sum_of_slices(r, lane, SLICES);
        }
    } else if tile.slice == 0u {
        y[to_upper.x] = s0;
        y[to_upper.y] = s1;
        y[to_upper.z] = s2;
        y[to_upper.w] = s3;
        y[to_lower.x] = s4;
        y[to_lower.y] = s5;
        y[to_lower.z] = s6;
        y[to_lower.w] = s7;
    }
}

// ---- backward ----

// Four columns of four rows of x.
fn columns_of_four(at: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]));
}

// dW = x.T @ dy, db = dy.sum(0), or the parts of them one after another. With slices there is one part.
fn backward_weight(group: u32, lane: u32) {
    let inputs = vectors(shape.fan_in);
    let cols = vectors(shape.fan_out);
    let groups = groups_of_part(shape.fan_in, cols, SLICES);
    let part = group / groups;
    let tile = tile_of(group % groups, lane, 4u * inputs, cols, SLICES);
    // The rows of dW are columns of x: two vectors per tile.
    let upper = min(tile.row / 4u, inputs - 1u);
    let lower = min(tile.row / 4u + 1u, inputs - 1u);
    var s0 = vec4<f32>();
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var s4 = s0;
    var s5 = s0;
    var s6 = s0;
    var s7 = s0;
    var bias = s0;
    for (var r = first_round(tile, part, shape.rows); r < shape.rows; r += 4u * STRIDE) {
        let rows = four_rows(r, shape.rows);
        let there = are_there(r, shape.rows);
        let dys = rows * cols + tile.col;
        let right = mat4x4<f32>(
            there.x * dy[dys.x],
            there.y * dy[dys.y],
            there.z * dy[dys.z],
            there.w * dy[dys.w],
        );
        let xs = rows * inputs;
        let left = columns_of_four(xs + upper);
        s0 = linear_terms(s0, left[0], right);
        s1 = linear_terms(s1, left[1], right);
        s2 = linear_terms(s2, left[2], right);
        s3 = linear_terms(s3, left[3], right);
        let below = columns_of_four(xs + lower);
        s4 = linear_terms(s4, below[0], right);
        s5 = linear_terms(s5, below[1], right);
        s6 = linear_terms(s6, below[2], right);
        s7 = linear_terms(s7, below[3], right);
        bias += (right[0] + right[1]) + (right[2] + right[3]);
    }
    let to = part * weight_stride(shape.fan_in, shape.fan_out) + tile.col;
    let to_upper = row_starts(4u * upper, 4u * inputs, cols) + to;
    let to_lower = row_starts(4u * lower, 4u * inputs, cols) + to;
    if SLICES > 1u {
        put(lane, s0, s1, s2, s3, s4, s5, s6, s7);
        partial[512u + lane] = bias;
        workgroupBarrier();
        for (var r = tile.slice; r < rows_of(tile, 4u * inputs); r += SLICES) {
            let at = select(to_upper, to_lower, r >= 4u)[r % 4u];
            dW[at] = sum_of_slices(r, lane, SLICES);
        }
        bias = sum_of_slices(8u, lane, SLICES);
    } else if tile.slice == 0u {
        dW[to_upper.x] = s0;
        dW[to_upper.y] = s1;
        dW[to_upper.z] = s2;
        dW[to_upper.w] = s3;
        dW[to_lower.x] = s4;
        dW[to_lower.y] = s5;
        dW[to_lower.z] = s6;
        dW[to_lower.w] = s7;
    }
    // Every row of tiles has this sum; the first one stores it.
    if tile.row == 0u && tile.slice == 0u {
        db[part * cols + tile.col] = bias;
    }
}

// dx = dy @ W.T, or the parts of it one after another; if x is the output of a tanh, the gradient at its
// input
fn backward_input(group: u32, lane: u32, is_tanh: bool) {
    let terms = vectors(shape.fan_out);
    let cols = vectors(shape.fan_in);
    let groups = groups_of_part(shape.rows, cols, DX_SLICES);
    let part = group / groups;
    let part_terms = (terms + DX_PARTS - 1u) / DX_PARTS;
    let end = min((part + 1u) * part_terms, terms);
    let tile = tile_of(group % groups, lane, shape.rows, cols, DX_SLICES);
    let upper = row_starts(tile.row, shape.rows, terms);
    let lower = row_starts(tile.row + 4u, shape.rows, terms);
    var s0 = vec4<f32>();
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var s4 = s0;
    var s5 = s0;
    var s6 = s0;
    var s7 = s0;
    for (var o = first_round(tile, part * part_terms, end); o < end; o += DX_SLICES) {
        let w = 4u * tile.col * terms + o; // four rows of W, columns of W.T
        let right = transpose(
            mat4x4<f32>(W[w], W[w + terms], W[w + 2u * terms], W[w + 3u * terms]),
        );
        s0 = linear_terms(s0, dy[upper.x + o], right);
        s1 = linear_terms(s1, dy[upper.y + o], right);
        s2 = linear_terms(s2, dy[upper.z + o], right);
        s3 = linear_terms(s3, dy[upper.w + o], right);
        s4 = linear_terms(s4, dy[lower.x + o], right);
        s5 = linear_terms(s5, dy[lower.y + o], right);
        s6 = linear_terms(s6, dy[lower.z + o], right);
        s7 = linear_terms(s7, dy[lower.w + o], right);
    }
    let to = part * shape.rows * cols + tile.col;
    let to_upper = row_starts(tile.row, shape.rows, cols) + to;
    let to_lower = row_starts(tile.row + 4u, shape.rows, cols) + to;
    if DX_SLICES > 1u {
        put(lane, s0, s1, s2, s3, s4, s5, s6, s7);
        workgroupBarrier();
        for (var r = tile.slice; r < rows_of(tile, shape.rows); r += DX_SLICES) {
            let at = select(to_upper, to_lower, r >= 4u)[r % 4u];
            put_dx(at, sum_of_slices(r, lane, DX_SLICES), is_tanh);
        }
    } else if tile.slice == 0u {
        put_dx(to_upper.x, s0, is_tanh);
        put_dx(to_upper.y, s1, is_tanh);
        put_dx(to_upper.z, s2, is_tanh);
        put_dx(to_upper.w, s3, is_tanh);
        put_dx(to_lower.x, s4, is_tanh);
        put_dx(to_lower.y, s5, is_tanh);
        put_dx(to_lower.z, s6, is_tanh);
        put_dx(to_lower.w, s7, is_tanh);
    }
}

// The gradients do not depend on each other, so one launch has workgroups for dW and db, followed by
// workgroups for dx.
fn backward(group: u32, lane: u32, is_tanh: bool) {
    let cols = vectors(shape.fan_out);
    let groups_of_weight = PARTS * groups_of_part(shape.fan_in, cols, SLICES);
    if group < groups_of_weight {
        backward_weight(group, lane);
    } else {
        backward_input(group - groups_of_weight, lane, is_tanh);
    }
}

@compute @workgroup_size(64)
fn linear_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    backward(group.x, lane, false);
}

// For a layer whose input is the output of a tanh: `dx` is the gradient at the tanh's input, so that
// dhpreact = (1.0 - h**2) * dh needs no launch of its own, and dh no memory.
@compute @workgroup_size(64)
fn linear_tanh_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    backward(group.x, lane, true);
}
