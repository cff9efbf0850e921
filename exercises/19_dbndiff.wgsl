// 19 · dbndiff                                                            exercise 1 of the lecture
//
// forward:   bndiff2 = bndiff**2                          (N, HIDDEN)
//            bnraw = bndiff * bnvar_inv                   (N, HIDDEN) = (N, HIDDEN) * (1, HIDDEN)
// given:     bndiff(row, unit), bndiff2(row, unit), bnvar_inv(unit), bnvar(unit),
//            dbnraw(row, unit), dbndiff2(row, unit)
// wanted:    dbndiff(row, unit)
//
// Think first: bndiff is used on two lines. Which of the two says how the deviation itself
// matters, and which how it matters through the variance?
fn dbndiff(row: u32, unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
