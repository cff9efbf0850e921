// 1 · dlogprobs                                                           exercise 1 of the lecture
//
// forward:   loss = -logprobs[range(n), Yb].mean()
// shapes:    logprobs (N, VOCAB), Yb (N), loss is one number; n is N, the batch
// given:     Yb(row), the target: the column of the right character
// wanted:    dlogprobs(row, col), the gradient of the loss for each of the N * VOCAB elements
//
// Tensors are read like functions: Yb(row) is the target of a row. The program calls your function
// once for each element of the result, so there is no loop over the result to write. Indices and
// the sizes N and VOCAB are u32: write f32(N) to calculate with N.
//
// Think first: The loss picks one element from each row and ignores the others. How much does the
// loss change if an ignored element changes?
fn dlogprobs(row: u32, col: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
