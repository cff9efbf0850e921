//# hint
// probs and logprobs have the same shape, and log works on each element by itself. So no axis
// vanishes, and element (row, col) of the result needs element (row, col) of the inputs only.

//# hint
// For one element y = log(p). What is dy/dp? And the chain rule: if dy is the derivative of the
// loss with respect to y, what is its derivative with respect to p?

//# hint
// In words: the derivative of the logarithm at this element, times the gradient that arrives at
// this element.

//# solution
fn dprobs(row: u32, col: u32) -> f32 {
    // Local derivative of log(p): 1/p. Chain rule: times the gradient of the result.
    return (1.0 / probs(row, col)) * dlogprobs(row, col);
}

//# other: one division
fn dprobs(row: u32, col: u32) -> f32 {
    return dlogprobs(row, col) / probs(row, col);
}

//# other: 1/p as an exponential
fn dprobs(row: u32, col: u32) -> f32 {
    // probs = exp(logprobs), so 1/probs = exp(-logprobs).
    return exp(-logprobs(row, col)) * dlogprobs(row, col);
}

//# mistake: probs for its reciprocal
//> You multiply by the probability itself. What is the derivative of log(x)?
fn dprobs(row: u32, col: u32) -> f32 {
    return probs(row, col) * dlogprobs(row, col);
}

//# mistake: the incoming gradient left out
//> This is the derivative of the logarithm alone. The chain rule has a second factor.
fn dprobs(row: u32, col: u32) -> f32 {
    return 1.0 / probs(row, col);
}

//# mistake: the local derivative left out
//> The gradient passes through unchanged here. That would be right if logprobs were probs plus a
//> constant.
fn dprobs(row: u32, col: u32) -> f32 {
    return dlogprobs(row, col);
}

//# mistake: the logarithm itself as its derivative
//> You multiply by the function's value. It is the function's derivative that is wanted.
fn dprobs(row: u32, col: u32) -> f32 {
    return logprobs(row, col) * dlogprobs(row, col);
}

//# mistake: the derivative of 1/x
//> This is a derivative, but of 1/x: it has one power of the probability too many.
fn dprobs(row: u32, col: u32) -> f32 {
    return -dlogprobs(row, col) / (probs(row, col) * probs(row, col));
}

//# question
// In the row with 0.01: the derivative of log(p) is 1/p, which is 100 there and about 1.1 in the
// other row. The less the model believed in the right character, the harder it is pulled.
