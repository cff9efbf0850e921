// The resident schedule: one workgroup keeps a model and runs many steps in a dispatch.
//
// A step of the lecture is 2.2 million operations; launched kernel by kernel, most of its time is launch
// overhead. Here the launches of the staged schedule become phases of one kernel, with a barrier where a
// launch would end. The formulas are the same functions, in the same order.
//
// Workgroup m trains model m. Workgroups share nothing, so a dispatch of many workgroups trains many models,
// each with the bits that it would have alone.
//
// How the work of a phase is divided: its result is cut into tiles of TILE_ROWS x 4 elements. A group of
// LANES invocations computes LANES neighbouring tiles at a time, which read the same rows of the left matrix;
// group g takes the tiles g, g + GROUPS, ... Every element has one owner, which adds its terms in one order:
// no atomics, and the same bits in every run. Where a result has too few elements for all invocations, its
// sums are cut:
//
//   SLICES       of the sums over the hidden units, in logits and dembcat
//   ROW_SLICES   of the sums over the examples, in batch norm
//   ROW_WORKERS  invocations that share a row of the softmax; each of them reads the whole row
//
// Whoever reads a sum adds its slices, in order.
//
// Another file says how invocations wait for each other and how they load the rows that they share:
// workgroup.wgsl, where a group is one invocation, or subgroup.wgsl, where it is the whole workgroup.
//
// Rows of matrices begin at a multiple of four values, so that all loads are vec4. The padding is zero, and
// stays zero, because its gradients are zero.

override WORKERS: u32;
override LANES: u32;
override GROUPS: u32; // WORKERS / LANES
const TILE_ROWS = 8u;

// Sizes and places, set by src/gpu/plan.rs (`Plan`) when the pipeline is made: constants, because
// then a driver can unroll loops and divide by multiplying. `4` in a name: counted in vec4.
override BATCH: u32;
override VOCAB: u32;
override EMBD: u32;
override FAN_IN: u32;  // BLOCK * EMBD
override HIDDEN4: u32; // length of a row of hidden units
override VOCAB4: u32;  // of logits
override FAN_IN4: u32; // of embcat
override EMBD4: u32;   // of C
// These lengths in groups of LANES, rounded up.
override HIDDEN_GROUPS: u32;
override VOCAB_GROUPS: u32;
override FAN_IN_GROUPS: u32;
// Tiles down the rows of a matrix with a row for each example, hidden unit, input.
override BATCH_TILES: u32;
override HIDDEN_TILES: u32;
override FAN_IN_TILES: u32;
// Slices of the sums over hidden units in logits and dembcat, and vec4s in each.
override SLICES: u32;
override SLICE4: u32;
// Slices of the sums over the examples in batch norm, and rows in each; invocations for a row of logits.
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
// `inputs` begins with the number of steps of the chunk. At 1 is a two, as a number that no compiler can
// know. At FIRST_STEP begin the words of each step: those of the first model, step after step, then those of
// the next model. So the words of a chunk are contiguous for any number of steps and models, and are uploaded
// at once.
override FIRST_STEP: u32;
override STEP_WORDS: u32;
// In the words of a step: X is at 0; then Y; then, after a 0, the end of each token's list of uses; then the
// lists, which say where the embedding of each use begins in dembcat, counted in values; then the learning
// rate.
override Y: u32;
override USES: u32;
override LR: u32;
// `results` begins with a number for each invocation of each model. At LOSSES begin the losses of each step
// of the first model, then those of the next model.
override LOSSES: u32;

@group(0) @binding(0) var<storage, read> inputs: array<u32>;
@group(0) @binding(1) var<storage, read_write> models: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> scratch: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> results: array<u32>;

// ---- the tensors ----

// Where this workgroup's model begins in `models` and `scratch`, and this step in `inputs` and `results`.
var<private> model: u32;
var<private> acts: u32;
var<private> words: u32;
var<private> losses: u32;

// Where a matrix begins in its buffer, and how far each of its rows is from the next: both in vec4.
struct Matrix {
    at: u32,
    row4: u32,
}

