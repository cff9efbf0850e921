//# hint
// Both tensors are (N, 1), and each element is computed by itself. There is no axis that must
// vanish and so no sum.

//# hint
// For one element y = 1/x = x**-1. Apply the power rule: the exponent comes to the front and
// drops by one. What is the exponent then?

//# hint
// In words: minus one over the square of the sum, times the gradient of the reciprocal.

//# solution
fn dcounts_sum(row: u32) -> f32 {
    // The power rule: the derivative of x**-1 is -1 * x**-2.
    let sum = counts_sum(row);
    return -1.0 / (sum * sum) * dcounts_sum_inv(row);
}

//# other: the reciprocal is at hand
fn dcounts_sum(row: u32) -> f32 {
    // counts_sum_inv is counts_sum**-1, so its square is counts_sum**-2.
    return -(counts_sum_inv(row) * counts_sum_inv(row)) * dcounts_sum_inv(row);
}

//# other: pow
fn dcounts_sum(row: u32) -> f32 {
    return -pow(counts_sum(row), -2.0) * dcounts_sum_inv(row);
}

//# other: divided twice
fn dcounts_sum(row: u32) -> f32 {
    return -dcounts_sum_inv(row) / counts_sum(row) / counts_sum(row);
}

//# mistake: the sign
//> The size is right. Does a reciprocal grow when its number grows?
fn dcounts_sum(row: u32) -> f32 {
    return 1.0 / (counts_sum(row) * counts_sum(row)) * dcounts_sum_inv(row);
}

//# mistake: the exponent not lowered
//> The power rule does two things with the exponent. You have done one of them.
fn dcounts_sum(row: u32) -> f32 {
    return -1.0 / counts_sum(row) * dcounts_sum_inv(row);
}

//# mistake: the incoming gradient left out
//> This is the derivative of the reciprocal alone. The chain rule has a second factor.
fn dcounts_sum(row: u32) -> f32 {
    return -1.0 / (counts_sum(row) * counts_sum(row));
}

//# mistake: the derivative of the logarithm
//> You have differentiated a logarithm. Here the forward line is a power with the exponent -1.
fn dcounts_sum(row: u32) -> f32 {
    return 1.0 / counts_sum(row) * dcounts_sum_inv(row);
}

//# mistake: the power rule twice
//> The exponent has dropped too far: this is the derivative of x**-2.
fn dcounts_sum(row: u32) -> f32 {
    let sum = counts_sum(row);
    return -2.0 / (sum * sum * sum) * dcounts_sum_inv(row);
}

//# question
// It shrinks. So the derivative of 1/x is negative everywhere, and dcounts_sum has the opposite
// sign of dcounts_sum_inv.
