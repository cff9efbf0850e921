// 20 · dbnmeani                                                           exercise 1 of the lecture
//
// forward:   bndiff = hprebn - bnmeani
// shapes:    (N, HIDDEN) = (N, HIDDEN) - (1, HIDDEN)
// given:     hprebn(row, unit), bndiff(row, unit), dbnraw(row, unit), dbndiff(row, unit)
// wanted:    dbnmeani(unit), one value for each of the HIDDEN units
//
// Think first: This has the form of exercise 7, where a maximum was subtracted. What is the axis
// this time?
fn dbnmeani(unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
