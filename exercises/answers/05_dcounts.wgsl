//# hint
// dcounts is (N, VOCAB), like counts. One of the incoming gradients, dcounts_sum, is only (N, 1).
// So nothing is summed here. On the contrary, one value must serve a whole row.

//# hint
// For one count c: p = c * s on one line, and t = c + (the other counts) on another. The loss has
// the derivatives dp and dt. What is its derivative with respect to c through p? What through t?
// And together?

//# hint
// In words: the reciprocal of the row's sum times the gradient of the probability; plus the
// gradient of the row's sum, the same for each column.

//# solution
fn dcounts(row: u32, col: u32) -> f32 {
    // Use 1, probs = counts * counts_sum_inv: the other factor times the gradient.
    let through_probs = counts_sum_inv(row) * dprobs(row, col);
    // Use 2, counts_sum = counts.sum(1): a sum hands its gradient to each term unchanged.
    let through_sum = dcounts_sum(row);
    // Two uses, two terms.
    return through_probs + through_sum;
}

//# other: divided by the sum
fn dcounts(row: u32, col: u32) -> f32 {
    return dcounts_sum(row) + dprobs(row, col) / counts_sum(row);
}

//# other: in two steps, as in the notebook
fn dcounts(row: u32, col: u32) -> f32 {
    var grad = counts_sum_inv(row) * dprobs(row, col);
    grad += 1.0 * dcounts_sum(row);
    return grad;
}

//# mistake: through probs only
//> One of the two paths to the loss is missing. Look for another line in which counts is used.
fn dcounts(row: u32, col: u32) -> f32 {
    return counts_sum_inv(row) * dprobs(row, col);
}

//# mistake: through counts_sum only
//> One of the two paths to the loss is missing. This is the path through the sum of the row.
fn dcounts(row: u32, col: u32) -> f32 {
    return dcounts_sum(row);
}

//# mistake: the difference for the sum
//> Both terms are right, but they are put together wrongly. Any minus sign is already inside the
//> gradients that arrive.
fn dcounts(row: u32, col: u32) -> f32 {
    return counts_sum_inv(row) * dprobs(row, col) - dcounts_sum(row);
}

//# mistake: the second term summed over the columns
//> Both paths are there, but the second counts too much. Each count is a term of its row's sum
//> once, not once for each column.
fn dcounts(row: u32, col: u32) -> f32 {
    var through_sum = 0.0;
    for (var v = 0u; v < VOCAB; v++) {
        through_sum += dcounts_sum(row);
    }
    return counts_sum_inv(row) * dprobs(row, col) + through_sum;
}

//# mistake: the sum for its reciprocal
//> Both paths are there. Look again at the factor of the first: what is counts multiplied by in
//> the forward line?
fn dcounts(row: u32, col: u32) -> f32 {
    return counts_sum(row) * dprobs(row, col) + dcounts_sum(row);
}

//# mistake: counts as the factor of the second term
//> Both paths are there, but a sum has no factors: the derivative of a sum with respect to one of
//> its terms is simply 1.
fn dcounts(row: u32, col: u32) -> f32 {
    return counts_sum_inv(row) * dprobs(row, col) + counts(row, col) * dcounts_sum(row);
}

//# question
// On two lines: as a factor of probs, and as a term of counts_sum. Each use adds a term to the
// gradient. This is why the notebook has dcounts = ... first and dcounts += ... later.
