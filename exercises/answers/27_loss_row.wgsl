//# hint
// The result has one value for each row, the logits of a row are VOCAB values. So the axis of the
// columns vanishes: once for the maximum, once for the sum of the exponentials, and the target
// picks one column.

//# hint
// For a row of two logits a and b with the target a: -log(exp(a) / (exp(a) + exp(b))). Use the
// rule for the logarithm of a quotient. Which exponential disappears?

//# hint
// In words: find the maximum of the row and subtract it from each logit; add up the exponentials
// of what is left; the loss is the logarithm of that sum minus what is left of the target's
// logit.

//# solution
fn loss_row(row: u32) -> f32 {
    // The maximum first: afterwards no exponent is above zero, so exp cannot overflow.
    var largest = logits(row, 0u);
    for (var col = 1u; col < VOCAB; col++) {
        largest = max(largest, logits(row, col));
    }
    var counts_sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        counts_sum += exp(logits(row, col) - largest);
    }
    // -log(exp(x) / counts_sum) = log(counts_sum) - x: the logarithm undoes the exponential.
    return log(counts_sum) - (logits(row, Yb(row)) - largest);
}

//# other: line by line, as in the notebook
fn loss_row(row: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var col = 1u; col < VOCAB; col++) {
        largest = max(largest, logits(row, col));
    }
    var counts_sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        counts_sum += exp(logits(row, col) - largest);
    }
    let prob = exp(logits(row, Yb(row)) - largest) / counts_sum;
    return -log(prob);
}

//# other: one pass over the row
fn loss_row(row: u32) -> f32 {
    // The sum belongs to the largest logit so far. When a larger one comes, the sum is scaled.
    var largest = logits(row, 0u);
    var counts_sum = 1.0;
    for (var col = 1u; col < VOCAB; col++) {
        let new_largest = max(largest, logits(row, col));
        counts_sum = counts_sum * exp(largest - new_largest) + exp(logits(row, col) - new_largest);
        largest = new_largest;
    }
    return log(counts_sum) - (logits(row, Yb(row)) - largest);
}

//# other: loops backwards
fn loss_row(row: u32) -> f32 {
    var largest = logits(row, VOCAB - 1u);
    var col = VOCAB;
    while col > 0u {
        col -= 1u;
        largest = max(largest, logits(row, col));
    }
    var counts_sum = 0.0;
    col = VOCAB;
    while col > 0u {
        col -= 1u;
        counts_sum += exp(logits(row, col) - largest);
    }
    return largest - logits(row, Yb(row)) + log(counts_sum);
}

//# mistake: the maximum not subtracted
//> The formula is right on paper, but f32 cannot hold its intermediate values: the exponentials
//> overflow.
fn loss_row(row: u32) -> f32 {
    var counts_sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        counts_sum += exp(logits(row, col));
    }
    return log(counts_sum) - logits(row, Yb(row));
}

//# mistake: the sign
//> The right size, but a loss cannot be negative here: the logarithm of a probability is not
//> above zero.
fn loss_row(row: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var col = 1u; col < VOCAB; col++) {
        largest = max(largest, logits(row, col));
    }
    var counts_sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        counts_sum += exp(logits(row, col) - largest);
    }
    return logits(row, Yb(row)) - largest - log(counts_sum);
}

//# mistake: the mean taken already
//> You have divided by the size of the batch. What is wanted is the loss of one row, before the
//> mean.
fn loss_row(row: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var col = 1u; col < VOCAB; col++) {
        largest = max(largest, logits(row, col));
    }
    var counts_sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        counts_sum += exp(logits(row, col) - largest);
    }
    return (log(counts_sum) - (logits(row, Yb(row)) - largest)) / f32(N);
}

//# mistake: the maximum subtracted from the sum only
//> The maximum is subtracted in one place and not in the other. Then it does not cancel, and the
//> loss is far below zero.
fn loss_row(row: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var col = 1u; col < VOCAB; col++) {
        largest = max(largest, logits(row, col));
    }
    var counts_sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        counts_sum += exp(logits(row, col) - largest);
    }
    return log(counts_sum) - logits(row, Yb(row));
}

//# mistake: the target left out
//> You have the logarithm of the sum. It does not yet say which column would have been right.
fn loss_row(row: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var col = 1u; col < VOCAB; col++) {
        largest = max(largest, logits(row, col));
    }
    var counts_sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        counts_sum += exp(logits(row, col) - largest);
    }
    return log(counts_sum);
}

//# mistake: the logarithm left out
//> This is the probability with a minus sign. The loss is made of its logarithm.
fn loss_row(row: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var col = 1u; col < VOCAB; col++) {
        largest = max(largest, logits(row, col));
    }
    var counts_sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        counts_sum += exp(logits(row, col) - largest);
    }
    return -exp(logits(row, Yb(row)) - largest) / counts_sum;
}

//# question
// Any constant, because it cancels in the quotient. With the maximum, the largest exponential
// becomes exp(0) = 1: nothing overflows, and the sum is at least 1, so its logarithm is safe.
