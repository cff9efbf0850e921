// Launches of the linear layers in which invocations load rows for each other. Formulas: linear.wgsl.
//
// Eight neighbouring invocations compute tiles side by side, which have the same eight rows of the left matrix.
// Each of the eight loads one of these rows and hands it out to the others, which takes 5 loads instead of 12
// for the same products. How it is handed out says another file: through workgroup memory
// (through_workgroup.wgsl), or by subgroup operations (through_subgroup.wgsl).
//
// All invocations go through every round together, so tiles beyond the last column are clamped to it and store
// nothing. Rows beyond the last are clamped too; the tile that owns the last row stores its value again,
// unchanged. The sums are whole, or cut into parts; slices are for results that are few.

// One vector of each of eight rows.
struct Rows {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
    r4: vec4<f32>,
    r5: vec4<f32>,
    r6: vec4<f32>,
    r7: vec4<f32>,
}

// Where the row begins that an invocation loads: of the eight rows from `first` on, clamped to the last row.
fn own_row(first: u32, rows: u32, pitch: u32, lane: u32) -> u32 {
    return min(first + lane % 8u, rows - 1u) * pitch;
}

// y = x @ W + b, or the parts of it one after another
fn forward(group: u32, lane: u32) {
    let terms = vectors(shape.fan_in);
    let cols = vectors(shape.fan_out);
    let groups = groups_of_part(shape.rows, cols, 1u);
    let part = group / groups;
    let part_terms = (terms + PARTS - 1u) / PARTS;
    let end = min((part + 1u) * part_terms, terms);
    let tile = tile_of(group % groups, lane, shape.rows, cols, 1u);
    let col = min(tile.col, cols - 1u);
    let own = own_row(tile.row, shape.rows, terms, lane);
    var s0 = vec4<f32>();
    if part == 0u {
        s0 = b[col];
    }
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var s4 = s0;
    var s5 = s0;
    var s6 = s0;
    var s7 = s0;
    for (var i = part * part_terms; i < end; i++) {
        let w = 4u * i * cols + col; // four rows of W
        let right = mat4x4<f32>(W[w], W[w + cols], W[w + 2u * cols], W[w + 3u * cols]);
        let left = handed_out(x[own + i], lane, i);
        s0 = linear_terms(s0, left.r0, right);
        s1 = linear_terms(s1, left.r1, right);
        s2 = linear_terms(s2, left.r2, right);
        s3 = linear_terms(s3, left.r3, right);
        s4 = linear_terms(s4, left.r4, right);
        s5 = linear_terms(s5, left.r5, right);
        s6 = linear_terms(s6, left.r6, right);
        s7 = linear_terms(s7, left.r7, right);
    }
    if tile.slice == 0u {
        let to = part * shape.rows * cols + col;
        let upper = row_starts(tile.row, shape.rows, cols) + to;
        let lower = row_starts(tile.row + 4u, shape.rows, cols) + to;
        y[upper.x] = s0;
        y[upper.y] = s1;
        y[upper.z] = s2;
        y[upper.w] = s3;
        y[lower.x] = s4;
        y[lower.y] = s5;
        y[lower.z] = s6;
        y[lower.w] = s7;
    }
}

