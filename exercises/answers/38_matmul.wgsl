//# hint
// result is (ROWS, COLS); a and b share the axis INNER, which must vanish in a loop. In memory,
// element (r, c) of a matrix with C columns is at r * C + c. How many columns does each of the
// three have?

//# hint
// With INNER = 2, one element is a[row][0] * b[0][col] + a[row][1] * b[1][col]. Replace each pair
// of indices by one index.

//# hint
// In words: leave if the row or the column is beyond the last; add up, over k, element (row, k)
// of a times element (k, col) of b; store the sum at (row, col) of the result.

//# solution
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    // The launch is rounded up in both directions, so both must be checked.
    if row >= ROWS || col >= COLS {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < INNER; k++) {
        // A row of a has INNER values, a row of b has COLS.
        sum += a[row * INNER + k] * b[k * COLS + col];
    }
    result[row * COLS + col] = sum;
}

//# other: two indices that walk
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.y < ROWS && id.x < COLS {
        var sum = 0.0;
        // One step to the right in a, one step down in b.
        var at_a = id.y * INNER;
        var at_b = id.x;
        for (var k = 0u; k < INNER; k++) {
            sum = fma(a[at_a], b[at_b], sum);
            at_a += 1u;
            at_b += COLS;
        }
        result[id.y * COLS + id.x] = sum;
    }
}

//# other: loop backwards
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    if row >= ROWS {
        return;
    }
    if col >= COLS {
        return;
    }
    var sum = 0.0;
    var k = INNER;
    while k > 0u {
        k -= 1u;
        sum += b[k * COLS + col] * a[row * INNER + k];
    }
    result[row * COLS + col] = sum;
}

//# mistake: b read along its rows
//> The sum has the right length, but b is read as if it were transposed. Which of its indices is
//> summed over?
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    if row >= ROWS || col >= COLS {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < INNER; k++) {
        sum += a[row * INNER + k] * b[col * INNER + k];
    }
    result[row * COLS + col] = sum;
}

//# mistake: a read down its columns
//> The sum has the right length, but a is read as if it were transposed. Which of its indices is
//> summed over?
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    if row >= ROWS || col >= COLS {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < INNER; k++) {
        sum += a[k * ROWS + row] * b[k * COLS + col];
    }
    result[row * COLS + col] = sum;
}

//# mistake: the result transposed
//> The sums are right, but they are stored in the wrong places. How many columns does the result
//> have?
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    if row >= ROWS || col >= COLS {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < INNER; k++) {
        sum += a[row * INNER + k] * b[k * COLS + col];
    }
    result[col * ROWS + row] = sum;
}

//# mistake: overwritten, not added
//> Only the last product of each sum is left.
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    if row >= ROWS || col >= COLS {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < INNER; k++) {
        sum = a[row * INNER + k] * b[k * COLS + col];
    }
    result[row * COLS + col] = sum;
}

//# mistake: the stride of a
//> Each row of a begins in the wrong place. How many values does a row of a have?
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    if row >= ROWS || col >= COLS {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < INNER; k++) {
        sum += a[row + k] * b[k * COLS + col];
    }
    result[row * COLS + col] = sum;
}

//# race: columns beyond the last
//> Only the rows are checked. What is beyond the last column of one row is the beginning of the
//> next, which belongs to other invocations.
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    if row >= ROWS {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < INNER; k++) {
        sum += a[row * INNER + k] * b[k * COLS + col];
    }
    result[row * COLS + col] = sum;
}

//# race: the edge computed many times
//> The values are right, but several invocations store to the same element. Only one may own it,
//> even if all would store the same.
@compute @workgroup_size(8, 8)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = min(id.y, ROWS - 1u);
    let col = min(id.x, COLS - 1u);
    var sum = 0.0;
    for (var k = 0u; k < INNER; k++) {
        sum += a[row * INNER + k] * b[k * COLS + col];
    }
    result[row * COLS + col] = sum;
}

//# question
// The same values of a, because they share the row, and neighbouring values of b. So x should
// count the columns: neighbouring reads are fast. And the same values are read many times, which
// the next exercise avoids.
