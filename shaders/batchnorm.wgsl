// Batch norm: each hidden unit is normalised to mean 0 and variance 1 over the minibatch, then scaled by its
// own gain and shifted by its own bias. `gradcheck --explain --exercise 3` prints the block marked `//:`.

//: exercise 3
//: forward:  bnmeani   = 1/n * hprebn.sum(0)                    (1, hidden)
//:           bndiff    = hprebn - bnmeani                       (n, hidden)
//:           bnvar     = 1/(n-1) * (bndiff**2).sum(0)           (1, hidden)
//:           bnvar_inv = (bnvar + 1e-5)**-0.5                   (1, hidden)
//:           bnraw     = bndiff * bnvar_inv                     (n, hidden)
//:           hpreact   = bngain * bnraw + bnbias                (n, hidden)
//: The n-1 is Bessel's correction. All sums run over the n examples of the batch. For one unit, write
//: d for dhpreact, r for bnraw, s for bnvar_inv, g for bngain.
//:
//:   (1) dbngain = sum(d * r)         dbnbias = sum(d)
//:   (2) dbnraw  = g * d
//:   (3) bnraw = bndiff * s, so through s:
//:         ds     = sum(bndiff * dbnraw) = g/s * sum(d * r)
//:         dbnvar = -1/2 * (bnvar + eps)**-1.5 * ds
//:                = -1/2 * s**3 * ds = -1/2 * s**2 * g * sum(d * r)
//:   (4) bndiff is used twice, in bnraw and, squared, in bnvar:
//:         dbndiff = s * dbnraw + 2 * bndiff/(n-1) * dbnvar
//:                 = g*s * (d - r/(n-1) * sum(d * r))              (bndiff = r/s)
//:   (5) hprebn is used twice, by itself and in the mean of bndiff:
//:         dhprebn = dbndiff - 1/n * sum(dbndiff)
//:       The r term drops out of the sum, because sum(r) = 0:
//:         sum(dbndiff) = g*s * sum(d)
//:
//: Together, with 1/n taken out, it is the line below. Its two sums are dbnbias and dbngain: it needs
//: nothing that (1) has not computed.
//: backward: dhprebn = bngain*bnvar_inv/n * (n*dhpreact - dhpreact.sum(0)
//:                         - n/(n-1)*bnraw*(dhpreact*bnraw).sum(0))

// In the staged schedule, a row stands for c examples (see shape.wgsl) and counts c times in the mean and the
// variance. Its d is the sum over these examples. The last line subtracts its two sums from every example, so
// for the row they become c * sum(d) and c * sum(d * r).

// Each formula is for four neighbouring units at once.

const BATCHNORM_EPSILON = 1e-5;

// bnvar = 1/(n-1) * bndiff2.sum(0)
fn batchnorm_variance(sum_bndiff2: vec4<f32>, n: f32) -> vec4<f32> {
    return sum_bndiff2 / (n - 1.0);
}

// bnvar_inv = (bnvar + 1e-5)**-0.5
fn batchnorm_var_inv(bnvar: vec4<f32>) -> vec4<f32> {
    return 1.0 / sqrt(bnvar + BATCHNORM_EPSILON);
}

// bnraw = bndiff * bnvar_inv
fn batchnorm_normalize(
    hprebn: vec4<f32>,
    bnmean: vec4<f32>,
    bnvar_inv: vec4<f32>,
) -> vec4<f32> {
    return (hprebn - bnmean) * bnvar_inv;
}

// hpreact = bngain * bnraw + bnbias
fn batchnorm_scale(bngain: vec4<f32>, bnraw: vec4<f32>, bnbias: vec4<f32>) -> vec4<f32> {
    return bngain * bnraw + bnbias;
}

// dhprebn, the line derived above
fn batchnorm_backward(
    bngain: vec4<f32>,
    bnvar_inv: vec4<f32>,
    n: f32,
    dhpreact: vec4<f32>,
    sum_dhpreact: vec4<f32>,
    bnraw: vec4<f32>,
    sum_dhpreact_bnraw: vec4<f32>,
) -> vec4<f32> {
    return bngain * bnvar_inv / n
        * (n * dhpreact - sum_dhpreact - n / (n - 1.0) * bnraw * sum_dhpreact_bnraw);
}
