// The resident schedule on any device: the invocations of a workgroup wait for each other at barriers, and
// each loads what it needs. LANES is 1.

// The first step of this dispatch, and the end of its range.
var<workgroup> range: vec2<u32>;

// All invocations end a phase together; in the next one, all see what each of them wrote.
fn phase_ends() {
    storageBarrier();
}

// The bound of a loop. A GPU's compiler may unroll it.
fn not_unrolled(rounds: u32) -> u32 {
    return rounds;
}

// One vec4 of each of eight rows, from `at` on.
fn eight_rows(at: u32, row4: u32, lane: u32) -> Rows {
    return Rows(
        scratch[at],
        scratch[at + row4],
        scratch[at + 2u * row4],
        scratch[at + 3u * row4],
        scratch[at + 4u * row4],
        scratch[at + 5u * row4],
        scratch[at + 6u * row4],
        scratch[at + 7u * row4],
    );
}

// Two neighbouring vec4 of each of four rows, from `at` on.
fn four_pairs(at: u32, row4: u32, lane: u32) -> Rows {
    return Rows(
        scratch[at],
        scratch[at + 1u],
        scratch[at + row4],
        scratch[at + row4 + 1u],
        scratch[at + 2u * row4],
        scratch[at + 2u * row4 + 1u],
        scratch[at + 3u * row4],
        scratch[at + 3u * row4 + 1u],
    );
}

@compute @workgroup_size(WORKERS)
fn train_kernel(
    @builtin(local_invocation_index) worker: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
) {
    if worker == 0u {
        range = steps_of_dispatch(workgroup.x);
    }
    train(workgroup.x, worker, worker, 0u, workgroupUniformLoad(&range));
}
