//! The float types that the CPU twin is written over.

use num_traits::{Float, NumAssign};

/// `f64`, the reference that the kernels are held against, or `f32`, the type that they run in.
pub trait Real: Float + NumAssign + Send + Sync + std::fmt::Debug + 'static {
    /// Hyperbolic tangent: the library's for `f64`, the kernels' own formula for `f32`.
    fn tanh_forward(self) -> Self;

    /// Conversion from a count or a literal.
    fn of(value: f64) -> Self;

    /// Conversion for reports.
    fn as_f64(self) -> f64;
}

impl Real for f64 {
    #[inline(always)]
    fn tanh_forward(self) -> Self {
        self.tanh()
    }

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        self
    }
}

impl Real for f32 {
    #[inline(always)]
    fn tanh_forward(self) -> Self {
        super::tanh::tanh_forward(self)
    }

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}
