// Batch norm in the lecture's chunks: every line of the notebook is a kernel of its own, and every
// gradient is computed from the one before. The training step does all of this at once
// (batchnorm.wgsl); `gradcheck --exercise 1` and `3` compare the two.
//
// `gradcheck --explain TENSOR` prints the blocks marked `//:`.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> hprebn: array<f32>;    // (batch, hidden)
@group(0) @binding(2) var<storage, read_write> bnmeani: array<f32>;   // (1, hidden)
@group(0) @binding(3) var<storage, read_write> bndiff: array<f32>;    // (batch, hidden)
@group(0) @binding(4) var<storage, read_write> bndiff2: array<f32>;   // (batch, hidden)
@group(0) @binding(5) var<storage, read_write> bnvar: array<f32>;     // (1, hidden)
@group(0) @binding(6) var<storage, read_write> bnvar_inv: array<f32>; // (1, hidden)
@group(0) @binding(7) var<storage, read_write> bnraw: array<f32>;     // (batch, hidden)
@group(0) @binding(8) var<storage, read_write> hpreact: array<f32>;   // (batch, hidden)
@group(0) @binding(9) var<storage, read> bngain: array<f32>;          // (1, hidden)
@group(0) @binding(10) var<storage, read> bnbias: array<f32>;         // (1, hidden)
@group(0) @binding(11) var<storage, read_write> dhpreact: array<f32>;
@group(0) @binding(12) var<storage, read_write> dbngain: array<f32>;
@group(0) @binding(13) var<storage, read_write> dbnbias: array<f32>;
@group(0) @binding(14) var<storage, read_write> dbnraw: array<f32>;
@group(0) @binding(15) var<storage, read_write> dbnvar_inv: array<f32>;
@group(0) @binding(16) var<storage, read_write> dbnvar: array<f32>;
@group(0) @binding(17) var<storage, read_write> dbndiff2: array<f32>;
@group(0) @binding(18) var<storage, read_write> dbndiff: array<f32>;
@group(0) @binding(19) var<storage, read_write> dbnmeani: array<f32>;
@group(0) @binding(20) var<storage, read_write> dhprebn: array<f32>;

// Whether element i of a tensor (batch, hidden) is a value; the others are pads, which stay zero.
fn is_unit(i: u32) -> bool {
    return i < shape.rows * pitch(shape.hidden) && i % pitch(shape.hidden) < shape.hidden;
}

// ---- forward ----

@compute @workgroup_size(64)
fn bnmeani_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= shape.hidden {
        return;
    }
    var sum = 0.0;
    for (var r = 0u; r < shape.rows; r++) {
        sum += hprebn[r * pitch(shape.hidden) + j];
    }
    bnmeani[j] = sum / f32(shape.examples);
}

@compute @workgroup_size(64)
fn bndiff_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_unit(i) {
        bndiff[i] = hprebn[i] - bnmeani[i % pitch(shape.hidden)];
    }
}

@compute @workgroup_size(64)
fn bndiff2_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_unit(i) {
        bndiff2[i] = bndiff[i] * bndiff[i];
    }
}

@compute @workgroup_size(64)
fn bnvar_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= shape.hidden {
        return;
    }
    var sum = 0.0;
    for (var r = 0u; r < shape.rows; r++) {
        sum += bndiff2[r * pitch(shape.hidden) + j];
    }
    bnvar[j] = batchnorm_variance(vec4<f32>(sum), f32(shape.examples)).x;
}

@compute @workgroup_size(64)
fn bnvar_inv_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j < shape.hidden {
        bnvar_inv[j] = batchnorm_var_inv(vec4<f32>(bnvar[j])).x;
    }
}

@compute @workgroup_size(64)
fn bnraw_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_unit(i) {
        bnraw[i] = bndiff[i] * bnvar_inv[i % pitch(shape.hidden)];
    }
}

@compute @workgroup_size(64)
fn hpreact_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_unit(i) {
        let j = i % pitch(shape.hidden);
        hpreact[i] =
            batchnorm_scale(vec4<f32>(bngain[j]), vec4<f32>(bnraw[i]), vec4<f32>(bnbias[j])).x;
    }
}

// ---- backward ----

//: bngain
//: forward:  hpreact = bngain * bnraw + bnbias
//: bngain is (1, hidden) and broadcast over the rows: each value is used once in every row, so its
//: gradient is the sum over the rows.
//: backward: dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
@compute @workgroup_size(64)
fn dbngain_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= shape.hidden {
        return;
    }
    var sum = 0.0;
    for (var r = 0u; r < shape.rows; r++) {
        let i = r * pitch(shape.hidden) + j;
        sum += bnraw[i] * dhpreact[i];
    }
    dbngain[j] = sum;
}

