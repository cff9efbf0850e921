//# hint
// w is (W) and partial (64). In each step W values become 64 sums, then one, the mean; and that
// one goes back to W updates. Then begins the next step.

//# hint
// Take a workgroup of 2 and w of 2 values. One step: both store their value in partial; both read
// the two; both update their own w. Between which of these must all wait, if there is a second
// step?

//# hint
// In words: load my elements. In each step: add up my elements, store the sum in partial, wait;
// add up in a tree with a wait after each level; all read the total and update their own
// elements; wait. After the last step store my elements.

//# solution
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x; // 0 to 63
    // Each element belongs to one invocation, here and in all steps. So w needs no barrier.
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    for (var step = 0u; step < STEPS; step++) {
        var sum = 0.0;
        for (var i = me; i < W; i += 64u) {
            sum += w[i];
        }
        partial[me] = sum;
        workgroupBarrier();
        for (var stride = 32u; stride > 0u; stride /= 2u) {
            if me < stride {
                partial[me] += partial[me + stride];
            }
            workgroupBarrier();
        }
        let mean = partial[0] / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] -= LR * (w[i] - mean);
        }
        // All have read the total before the next step stores new sums in its place.
        workgroupBarrier();
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# other: every invocation adds up the 64 sums
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    for (var step = 0u; step < STEPS; step++) {
        partial[me] = 0.0;
        for (var i = me; i < W; i += 64u) {
            partial[me] += w[i];
        }
        workgroupBarrier();
        // No tree: 64 additions by everyone, but only one more barrier.
        var total = 0.0;
        for (var k = 0u; k < 64u; k++) {
            total += partial[k];
        }
        workgroupBarrier();
        let mean = total / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] = w[i] - LR * (w[i] - mean);
        }
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# other: the barrier where the step begins
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    var left = STEPS;
    while left > 0u {
        left -= 1u;
        var sum = 0.0;
        for (var i = me; i < W; i += 64u) {
            sum += w[i];
        }
        // Before partial is overwritten, all must have read the total of the step before.
        workgroupBarrier();
        partial[me] = sum;
        for (var stride = 1u; stride < 64u; stride *= 2u) {
            workgroupBarrier();
            if me % (2u * stride) == 0u {
                partial[me] += partial[me + stride];
            }
        }
        workgroupBarrier();
        let pull = LR * partial[0] / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] = w[i] * (1.0 - LR) + pull;
        }
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# plain: one invocation does all
var<workgroup> w: array<f32, W>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    if local.x == 0u {
        for (var i = 0u; i < W; i++) {
            w[i] = start[i];
        }
        for (var step = 0u; step < STEPS; step++) {
            var sum = 0.0;
            for (var i = 0u; i < W; i++) {
                sum += w[i];
            }
            let mean = sum / f32(W);
            for (var i = 0u; i < W; i++) {
                w[i] -= LR * (w[i] - mean);
            }
        }
        for (var i = 0u; i < W; i++) {
            result[i] = w[i];
        }
    }
}