// The parameters, in `models`. They are updated in place: their gradients are not stored.
fn c() -> Matrix { return Matrix(model, EMBD4); }                  // (vocab, embd)
fn w1() -> Matrix { return Matrix(model + W1, HIDDEN4); }          // (block * embd, hidden)
fn b1() -> Matrix { return Matrix(model + B1, HIDDEN4); }          // (1, hidden)
fn w2() -> Matrix { return Matrix(model + W2, VOCAB4); }           // (hidden, vocab)
fn b2() -> Matrix { return Matrix(model + B2, VOCAB4); }           // (1, vocab)
fn bngain() -> Matrix { return Matrix(model + BNGAIN, HIDDEN4); }  // (1, hidden)
fn bnbias() -> Matrix { return Matrix(model + BNBIAS, HIDDEN4); }  // (1, hidden)

// The activations, in `scratch`.
fn embcat() -> Matrix { return Matrix(acts, FAN_IN4); }                   // (batch, block * embd)
fn hprebn() -> Matrix { return Matrix(acts + HPREBN, HIDDEN4); }          // (batch, hidden)
fn bnmean() -> Matrix { return Matrix(acts + BNMEAN, HIDDEN4); }          // (1, hidden)
fn bnvar_inv() -> Matrix { return Matrix(acts + BNVAR_INV, HIDDEN4); }    // (1, hidden)
fn h() -> Matrix { return Matrix(acts + H, HIDDEN4); }                    // (batch, hidden)
fn logits() -> Matrix { return Matrix(acts + LOGITS, VOCAB4); }           // (SLICES * batch, vocab)
fn dlogits() -> Matrix { return Matrix(acts + DLOGITS, VOCAB4); }         // (batch, vocab)
fn dhpreact() -> Matrix { return dhprebn(); }                             // dhprebn takes its place
fn dhprebn() -> Matrix { return Matrix(acts + DHPREBN, HIDDEN4); }        // (batch, hidden)
fn dembcat() -> Matrix { return Matrix(acts + DEMBCAT, FAN_IN4); }        // (SLICES * batch, block * embd)
fn partials() -> Matrix { return Matrix(acts + PARTIALS, HIDDEN4); }      // (3 * ROW_SLICES, hidden)

// The vec4 of a row that begins at column 4 * col4: where it lies, its value, and a new one.
fn place(m: Matrix, row: u32, col4: u32) -> u32 {
    return m.at + row * m.row4 + col4;
}

fn parameter(m: Matrix, row: u32, col4: u32) -> vec4<f32> {
    return models[place(m, row, col4)];
}

fn load(m: Matrix, row: u32, col4: u32) -> vec4<f32> {
    return scratch[place(m, row, col4)];
}

// Always a whole vec4. If two invocations stored parts of one, WGSL would let a device lose some, and Metal
// does.
fn store(m: Matrix, row: u32, col4: u32, value: vec4<f32>) {
    scratch[place(m, row, col4)] = value;
}

// p.data += -lr * p.grad
fn update(m: Matrix, row: u32, col4: u32, lr: f32, grad: vec4<f32>) {
    update_at(place(m, row, col4), lr, grad);
}

fn update_at(at: u32, lr: f32, grad: vec4<f32>) {
    models[at] = sgd_update(models[at], lr, grad);
}

// The columns of a vec4.
fn columns(col4: u32) -> vec4<u32> {
    return vec4<u32>(4u * col4) + vec4<u32>(0u, 1u, 2u, 3u);
}

// The word of X that has the token at a position.
fn word_of(position: u32) -> u32 {
    return inputs[words + position / 2u];
}

// The target of an example.
fn target_of(row: u32) -> u32 {
    let word = inputs[words + Y + row / 2u];
    return (word >> (16u * (row % 2u))) & 0xffffu;
}

// How many uses the tokens before this one have: its own are listed from there on.
fn uses_before(token: u32) -> u32 {
    return inputs[words + USES + token];
}

