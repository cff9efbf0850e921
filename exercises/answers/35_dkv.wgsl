//# hint
// dkv is (HEADS, HEAD_DIM), dy is (HEADS * COPIES, HEAD_DIM). d stays. COPIES must vanish out of
// the first axis, and only there.

//# hint
// For one value x with two copies, y0 = x and y1 = x. The loss has the derivatives dy0 and dy1.
// What is its derivative with respect to x?

//# hint
// In words: add up the gradients of the COPIES neighbouring rows that were copied from this head,
// in the same place d.

//# solution
fn dkv(head: u32, d: u32) -> f32 {
    // Each copy is a use of the value, and the gradients of all uses add up. The copies of a head
    // are neighbours: they begin at head * COPIES.
    var sum = 0.0;
    for (var copy = 0u; copy < COPIES; copy++) {
        sum += dy(head * COPIES + copy, d);
    }
    return sum;
}

//# other: loop backwards
fn dkv(head: u32, d: u32) -> f32 {
    var sum = 0.0;
    var copy = COPIES;
    while copy > 0u {
        copy -= 1u;
        sum += dy(head * COPIES + copy, d);
    }
    return sum;
}

//# other: search all rows for the copies
fn dkv(head: u32, d: u32) -> f32 {
    // Row j of y is a copy of head j / COPIES.
    var sum = 0.0;
    for (var j = 0u; j < HEADS * COPIES; j++) {
        if j / COPIES == head {
            sum += dy(j, d);
        }
    }
    return sum;
}

//# mistake: the first copy only
//> One copy is right, but each head has COPIES of them.
fn dkv(head: u32, d: u32) -> f32 {
    return dy(head * COPIES, d);
}

//# mistake: the other order of the copies
//> You add as many rows as you should, but the wrong ones: this is the order of repeat, 0 1 0 1 0
//> 1.
fn dkv(head: u32, d: u32) -> f32 {
    var sum = 0.0;
    for (var copy = 0u; copy < COPIES; copy++) {
        sum += dy(copy * HEADS + head, d);
    }
    return sum;
}

//# mistake: the mean over the copies
//> The right rows, but averaged. The gradients of several uses are not averaged.
fn dkv(head: u32, d: u32) -> f32 {
    var sum = 0.0;
    for (var copy = 0u; copy < COPIES; copy++) {
        sum += dy(head * COPIES + copy, d);
    }
    return sum / f32(COPIES);
}

//# mistake: no stride
//> The copies of different heads overlap in your sum. How many rows of y belong to the heads
//> before this one?
fn dkv(head: u32, d: u32) -> f32 {
    var sum = 0.0;
    for (var copy = 0u; copy < COPIES; copy++) {
        sum += dy(head + copy, d);
    }
    return sum;
}

//# mistake: all copies of all heads
//> All heads get the same gradient. Which rows of y were copied from this head?
fn dkv(head: u32, d: u32) -> f32 {
    var sum = 0.0;
    for (var j = 0u; j < HEADS * COPIES; j++) {
        sum += dy(j, d);
    }
    return sum;
}

//# question
// A sum over the copies. Repeat, broadcast and expand all hand one value to several places, and
// all are sums on the way back.
