//# hint
// dh is (N, HIDDEN). You have dlogits (N, VOCAB) and W2 (HIDDEN, VOCAB). The axis that both share
// and the result does not have must vanish: VOCAB. There is only one way to fit the shapes.

//# hint
// For one h that feeds two logits: y0 = h * w0 + ... and y1 = h * w1 + ... . The loss has the
// derivatives dy0 and dy1 with respect to the two logits. What is its derivative with respect to
// h?

//# hint
// In words: go over the columns of the row of dlogits, multiply each one by the weight that leads
// from this unit to that column, and add up. It is dlogits times W2 transposed.

//# solution
fn dh(row: u32, unit: u32) -> f32 {
    // h(row, unit) is used once for each column of its row of logits, with the factor
    // W2(unit, col). The gradients of all uses add up: dh = dlogits @ W2.T
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += dlogits(row, col) * W2(unit, col);
    }
    return sum;
}

//# other: loop backwards
fn dh(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    var col = VOCAB;
    while col > 0u {
        col -= 1u;
        sum += W2(unit, col) * dlogits(row, col);
    }
    return sum;
}

//# other: two columns at a time
fn dh(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    var col = 0u;
    for (; col + 1u < VOCAB; col += 2u) {
        sum += dlogits(row, col) * W2(unit, col) + dlogits(row, col + 1u) * W2(unit, col + 1u);
    }
    if col < VOCAB {
        sum += dlogits(row, col) * W2(unit, col);
    }
    return sum;
}

//# other: fused multiply and add
fn dh(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum = fma(dlogits(row, col), W2(unit, col), sum);
    }
    return sum;
}

//# mistake: W2 not transposed
//> The sum has the right length, but W2 is read with its two indices swapped. Which index of W2
//> counts the units?
fn dh(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += dlogits(row, col) * W2(col, unit);
    }
    return sum;
}

//# mistake: one column only
//> One product is right, but a unit feeds VOCAB logits.
fn dh(row: u32, unit: u32) -> f32 {
    return dlogits(row, 0u) * W2(unit, 0u);
}

//# mistake: the incoming gradient left out
//> You add up the weights of the unit. The chain rule multiplies each by the gradient that
//> arrives.
fn dh(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += W2(unit, col);
    }
    return sum;
}

//# mistake: W2 left out
//> You add up the gradients of the row. Each path to the loss has a weight of its own.
fn dh(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += dlogits(row, col);
    }
    return sum;
}

//# mistake: the mean for the sum
//> The right terms, but averaged. The gradients of several uses are not averaged.
fn dh(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += dlogits(row, col) * W2(unit, col);
    }
    return sum / f32(VOCAB);
}

//# mistake: h as a further factor
//> Of a product of two factors, the derivative with respect to one is the other. The factor
//> itself does not stay.
fn dh(row: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < VOCAB; col++) {
        sum += h(row, unit) * dlogits(row, col) * W2(unit, col);
    }
    return sum;
}

//# question
// In VOCAB elements, all in the same row of logits, each time with the factor W2(unit, col). So
// dh(row, unit) is a sum of VOCAB terms, and it needs only its own row of dlogits.
