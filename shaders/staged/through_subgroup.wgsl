// Rows that are handed out by subgroup operations: for the products of shared_linear.wgsl, on adapters whose
// subgroups all have LANES invocations, eight or more.
//
// A software adapter runs the lanes of a subgroup as a vector in one thread, and loads for each lane separately:
// there, loads count most, and a broadcast is cheap.

// Invocations of a subgroup.
override LANES: u32 = 8u;

// What the eight neighbours of an invocation have loaded.
fn handed_out(mine: vec4<f32>, lane: u32, round: u32) -> Rows {
    if LANES == 8u {
        return Rows(
            subgroupBroadcast(mine, 0u),
            subgroupBroadcast(mine, 1u),
            subgroupBroadcast(mine, 2u),
            subgroupBroadcast(mine, 3u),
            subgroupBroadcast(mine, 4u),
            subgroupBroadcast(mine, 5u),
            subgroupBroadcast(mine, 6u),
            subgroupBroadcast(mine, 7u),
        );
    }
    let first = lane % LANES / 8u * 8u;
    return Rows(
        subgroupShuffle(mine, first),
        subgroupShuffle(mine, first + 1u),
        subgroupShuffle(mine, first + 2u),
        subgroupShuffle(mine, first + 3u),
        subgroupShuffle(mine, first + 4u),
        subgroupShuffle(mine, first + 5u),
        subgroupShuffle(mine, first + 6u),
        subgroupShuffle(mine, first + 7u),
    );
}

@compute @workgroup_size(64)
fn linear_forward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    forward(group.x, subgroup * LANES + lane);
}

@compute @workgroup_size(64)
fn linear_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    backward(group.x, subgroup * LANES + lane, false);
}

@compute @workgroup_size(64)
fn linear_tanh_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    backward(group.x, subgroup * LANES + lane, true);
}
