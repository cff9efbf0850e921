//# hint
// dbngain is (1, HIDDEN), the incoming gradient is (N, HIDDEN). The axis of the rows must vanish.

//# hint
// For one gain g and two examples: y0 = g * r0 + b and y1 = g * r1 + b. The loss has the
// derivatives dy0 and dy1 with respect to the two results. What is its derivative with respect to
// g?

//# hint
// In words: multiply the normalised value by the gradient of hpreact in each row, and add up the
// products over the rows.

//# solution
fn dbngain(unit: u32) -> f32 {
    // bngain(unit) is used once in each row, with the factor bnraw(row, unit). The gradients of
    // all uses add up.
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bnraw(row, unit) * dhpreact(row, unit);
    }
    return sum;
}

//# other: loop backwards
fn dbngain(unit: u32) -> f32 {
    var sum = 0.0;
    var row = N;
    while row > 0u {
        row -= 1u;
        sum += dhpreact(row, unit) * bnraw(row, unit);
    }
    return sum;
}

//# other: fused multiply and add
fn dbngain(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum = fma(bnraw(row, unit), dhpreact(row, unit), sum);
    }
    return sum;
}

//# other: even and odd rows apart
fn dbngain(unit: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var row = 0u; row < N; row++) {
        if row % 2u == 0u {
            even += bnraw(row, unit) * dhpreact(row, unit);
        } else {
            odd += bnraw(row, unit) * dhpreact(row, unit);
        }
    }
    return even + odd;
}

//# mistake: bnraw left out
//> You add up the gradients of the unit as they are. Each example has a factor of its own. (What
//> you have is the gradient of another tensor of this line.)
fn dbngain(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dhpreact(row, unit);
    }
    return sum;
}

//# mistake: one row only
//> One example is right, but the gain is used in all of them.
fn dbngain(unit: u32) -> f32 {
    return bnraw(0u, unit) * dhpreact(0u, unit);
}

//# mistake: hpreact for bnraw
//> You multiply by the result of the line. Which value does the gain multiply?
fn dbngain(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += hpreact(row, unit) * dhpreact(row, unit);
    }
    return sum;
}

//# mistake: the mean over the batch
//> The mean over the batch is already in the gradients that arrive. Here the gradients of all
//> uses are simply added.
fn dbngain(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bnraw(row, unit) * dhpreact(row, unit);
    }
    return sum / f32(N);
}

//# mistake: the gain as a further factor
//> Of a product of two factors, the derivative with respect to one is the other. The factor
//> itself does not stay.
fn dbngain(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bngain(unit) * bnraw(row, unit) * dhpreact(row, unit);
    }
    return sum;
}

//# mistake: not yet normalised
//> You multiply by the values before they are divided by the standard deviation. Which value does
//> the gain multiply?
fn dbngain(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bndiff(row, unit) * dhpreact(row, unit);
    }
    return sum;
}

//# question
// N times, once for each example. It is broadcast over the rows, so its gradient is a sum over
// the rows.
