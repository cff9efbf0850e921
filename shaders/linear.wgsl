// Linear layer: y = x @ W + b
//
//   x (rows, fan_in)   W (fan_in, fan_out)   b (fan_out)   y (rows, fan_out)
//
// One element of y:   y[r, o] = sum over i of x[r, i] * W[i, o] + b[o]
//
// The layer is used twice, so each block marked `//:` is about two tensors: a `forward:` and a `backward:`
// line for each, in the order of their names, and one derivation for both. `gradcheck --explain TENSOR`
// prints them.

//: h, embcat
//: forward:  logits = h @ W2 + b2
//: forward:  hprebn = embcat @ W1 + b1
//: With y = x @ W + b, the element x[r, i] takes part in y[r, o] for every column o, with the
//: factor W[i, o]:
//:   dx[r, i] = sum over o of dy[r, o] * W[i, o]
//: which is a product of matrices, dx = dy @ W.T. No need to remember which of the two is
//: transposed: their shapes allow only one way.
//: backward: dh = dlogits @ W2.T
//: backward: dembcat = dhprebn @ W1.T

//: W2, W1
//: forward:  logits = h @ W2 + b2
//: forward:  hprebn = embcat @ W1 + b1
//: With y = x @ W + b, the element W[i, o] takes part in y[r, o] for every row r, with the factor
//: x[r, i]:
//:   dW[i, o] = sum over r of x[r, i] * dy[r, o]
//: which is a product of matrices, dW = x.T @ dy.
//: backward: dW2 = h.T @ dlogits
//: backward: dW1 = embcat.T @ dhprebn

//: b2, b1
//: forward:  logits = h @ W2 + b2
//: forward:  hprebn = embcat @ W1 + b1
//: A bias is added to every row, with the factor 1: the sum over the rows.
//: backward: db2 = dlogits.sum(0)
//: backward: db1 = dhprebn.sum(0)

// One term of a product, for four neighbouring columns at once.
fn linear_term(sums: vec4<f32>, left: f32, right: vec4<f32>) -> vec4<f32> {
    return sums + left * right;
}

// Four terms of a product, for four neighbouring columns: four values of a row of the left matrix, and the
// four rows of the right matrix that they are multiplied with.
fn linear_terms(sums: vec4<f32>, left: vec4<f32>, right: mat4x4<f32>) -> vec4<f32> {
    let two = linear_term(linear_term(sums, left.x, right[0]), left.y, right[1]);
    return linear_term(linear_term(two, left.z, right[2]), left.w, right[3]);
}
