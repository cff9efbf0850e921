// The resident schedule: one workgroup keeps a model and runs many steps in a dispatch.
//
// A step of the lecture is 2.2 million operations; launched kernel by kernel, most of its time is
// the launching. Here the launches of the staged schedule become phases of one kernel, with a
// barrier where a launch would end. The formulas are the same functions, in the same order.
//
// Workgroup m trains model m: nothing is shared between workgroups, so that a dispatch of many
// workgroups trains many models, each with the bits that it would have alone.
//
// How the work of a phase is shared out: its result is cut into tiles of TILE_ROWS x 4 elements. A
// group of LANES invocations computes LANES neighbouring tiles at a time, which have their rows of
// the left matrix in common; group g takes the tiles g, g + GROUPS, ... Every element has one owner
// who adds its terms in one order: no atomics, and the same bits in every run. Two products have few
// elements and long sums (logits and dembcat, over all hidden units): their sums are cut into SLICES,
// each computed by another group, and added up in order by whoever reads them. Batch norm has few columns
// and many rows: its sums over the examples are cut into ROW_SLICES. And ROW_WORKERS invocations share a row
// of the softmax, of which all of them look at the whole.
//
// How invocations wait for each other and where the rows in common come from is the matter of
// another file: workgroup.wgsl, where a group is one invocation, or subgroup.wgsl, where it is the
// whole workgroup.
//
// Rows of matrices start at a multiple of four values, so that all loads are vec4. The padding is
// zero, and stays zero: it has zero gradients.

override WORKERS: u32;
override LANES: u32;
override GROUPS: u32; // WORKERS / LANES
const TILE_ROWS = 8u;

// Sizes and places, set by src/gpu/resident/plan.rs (`Plan`) when the pipeline is made: constants, because
// then a driver can unroll loops and divide by multiplying. `4` in a name: counted in vec4.
override BATCH: u32;
override VOCAB: u32;
override EMBD: u32;
override FAN_IN: u32;  // BLOCK * EMBD
override HIDDEN4: u32; // length of a row of hidden units
override VOCAB4: u32;  // of logits
override FAN_IN4: u32; // of embcat
override EMBD4: u32;   // of C
// The same in groups of LANES, rounded up.
override HIDDEN_GROUPS: u32;
override VOCAB_GROUPS: u32;
override FAN_IN_GROUPS: u32;
// Tiles down the rows of a matrix with a row for each example, hidden unit, input.
override BATCH_TILES: u32;
override HIDDEN_TILES: u32;
override FAN_IN_TILES: u32;
// Parts of the sums over hidden units in logits and dembcat, and vec4s in each.
override SLICES: u32;
override SLICE4: u32;
// Parts of the sums over the examples in batch norm, and rows in each; invocations for a row of logits.
override ROW_SLICES: u32;
override SLICE_ROWS: u32;
override ROW_WORKERS: u32;
// Steps of a dispatch at most.
override STEPS: u32;
// Where a model's tensors begin in `models`, counted in vec4; C is at 0.
override W1: u32;
override B1: u32;
override W2: u32;
override B2: u32;
override BNGAIN: u32;
override BNBIAS: u32;
override MODEL4: u32; // all of them: the next model begins here
// Where its activations begin in `scratch`; embcat is at 0.
override HPREBN: u32;
override BNMEAN: u32;
override BNVAR_INV: u32;
override H: u32;
override LOGITS: u32;
override DLOGITS: u32;
override DHPREBN: u32;
override DEMBCAT: u32;
override PARTIALS: u32; // of batch norm's sums: three times ROW_SLICES rows of units
override SCRATCH4: u32;
// `inputs` begins with the number of steps of the chunk, and at 1 a two, as a number that no compiler
// can know. At FIRST_STEP begin the words of each step: those of the first model, step after step,
// then those of the next one. So the words of a chunk lie together, however many steps and models it
// has, and are uploaded at once.
override FIRST_STEP: u32;
override STEP_WORDS: u32;
// In the words of a step: X is at 0; then Y; then the end of each token's list of uses, behind a 0;
// then the lists: where the embedding of each use begins in dembcat, counted in values; then the
// learning rate.
override Y: u32;
override USES: u32;
override LR: u32;
// `results` begins with a number for each invocation of each model. At LOSSES begin the losses of each
// step of the first model; then those of the next one.
override LOSSES: u32;

