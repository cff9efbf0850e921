//# hint
// db1 is (HIDDEN), the incoming gradient is (N, HIDDEN). The axis of the rows must vanish.

//# hint
// For one bias b and two examples: y0 = ... + b and y1 = ... + b. What is the derivative of y0
// with respect to b? The loss reaches b through both.

//# hint
// In words: the sum of this unit's gradients of hprebn over all rows.

//# solution
fn db1(unit: u32) -> f32 {
    // b1(unit) is added in every row with the factor 1. A broadcast forward is a sum backward.
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dhprebn(row, unit);
    }
    // Zero but for rounding: batch norm subtracts the mean, and the bias with it.
    return sum;
}

//# other: loop backwards
fn db1(unit: u32) -> f32 {
    var sum = 0.0;
    var row = N;
    while row > 0u {
        row -= 1u;
        sum += dhprebn(row, unit);
    }
    return sum;
}

//# other: even and odd rows apart
fn db1(unit: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var row = 0u; row < N; row++) {
        if row % 2u == 0u {
            even += dhprebn(row, unit);
        } else {
            odd += dhprebn(row, unit);
        }
    }
    return even + odd;
}

//# mistake: one row only
//> One example is right, but the bias is used in all of them.
fn db1(unit: u32) -> f32 {
    return dhprebn(0u, unit);
}

//# mistake: the gradient after batch norm
//> You add up the gradients of hpreact. That is the gradient of another bias.
fn db1(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dhpreact(row, unit);
    }
    return sum;
}

//# mistake: the gradient before the mean's part
//> You add up the gradients of the deviations. Which gradient belongs to the result of this
//> forward line?
fn db1(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dbndiff(row, unit);
    }
    return sum;
}

//# mistake: the last row left out
//> One row is missing from the sum. Where does your loop end?
fn db1(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row + 1u < N; row++) {
        sum += dhprebn(row, unit);
    }
    return sum;
}

//# mistake: sum over the units
//> You add along a row. Along which axis was b1 broadcast?
fn db1(unit: u32) -> f32 {
    var sum = 0.0;
    for (var u = 0u; u < HIDDEN; u++) {
        sum += dhprebn(unit % N, u);
    }
    return sum;
}

//# mistake: absolute values
//> The gradients of several uses add up with their signs. Some of them cancel.
fn db1(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += abs(dhprebn(row, unit));
    }
    return sum;
}

//# mistake: the mean over the batch
//> The mean over the batch is already in dhprebn. Here the gradients of all uses are simply added.
fn db1(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dhprebn(row, unit);
    }
    return sum / f32(N);
}

//# mistake: the sign
//> The size is right. Is b1 added or subtracted in the forward line?
fn db1(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += -dhprebn(row, unit);
    }
    return sum;
}

//# question
// Batch norm subtracts it again with the mean, so b1 has no effect on the loss and its gradient
// is zero. What you compute is rounding. This is why a layer before batch norm needs no bias.
