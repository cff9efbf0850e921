// Whether the invocations of the resident kernel's workgroup wait for each other, and whether the counter of
// each of them reaches the host. How they wait is in another file, as in shaders/resident: workgroup.wgsl or
// subgroup.wgsl.

override WORKERS: u32;

@group(0) @binding(0) var<storage, read> asked: array<u32>;
@group(0) @binding(1) var<storage, read_write> scratch: array<u32>;  // (WORKERS)
@group(0) @binding(2) var<storage, read_write> counted: array<u32>;  // (WORKERS)

// What an invocation writes in a round: a value that occurs in no other round.
fn word(round: u32, worker: u32) -> u32 {
    return round * WORKERS + worker + 1u;
}

// Counts the rounds in which another invocation's word was visible after the barrier.
fn count(worker: u32, rounds: u32) {
    var done = 0u;
    for (var round = 0u; round < rounds; round++) {
        let mine = word(round, worker);
        scratch[worker] = mine;
        phase_ends();
        let other = (worker + 1u + round) % WORKERS;
        let handed = handed_out(mine, round);
        if handed && scratch[other] == word(round, other) {
            done += 1u;
        }
        phase_ends();
    }
    counted[worker] = done;
}
