//# hint
// The result is (1, HIDDEN) and hprebn is (N, HIDDEN): the rows vanish, twice. Once for the mean
// and once for the squares.

//# hint
// For two values a and b: the mean is m = (a + b) / 2, and the variance is ((a - m)**2 +
// (b - m)**2) / (2 - 1). Try it with 1 and 3: the answer is 2.

//# hint
// In words: add up the column and divide by the batch size; then add up the squares of the
// distances from that mean, and divide by the batch size less one.

//# solution
fn bnvar_fused(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += hprebn(row, unit);
    }
    let mean = sum / f32(N);
    // The deviations first, then their squares: subtracting large squares would cost digits.
    var squares = 0.0;
    for (var row = 0u; row < N; row++) {
        let diff = hprebn(row, unit) - mean;
        squares += diff * diff;
    }
    // Bessel's correction: n - 1.
    return squares / (f32(N) - 1.0);
}

//# other: one pass, Welford's method
fn bnvar_fused(unit: u32) -> f32 {
    // The mean of the values so far, and the squares of their distances from it.
    var mean = 0.0;
    var squares = 0.0;
    for (var row = 0u; row < N; row++) {
        let before = hprebn(row, unit) - mean;
        mean += before / f32(row + 1u);
        squares += before * (hprebn(row, unit) - mean);
    }
    return squares / f32(N - 1u);
}

//# other: distances from the first value, corrected
fn bnvar_fused(unit: u32) -> f32 {
    // Measured from any fixed value, the squares are too large by n times the squared distance of
    // the mean from it.
    let origin = hprebn(0u, unit);
    var sum = 0.0;
    var squares = 0.0;
    for (var row = 0u; row < N; row++) {
        let diff = hprebn(row, unit) - origin;
        sum += diff;
        squares += diff * diff;
    }
    return (squares - sum * sum / f32(N)) / f32(N - 1u);
}

//# other: loops backwards
fn bnvar_fused(unit: u32) -> f32 {
    var mean = 0.0;
    var row = N;
    while row > 0u {
        row -= 1u;
        mean += hprebn(row, unit) / f32(N);
    }
    var squares = 0.0;
    row = N;
    while row > 0u {
        row -= 1u;
        squares += (hprebn(row, unit) - mean) * (hprebn(row, unit) - mean);
    }
    return squares / f32(N - 1u);
}

//# mistake: n for n - 1
//> Nearly: this is the other variance, the one of a whole population. Look at the divisor.
fn bnvar_fused(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += hprebn(row, unit);
    }
    let mean = sum / f32(N);
    var squares = 0.0;
    for (var row = 0u; row < N; row++) {
        squares += (hprebn(row, unit) - mean) * (hprebn(row, unit) - mean);
    }
    return squares / f32(N);
}

//# mistake: the mean not subtracted
//> You average squares of the values themselves. A variance measures distances. From what?
fn bnvar_fused(unit: u32) -> f32 {
    var squares = 0.0;
    for (var row = 0u; row < N; row++) {
        squares += hprebn(row, unit) * hprebn(row, unit);
    }
    return squares / (f32(N) - 1.0);
}

//# mistake: the standard deviation
//> You took a root too early: it comes two lines later in batch norm.
fn bnvar_fused(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += hprebn(row, unit);
    }
    let mean = sum / f32(N);
    var squares = 0.0;
    for (var row = 0u; row < N; row++) {
        squares += (hprebn(row, unit) - mean) * (hprebn(row, unit) - mean);
    }
    return sqrt(squares / (f32(N) - 1.0));
}

//# mistake: not divided
//> You have the sum of the squares. A variance is a kind of mean of them.
fn bnvar_fused(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += hprebn(row, unit);
    }
    let mean = sum / f32(N);
    var squares = 0.0;
    for (var row = 0u; row < N; row++) {
        squares += (hprebn(row, unit) - mean) * (hprebn(row, unit) - mean);
    }
    return squares;
}

//# mistake: distances not squared
//> You average the distances themselves, without their signs. A variance is made of their
//> squares.
fn bnvar_fused(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += hprebn(row, unit);
    }
    let mean = sum / f32(N);
    var distances = 0.0;
    for (var row = 0u; row < N; row++) {
        distances += abs(hprebn(row, unit) - mean);
    }
    return distances / (f32(N) - 1.0);
}

//# question
// The deviations add up to zero, so the last one follows from the others: only n - 1 are
// independent. Dividing by n - 1 makes the estimate right on average. The paper on batch norm
// uses n in training.
