// 21 · dhprebn                                                            exercise 1 of the lecture
//
// forward:   bnmeani = 1/n * hprebn.sum(0, keepdim=True)     (1, HIDDEN) from (N, HIDDEN)
//            bndiff = hprebn - bnmeani                       (N, HIDDEN)
// given:     hprebn(row, unit), dbndiff(row, unit), dbnmeani(unit); n is N, the batch
// wanted:    dhprebn(row, unit)
//
// Think first: If hprebn grows in one example, what happens to the deviations of all the other
// examples?
fn dhprebn(row: u32, unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
