//! `p.data += -lr * p.grad`. Twin of `shaders/sgd.wgsl`.

use super::fma::mul_add;
use super::real::Real;

/// One value after a step of gradient descent.
#[inline(always)]
pub fn sgd_update<R: Real, const FMA: bool>(p: R, lr: R, grad: R) -> R {
    mul_add::<R, FMA>(-lr, grad, p)
}

/// Updates every value of a parameter.
#[inline(always)]
pub fn update<R: Real, const FMA: bool>(p: &mut [R], lr: R, grad: &[R]) {
    for (p, &grad) in p.iter_mut().zip(grad) {
        *p = sgd_update::<R, FMA>(*p, lr, grad);
    }
}
