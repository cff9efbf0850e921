// 11 · db2                                                                exercise 1 of the lecture
//
// forward:   logits = h @ W2 + b2
// shapes:    (N, VOCAB) = (N, HIDDEN) @ (HIDDEN, VOCAB) + (VOCAB)
// given:     b2(col), dlogits(row, col)
// wanted:    db2(col), one value for each of the VOCAB columns
//
// Think first: b2 is added to every row of the product. Which axis of logits is the one that b2
// does not have?
fn db2(col: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
