//# hint
// dx is (ROWS, CLASSES). You have dy (ROWS, COLS) and w (CLASSES, COLS). The axis that both share
// and the result does not have must vanish: COLS.

//# hint
// For one x with two columns: y0 = x * w0 + ... and y1 = x * w1 + ... . What is the derivative of
// the loss with respect to x? Does x itself occur in it?

//# hint
// In words: go over the columns, multiply the gradient of the row by the weight of class k, and
// add up. It is dy times w transposed.

//# solution
fn dx(r: u32, k: u32) -> f32 {
    // As in every linear layer: dx = dy @ w.T. Nothing here depends on x being one-hot: the
    // gradient says what would happen if a zero were no longer zero.
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += dy(r, col) * w(k, col);
    }
    return sum;
}

//# other: loop backwards
fn dx(r: u32, k: u32) -> f32 {
    var sum = 0.0;
    var col = COLS;
    while col > 0u {
        col -= 1u;
        sum += w(k, col) * dy(r, col);
    }
    return sum;
}

//# other: even and odd columns apart
fn dx(r: u32, k: u32) -> f32 {
    var even = 0.0;
    var odd = 0.0;
    for (var col = 0u; col < COLS; col++) {
        if col % 2u == 0u {
            even += dy(r, col) * w(k, col);
        } else {
            odd += dy(r, col) * w(k, col);
        }
    }
    return even + odd;
}

//# other: fused multiply and add
fn dx(r: u32, k: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum = fma(dy(r, col), w(k, col), sum);
    }
    return sum;
}

//# mistake: w left out
//> You add up the gradients of the row. Each path to the loss has a weight of its own.
fn dx(r: u32, k: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += dy(r, col);
    }
    return sum;
}

//# mistake: the incoming gradient left out
//> You add up the weights of the class. The chain rule multiplies each by the gradient that
//> arrives.
fn dx(r: u32, k: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += w(k, col);
    }
    return sum;
}

//# mistake: w not transposed
//> The sum has the right length, but w is read with its two indices swapped. Which index of w
//> counts the classes?
fn dx(r: u32, k: u32) -> f32 {
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += dy(r, col) * w(col, k);
    }
    return sum;
}

//# mistake: one column only
//> One product is right, but x(r, k) takes part in every column of its row of y.
fn dx(r: u32, k: u32) -> f32 {
    return dy(r, 0u) * w(k, 0u);
}

//# mistake: product of the sums
//> You add first and multiply afterwards. The two orders do not give the same: each gradient
//> belongs to one weight.
fn dx(r: u32, k: u32) -> f32 {
    var gradients = 0.0;
    var weights = 0.0;
    for (var col = 0u; col < COLS; col++) {
        gradients += dy(r, col);
        weights += w(k, col);
    }
    return gradients * weights;
}

//# question
// No. The gradient says how the loss would change if that zero became a little more than zero,
// and then w(k, col) would count. So dx needs every row of w.
