//! Random streams that repeat those of PyTorch and of Python's `random` module.
//!
//! With them one seed gives this program the initial parameters, the batches, the shuffled words
//! and the sampled names of the lecture's notebook, so that the two runs can be compared number by
//! number.
//!
//! Both are a Mersenne Twister (MT19937); they differ in how a seed fills its state and in how its
//! 32-bit words become numbers. PyTorch's way is that of its CPU kernels in version 2.15, and gives
//! the same bits on x86-64 with AVX2. On other processors PyTorch rounds its normal values
//! otherwise, by up to 2e-6; this module does not.
//!
//! Both implement the traits of `rand`, so that whatever else is drawn, a sweep's points for example, is drawn
//! from them in the usual way.

mod cephes;
mod python;
mod torch;

pub use python::PythonRandom;
pub use torch::{TorchGenerator, TorchUniform};

/// Words of a Mersenne Twister's state.
pub const STATE_WORDS: usize = 624;
