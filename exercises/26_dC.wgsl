// 26 · dC                                                                 exercise 1 of the lecture
//
// forward:   emb = C[Xb]
// shapes:    emb (N, BLOCK, EMBD), C (VOCAB, EMBD), Xb (N, BLOCK) holds tokens
// given:     X(row, t), the token at position t of example row; demb(row, t, e)
// wanted:    dC(token, e)
//
// The notebook scatters: for each place of Xb it adds to a row of dC. Here each element of dC is
// asked for its own value, so it has to look for the places that used it.
//
// Think first: The token "." fills the context at the beginning of every name. How many terms does
// its row of dC have, and what about the row of a token that is not in the batch?
fn dC(token: u32, e: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
