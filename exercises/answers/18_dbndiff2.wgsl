//# hint
// dbndiff2 is (N, HIDDEN), but the incoming gradient is only (1, HIDDEN). Nothing is summed. On
// the contrary: one value must become N. A sum forward is a broadcast backward.

//# hint
// For two examples, v = k * (a + b) with a constant k. What is dv/da? Does it depend on a, or on
// which of the two you ask for?

//# hint
// In words: the gradient of the unit's variance divided by the batch size less one, the same in
// every row.

//# solution
fn dbndiff2(row: u32, unit: u32) -> f32 {
    // Each square is a term of the sum, with the constant factor 1/(n-1): Bessel's correction.
    // All rows get the same value.
    return 1.0 / (f32(N) - 1.0) * dbnvar(unit);
}

//# other: one division
fn dbndiff2(row: u32, unit: u32) -> f32 {
    return dbnvar(unit) / f32(N - 1u);
}

//# other: the constant first
fn dbndiff2(row: u32, unit: u32) -> f32 {
    let bessel = 1.0 / f32(N - 1u);
    let ones_like = 1.0;
    return bessel * ones_like * dbnvar(unit);
}

//# mistake: n for n - 1
//> Nearly: look again at the factor in front of the sum in the forward line.
fn dbndiff2(row: u32, unit: u32) -> f32 {
    return dbnvar(unit) / f32(N);
}

//# mistake: the factor left out
//> You spread the gradient over the rows, as a sum does. But the forward line is not just a sum.
fn dbndiff2(row: u32, unit: u32) -> f32 {
    return dbnvar(unit);
}

//# mistake: the square as a factor
//> A sum has no factors: the derivative with respect to one of its terms does not depend on the
//> term.
fn dbndiff2(row: u32, unit: u32) -> f32 {
    return bndiff2(row, unit) * dbnvar(unit) / (f32(N) - 1.0);
}

//# mistake: summed again
//> You add over the rows what must be spread over them. Each square gets the gradient of the
//> variance once.
fn dbndiff2(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < N; r++) {
        sum += dbnvar(unit) / (f32(N) - 1.0);
    }
    return sum;
}

//# mistake: multiplied for divided
//> The factor is the wrong way up.
fn dbndiff2(row: u32, unit: u32) -> f32 {
    return (f32(N) - 1.0) * dbnvar(unit);
}

//# mistake: the derivative of the square
//> You have gone one line too far: the square is undone in the next exercise.
fn dbndiff2(row: u32, unit: u32) -> f32 {
    return 2.0 * bndiff(row, unit) * dbnvar(unit) / (f32(N) - 1.0);
}

//# question
// One value goes back to N places: each term of a sum gets the gradient of the sum, here times
// 1/(n-1). A sum forward is a broadcast backward, just as a broadcast forward is a sum backward.
