// 10 · dW2                                                                exercise 1 of the lecture
//
// forward:   logits = h @ W2 + b2
// shapes:    (N, VOCAB) = (N, HIDDEN) @ (HIDDEN, VOCAB) + (VOCAB)
// given:     h(row, unit), W2(unit, col), hpreact(row, unit), dlogits(row, col)
// wanted:    dW2(unit, col)
//
// As a sum: logits(row, col) = b2(col) + the sum over unit of h(row, unit) * W2(unit, col).
//
// Think first: One weight is used for every example of the batch. With which factor, for the
// example in this row?
fn dW2(unit: u32, col: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
