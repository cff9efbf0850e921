//# hint
// Both tensors are (1, HIDDEN), and each element is computed by itself. No axis vanishes, and
// there is no sum.

//# hint
// For one element y = x**-0.5. Apply the power rule: the exponent comes to the front and drops by
// one. The 1e-5 is a constant inside x. Does it change the derivative of x with respect to bnvar?

//# hint
// In words: minus one half, times the variance plus 1e-5 to the power of minus three halves,
// times the gradient of bnvar_inv.

//# solution
fn dbnvar(unit: u32) -> f32 {
    let x = bnvar(unit) + 1e-5;
    // The power rule: the derivative of x**-0.5 is -0.5 * x**-1.5, and x**1.5 is x * sqrt(x).
    return -0.5 / (x * sqrt(x)) * dbnvar_inv(unit);
}

//# other: pow
fn dbnvar(unit: u32) -> f32 {
    return -0.5 * pow(bnvar(unit) + 1e-5, -1.5) * dbnvar_inv(unit);
}

//# other: the cube of bnvar_inv
fn dbnvar(unit: u32) -> f32 {
    // bnvar_inv is x**-0.5, so its cube is x**-1.5.
    let s = bnvar_inv(unit);
    return -0.5 * s * s * s * dbnvar_inv(unit);
}

//# other: inverseSqrt and one division
fn dbnvar(unit: u32) -> f32 {
    let x = bnvar(unit) + 1e-5;
    return -0.5 * inverseSqrt(x) / x * dbnvar_inv(unit);
}

//# mistake: the factor left out
//> The power is right, but the power rule also puts the exponent in front.
fn dbnvar(unit: u32) -> f32 {
    return pow(bnvar(unit) + 1e-5, -1.5) * dbnvar_inv(unit);
}

//# mistake: the exponent not lowered
//> The power rule does two things with the exponent. You have done one of them.
fn dbnvar(unit: u32) -> f32 {
    return -0.5 * inverseSqrt(bnvar(unit) + 1e-5) * dbnvar_inv(unit);
}

//# mistake: the sign
//> The size is right. If the variance grows, does one over its root grow?
fn dbnvar(unit: u32) -> f32 {
    return 0.5 * pow(bnvar(unit) + 1e-5, -1.5) * dbnvar_inv(unit);
}

//# mistake: the incoming gradient left out
//> This is the derivative of the power alone. The chain rule has a second factor.
fn dbnvar(unit: u32) -> f32 {
    return -0.5 * pow(bnvar(unit) + 1e-5, -1.5);
}

//# mistake: the exponent raised
//> The exponent has moved in the wrong direction: it must become one less.
fn dbnvar(unit: u32) -> f32 {
    return -0.5 * sqrt(bnvar(unit) + 1e-5) * dbnvar_inv(unit);
}

//# mistake: the derivative of the reciprocal
//> This is the derivative of one over the variance. The forward line also takes a root.
fn dbnvar(unit: u32) -> f32 {
    let x = bnvar(unit) + 1e-5;
    return -1.0 / (x * x) * dbnvar_inv(unit);
}

//# question
// x**-0.5 is bnvar_inv itself, and x**-1 is its square. So x**-1.5 is the cube of bnvar_inv, and
// no power needs to be computed.
