//! Trains the MLP of the lecture "makemore, part 4: becoming a backprop ninja" with WGSL kernels.
//!
//! # A tour
//!
//! The same training step exists three times: as a reference in `f64` and as a fast path in `f32`,
//! both on the CPU ([`cpu`]), and as kernels on the GPU ([`gpu`]). One name, one operation:
//! `shaders/batchnorm.wgsl` has the formulas and their derivation,
//! `shaders/staged/batchnorm.wgsl` the entry points that use them, `src/cpu/batchnorm.rs` the twin
//! that proves them right, and [`gpu::staged::STEP`] the place in the order of launches.
//!
//! A command goes this way:
//!
//! ```text
//! cli ── train ──┬── data      words → vocabulary → examples → splits
//!                ├── rng       PyTorch's and Python's streams: initial values, minibatches, shuffle
//!                ├── params    the seven tensors; dims, their sizes
//!                ├── contexts  examples by their contexts, each of which is computed once
//!                ├── device    what to run on, and why
//!                ├── backend   one trait: train a chunk of steps, calibrate, evaluate
//!                │     ├── cpu          the step in f32, by distinct contexts and tokens, for vector units
//!                │     └── gpu::staged  one launch per operation
//!                ├── sample    names from the trained model
//!                └── report, checkpoint, files   what the user sees and keeps
//! ```
//!
//! `sweep` ([`sweep`]) trains many models by the same code, and on a GPU many in one launch.
//! `eval` and `sample` begin with a [`trained`] model instead. `gradcheck` ([`gradcheck`], [`compare`],
//! [`chunks`]) holds the gradients of every code that trains against the reference
//! ([`gradcheck::step`]); [`gpu::chunked`] is the lecture's first exercise as kernels.
//!
//! The host draws the minibatches and the learning rates, so that every backend sees the same
//! steps; the device counts the steps that it did, and a chunk counts only if it did them all.

#![warn(missing_docs)]

pub mod adapters;
pub mod backend;
pub mod checkpoint;
pub mod chunks;
pub mod cli;
pub mod compare;
pub mod contexts;
pub mod cores;
pub mod cpu;
pub mod data;
pub mod device;
pub mod dims;
pub mod error;
pub mod eval;
pub mod files;
pub mod gpu;
pub mod gradcheck;
pub mod header;
pub mod params;
pub mod report;
pub mod rng;
pub mod sample;
pub mod sweep;
pub mod train;
pub mod trained;

/// The version of the program, for its files.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
