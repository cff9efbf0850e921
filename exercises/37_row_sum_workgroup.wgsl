// 37 · row_sum                                                                       a whole kernel
//
// forward:   result = x.sum(1)
// shapes:    x (ROWS, COLS), row-major: x[row * COLS + col]; result (ROWS)
// declared:  @group(0) @binding(0) var<storage, read> x: array<f32>;
//            @group(0) @binding(1) var<storage, read_write> result: array<f32>;
//            const ROWS: u32 = ...; const COLS: u32 = ...;
// launched:  ROWS workgroups of 64 invocations; COLS is more than 64 and not a multiple of 64
// wanted:    result[row] for each row, one workgroup per row
//
// The 64 invocations share a row. First each one adds up every 64th value and puts its sum into
// partial. Then a tree: the lower half adds the sums of the upper half to its own, 32 and 32, then
// 16 and 16, down to one. workgroupBarrier() waits until all 64 have come there.
//
// Think first: Invocation 0 wants to read what invocation 32 has stored. How does it know that it
// is there already?
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x; // 0 to 63
    // YOUR CODE HERE
}
