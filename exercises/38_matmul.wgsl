// 38 · matmul                                                                        a whole kernel
//
// forward:   result = a @ b
// shapes:    a (ROWS, INNER), b (INNER, COLS), result (ROWS, COLS), all row-major
// declared:  @group(0) @binding(0) var<storage, read> a: array<f32>;
//            @group(0) @binding(1) var<storage, read> b: array<f32>;
//            @group(0) @binding(2) var<storage, read_write> result: array<f32>;
//            const ROWS: u32 = ...; const INNER: u32 = ...; const COLS: u32 = ...;
// launched:  ceil(COLS / 8) by ceil(ROWS / 8) workgroups of 8 by 8 invocations; x counts columns,
//            y counts rows; no size is a multiple of 8
// wanted:    every element of result, one invocation per element
//
// Think first: Two neighbouring invocations (x and x + 1) read which values of a, and which of b?
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    // YOUR CODE HERE
}
