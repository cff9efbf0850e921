// Launch of softmax and cross-entropy. Formulas and derivation: softmax_cross_entropy.wgsl.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> progress: Progress;
@group(0) @binding(2) var<storage, read> targets: array<u32>;             // (steps, rows + 1 + 2 * examples): see targets.wgsl
@group(0) @binding(3) var<storage, read> logits: array<vec4<f32>>;        // (rows, vocab)
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;        // (steps, rows)
@group(0) @binding(5) var<storage, read_write> dlogits: array<vec4<f32>>; // (rows, vocab)

const LOWEST = -3.4e38;

// Characters of a vocabulary up to which each vector of a row looks for its targets in the row's list. With
// more, each target looks for its vector, and no vector goes through the list.
const FEW = 256u;

var<workgroup> partial: array<f32, 64>;

// The slices of a row are neighbouring invocations, so that they read neighbouring addresses.
fn largest_of_slices(value: f32, lane: u32) -> f32 {
    if SLICES == 1u {
        return value;
    }
    partial[lane] = value;
    workgroupBarrier();
    var largest = value;
    for (var i = 0u; i < SLICES; i++) {
        largest = max(largest, partial[lane / SLICES * SLICES + i]);
    }
    workgroupBarrier(); // `partial` is used again by the sum
    return largest;
}

fn sum_of_slices(value: f32, lane: u32) -> f32 {
    if SLICES == 1u {
        return value;
    }
    partial[lane] = value;
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < SLICES; i++) {
        sum += partial[lane / SLICES * SLICES + i];
    }
    return sum;
}

// The columns of a vector.
fn columns(i: u32) -> vec4<u32> {
    return vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
}

// Columns from `vocab` on are the pad, which may hold anything.
fn is_logit(i: u32) -> vec4<bool> {
    return columns(i) < vec4<u32>(shape.vocab);
}

fn counts(i: u32, row_start: u32, logit_max: f32) -> vec4<f32> {
    let count = exp(logits[row_start + i] - logit_max);
    return select(vec4<f32>(), count, is_logit(i));
}

// The examples of a target, in its column of a vector.
fn in_column(t: u32, i: u32) -> vec4<f32> {
    let hit = columns(i) == vec4<u32>(target_token(t));
    return select(vec4<f32>(), vec4<f32>(target_examples(t)), hit);
}

// How many examples of a row have each of a vector's four tokens as their target.
fn followed(i: u32, list: Targets) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var t = list.first; t < list.end; t += 2u) {
        sum += in_column(t, i);
    }
    return sum;
}

// The loss of each row, summed over its examples, and dlogits. One invocation, one slice of a row. The host
// takes the mean over the examples, in f64, when it reads all losses of a chunk at once.
@compute @workgroup_size(64)
fn softmax_cross_entropy_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let step = progress.started;
    let row = group.x * (64u / SLICES) + lane / SLICES;
    let slice = lane % SLICES;
    let row_start = row * vectors(shape.vocab);
    // Beyond the last row, an invocation only takes part in the barriers.
    var list = Targets();
    var end = 0u;
    if row < shape.rows {
        list = targets_of_row(step, row);
        end = vectors(shape.vocab);
    }

    var largest = LOWEST;
    for (var i = slice; i < end; i += SLICES) {
        let l = select(vec4<f32>(LOWEST), logits[row_start + i], is_logit(i));
        largest = max(largest, max(max(l.x, l.y), max(l.z, l.w)));
    }
    let logit_max = largest_of_slices(largest, lane);
    var sum = 0.0;
    for (var i = slice; i < end; i += SLICES) {
        let c = counts(i, row_start, logit_max);
        sum += (c.x + c.y) + (c.z + c.w);
    }
    let counts_sum = sum_of_slices(sum, lane);

    // Every slice needs the number of examples; the first one stores their loss.
    var examples = 0.0;
    var loss = 0.0;
    for (var t = list.first; t < list.end; t += 2u) {
        let token = target_token(t);
        let norm_logit = logits[row_start + token / 4u][token % 4u] - logit_max;
        loss += target_examples(t) * cross_entropy_loss(norm_logit, counts_sum);
        examples += target_examples(t);
    }
    if slice == 0u && row < shape.rows {
        losses[step * shape.rows + row] = loss;
    }
    let n = f32(shape.examples);
    if shape.vocab <= FEW {
        for (var i = slice; i < end; i += SLICES) {
            let prob = counts(i, row_start, logit_max) / counts_sum;
            dlogits[row_start + i] =
                softmax_cross_entropy_backward_sum(prob, examples, followed(i, list), n);
        }
        return;
    }
    for (var i = slice; i < end; i += SLICES) {
        let prob = counts(i, row_start, logit_max) / counts_sum;
        dlogits[row_start + i] =
            softmax_cross_entropy_backward_sum(prob, examples, vec4<f32>(), n);
    }
    for (var t = list.first; t < list.end; t += 2u) {
        let i = target_token(t) / 4u;
        // The slice that has written the vector.
        if i % SLICES == slice {
            dlogits[row_start + i] +=
                softmax_cross_entropy_backward_sum(vec4<f32>(), 0.0, in_column(t, i), n);
        }
    }
}
