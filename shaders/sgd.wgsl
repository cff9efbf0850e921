// Stochastic gradient descent: p.data += -lr * p.grad

fn sgd_update(p: vec4<f32>, lr: f32, grad: vec4<f32>) -> vec4<f32> {
    return p - lr * grad;
}