// Where the embedding of a use begins in dembcat, counted in values.
fn place_of_use(u: u32) -> u32 {
    return inputs[words + USES + VOCAB + 1u + u];
}

// ---- one tile of each product ----

// Four rows of a parameter, four columns of each.
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

// What a tile needs of its left matrix: eight vec4, which all lanes of a group share.
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

// Eight rows of y = x @ W from `row` on, in the columns `col4`. The sum runs over `count` times four inputs,
// from 4 * first4 on.
fn forward_tile(
    x: Matrix, row: u32,
    W: Matrix, col4: u32,
    first4: u32, count: u32, lane: u32,
) -> Tile {
    let x_at = place(x, row, first4);
    let W_at = place(W, 4u * first4, col4);
    var t = Tile();
    for (var k = 0u; k < count; k++) {
        let right = rows_of_model(W_at + 4u * k * W.row4, W.row4);
        let left = eight_rows(x_at + k, x.row4, lane);
        t.s0 = linear_terms(t.s0, left.r0, right);
        t.s1 = linear_terms(t.s1, left.r1, right);
        t.s2 = linear_terms(t.s2, left.r2, right);
        t.s3 = linear_terms(t.s3, left.r3, right);
        t.s4 = linear_terms(t.s4, left.r4, right);
        t.s5 = linear_terms(t.s5, left.r5, right);
        t.s6 = linear_terms(t.s6, left.r6, right);
        t.s7 = linear_terms(t.s7, left.r7, right);
    }
    return t;
}

// Eight rows of dx = dy @ W.T from `row` on, in the columns `col4`. The sum runs over `count` times four
// outputs, from 4 * first4 on.
fn backward_input_tile(
    dy: Matrix, row: u32,
    W: Matrix, col4: u32,
    first4: u32, count: u32, lane: u32,
) -> Tile {
    let dy_at = place(dy, row, first4);
    let W_at = place(W, 4u * col4, first4);
    var t = Tile();
    for (var k = 0u; k < count; k++) {
        let right = transpose(rows_of_model(W_at + k, W.row4));
        let left = eight_rows(dy_at + k, dy.row4, lane);
        t.s0 = linear_terms(t.s0, left.r0, right);
        t.s1 = linear_terms(t.s1, left.r1, right);
        t.s2 = linear_terms(t.s2, left.r2, right);
        t.s3 = linear_terms(t.s3, left.r3, right);
        t.s4 = linear_terms(t.s4, left.r4, right);
        t.s5 = linear_terms(t.s5, left.r5, right);
        t.s6 = linear_terms(t.s6, left.r6, right);
        t.s7 = linear_terms(t.s7, left.r7, right);
    }
    return t;
}

// Eight rows of dW = x.T @ dy from `row` on, in the columns `col4`. The sum runs over all examples, four at a
// time; beyond the last one, x and dy are zero.
fn backward_weight_tile(x: Matrix, row: u32, dy: Matrix, col4: u32, lane: u32) -> Tile {
    let x_at = place(x, 0u, row / 4u);
    let dy_at = place(dy, 0u, col4);
    var t = Tile();
    for (var r = 0u; r < BATCH_TILES * TILE_ROWS; r += 4u) {
        let at = dy_at + r * dy.row4;
        let right = mat4x4<f32>(
            scratch[at],
            scratch[at + dy.row4],
            scratch[at + 2u * dy.row4],
            scratch[at + 3u * dy.row4],
        );
        // Eight columns of four rows: low and high half of each row.
        let left = four_pairs(x_at + r * x.row4, x.row4, lane);
        t.s0 = linear_terms(t.s0, vec4<f32>(left.r0.x, left.r2.x, left.r4.x, left.r6.x), right);
        t.s1 = linear_terms(t.s1, vec4<f32>(left.r0.y, left.r2.y, left.r4.y, left.r6.y), right);
        t.s2 = linear_terms(t.s2, vec4<f32>(left.r0.z, left.r2.z, left.r4.z, left.r6.z), right);
        t.s3 = linear_terms(t.s3, vec4<f32>(left.r0.w, left.r2.w, left.r4.w, left.r6.w), right);
        t.s4 = linear_terms(t.s4, vec4<f32>(left.r1.x, left.r3.x, left.r5.x, left.r7.x), right);
        t.s5 = linear_terms(t.s5, vec4<f32>(left.r1.y, left.r3.y, left.r5.y, left.r7.y), right);
        t.s6 = linear_terms(t.s6, vec4<f32>(left.r1.z, left.r3.z, left.r5.z, left.r7.z), right);
        t.s7 = linear_terms(t.s7, vec4<f32>(left.r1.w, left.r3.w, left.r5.w, left.r7.w), right);
    }
    return t;
}

