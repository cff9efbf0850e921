//# hint
// dW2 is (HIDDEN, VOCAB). You have h (N, HIDDEN) and dlogits (N, VOCAB). The axis that both share
// and the result does not have must vanish: the rows, N.

//# hint
// For one weight w and two examples: y0 = h0 * w + ... and y1 = h1 * w + ... . The loss has the
// derivatives dy0 and dy1 with respect to the two logits. What is its derivative with respect to
// w?

//# hint
// In words: go over the examples, multiply the activation of this unit by the gradient of this
// column, and add up. It is h transposed times dlogits.

//# solution
fn dW2(unit: u32, col: u32) -> f32 {
    // W2(unit, col) is used once in each example, with the factor h(row, unit). The gradients of
    // all uses add up: dW2 = h.T @ dlogits
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += h(row, unit) * dlogits(row, col);
    }
    return sum;
}

//# other: loop backwards
fn dW2(unit: u32, col: u32) -> f32 {
    var sum = 0.0;
    var row = N;
    while row > 0u {
        row -= 1u;
        sum += dlogits(row, col) * h(row, unit);
    }
    return sum;
}

//# other: even and odd rows apart
fn dW2(unit: u32, col: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var row = 0u; row < N; row++) {
        if row % 2u == 0u {
            even += h(row, unit) * dlogits(row, col);
        } else {
            odd += h(row, unit) * dlogits(row, col);
        }
    }
    return even + odd;
}

//# other: fused multiply and add
fn dW2(unit: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum = fma(h(row, unit), dlogits(row, col), sum);
    }
    return sum;
}

//# mistake: the indices swapped
//> The sum runs over the right axis, but the two inner indices are swapped. Which tensor counts
//> units in its second index?
fn dW2(unit: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += h(row, col) * dlogits(row, unit);
    }
    return sum;
}

//# mistake: the mean over the batch
//> The mean over the batch is already in dlogits. Here the gradients of all uses are simply
//> added.
fn dW2(unit: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += h(row, unit) * dlogits(row, col);
    }
    return sum / f32(N);
}

//# mistake: one row only
//> One example is right, but the weight is used in all of them.
fn dW2(unit: u32, col: u32) -> f32 {
    return h(0u, unit) * dlogits(0u, col);
}

//# mistake: h left out
//> You add up the gradients of the column. Each example has a factor of its own.
fn dW2(unit: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dlogits(row, col);
    }
    return sum;
}

//# mistake: hpreact for h
//> You use the values before tanh. Which tensor is multiplied by W2?
fn dW2(unit: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += hpreact(row, unit) * dlogits(row, col);
    }
    return sum;
}

//# mistake: the incoming gradient left out
//> You add up the activations of the unit. The chain rule multiplies each by the gradient that
//> arrives.
fn dW2(unit: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += h(row, unit);
    }
    return sum;
}

//# question
// With the factor h(row, unit). If a unit is near zero in an example, that example says little
// about the unit's weights.
