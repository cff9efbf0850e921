// 31 · dhprebn_fused                                                      exercise 3 of the lecture
//
// forward:   bnraw = (hprebn - mean) * bnvar_inv; hpreact = bngain * bnraw + bnbias
//            mean and bnvar_inv come from hprebn, with n - 1 in the variance
// shapes:    all (N, HIDDEN), but mean, bnvar_inv, bngain and bnbias (1, HIDDEN)
// given:     dhpreact(row, unit), hprebn(row, unit), bnraw(row, unit), bnvar_inv(unit),
//            bngain(unit); n is N, the batch
// wanted:    dhprebn_fused(row, unit), the same values as in exercise 21, in one go
//
// Derive it on paper first: write down the lines of exercises 15 to 21 for one unit, put each
// into the next, and use that the deviations of a unit add up to zero.
//
// Think first: One hprebn reaches the loss on three paths: directly, through the mean and through
// the variance. Which sum over the rows belongs to which path?
fn dhprebn_fused(row: u32, unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