fn store_tile(m: Matrix, row: u32, col4: u32, t: Tile) {
    let at = place(m, row, col4);
    scratch[at] = t.s0;
    scratch[at + m.row4] = t.s1;
    scratch[at + 2u * m.row4] = t.s2;
    scratch[at + 3u * m.row4] = t.s3;
    scratch[at + 4u * m.row4] = t.s4;
    scratch[at + 5u * m.row4] = t.s5;
    scratch[at + 6u * m.row4] = t.s6;
    scratch[at + 7u * m.row4] = t.s7;
}

fn update_tile(m: Matrix, row: u32, col4: u32, lr: f32, t: Tile) {
    let at = place(m, row, col4);
    update_at(at, lr, t.s0);
    update_at(at + m.row4, lr, t.s1);
    update_at(at + 2u * m.row4, lr, t.s2);
    update_at(at + 3u * m.row4, lr, t.s3);
    update_at(at + 4u * m.row4, lr, t.s4);
    update_at(at + 5u * m.row4, lr, t.s5);
    update_at(at + 6u * m.row4, lr, t.s6);
    update_at(at + 7u * m.row4, lr, t.s7);
}

// ---- the phases ----

// One element of C. Its index stands at the buffer, so that the other three of its vec4 are not loaded.
fn element_of_c(token: u32, e: u32) -> f32 {
    return models[place(c(), token, e / 4u)][e % 4u];
}

// Four elements of a row of embcat.
fn embedded(row: u32, col4: u32) -> vec4<f32> {
    let at = min(columns(col4), vec4<u32>(FAN_IN - 1u));
    let positions = (row * FAN_IN + at) / EMBD;
    let packed = vec4<u32>(
        word_of(positions.x),
        word_of(positions.y),
        word_of(positions.z),
        word_of(positions.w),
    );
    let tokens = embedding_token(packed, positions);
    let e = at % EMBD;
    let values = vec4<f32>(
        element_of_c(tokens.x, e.x),
        element_of_c(tokens.y, e.y),
        element_of_c(tokens.z, e.z),
        element_of_c(tokens.w, e.w),
    );
    return select(vec4<f32>(), values, columns(col4) < vec4<u32>(FAN_IN)); // the pad of embcat is zero
}

// embcat = C[Xb].view(n, -1)
fn embed(worker: u32) {
    for (var i = worker; i < BATCH * FAN_IN4; i += WORKERS) {
        store(embcat(), i / FAN_IN4, i % FAN_IN4, embedded(i / FAN_IN4, i % FAN_IN4));
    }
}

// hprebn = embcat @ W1 + b1
fn first_layer(group: u32, lane: u32) {
    for (var g = group; g < BATCH_TILES * HIDDEN_GROUPS; g += GROUPS) {
        let row = g / HIDDEN_GROUPS * TILE_ROWS;
        let col4 = g % HIDDEN_GROUPS * LANES + lane;
        // A lane beyond the last column is clamped to it, and stores nothing.
        let clamped = min(col4, HIDDEN4 - 1u);
        var t = forward_tile(embcat(), row, w1(), clamped, 0u, FAN_IN4, lane);
        let bias = parameter(b1(), 0u, clamped);
        t.s0 += bias;
        t.s1 += bias;
        t.s2 += bias;
        t.s3 += bias;
        t.s4 += bias;
        t.s5 += bias;
        t.s6 += bias;
        t.s7 += bias;
        if col4 < HIDDEN4 {
            store_tile(hprebn(), row, col4, t);
        }
    }
}

