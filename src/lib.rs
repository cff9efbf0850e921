//! Trains the MLP of the lecture "makemore, part 4: becoming a backprop ninja" with WGSL kernels.
//!
//! # A tour
//!
//! The same training step exists three times: as a reference in `f64` ([`mod@reference`]), as a fast step in
//! `f32` on the CPU ([`cpu`]), and as kernels on the GPU ([`gpu`]). One name, one operation:
//! `shaders/batchnorm.wgsl` has the formulas and their derivation,
//! `shaders/staged/batchnorm.wgsl` the entry points that use them, `src/reference/batchnorm.rs` the twin
//! that proves them right, and [`gpu::staged::STEP`] the place in the order of launches.
//!
//! The modules are layers. Each uses only those above it in this list: `tests/layers.rs` reads the imports.
//!
//! ```text
//! clock        the time, natively and in a browser
//! text         text from outside, made fit for a message
//! cores        work on several cores
//! rng          PyTorch's and Python's streams: initial values, minibatches, shuffle
//! model        sizes, the seven parameters, the lecture's tensors, contexts, steps
//! data         words → vocabulary → examples → splits
//! backend      what is asked of a device: train steps, calibrate, evaluate; and its errors
//! reference    the lecture's step, operation by operation: in f64 what all the others are held against
//! cpu          the step in f32, by distinct contexts and tokens, for vector units
//! gpu          the kernels, staged (one launch per operation) or resident (many steps in a launch)
//! engine       which of them trains a model on an adapter; and what happens when a device is lost
//! training     the stream of minibatches, and the loop that hands them out
//! checkpoint   a model as bytes
//! sample       names from a trained model
//! gradcheck    the gradients of every code that trains, against the reference
//! cli          options, files, signals, terminals, pictures; many models at once (`sweep`)
//! ```
//!
//! The host draws the minibatches and the learning rates, so that every backend sees the same
//! steps; the device counts the steps that it did, and a chunk counts only if it did them all.

#![warn(missing_docs)]

pub mod backend;
pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod cores;
pub mod cpu;
pub mod data;
pub mod engine;
pub mod gpu;
pub mod gradcheck;
pub mod model;
pub mod reference;
pub mod rng;
pub mod sample;
pub mod text;
pub mod training;

/// The version of the program, for its files.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
