// 13 · dbngain                                                            exercise 1 of the lecture
//
// forward:   hpreact = bngain * bnraw + bnbias
// shapes:    (N, HIDDEN) = (1, HIDDEN) * (N, HIDDEN) + (1, HIDDEN)
// given:     bngain(unit), bnraw(row, unit), hpreact(row, unit), dhpreact(row, unit)
// wanted:    dbngain(unit), one value for each of the HIDDEN units
//
// Think first: Each unit has one gain, and the batch has N examples. How often is a gain used?
fn dbngain(unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
