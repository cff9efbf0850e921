// Launches of batch norm, forward with the tanh that follows it. Formulas and derivation: batchnorm.wgsl,
// tanh.wgsl.
//
// The textbook's kernel, with one invocation per hidden unit j, which walks down the unit's column three
// times:
//
//   bnmean    = sum over r of hprebn[r, j] / n
//   bnvar     = sum over r of (hprebn[r, j] - bnmean)**2 / (n - 1)
//   bnvar_inv = 1 / sqrt(bnvar + 1e-5)
//   for every row r:
//       bnraw[r, j] = (hprebn[r, j] - bnmean) * bnvar_inv
//       h[r, j]     = tanh(bngain[j] * bnraw[r, j] + bnbias[j])
//
// The first kernel below has these lines. Three things come on top, all of them in how a column is walked and
// summed:
//
//   vectors  A column is four neighbouring units wide, so that one load brings four values. Neighbouring
//            invocations read neighbouring addresses.
//   slices   200 hidden units would keep only 50 invocations busy. So SLICES invocations share a column: each
//            takes every SLICES-th row, four of its rows at a time to hide the load latency, and their partial
//            sums meet in workgroup memory. The textbook has SLICES = 1.
//   weights  A row is a context, which stands for `examples[row]` examples (see shape.wgsl). It counts that
//            many times in the mean and the variance, and the backward pass subtracts the two sums that many
//            times from its row. The textbook has one example per row.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> hprebn: array<vec4<f32>>;         // (rows, hidden)
@group(0) @binding(2) var<storage, read> bngain: array<vec4<f32>>;         // (1, hidden)
@group(0) @binding(3) var<storage, read> bnbias: array<vec4<f32>>;         // (1, hidden)
@group(0) @binding(4) var<storage, read_write> bnstats: array<vec4<f32>>;  // (3, hidden): bnmean, bnvar, bnvar_inv
@group(0) @binding(5) var<storage, read_write> bnraw: array<vec4<f32>>;    // (rows, hidden)
@group(0) @binding(6) var<storage, read_write> h: array<vec4<f32>>;        // (rows, hidden)
@group(0) @binding(7) var<storage, read> dhpreact: array<vec4<f32>>;       // (rows, hidden)
@group(0) @binding(8) var<storage, read_write> dbngain: array<vec4<f32>>;  // (1, hidden)
@group(0) @binding(9) var<storage, read_write> dbnbias: array<vec4<f32>>;  // (1, hidden)
@group(0) @binding(10) var<storage, read_write> dhprebn: array<vec4<f32>>; // (rows, hidden)
@group(0) @binding(11) var<storage, read> examples: array<f32>;            // (rows): that have the row's context

// Invocations of a workgroup that adds up columns.
override INVOCATIONS: u32 = 64u;

// ---- the kernels ----

// bnraw and h, with the statistics of this minibatch.
@compute @workgroup_size(INVOCATIONS)
fn batchnorm_tanh_forward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = column_of(group, lane);
    let bnmean = mean_of_column(column, lane);
    let bnvar = variance_of_column(column, lane, bnmean);
    let bnvar_inv = batchnorm_var_inv(bnvar);
    if is_stored_by(column) {
        bnstats[column.j] = bnmean;
        bnstats[vectors(shape.hidden) + column.j] = bnvar;
        bnstats[2u * vectors(shape.hidden) + column.j] = bnvar_inv;
    }
    normalize_scale_tanh(column, bnmean, bnvar_inv);
}

// h with fixed statistics, as the trained model is used. One invocation, four values.
@compute @workgroup_size(64)
fn batchnorm_tanh_inference_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    let hidden = vectors(shape.hidden);
    if i >= shape.rows * hidden {
        return;
    }
    let j = i % hidden;
    let raw = batchnorm_normalize(hprebn[i], bnstats[j], batchnorm_var_inv(bnstats[hidden + j]));
    h[i] = tanh_forward(batchnorm_scale(bngain[j], raw, bnbias[j]));
}

// dbngain = (bnraw*dhpreact).sum(0), dbnbias = dhpreact.sum(0), and dhprebn from both.
@compute @workgroup_size(INVOCATIONS)
fn batchnorm_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = column_of(group, lane);
    let sums = sums_of_dhpreact(column);
    let sum_dhpreact = sum_of_slices(sums.dhpreact, lane);
    let sum_dhpreact_bnraw = sum_of_slices(sums.dhpreact_bnraw, lane);
    if is_stored_by(column) {
        dbngain[column.j] = sum_dhpreact_bnraw;
        dbnbias[column.j] = sum_dhpreact;
    }
    let n = f32(shape.examples);
    let gain = bngain[column.j];
    let bnvar_inv = bnstats[2u * vectors(shape.hidden) + column.j];
    for (var r = column.first; r < column.end; r += SLICES) {
        let i = r * vectors(shape.hidden) + column.j;
        dhprebn[i] = batchnorm_backward(
            gain,
            bnvar_inv,
            n,
            dhpreact[i],
            examples[r] * sum_dhpreact,
            bnraw[i],
            examples[r] * sum_dhpreact_bnraw,
        );
    }
}

// ---- columns, in slices ----

