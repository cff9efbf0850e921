// Softmax and cross-entropy in the lecture's chunks: every line of the notebook is a kernel of its
// own, and every gradient is computed from the one before. The training step does all of this at
// once (softmax_cross_entropy.wgsl); `gradcheck --exercise 1` and `2` compare the two.
//
// `gradcheck --explain TENSOR` prints the blocks marked `//:`.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> Y: array<u32>;                    // (batch) packed, four to a word
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;         // (batch, vocab)
@group(0) @binding(3) var<storage, read_write> logit_maxes: array<f32>;    // (batch, 1)
@group(0) @binding(4) var<storage, read_write> norm_logits: array<f32>;    // (batch, vocab)
@group(0) @binding(5) var<storage, read_write> counts: array<f32>;         // (batch, vocab)
@group(0) @binding(6) var<storage, read_write> counts_sum: array<f32>;     // (batch, 1)
@group(0) @binding(7) var<storage, read_write> counts_sum_inv: array<f32>; // (batch, 1)
@group(0) @binding(8) var<storage, read_write> probs: array<f32>;          // (batch, vocab)
@group(0) @binding(9) var<storage, read_write> logprobs: array<f32>;       // (batch, vocab)
@group(0) @binding(10) var<storage, read_write> dlogprobs: array<f32>;
@group(0) @binding(11) var<storage, read_write> dprobs: array<f32>;
@group(0) @binding(12) var<storage, read_write> dcounts_sum_inv: array<f32>;
@group(0) @binding(13) var<storage, read_write> dcounts_sum: array<f32>;
@group(0) @binding(14) var<storage, read_write> dcounts: array<f32>;
@group(0) @binding(15) var<storage, read_write> dnorm_logits: array<f32>;
@group(0) @binding(16) var<storage, read_write> dlogit_maxes: array<f32>;
@group(0) @binding(17) var<storage, read_write> dlogits: array<f32>;

// Whether element i of a tensor (batch, vocab) is a value; the others are pads, which stay zero.
fn is_logit(i: u32) -> bool {
    return i < shape.rows * pitch(shape.vocab) && i % pitch(shape.vocab) < shape.vocab;
}

// ---- forward ----

@compute @workgroup_size(64)
fn logit_maxes_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= shape.rows {
        return;
    }
    var largest = logits[row * pitch(shape.vocab)];
    for (var v = 1u; v < shape.vocab; v++) {
        largest = max(largest, logits[row * pitch(shape.vocab) + v]);
    }
    logit_maxes[row] = largest;
}

@compute @workgroup_size(64)
fn norm_logits_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_logit(i) {
        norm_logits[i] = logits[i] - logit_maxes[i / pitch(shape.vocab)];
    }
}

@compute @workgroup_size(64)
fn counts_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_logit(i) {
        counts[i] = exp(norm_logits[i]);
    }
}

@compute @workgroup_size(64)
fn counts_sum_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= shape.rows {
        return;
    }
    var sum = 0.0;
    for (var v = 0u; v < shape.vocab; v++) {
        sum += counts[row * pitch(shape.vocab) + v];
    }
    counts_sum[row] = sum;
}

@compute @workgroup_size(64)
fn counts_sum_inv_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row < shape.rows {
        counts_sum_inv[row] = 1.0 / counts_sum[row];
    }
}

@compute @workgroup_size(64)
fn probs_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_logit(i) {
        probs[i] = counts[i] * counts_sum_inv[i / pitch(shape.vocab)];
    }
}

@compute @workgroup_size(64)
fn logprobs_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_logit(i) {
        logprobs[i] = log(probs[i]);
    }
}

// ---- backward ----

//: loss
//: forward:  loss = -logprobs[range(n), Yb].mean()
//: Backpropagation begins here: if the loss grows by a little, the loss grows by just that, so its
//: gradient with respect to itself is 1. Every other gradient is this 1 times the derivatives on the
//: way from the tensor to the loss.
//: backward: dloss = 1.0