// Batch norm goes down the columns: item `i` of its work is a slice of the rows of four units.
struct Column {
    j: u32,     // the units, counted in vec4
    slice: u32, // of the rows, which are these
    first: u32,
    end: u32,
}

fn column_of(i: u32) -> Column {
    let slice = i / HIDDEN4;
    let first = slice * SLICE_ROWS;
    return Column(i % HIDDEN4, slice, first, not_unrolled(min(first + SLICE_ROWS, BATCH)));
}

// Batch norm's sums, which are kept by slices, and the total of one for four units.
const SUM_HPREBN = 0u;
const SUM_BNDIFF2 = 1u;
const DBNBIAS = 0u;
const DBNGAIN = 1u;
const DB1 = 2u;

fn store_partial(sum: u32, column: Column, value: vec4<f32>) {
    store(partials(), sum * ROW_SLICES + column.slice, column.j, value);
}

fn total(sum: u32, j: u32) -> vec4<f32> {
    var total = vec4<f32>();
    for (var s = 0u; s < ROW_SLICES; s++) {
        total += load(partials(), sum * ROW_SLICES + s, j);
    }
    return total;
}

// hprebn.sum(0), in slices
fn sum_hprebn(worker: u32) {
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        var sum = vec4<f32>();
        for (var r = column.first; r < column.end; r++) {
            sum += load(hprebn(), r, column.j);
        }
        store_partial(SUM_HPREBN, column, sum);
    }
}

// bnmeani, and bndiff2.sum(0) in slices
fn sum_bndiff2(worker: u32) {
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        let mean = total(SUM_HPREBN, column.j) / f32(BATCH);
        var sum = vec4<f32>();
        for (var r = column.first; r < column.end; r++) {
            let bndiff = load(hprebn(), r, column.j) - mean;
            sum += bndiff * bndiff;
        }
        store_partial(SUM_BNDIFF2, column, sum);
        if column.slice == 0u {
            store(bnmean(), 0u, column.j, mean);
        }
    }
}

// bnraw at one place. It is computed where it is needed, and not stored.
fn bnraw(row: u32, j: u32, mean: vec4<f32>, var_inv: vec4<f32>) -> vec4<f32> {
    return batchnorm_normalize(load(hprebn(), row, j), mean, var_inv);
}

// bnvar_inv, and h = tanh(hpreact)
fn normalize(worker: u32) {
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        let j = column.j;
        let mean = load(bnmean(), 0u, j);
        let bnvar = batchnorm_variance(total(SUM_BNDIFF2, j), f32(BATCH));
        let var_inv = batchnorm_var_inv(bnvar);
        if column.slice == 0u {
            store(bnvar_inv(), 0u, j, var_inv);
        }
        let gain = parameter(bngain(), 0u, j);
        let bias = parameter(bnbias(), 0u, j);
        for (var r = column.first; r < column.end; r++) {
            let hpreact = batchnorm_scale(gain, bnraw(r, j, mean, var_inv), bias);
            store(h(), r, j, tanh_forward(hpreact));
        }
    }
}

// logits = h @ W2, in slices
fn second_layer(group: u32, lane: u32) {
    for (var g = group; g < BATCH_TILES * VOCAB_GROUPS * SLICES; g += GROUPS) {
        let slice = g / (BATCH_TILES * VOCAB_GROUPS);
        let row = g % (BATCH_TILES * VOCAB_GROUPS) / VOCAB_GROUPS * TILE_ROWS;
        let col4 = g % VOCAB_GROUPS * LANES + lane;
        let first4 = slice * SLICE4;
        let count = min(SLICE4, HIDDEN4 - first4);
        let t = forward_tile(h(), row, w2(), min(col4, VOCAB4 - 1u), first4, count, lane);
        if col4 < VOCAB4 {
            store_tile(logits(), row_of_slice(slice, row), col4, t);
        }
    }
}

