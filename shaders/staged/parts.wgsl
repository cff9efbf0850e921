// Adds the PARTS into which the sums of a product were cut, in a fixed order. One invocation, four values.

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> whole: array<vec4<f32>>;

fn sum_of_parts(first: u32, stride: u32) -> vec4<f32> {
    var sum = parts[first];
    for (var p = 1u; p < PARTS; p++) {
        sum += parts[first + p * stride];
    }
    return sum;
}

fn add_rows(i: u32, cols: u32) {
    let stride = shape.rows * cols;
    if i < stride {
        whole[i] = sum_of_parts(i, stride);
    }
}

// y of a layer, (rows, fan_out)
@compute @workgroup_size(64)
fn linear_forward_sum_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    add_rows(invocation_index(id, workgroups), vectors(shape.fan_out));
}

// dx of a layer, (rows, fan_in)
@compute @workgroup_size(64)
fn linear_backward_input_sum_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    add_rows(invocation_index(id, workgroups), vectors(shape.fan_in));
}

// dW and db of a layer, which are contiguous; `parts` has all parts of dW, followed by all parts of db.
@compute @workgroup_size(64)
fn linear_backward_weight_sum_kernel(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let i = invocation_index(id, workgroups);
    let cols = vectors(shape.fan_out);
    let stride = weight_stride(shape.fan_in, shape.fan_out);
    if i < 4u * vectors(shape.fan_in) * cols {
        whole[i] = sum_of_parts(i, stride);
    } else if i >= stride && i < stride + cols {
        whole[i] = sum_of_parts(PARTS * stride + i - stride, cols);
    }
}
