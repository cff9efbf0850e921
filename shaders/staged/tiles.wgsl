// The tensors of a launch of a linear layer, and the tiles of its results.
//
// These kernels are limited by loads. So each invocation computes a tile of 8 rows x 4 columns: an iteration
// needs 12 vectors and adds 4 terms to each of 32 sums; one sum at a time would need 64. In linear.wgsl each
// invocation loads all of them; in shared_linear.wgsl invocations load rows for each other.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (rows, fan_in)
@group(0) @binding(2) var<storage, read> W: array<vec4<f32>>;        // (fan_in, fan_out)
@group(0) @binding(3) var<storage, read> b: array<vec4<f32>>;        // (fan_out)
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;  // (rows, fan_out)
@group(0) @binding(5) var<storage, read> dy: array<vec4<f32>>;       // (rows, fan_out)
@group(0) @binding(6) var<storage, read_write> dx: array<vec4<f32>>; // (rows, fan_in)
@group(0) @binding(7) var<storage, read_write> dW: array<vec4<f32>>; // (fan_in, fan_out)
@group(0) @binding(8) var<storage, read_write> db: array<vec4<f32>>; // (fan_out)

struct Tile {
    row: u32,   // its first row
    col: u32,   // its column, counted in vectors
    slice: u32, // the invocation's slice; NO_SLICE beyond the last row or column
}

const NO_SLICE = 0xffffffffu;

// A workgroup has 64 / slices tiles: up to 16 side by side, so that neighbours load neighbouring columns, or
// 8 if the result is no wider; the others lie below them. `tile_groups` of src/gpu/launch.rs counts the
// workgroups in the same way.
fn tiles_wide(cols: u32, slices: u32) -> u32 {
    return min(64u / slices, select(16u, 8u, cols <= 8u));
}

fn groups_wide(cols: u32, slices: u32) -> u32 {
    let wide = tiles_wide(cols, slices);
    return (cols + wide - 1u) / wide;
}

// Workgroups of a part.
fn groups_of_part(rows: u32, cols: u32, slices: u32) -> u32 {
    let rows_of_group = 8u * 64u / slices / tiles_wide(cols, slices);
    return groups_wide(cols, slices) * ((rows + rows_of_group - 1u) / rows_of_group);
}

fn tile_of(group: u32, lane: u32, rows: u32, cols: u32, slices: u32) -> Tile {
    let tiles = 64u / slices;
    let wide = tiles_wide(cols, slices);
    let tile = lane % tiles;
    let high = tiles / wide;
    let row = 8u * (group / groups_wide(cols, slices) * high + tile / wide);
    let col = group % groups_wide(cols, slices) * wide + tile % wide;
    return Tile(row, col, select(NO_SLICE, lane / tiles, row < rows && col < cols));
}

// Where four rows begin, clamped to the last row.
fn row_starts(first: u32, rows: u32, pitch: u32) -> vec4<u32> {
    return min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(rows - 1u)) * pitch;
}

// Stores four values of dx; those at the input of the tanh if x is its output.
fn put_dx(at: u32, value: vec4<f32>, is_tanh: bool) {
    if is_tanh {
        dx[at] = tanh_backward(value, x[at]);
    } else {
        dx[at] = value;
    }
}
