//# hint
// Both tensors are (N, VOCAB) and exp works on each element by itself. No axis vanishes, and
// there is no sum.

//# hint
// For one element y = exp(x). What is dy/dx? Express it through y.

//# hint
// In words: the value that the exponential gave in the forward pass, times the gradient of that
// value.

//# solution
fn dnorm_logits(row: u32, col: u32) -> f32 {
    // exp is its own derivative, and its value was kept: counts.
    return counts(row, col) * dcounts(row, col);
}

//# other: the exponential again
fn dnorm_logits(row: u32, col: u32) -> f32 {
    return exp(norm_logits(row, col)) * dcounts(row, col);
}

//# other: the factors swapped
fn dnorm_logits(row: u32, col: u32) -> f32 {
    let incoming = dcounts(row, col);
    let local = counts(row, col);
    return incoming * local;
}

//# mistake: the incoming gradient left out
//> This is the derivative of the exponential alone. The chain rule has a second factor.
fn dnorm_logits(row: u32, col: u32) -> f32 {
    return counts(row, col);
}

//# mistake: the exponent as the derivative
//> You multiply by what went into the exponential. Its derivative is needed.
fn dnorm_logits(row: u32, col: u32) -> f32 {
    return norm_logits(row, col) * dcounts(row, col);
}

//# mistake: the local derivative left out
//> The gradient passes through unchanged here, as if exp were not there.
fn dnorm_logits(row: u32, col: u32) -> f32 {
    return dcounts(row, col);
}

//# mistake: the derivative of the logarithm
//> You divide where you should not: this is how a gradient goes back through a logarithm.
fn dnorm_logits(row: u32, col: u32) -> f32 {
    return dcounts(row, col) / counts(row, col);
}

//# mistake: the exponential twice
//> You take the exponential of a value that is already one.
fn dnorm_logits(row: u32, col: u32) -> f32 {
    return exp(counts(row, col)) * dcounts(row, col);
}

//# mistake: probs for counts
//> These values have been divided by the sum of the row. Which tensor is the result of the
//> exponential itself?
fn dnorm_logits(row: u32, col: u32) -> f32 {
    return probs(row, col) * dcounts(row, col);
}

//# question
// The exponential. Its value at norm_logits is counts, so nothing needs to be computed again.
// Many backward passes reuse a result of the forward pass like this.
