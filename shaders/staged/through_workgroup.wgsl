// Rows that are handed out through workgroup memory, on any device: for the products of shared_linear.wgsl.

// A vector of each invocation, for rounds with an even and with an odd number.
var<workgroup> handed: array<vec4<f32>, 128>;

// What the eight neighbours of an invocation have loaded in a round. One barrier is enough, for two rounds write
// to different places: whoever writes to the first place again has passed the barrier of the round between, which
// others reach only after they have read.
fn handed_out(mine: vec4<f32>, lane: u32, round: u32) -> Rows {
    let place = round % 2u * 64u;
    handed[place + lane] = mine;
    workgroupBarrier();
    let first = place + lane / 8u * 8u;
    return Rows(
        handed[first],
        handed[first + 1u],
        handed[first + 2u],
        handed[first + 3u],
        handed[first + 4u],
        handed[first + 5u],
        handed[first + 6u],
        handed[first + 7u],
    );
}

@compute @workgroup_size(64)
fn linear_forward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    forward(group.x, lane);
}

@compute @workgroup_size(64)
fn linear_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    backward(group.x, lane, false);
}

@compute @workgroup_size(64)
fn linear_tanh_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    backward(group.x, lane, true);
}
