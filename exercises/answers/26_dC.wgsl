//# hint
// dC is (VOCAB, EMBD), demb is (N, BLOCK, EMBD). The axes N and BLOCK must both vanish, but not
// every place counts for every token. e stays.

//# hint
// Say a token stands at two places of the batch: emb at both is a copy of the same row of C. The
// loss has the derivatives d0 and d1 with respect to the two copies. What is its derivative with
// respect to the row?

//# hint
// In words: go over all rows and all positions; wherever the token there is this one, add the
// gradient of the embedding at that place.

//# solution
fn dC(token: u32, e: u32) -> f32 {
    var sum = 0.0;
    // Every place of the batch that looked up this row of C is a use of it. All uses add up.
    for (var row = 0u; row < N; row++) {
        for (var t = 0u; t < BLOCK; t++) {
            if X(row, t) == token {
                sum += demb(row, t, e);
            }
        }
    }
    // A token that is not in the batch gets zero.
    return sum;
}

//# other: the positions outside
fn dC(token: u32, e: u32) -> f32 {
    var sum = 0.0;
    for (var t = 0u; t < BLOCK; t++) {
        for (var row = 0u; row < N; row++) {
            sum += select(0.0, demb(row, t, e), X(row, t) == token);
        }
    }
    return sum;
}

//# other: as a product with one-hot rows
fn dC(token: u32, e: u32) -> f32 {
    // C[Xb] is one_hot(Xb) @ C, so dC is one_hot(Xb).T @ demb.
    var sum = 0.0;
    for (var place = 0u; place < N * BLOCK; place++) {
        let row = place / BLOCK;
        let t = place % BLOCK;
        let one_hot = f32(X(row, t) == token);
        sum += one_hot * demb(row, t, e);
    }
    return sum;
}

//# other: loop backwards
fn dC(token: u32, e: u32) -> f32 {
    var sum = 0.0;
    var place = N * BLOCK;
    while place > 0u {
        place -= 1u;
        if X(place / BLOCK, place % BLOCK) == token {
            sum += demb(place / BLOCK, place % BLOCK, e);
        }
    }
    return sum;
}

//# mistake: the last use only
//> Tokens that occur once are right. For the others, each use overwrites the one before.
fn dC(token: u32, e: u32) -> f32 {
    var grad = 0.0;
    for (var row = 0u; row < N; row++) {
        for (var t = 0u; t < BLOCK; t++) {
            if X(row, t) == token {
                grad = demb(row, t, e);
            }
        }
    }
    return grad;
}

//# mistake: the first position only
//> You look at one position of each context. A token can stand at any of the BLOCK positions.
fn dC(token: u32, e: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        if X(row, 0u) == token {
            sum += demb(row, 0u, e);
        }
    }
    return sum;
}

//# mistake: counted once per row
//> Contexts that hold the token twice are counted once. Where do you leave the inner loop?
fn dC(token: u32, e: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        for (var t = 0u; t < BLOCK; t++) {
            if X(row, t) == token {
                sum += demb(row, t, e);
                break;
            }
        }
    }
    return sum;
}

//# mistake: the mean over the uses
//> The right places, but averaged. The gradients of several uses are not averaged.
fn dC(token: u32, e: u32) -> f32 {
    var sum = 0.0;
    var uses = 0.0;
    for (var row = 0u; row < N; row++) {
        for (var t = 0u; t < BLOCK; t++) {
            if X(row, t) == token {
                sum += demb(row, t, e);
                uses += 1.0;
            }
        }
    }
    return sum / max(uses, 1.0);
}

//# mistake: every place counted
//> All tokens get the same gradient. Which places have used this row of C?
fn dC(token: u32, e: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        for (var t = 0u; t < BLOCK; t++) {
            sum += demb(row, t, e);
        }
    }
    return sum;
}

//# mistake: the target for the context
//> You look for the token among the targets. The embedding is looked up for the characters of the
//> context.
fn dC(token: u32, e: u32) -> f32 {
    var sum = 0.0;
    for (var row = 0u; row < N; row++) {
        for (var t = 0u; t < BLOCK; t++) {
            if Yb(row) == token {
                sum += demb(row, t, e);
            }
        }
    }
    return sum;
}

//# question
// "." has one term for each place of Xb that holds it, up to BLOCK in one example. A token that
// is not in the batch has no term, and its row of dC is zero.
