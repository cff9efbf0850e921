//# hint
// dcounts_sum_inv has the shape of counts_sum_inv, which is (N, 1). What you multiply is
// (N, VOCAB). So the axis of the columns must vanish: what makes VOCAB values into one?

//# hint
// For one row with two columns, p0 = c0 * s and p1 = c1 * s. If the loss has the derivatives dp0
// and dp1, what is its derivative with respect to s? There are two paths from s to the loss.

//# hint
// In words: multiply each count of the row by the gradient of its probability, then add up the
// products over the columns.

//# solution
fn dcounts_sum_inv(row: u32) -> f32 {
    // One use for each column, and the gradients of all uses add up.
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        // probs = counts * counts_sum_inv: the derivative with respect to one factor is the other
        // factor.
        sum += counts(row, col) * dprobs(row, col);
    }
    return sum;
}

//# other: loop backwards
fn dcounts_sum_inv(row: u32) -> f32 {
    var sum = 0.0;
    var col = VOCAB;
    while col > 0u {
        col -= 1u;
        sum += counts(row, col) * dprobs(row, col);
    }
    return sum;
}

//# other: even and odd columns apart
fn dcounts_sum_inv(row: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        if col % 2u == 0u {
            even += counts(row, col) * dprobs(row, col);
        } else {
            odd += counts(row, col) * dprobs(row, col);
        }
    }
    return even + odd;
}

//# other: fused multiply and add
fn dcounts_sum_inv(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum = fma(counts(row, col), dprobs(row, col), sum);
    }
    return sum;
}

//# mistake: one column only
//> You have the right product, but only one column of it. A value that is used VOCAB times gets
//> VOCAB gradients.
fn dcounts_sum_inv(row: u32) -> f32 {
    return counts(row, 0u) * dprobs(row, 0u);
}

//# mistake: counts left out
//> You add up the gradients of the products as they are. The other factor of each product is
//> missing.
fn dcounts_sum_inv(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += dprobs(row, col);
    }
    return sum;
}

//# mistake: probs for counts
//> A product is differentiated with respect to one factor. What remains is the other factor, not
//> the product.
fn dcounts_sum_inv(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += probs(row, col) * dprobs(row, col);
    }
    return sum;
}

//# mistake: the mean for the sum
//> The right terms, but averaged. The gradients of several uses are not averaged.
fn dcounts_sum_inv(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += counts(row, col) * dprobs(row, col);
    }
    return sum / f32(VOCAB);
}

//# mistake: the incoming gradient left out
//> These are the local derivatives only. The chain rule multiplies each one by the gradient that
//> arrives.
fn dcounts_sum_inv(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += counts(row, col);
    }
    return sum;
}

//# mistake: product of the sums
//> You add first and multiply afterwards. The two orders do not give the same: each count belongs
//> to one gradient.
fn dcounts_sum_inv(row: u32) -> f32 {
    var all_counts = 0.0;
    var all_gradients = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        all_counts += counts(row, col);
        all_gradients += dprobs(row, col);
    }
    return all_counts * all_gradients;
}

//# question
// They add up. A broadcast in the forward pass is a sum in the backward pass, always over the
// axis that was broadcast.
