//! Trains the MLP of the lecture "makemore, part 4: becoming a backprop ninja" with WGSL kernels.
//!
//! # A tour
//!
//! The same training step exists three times: as a reference in `f64` (`src/reference`), as a fast step in
//! `f32` on the CPU (`src/cpu`), and as kernels on the GPU (`src/gpu`). One name, one operation:
//! `shaders/batchnorm.wgsl` has the formulas and their derivation,
//! `shaders/staged/batchnorm.wgsl` the entry points that use them, `src/reference/batchnorm.rs` the twin
//! that proves them right, and `STEP` in `src/gpu/staged.rs` the place in the order of launches.
//!
//! The modules are layers. Each uses only those above it in this list: `tests/layers.rs` reads the imports.
//!
//! ```text
//! clock        the time, natively and in a browser
//! text         text from outside, made fit for a message
//! cores        work on several cores
//! rng          PyTorch's and Python's streams: initial values, minibatches, shuffle
//! interpreter  a WGSL kernel on the processor, watched for races: it knows nothing of the rest
//! model        sizes, the seven parameters, the lecture's tensors, contexts, steps
//! data         words → vocabulary → examples → splits
//! backend      what is asked of a device: train steps, calibrate, evaluate; and its errors
//! reference    the lecture's step, operation by operation: in f64 what all others are compared with
//! cpu          the step in f32, by distinct contexts and tokens, for vector units
//! gpu          the kernels, staged (one launch per operation) or resident (many steps in a launch)
//! engine       which of them trains a model on an adapter; and what happens when a device is lost
//! training     the stream of minibatches, and the loop that hands them out
//! checkpoint   a model as bytes
//! sample       names from a trained model
//! gradcheck    the gradients of every code that trains, against the reference
//! exercises    backward passes that a learner writes, and the check of them
//! cli          options, files, signals, terminals, pictures; many models at once (`sweep`)
//! ```
//!
//! The host draws the minibatches and the learning rates, so that every backend sees the same
//! steps; the device counts the steps that it did, and a chunk counts only if it did them all.
//!
//! # As a library
//!
//! A program that trains, evaluates and samples; `examples/train.rs` is the same with a `main`. The engine is
//! async inside: natively, any executor will do, and it blocks within a poll; in a browser it only awaits.
//!
//! ```
//! use gpu_makemore::{Api, Backend, Engine, Event, Recipe, Sampler, State, Training};
//! use gpu_makemore::{Instant, data, evaluation, sample};
//!
//! async fn train() -> Result<(), Box<dyn Error>> {
//!     let recipe = Recipe {
//!         steps: 200, // 200,000 in the lecture
//!         n_hidden: 32,
//!         ..Recipe::default()
//!     };
//!     let names = data::load(&data::Options::default())?;
//!     let dims = recipe.dims(names.vocab.len())?;
//!     let start = State::first(&recipe, &dims, recipe.steps / 10);
//!     let mut engine = Engine::new(Api::Auto, dims, &start.now.params).await?;
//!     let mut training = Training::new(&names.train, &recipe, start, recipe.steps);
//!     while let Some(steps) = training.next_steps() {
//!         let (begun, mut losses) = (Instant::now(), Vec::new());
//!         engine.train(&steps, &mut losses).await?;
//!         training.accept_losses(&losses, begun.elapsed())?;
//!         for event in training.accept_params(engine.params().await?)? {
//!             if let Event::Row(row) = event {
//!                 println!("{:7}/{:7}: {:.4}", row.step, recipe.steps, row.loss);
//!             }
//!         }
//!     }
//!     let params = training.state().now.params.clone();
//!     let stats = evaluation::calibrate(&mut engine, &params, &names.train).await?;
//!     let [train, val, _] = evaluation::losses(&mut engine, &stats, &names).await?;
//!     println!("train {train:.4}\nval   {val:.4}");
//!     let mut sampler = Sampler::new(dims, params, stats, 2_147_483_657);
//!     for _ in 0..10 {
//!         println!("{}", sample::text(&names.vocab, &sampler.name(&[])));
//!     }
//!     Ok(())
//! }
//! # use std::error::Error;
//! # pollster::block_on(train()).unwrap();
//! ```
//!
//! # Features
//!
//! * `cli`, on by default: the program. With `default-features = false`, the engine is left, without files,
//!   terminals and signals.
//! * `page`: the program holds its page, and `gpu-makemore page` serves it. `web/build` makes the page first.
//! * `faults`: tests put faults into the writing of files.
//!
//! Modules that are not in this documentation are public for the tests, benches and examples of this package
//! only, and may change with every version.

#![warn(missing_docs)]

pub mod backend;
pub mod checkpoint;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod clock;
#[doc(hidden)]
pub mod cores;
#[doc(hidden)]
pub mod cpu;
pub mod data;
pub mod engine;
pub mod exercises;
#[doc(hidden)]
pub mod gpu;
pub mod gradcheck;
pub mod interpreter;
pub mod model;
#[doc(hidden)]
pub mod reference;
#[doc(hidden)]
pub mod rng;
pub mod sample;
#[doc(hidden)]
pub mod text;
pub mod training;

pub use backend::{Api, Backend, DeviceError};
pub use clock::Instant;
pub use engine::Engine;
pub use model::recipe::Recipe;
pub use sample::Sampler;
pub use training::{Event, State, Training, evaluation};

/// The version of the program, for its files.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
