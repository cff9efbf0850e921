// Launches of batch norm and of the tanh that follows it. Formulas and derivation: batchnorm.wgsl,
// tanh.wgsl.
//
// One invocation owns four neighbouring hidden units and walks down their columns, or a slice of the
// rows. Neighbouring invocations read neighbouring addresses.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> hprebn: array<vec4<f32>>;         // (batch, hidden)
@group(0) @binding(2) var<storage, read> bngain: array<vec4<f32>>;         // (1, hidden)
@group(0) @binding(3) var<storage, read> bnbias: array<vec4<f32>>;         // (1, hidden)
@group(0) @binding(4) var<storage, read_write> bnstats: array<vec4<f32>>;  // (3, hidden): bnmean, bnvar, bnvar_inv
@group(0) @binding(5) var<storage, read_write> bnraw: array<vec4<f32>>;    // (batch, hidden)
@group(0) @binding(6) var<storage, read_write> h: array<vec4<f32>>;        // (batch, hidden)
@group(0) @binding(7) var<storage, read> dh: array<vec4<f32>>;             // (batch, hidden)
@group(0) @binding(8) var<storage, read_write> dbngain: array<vec4<f32>>;  // (1, hidden)
@group(0) @binding(9) var<storage, read_write> dbnbias: array<vec4<f32>>;  // (1, hidden)
@group(0) @binding(10) var<storage, read_write> dhprebn: array<vec4<f32>>; // (batch, hidden)

// ---- the formulas, for four units at once ----

fn variance4(sum_bndiff2: vec4<f32>, n: f32) -> vec4<f32> {
    let s = sum_bndiff2;
    return vec4<f32>(
        batchnorm_variance(s.x, n),
        batchnorm_variance(s.y, n),
        batchnorm_variance(s.z, n),
        batchnorm_variance(s.w, n),
    );
}

fn var_inv4(bnvar: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        batchnorm_var_inv(bnvar.x),
        batchnorm_var_inv(bnvar.y),
        batchnorm_var_inv(bnvar.z),
        batchnorm_var_inv(bnvar.w),
    );
}

fn normalize4(x: vec4<f32>, mean: vec4<f32>, inv: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        batchnorm_normalize(x.x, mean.x, inv.x),
        batchnorm_normalize(x.y, mean.y, inv.y),
        batchnorm_normalize(x.z, mean.z, inv.z),
        batchnorm_normalize(x.w, mean.w, inv.w),
    );
}

// h of bnraw: hpreact is on the way, and nothing else needs it.
fn scale_tanh4(gain: vec4<f32>, raw: vec4<f32>, bias: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        tanh_forward(batchnorm_scale(gain.x, raw.x, bias.x)),
        tanh_forward(batchnorm_scale(gain.y, raw.y, bias.y)),
        tanh_forward(batchnorm_scale(gain.z, raw.z, bias.z)),
        tanh_forward(batchnorm_scale(gain.w, raw.w, bias.w)),
    );
}

// dhpreact of dh
fn tanh_backward4(dh: vec4<f32>, h: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        tanh_backward(dh.x, h.x),
        tanh_backward(dh.y, h.y),
        tanh_backward(dh.z, h.z),
        tanh_backward(dh.w, h.w),
    );
}

fn batchnorm_backward4(
    gain: vec4<f32>,
    inv: vec4<f32>,
    n: f32,
    d: vec4<f32>,
    sum_d: vec4<f32>,
    raw: vec4<f32>,
    sum_d_raw: vec4<f32>,
) -> vec4<f32> {
    return vec4<f32>(
        batchnorm_backward(gain.x, inv.x, n, d.x, sum_d.x, raw.x, sum_d_raw.x),
        batchnorm_backward(gain.y, inv.y, n, d.y, sum_d.y, raw.y, sum_d_raw.y),
        batchnorm_backward(gain.z, inv.z, n, d.z, sum_d.z, raw.z, sum_d_raw.z),
        batchnorm_backward(gain.w, inv.w, n, d.w, sum_d.w, raw.w, sum_d_raw.w),
    );
}

// ---- the launches ----

var<workgroup> partial: array<vec4<f32>, 64>;

