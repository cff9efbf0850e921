// 15 · dbnraw                                                             exercise 1 of the lecture
//
// forward:   hpreact = bngain * bnraw + bnbias
// shapes:    (N, HIDDEN) = (1, HIDDEN) * (N, HIDDEN) + (1, HIDDEN)
// given:     bngain(unit), bnbias(unit), bnraw(row, unit), dhpreact(row, unit), dbngain(unit)
// wanted:    dbnraw(row, unit)
//
// Think first: bngain was broadcast over the rows and its gradient was a sum. bnraw is not
// broadcast. How many terms does its gradient have?
fn dbnraw(row: u32, unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
