//! `p.data += -lr * p.grad`. Twin of `shaders/sgd.wgsl`.

use super::real::Real;

/// One value after a step of gradient descent.
#[inline(always)]
pub fn sgd_update<R: Real>(p: R, lr: R, grad: R) -> R {
    p - lr * grad
}

/// Updates every value of a parameter.
#[inline(always)]
pub fn update<R: Real>(p: &mut [R], lr: R, grad: &[R]) {
    for (p, &grad) in p.iter_mut().zip(grad) {
        *p = sgd_update(*p, lr, grad);
    }
}