// The sum of the slices of an invocation's columns, in their order. Every slice has it.
fn sum_of_slices(value: vec4<f32>, lane: u32) -> vec4<f32> {
    if SLICES == 1u {
        return value;
    }
    workgroupBarrier(); // the sum before this one has been read
    partial[lane] = value;
    workgroupBarrier();
    let columns = 64u / SLICES;
    var sum = vec4<f32>();
    for (var i = lane % columns; i < 64u; i += columns) {
        sum += partial[i];
    }
    return sum;
}

// Where the walk of an invocation begins, goes on and ends. Beyond the last column it has no rows.
struct Walk {
    j: u32, // its columns, counted in vectors
    first: u32,
    stride: u32,
    end: u32,
}

fn walk_of(group: vec3<u32>, lane: u32) -> Walk {
    let columns = 64u / SLICES;
    let hidden = vectors(shape.hidden);
    let j = group.x * columns + lane % columns;
    let end = select(0u, shape.batch * hidden, j < hidden);
    return Walk(j, lane / columns * hidden + j, SLICES * hidden, end);
}

// bnraw and h, with the statistics of this minibatch.
@compute @workgroup_size(64)
fn batchnorm_tanh_forward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let walk = walk_of(group, lane);
    let j = walk.j;
    let n = f32(shape.batch);
    var sum = vec4<f32>();
    for (var i = walk.first; i < walk.end; i += walk.stride) {
        sum += hprebn[i];
    }
    let bnmean = sum_of_slices(sum, lane) / n;
    var sum_bndiff2 = vec4<f32>();
    for (var i = walk.first; i < walk.end; i += walk.stride) {
        let bndiff = hprebn[i] - bnmean;
        sum_bndiff2 += bndiff * bndiff;
    }
    let bnvar = variance4(sum_of_slices(sum_bndiff2, lane), n);
    let bnvar_inv = var_inv4(bnvar);
    let hidden = vectors(shape.hidden);
    if walk.first == j && j < hidden {
        bnstats[j] = bnmean;
        bnstats[hidden + j] = bnvar;
        bnstats[2u * hidden + j] = bnvar_inv;
    }
    let gain = bngain[j];
    let bias = bnbias[j];
    for (var i = walk.first; i < walk.end; i += walk.stride) {
        let raw = normalize4(hprebn[i], bnmean, bnvar_inv);
        bnraw[i] = raw;
        h[i] = scale_tanh4(gain, raw, bias);
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
    if i >= shape.batch * hidden {
        return;
    }
    let j = i % hidden;
    let raw = normalize4(hprebn[i], bnstats[j], var_inv4(bnstats[hidden + j]));
    h[i] = scale_tanh4(bngain[j], raw, bnbias[j]);
}

// dbngain = (bnraw*dhpreact).sum(0), dbnbias = dhpreact.sum(0), and dhprebn from both.
@compute @workgroup_size(64)
fn batchnorm_tanh_backward_kernel(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let walk = walk_of(group, lane);
    let j = walk.j;
    var sum = vec4<f32>();
    var sum_bnraw = vec4<f32>();
    for (var i = walk.first; i < walk.end; i += walk.stride) {
        let dhpreact = tanh_backward4(dh[i], h[i]);
        sum += dhpreact;
        sum_bnraw += dhpreact * bnraw[i];
    }
    let sum_dhpreact = sum_of_slices(sum, lane);
    let sum_dhpreact_bnraw = sum_of_slices(sum_bnraw, lane);
    let hidden = vectors(shape.hidden);
    if walk.first == j && j < hidden {
        dbngain[j] = sum_dhpreact_bnraw;
        dbnbias[j] = sum_dhpreact;
    }
    let n = f32(shape.batch);
    let gain = bngain[j];
    let bnvar_inv = bnstats[2u * hidden + j];
    for (var i = walk.first; i < walk.end; i += walk.stride) {
        dhprebn[i] = batchnorm_backward4(
            gain,
            bnvar_inv,
            n,
            tanh_backward4(dh[i], h[i]), // dhpreact once more: cheaper than to store it and load it
            sum_dhpreact,
            bnraw[i],
            sum_dhpreact_bnraw,
        );
    }
}
