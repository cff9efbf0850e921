//# hint
// The result has VOCAB * EMBD elements, and each invocation owns one. It has to make token and
// place in the embedding out of one number. The N * BLOCK places of x vanish in a loop.

//# hint
// With EMBD = 10, invocation 23 owns which token's gradient, and which of its 10 values? Then:
// what does it add, if this token stands at places 4 and 7 of x?

//# hint
// In words: leave if there is no such element; token and place in the embedding by division and
// remainder; go over all places of x and, where the token is mine, add my value of its embedding
// gradient; store once.

//# solution
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= VOCAB * EMBD {
        return;
    }
    let token = id.x / EMBD;
    let e = id.x % EMBD;
    // A gather: the owner of the element collects its terms. Nobody else writes it, and the order
    // of the terms is fixed, so every run gives the same bits.
    var sum = 0.0;
    for (var place = 0u; place < N * BLOCK; place++) {
        if x[place] == token {
            sum += demb[place * EMBD + e];
        }
    }
    // Stored also if the token never occurs: then it is zero.
    result[id.x] = sum;
}

//# other: row and position apart
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    let token = id.x / EMBD;
    let e = id.x % EMBD;
    if token < VOCAB {
        var sum = 0.0;
        for (var row = 0u; row < N; row++) {
            for (var t = 0u; t < BLOCK; t++) {
                let place = row * BLOCK + t;
                sum += select(0.0, demb[place * EMBD + e], x[place] == token);
            }
        }
        result[token * EMBD + e] = sum;
    }
}

//# other: backwards
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= VOCAB * EMBD {
        return;
    }
    var sum = 0.0;
    var place = N * BLOCK;
    while place > 0u {
        place -= 1u;
        if x[place] != id.x / EMBD {
            continue;
        }
        sum += demb[place * EMBD + id.x % EMBD];
    }
    result[id.x] = sum;
}

//# mistake: the last use only
//> Tokens that occur once are right. For the others, each use overwrites the one before.
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= VOCAB * EMBD {
        return;
    }
    let token = id.x / EMBD;
    let e = id.x % EMBD;
    var grad = 0.0;
    for (var place = 0u; place < N * BLOCK; place++) {
        if x[place] == token {
            grad = demb[place * EMBD + e];
        }
    }
    result[id.x] = grad;
}

//# mistake: the first position only
//> You look at one position of each context. A token can stand at any of the BLOCK positions.
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= VOCAB * EMBD {
        return;
    }
    let token = id.x / EMBD;
    let e = id.x % EMBD;
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        if x[row * BLOCK] == token {
            sum += demb[row * BLOCK * EMBD + e];
        }
    }
    result[id.x] = sum;
}

//# mistake: counted once per row
//> Contexts that hold the token twice are counted once. Where do you leave the inner loop?
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= VOCAB * EMBD {
        return;
    }
    let token = id.x / EMBD;
    let e = id.x % EMBD;
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        for (var t = 0u; t < BLOCK; t++) {
            if x[row * BLOCK + t] == token {
                sum += demb[(row * BLOCK + t) * EMBD + e];
                break;
            }
        }
    }
    result[id.x] = sum;
}

//# mistake: token and place swapped
//> The invocations read their number the wrong way round. dC is (VOCAB, EMBD): which index runs
//> faster?
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= VOCAB * EMBD {
        return;
    }
    let token = id.x % VOCAB;
    let e = id.x / VOCAB;
    var sum = 0.0;
    for (var place = 0u; place < N * BLOCK; place++) {
        if x[place] == token {
            sum += demb[place * EMBD + e];
        }
    }
    result[id.x] = sum;
}

//# mistake: the last example left out
//> Some uses are missing: those at the end of the batch. Where does your loop end?
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= VOCAB * EMBD {
        return;
    }
    let token = id.x / EMBD;
    let e = id.x % EMBD;
    var sum = 0.0;
    for (var place = 0u; place < (N - 1u) * BLOCK; place++) {
        if x[place] == token {
            sum += demb[place * EMBD + e];
        }
    }
    result[id.x] = sum;
}

//# race: one invocation per use
//> You scatter: two places with the same token add to the same element at the same time, and one
//> of the additions is lost.
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    let place = id.x;
    if place >= N * BLOCK {
        return;
    }
    for (var e = 0u; e < EMBD; e++) {
        result[x[place] * EMBD + e] += demb[place * EMBD + e];
    }
}

//# race: two owners
//> Some elements have two owners: the invocations beyond the last element wrap around to the
//> first.
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    let element = id.x % (VOCAB * EMBD);
    let token = element / EMBD;
    let e = element % EMBD;
    var sum = 0.0;
    for (var place = 0u; place < N * BLOCK; place++) {
        if x[place] == token {
            sum += demb[place * EMBD + e];
        }
    }
    result[element] = sum;
}

//# race: cleared by another
//> Each element is set to zero by one invocation and added to by another. In one launch nothing
//> says which comes first.
@compute @workgroup_size(64)
fn dC(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < VOCAB * EMBD {
        result[id.x] = 0.0;
    }
    // One invocation per place in the embedding adds up all uses.
    if id.x < EMBD {
        for (var place = 0u; place < N * BLOCK; place++) {
            result[x[place] * EMBD + id.x] += demb[place * EMBD + id.x];
        }
    }
}

//# question
// Give each element of the result to one invocation, and let it collect the terms. A scatter
// becomes a gather. It looks at all places of x, but no two invocations ever meet.
