//! The model, apart from whatever computes it: sizes, parameters, the tensors of the lecture's pass, the
//! contexts of a minibatch, and the steps of a training.

pub mod contexts;
pub mod dims;
pub mod moments;
pub mod params;
#[doc(hidden)]
pub mod plane;
pub mod recipe;
pub mod statistics;
pub mod steps;
pub mod tensors;
