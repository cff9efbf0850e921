// 4 · dcounts_sum                                                         exercise 1 of the lecture
//
// forward:   counts_sum_inv = counts_sum**-1
// shapes:    (N, 1) = (N, 1), element by element
// given:     counts_sum(row), counts_sum_inv(row), dcounts_sum_inv(row)
// wanted:    dcounts_sum(row)
//
// WGSL has no operator for powers. Multiply, divide, or use pow(x, y), which needs x > 0.
//
// Think first: If a positive number grows, does its reciprocal grow or shrink? What does that say
// about a sign?
fn dcounts_sum(row: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
