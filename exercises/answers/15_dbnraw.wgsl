//# hint
// dbnraw is (N, HIDDEN), and so is the incoming gradient. No axis vanishes. The gain is
// (1, HIDDEN): one value serves all the rows of its unit.

//# hint
// For one element y = g * r + b. What is dy/dr?

//# hint
// In words: the gain of the unit times the gradient of hpreact at the same place.

//# solution
fn dbnraw(row: u32, unit: u32) -> f32 {
    // The derivative of a product with respect to one factor is the other factor. The bias does
    // not matter.
    return bngain(unit) * dhpreact(row, unit);
}

//# other: the factors swapped
fn dbnraw(row: u32, unit: u32) -> f32 {
    let incoming = dhpreact(row, unit);
    return incoming * bngain(unit);
}

//# other: as fused multiply and add
fn dbnraw(row: u32, unit: u32) -> f32 {
    return fma(bngain(unit), dhpreact(row, unit), 0.0);
}

//# mistake: the gain left out
//> The gradient passes through unchanged here, as if nothing multiplied bnraw.
fn dbnraw(row: u32, unit: u32) -> f32 {
    return dhpreact(row, unit);
}

//# mistake: the bias for the gain
//> Of the two parameters of the unit you have taken the one that is added. Which one multiplies?
fn dbnraw(row: u32, unit: u32) -> f32 {
    return bnbias(unit) * dhpreact(row, unit);
}

//# mistake: bnraw for the gain
//> You keep the factor that you differentiate with respect to. The other one is needed.
fn dbnraw(row: u32, unit: u32) -> f32 {
    return bnraw(row, unit) * dhpreact(row, unit);
}

//# mistake: the gradient of the gain
//> The factor is a value of the forward pass, not a gradient.
fn dbnraw(row: u32, unit: u32) -> f32 {
    return dbngain(unit) * dhpreact(row, unit);
}

//# mistake: the bias added
//> You have put the gradient into the forward line. The bias is a constant here: what is the
//> derivative of a constant?
fn dbnraw(row: u32, unit: u32) -> f32 {
    return bngain(unit) * dhpreact(row, unit) + bnbias(unit);
}

//# question
// One: bnraw(row, unit) is used once, in the element of hpreact at the same place. There is
// nothing to add up.
