// tanh: h = torch.tanh(hpreact), elementwise over (batch, hidden)
//
// WGSL's own tanh cannot be used: its result is undefined for large |x|, and on some drivers it is NaN from
// 44 on. This rational function, odd in x over even in x, needs neither exp nor a branch. Its coefficients
// are those of the Eigen library's `generic_fast_tanh_float`; beyond the clamp the quotient rounds to 1. The
// error is at most 4.5e-7.

fn tanh_forward(hpreact: vec4<f32>) -> vec4<f32> {
    let x = clamp(hpreact, vec4<f32>(-7.905311), vec4<f32>(7.905311));
    let z = x * x;
    var p = -2.7607685e-16 * z + 2.000188e-13;
    p = p * z - 8.604672e-11;
    p = p * z + 5.122297e-8;
    p = p * z + 1.4857224e-5;
    p = p * z + 6.372619e-4;
    p = p * z + 4.893525e-3;
    var q = 1.1982584e-6 * z + 1.1853471e-4;
    q = q * z + 2.2684346e-3;
    q = q * z + 4.893525e-3;
    return x * p / q;
}

// The block marked `//:` is also what `gradcheck --explain hpreact` prints.

//: hpreact
//: forward:  h = torch.tanh(hpreact)
//: The derivative of tanh(x) is 1 - tanh(x)**2. The value itself is all that it needs, so hpreact
//: need not be kept.
//: backward: dhpreact = (1.0 - h**2) * dh
fn tanh_backward(dh: vec4<f32>, h: vec4<f32>) -> vec4<f32> {
    return (1.0 - h * h) * dh;
}
