// Softmax and cross-entropy in one. `gradcheck --explain --exercise 2` prints the block marked `//:`.
//
//   logits (batch, vocab)   Yb (batch)

//: exercise 2
//: forward:  loss = F.cross_entropy(logits, Yb)
//: The forward line is four in one, with all sums over the columns of a row:
//:
//:   norm_logits = logits - logit_maxes          the row's maximum, so that exp cannot overflow
//:   counts      = norm_logits.exp()
//:   probs       = counts / counts_sum
//:   loss        = -probs.log()[range(n), Yb].mean()
//:
//: For one row with target y, the logarithm undoes the exponential:
//:
//:   -log(probs[y]) = log(counts_sum) - norm_logits[y]
//:
//: The derivative of log(counts_sum) by logits[v] is counts[v] / counts_sum, which is probs[v]:
//:
//:   d(-log probs[y]) / d logits[v] = probs[v] - (1 if v == y else 0)
//:
//: and the mean over n rows divides by n. The maximum has no part in it: a constant that is added to a
//: row does not change its softmax, so dlogit_maxes is zero.
//:
//: Each row of dlogits sums to 0: what is pulled up at the target is pushed down elsewhere.
//: backward: dlogits = F.softmax(logits, 1)
//:           dlogits[range(n), Yb] -= 1
//:           dlogits /= n

// -logprobs[i, y] = log(counts_sum) - norm_logits[i, y]
fn cross_entropy_loss(norm_logit_of_target: f32, counts_sum: f32) -> f32 {
    return log(counts_sum) - norm_logit_of_target;
}

// dlogits = (softmax(logits) - one_hot(y)) / n
fn softmax_cross_entropy_backward(prob: vec4<f32>, is_target: vec4<bool>, n: f32) -> vec4<f32> {
    return (prob - select(vec4<f32>(), vec4<f32>(1.0), is_target)) / n;
}

// dlogits summed over the `examples` that have one context, and so one row of logits; `followed` of them
// have this target.
fn softmax_cross_entropy_backward_sum(
    prob: vec4<f32>,
    examples: f32,
    followed: vec4<f32>,
    n: f32,
) -> vec4<f32> {
    return (examples * prob - followed) / n;
}
