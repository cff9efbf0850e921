// Launches of the embedding. Formulas: embedding.wgsl.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> progress: Progress;
@group(0) @binding(2) var<storage, read> X: array<u32>;            // (steps, batch * block) packed, each step from a new word
@group(0) @binding(3) var<storage, read> C: array<f32>;            // (vocab, embd)
@group(0) @binding(4) var<storage, read_write> embcat: array<f32>; // (batch, block * embd)
@group(0) @binding(5) var<storage, read> dembcat: array<f32>;      // (batch, block * embd)
@group(0) @binding(6) var<storage, read_write> dC: array<f32>;     // (vocab, embd)

fn words_per_step() -> u32 {
    return (shape.batch * shape.block + 3u) / 4u;
}

// emb = C[X]. One invocation, one element of embcat. First kernel of a step.
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
    if i >= shape.batch * shape.fan_in {
        return;
    }
    let position = i / shape.embd;
    let word = X[step * words_per_step() + position / 4u];
    embcat[i] = C[embedding_token(word, position) * shape.embd + i % shape.embd];
}

// The term of one position: demb[p, e] where X[p] is `token`, else nothing.
fn term(word: u32, position: u32, token: u32, e: u32) -> f32 {
    if position < shape.batch * shape.block && embedding_token(word, position) == token {
        return dembcat[position * shape.embd + e];
    }
    return 0.0;
}

// dC[X[p]] += demb[p]. One invocation, one element of dC. Four positions an iteration, written out:
// that is a word of X, and it keeps the largest batch at 16,384 iterations, as some software drivers
// leave all loops without a word once an invocation has gone round 65,535 times.
@compute @workgroup_size(64)
fn embedding_backward_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i >= shape.vocab * shape.embd {
        return;
    }
    let token = i / shape.embd;
    let e = i % shape.embd;
    let first_word = progress.started * words_per_step();
    var sum = 0.0;
    for (var w = 0u; w < words_per_step(); w++) {
        let word = X[first_word + w];
        let p = 4u * w;
        sum += term(word, p, token, e);
        sum += term(word, p + 1u, token, e);
        sum += term(word, p + 2u, token, e);
        sum += term(word, p + 3u, token, e);
    }
    dC[i] = sum;
}