@group(0) @binding(0) var<storage, read> inputs: array<u32>;
@group(0) @binding(1) var<storage, read_write> models: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> scratch: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> results: array<u32>;

// ---- one tile of each product ----

// Four rows of a matrix at `at`, four columns of each.
fn rows_of_model(at: u32, row4: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        models[at],
        models[at + row4],
        models[at + 2u * row4],
        models[at + 3u * row4],
    );
}

struct Tile {
    s0: vec4<f32>,
    s1: vec4<f32>,
    s2: vec4<f32>,
    s3: vec4<f32>,
    s4: vec4<f32>,
    s5: vec4<f32>,
    s6: vec4<f32>,
    s7: vec4<f32>,
}

// What a tile needs of its left matrix: eight vec4, the same for all lanes of a group.
struct Rows {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
    r4: vec4<f32>,
    r5: vec4<f32>,
    r6: vec4<f32>,
    r7: vec4<f32>,
}

// y = x @ W, over `count` times four inputs.
fn forward_tile(x: u32, x_row4: u32, w: u32, w_row4: u32, count: u32, lane: u32) -> Tile {
    var t = Tile();
    for (var k = 0u; k < count; k++) {
        let W = rows_of_model(w + 4u * k * w_row4, w_row4);
        let left = eight_rows(x + k, x_row4, lane);
        t.s0 = linear_terms(t.s0, left.r0, W);
        t.s1 = linear_terms(t.s1, left.r1, W);
        t.s2 = linear_terms(t.s2, left.r2, W);
        t.s3 = linear_terms(t.s3, left.r3, W);
        t.s4 = linear_terms(t.s4, left.r4, W);
        t.s5 = linear_terms(t.s5, left.r5, W);
        t.s6 = linear_terms(t.s6, left.r6, W);
        t.s7 = linear_terms(t.s7, left.r7, W);
    }
    return t;
}

// dx = dy @ W.T, over `count` times four outputs.
fn backward_input_tile(dy: u32, dy_row4: u32, w: u32, w_row4: u32, count: u32, lane: u32) -> Tile {
    var t = Tile();
    for (var k = 0u; k < count; k++) {
        let W = transpose(rows_of_model(w + k, w_row4));
        let left = eight_rows(dy + k, dy_row4, lane);
        t.s0 = linear_terms(t.s0, left.r0, W);
        t.s1 = linear_terms(t.s1, left.r1, W);
        t.s2 = linear_terms(t.s2, left.r2, W);
        t.s3 = linear_terms(t.s3, left.r3, W);
        t.s4 = linear_terms(t.s4, left.r4, W);
        t.s5 = linear_terms(t.s5, left.r5, W);
        t.s6 = linear_terms(t.s6, left.r6, W);
        t.s7 = linear_terms(t.s7, left.r7, W);
    }
    return t;
}

// dW = x.T @ dy, over all examples, four at a time; past the last one both are zero.
fn backward_weight_tile(x: u32, x_row4: u32, dy: u32, dy_row4: u32, lane: u32) -> Tile {
    var t = Tile();
    for (var r = 0u; r < BATCH_TILES * TILE_ROWS; r += 4u) {
        let at = dy + r * dy_row4;
        let d = mat4x4<f32>(
            scratch[at],
            scratch[at + dy_row4],
            scratch[at + 2u * dy_row4],
            scratch[at + 3u * dy_row4],
        );
        // Eight columns of four rows: low and high half of each row.
        let left = four_pairs(x + r * x_row4, x_row4, lane);
        t.s0 = linear_terms(t.s0, vec4<f32>(left.r0.x, left.r2.x, left.r4.x, left.r6.x), d);
        t.s1 = linear_terms(t.s1, vec4<f32>(left.r0.y, left.r2.y, left.r4.y, left.r6.y), d);
        t.s2 = linear_terms(t.s2, vec4<f32>(left.r0.z, left.r2.z, left.r4.z, left.r6.z), d);
        t.s3 = linear_terms(t.s3, vec4<f32>(left.r0.w, left.r2.w, left.r4.w, left.r6.w), d);
        t.s4 = linear_terms(t.s4, vec4<f32>(left.r1.x, left.r3.x, left.r5.x, left.r7.x), d);
        t.s5 = linear_terms(t.s5, vec4<f32>(left.r1.y, left.r3.y, left.r5.y, left.r7.y), d);
        t.s6 = linear_terms(t.s6, vec4<f32>(left.r1.z, left.r3.z, left.r5.z, left.r7.z), d);
        t.s7 = linear_terms(t.s7, vec4<f32>(left.r1.w, left.r3.w, left.r5.w, left.r7.w), d);
    }
    return t;
}

