//# hint
// A gradient has the shape of its tensor: (N, VOCAB), one value for each element of logprobs. The
// loss is one number, so no axis vanishes here. But most elements have no path to the loss at
// all.

//# hint
// Say the batch has two rows and the picked elements are a and b. Then loss = -(a + b) / 2. What
// is the derivative with respect to a? And with respect to an element that is neither a nor b?

//# hint
// In words: minus one over the size of the batch where the column is the target of the row, and
// zero everywhere else.

//# solution
fn dlogprobs(row: u32, col: u32) -> f32 {
    // The loss is the mean of N picked elements with a minus: each has the factor -1/N.
    if col == Yb(row) {
        return -1.0 / f32(N);
    }
    // The others do not occur in the loss.
    return 0.0;
}

//# other: select instead of if
fn dlogprobs(row: u32, col: u32) -> f32 {
    return select(0.0, -1.0 / f32(N), col == Yb(row));
}

//# other: one-hot times the factor
fn dlogprobs(row: u32, col: u32) -> f32 {
    let one_hot = f32(col == Yb(row));
    return -one_hot / f32(N);
}

//# mistake: the sign
//> The right places and the right size. But would the loss grow or shrink if this log-probability
//> grew?
fn dlogprobs(row: u32, col: u32) -> f32 {
    return select(0.0, 1.0 / f32(N), col == Yb(row));
}

//# mistake: the mean taken for a sum
//> You have the right places and the right sign, but the loss is a mean over the batch, not a
//> sum.
fn dlogprobs(row: u32, col: u32) -> f32 {
    return select(0.0, -1.0, col == Yb(row));
}

//# mistake: every column
//> Each element has a gradient here. But the loss reads only one column of each row.
fn dlogprobs(row: u32, col: u32) -> f32 {
    return -1.0 / f32(N);
}

//# mistake: divided by all elements
//> You divide by the number of all elements of logprobs. How many elements does the mean average
//> over? Count those that are picked.
fn dlogprobs(row: u32, col: u32) -> f32 {
    return select(0.0, -1.0 / f32(N * VOCAB), col == Yb(row));
}

//# mistake: the other columns
//> Exactly the elements that should have a gradient have none, and the others have one. Look at
//> the condition again.
fn dlogprobs(row: u32, col: u32) -> f32 {
    return select(-1.0 / f32(N), 0.0, col == Yb(row));
}

//# mistake: the target's column in every row
//> You take the target of the first row for all rows. Each row has a target of its own.
fn dlogprobs(row: u32, col: u32) -> f32 {
    return select(0.0, -1.0 / f32(N), col == Yb(0u));
}

//# question
// Not at all: the derivative with respect to an element that the loss does not read is zero. So
// each row of dlogprobs has VOCAB - 1 zeros and one value that is not zero.
