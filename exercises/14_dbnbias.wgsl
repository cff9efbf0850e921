// 14 · dbnbias                                                            exercise 1 of the lecture
//
// forward:   hpreact = bngain * bnraw + bnbias
// shapes:    (N, HIDDEN) = (1, HIDDEN) * (N, HIDDEN) + (1, HIDDEN)
// given:     bngain(unit), bnraw(row, unit), dh(row, unit), dhpreact(row, unit)
// wanted:    dbnbias(unit), one value for each of the HIDDEN units
//
// Think first: A bias is a gain whose factor is always the same number. Which number?
fn dbnbias(unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
