//# hint
// dW1 is (FAN_IN, HIDDEN). You have embcat (N, FAN_IN) and dhprebn (N, HIDDEN). The axis that
// both share and the result does not have must vanish: the rows, N.

//# hint
// For one weight w and two examples: y0 = x0 * w + ... and y1 = x1 * w + ... . The loss has the
// derivatives dy0 and dy1 with respect to the two results. What is its derivative with respect to
// w?

//# hint
// In words: go over the examples, multiply input i by the gradient of this unit, and add up. It
// is embcat transposed times dhprebn.

//# solution
fn dW1(i: u32, unit: u32) -> f32 {
    // W1(i, unit) is used once in each example, with the factor embcat(row, i). The gradients of
    // all uses add up: dW1 = embcat.T @ dhprebn
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += embcat(row, i) * dhprebn(row, unit);
    }
    return sum;
}

//# other: loop backwards
fn dW1(i: u32, unit: u32) -> f32 {
    var sum = 0.0;
    var row = N;
    while row > 0u {
        row -= 1u;
        sum += dhprebn(row, unit) * embcat(row, i);
    }
    return sum;
}

//# other: two rows at a time
fn dW1(i: u32, unit: u32) -> f32 {
    var sum = 0.0;
    var row = 0u;
    for (; row + 1u < N; row += 2u) {
        let first = embcat(row, i) * dhprebn(row, unit);
        let second = embcat(row + 1u, i) * dhprebn(row + 1u, unit);
        sum += first + second;
    }
    // The last row, if N is odd.
    if row < N {
        sum += embcat(row, i) * dhprebn(row, unit);
    }
    return sum;
}

//# other: fused multiply and add
fn dW1(i: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum = fma(embcat(row, i), dhprebn(row, unit), sum);
    }
    return sum;
}

//# mistake: the indices swapped
//> The sum runs over the right axis, but the two inner indices are swapped. Which tensor counts
//> units in its second index?
fn dW1(i: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += embcat(row, unit) * dhprebn(row, i);
    }
    return sum;
}

//# mistake: the mean over the batch
//> The mean over the batch is already in dhprebn. Here the gradients of all uses are simply
//> added.
fn dW1(i: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += embcat(row, i) * dhprebn(row, unit);
    }
    return sum / f32(N);
}

//# mistake: one row only
//> One example is right, but the weight is used in all of them.
fn dW1(i: u32, unit: u32) -> f32 {
    return embcat(0u, i) * dhprebn(0u, unit);
}

//# mistake: the gradient after batch norm
//> The input is right, but not the gradient. Which gradient belongs to the result of this forward
//> line?
fn dW1(i: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += embcat(row, i) * dhpreact(row, unit);
    }
    return sum;
}

//# mistake: the incoming gradient left out
//> You add up the inputs. The chain rule multiplies each by the gradient that arrives.
fn dW1(i: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += embcat(row, i);
    }
    return sum;
}

//# mistake: W1 as a further factor
//> Of a product of two factors, the derivative with respect to one is the other. The factor
//> itself does not stay.
fn dW1(i: u32, unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += embcat(row, i) * W1(i, unit) * dhprebn(row, unit);
    }
    return sum;
}

//# question
// Only one: embcat transposed times dhprebn. Multiplying matrices contracts exactly one axis, and
// the rows are the only axis that both have.
