//# hint
// y is (HEADS * COPIES, HEAD_DIM), kv is (HEADS, HEAD_DIM). d stays. Only the first index changes,
// and it must end up below HEADS.

//# hint
// Write the rows down for COPIES = 3: copy_head 0, 1, 2 are head 0, and 3, 4, 5 are head 1. Which
// operation on integers takes 0, 1, 2 to 0, and 3, 4, 5 to 1?

//# hint
// In words: return the value of kv at the same d, in the head that you get when you divide the row
// of y by the number of copies and drop the remainder.

//# solution
fn repeat_kv(copy_head: u32, d: u32) -> f32 {
    // u32 by u32 is a division without remainder.
    return kv(copy_head / COPIES, d);
}

//# other: without the remainder
fn repeat_kv(copy_head: u32, d: u32) -> f32 {
    let copy = copy_head % COPIES;
    return kv((copy_head - copy) / COPIES, d);
}

//# other: search the head whose copies have this row
fn repeat_kv(copy_head: u32, d: u32) -> f32 {
    var head = 0u;
    while (head + 1u) * COPIES <= copy_head {
        head += 1u;
    }
    return kv(head, d);
}

//# mistake: the other order of the copies
//> This is the order of repeat, 0 1 0 1 0 1. repeat_interleave keeps the copies of a head together.
fn repeat_kv(copy_head: u32, d: u32) -> f32 {
    return kv(copy_head % HEADS, d);
}

//# mistake: the number of the copy for the head
//> You take the number of the copy within its head, from 0 to COPIES - 1, for the head.
fn repeat_kv(copy_head: u32, d: u32) -> f32 {
    return kv(copy_head % COPIES, d);
}

//# mistake: divided by the heads
//> You divide by the number of heads. How many neighbouring rows of y come from the same head?
fn repeat_kv(copy_head: u32, d: u32) -> f32 {
    return kv(copy_head / HEADS, d);
}

//# mistake: shared out among the copies
//> The right rows, but divided by COPIES. A copy has the whole value.
fn repeat_kv(copy_head: u32, d: u32) -> f32 {
    return kv(copy_head / COPIES, d) / f32(COPIES);
}

//# mistake: the sum of the copies
//> The right rows, but times COPIES. Each row of y is one copy; only the backward pass adds up.
fn repeat_kv(copy_head: u32, d: u32) -> f32 {
    return kv(copy_head / COPIES, d) * f32(COPIES);
}

//# question
// Row copy_head of y is a copy of head copy_head / COPIES. A kernel that writes y goes by the
// places of its result, so it reads each head COPIES times and never writes to a place twice.
