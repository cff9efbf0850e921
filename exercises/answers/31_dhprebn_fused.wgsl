//# hint
// dhprebn is (N, HIDDEN). All examples of a unit depend on each other, so there are sums over the
// rows, of shape (1, HIDDEN): one of dhpreact, one of dhpreact times bnraw.

//# hint
// For one unit write d for dhpreact, r for bnraw, s for bnvar_inv, g for bngain. First show that
// dbndiff = g*s * (d - r/(n-1) * sum(d*r)). Then sum it over the rows: which term drops out,
// since sum(r) = 0?

//# hint
// In words: gain times bnvar_inv, times a bracket of three terms: the gradient itself; minus the
// mean of the gradients; minus bnraw times the sum of the gradients times bnraw, divided by the
// batch size less one.

//# solution
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    // Two sums over the rows. They are dbnbias and dbngain.
    var sum_d = 0.0;
    var sum_dr = 0.0;
    for (var r = 0u; r < N; r++) {
        sum_d += dhpreact(r, unit);
        sum_dr += dhpreact(r, unit) * bnraw(r, unit);
    }
    let n = f32(N);
    // The direct path; the path through the mean; the path through the variance, where the factor
    // 2 of the square has met the -0.5 of the root.
    let bracket = n * dhpreact(row, unit) - sum_d - n / (n - 1.0) * bnraw(row, unit) * sum_dr;
    return bngain(unit) * bnvar_inv(unit) / n * bracket;
}

//# other: 1/n moved into the bracket
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    var sum_d = 0.0;
    var sum_dr = 0.0;
    for (var r = 0u; r < N; r++) {
        sum_d += dhpreact(r, unit);
        sum_dr = fma(dhpreact(r, unit), bnraw(r, unit), sum_dr);
    }
    let through_mean = sum_d / f32(N);
    let through_variance = bnraw(row, unit) * sum_dr / f32(N - 1u);
    return bngain(unit) * bnvar_inv(unit) * (dhpreact(row, unit) - through_mean - through_variance);
}

//# other: gradient of bndiff first, loop backwards
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    var sum_d = 0.0;
    var sum_dr = 0.0;
    var r = N;
    while r > 0u {
        r -= 1u;
        sum_d += bngain(unit) * dhpreact(r, unit);
        sum_dr += bngain(unit) * dhpreact(r, unit) * bnraw(r, unit);
    }
    let draw = bngain(unit) * dhpreact(row, unit);
    let ddiff = bnvar_inv(unit) * (draw - bnraw(row, unit) / (f32(N) - 1.0) * sum_dr);
    // The bnraw term adds up to zero over the rows, so it has no part in the mean.
    return ddiff - bnvar_inv(unit) * sum_d / f32(N);
}

//# mistake: the path through the mean left out
//> One of the three paths is missing. Do your values of one unit add up to zero over the rows, as
//> those of exercise 24 did?
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    var sum_dr = 0.0;
    for (var r = 0u; r < N; r++) {
        sum_dr += dhpreact(r, unit) * bnraw(r, unit);
    }
    let n = f32(N);
    let bracket = n * dhpreact(row, unit) - n / (n - 1.0) * bnraw(row, unit) * sum_dr;
    return bngain(unit) * bnvar_inv(unit) / n * bracket;
}

//# mistake: the path through the variance left out
//> One of the three paths is missing. You have treated the scale of the unit as a constant.
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    var sum_d = 0.0;
    for (var r = 0u; r < N; r++) {
        sum_d += dhpreact(r, unit);
    }
    let n = f32(N);
    return bngain(unit) * bnvar_inv(unit) / n * (n * dhpreact(row, unit) - sum_d);
}

//# mistake: the direct path only
//> Two of the three paths are missing. You have treated both mean and scale of the unit as
//> constants.
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    return bngain(unit) * bnvar_inv(unit) * dhpreact(row, unit);
}

//# mistake: n left out
//> All three paths are there, but the whole is too large by a constant factor.
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    var sum_d = 0.0;
    var sum_dr = 0.0;
    for (var r = 0u; r < N; r++) {
        sum_d += dhpreact(r, unit);
        sum_dr += dhpreact(r, unit) * bnraw(r, unit);
    }
    let n = f32(N);
    let bracket = n * dhpreact(row, unit) - sum_d - n / (n - 1.0) * bnraw(row, unit) * sum_dr;
    return bngain(unit) * bnvar_inv(unit) * bracket;
}

//# mistake: n for n - 1
//> Nearly: this is the gradient of the other variance. Which divisor does the variance have here?
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    var sum_d = 0.0;
    var sum_dr = 0.0;
    for (var r = 0u; r < N; r++) {
        sum_d += dhpreact(r, unit);
        sum_dr += dhpreact(r, unit) * bnraw(r, unit);
    }
    let bracket = f32(N) * dhpreact(row, unit) - sum_d - bnraw(row, unit) * sum_dr;
    return bngain(unit) * bnvar_inv(unit) / f32(N) * bracket;
}

//# mistake: the gain left out
//> The three paths are right, but this is the gradient as if it arrived at bnraw. It arrives at
//> hpreact.
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    var sum_d = 0.0;
    var sum_dr = 0.0;
    for (var r = 0u; r < N; r++) {
        sum_d += dhpreact(r, unit);
        sum_dr += dhpreact(r, unit) * bnraw(r, unit);
    }
    let n = f32(N);
    let bracket = n * dhpreact(row, unit) - sum_d - n / (n - 1.0) * bnraw(row, unit) * sum_dr;
    return bnvar_inv(unit) / n * bracket;
}

//# question
// The sum of dhpreact belongs to the mean: it is dbnbias. The sum of dhpreact * bnraw belongs to
// the variance: it is dbngain. So a real kernel has both sums already.
