// Whether a launch sees everything that the previous launch wrote. The staged schedule depends on it, and so
// does its step counter.

@group(0) @binding(0) var<storage, read_write> before: array<u32>;
@group(0) @binding(1) var<storage, read_write> after: array<u32>;

// Stores one more than what an invocation of another workgroup wrote in the previous launch. The two buffers
// alternate, so after n launches every value is n.
@compute @workgroup_size(64)
fn launches_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let last = arrayLength(&before) - 1u;
    after[id.x] = before[last - id.x] + 1u;
}
