//# hint
// dlogits is (N, VOCAB). dnorm_logits has that shape already. dlogit_maxes is (N, 1): each of its
// values belongs to one place in its row. To which?

//# hint
// For a row of two elements with a > b: m = max(a, b) = a. What is dm/da, and what is dm/db?
// Besides, a - m and b - m use a and b directly.

//# hint
// In words: the gradient of norm_logits at the same place; plus, only in the column where the row
// has its maximum, the gradient of that maximum.

//# solution
fn dlogits(row: u32, col: u32) -> f32 {
    // The column of the maximum: the first one that equals it.
    var largest = 0u;
    for (var v = 1u; v < VOCAB; v++) {
        if logits(row, v) > logits(row, largest) {
            largest = v;
        }
    }
    // Use 1, norm_logits = logits - logit_maxes: the derivative is 1.
    var grad = dnorm_logits(row, col);
    // Use 2, the maximum: it is a copy of one element, so the derivative is 1 there, 0 elsewhere.
    if col == largest {
        grad += dlogit_maxes(row);
    }
    return grad;
}

//# other: is this element the first that equals the maximum?
fn dlogits(row: u32, col: u32) -> f32 {
    var is_largest = logits(row, col) == logit_maxes(row);
    for (var before = 0u; before < col; before++) {
        is_largest = is_largest && logits(row, before) < logit_maxes(row);
    }
    return dnorm_logits(row, col) + select(0.0, dlogit_maxes(row), is_largest);
}

//# other: one-hot, the columns searched backwards
fn dlogits(row: u32, col: u32) -> f32 {
    // Going backwards, the last match found is the first in the row.
    var largest = 0u;
    var v = VOCAB;
    while v > 0u {
        v -= 1u;
        if logits(row, v) == logit_maxes(row) {
            largest = v;
        }
    }
    let one_hot = f32(col == largest);
    return one_hot * dlogit_maxes(row) + dnorm_logits(row, col);
}

//# mistake: only through the maximum
//> One of the two paths to the loss is missing. Is there another line that uses logits?
fn dlogits(row: u32, col: u32) -> f32 {
    return select(0.0, dlogit_maxes(row), logits(row, col) == logit_maxes(row));
}

//# mistake: overwritten at the maximum
//> At the place of the maximum, one gradient has replaced the other. That element is used twice.
fn dlogits(row: u32, col: u32) -> f32 {
    return select(dnorm_logits(row, col), dlogit_maxes(row), logits(row, col) == logit_maxes(row));
}

//# mistake: only where the maximum is
//> Only the column of the maximum has a gradient now. What about the other columns of
//> norm_logits?
fn dlogits(row: u32, col: u32) -> f32 {
    let is_largest = logits(row, col) == logit_maxes(row);
    return select(0.0, dnorm_logits(row, col) + dlogit_maxes(row), is_largest);
}

//# mistake: the sign of the first term
//> Look at the sign with which logits enters the subtraction.
fn dlogits(row: u32, col: u32) -> f32 {
    let is_largest = logits(row, col) == logit_maxes(row);
    return -dnorm_logits(row, col) + select(0.0, dlogit_maxes(row), is_largest);
}

//# mistake: logits as a factor
//> A subtraction has no factors: its derivatives are 1 and -1, whatever the values are.
fn dlogits(row: u32, col: u32) -> f32 {
    return logits(row, col) * dnorm_logits(row, col);
}

//# mistake: the mean over the batch once more
//> The mean over the batch is already in the gradients that arrive. It is taken once, in the
//> loss.
fn dlogits(row: u32, col: u32) -> f32 {
    return dnorm_logits(row, col) / f32(N);
}

//# mistake: the maximum's path left out
//> One of the two paths to the loss is missing. Look for another line in which logits is used.
fn dlogits(row: u32, col: u32) -> f32 {
    return dnorm_logits(row, col);
}

//# mistake: added to every column
//> Both paths are there, but the gradient of the maximum goes to the whole row. Which element is the
//> maximum a copy of?
fn dlogits(row: u32, col: u32) -> f32 {
    return dnorm_logits(row, col) + dlogit_maxes(row);
}

//# mistake: the maximum's gradient subtracted
//> Both paths are there, but they are put together wrongly. The minus of the subtraction is already
//> inside a gradient that arrives.
fn dlogits(row: u32, col: u32) -> f32 {
    let is_largest = logits(row, col) == logit_maxes(row);
    return dnorm_logits(row, col) - select(0.0, dlogit_maxes(row), is_largest);
}

//# question
// Only the largest one. The maximum is a copy of that element, so its derivative is 1 there and 0
// elsewhere. In the notebook this is F.one_hot(logits.max(1).indices) * dlogit_maxes.
