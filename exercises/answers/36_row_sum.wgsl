//# hint
// result is (ROWS), so ROWS invocations have work to do. id.x counts all invocations of the
// launch, from 0. The axis of the columns vanishes inside one invocation, in a loop.

//# hint
// For one row: begin with zero, add x at its COLS places, store the sum once. At which index does
// row 2 begin?

//# hint
// In words: the row is id.x; leave if there is no such row; add up the COLS values that begin at
// row times COLS; store the sum in result at the row.

//# solution
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    // The launch is rounded up to whole workgroups: some invocations have no row.
    if row >= ROWS {
        return;
    }
    // A local variable is private to the invocation. The result is stored once, at the end.
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += x[row * COLS + col];
    }
    result[row] = sum;
}

//# other: everything inside the condition, an index that walks
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < ROWS {
        var sum = 0.0;
        let end = (id.x + 1u) * COLS;
        for (var i = id.x * COLS; i < end; i++) {
            sum += x[i];
        }
        result[id.x] = sum;
    }
}

//# other: added up in result itself
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= ROWS {
        return;
    }
    // Right, because nobody else touches this element. But each addition goes to memory.
    result[id.x] = 0.0;
    for (var col = 0u; col < COLS; col++) {
        result[id.x] += x[id.x * COLS + col];
    }
}

//# other: backwards
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= ROWS {
        return;
    }
    var sum = 0.0;
    var col = COLS;
    while col > 0u {
        col -= 1u;
        sum += x[row * COLS + col];
    }
    result[row] = sum;
}

//# mistake: the wrong stride
//> You read x as if its columns, not its rows, were stored one after another.
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= ROWS {
        return;
    }
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += x[col * ROWS + row];
    }
    result[row] = sum;
}

//# mistake: no stride
//> The rows overlap in your sums. How many values stand before row 2?
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= ROWS {
        return;
    }
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += x[row + col];
    }
    result[row] = sum;
}

//# mistake: overwritten, not added
//> Each value replaces the one before, so only the last column is left.
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= ROWS {
        return;
    }
    for (var col = 0u; col < COLS; col++) {
        result[row] = x[row * COLS + col];
    }
}

//# mistake: the last column left out
//> One column is missing from each sum. Where does your loop end?
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= ROWS {
        return;
    }
    var sum = 0.0;
    for (var col = 0u; col < COLS - 1u; col++) {
        sum += x[row * COLS + col];
    }
    result[row] = sum;
}

//# mistake: the last workgroup has no work
//> The last rows are missing. How many workgroups are launched, and does your condition let the
//> last one work?
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= ROWS / 64u * 64u {
        return;
    }
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += x[row * COLS + col];
    }
    result[row] = sum;
}

//# race: rows beyond the last
//> Some invocations have no row, and yet they store something. A device may put it anywhere in
//> the buffer.
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += x[row * COLS + col];
    }
    result[row] = sum;
}

//# race: the last row computed many times
//> The values are right, but several invocations store to the same element. Only one may own it,
//> even if all would store the same.
@compute @workgroup_size(64)
fn row_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = min(id.x, ROWS - 1u);
    var sum = 0.0;
    for (var col = 0u; col < COLS; col++) {
        sum += x[row * COLS + col];
    }
    result[row] = sum;
}

//# question
// Nothing: return at once, or skip the work. A launch has whole workgroups only, so almost every
// kernel begins with such a check.
