// 5 · dcounts                                                             exercise 1 of the lecture
//
// forward:   counts_sum = counts.sum(1, keepdims=True)     (N, 1) from (N, VOCAB)
//            probs = counts * counts_sum_inv               (N, VOCAB) = (N, VOCAB) * (N, 1)
// given:     counts(row, col), counts_sum(row), counts_sum_inv(row),
//            dprobs(row, col), dcounts_sum_inv(row), dcounts_sum(row)
// wanted:    dcounts(row, col)
//
// Think first: On how many lines of the forward pass does counts appear on the right-hand side?
fn dcounts(row: u32, col: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
