// Launch of softmax and cross-entropy. Formulas and derivation: softmax_cross_entropy.wgsl.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> progress: Progress;
@group(0) @binding(2) var<storage, read> Y: array<u32>;             // (steps, batch) packed, each step from a new word
@group(0) @binding(3) var<storage, read> logits: array<f32>;        // (batch, vocab)
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;  // (steps, batch)
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>; // (batch, vocab)

// The loss of each example and dlogits. One invocation, one row. The mean over the rows is left to
// the host, which reads all losses of a chunk at once and adds them in f64.
@compute @workgroup_size(64)
fn softmax_cross_entropy_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= shape.batch {
        return;
    }
    let step = progress.started;
    let word = Y[step * ((shape.batch + 3u) / 4u) + row / 4u];
    let target_token = (word >> (8u * (row % 4u))) & 0xffu;
    let first = row * shape.vocab;
    let end = first + shape.vocab;

    var logit_max = logits[first];
    for (var i = first + 1u; i < end; i++) {
        logit_max = max(logit_max, logits[i]);
    }
    var counts_sum = 0.0;
    for (var i = first; i < end; i++) {
        let count = exp(logits[i] - logit_max);
        dlogits[i] = count;
        counts_sum += count;
    }
    let norm_logit = logits[first + target_token] - logit_max;
    losses[step * shape.batch + row] = cross_entropy_loss(norm_logit, counts_sum);
    let n = f32(shape.batch);
    for (var i = first; i < end; i++) {
        let prob = dlogits[i] / counts_sum;
        dlogits[i] = softmax_cross_entropy_backward(prob, i - first == target_token, n);
    }
}
