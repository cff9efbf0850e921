//# hint
// The result is (N, VOCAB), like logits. But each value needs its whole row, because the sum of
// the exponentials runs over the columns. Rows do not touch each other.

//# hint
// For one row: loss = log(exp(a) + exp(b)) - a, with the target a. What is the derivative with
// respect to a? And to b? Write both with the softmax.

//# hint
// In words: the softmax of the row at this column, minus one if the column is the target, all
// divided by the size of the batch.

//# solution
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var v = 1u; v < VOCAB; v++) {
        largest = max(largest, logits(row, v));
    }
    var counts_sum = 0.0;
    for (var v = 0u; v < VOCAB; v++) {
        counts_sum += exp(logits(row, v) - largest);
    }
    // The derivative of log(counts_sum) with respect to a logit is its probability.
    let prob = exp(logits(row, col) - largest) / counts_sum;
    // The derivative of -logits[target] is -1 at the target. The mean divides by N.
    return (prob - select(0.0, 1.0, col == Yb(row))) / f32(N);
}

//# other: one pass over the row
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var largest = logits(row, 0u);
    var counts_sum = 1.0;
    for (var v = 1u; v < VOCAB; v++) {
        let new_largest = max(largest, logits(row, v));
        counts_sum = counts_sum * exp(largest - new_largest) + exp(logits(row, v) - new_largest);
        largest = new_largest;
    }
    let prob = exp(logits(row, col) - largest) / counts_sum;
    if col == Yb(row) {
        return (prob - 1.0) / f32(N);
    }
    return prob / f32(N);
}

//# other: in three steps, as in the notebook
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var largest = logits(row, VOCAB - 1u);
    for (var v = 0u; v < VOCAB; v++) {
        largest = max(largest, logits(row, v));
    }
    var counts_sum = 0.0;
    var v = VOCAB;
    while v > 0u {
        v -= 1u;
        counts_sum += exp(logits(row, v) - largest);
    }
    // dlogits = F.softmax(logits, 1)
    var grad = exp(logits(row, col) - largest) / counts_sum;
    // dlogits[range(n), Yb] -= 1
    if col == Yb(row) {
        grad -= 1.0;
    }
    // dlogits /= n
    grad /= f32(N);
    return grad;
}

//# mistake: minus one everywhere
//> The 1 is subtracted in every column. Which columns does the second term of the row's loss
//> read?
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var v = 1u; v < VOCAB; v++) {
        largest = max(largest, logits(row, v));
    }
    var counts_sum = 0.0;
    for (var v = 0u; v < VOCAB; v++) {
        counts_sum += exp(logits(row, v) - largest);
    }
    return (exp(logits(row, col) - largest) / counts_sum - 1.0) / f32(N);
}

//# mistake: n left out
//> This is the gradient of one row's loss. But loss is the mean over the rows.
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var v = 1u; v < VOCAB; v++) {
        largest = max(largest, logits(row, v));
    }
    var counts_sum = 0.0;
    for (var v = 0u; v < VOCAB; v++) {
        counts_sum += exp(logits(row, v) - largest);
    }
    return exp(logits(row, col) - largest) / counts_sum - select(0.0, 1.0, col == Yb(row));
}

//# mistake: the target left out
//> You have the first term of the derivative. It does not yet say which column would have been
//> right.
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var v = 1u; v < VOCAB; v++) {
        largest = max(largest, logits(row, v));
    }
    var counts_sum = 0.0;
    for (var v = 0u; v < VOCAB; v++) {
        counts_sum += exp(logits(row, v) - largest);
    }
    return exp(logits(row, col) - largest) / counts_sum / f32(N);
}

//# mistake: the sign
//> The right size. Should the loss grow or shrink if the target's logit grows?
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var v = 1u; v < VOCAB; v++) {
        largest = max(largest, logits(row, v));
    }
    var counts_sum = 0.0;
    for (var v = 0u; v < VOCAB; v++) {
        counts_sum += exp(logits(row, v) - largest);
    }
    let prob = exp(logits(row, col) - largest) / counts_sum;
    return (select(0.0, 1.0, col == Yb(row)) - prob) / f32(N);
}

//# mistake: not normalised
//> The exponentials have not become probabilities yet. Does your softmax add up to 1?
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var v = 1u; v < VOCAB; v++) {
        largest = max(largest, logits(row, v));
    }
    return (exp(logits(row, col) - largest) - select(0.0, 1.0, col == Yb(row))) / f32(N);
}

//# mistake: only one term divided by n
//> The mean over the batch divides the whole derivative. You divide one of its two terms.
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var largest = logits(row, 0u);
    for (var v = 1u; v < VOCAB; v++) {
        largest = max(largest, logits(row, v));
    }
    var counts_sum = 0.0;
    for (var v = 0u; v < VOCAB; v++) {
        counts_sum += exp(logits(row, v) - largest);
    }
    let prob = exp(logits(row, col) - largest) / counts_sum;
    return prob - select(0.0, 1.0, col == Yb(row)) / f32(N);
}

//# mistake: the maximum not taken off
//> The formula is right, and overflows: the logits are around 100 here, and exp(100) is larger than
//> any f32. What may be subtracted from a whole row without changing its softmax?
fn dlogits_fused(row: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < VOCAB; k++) {
        sum += exp(logits(row, k));
    }
    let prob = exp(logits(row, col)) / sum;
    return (prob - select(0.0, 1.0, col == Yb(row))) / f32(N);
}

//# question
// To zero. The target is pulled up as much as all columns together are pushed down. You can check
// it by hand: the probabilities add up to 1, and 1 is subtracted once.
