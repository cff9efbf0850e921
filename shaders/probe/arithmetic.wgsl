// The results for extreme values, of the formulas in the kernels and of built-in functions.

const RESULTS = 9u; // as in src/gpu/probe/mod.rs

@group(0) @binding(0) var<storage, read> values: array<f32>;
@group(0) @binding(1) var<storage, read_write> results: array<f32>; // (values, RESULTS)

@compute @workgroup_size(64)
fn arithmetic_kernel(@builtin(local_invocation_index) i: u32) {
    if i >= arrayLength(&values) {
        return;
    }
    let x = values[i];
    let at = RESULTS * i;
    results[at] = tanh_forward(vec4<f32>(x)).x;
    results[at + 1u] = tanh(x);
    results[at + 2u] = exp(x);
    // A parameter and a gradient that are not finite must leave a parameter that is not finite, for the host
    // to see.
    results[at + 3u] = sgd_update(vec4<f32>(x), 0.5, vec4<f32>(1.0)).x;
    results[at + 4u] = sgd_update(vec4<f32>(1.0), 10.0, vec4<f32>(x)).x;
    // Functions that may drop a NaN.
    results[at + 5u] = max(x, 0.25);
    results[at + 6u] = min(x, 0.25);
    results[at + 7u] = clamp(x, 0.25, 0.5);
    // A subnormal number, halved.
    results[at + 8u] = x * 0.5;
}
