//# hint
// dhprebn is (N, HIDDEN), and so is dbndiff. dbnmeani is only (1, HIDDEN): the line is a sum over
// the rows forward, so its gradient is spread over the rows.

//# hint
// For one value x of two: d = x - m on one line and m = (x + other) / 2 on the other. What is the
// derivative of d with respect to x with m held fixed? And of m with respect to x? The loss has
// the derivatives dd and dm.

//# hint
// In words: the gradient of bndiff at the same place, plus the gradient of the unit's mean
// divided by the batch size.

//# solution
fn dhprebn(row: u32, unit: u32) -> f32 {
    // Use 1, bndiff = hprebn - bnmeani: the derivative is 1.
    var grad = dbndiff(row, unit);
    // Use 2, the mean: each of the N values is a term of the sum, with the factor 1/n.
    grad += 1.0 / f32(N) * dbnmeani(unit);
    return grad;
}

//# other: one line, one division
fn dhprebn(row: u32, unit: u32) -> f32 {
    return dbndiff(row, unit) + dbnmeani(unit) / f32(N);
}

//# other: fused multiply and add
fn dhprebn(row: u32, unit: u32) -> f32 {
    return fma(1.0 / f32(N), dbnmeani(unit), dbndiff(row, unit));
}

//# mistake: through bndiff only
//> One of the two paths to the loss is missing. Look for another line in which hprebn is used.
fn dhprebn(row: u32, unit: u32) -> f32 {
    return dbndiff(row, unit);
}

//# mistake: 1/n left out
//> Both paths are there, but one of them is too large. The forward line takes a mean, not a sum.
fn dhprebn(row: u32, unit: u32) -> f32 {
    return dbndiff(row, unit) + dbnmeani(unit);
}

//# mistake: n - 1 for n
//> Both paths are there. Bessel's correction belongs to the variance: look at the factor of the
//> mean.
fn dhprebn(row: u32, unit: u32) -> f32 {
    return dbndiff(row, unit) + dbnmeani(unit) / (f32(N) - 1.0);
}

//# mistake: the difference for the sum
//> Both terms are right, but they are put together wrongly. The minus of the subtraction is
//> already inside a gradient that arrives.
fn dhprebn(row: u32, unit: u32) -> f32 {
    return dbndiff(row, unit) - dbnmeani(unit) / f32(N);
}

//# mistake: through the mean only
//> One of the two paths to the loss is missing. This is the path through the mean.
fn dhprebn(row: u32, unit: u32) -> f32 {
    return dbnmeani(unit) / f32(N);
}

//# mistake: hprebn as a factor
//> A mean has no factors but 1/n: its derivative with respect to a value does not depend on that
//> value.
fn dhprebn(row: u32, unit: u32) -> f32 {
    return dbndiff(row, unit) + hprebn(row, unit) * dbnmeani(unit) / f32(N);
}

//# question
// The mean grows by 1/n of it, so the deviations of all the others shrink a little. In batch norm
// every example of the batch depends on every other. That is what the second term says.
