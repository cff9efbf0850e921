// Launches of batch norm, forward with the tanh that follows it. Formulas and derivation: batchnorm.wgsl,
// tanh.wgsl.
//
// One invocation owns four neighbouring hidden units and walks down their columns, or a slice of the
// rows. Neighbouring invocations read neighbouring addresses. A row counts as often as it has examples.

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

var<workgroup> partial: array<vec4<f32>, 256>; // INVOCATIONS at most

// The sum of the slices of an invocation's columns: halves are added to halves. Every slice has it.
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

// The walk of an invocation: some of the rows of some columns. Beyond the last column it has no rows.
struct Walk {
    j: u32,     // its columns, counted in vectors
    first: u32, // its first row, and number of its slice
    end: u32,
}

fn walk_of(group: vec3<u32>, lane: u32) -> Walk {
    let columns = INVOCATIONS / SLICES;
    let j = group.x * columns + lane % columns;
    return Walk(j, lane / columns, select(0u, shape.rows, j < vectors(shape.hidden)));
}

// How often four rows count.
fn examples4(walk: Walk, r: u32) -> vec4<f32> {
    let rows = four_rows(r, walk.end);
    let times = vec4<f32>(examples[rows.x], examples[rows.y], examples[rows.z], examples[rows.w]);
    return times * are_there(r, walk.end);
}

// bnraw and h of one row, at a place.
fn normalize_at(i: u32, mean: vec4<f32>, inv: vec4<f32>, gain: vec4<f32>, bias: vec4<f32>) {
    let raw = batchnorm_normalize(hprebn[i], mean, inv);
    bnraw[i] = raw;
    h[i] = tanh_forward(batchnorm_scale(gain, raw, bias));
}

// bnraw and h, with the statistics of this minibatch.
@compute @workgroup_size(INVOCATIONS)
fn batchnorm_tanh_forward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let walk = walk_of(group, lane);
    let j = walk.j;
    let hidden = vectors(shape.hidden);
    let n = f32(shape.examples);
    var sum = vec4<f32>();
    for (var r = walk.first; r < walk.end; r += 4u * SLICES) {
        let i = four_rows(r, walk.end) * hidden + j;
        let times = examples4(walk, r);
        sum += times.x * hprebn[i.x] + times.y * hprebn[i.y];
        sum += times.z * hprebn[i.z] + times.w * hprebn[i.w];
    }
    let bnmean = sum_of_slices(sum, lane) / n;
    var sum_bndiff2 = vec4<f32>();
    for (var r = walk.first; r < walk.end; r += 4u * SLICES) {
        let i = four_rows(r, walk.end) * hidden + j;
        let times = examples4(walk, r);
        let first = hprebn[i.x] - bnmean;
        let second = hprebn[i.y] - bnmean;
        let third = hprebn[i.z] - bnmean;
        let fourth = hprebn[i.w] - bnmean;
        sum_bndiff2 += times.x * first * first + times.y * second * second;
        sum_bndiff2 += times.z * third * third + times.w * fourth * fourth;
    }
    let bnvar = batchnorm_variance(sum_of_slices(sum_bndiff2, lane), n);
    let bnvar_inv = batchnorm_var_inv(bnvar);
    if walk.first == 0u && j < hidden {
        bnstats[j] = bnmean;
        bnstats[hidden + j] = bnvar;
        bnstats[2u * hidden + j] = bnvar_inv;
    }
    let gain = bngain[j];
    let bias = bnbias[j];
    for (var r = walk.first; r < walk.end; r += 4u * SLICES) {
        // Beyond the last row there is no place of its own to store to.
        let i = next_rows(r) * hidden + j;
        let is_there = next_rows(r) < vec4<u32>(walk.end);
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

// dbngain = (bnraw*dhpreact).sum(0), dbnbias = dhpreact.sum(0), and dhprebn from both. A row of dhpreact
// is the sum over its examples already; what batch norm takes off each of them, it takes off the row so
// many times.
@compute @workgroup_size(INVOCATIONS)
fn batchnorm_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let walk = walk_of(group, lane);
    let j = walk.j;
    let hidden = vectors(shape.hidden);
    var sum = vec4<f32>();
    var sum_bnraw = vec4<f32>();
    for (var r = walk.first; r < walk.end; r += 4u * SLICES) {
        let i = four_rows(r, walk.end) * hidden + j;
        let there = are_there(r, walk.end);
        let first = there.x * dhpreact[i.x];
        let second = there.y * dhpreact[i.y];
        let third = there.z * dhpreact[i.z];
        let fourth = there.w * dhpreact[i.w];
        sum += (first + second) + (third + fourth);
        sum_bnraw += first * bnraw[i.x] + second * bnraw[i.y];
        sum_bnraw += third * bnraw[i.z] + fourth * bnraw[i.w];
    }
    let sum_dhpreact = sum_of_slices(sum, lane);
    let sum_dhpreact_bnraw = sum_of_slices(sum_bnraw, lane);
    if walk.first == 0u && j < hidden {
        dbngain[j] = sum_dhpreact_bnraw;
        dbnbias[j] = sum_dhpreact;
    }
    let n = f32(shape.examples);
    let gain = bngain[j];
    let bnvar_inv = bnstats[2u * hidden + j];
    for (var r = walk.first; r < walk.end; r += SLICES) {
        let i = r * hidden + j;
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
