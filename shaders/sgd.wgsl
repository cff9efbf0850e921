// Stochastic gradient descent: p.data += -lr * p.grad

fn sgd_update(p: f32, lr: f32, grad: f32) -> f32 {
    return p - lr * grad;
}
