// 41 · many_steps                                                                    a whole kernel
//
// forward:   for _ in range(STEPS): w -= LR * (w - w.mean())
// shapes:    w (W)
// declared:  @group(0) @binding(0) var<storage, read> start: array<f32>;          W values
//            @group(0) @binding(1) var<storage, read_write> result: array<f32>;   W values
//            const W: u32 = ...; const STEPS: u32 = ...; const LR: f32 = ...;
// launched:  one workgroup of 64 invocations; W is more than 64 and not a multiple of 64
// wanted:    result = w after STEPS steps; w begins as start
//
// A launch costs time. If a whole model fits into one workgroup, many steps can be taken in one
// launch, with a barrier where a launch would have ended. Invocation `me` looks after the
// elements me, me + 64, me + 128, ... of w. The mean is a sum that the whole workgroup computes,
// as in exercise 37. (It comes out the same in every step, but compute it each time, as training
// would have to.)
//
// Think first: partial is used again in every step. Who may still be reading it when the next
// step begins to fill it?
var<workgroup> w: array<f32, W>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn many_steps(@builtin(local_invocation_id) local: vec3<u32>) {
    let me = local.x; // 0 to 63
    // YOUR CODE HERE
}
