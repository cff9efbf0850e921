//# hint
// dlogit_maxes is (N, 1), the incoming gradient is (N, VOCAB). The axis of the columns must
// vanish.

//# hint
// For one row with two columns, y0 = x0 - m and y1 = x1 - m. What is the derivative of y0 with
// respect to m? The loss reaches m through y0 and through y1.

//# hint
// In words: minus the sum of the gradients of norm_logits over the columns of the row.

//# solution
fn dlogit_maxes(row: u32) -> f32 {
    // The maximum is broadcast over the columns, so the gradients of its VOCAB uses add up. Each
    // has the factor -1, because the maximum is subtracted.
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += -dnorm_logits(row, col);
    }
    // Zero but for rounding: a constant subtracted from a whole row does not change its softmax.
    return sum;
}

//# other: minus in front of the sum
fn dlogit_maxes(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += dnorm_logits(row, col);
    }
    return -sum;
}

//# other: loop backwards
fn dlogit_maxes(row: u32) -> f32 {
    var sum = 0.0;
    var col = VOCAB;
    while col > 0u {
        col -= 1u;
        sum += -dnorm_logits(row, col);
    }
    return sum;
}

//# other: subtracted from zero, even and odd columns apart
fn dlogit_maxes(row: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        if col % 2u == 0u {
            even -= dnorm_logits(row, col);
        } else {
            odd -= dnorm_logits(row, col);
        }
    }
    return even + odd;
}

//# mistake: one column only
//> You have the gradient of one use. The maximum is subtracted from every column of its row.
fn dlogit_maxes(row: u32) -> f32 {
    return -dnorm_logits(row, 0u);
}

//# mistake: the first column skipped
//> One column is missing from the sum. Where does your loop begin?
fn dlogit_maxes(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 1u; col < VOCAB; col++) {
        sum += -dnorm_logits(row, col);
    }
    return sum;
}

//# mistake: the gradient before the exponential
//> You add up another gradient. Which one belongs to the result of this forward line?
fn dlogit_maxes(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += -dcounts(row, col);
    }
    return sum;
}

//# mistake: norm_logits as a factor
//> A subtraction has no factors: its derivatives are 1 and -1, whatever the values are.
fn dlogit_maxes(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += -norm_logits(row, col) * dnorm_logits(row, col);
    }
    return sum;
}

//# mistake: only the target's column
//> You have the gradient of one column, that of the target. The maximum is subtracted from the
//> others as well.
fn dlogit_maxes(row: u32) -> f32 {
    return -dnorm_logits(row, Yb(row));
}

//# mistake: absolute values
//> The gradients of several uses add up with their signs. Some of them cancel.
fn dlogit_maxes(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += -abs(dnorm_logits(row, col));
    }
    return sum;
}

//# mistake: the sign
//> The right sum. With which sign does the maximum enter the subtraction?
fn dlogit_maxes(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += dnorm_logits(row, col);
    }
    return sum;
}

//# mistake: the mean for the sum
//> The right terms, but averaged. The gradients of several uses are not averaged.
fn dlogit_maxes(row: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += -dnorm_logits(row, col);
    }
    return sum / f32(VOCAB);
}

//# question
// The loss does not change: softmax is the same whatever is subtracted from a whole row. So the
// gradient is zero, and what you compute is rounding, about 1e-9. It is a good check of all the
// gradients before it.
