//# hint
// COLS values become 64 in partial, those become 32, 16, 8, 4, 2, 1. result has one value for
// each workgroup, so in the end one invocation stores.

//# hint
// Take a workgroup of 4 with the sums a b c d. After one step, places 0 and 1 hold a + c and b +
// d. After the next, place 0 holds all. Who may write in each step, and what must have happened
// before it?

//# hint
// In words: every invocation stores its own sum, then all wait. For the strides 32, 16, 8, 4, 2,
// 1: the invocations below the stride add what lies one stride above, then all wait, inside the
// loop but outside the condition. At the end one invocation stores place 0.

//# solution
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x; // 0 to 63
    // Every 64th value: neighbours read neighbouring values at the same time.
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    // Before anyone reads the sum of another, all must have stored theirs.
    workgroupBarrier();
    for (var stride = 32u; stride > 0u; stride /= 2u) {
        if me < stride {
            partial[me] += partial[me + stride];
        }
        // All 64 come here, also those that have nothing to add.
        workgroupBarrier();
    }
    if me == 0u {
        result[row] = partial[0];
    }
}

//# other: neighbours first
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    partial[me] = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        partial[me] += x[row * COLS + col];
    }
    workgroupBarrier();
    // The strides 1, 2, 4, ...: the same tree, with other pairs.
    for (var stride = 1u; stride < 64u; stride *= 2u) {
        if me % (2u * stride) == 0u {
            partial[me] += partial[me + stride];
        }
        workgroupBarrier();
    }
    if me == 0u {
        result[row] = partial[0];
    }
}

//# other: the barrier before each step
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    var stride = 32u;
    while stride > 0u {
        workgroupBarrier();
        if me < stride {
            // The running sum stays with its invocation; partial is only for the others to read.
            sum += partial[me + stride];
            partial[me] = sum;
        }
        stride = stride / 2u;
    }
    // Invocation 0 reads its own variable here, so no barrier is needed.
    if me == 0u {
        result[row] = sum;
    }
}

//# other: one invocation adds the 64 sums
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    workgroupBarrier();
    // Right, but 63 invocations look on: the tree takes 6 steps where this takes 64.
    if me == 0u {
        var all = 0.0;
        for (var i = 0u; i < 64u; i++) {
            all += partial[i];
        }
        result[row] = all;
    }
}

//# plain: one invocation adds up a row
@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    if local.x == 0u {
        var sum = 0.0;
        for (var col = 0u; col < COLS; col++) {
            sum += x[group.x * COLS + col];
        }
        result[group.x] = sum;
    }
}

//# mistake: only the first 64 columns
//> Each invocation has taken one value. A row has more columns than the workgroup has
//> invocations.
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    partial[me] = x[row * COLS + me];
    workgroupBarrier();
    for (var stride = 32u; stride > 0u; stride /= 2u) {
        if me < stride {
            partial[me] += partial[me + stride];
        }
        workgroupBarrier();
    }
    if me == 0u {
        result[row] = partial[0];
    }
}

//# mistake: the last step missing
//> Half of the row is missing: the tree ends one step too early. At which stride does your loop
//> stop?
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    workgroupBarrier();
    for (var stride = 32u; stride > 1u; stride /= 2u) {
        if me < stride {
            partial[me] += partial[me + stride];
        }
        workgroupBarrier();
    }
    if me == 0u {
        result[row] = partial[0];
    }
}

//# mistake: the half not halved
//> The tree does not get narrower as it should: some sums are never added. What do you divide the
//> stride by?
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    workgroupBarrier();
    for (var stride = 32u; stride > 0u; stride /= 4u) {
        if me < stride {
            partial[me] += partial[me + stride];
        }
        workgroupBarrier();
    }
    if me == 0u {
        result[row] = partial[0];
    }
}

//# mistake: only the own sum stored
//> This is the sum of one invocation. The sums of the other 63 never come to it.
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    workgroupBarrier();
    for (var stride = 32u; stride > 0u; stride /= 2u) {
        if me < stride {
            partial[me] += partial[me + stride];
        }
        workgroupBarrier();
    }
    if me == 0u {
        result[row] = sum;
    }
}

//# race: the first barrier missing
//> An invocation reads the sum of another before it is certain that it has been stored.
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    for (var stride = 32u; stride > 0u; stride /= 2u) {
        if me < stride {
            partial[me] += partial[me + stride];
        }
        workgroupBarrier();
    }
    if me == 0u {
        result[row] = partial[0];
    }
}

//# race: no barrier between the steps
//> One barrier is not enough: each step of the tree reads what other invocations have stored in
//> the step before.
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    workgroupBarrier();
    for (var stride = 32u; stride > 0u; stride /= 2u) {
        if me < stride {
            partial[me] += partial[me + stride];
        }
    }
    workgroupBarrier();
    if me == 0u {
        result[row] = partial[0];
    }
}

//# race: the barrier in a branch
//> Not all invocations come to your barrier. It waits for all 64, so all of them must meet it.
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    workgroupBarrier();
    for (var stride = 32u; stride > 0u; stride /= 2u) {
        if me < stride {
            partial[me] += partial[me + stride];
            workgroupBarrier();
        }
    }
    if me == 0u {
        result[row] = partial[0];
    }
}

//# race: the last addition
//> The last step is taken outside the loop, and reads a sum that another invocation may still be
//> storing.
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    for (var stride = 32u; stride > 1u; stride /= 2u) {
        workgroupBarrier();
        if me < stride {
            partial[me] += partial[me + stride];
        }
    }
    if me == 0u {
        result[row] = partial[0] + partial[1];
    }
}

//# race: everyone adds
//> Some invocations change a sum that another one reads in the same step. Who may write in each
//> step?
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = group.x;
    let me = local.x;
    var sum = 0.0;
    for (var col = me; col < COLS; col += 64u) {
        sum += x[row * COLS + col];
    }
    partial[me] = sum;
    workgroupBarrier();
    for (var stride = 32u; stride > 0u; stride /= 2u) {
        partial[me] += partial[(me + stride) % 64u];
        workgroupBarrier();
    }
    if me == 0u {
        result[row] = partial[0];
    }
}

//# question
// By a barrier between the two: workgroupBarrier() returns only when all invocations of the
// workgroup have reached it, and what they stored before it can be read after it.
