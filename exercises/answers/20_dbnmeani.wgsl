//# hint
// dbnmeani is (1, HIDDEN), the incoming gradient is (N, HIDDEN). The axis of the rows must
// vanish.

//# hint
// For one unit and two examples, d0 = x0 - m and d1 = x1 - m. What is the derivative of d0 with
// respect to m? The loss reaches m through both.

//# hint
// In words: minus the sum of this unit's gradients of bndiff over the rows.

//# solution
fn dbnmeani(unit: u32) -> f32 {
    // The mean is broadcast over the rows, so the gradients of its N uses add up. Each has the
    // factor -1, because the mean is subtracted.
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += -dbndiff(row, unit);
    }
    return sum;
}

//# other: minus in front of the sum
fn dbnmeani(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dbndiff(row, unit);
    }
    return -sum;
}

//# other: subtracted, loop backwards
fn dbnmeani(unit: u32) -> f32 {
    var grad = 0.0;
    var row = N;
    while row > 0u {
        row -= 1u;
        grad -= dbndiff(row, unit);
    }
    return grad;
}

//# mistake: the sign
//> The right sum. With which sign does the mean enter the subtraction?
fn dbnmeani(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += dbndiff(row, unit);
    }
    return sum;
}

//# mistake: the mean for the sum
//> The right terms, but averaged. The 1/n of the mean belongs to another line.
fn dbnmeani(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += -dbndiff(row, unit);
    }
    return sum / f32(N);
}

//# mistake: one row only
//> One example is right, but the mean is subtracted in all of them.
fn dbnmeani(unit: u32) -> f32 {
    return -dbndiff(0u, unit);
}

//# mistake: the gradient one line too early
//> You add up another gradient. Which one belongs to the result of this forward line?
fn dbnmeani(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += -dbnraw(row, unit);
    }
    return sum;
}

//# mistake: bndiff as a factor
//> A subtraction has no factors: its derivatives are 1 and -1, whatever the values are.
fn dbnmeani(unit: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        sum += -bndiff(row, unit) * dbndiff(row, unit);
    }
    return sum;
}

//# question
// The rows: the maximum was one value for each row, broadcast over the columns. The mean is one
// value for each unit, broadcast over the rows. And this gradient is not zero.
