// Rows of the left matrix, on any device: every invocation loads all of them. LANES is 1.

// The same vec4 of eight rows, from `at` on.
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

// Two neighbouring vec4 of four rows, from `at` on.
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
    train(workgroup.x, worker, worker, 0u);
}
