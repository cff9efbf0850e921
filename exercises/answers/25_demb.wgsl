//# hint
// demb is (N, BLOCK, EMBD) and dembcat (N, BLOCK * EMBD): as many values as before. Nothing is
// summed and nothing is multiplied. You only need to find the place.

//# hint
// Take BLOCK = 3 and EMBD = 10. The row of embcat begins with the 10 values of position 0, then
// come those of position 1. At which index is value 4 of position 2?

//# hint
// In words: the gradient of embcat in the same row, at the index that skips the embeddings of the
// earlier positions and then counts within this one.

//# solution
fn demb(row: u32, t: u32, e: u32) -> f32 {
    // The last index runs fastest: t embeddings of EMBD values stand before this one.
    return dembcat(row, t * EMBD + e);
}

//# other: counted from the beginning of the memory
fn demb(row: u32, t: u32, e: u32) -> f32 {
    // emb as one long line: the same place in both tensors.
    let place = (row * BLOCK + t) * EMBD + e;
    return dembcat(place / FAN_IN, place % FAN_IN);
}

//# other: skip one embedding at a time
fn demb(row: u32, t: u32, e: u32) -> f32 {
    var i = e;
    for (var before = 0u; before < t; before++) {
        i += EMBD;
    }
    return dembcat(row, i);
}

//# mistake: t and e swapped
//> You count as if the position ran faster than the place in the embedding. In which order does
//> memory hold (BLOCK, EMBD)?
fn demb(row: u32, t: u32, e: u32) -> f32 {
    return dembcat(row, e * BLOCK + t);
}

//# mistake: the wrong stride
//> The order is right, but not the step. How many values lie between the beginnings of two
//> neighbouring embeddings?
fn demb(row: u32, t: u32, e: u32) -> f32 {
    return dembcat(row, t * BLOCK + e);
}

//# mistake: the first position only
//> All positions get the gradient of the first one. Each position has values of its own.
fn demb(row: u32, t: u32, e: u32) -> f32 {
    return dembcat(row, e);
}

//# mistake: no stride
//> The two indices are simply added, so different elements read the same place.
fn demb(row: u32, t: u32, e: u32) -> f32 {
    return dembcat(row, t + e);
}

//# mistake: the positions reversed
//> The positions are in the opposite order. The view keeps the order of the context.
fn demb(row: u32, t: u32, e: u32) -> f32 {
    return dembcat(row, (BLOCK - 1u - t) * EMBD + e);
}

//# question
// e, the last index: memory is row-major. That is why the view can be undone without copying, and
// why its gradient is the same memory too.
