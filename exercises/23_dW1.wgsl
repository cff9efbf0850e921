// 23 · dW1                                                                exercise 1 of the lecture
//
// forward:   hprebn = embcat @ W1 + b1
// shapes:    (N, HIDDEN) = (N, FAN_IN) @ (FAN_IN, HIDDEN) + (HIDDEN)
// given:     embcat(row, i), W1(i, unit), dhpreact(row, unit), dhprebn(row, unit)
// wanted:    dW1(i, unit)
//
// As a sum: hprebn(row, unit) = b1(unit) + the sum over i of embcat(row, i) * W1(i, unit).
//
// Think first: Could you write this from the shapes alone, without thinking about derivatives?
// How many ways are there to make (FAN_IN, HIDDEN) from (N, FAN_IN) and (N, HIDDEN)?
fn dW1(i: u32, unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
