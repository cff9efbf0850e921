// How long the driver lets a loop run.

@group(0) @binding(0) var<storage, read_write> answers: array<u32>;

// Goes round a loop as often as answers[0] says and counts. Some software drivers leave every loop of
// an invocation after 65,535 rounds, and report nothing: then fewer were counted than asked for.
@compute @workgroup_size(1)
fn loop_rounds_kernel() {
    let asked = answers[0];
    var rounds = 0u;
    var state = 1u;
    for (var i = 0u; i < asked; i++) {
        // A result that depends on every round, so that no compiler leaves one out.
        state = state * 1664525u + 1013904223u;
        rounds += 1u;
    }
    answers[1] = rounds;
    answers[2] = state;
}