// Where a row of a slice of logits or of dembcat lies: whole tiles of one slice, then those of the next.
fn row_of_slice(slice: u32, row: u32) -> u32 {
    return slice * BATCH_TILES * TILE_ROWS + row;
}

// Logits: the sum of their slices, + b2. They replace the first slice. Padding is set far below any logit, so
// that it affects neither the maximum nor the sum of counts.
fn add_slices(worker: u32) {
    for (var i = worker; i < BATCH * VOCAB4; i += WORKERS) {
        let row = i / VOCAB4;
        let v4 = i % VOCAB4;
        var sum = parameter(b2(), 0u, v4);
        for (var s = 0u; s < SLICES; s++) {
            sum += load(logits(), row_of_slice(s, row), v4);
        }
        let is_logit = columns(v4) < vec4<u32>(VOCAB);
        store(logits(), row, v4, select(vec4<f32>(-3.4e38), sum, is_logit));
    }
}

// The loss of each example, and dlogits
fn loss(worker: u32) {
    for (var i = worker; i < BATCH * ROW_WORKERS; i += WORKERS) {
        let row = i / ROW_WORKERS;
        let y = target_of(row);
        var maxes = vec4<f32>(-3.4e38);
        for (var v = 0u; v < not_unrolled(VOCAB4); v++) {
            maxes = max(maxes, load(logits(), row, v));
        }
        let logit_max = max(max(maxes.x, maxes.y), max(maxes.z, maxes.w));
        var sums = vec4<f32>();
        for (var v = 0u; v < not_unrolled(VOCAB4); v++) {
            sums += exp(load(logits(), row, v) - logit_max);
        }
        let counts_sum = (sums.x + sums.y) + (sums.z + sums.w);
        if i % ROW_WORKERS == 0u {
            let norm_logit = load(logits(), row, y / 4u)[y % 4u] - logit_max;
            results[losses + row] = bitcast<u32>(cross_entropy_loss(norm_logit, counts_sum));
        }
        for (var v = i % ROW_WORKERS; v < not_unrolled(VOCAB4); v += ROW_WORKERS) {
            let probs = exp(load(logits(), row, v) - logit_max) / counts_sum;
            let is_target = columns(v) == vec4<u32>(y);
            store(dlogits(), row, v, softmax_cross_entropy_backward(probs, is_target, f32(BATCH)));
        }
    }
}

// dh = dlogits @ W2.T; dhpreact = (1.0 - h**2) * dh
fn through_second_layer(group: u32, lane: u32) {
    for (var g = group; g < BATCH_TILES * HIDDEN_GROUPS; g += GROUPS) {
        let row = g / HIDDEN_GROUPS * TILE_ROWS;
        let col4 = g % HIDDEN_GROUPS * LANES + lane;
        let clamped = min(col4, HIDDEN4 - 1u);
        var t = backward_input_tile(dlogits(), row, w2(), clamped, 0u, VOCAB4, lane);
        if col4 < HIDDEN4 {
            t.s0 = tanh_backward(t.s0, load(h(), row, col4));
            t.s1 = tanh_backward(t.s1, load(h(), row + 1u, col4));
            t.s2 = tanh_backward(t.s2, load(h(), row + 2u, col4));
            t.s3 = tanh_backward(t.s3, load(h(), row + 3u, col4));
            t.s4 = tanh_backward(t.s4, load(h(), row + 4u, col4));
            t.s5 = tanh_backward(t.s5, load(h(), row + 5u, col4));
            t.s6 = tanh_backward(t.s6, load(h(), row + 6u, col4));
            t.s7 = tanh_backward(t.s7, load(h(), row + 7u, col4));
            store_tile(dhpreact(), row, col4, t);
        }
    }
}

