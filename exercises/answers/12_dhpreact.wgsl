//# hint
// Both tensors are (N, HIDDEN) and tanh works on each element by itself. No axis vanishes, and
// there is no sum.

//# hint
// For one element y = tanh(x), the derivative is dy/dx = 1 - tanh(x)**2. Express it through y.

//# hint
// In words: one minus the square of the activation, times the gradient of the activation.

//# solution
fn dhpreact(row: u32, unit: u32) -> f32 {
    // tanh'(x) = 1 - tanh(x)**2, and tanh(x) was kept: h.
    let y = h(row, unit);
    return (1.0 - y * y) * dh(row, unit);
}

//# other: the difference of squares as a product
fn dhpreact(row: u32, unit: u32) -> f32 {
    let y = h(row, unit);
    return (1.0 - y) * (1.0 + y) * dh(row, unit);
}

//# other: multiplied out
fn dhpreact(row: u32, unit: u32) -> f32 {
    let y = h(row, unit);
    let d = dh(row, unit);
    return d - y * y * d;
}

//# mistake: h not squared
//> Nearly the derivative of tanh, but a power is missing. With your formula a value near -1 would
//> double the gradient.
fn dhpreact(row: u32, unit: u32) -> f32 {
    return (1.0 - h(row, unit)) * dh(row, unit);
}

//# mistake: the local derivative left out
//> The gradient passes through unchanged here, as if tanh were not there.
fn dhpreact(row: u32, unit: u32) -> f32 {
    return dh(row, unit);
}

//# mistake: hpreact for h
//> The formula has the right form, but it wants the value after tanh, not the value before.
fn dhpreact(row: u32, unit: u32) -> f32 {
    return (1.0 - hpreact(row, unit) * hpreact(row, unit)) * dh(row, unit);
}

//# mistake: the incoming gradient left out
//> This is the derivative of tanh alone. The chain rule has a second factor.
fn dhpreact(row: u32, unit: u32) -> f32 {
    return 1.0 - h(row, unit) * h(row, unit);
}

//# mistake: plus for minus
//> Look at the sign inside the derivative. tanh is steepest at zero: there the factor must be
//> largest.
fn dhpreact(row: u32, unit: u32) -> f32 {
    return (1.0 + h(row, unit) * h(row, unit)) * dh(row, unit);
}

//# mistake: the derivative of the sigmoid
//> This is the derivative of another squashing function, the sigmoid.
fn dhpreact(row: u32, unit: u32) -> f32 {
    return h(row, unit) * (1.0 - h(row, unit)) * dh(row, unit);
}

//# question
// Near zero: 1 - h**2 vanishes there. A saturated unit lets almost no gradient through, and the
// weights below it do not learn from that example.
