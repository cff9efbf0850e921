// 40 · dC                                                                            a whole kernel
//
// forward:   emb = C[Xb]
// shapes:    emb (N, BLOCK, EMBD), C (VOCAB, EMBD), Xb (N, BLOCK) holds tokens, all row-major
// declared:  @group(0) @binding(0) var<storage, read> x: array<u32>;          N * BLOCK tokens
//            @group(0) @binding(1) var<storage, read> demb: array<f32>;       N * BLOCK * EMBD
//            @group(0) @binding(2) var<storage, read_write> result: array<f32>;  VOCAB * EMBD
//            const N: u32 = ...; const BLOCK: u32 = ...; const EMBD: u32 = ...;
//            const VOCAB: u32 = ...;
// launched:  ceil(VOCAB * EMBD / 64) workgroups of 64 invocations
// wanted:    result = dC, one invocation per element; what result holds before is not known
//
// This is exercise 26 as a whole kernel. The notebook's loop adds to a row of dC for one place
// after another. In parallel, two places with the same token would add to the same row, and WGSL
// has no atomic addition of floats.
//
// Think first: How can you arrange the work so that no two invocations ever write the same
// element?
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    // YOUR CODE HERE
}
