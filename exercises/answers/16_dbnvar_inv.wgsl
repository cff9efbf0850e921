//# hint
// dbnvar_inv is (1, HIDDEN). What you multiply is (N, HIDDEN). The axis of the rows must vanish.

//# hint
// For one unit and two examples: r0 = d0 * s and r1 = d1 * s. The loss has the derivatives dr0
// and dr1 with respect to the two results. What is its derivative with respect to s?

//# hint
// In words: multiply each deviation from the mean by the gradient of its normalised value, and
// add up the products over the rows.

//# solution
fn dbnvar_inv(unit: u32) -> f32 {
    // bnvar_inv(unit) is used once in each row, with the factor bndiff(row, unit). The gradients
    // of all uses add up.
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bndiff(row, unit) * dbnraw(row, unit);
    }
    return sum;
}

//# other: loop backwards
fn dbnvar_inv(unit: u32) -> f32 {
    var sum = 0.0;
    var row = N;
    while row > 0u {
        row -= 1u;
        sum += dbnraw(row, unit) * bndiff(row, unit);
    }
    return sum;
}

//# other: even and odd rows apart
fn dbnvar_inv(unit: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var row = 0u; row < N; row++) {
        if row % 2u == 0u {
            even += bndiff(row, unit) * dbnraw(row, unit);
        } else {
            odd += bndiff(row, unit) * dbnraw(row, unit);
        }
    }
    return even + odd;
}

//# other: fused multiply and add
fn dbnvar_inv(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum = fma(bndiff(row, unit), dbnraw(row, unit), sum);
    }
    return sum;
}

//# mistake: one row only
//> One example is right, but the unit's value is used in all of them.
fn dbnvar_inv(unit: u32) -> f32 {
    return bndiff(0u, unit) * dbnraw(0u, unit);
}

//# mistake: bnraw for bndiff
//> You multiply by the result of the line. Which value is multiplied by bnvar_inv?
fn dbnvar_inv(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bnraw(row, unit) * dbnraw(row, unit);
    }
    return sum;
}

//# mistake: hprebn for bndiff
//> You multiply by the values before the mean was subtracted. Which value is multiplied by
//> bnvar_inv?
fn dbnvar_inv(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += hprebn(row, unit) * dbnraw(row, unit);
    }
    return sum;
}

//# mistake: the gradient of hpreact
//> The factor is right, but not the gradient. Which gradient belongs to the result of this
//> forward line?
fn dbnvar_inv(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bndiff(row, unit) * dhpreact(row, unit);
    }
    return sum;
}

//# mistake: the mean over the batch
//> The mean over the batch is already in the gradients that arrive. Here the gradients of all
//> uses are simply added.
fn dbnvar_inv(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bndiff(row, unit) * dbnraw(row, unit);
    }
    return sum / f32(N);
}

//# mistake: bndiff left out
//> You add up the gradients of the unit as they are. The other factor of each product is missing.
fn dbnvar_inv(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dbnraw(row, unit);
    }
    return sum;
}

//# question
// Number 3, counts_sum_inv: one value for each row there, broadcast over the columns. Here it is
// one value for each column (unit), broadcast over the rows.