fn store(at: u32, row4: u32, t: Tile) {
    scratch[at] = t.s0;
    scratch[at + row4] = t.s1;
    scratch[at + 2u * row4] = t.s2;
    scratch[at + 3u * row4] = t.s3;
    scratch[at + 4u * row4] = t.s4;
    scratch[at + 5u * row4] = t.s5;
    scratch[at + 6u * row4] = t.s6;
    scratch[at + 7u * row4] = t.s7;
}

// p.data += -lr * p.grad, four values at once.
fn update(at: u32, lr: f32, grad: vec4<f32>) {
    models[at] = sgd_update(models[at], lr, grad);
}

fn update_tile(at: u32, row4: u32, lr: f32, t: Tile) {
    update(at, lr, t.s0);
    update(at + row4, lr, t.s1);
    update(at + 2u * row4, lr, t.s2);
    update(at + 3u * row4, lr, t.s3);
    update(at + 4u * row4, lr, t.s4);
    update(at + 5u * row4, lr, t.s5);
    update(at + 6u * row4, lr, t.s6);
    update(at + 7u * row4, lr, t.s7);
}

// ---- the phases ----

// One element of C.
fn element_of_C(model: u32, token: u32, e: u32) -> f32 {
    return models[model + token * EMBD4 + e / 4u][e % 4u];
}

// Four elements of a row of embcat, from column `first` on.
fn embedded(model: u32, words: u32, row: u32, first: u32) -> vec4<f32> {
    let cols = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u);
    let at = min(cols, vec4<u32>(FAN_IN - 1u));
    let positions = (row * FAN_IN + at) / EMBD;
    let i = words + positions / 4u;
    let packed = vec4<u32>(inputs[i.x], inputs[i.y], inputs[i.z], inputs[i.w]);
    let tokens = embedding_token(packed, positions);
    let e = at % EMBD;
    let values = vec4<f32>(
        element_of_C(model, tokens.x, e.x),
        element_of_C(model, tokens.y, e.y),
        element_of_C(model, tokens.z, e.z),
        element_of_C(model, tokens.w, e.w),
    );
    return select(vec4<f32>(), values, cols < vec4<u32>(FAN_IN)); // the pad of embcat is zero
}

// embcat = C[Xb].view(n, -1), four values at a time. Here as everywhere, an invocation stores whole vec4: of
// one that two invocations store parts of, WGSL lets a device lose some, and Metal does.
fn embed(model: u32, acts: u32, words: u32, worker: u32) {
    for (var i = worker; i < BATCH * FAN_IN4; i += WORKERS) {
        scratch[acts + i] = embedded(model, words, i / FAN_IN4, i % FAN_IN4 * 4u);
    }
}

// hprebn = embcat @ W1 + b1
fn first_layer(model: u32, acts: u32, group: u32, lane: u32) {
    for (var g = group; g < BATCH_TILES * HIDDEN_GROUPS; g += GROUPS) {
        let row = g / HIDDEN_GROUPS * TILE_ROWS;
        let col = g % HIDDEN_GROUPS * LANES + lane;
        // A lane beyond the last column computes that one too, and stores nothing.
        let c = min(col, HIDDEN4 - 1u);
        var t = forward_tile(acts + row * FAN_IN4, FAN_IN4, model + W1 + c, HIDDEN4, FAN_IN4, lane);
        let b = models[model + B1 + c];
        t.s0 += b;
        t.s1 += b;
        t.s2 += b;
        t.s3 += b;
        t.s4 += b;
        t.s5 += b;
        t.s6 += b;
        t.s7 += b;
        if col < HIDDEN4 {
            store(acts + HPREBN + row * HIDDEN4 + col, HIDDEN4, t);
        }
    }
}

// Batch norm goes down the columns: part number `i` of its work is a slice of the rows of four units.
struct Column {
    j: u32, // the units, counted in vec4
    is_first: bool,
    // From the beginning of a tensor on: its first value, and behind its last.
    first: u32,
    end: u32,
}

