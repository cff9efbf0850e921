//# hint
// hpreact is (N, HIDDEN), as hprebn is. Mean and variance are (1, HIDDEN): for them the rows
// vanish. So there are two sums over the rows, and then a formula without a sum.

//# hint
// For one unit with the mean m and the variance v, one value x becomes (x - m) / sqrt(v + 1e-5).
// Then a gain g and a bias b: what is the result?

//# hint
// In words: the mean of the column, then the variance of the column; subtract the mean from the
// value, divide by the root of the variance plus 1e-5, multiply by the gain and add the bias.

//# solution
fn hpreact_fused(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < N; r++) {
        sum += hprebn(r, unit);
    }
    let mean = sum / f32(N);
    var squares = 0.0;
    for (var r = 0u; r < N; r++) {
        let diff = hprebn(r, unit) - mean;
        squares += diff * diff;
    }
    let variance = squares / (f32(N) - 1.0);
    // Normalised: mean 0, variance 1 over the batch. The 1e-5 keeps the root away from zero.
    let raw = (hprebn(row, unit) - mean) * inverseSqrt(variance + 1e-5);
    return bngain(unit) * raw + bnbias(unit);
}

//# other: divided by the root
fn hpreact_fused(row: u32, unit: u32) -> f32 {
    var mean = 0.0;
    for (var r = 0u; r < N; r++) {
        mean += hprebn(r, unit) / f32(N);
    }
    var variance = 0.0;
    for (var r = 0u; r < N; r++) {
        variance += (hprebn(r, unit) - mean) * (hprebn(r, unit) - mean) / f32(N - 1u);
    }
    return bngain(unit) * (hprebn(row, unit) - mean) / sqrt(variance + 1e-5) + bnbias(unit);
}

//# other: one pass, gain and root together
fn hpreact_fused(row: u32, unit: u32) -> f32 {
    var mean = 0.0;
    var squares = 0.0;
    for (var r = 0u; r < N; r++) {
        let before = hprebn(r, unit) - mean;
        mean += before / f32(r + 1u);
        squares += before * (hprebn(r, unit) - mean);
    }
    let slope = bngain(unit) * inverseSqrt(squares / f32(N - 1u) + 1e-5);
    return fma(slope, hprebn(row, unit) - mean, bnbias(unit));
}

//# mistake: n for n - 1
//> Nearly: your values are a little too large everywhere. Look at the divisor of the variance.
fn hpreact_fused(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < N; r++) {
        sum += hprebn(r, unit);
    }
    let mean = sum / f32(N);
    var squares = 0.0;
    for (var r = 0u; r < N; r++) {
        squares += (hprebn(r, unit) - mean) * (hprebn(r, unit) - mean);
    }
    let raw = (hprebn(row, unit) - mean) * inverseSqrt(squares / f32(N) + 1e-5);
    return bngain(unit) * raw + bnbias(unit);
}

//# mistake: the mean not subtracted
//> The scale is right, but the unit is not centred: its normalised values should add up to zero.
fn hpreact_fused(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < N; r++) {
        sum += hprebn(r, unit);
    }
    let mean = sum / f32(N);
    var squares = 0.0;
    for (var r = 0u; r < N; r++) {
        squares += (hprebn(r, unit) - mean) * (hprebn(r, unit) - mean);
    }
    let raw = hprebn(row, unit) * inverseSqrt(squares / (f32(N) - 1.0) + 1e-5);
    return bngain(unit) * raw + bnbias(unit);
}

//# mistake: divided by the variance
//> The centre is right, but not the scale. The variance is in squared units: what brings it back?
fn hpreact_fused(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < N; r++) {
        sum += hprebn(r, unit);
    }
    let mean = sum / f32(N);
    var squares = 0.0;
    for (var r = 0u; r < N; r++) {
        squares += (hprebn(r, unit) - mean) * (hprebn(r, unit) - mean);
    }
    let raw = (hprebn(row, unit) - mean) / (squares / (f32(N) - 1.0) + 1e-5);
    return bngain(unit) * raw + bnbias(unit);
}

//# mistake: gain and bias left out
//> This is bnraw, the normalised value. Each unit also has two parameters of its own.
fn hpreact_fused(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < N; r++) {
        sum += hprebn(r, unit);
    }
    let mean = sum / f32(N);
    var squares = 0.0;
    for (var r = 0u; r < N; r++) {
        squares += (hprebn(r, unit) - mean) * (hprebn(r, unit) - mean);
    }
    return (hprebn(row, unit) - mean) * inverseSqrt(squares / (f32(N) - 1.0) + 1e-5);
}

//# mistake: the bias under the gain
//> Both parameters are there, but in the wrong order: which one comes last in the forward line?
fn hpreact_fused(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < N; r++) {
        sum += hprebn(r, unit);
    }
    let mean = sum / f32(N);
    var squares = 0.0;
    for (var r = 0u; r < N; r++) {
        squares += (hprebn(r, unit) - mean) * (hprebn(r, unit) - mean);
    }
    let raw = (hprebn(row, unit) - mean) * inverseSqrt(squares / (f32(N) - 1.0) + 1e-5);
    return bngain(unit) * (raw + bnbias(unit));
}

//# question
// All those in its column: N values, one unit in all examples. Each element computes the same
// mean and variance again here. A real kernel shares them among the rows.
