// Whether a launch sees all that the one before it wrote. The staged schedule is a chain of launches,
// and its step counter is such a chain too.

@group(0) @binding(0) var<storage, read_write> before: array<u32>;
@group(0) @binding(1) var<storage, read_write> after: array<u32>;

// One more than what an invocation of another workgroup wrote in the launch before. After so many
// launches, with the buffers in turns, every value is their number.
@compute @workgroup_size(64)
fn launches_kernel(@builtin(global_invocation_id) id: vec3<u32>) {
    let last = arrayLength(&before) - 1u;
    after[id.x] = before[last - id.x] + 1u;
}