fn column_of(i: u32) -> Column {
    let j = i % HIDDEN4;
    let row = i / HIDDEN4 * SLICE_ROWS;
    let end = min(row + SLICE_ROWS, BATCH);
    return Column(j, row == 0u, row * HIDDEN4 + j, not_unrolled(end) * HIDDEN4 + j);
}

// Where part `i` of a sum lies; and the sum for four units.
fn partial(acts: u32, sum: u32, i: u32) -> u32 {
    return acts + PARTIALS + sum * ROW_SLICES * HIDDEN4 + i;
}

fn total(acts: u32, sum: u32, j: u32) -> vec4<f32> {
    var total = vec4<f32>();
    for (var s = 0u; s < ROW_SLICES; s++) {
        total += scratch[partial(acts, sum, s * HIDDEN4 + j)];
    }
    return total;
}

// hprebn.sum(0), in slices
fn sum_hprebn(acts: u32, worker: u32) {
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        var sum = vec4<f32>();
        for (var k = column.first; k < column.end; k += HIDDEN4) {
            sum += scratch[acts + HPREBN + k];
        }
        scratch[partial(acts, 0u, i)] = sum;
    }
}

// bnmeani, and bndiff2.sum(0) in slices
fn sum_bndiff2(acts: u32, worker: u32) {
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        let bnmean = total(acts, 0u, column.j) / f32(BATCH);
        var sum_bndiff2 = vec4<f32>();
        for (var k = column.first; k < column.end; k += HIDDEN4) {
            let bndiff = scratch[acts + HPREBN + k] - bnmean;
            sum_bndiff2 += bndiff * bndiff;
        }
        scratch[partial(acts, 1u, i)] = sum_bndiff2;
        if column.is_first {
            scratch[acts + BNMEAN + column.j] = bnmean;
        }
    }
}

// bnvar_inv, and h = tanh(hpreact)
fn normalize(model: u32, acts: u32, worker: u32) {
    let n = f32(BATCH);
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        let j = column.j;
        let sum_bndiff2 = total(acts, 1u, j);
        let bnmean = scratch[acts + BNMEAN + j];
        let bnvar_inv = batchnorm_var_inv(batchnorm_variance(sum_bndiff2, n));
        if column.is_first {
            scratch[acts + BNVAR_INV + j] = bnvar_inv;
        }
        let gain = models[model + BNGAIN + j];
        let bias = models[model + BNBIAS + j];
        for (var k = column.first; k < column.end; k += HIDDEN4) {
            let bnraw = batchnorm_normalize(scratch[acts + HPREBN + k], bnmean, bnvar_inv);
            scratch[acts + H + k] = tanh_forward(batchnorm_scale(gain, bnraw, bias));
        }
    }
}

// logits = h @ W2, in slices
fn second_layer(model: u32, acts: u32, group: u32, lane: u32) {
    for (var g = group; g < BATCH_TILES * VOCAB_GROUPS * SLICES; g += GROUPS) {
        let slice = g / (BATCH_TILES * VOCAB_GROUPS);
        let row = g % (BATCH_TILES * VOCAB_GROUPS) / VOCAB_GROUPS * TILE_ROWS;
        let col = g % VOCAB_GROUPS * LANES + lane;
        let first = slice * SLICE4;
        let t = forward_tile(
            acts + H + row * HIDDEN4 + first, HIDDEN4,
            model + W2 + 4u * first * VOCAB4 + min(col, VOCAB4 - 1u), VOCAB4,
            min(SLICE4, HIDDEN4 - first), lane,
        );
        if col < VOCAB4 {
            let rows = slice * BATCH_TILES * TILE_ROWS + row;
            store(acts + LOGITS + rows * VOCAB4 + col, VOCAB4, t);
        }
    }
}

// Logits: the sum of their slices, + b2. They lie where the first slice was. Padding is far below any logit,
// so that neither the maximum nor the sum of counts knows of it.
fn add_slices(model: u32, acts: u32, worker: u32) {
    for (var i = worker; i < BATCH * VOCAB4; i += WORKERS) {
        let v = i % VOCAB4;
        var sum = models[model + B2 + v];
        var at = acts + LOGITS + i;
        for (var s = 0u; s < SLICES; s++) {
            sum += scratch[at];
            at += BATCH_TILES * TILE_ROWS * VOCAB4;
        }
        let columns = vec4<u32>(4u * v) + vec4<u32>(0u, 1u, 2u, 3u);
        scratch[acts + LOGITS + i] = select(vec4<f32>(-3.4e38), sum, columns < vec4<u32>(VOCAB));
    }
}

