// How many iterations the driver allows a loop.

@group(0) @binding(0) var<storage, read_write> answers: array<u32>;

// Counts answers[0] iterations of a loop. Some software drivers stop every loop of an invocation after 65,535
// iterations and report nothing: then the count is too low.
@compute @workgroup_size(1)
fn loop_rounds_kernel() {
    let asked = answers[0];
    var rounds = 0u;
    var state = 1u;
    for (var i = 0u; i < asked; i++) {
        // A result that depends on every iteration, so that no compiler drops one.
        state = state * 1664525u + 1013904223u;
        rounds += 1u;
    }
    answers[1] = rounds;
    answers[2] = state;
}
