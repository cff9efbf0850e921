// What every kernel needs to know of a launch. Written by src/gpu/layout.rs (`Layout::shape`), field
// for field.

struct Shape {
    rows: u32,     // contexts in this launch: rows of every activation
    block: u32,    // characters of context
    vocab: u32,    // characters there are, the end mark included
    embd: u32,     // length of an embedding
    hidden: u32,   // hidden units
    fan_in: u32,   // of the linear layer that is launched: block * embd, or hidden
    fan_out: u32,  // of the same layer: hidden, or vocab
    examples: u32, // that have these contexts; `n` in the formulas
}

// A row is a context, not an example. Every seventh example of the names has the same one, the beginning
// of a name: of the contexts of 4,096 examples a third are distinct. What a model makes of equal contexts
// is equal, so each is computed once, and `examples[row]` tells how many examples it stands for:
//
//   batch norm   counts it so many times in its sums
//   dlogits      is the sum over those examples: examples * probs, less one for each token that follows
//   from there   back all rows are such sums. Every operation is linear in them, but batch norm, which
//                takes the means off each example: off the row so many times
//
// A row that stands for no example adds nothing to any gradient. So steps whose contexts are fewer than
// those of the step beside them are filled up.

// Rows of a tensor begin at multiples of four values, so that one load brings four of them. The rest
// of a row, its pad, is zero, and so are the rows that bring W1 and W2 to a multiple of four: a sum
// that runs on into a pad stays as it is. Vectors of four values in a row:
fn vectors(values: u32) -> u32 {
    return (values + 3u) / 4u;
}

// Values from one row to the next.
fn pitch(values: u32) -> u32 {
    return 4u * vectors(values);
}

// A long sum whose results are few would leave most of a GPU idle. So a workgroup of 64 invocations, or of
// INVOCATIONS, has that number divided by SLICES of results. The invocations of one result take its terms
// in turns; then their partial sums meet in workgroup memory and are added in one order, the same in every
// run. Constants of the pipeline, set by src/gpu/launch.rs: slices are a power of two.
override INVOCATIONS: u32 = 64u;
override SLICES: u32 = 1u;
override DX_SLICES: u32 = 1u; // of dx, where a launch computes dW and dx

// The sums of a large product are cut into PARTS, each with workgroups of its own and a result of its own,
// which another launch adds up: see staged/parts.wgsl. A workgroup then has many tiles of one part, which
// load the same rows and columns, and not all parts of a few.
override PARTS: u32 = 1u;
override DX_PARTS: u32 = 1u;

// Where slices and parts walk down the rows, each takes every STRIDE-th, four of its rows at a time: their
// loads wait together and not one after another. Rows beyond the last are held to it, and count for nothing
// in a sum.
override STRIDE: u32 = SLICES * PARTS;

fn next_rows(first: u32) -> vec4<u32> {
    return vec4<u32>(first) + STRIDE * vec4<u32>(0u, 1u, 2u, 3u);
}

fn four_rows(first: u32, end: u32) -> vec4<u32> {
    return min(next_rows(first), vec4<u32>(end - 1u));
}

// What each of them counts in a sum.
fn are_there(first: u32, end: u32) -> vec4<f32> {
    return select(vec4<f32>(), vec4<f32>(1.0), next_rows(first) < vec4<u32>(end));
}

// From one part of dW to the next, counted in vectors; and from a weight to its bias: what may be bound by
// itself begins at a multiple of 256 bytes.
fn weight_stride(fan_in: u32, fan_out: u32) -> u32 {
    return (4u * vectors(fan_in) * vectors(fan_out) + 15u) / 16u * 16u;
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
