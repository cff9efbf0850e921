// The counters of a workgroup that waits at barriers.

var<workgroup> range: u32;

fn phase_ends() {
    storageBarrier();
}

// No broadcasts: each invocation loads what it needs.
fn handed_out(mine: u32, round: u32) -> bool {
    return true;
}

@compute @workgroup_size(WORKERS)
fn counters_kernel(@builtin(local_invocation_index) worker: u32) {
    if worker == 0u {
        range = asked[0];
    }
    count(worker, workgroupUniformLoad(&range));
}