//: bnbias
//: forward:  hpreact = bngain * bnraw + bnbias
//: Added to every row: the sum over the rows.
//: backward: dbnbias = dhpreact.sum(0, keepdim=True)
@compute @workgroup_size(64)
fn dbnbias_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= shape.hidden {
        return;
    }
    var sum = 0.0;
    for (var r = 0u; r < shape.rows; r++) {
        sum += dhpreact[r * pitch(shape.hidden) + j];
    }
    dbnbias[j] = sum;
}

//: bnraw
//: forward:  hpreact = bngain * bnraw + bnbias
//: A factor's gradient is the other factor.
//: backward: dbnraw = bngain * dhpreact
@compute @workgroup_size(64)
fn dbnraw_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_unit(i) {
        dbnraw[i] = bngain[i % pitch(shape.hidden)] * dhpreact[i];
    }
}

//: bnvar_inv
//: forward:  bnraw = bndiff * bnvar_inv
//: Broadcast over the rows, like bngain.
//: backward: dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)
@compute @workgroup_size(64)
fn dbnvar_inv_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= shape.hidden {
        return;
    }
    var sum = 0.0;
    for (var r = 0u; r < shape.rows; r++) {
        let i = r * pitch(shape.hidden) + j;
        sum += bndiff[i] * dbnraw[i];
    }
    dbnvar_inv[j] = sum;
}

//: bnvar
//: forward:  bnvar_inv = (bnvar + 1e-5)**-0.5
//: The derivative of x**-0.5 is -0.5 * x**-1.5.
//: backward: dbnvar = (-0.5 * (bnvar + 1e-5)**-1.5) * dbnvar_inv
@compute @workgroup_size(64)
fn dbnvar_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j < shape.hidden {
        let x = bnvar[j] + BATCHNORM_EPSILON;
        dbnvar[j] = -0.5 / (x * sqrt(x)) * dbnvar_inv[j];
    }
}

//: bndiff2
//: forward:  bnvar = 1/(n-1) * bndiff2.sum(0, keepdim=True)
//: A sum hands its gradient on to each of its terms, here with the factor 1/(n-1) (n-1 and not n:
//: Bessel's correction).
//: backward: dbndiff2 = (1.0/(n-1)) * torch.ones_like(bndiff2) * dbnvar
@compute @workgroup_size(64)
fn dbndiff2_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_unit(i) {
        dbndiff2[i] = 1.0 / (f32(shape.examples) - 1.0) * dbnvar[i % pitch(shape.hidden)];
    }
}

//: bndiff
//: forward:  bndiff2 = bndiff**2
//:           bnraw = bndiff * bnvar_inv
//: Two uses, two terms. The derivative of x**2 is 2*x.
//: backward: dbndiff = bnvar_inv * dbnraw
//:           dbndiff += (2*bndiff) * dbndiff2
@compute @workgroup_size(64)
fn dbndiff_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_unit(i) {
        dbndiff[i] = bnvar_inv[i % pitch(shape.hidden)] * dbnraw[i] + (2.0 * bndiff[i]) * dbndiff2[i];
    }
}

//: bnmeani
//: forward:  bndiff = hprebn - bnmeani
//: Subtracted from every row: minus the sum over the rows.
//: backward: dbnmeani = (-dbndiff).sum(0)
@compute @workgroup_size(64)
fn dbnmeani_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let j = id.x;
    if j >= shape.hidden {
        return;
    }
    var sum = 0.0;
    for (var r = 0u; r < shape.rows; r++) {
        sum += -dbndiff[r * pitch(shape.hidden) + j];
    }
    dbnmeani[j] = sum;
}

//: hprebn
//: forward:  bnmeani = 1/n * hprebn.sum(0, keepdim=True)
//:           bndiff = hprebn - bnmeani
//: Two uses: by itself, and as a term of the mean with the factor 1/n.
//: backward: dhprebn = dbndiff.clone()
//:           dhprebn += 1.0/n * (torch.ones_like(hprebn) * dbnmeani)
@compute @workgroup_size(64)
fn dhprebn_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    if is_unit(i) {
        dhprebn[i] = dbndiff[i] + 1.0 / f32(shape.examples) * dbnmeani[i % pitch(shape.hidden)];
    }
}