// What an invocation walks down: every SLICES-th row of four neighbouring units.
struct Column {
    j: u32,     // the units, counted in vectors
    first: u32, // the first row, which is also the number of the slice
    end: u32,   // the rows end here; 0 beyond the last unit, where there is nothing to walk
}

fn column_of(group: vec3<u32>, lane: u32) -> Column {
    let columns = INVOCATIONS / SLICES;
    let j = group.x * columns + lane % columns;
    return Column(j, lane / columns, select(0u, shape.rows, j < vectors(shape.hidden)));
}

// Whether this invocation stores what its column has once: its first slice does.
fn is_stored_by(column: Column) -> bool {
    return column.first == 0u && column.j < vectors(shape.hidden);
}

var<workgroup> partial: array<vec4<f32>, 256>; // INVOCATIONS at most

// The sum of the slices of a column, in every one of them: halves are added to halves.
fn sum_of_slices(value: vec4<f32>, lane: u32) -> vec4<f32> {
    if SLICES == 1u {
        return value;
    }
    workgroupBarrier(); // the sum before this one has been read
    partial[lane] = value;
    workgroupBarrier();
    let columns = INVOCATIONS / SLICES;
    for (var half = SLICES / 2u; half > 0u; half /= 2u) {
        if lane < half * columns {
            partial[lane] += partial[lane + half * columns];
        }
        workgroupBarrier();
    }
    return partial[lane % columns];
}

// How many examples each of four rows counts for in a sum: none beyond the last row.
fn weights_of(column: Column, r: u32) -> vec4<f32> {
    let rows = four_rows(r, column.end);
    let weights = vec4<f32>(examples[rows.x], examples[rows.y], examples[rows.z], examples[rows.w]);
    return weights * are_there(r, column.end);
}

// bnmean = 1/n * hprebn.sum(0)
fn mean_of_column(column: Column, lane: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var r = column.first; r < column.end; r += 4u * SLICES) {
        let i = four_rows(r, column.end) * vectors(shape.hidden) + column.j;
        let weights = weights_of(column, r);
        sum += weights.x * hprebn[i.x] + weights.y * hprebn[i.y];
        sum += weights.z * hprebn[i.z] + weights.w * hprebn[i.w];
    }
    return sum_of_slices(sum, lane) / f32(shape.examples);
}

// bnvar = 1/(n-1) * (bndiff**2).sum(0)
fn variance_of_column(column: Column, lane: u32, bnmean: vec4<f32>) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var r = column.first; r < column.end; r += 4u * SLICES) {
        let i = four_rows(r, column.end) * vectors(shape.hidden) + column.j;
        let weights = weights_of(column, r);
        let first = hprebn[i.x] - bnmean;
        let second = hprebn[i.y] - bnmean;
        let third = hprebn[i.z] - bnmean;
        let fourth = hprebn[i.w] - bnmean;
        sum += weights.x * first * first + weights.y * second * second;
        sum += weights.z * third * third + weights.w * fourth * fourth;
    }
    return batchnorm_variance(sum_of_slices(sum, lane), f32(shape.examples));
}

// bnraw and h of every row of the slice. Rows beyond the last are not clamped here: nothing is stored for
// them.
fn normalize_scale_tanh(column: Column, bnmean: vec4<f32>, bnvar_inv: vec4<f32>) {
    let gain = bngain[column.j];
    let bias = bnbias[column.j];
    for (var r = column.first; r < column.end; r += 4u * SLICES) {
        let i = next_rows(r) * vectors(shape.hidden) + column.j;
        let is_there = next_rows(r) < vec4<u32>(column.end);
        normalize_at(i.x, bnmean, bnvar_inv, gain, bias);
        if is_there.y {
            normalize_at(i.y, bnmean, bnvar_inv, gain, bias);
        }
        if is_there.z {
            normalize_at(i.z, bnmean, bnvar_inv, gain, bias);
        }
        if is_there.w {
            normalize_at(i.w, bnmean, bnvar_inv, gain, bias);
        }
    }
}

// bnraw and h at one place
fn normalize_at(i: u32, mean: vec4<f32>, inv: vec4<f32>, gain: vec4<f32>, bias: vec4<f32>) {
    let raw = batchnorm_normalize(hprebn[i], mean, inv);
    bnraw[i] = raw;
    h[i] = tanh_forward(batchnorm_scale(gain, raw, bias));
}

// The two sums of the backward pass over the rows of a slice. A row of dhpreact is already the sum over its
// examples.
struct Sums {
    dhpreact: vec4<f32>,
    dhpreact_bnraw: vec4<f32>,
}

fn sums_of_dhpreact(column: Column) -> Sums {
    var sums = Sums();
    for (var r = column.first; r < column.end; r += 4u * SLICES) {
        let i = four_rows(r, column.end) * vectors(shape.hidden) + column.j;
        let there = are_there(r, column.end);
        let first = there.x * dhpreact[i.x];
        let second = there.y * dhpreact[i.y];
        let third = there.z * dhpreact[i.z];
        let fourth = there.w * dhpreact[i.w];
        sums.dhpreact += (first + second) + (third + fourth);
        sums.dhpreact_bnraw += first * bnraw[i.x] + second * bnraw[i.y];
        sums.dhpreact_bnraw += third * bnraw[i.z] + fourth * bnraw[i.w];
    }
    return sums;
}
