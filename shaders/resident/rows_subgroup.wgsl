// Rows of the left matrix, where subgroups have at least eight invocations and a size that is known:
// each of the first eight lanes loads one vec4 and hands it to all others. On a GPU this saves
// little, as neighbours that load the same address are served at once; a software adapter loads for
// each lane by itself, and there it is the difference between 12 loads and 5 for the same products.
//
// The lanes of a subgroup always do the same tile row and the same rounds, so that all of them are
// there to hand out what they have loaded.

// The same vec4 of eight rows, from `at` on.
fn eight_rows(at: u32, row4: u32, lane: u32) -> Rows {
    return handed_out(scratch[at + lane % 8u * row4]);
}

// Two neighbouring vec4 of four rows, from `at` on.
fn four_pairs(at: u32, row4: u32, lane: u32) -> Rows {
    return handed_out(scratch[at + lane % 8u / 2u * row4 + lane % 2u]);
}

fn handed_out(mine: vec4<f32>) -> Rows {
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

@compute @workgroup_size(WORKERS)
fn train_kernel(
    @builtin(local_invocation_index) worker: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    train(workgroup.x, worker, subgroup, lane);
}
