// Whether all of workgroup memory holds what is written to it, and whether all invocations see it after a
// barrier.

override WORDS: u32; // its size, as the driver reports it

@group(0) @binding(0) var<storage, read> asked: array<u32>;       // WORDS, as a number that no compiler knows
@group(0) @binding(1) var<storage, read_write> wrong: array<u32>; // (invocations)

var<workgroup> memory: array<u32, WORDS>;

// A different value for every word and turn.
fn pattern(i: u32, turn: u32) -> u32 {
    return (i * 2654435761u) ^ (0u - turn);
}

// Each invocation reads what another one wrote, and reports the first wrong word.
@compute @workgroup_size(64)
fn workgroup_memory_kernel(@builtin(local_invocation_index) lane: u32) {
    let words = asked[0];
    var first = words;
    for (var turn = 0u; turn < 2u; turn++) {
        for (var i = lane; i < words; i += 64u) {
            memory[i] = pattern(i, turn);
        }
        workgroupBarrier();
        for (var i = 63u - lane; i < words; i += 64u) {
            if memory[i] != pattern(i, turn) {
                first = min(first, i);
            }
        }
        workgroupBarrier();
    }
    wrong[lane] = first;
}
