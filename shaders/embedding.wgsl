// Embedding: emb = C[X]; embcat = emb.view(n, -1)
//
//   X       (batch, block)         tokens
//   C       (vocab, embd)
//   emb     (batch, block, embd)   embcat is the same memory, seen as (batch, block * embd)
//
// Forward is a lookup: row p of emb is row X[p] of C.
//
// Backward, the loop in the block below adds to row X[p] for one position p after another. On a GPU, many
// positions would add to one row at once, and WGSL has no atomic addition of floats. So the scatter becomes a
// gather: one invocation owns one element of dC and adds its terms in the order of the positions. That also
// gives the sum the same bits in every run.
//
// `gradcheck --explain TENSOR` prints the blocks marked `//:`.

//: emb
//: forward:  embcat = emb.view(emb.shape[0], -1)
//: A view is the same memory under another shape, and so is its gradient. Nothing is computed.
//: backward: demb = dembcat.view(emb.shape)

//: C
//: forward:  emb = C[Xb]
//: Row v of C reaches the loss through every position p of Xb that holds v, and each use counts:
//:   dC[v, e] = sum over p with Xb[p] = v of demb[p, e]
//: backward: dC = torch.zeros_like(C)
//:           for k in range(Xb.shape[0]):
//:               for j in range(Xb.shape[1]):
//:                   dC[Xb[k,j]] += demb[k,j]

// The tokens at four positions, each from the word that holds it: tokens have 16 bits, two to a word.
fn embedding_token(words: vec4<u32>, positions: vec4<u32>) -> vec4<u32> {
    return (words >> (16u * (positions % 2u))) & vec4<u32>(0xffffu);
}
