// 22 · dembcat                                                            exercise 1 of the lecture
//
// forward:   hprebn = embcat @ W1 + b1
// shapes:    (N, HIDDEN) = (N, FAN_IN) @ (FAN_IN, HIDDEN) + (HIDDEN)
// given:     embcat(row, i), W1(i, unit), dhpreact(row, unit), dhprebn(row, unit)
// wanted:    dembcat(row, i), i from 0 to FAN_IN - 1 (FAN_IN is BLOCK * EMBD)
//
// As a sum: hprebn(row, unit) = b1(unit) + the sum over i of embcat(row, i) * W1(i, unit).
//
// Think first: This is exercise 9 once more, with other names. Which tensor plays the part of W2,
// and how long is the sum now?
fn dembcat(row: u32, i: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