//: logprobs
//: forward:  loss = -logprobs[range(n), Yb].mean()
//: The loss is the mean of n elements with a minus, one a row: the one at the target. Those n have
//: the gradient -1/n, all others none.
//: backward: dlogprobs = torch.zeros_like(logprobs); dlogprobs[range(n), Yb] = -1.0/n
@compute @workgroup_size(64)
fn dlogprobs_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_logit(i) {
        let row = i / pitch(shape.vocab);
        let y = (Y[row / 2u] >> (16u * (row % 2u))) & 0xffffu;
        dlogprobs[i] = select(0.0, -1.0 / f32(shape.examples), i % pitch(shape.vocab) == y);
    }
}

//: probs
//: forward:  logprobs = probs.log()
//: The derivative of log(x) is 1/x: where the model gave the right character little probability,
//: its gradient is large.
//: backward: dprobs = (1.0 / probs) * dlogprobs
@compute @workgroup_size(64)
fn dprobs_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_logit(i) {
        dprobs[i] = (1.0 / probs[i]) * dlogprobs[i];
    }
}

//: counts_sum_inv
//: forward:  probs = counts * counts_sum_inv
//: counts is (n, vocab) and counts_sum_inv (n, 1): its one column is broadcast, so each value is
//: used once in every column of its row, and its gradient is the sum over them.
//: backward: dcounts_sum_inv = (counts * dprobs).sum(1, keepdim=True)
@compute @workgroup_size(64)
fn dcounts_sum_inv_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= shape.rows {
        return;
    }
    var sum = 0.0;
    for (var v = 0u; v < shape.vocab; v++) {
        let i = row * pitch(shape.vocab) + v;
        sum += counts[i] * dprobs[i];
    }
    dcounts_sum_inv[row] = sum;
}

//: counts_sum
//: forward:  counts_sum_inv = counts_sum**-1
//: The derivative of x**-1 is -x**-2.
//: backward: dcounts_sum = (-counts_sum**-2) * dcounts_sum_inv
@compute @workgroup_size(64)
fn dcounts_sum_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row < shape.rows {
        dcounts_sum[row] = -1.0 / (counts_sum[row] * counts_sum[row]) * dcounts_sum_inv[row];
    }
}

//: counts
//: forward:  probs = counts * counts_sum_inv
//:           counts_sum = counts.sum(1, keepdims=True)
//: counts is used twice, so its gradient has two terms. A sum hands its gradient on to each of its
//: terms unchanged.
//: backward: dcounts = counts_sum_inv * dprobs
//:           dcounts += torch.ones_like(counts) * dcounts_sum
@compute @workgroup_size(64)
fn dcounts_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_logit(i) {
        let row = i / pitch(shape.vocab);
        dcounts[i] = counts_sum_inv[row] * dprobs[i] + dcounts_sum[row];
    }
}

//: norm_logits
//: forward:  counts = norm_logits.exp()
//: The derivative of exp(x) is exp(x), which is at hand: counts.
//: backward: dnorm_logits = counts * dcounts
@compute @workgroup_size(64)
fn dnorm_logits_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_logit(i) {
        dnorm_logits[i] = counts[i] * dcounts[i];
    }
}

//: logit_maxes
//: forward:  norm_logits = logits - logit_maxes
//: Each maximum is subtracted from its whole row: minus the sum of the row. It comes out as zero
//: but for rounding, because taking a constant off a row does not change its softmax.
//: backward: dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)
@compute @workgroup_size(64)
fn dlogit_maxes_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= shape.rows {
        return;
    }
    var sum = 0.0;
    for (var v = 0u; v < shape.vocab; v++) {
        sum += -dnorm_logits[row * pitch(shape.vocab) + v];
    }
    dlogit_maxes[row] = sum;
}

//: logits
//: forward:  logit_maxes = logits.max(1, keepdim=True).values
//:           norm_logits = logits - logit_maxes
//: Two uses, two terms. The maximum hands its gradient on to the one element that it was taken from,
//: the first of them if several are equal.
//: backward: dlogits = dnorm_logits.clone()
//:           dlogits += F.one_hot(logits.max(1).indices, num_classes=vocab) * dlogit_maxes
@compute @workgroup_size(64)
fn dlogits_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= shape.rows {
        return;
    }
    let first = row * pitch(shape.vocab);
    var at = 0u;
    for (var v = 0u; v < shape.vocab; v++) {
        if logits[first + v] > logits[first + at] {
            at = v;
        }
        dlogits[first + v] = dnorm_logits[first + v];
    }
    dlogits[first + at] += dlogit_maxes[row];
}