// dbnbias and dbngain, in slices
fn sum_dhpreact(worker: u32) {
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        let j = column.j;
        let mean = load(bnmean(), 0u, j);
        let var_inv = load(bnvar_inv(), 0u, j);
        var dbnbias = vec4<f32>();
        var dbngain = vec4<f32>();
        for (var r = column.first; r < column.end; r++) {
            let d = load(dhpreact(), r, j);
            dbnbias += d;
            dbngain += d * bnraw(r, j, mean, var_inv);
        }
        store_partial(DBNBIAS, column, dbnbias);
        store_partial(DBNGAIN, column, dbngain);
    }
}

// dhprebn, and db1 in slices
fn through_batchnorm(worker: u32) {
    for (var i = worker; i < HIDDEN4 * ROW_SLICES; i += WORKERS) {
        let column = column_of(i);
        let j = column.j;
        let mean = load(bnmean(), 0u, j);
        let var_inv = load(bnvar_inv(), 0u, j);
        let dbnbias = total(DBNBIAS, j);
        let dbngain = total(DBNGAIN, j);
        let gain = parameter(bngain(), 0u, j);
        var db1 = vec4<f32>();
        for (var r = column.first; r < column.end; r++) {
            let d = load(dhpreact(), r, j);
            let raw = bnraw(r, j, mean, var_inv);
            let dx = batchnorm_backward(gain, var_inv, f32(BATCH), d, dbnbias, raw, dbngain);
            store(dhprebn(), r, j, dx);
            db1 += dx;
        }
        store_partial(DB1, column, db1);
    }
}

// The updates of bngain, bnbias and b1
fn update_batchnorm(lr: f32, worker: u32) {
    for (var j = worker; j < HIDDEN4; j += WORKERS) {
        update(bnbias(), 0u, j, lr, total(DBNBIAS, j));
        update(bngain(), 0u, j, lr, total(DBNGAIN, j));
        update(b1(), 0u, j, lr, total(DB1, j));
    }
}

// dW2 = h.T @ dlogits and, by the first row of tiles, db2 = dlogits.sum(0), with their updates
fn update_second_layer(lr: f32, group: u32, lane: u32) {
    for (var g = group; g < HIDDEN_TILES * VOCAB_GROUPS; g += GROUPS) {
        let row = g / VOCAB_GROUPS * TILE_ROWS;
        let col4 = g % VOCAB_GROUPS * LANES + lane;
        let t = backward_weight_tile(h(), row, dlogits(), min(col4, VOCAB4 - 1u), lane);
        if col4 < VOCAB4 {
            update_tile(w2(), row, col4, lr, t);
            if row == 0u {
                var db2 = vec4<f32>();
                for (var r = 0u; r < BATCH; r++) {
                    db2 += load(dlogits(), r, col4);
                }
                update(b2(), 0u, col4, lr, db2);
            }
        }
    }
}

// dembcat = dhprebn @ W1.T, in slices
fn through_first_layer(group: u32, lane: u32) {
    for (var g = group; g < BATCH_TILES * FAN_IN_GROUPS * SLICES; g += GROUPS) {
        let slice = g / (BATCH_TILES * FAN_IN_GROUPS);
        let row = g % (BATCH_TILES * FAN_IN_GROUPS) / FAN_IN_GROUPS * TILE_ROWS;
        let col4 = g % FAN_IN_GROUPS * LANES + lane;
        let first4 = slice * SLICE4;
        let count = min(SLICE4, HIDDEN4 - first4);
        let clamped = min(col4, FAN_IN4 - 1u);
        let t = backward_input_tile(dhprebn(), row, w1(), clamped, first4, count, lane);
        if col4 < FAN_IN4 {
            store_tile(dembcat(), row_of_slice(slice, row), col4, t);
        }
    }
}

// dembcat: the sum of its slices, which replaces the first one
fn add_dembcat(worker: u32) {
    for (var i = worker; i < BATCH * FAN_IN4; i += WORKERS) {
        let row = i / FAN_IN4;
        let col4 = i % FAN_IN4;
        var sum = load(dembcat(), row, col4);
        for (var s = 1u; s < SLICES; s++) {
            sum += load(dembcat(), row_of_slice(s, row), col4);
        }
        store(dembcat(), row, col4, sum);
    }
}

