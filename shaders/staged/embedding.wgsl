// Launches of the embedding. Formulas: embedding.wgsl.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> progress: Progress;
@group(0) @binding(2) var<storage, read> X: array<u32>;                  // (steps, rows * block) packed, each step from a new word
@group(0) @binding(2) var<storage, read> uses: array<u32>;               // (steps, vocab + 1 + rows * block): see below
@group(0) @binding(3) var<storage, read> C: array<f32>;                  // (vocab, embd)
@group(0) @binding(4) var<storage, read_write> embcat: array<vec4<f32>>; // (rows, block * embd)
@group(0) @binding(5) var<storage, read> dembcat: array<f32>;            // (rows, block * embd)
@group(0) @binding(6) var<storage, read_write> dC: array<f32>;           // (vocab, embd)
@group(0) @binding(7) var<storage, read> targets: array<u32>;            // (steps, rows + 1 + 2 * examples): see targets.wgsl
@group(0) @binding(8) var<storage, read_write> examples: array<f32>;     // (rows)

// Four elements of a row of embcat, from column `first` on.
fn embedded(step: u32, row: u32, first: u32) -> vec4<f32> {
    let cols = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u);
    let at = min(cols, vec4<u32>(shape.fan_in - 1u));
    let words_per_step = (shape.rows * shape.block + 1u) / 2u;
    let positions = row * shape.block + at / shape.embd;
    let words = step * words_per_step + positions / 2u;
    let packed = vec4<u32>(X[words.x], X[words.y], X[words.z], X[words.w]);
    let i = embedding_token(packed, positions) * pitch(shape.embd) + at % shape.embd;
    let values = vec4<f32>(C[i.x], C[i.y], C[i.z], C[i.w]);
    return select(vec4<f32>(), values, cols < vec4<u32>(shape.fan_in)); // the pad of embcat is zero
}

// How many examples have the context of a row. Later kernels read it.
fn examples_of_row(step: u32, row: u32) -> f32 {
    let list = targets_of_row(step, row);
    var examples = 0.0;
    for (var t = list.first; t < list.end; t += 2u) {
        examples += target_examples(t);
    }
    return examples;
}

// emb = C[X]. One invocation, four elements of embcat. First kernel of a step.
@compute @workgroup_size(64)
fn embedding_forward_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let step = progress.finished;
    let i = invocation_index(id, workgroups);
    if i == 0u {
        progress.started = step;
    }
    if i < shape.rows {
        examples[i] = examples_of_row(step, i);
    }
    let cols = vectors(shape.fan_in);
    if i >= shape.rows * cols {
        return;
    }
    embcat[i] = embedded(step, i / cols, i % cols * 4u);
}

var<workgroup> partial: array<f32, 64>;

// dC[X[p]] += demb[p]. One invocation, one slice of one element of dC.
//
// The host has listed the uses of each token (`list_uses` of src/gpu/packing.rs): where each list begins and
// the last one ends; then where the embedding of each use begins in dembcat. So the cost of a token is the
// number of its uses, not the number of positions.
@compute @workgroup_size(64)
fn embedding_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let elements = 64u / SLICES;
    let i = group.x * elements + lane % elements;
    let token = i / pitch(shape.embd);
    let e = i % pitch(shape.embd);
    let first = progress.started * (shape.vocab + 1u + shape.rows * shape.block);
    let places = first + shape.vocab + 1u;
    var sum = 0.0;
    if token < shape.vocab && e < shape.embd {
        let end = uses[first + token + 1u];
        for (var u = uses[first + token] + lane / elements; u < end; u += SLICES) {
            sum += dembcat[uses[places + u] + e];
        }
    }
    if SLICES > 1u {
        partial[lane] = sum;
        workgroupBarrier();
        sum = 0.0;
        for (var s = lane % elements; s < 64u; s += elements) {
            sum += partial[s];
        }
    }
    if lane < elements && token < shape.vocab {
        dC[i] = sum;
    }
}
