// The resident schedule for software adapters whose subgroups have eight invocations or more: the
// workgroup is one subgroup, and LANES is WORKERS.
//
// Such an adapter runs the lanes of a subgroup in one thread, as a vector. The subgroups of a workgroup are
// coroutines, which spill everything to memory at every barrier; a single subgroup does not. And such an
// adapter loads for each lane separately. So each of the first eight lanes loads one row and broadcasts it,
// which takes 5 loads instead of 12 for the same products. (Measured on lavapipe, Mesa 22.3.6, a step of the
// lecture: 625 us as on a GPU but with 64 invocations; 411 with broadcast rows; 280 with a single subgroup as
// well.)

// The lanes of the subgroup end a phase together; in the next one, all see what each of them wrote.
fn phase_ends() {
    subgroupBarrier();
}

// The number one, which no compiler can know.
var<private> one: u32;

// The bound of a loop that should not be unrolled: unrolled, the kernel runs no faster, and takes 3.3 s to
// compile instead of 2.5 (measured on lavapipe).
fn not_unrolled(rounds: u32) -> u32 {
    return rounds * one;
}

// One vec4 of each of eight rows, from `at` on.
fn eight_rows(at: u32, row4: u32, lane: u32) -> Rows {
    return handed_out(scratch[at + lane % 8u * row4]);
}

// Two neighbouring vec4 of each of four rows, from `at` on.
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
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    one = inputs[1] - 1u;
    train(workgroup.x, lane, 0u, lane, steps_of_dispatch(workgroup.x));
}
