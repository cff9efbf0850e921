// Linear layer: y = x @ W + b
//
//   x (rows, fan_in)   W (fan_in, fan_out)   b (fan_out)   y (rows, fan_out)
//
// One element of y:   y[r, o] = sum over i of x[r, i] * W[i, o] + b[o]
//
// Backward. W[i, o] takes part in y[r, o] for every row r, with the factor x[r, i]; x[r, i] takes
// part in y[r, o] for every o, with the factor W[i, o]; b[o] takes part in every row, with 1:
//
//   dW[i, o] = sum over r of x[r, i] * dy[r, o]     dW = x.T @ dy
//   dx[r, i] = sum over o of dy[r, o] * W[i, o]     dx = dy @ W.T
//   db[o]    = sum over r of dy[r, o]               db = dy.sum(0)
//
// (No need to remember which factor is transposed: the shapes allow only one way.)
//
// The layer is used twice: hprebn = embcat @ W1 + b1, and logits = h @ W2 + b2.

// One term of a product, for four neighbouring columns at once.
fn linear_term(sums: vec4<f32>, left: f32, right: vec4<f32>) -> vec4<f32> {
    return sums + left * right;
}
