//# hint
// dembcat is (N, FAN_IN). You have dhprebn (N, HIDDEN) and W1 (FAN_IN, HIDDEN). The axis that
// both share and the result does not have must vanish: HIDDEN.

//# hint
// For one input x that feeds two units: y0 = x * w0 + ... and y1 = x * w1 + ... . The loss has
// the derivatives dy0 and dy1 with respect to the two units. What is its derivative with respect
// to x?

//# hint
// In words: go over the units, multiply the gradient of each unit in this row by the weight from
// input i to that unit, and add up. It is dhprebn times W1 transposed.

//# solution
fn dembcat(row: u32, i: u32) -> f32 {
    // embcat(row, i) feeds every unit of its row, with the factor W1(i, unit). The gradients of
    // all uses add up: dembcat = dhprebn @ W1.T
    var sum = 0.0;
    for (var unit = 0u; unit < HIDDEN; unit++) {
        sum += dhprebn(row, unit) * W1(i, unit);
    }
    return sum;
}

//# other: loop backwards
fn dembcat(row: u32, i: u32) -> f32 {
    var sum = 0.0;
    var unit = HIDDEN;
    while unit > 0u {
        unit -= 1u;
        sum += W1(i, unit) * dhprebn(row, unit);
    }
    return sum;
}

//# other: even and odd units apart
fn dembcat(row: u32, i: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var unit = 0u; unit < HIDDEN; unit++) {
        if unit % 2u == 0u {
            even += dhprebn(row, unit) * W1(i, unit);
        } else {
            odd += dhprebn(row, unit) * W1(i, unit);
        }
    }
    return even + odd;
}

//# other: fused multiply and add
fn dembcat(row: u32, i: u32) -> f32 {
    var sum = 0.0;
    for (var unit = 0u; unit < HIDDEN; unit++) {
        sum = fma(dhprebn(row, unit), W1(i, unit), sum);
    }
    return sum;
}

//# mistake: W1 not transposed
//> The sum has the right length, but W1 is read with its two indices swapped. Which index of W1
//> counts the units?
fn dembcat(row: u32, i: u32) -> f32 {
    var sum = 0.0;
    for (var unit = 0u; unit < HIDDEN; unit++) {
        sum += dhprebn(row, unit) * W1(unit, i);
    }
    return sum;
}

//# mistake: sum over the wrong axis
//> You add only FAN_IN terms. Over which axis must the sum run, if i is an index of the result?
fn dembcat(row: u32, i: u32) -> f32 {
    var sum = 0.0;
    for (var unit = 0u; unit < FAN_IN; unit++) {
        sum += dhprebn(row, unit) * W1(i, unit);
    }
    return sum;
}

//# mistake: W1 left out
//> You add up the gradients of the row. Each path to the loss has a weight of its own.
fn dembcat(row: u32, i: u32) -> f32 {
    var sum = 0.0;
    for (var unit = 0u; unit < HIDDEN; unit++) {
        sum += dhprebn(row, unit);
    }
    return sum;
}

//# mistake: the incoming gradient left out
//> You add up the weights of the input. The chain rule multiplies each by the gradient that
//> arrives.
fn dembcat(row: u32, i: u32) -> f32 {
    var sum = 0.0;
    for (var unit = 0u; unit < HIDDEN; unit++) {
        sum += W1(i, unit);
    }
    return sum;
}

//# mistake: the gradient after batch norm
//> The weights are right, but not the gradient. Which gradient belongs to the result of this
//> forward line?
fn dembcat(row: u32, i: u32) -> f32 {
    var sum = 0.0;
    for (var unit = 0u; unit < HIDDEN; unit++) {
        sum += dhpreact(row, unit) * W1(i, unit);
    }
    return sum;
}

//# mistake: one unit only
//> One product is right, but an input feeds HIDDEN units.
fn dembcat(row: u32, i: u32) -> f32 {
    return dhprebn(row, 0u) * W1(i, 0u);
}

//# question
// W1 plays the part of W2, and HIDDEN that of VOCAB: the sum has HIDDEN terms. A linear layer is
// differentiated the same way wherever it stands.
