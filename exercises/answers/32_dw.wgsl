//# hint
// dw is (CLASSES, COLS), dy is (ROWS, COLS). The axis of the rows must vanish, but not every row
// counts for every class.

//# hint
// Say class k occurs in rows 0 and 2. Then y0 = w and y2 = w, for each column. The loss has the
// derivatives dy0 and dy2. What is its derivative with respect to w?

//# hint
// In words: go over the rows; where the row's class is k, add the gradient of that row in this
// column.

//# solution
fn dw(k: u32, col: u32) -> f32 {
    // dw = x.T @ dy, and x(r, k) is 1 where ix(r) == k and 0 elsewhere.
    var sum = 0.0;
    for (var r = 0u; r < ROWS; r++) {
        if ix(r) == k {
            sum += dy(r, col);
        }
    }
    // A class that never occurs gets zero.
    return sum;
}

//# other: the one-hot factor written out
fn dw(k: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < ROWS; r++) {
        sum += f32(ix(r) == k) * dy(r, col);
    }
    return sum;
}

//# other: loop backwards
fn dw(k: u32, col: u32) -> f32 {
    var sum = 0.0;
    var r = ROWS;
    while r > 0u {
        r -= 1u;
        sum += select(0.0, dy(r, col), ix(r) == k);
    }
    return sum;
}

//# other: skip the rows of other classes
fn dw(k: u32, col: u32) -> f32 {
    var grad = 0.0;
    for (var r = 0u; r < ROWS; r++) {
        if ix(r) != k {
            continue;
        }
        grad += dy(r, col);
    }
    return grad;
}

//# mistake: every row counted
//> All classes get the same gradient. Which rows have used this row of w?
fn dw(k: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < ROWS; r++) {
        sum += dy(r, col);
    }
    return sum;
}

//# mistake: the last use only
//> Classes that occur once are right. For the others, each use overwrites the one before.
fn dw(k: u32, col: u32) -> f32 {
    var grad = 0.0;
    for (var r = 0u; r < ROWS; r++) {
        if ix(r) == k {
            grad = dy(r, col);
        }
    }
    return grad;
}

//# mistake: the first use only
//> Classes that occur once are right. For the others you stop too early.
fn dw(k: u32, col: u32) -> f32 {
    for (var r = 0u; r < ROWS; r++) {
        if ix(r) == k {
            return dy(r, col);
        }
    }
    return 0.0;
}

//# mistake: a count
//> You count how often the class occurs. That is the gradient of y.sum(), where all of dy is 1.
fn dw(k: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < ROWS; r++) {
        sum += f32(ix(r) == k);
    }
    return sum;
}

//# mistake: the mean over the rows
//> The right terms, but averaged. The gradients of several uses are not averaged.
fn dw(k: u32, col: u32) -> f32 {
    var sum = 0.0;
    for (var r = 0u; r < ROWS; r++) {
        sum += select(0.0, dy(r, col), ix(r) == k);
    }
    return sum / f32(ROWS);
}

//# question
// The terms of the rows whose class is k: the zeros take out all the others. So the product
// becomes a selection, the same as in dC.
