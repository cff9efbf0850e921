// Softmax and cross-entropy in one: loss = F.cross_entropy(logits, Yb)
//
//   logits (batch, vocab)   Y (batch)
//
//   norm_logits = logits - logit_maxes          the row's maximum, so that exp cannot overflow
//   counts      = norm_logits.exp()
//   probs       = counts / counts.sum(1)
//   loss        = -probs.log()[range(n), Y].mean()
//
// For one row, the logarithm undoes the exponential:
//
//   -log(probs[y]) = log(counts_sum) - norm_logits[y]
//
// Backward, for one row with target y. By d log(sum)/d logits[v] = exp(logits[v])/sum = probs[v]:
//
//   d(-log probs[y]) / d logits[v] = probs[v] - (1 if v == y else 0)
//
// and the mean over n rows divides by n. The maximum has no part in it: adding a constant to a row
// does not change its softmax (the lecture finds dlogit_maxes to be zero).
//
// Each row of dlogits sums to 0: what is pulled up at the target is pushed down elsewhere.

// -logprobs[i, y] = log(counts_sum) - norm_logits[i, y]
fn cross_entropy_loss(norm_logit_of_target: f32, counts_sum: f32) -> f32 {
    return log(counts_sum) - norm_logit_of_target;
}

// dlogits = (softmax(logits) - one_hot(y)) / n
fn softmax_cross_entropy_backward(prob: f32, is_target: bool, n: f32) -> f32 {
    return (prob - select(0.0, 1.0, is_target)) / n;
}

// The same, summed over examples that share their logits, for they have the same context: `followed` of
// them have this target.
fn softmax_cross_entropy_backward_sum(prob: f32, examples: f32, followed: f32, n: f32) -> f32 {
    return (examples * prob - followed) / n;
}
