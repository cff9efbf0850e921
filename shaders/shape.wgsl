// What every kernel needs to know of a launch. Written by src/gpu/staged.rs (`ShapeRecord`), field
// for field.

struct Shape {
    batch: u32,   // examples in this launch; `n` in the formulas
    block: u32,   // characters of context
    vocab: u32,   // characters there are, the end mark included
    embd: u32,    // length of an embedding
    hidden: u32,  // hidden units
    fan_in: u32,  // of the linear layer that is launched: block * embd, or hidden
    fan_out: u32, // of the same layer: hidden, or vocab
    padding: u32,
}

// The device counts its own steps. The first kernel of a step moves `started` on to `finished`, the
// last sets `finished` to `started + 1`: each counter is written in a launch that does not read it,
// so no launch races with itself. The host reads `finished` after each chunk and accepts the chunk
// only if every step is there.
struct Progress {
    started: u32,  // the step at work
    finished: u32, // steps done
}

// The index of an invocation in a launch of workgroups of 64, folded into two dimensions because
// one dimension holds no more than 65,535 workgroups.
fn invocation_index(id: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return id.y * workgroups.x * 64u + id.x;
}
