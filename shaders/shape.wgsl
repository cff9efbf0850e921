// The sizes of a launch, which every kernel reads. Written by src/gpu/layout.rs (`Layout::shape`), field for
// field.

struct Shape {
    rows: u32,     // contexts in this launch: rows of every activation
    block: u32,    // characters of context
    vocab: u32,    // number of characters, the end mark included
    embd: u32,     // length of an embedding
    hidden: u32,   // hidden units
    fan_in: u32,   // inputs of the linear layer that is launched: block * embd, or hidden
    fan_out: u32,  // outputs of that layer: hidden, or vocab
    examples: u32, // how many examples have these contexts; `n` in the formulas
}

// A row is a context, not an example. Every seventh example of the names is the beginning of a name and has
// the same context: of the contexts of 4,096 examples, a third are distinct. Equal contexts have equal
// activations, so each context is computed once, and `examples[row]` is the number of examples that it stands
// for:
//
//   batch norm   weights the row with that number in its sums
//   dlogits      is the sum over those examples: examples * probs, minus one for each token that follows
//   backward     From there on, every row is such a sum. Every operation is linear in it except batch norm,
//                which subtracts two terms from each example: `examples[row]` times from the row.
//
// A row that stands for no example adds nothing to any gradient. So a step with fewer contexts than the
// others of its launch is padded with such rows.

// Rows of a tensor begin at multiples of four values, so that one load brings four of them. The rest of a
// row, its pad, is zero, and so are the rows that bring W1 and W2 to a multiple of four: a sum may run into a
// pad.

// Vectors of four values in a row.
fn vectors(values: u32) -> u32 {
    return (values + 3u) / 4u;
}

// Distance between rows, in values.
fn pitch(values: u32) -> u32 {
    return 4u * vectors(values);
}

// Long sums with few results would leave most of a GPU idle. So SLICES invocations share a result: each takes
// every SLICES-th term, then their partial sums meet in workgroup memory and are added in a fixed order. A
// workgroup of 64 invocations thus has 64 / SLICES results. Constants of the pipeline, set by
// src/gpu/launch.rs: slices are a power of two.
override SLICES: u32 = 1u;
override DX_SLICES: u32 = 1u; // the slices of dx in a launch that computes dW and dx

// The sums of a large product are cut into PARTS. Each part has its own workgroups and its own result, and
// another launch adds the results: see staged/parts.wgsl. Unlike slices, the tiles of a workgroup then belong
// to one part and share the rows and columns that they load.
override PARTS: u32 = 1u;
override DX_PARTS: u32 = 1u;

// Where slices and parts walk down the rows, each takes every STRIDE-th row, four of its rows at a time, so
// that four loads are in flight together. Rows beyond the last are clamped to it and have weight zero in a
// sum.
override STRIDE: u32 = SLICES * PARTS;

// Four rows of a slice.
fn next_rows(first: u32) -> vec4<u32> {
    return vec4<u32>(first) + STRIDE * vec4<u32>(0u, 1u, 2u, 3u);
}

// The rows of next_rows, clamped to the last row.
fn four_rows(first: u32, end: u32) -> vec4<u32> {
    return min(next_rows(first), vec4<u32>(end - 1u));
}

// Their weights: 1, or 0 beyond the last row.
fn are_there(first: u32, end: u32) -> vec4<f32> {
    return select(vec4<f32>(), vec4<f32>(1.0), next_rows(first) < vec4<u32>(end));
}

// Distance from one part of dW to the next, and from a weight to its bias, in vectors. It is a multiple of
// 256 bytes, because a bias may be bound by itself.
fn weight_stride(fan_in: u32, fan_out: u32) -> u32 {
    return (4u * vectors(fan_in) * vectors(fan_out) + 15u) / 16u * 16u;
}

// The device counts its own steps. The first kernel of a step sets `started` to `finished`, the last one sets
// `finished` to `started + 1`: no launch reads the counter that it writes, so none races with itself. The
// host reads `finished` after each chunk and accepts the chunk only if it counts every step.
struct Progress {
    started: u32,  // the current step
    finished: u32, // steps done
}

// The index of an invocation in a launch of workgroups of 64, folded into two dimensions because
// one dimension holds no more than 65,535 workgroups.
fn invocation_index(id: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return id.y * workgroups.x * 64u + id.x;
}
