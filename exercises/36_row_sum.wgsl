// 36 · row_sum                                                                       a whole kernel
//
// forward:   result = x.sum(1)
// shapes:    x (ROWS, COLS), row-major: x[row * COLS + col]; result (ROWS)
// declared:  @group(0) @binding(0) var<storage, read> x: array<f32>;
//            @group(0) @binding(1) var<storage, read_write> result: array<f32>;
//            const ROWS: u32 = ...; const COLS: u32 = ...;
// launched:  ceil(ROWS / 64) workgroups of 64 invocations; ROWS is not a multiple of 64
// wanted:    result[row] for each row, one invocation per row
//
// In the exercises before, the program called your function for each element. Now you write what it
// wrapped around it: each invocation finds out which element is its own, and stores it.
//
// Think first: The last workgroup has more invocations than there are rows left. What must the
// others do?
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    // YOUR CODE HERE
}