//# mistake: the mean of 64
//> You divide by the size of the workgroup. How many elements does w have?
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    for (var step = 0u; step < STEPS; step++) {
        var sum = 0.0;
        for (var i = me; i < W; i += 64u) {
            sum += w[i];
        }
        partial[me] = sum;
        workgroupBarrier();
        for (var stride = 32u; stride > 0u; stride /= 2u) {
            if me < stride {
                partial[me] += partial[me + stride];
            }
            workgroupBarrier();
        }
        let mean = partial[0] / 64.0;
        for (var i = me; i < W; i += 64u) {
            w[i] -= LR * (w[i] - mean);
        }
        workgroupBarrier();
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# mistake: only the first 64 elements updated
//> The first 64 elements are right. The others are still what they were at the start.
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    for (var step = 0u; step < STEPS; step++) {
        var sum = 0.0;
        for (var i = me; i < W; i += 64u) {
            sum += w[i];
        }
        partial[me] = sum;
        workgroupBarrier();
        for (var stride = 32u; stride > 0u; stride /= 2u) {
            if me < stride {
                partial[me] += partial[me + stride];
            }
            workgroupBarrier();
        }
        let mean = partial[0] / f32(W);
        w[me] -= LR * (w[me] - mean);
        workgroupBarrier();
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# mistake: one step only
//> This is w after one step. Each step has to start from the values that the step before it stored.
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var step = 0u; step < STEPS; step++) {
        var sum = 0.0;
        for (var i = me; i < W; i += 64u) {
            sum += start[i];
        }
        partial[me] = sum;
        workgroupBarrier();
        for (var stride = 32u; stride > 0u; stride /= 2u) {
            if me < stride {
                partial[me] += partial[me + stride];
            }
            workgroupBarrier();
        }
        let mean = partial[0] / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] = start[i] - LR * (start[i] - mean);
        }
        workgroupBarrier();
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# mistake: the sign of the update
//> The elements move away from their mean instead of towards it.
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    for (var step = 0u; step < STEPS; step++) {
        var sum = 0.0;
        for (var i = me; i < W; i += 64u) {
            sum += w[i];
        }
        partial[me] = sum;
        workgroupBarrier();
        for (var stride = 32u; stride > 0u; stride /= 2u) {
            if me < stride {
                partial[me] += partial[me + stride];
            }
            workgroupBarrier();
        }
        let mean = partial[0] / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] += LR * (w[i] - mean);
        }
        workgroupBarrier();
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# mistake: the sum not reset
//> From the second step on, the mean is wrong: the sum still holds the elements of earlier steps.
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    var sum = 0.0;
    for (var step = 0u; step < STEPS; step++) {
        for (var i = me; i < W; i += 64u) {
            sum += w[i];
        }
        partial[me] = sum;
        workgroupBarrier();
        for (var stride = 32u; stride > 0u; stride /= 2u) {
            if me < stride {
                partial[me] += partial[me + stride];
            }
            workgroupBarrier();
        }
        let mean = partial[0] / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] -= LR * (w[i] - mean);
        }
        workgroupBarrier();
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# mistake: one step too few
//> You are one step behind. How many iterations does your loop make?
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    for (var step = 1u; step < STEPS; step++) {
        var sum = 0.0;
        for (var i = me; i < W; i += 64u) {
            sum += w[i];
        }
        partial[me] = sum;
        workgroupBarrier();
        for (var stride = 32u; stride > 0u; stride /= 2u) {
            if me < stride {
                partial[me] += partial[me + stride];
            }
            workgroupBarrier();
        }
        let mean = partial[0] / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] -= LR * (w[i] - mean);
        }
        workgroupBarrier();
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# race: no barrier between update and next step
//> A fast invocation may store its new sum while a slow one still reads the total of this step.
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    for (var step = 0u; step < STEPS; step++) {
        var sum = 0.0;
        for (var i = me; i < W; i += 64u) {
            sum += w[i];
        }
        partial[me] = sum;
        workgroupBarrier();
        for (var stride = 32u; stride > 0u; stride /= 2u) {
            if me < stride {
                partial[me] += partial[me + stride];
            }
            workgroupBarrier();
        }
        let mean = partial[0] / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] -= LR * (w[i] - mean);
        }
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# race: no barrier before the tree
//> An invocation reads the sum of another before it is certain that it has been stored.
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    for (var step = 0u; step < STEPS; step++) {
        var sum = 0.0;
        for (var i = me; i < W; i += 64u) {
            sum += w[i];
        }
        partial[me] = sum;
        for (var stride = 32u; stride > 0u; stride /= 2u) {
            if me < stride {
                partial[me] += partial[me + stride];
            }
            workgroupBarrier();
        }
        let mean = partial[0] / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] -= LR * (w[i] - mean);
        }
        workgroupBarrier();
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# race: the state shared without a barrier
//> The sum reads elements that other invocations update. Then w itself needs barriers too.
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x;
    for (var i = me; i < W; i += 64u) {
        w[i] = start[i];
    }
    for (var step = 0u; step < STEPS; step++) {
        // Everyone adds up all of w by itself.
        var sum = 0.0;
        for (var i = 0u; i < W; i++) {
            sum += w[i];
        }
        partial[me] = sum;
        let mean = partial[me] / f32(W);
        for (var i = me; i < W; i += 64u) {
            w[i] -= LR * (w[i] - mean);
        }
    }
    for (var i = me; i < W; i += 64u) {
        result[i] = w[i];
    }
}

//# question
// Every invocation that has not yet computed its mean. So a step ends with a barrier: after the
// total has been read, and before the next sums are stored.