// dW1 = embcat.T @ dhprebn and its update
fn update_first_layer(lr: f32, group: u32, lane: u32) {
    for (var g = group; g < FAN_IN_TILES * HIDDEN_GROUPS; g += GROUPS) {
        let row = g / HIDDEN_GROUPS * TILE_ROWS;
        let col4 = g % HIDDEN_GROUPS * LANES + lane;
        let t = backward_weight_tile(embcat(), row, dhprebn(), min(col4, HIDDEN4 - 1u), lane);
        if col4 < HIDDEN4 {
            update_tile(w1(), row, col4, lr, t);
        }
    }
}

// One element of dembcat, by its place in the whole of it; like one of C, loaded alone.
fn demb(i: u32) -> f32 {
    return scratch[place(dembcat(), 0u, i / 4u)][i % 4u];
}

// dC[v, e] = sum of demb[p, e] over the uses p of token v, and its update: four e at a time
fn update_embedding(lr: f32, worker: u32) {
    for (var i = worker; i < VOCAB * EMBD4; i += WORKERS) {
        let token = i / EMBD4;
        let e = columns(i % EMBD4);
        var dC = vec4<f32>();
        let end = uses_before(token + 1u);
        for (var u = uses_before(token); u < end; u++) {
            let at = place_of_use(u) + e;
            dC += vec4<f32>(demb(at.x), demb(at.y), demb(at.z), demb(at.w));
        }
        // Beyond the end of an embedding, demb has read what follows it.
        let is_embedding = e < vec4<u32>(EMBD);
        update(c(), token, i % EMBD4, lr, select(vec4<f32>(), dC, is_embedding));
    }
}

// The first step of this dispatch, where the previous one ended, and the end of its range.
fn steps_of_dispatch(model_index: u32) -> vec2<u32> {
    let first = results[model_index * WORKERS];
    return vec2<u32>(first, min(first + STEPS, inputs[0]));
}

fn train(model_index: u32, worker: u32, group: u32, lane: u32, steps: vec2<u32>) {
    model = model_index * MODEL4;
    acts = model_index * SCRATCH4;
    let first_step = model_index * inputs[0];
    var done = steps.x;
    for (var step = steps.x; step < steps.y; step++) {
        words = FIRST_STEP + (first_step + step) * STEP_WORDS;
        losses = LOSSES + (first_step + step) * BATCH;
        let lr = bitcast<f32>(inputs[words + LR]);
        embed(worker);
        phase_ends();
        first_layer(group, lane);
        phase_ends();
        sum_hprebn(worker);
        phase_ends();
        sum_bndiff2(worker);
        phase_ends();
        normalize(worker);
        phase_ends();
        second_layer(group, lane);
        phase_ends();
        add_slices(worker);
        phase_ends();
        loss(worker);
        phase_ends();
        through_second_layer(group, lane);
        phase_ends();
        sum_dhpreact(worker);
        phase_ends();
        // These need the sums or dlogits, and no parameter that the other one changes. Batch norm's work goes
        // to the first invocations, so the second layer's starts at the last ones.
        through_batchnorm(worker);
        update_second_layer(lr, GROUPS - 1u - group, lane);
        phase_ends();
        through_first_layer(group, lane);
        phase_ends();
        if SLICES > 1u {
            add_dembcat(worker);
            phase_ends();
        }
        // None of these reads what another one changes.
        update_first_layer(lr, group, lane);
        update_embedding(lr, WORKERS - 1u - worker);
        update_batchnorm(lr, WORKERS - 1u - worker);
        phase_ends();
        done += 1u;
    }
    // Some drivers stop every loop of an invocation after a number of iterations, and report nothing. Then
    // the steps counted here are too few; or, if it happened in the last step, this loop stops after one
    // iteration. The host accepts a chunk only if every invocation has counted all of it.
    var rounds = 0u;
    for (var i = 0u; i < inputs[1]; i++) {
        rounds += 1u;
    }
    results[model_index * WORKERS + worker] = select(0u, done, rounds == 2u);
}