// The loss of each example, and dlogits
fn loss(acts: u32, words: u32, losses: u32, worker: u32) {
    let n = f32(BATCH);
    for (var i = worker; i < BATCH * ROW_WORKERS; i += WORKERS) {
        let row = i / ROW_WORKERS;
        let word = inputs[words + Y + row / 4u];
        let target_token = (word >> (8u * (row % 4u))) & 0xffu;
        let logits = acts + LOGITS + row * VOCAB4;
        var maxes = vec4<f32>(-3.4e38);
        for (var v = 0u; v < not_unrolled(VOCAB4); v++) {
            maxes = max(maxes, scratch[logits + v]);
        }
        let logit_max = max(max(maxes.x, maxes.y), max(maxes.z, maxes.w));
        var sums = vec4<f32>();
        for (var v = 0u; v < not_unrolled(VOCAB4); v++) {
            sums += exp(scratch[logits + v] - logit_max);
        }
        let counts_sum = (sums.x + sums.y) + (sums.z + sums.w);
        if i % ROW_WORKERS == 0u {
            let norm_logit = scratch[logits + target_token / 4u][target_token % 4u] - logit_max;
            results[losses + row] = bitcast<u32>(cross_entropy_loss(norm_logit, counts_sum));
        }
        for (var v = i % ROW_WORKERS; v < not_unrolled(VOCAB4); v += ROW_WORKERS) {
            let probs = exp(scratch[logits + v] - logit_max) / counts_sum;
            let hit = vec4<u32>(4u * v) + vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(target_token);
            scratch[acts + DLOGITS + row * VOCAB4 + v] = softmax_cross_entropy_backward(probs, hit, n);
        }
    }
}

// dh = dlogits @ W2.T; dhpreact = (1.0 - h**2) * dh. It lies where dhprebn will be.
fn through_second_layer(model: u32, acts: u32, group: u32, lane: u32) {
    for (var g = group; g < BATCH_TILES * HIDDEN_GROUPS; g += GROUPS) {
        let row = g / HIDDEN_GROUPS * TILE_ROWS;
        let col = g % HIDDEN_GROUPS * LANES + lane;
        var t = backward_input_tile(
            acts + DLOGITS + row * VOCAB4, VOCAB4,
            model + W2 + 4u * min(col, HIDDEN4 - 1u) * VOCAB4, VOCAB4,
            VOCAB4, lane,
        );
        if col < HIDDEN4 {
            let h = acts + H + row * HIDDEN4 + col;
            t.s0 = tanh_backward(t.s0, scratch[h]);
            t.s1 = tanh_backward(t.s1, scratch[h + HIDDEN4]);
            t.s2 = tanh_backward(t.s2, scratch[h + 2u * HIDDEN4]);
            t.s3 = tanh_backward(t.s3, scratch[h + 3u * HIDDEN4]);
            t.s4 = tanh_backward(t.s4, scratch[h + 4u * HIDDEN4]);
            t.s5 = tanh_backward(t.s5, scratch[h + 5u * HIDDEN4]);
            t.s6 = tanh_backward(t.s6, scratch[h + 6u * HIDDEN4]);
            t.s7 = tanh_backward(t.s7, scratch[h + 7u * HIDDEN4]);
            store(acts + DHPREBN + row * HIDDEN4 + col, HIDDEN4, t);
        }
    }
}

// dbnbias and dbngain, in slices
fn sum_dhpreact(acts: u32, worker: u32) {
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        let bnmean = scratch[acts + BNMEAN + column.j];
        let bnvar_inv = scratch[acts + BNVAR_INV + column.j];
        var dbnbias = vec4<f32>();
        var dbngain = vec4<f32>();
        for (var k = column.first; k < column.end; k += HIDDEN4) {
            let dhpreact = scratch[acts + DHPREBN + k];
            dbnbias += dhpreact;
            dbngain += dhpreact * batchnorm_normalize(scratch[acts + HPREBN + k], bnmean, bnvar_inv);
        }
        scratch[partial(acts, 0u, i)] = dbnbias;
        scratch[partial(acts, 1u, i)] = dbngain;
    }
}

