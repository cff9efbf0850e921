//# hint
// dbndiff is (N, HIDDEN), and both incoming gradients are too. No axis vanishes. Two uses, two
// terms.

//# hint
// For one deviation d: r = d * s on one line and q = d**2 on the other. What are dr/dd and dq/dd?
// The loss has the derivatives dr and dq.

//# hint
// In words: bnvar_inv times the gradient of bnraw; plus twice the deviation times the gradient of
// its square.

//# solution
fn dbndiff(row: u32, unit: u32) -> f32 {
    // Use 1, bnraw = bndiff * bnvar_inv: the other factor times the gradient.
    let through_bnraw = bnvar_inv(unit) * dbnraw(row, unit);
    // Use 2, bndiff2 = bndiff**2: the derivative of x**2 is 2*x.
    let through_square = 2.0 * bndiff(row, unit) * dbndiff2(row, unit);
    return through_bnraw + through_square;
}

//# other: the square as a product of two equal factors
fn dbndiff(row: u32, unit: u32) -> f32 {
    // x*x uses x twice, and each use has the other x as its factor.
    let d = bndiff(row, unit);
    let q = dbndiff2(row, unit);
    return d * q + d * q + bnvar_inv(unit) * dbnraw(row, unit);
}

//# other: fused multiply and add
fn dbndiff(row: u32, unit: u32) -> f32 {
    let through_square = 2.0 * bndiff(row, unit) * dbndiff2(row, unit);
    return fma(bnvar_inv(unit), dbnraw(row, unit), through_square);
}

//# mistake: through bnraw only
//> One of the two paths to the loss is missing. Look for another line in which bndiff is used.
fn dbndiff(row: u32, unit: u32) -> f32 {
    return bnvar_inv(unit) * dbnraw(row, unit);
}

//# mistake: through the square only
//> One of the two paths to the loss is missing. This is the path through the variance.
fn dbndiff(row: u32, unit: u32) -> f32 {
    return 2.0 * bndiff(row, unit) * dbndiff2(row, unit);
}

//# mistake: the 2 left out
//> Both paths are there, but one of them is too small. Look at the derivative of the square.
fn dbndiff(row: u32, unit: u32) -> f32 {
    return bnvar_inv(unit) * dbnraw(row, unit) + bndiff(row, unit) * dbndiff2(row, unit);
}

//# mistake: the difference for the sum
//> Both terms are right, but they are put together wrongly. Any minus sign is already inside the
//> gradients that arrive.
fn dbndiff(row: u32, unit: u32) -> f32 {
    return bnvar_inv(unit) * dbnraw(row, unit) - 2.0 * bndiff(row, unit) * dbndiff2(row, unit);
}

//# mistake: the square for its derivative
//> Both paths are there. In the second you multiply by the square: what is its derivative?
fn dbndiff(row: u32, unit: u32) -> f32 {
    return bnvar_inv(unit) * dbnraw(row, unit) + 2.0 * bndiff2(row, unit) * dbndiff2(row, unit);
}

//# mistake: the variance for its inverse root
//> Both paths are there. In the first, look again at what multiplies bndiff in the forward line.
fn dbndiff(row: u32, unit: u32) -> f32 {
    return bnvar(unit) * dbnraw(row, unit) + 2.0 * bndiff(row, unit) * dbndiff2(row, unit);
}

//# question
// bnraw uses the deviation directly. bndiff2 goes into the variance, so it says that a deviation
// also changes the scale of its whole unit, for all examples of the batch.
