// The counters of a workgroup that is one subgroup.

fn phase_ends() {
    subgroupBarrier();
}

// Whether broadcasts between the lanes arrive.
fn handed_out(mine: u32, round: u32) -> bool {
    let first = subgroupBroadcast(mine, 0u);
    let last = subgroupBroadcast(mine, 7u);
    return first == word(round, 0u) && last == word(round, 7u);
}

@compute @workgroup_size(WORKERS)
fn counters_kernel(@builtin(subgroup_invocation_id) lane: u32) {
    count(lane, asked[0]);
}