// dhprebn, and db1 in slices
fn through_batchnorm(model: u32, acts: u32, worker: u32) {
    let n = f32(BATCH);
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        let j = column.j;
        let bnmean = scratch[acts + BNMEAN + j];
        let bnvar_inv = scratch[acts + BNVAR_INV + j];
        let dbnbias = total(acts, 0u, j);
        let dbngain = total(acts, 1u, j);
        let gain = models[model + BNGAIN + j];
        var db1 = vec4<f32>();
        for (var k = column.first; k < column.end; k += HIDDEN4) {
            let d = scratch[acts + DHPREBN + k];
            let raw = batchnorm_normalize(scratch[acts + HPREBN + k], bnmean, bnvar_inv);
            let dhprebn = batchnorm_backward(gain, bnvar_inv, n, d, dbnbias, raw, dbngain);
            scratch[acts + DHPREBN + k] = dhprebn;
            db1 += dhprebn;
        }
        scratch[partial(acts, 2u, i)] = db1;
    }
}

// The updates of bngain, bnbias and b1
fn update_batchnorm(model: u32, acts: u32, lr: f32, worker: u32) {
    for (var j = worker; j < HIDDEN4; j += WORKERS) {
        update(model + BNBIAS + j, lr, total(acts, 0u, j));
        update(model + BNGAIN + j, lr, total(acts, 1u, j));
        update(model + B1 + j, lr, total(acts, 2u, j));
    }
}

// dW2 = h.T @ dlogits and, by the first row of tiles, db2 = dlogits.sum(0), with their updates
fn update_second_layer(model: u32, acts: u32, lr: f32, group: u32, lane: u32) {
    for (var g = group; g < HIDDEN_TILES * VOCAB_GROUPS; g += GROUPS) {
        let row = g / VOCAB_GROUPS * TILE_ROWS;
        let col = g % VOCAB_GROUPS * LANES + lane;
        let dlogits = acts + DLOGITS + min(col, VOCAB4 - 1u);
        let t = backward_weight_tile(acts + H + row / 4u, HIDDEN4, dlogits, VOCAB4, lane);
        if col < VOCAB4 {
            update_tile(model + W2 + row * VOCAB4 + col, VOCAB4, lr, t);
            if row == 0u {
                var db2 = vec4<f32>();
                for (var r = 0u; r < BATCH; r++) {
                    db2 += scratch[dlogits + r * VOCAB4];
                }
                update(model + B2 + col, lr, db2);
            }
        }
    }
}

// dembcat = dhprebn @ W1.T, in slices
fn through_first_layer(model: u32, acts: u32, group: u32, lane: u32) {
    for (var g = group; g < BATCH_TILES * FAN_IN_GROUPS * SLICES; g += GROUPS) {
        let slice = g / (BATCH_TILES * FAN_IN_GROUPS);
        let row = g % (BATCH_TILES * FAN_IN_GROUPS) / FAN_IN_GROUPS * TILE_ROWS;
        let col = g % FAN_IN_GROUPS * LANES + lane;
        let first = slice * SLICE4;
        let t = backward_input_tile(
            acts + DHPREBN + row * HIDDEN4 + first, HIDDEN4,
            model + W1 + 4u * min(col, FAN_IN4 - 1u) * HIDDEN4 + first, HIDDEN4,
            min(SLICE4, HIDDEN4 - first), lane,
        );
        if col < FAN_IN4 {
            let rows = slice * BATCH_TILES * TILE_ROWS + row;
            store(acts + DEMBCAT + rows * FAN_IN4 + col, FAN_IN4, t);
        }
    }
}

// dembcat, from its slices: it lies where the first one was
fn add_dembcat(acts: u32, worker: u32) {
    let slice = BATCH_TILES * TILE_ROWS * FAN_IN4;
    for (var i = worker; i < BATCH * FAN_IN4; i += WORKERS) {
        let first = acts + DEMBCAT + i;
        var sum = scratch[first];
        for (var s = 1u; s < SLICES; s++) {
            sum += scratch[first + s * slice];
        }
        scratch[first] = sum;
    }
}

