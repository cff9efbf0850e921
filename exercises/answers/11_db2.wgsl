//# hint
// db2 is (VOCAB), the incoming gradient is (N, VOCAB). The axis of the rows must vanish.

//# hint
// For one bias b and two examples: y0 = ... + b and y1 = ... + b. What is the derivative of y0
// with respect to b? The loss reaches b through both.

//# hint
// In words: the sum of the column of dlogits over all rows.

//# solution
fn db2(col: u32) -> f32 {
    // b2(col) is added in every row with the factor 1. A broadcast forward is a sum backward.
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dlogits(row, col);
    }
    return sum;
}

//# other: loop backwards
fn db2(col: u32) -> f32 {
    var sum = 0.0;
    var row = N;
    while row > 0u {
        row -= 1u;
        sum += dlogits(row, col);
    }
    return sum;
}

//# other: even and odd rows apart
fn db2(col: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var row = 0u; row < N; row++) {
        if row % 2u == 0u {
            even += dlogits(row, col);
        } else {
            odd += dlogits(row, col);
        }
    }
    return even + odd;
}

//# mistake: the mean over the batch
//> The mean over the batch is already in dlogits. Here the gradients of all uses are simply
//> added.
fn db2(col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dlogits(row, col);
    }
    return sum / f32(N);
}

//# mistake: sum over the columns
//> You add along a row. Along which axis was b2 broadcast?
fn db2(col: u32) -> f32 {
    var sum = 0.0;
    for (var v = 0u; v < VOCAB; v++) {
        sum += dlogits(col, v);
    }
    return sum;
}

//# mistake: one row only
//> One example is right, but the bias is used in all of them.
fn db2(col: u32) -> f32 {
    return dlogits(0u, col);
}

//# mistake: b2 as a factor
//> b2 is added, not multiplied. The derivative of a sum with respect to one of its terms is 1.
fn db2(col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += b2(col) * dlogits(row, col);
    }
    return sum;
}

//# mistake: the sign
//> The size is right. Is b2 added or subtracted in the forward line?
fn db2(col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += -dlogits(row, col);
    }
    return sum;
}

//# mistake: the last row left out
//> One row is missing from the sum. Where does your loop end?
fn db2(col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row + 1u < N; row++) {
        sum += dlogits(row, col);
    }
    return sum;
}

//# question
// The rows. logits is (N, VOCAB) and b2 is (VOCAB): it is broadcast over the rows, so its
// gradient is the sum over the rows.
