// Launches of batch norm. Formulas and derivation: batchnorm.wgsl.
//
// One invocation owns one hidden unit and walks down its column. Neighbouring invocations read
// neighbouring addresses, and no sum crosses invocations: no barrier, no atomics, one order.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> hprebn: array<f32>;         // (batch, hidden)
@group(0) @binding(2) var<storage, read> bngain: array<f32>;         // (1, hidden)
@group(0) @binding(3) var<storage, read> bnbias: array<f32>;         // (1, hidden)
@group(0) @binding(4) var<storage, read_write> bnstats: array<f32>;  // (3, hidden): bnmean, bnvar, bnvar_inv
@group(0) @binding(5) var<storage, read_write> bnraw: array<f32>;    // (batch, hidden)
@group(0) @binding(6) var<storage, read_write> hpreact: array<f32>;  // (batch, hidden)
@group(0) @binding(7) var<storage, read> dhpreact: array<f32>;       // (batch, hidden)
@group(0) @binding(8) var<storage, read_write> dbngain: array<f32>;  // (1, hidden)
@group(0) @binding(9) var<storage, read_write> dbnbias: array<f32>;  // (1, hidden)
@group(0) @binding(10) var<storage, read_write> dhprebn: array<f32>; // (batch, hidden)

// bnraw and hpreact, with the statistics of this minibatch.
@compute @workgroup_size(64)
fn batchnorm_forward_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= shape.hidden {
        return;
    }
    let n = f32(shape.batch);
    let end = shape.batch * shape.hidden;
    var sum = 0.0;
    for (var i = j; i < end; i += shape.hidden) {
        sum += hprebn[i];
    }
    let bnmean = sum / n;
    var sum_bndiff2 = 0.0;
    for (var i = j; i < end; i += shape.hidden) {
        let bndiff = hprebn[i] - bnmean;
        sum_bndiff2 += bndiff * bndiff;
    }
    let bnvar = batchnorm_variance(sum_bndiff2, n);
    let bnvar_inv = batchnorm_var_inv(bnvar);
    bnstats[j] = bnmean;
    bnstats[shape.hidden + j] = bnvar;
    bnstats[2u * shape.hidden + j] = bnvar_inv;
    let gain = bngain[j];
    let bias = bnbias[j];
    for (var i = j; i < end; i += shape.hidden) {
        let raw = batchnorm_normalize(hprebn[i], bnmean, bnvar_inv);
        bnraw[i] = raw;
        hpreact[i] = batchnorm_scale(gain, raw, bias);
    }
}

// hpreact with fixed statistics, as the trained model is used.
@compute @workgroup_size(64)
fn batchnorm_inference_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if i >= shape.batch * shape.hidden {
        return;
    }
    let j = i % shape.hidden;
    let bnvar_inv = batchnorm_var_inv(bnstats[shape.hidden + j]);
    let raw = batchnorm_normalize(hprebn[i], bnstats[j], bnvar_inv);
    hpreact[i] = batchnorm_scale(bngain[j], raw, bnbias[j]);
}

// dbngain = (bnraw*dhpreact).sum(0), dbnbias = dhpreact.sum(0), and dhprebn from both.
@compute @workgroup_size(64)
fn batchnorm_backward_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= shape.hidden {
        return;
    }
    let n = f32(shape.batch);
    let end = shape.batch * shape.hidden;
    var sum_dhpreact = 0.0;
    var sum_dhpreact_bnraw = 0.0;
    for (var i = j; i < end; i += shape.hidden) {
        sum_dhpreact += dhpreact[i];
        sum_dhpreact_bnraw += dhpreact[i] * bnraw[i];
    }
    dbngain[j] = sum_dhpreact_bnraw;
    dbnbias[j] = sum_dhpreact;
    let gain = bngain[j];
    let bnvar_inv = bnstats[2u * shape.hidden + j];
    for (var i = j; i < end; i += shape.hidden) {
        dhprebn[i] = batchnorm_backward(
            gain,
            bnvar_inv,
            n,
            dhpreact[i],
            sum_dhpreact,
            bnraw[i],
            sum_dhpreact_bnraw,
        );
    }
}