// dW1 = embcat.T @ dhprebn and its update
fn update_first_layer(model: u32, acts: u32, lr: f32, group: u32, lane: u32) {
    for (var g = group; g < FAN_IN_TILES * HIDDEN_GROUPS; g += GROUPS) {
        let row = g / HIDDEN_GROUPS * TILE_ROWS;
        let col = g % HIDDEN_GROUPS * LANES + lane;
        let dhprebn = acts + DHPREBN + min(col, HIDDEN4 - 1u);
        let t = backward_weight_tile(acts + row / 4u, FAN_IN4, dhprebn, HIDDEN4, lane);
        if col < HIDDEN4 {
            update_tile(model + W1 + row * HIDDEN4 + col, HIDDEN4, lr, t);
        }
    }
}

// One element of dembcat.
fn demb(acts: u32, i: u32) -> f32 {
    return scratch[acts + DEMBCAT + i / 4u][i % 4u];
}

// dC[v, e] = sum of demb[p, e] over the uses p of token v, and its update: four e at a time
fn update_embedding(model: u32, acts: u32, words: u32, lr: f32, worker: u32) {
    for (var i = worker; i < VOCAB * EMBD4; i += WORKERS) {
        let token = i / EMBD4;
        let e = i % EMBD4 * 4u;
        var dC = vec4<f32>();
        let last = inputs[words + USES + token + 1u];
        for (var u = inputs[words + USES + token]; u < last; u++) {
            let at = inputs[words + USES + VOCAB + 1u + u] + e;
            dC += vec4<f32>(
                demb(acts, at),
                demb(acts, at + 1u),
                demb(acts, at + 2u),
                demb(acts, at + 3u),
            );
        }
        // Behind an embedding lies another one, or what is none.
        let is_embedding = vec4<u32>(e) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(EMBD);
        update(model + i, lr, select(vec4<f32>(), dC, is_embedding));
    }
}

// The first step of this dispatch, where the last one ended, and the one after its last.
fn steps_of_dispatch(model_index: u32) -> vec2<u32> {
    let first = results[model_index * WORKERS];
    return vec2<u32>(first, min(first + STEPS, inputs[0]));
}

fn train(model_index: u32, worker: u32, group: u32, lane: u32, steps: vec2<u32>) {
    let model = model_index * MODEL4;
    let acts = model_index * SCRATCH4;
    let first_step = model_index * inputs[0];
    let losses = LOSSES + first_step * BATCH;
    var done = steps.x;
    for (var step = steps.x; step < steps.y; step++) {
        let words = FIRST_STEP + (first_step + step) * STEP_WORDS;
        let lr = bitcast<f32>(inputs[words + LR]);
        embed(model, acts, words, worker);
        phase_ends();
        first_layer(model, acts, group, lane);
        phase_ends();
        sum_hprebn(acts, worker);
        phase_ends();
        sum_bndiff2(acts, worker);
        phase_ends();
        normalize(model, acts, worker);
        phase_ends();
        second_layer(model, acts, group, lane);
        phase_ends();
        add_slices(model, acts, worker);
        phase_ends();
        loss(acts, words, losses + step * BATCH, worker);
        phase_ends();
        through_second_layer(model, acts, group, lane);
        phase_ends();
        sum_dhpreact(acts, worker);
        phase_ends();
        // What needs these sums or dlogits, and no parameter that another one changes. The last
        // invocations begin with what the first ones have least time for.
        through_batchnorm(model, acts, worker);
        update_second_layer(model, acts, lr, GROUPS - 1u - group, lane);
        phase_ends();
        through_first_layer(model, acts, group, lane);
        phase_ends();
        if SLICES > 1u {
            add_dembcat(acts, worker);
            phase_ends();
        }
        // The rest depends on nothing that it changes.
        update_first_layer(model, acts, lr, group, lane);
        update_embedding(model, acts, words, lr, WORKERS - 1u - worker);
        update_batchnorm(model, acts, lr, WORKERS - 1u - worker);
        phase_ends();
        done += 1u;
    }
    // Some drivers leave every loop of an invocation after a number of rounds, and say nothing. Then
    // the steps counted here are too few; or, if it was in the last step, this loop is left after
    // one round. The host accepts a chunk only if every invocation has counted all of it.
    var rounds = 0u;
    for (var i = 0u; i < inputs[1]; i++) {
        rounds += 1u;
    }
    results[model_index * WORKERS + worker] = select(0u, done, rounds == 2u);
}
