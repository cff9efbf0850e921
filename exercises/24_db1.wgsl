// 24 · db1                                                                exercise 1 of the lecture
//
// forward:   hprebn = embcat @ W1 + b1
// shapes:    (N, HIDDEN) = (N, FAN_IN) @ (FAN_IN, HIDDEN) + (HIDDEN)
// given:     b1(unit), dhpreact(row, unit), dbndiff(row, unit), dhprebn(row, unit)
// wanted:    db1(unit), one value for each of the HIDDEN units
//
// (The check adds a little noise to dhprebn: with the real one a wrong sign would not show. The
// question below is why.)
//
// Think first: Batch norm comes next and subtracts the mean of each unit. What does that do to a
// bias? What values do you expect, then?
fn db1(unit: u32) -> f32 {
    // YOUR CODE HERE
    return 0.0;
}
