// 9 · dh                                                                  exercise 1 of the lecture
//
// forward:   logits = h @ W2 + b2
// shapes:    (N, VOCAB) = (N, HIDDEN) @ (HIDDEN, VOCAB) + (VOCAB)
// given:     h(row, unit), W2(unit, col), dlogits(row, col)
// wanted:    dh(row, unit)
//
// As a sum: logits(row, col) = b2(col) + the sum over unit of h(row, unit) * W2(unit, col).
//
// Think first: In how many elements of logits does one h(row, unit) appear, and with which factor
// in each?
fn dh(row: u32, unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