// dW = x.T @ dy, db = dy.sum(0), or the parts of them one after another
fn backward_weight(group: u32, lane: u32) {
    let inputs = vectors(shape.fan_in);
    let cols = vectors(shape.fan_out);
    let groups = groups_of_part(shape.fan_in, cols, 1u);
    let part = group / groups;
    let tile = tile_of(group % groups, lane, 4u * inputs, cols, 1u);
    let col = min(tile.col, cols - 1u);
    // The rows of dW are columns of x: two vectors per tile. An invocation loads one of the two, of one of four
    // rows.
    let upper = min(tile.row / 4u, inputs - 1u);
    let lower = min(tile.row / 4u + 1u, inputs - 1u);
    let own = select(upper, lower, lane % 2u == 1u);
    let own_of_four = lane % 8u / 2u;
    var s0 = vec4<f32>();
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var s4 = s0;
    var s5 = s0;
    var s6 = s0;
    var s7 = s0;
    var bias = s0;
    for (var r = part; r < shape.rows; r += 4u * STRIDE) {
        let rows = four_rows(r, shape.rows);
        let there = are_there(r, shape.rows);
        let dys = rows * cols + col;
        let right = mat4x4<f32>(
            there.x * dy[dys.x],
            there.y * dy[dys.y],
            there.z * dy[dys.z],
            there.w * dy[dys.w],
        );
        let left = handed_out(x[rows[own_of_four] * inputs + own], lane, (r - part) / (4u * STRIDE));
        s0 = linear_terms(s0, vec4<f32>(left.r0.x, left.r2.x, left.r4.x, left.r6.x), right);
        s1 = linear_terms(s1, vec4<f32>(left.r0.y, left.r2.y, left.r4.y, left.r6.y), right);
        s2 = linear_terms(s2, vec4<f32>(left.r0.z, left.r2.z, left.r4.z, left.r6.z), right);
        s3 = linear_terms(s3, vec4<f32>(left.r0.w, left.r2.w, left.r4.w, left.r6.w), right);
        s4 = linear_terms(s4, vec4<f32>(left.r1.x, left.r3.x, left.r5.x, left.r7.x), right);
        s5 = linear_terms(s5, vec4<f32>(left.r1.y, left.r3.y, left.r5.y, left.r7.y), right);
        s6 = linear_terms(s6, vec4<f32>(left.r1.z, left.r3.z, left.r5.z, left.r7.z), right);
        s7 = linear_terms(s7, vec4<f32>(left.r1.w, left.r3.w, left.r5.w, left.r7.w), right);
        bias += (right[0] + right[1]) + (right[2] + right[3]);
    }
    if tile.slice == 0u {
        let to = part * weight_stride(shape.fan_in, shape.fan_out) + col;
        let to_upper = row_starts(4u * upper, 4u * inputs, cols) + to;
        let to_lower = row_starts(4u * lower, 4u * inputs, cols) + to;
        dW[to_upper.x] = s0;
        dW[to_upper.y] = s1;
        dW[to_upper.z] = s2;
        dW[to_upper.w] = s3;
        dW[to_lower.x] = s4;
        dW[to_lower.y] = s5;
        dW[to_lower.z] = s6;
        dW[to_lower.w] = s7;
        // Every row of tiles has this sum; the first one stores it.
        if tile.row == 0u {
            db[part * cols + col] = bias;
        }
    }
}

// dx = dy @ W.T, or the parts of it one after another; if x is the output of a tanh, the gradient at its
// input
fn backward_input(group: u32, lane: u32, is_tanh: bool) {
    let terms = vectors(shape.fan_out);
    let cols = vectors(shape.fan_in);
    let groups = groups_of_part(shape.rows, cols, 1u);
    let part = group / groups;
    let part_terms = (terms + DX_PARTS - 1u) / DX_PARTS;
    let end = min((part + 1u) * part_terms, terms);
    let tile = tile_of(group % groups, lane, shape.rows, cols, 1u);
    let col = min(tile.col, cols - 1u);
    let own = own_row(tile.row, shape.rows, terms, lane);
    var s0 = vec4<f32>();
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var s4 = s0;
    var s5 = s0;
    var s6 = s0;
    var s7 = s0;
    for (var o = part * part_terms; o < end; o++) {
        let w = 4u * col * terms + o; // four rows of W, columns of W.T
        let right = transpose(
            mat4x4<f32>(W[w], W[w + terms], W[w + 2u * terms], W[w + 3u * terms]),
        );
        let left = handed_out(dy[own + o], lane, o);
        s0 = linear_terms(s0, left.r0, right);
        s1 = linear_terms(s1, left.r1, right);
        s2 = linear_terms(s2, left.r2, right);
        s3 = linear_terms(s3, left.r3, right);
        s4 = linear_terms(s4, left.r4, right);
        s5 = linear_terms(s5, left.r5, right);
        s6 = linear_terms(s6, left.r6, right);
        s7 = linear_terms(s7, left.r7, right);
    }
    if tile.slice == 0u {
        let to = part * shape.rows * cols + col;
        let upper = row_starts(tile.row, shape.rows, cols) + to;
        let lower = row_starts(tile.row + 4u, shape.rows, cols) + to;
        put_dx(upper.x, s0, is_tanh);
        put_dx(upper.y, s1, is_tanh);
        put_dx(upper.z, s2, is_tanh);
        put_dx(upper.w, s3, is_tanh);
        put_dx(lower.x, s4, is_tanh);
        put_dx(lower.y, s5, is_tanh);
        put_dx(lower.z, s6, is_tanh);
        put_dx(lower.w, s7, is_tanh);
    }
}

// As in linear.wgsl, workgroups for dW and db, followed by workgroups for dx.
fn backward(group: u32, lane: u32, is_tanh: bool) {
    let cols = vectors(shape.fan_out);
    let groups_of_weight = PARTS * groups_of_part(shape.fan_in, cols, 1u);
    if group < groups_of_weight {
        backward_weight(group, lane);
    } else {
        backward_input(group - groups_of_weight, lane, is_tanh);
    }
}
