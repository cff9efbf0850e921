// 39 · matmul                                                                        a whole kernel
//
// forward:   result = a @ b
// shapes:    a (ROWS, INNER), b (INNER, COLS), result (ROWS, COLS), all row-major
// declared:  @group(0) @binding(0) var<storage, read> a: array<f32>;
//            @group(0) @binding(1) var<storage, read> b: array<f32>;
//            @group(0) @binding(2) var<storage, read_write> result: array<f32>;
//            const ROWS: u32 = ...; const INNER: u32 = ...; const COLS: u32 = ...;
// launched:  ceil(COLS / 8) by ceil(ROWS / 8) workgroups of 8 by 8 invocations; x counts columns,
//            y counts rows; no size is a multiple of 8
// wanted:    every element of result, through tiles of 8 by 8 in workgroup memory
//
// The 64 invocations of a workgroup need the same 8 rows of a and the same 8 columns of b. So
// they walk along INNER in steps of 8. In each step every invocation loads one value of a and one
// of b, then each uses 8 values of both tiles, then all move on together.
//
// Think first: An invocation beyond the edge has no element of the result. May it return at once,
// as before?

// The value at (y, x) of a tile is at y * 8 + x.
// tile_a: 8 rows by 8 places along INNER. tile_b: 8 places along INNER by 8 columns.
var<workgroup> tile_a: array<f32, 64>;
var<workgroup> tile_b: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    let col = id.x;
    // YOUR CODE HERE
}
