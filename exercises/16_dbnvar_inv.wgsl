// 16 · dbnvar_inv                                                         exercise 1 of the lecture
//
// forward:   bnraw = bndiff * bnvar_inv
// shapes:    (N, HIDDEN) = (N, HIDDEN) * (1, HIDDEN)
// given:     bndiff(row, unit), bnraw(row, unit), hprebn(row, unit), dhpreact(row, unit),
//            dbnraw(row, unit)
// wanted:    dbnvar_inv(unit), one value for each of the HIDDEN units
//
// Think first: You have done this before: which earlier exercise has the same form, with columns
// in place of rows?
fn dbnvar_inv(unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
