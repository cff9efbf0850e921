// 3 · dcounts_sum_inv                                                     exercise 1 of the lecture
//
// forward:   probs = counts * counts_sum_inv
// shapes:    (N, VOCAB) = (N, VOCAB) * (N, 1)
// given:     counts(row, col), counts_sum_inv(row), dprobs(row, col)
// wanted:    dcounts_sum_inv(row), one value for each of the N rows
//
// Think first: counts_sum_inv(row) is used VOCAB times, once for each column. What happens to the
// gradients of a value that is used more than once?
fn dcounts_sum_inv(row: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
