// Embedding: emb = C[X]; embcat = emb.view(n, -1)
//
//   X       (batch, block)         tokens
//   C       (vocab, embd)
//   emb     (batch, block, embd)   embcat is the same memory, seen as (batch, block * embd)
//
// Forward is a lookup: row p of emb is the row of C that token p names.
//
// Backward. C[v] reaches the loss through every position p where X[p] = v, and each use counts:
//
//   dC[v, e] = sum over p with X[p] = v of demb[p, e]
//
// The lecture loops over the positions and adds to row X[p]. On a GPU many positions would add to
// one row at once, and WGSL has no atomic addition of floats. So the loop is turned inside out: one
// invocation owns one element of dC and gathers its terms, in the order of the positions. That also
// makes the sum the same, bit for bit, in every run.

// Tokens are bytes, four to a word; the vocabulary has at most 256 of them.
fn embedding_token(word: u32, position: u32) -> u32 {
    return (word >> (8u * (position % 4u))) & 0xffu;
}

