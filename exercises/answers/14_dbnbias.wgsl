//# hint
// dbnbias is (1, HIDDEN), the incoming gradient is (N, HIDDEN). The axis of the rows must vanish.

//# hint
// For one bias b and two examples: y0 = ... + b and y1 = ... + b. What is the derivative of y0
// with respect to b? The loss reaches b through both.

//# hint
// In words: the sum of this unit's gradients of hpreact over all rows.

//# solution
fn dbnbias(unit: u32) -> f32 {
    // bnbias(unit) is added in every row with the factor 1. A broadcast forward is a sum backward.
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dhpreact(row, unit);
    }
    return sum;
}

//# other: loop backwards
fn dbnbias(unit: u32) -> f32 {
    var sum = 0.0;
    var row = N;
    while row > 0u {
        row -= 1u;
        sum += dhpreact(row, unit);
    }
    return sum;
}

//# other: even and odd rows apart
fn dbnbias(unit: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var row = 0u; row < N; row++) {
        if row % 2u == 0u {
            even += dhpreact(row, unit);
        } else {
            odd += dhpreact(row, unit);
        }
    }
    return even + odd;
}

//# mistake: the mean over the batch
//> The mean over the batch is already in the gradients that arrive. Here the gradients of all
//> uses are simply added.
fn dbnbias(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dhpreact(row, unit);
    }
    return sum / f32(N);
}

//# mistake: times the gain
//> The gain multiplies the other term of the line. What multiplies the bias?
fn dbnbias(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bngain(unit) * dhpreact(row, unit);
    }
    return sum;
}

//# mistake: one row only
//> One example is right, but the bias is used in all of them.
fn dbnbias(unit: u32) -> f32 {
    return dhpreact(0u, unit);
}

//# mistake: bnraw as a factor
//> This is the gradient of the gain. What multiplies the bias?
fn dbnbias(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += bnraw(row, unit) * dhpreact(row, unit);
    }
    return sum;
}

//# mistake: the gradient after tanh
//> You add up the gradients on the far side of tanh. Which gradient belongs to the result of this
//> forward line?
fn dbnbias(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dh(row, unit);
    }
    return sum;
}

//# question
// One. So dbnbias is dbngain with bnraw replaced by 1, and what remains is the sum of the
// gradients over the rows.
