// 35 · dkv                                                                       beyond the lecture
//
// forward:   y = torch.repeat_interleave(kv, COPIES, dim=0)      repeat_kv of grouped attention
// shapes:    (HEADS * COPIES, HEAD_DIM) from (HEADS, HEAD_DIM)
// given:     dy(copy_head, d), copy_head from 0 to HEADS * COPIES - 1
// wanted:    dkv(head, d)
//
// repeat_interleave keeps the copies of a head together. With HEADS = 2 and COPIES = 3, the rows
// of y are heads 0 0 0 1 1 1. So the copies of head i are the rows i * COPIES to i * COPIES +
// COPIES - 1.
//
// Think first: A repeat gives each value several times. Which operation is its backward pass?
fn dkv(head: u32, d: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
