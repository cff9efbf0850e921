// The resident schedule for software adapters whose subgroups have eight invocations or more: the
// workgroup is one subgroup, and LANES is WORKERS.
//
// Such an adapter does the lanes of a subgroup in one thread, as a vector. A workgroup of several
// subgroups is a set of coroutines that are left and entered again at every barrier, with all that
// they hold in memory; one subgroup needs none of that. And it loads for every lane by itself: so
// each of the first eight lanes loads one row and hands it to all others, which makes 12 loads 5 for
// the same products. (Measured on lavapipe, Mesa 22.3.6, a step of the lecture: 625 us as on a GPU
// but with 64 invocations, 411 with rows that are handed out, 280 with one subgroup besides.)

// The lanes of a subgroup end a phase together; what one wrote in it, all can read in the next.
fn phase_ends() {
    subgroupBarrier();
}

// One, as a number that no compiler knows.
var<private> one: u32;

// Rounds of a loop that had better not be unrolled: the kernel runs no faster for it, and takes 3.3 s
// to compile instead of 2.5 (measured on lavapipe).
fn not_unrolled(rounds: u32) -> u32 {
    return rounds * one;
}

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
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    one = inputs[1] - 1u;
    train(workgroup.x, lane, 0u, lane, steps_of_dispatch(workgroup.x));
}
