//! A WGSL kernel on the processor: it runs as naga has read it, all invocations of a workgroup side by side,
//! and of every word of shared memory it is known who has read and who has written it.
//!
//! Two accesses to a word are a race if at least one of them writes, they are not of the same invocation,
//! and nothing orders them: no barrier for that kind of memory lies between them, or they are of different
//! workgroups of a launch, which nothing orders at all. Atomic accesses do not race. That does not depend on
//! who happened to come first. A driver in software runs the invocations of a workgroup in some order of its
//! own and may get the right numbers from a kernel that a GPU would get wrong; here a race is found in any
//! case.
//!
//! The text may be anybody's: whatever is wrong with it is an error with its place, and [`Rules`] bound the
//! work. It knows compute kernels of `f32`, `u32`, `i32` and `bool`, without textures and subgroups.
//!
//! ```
//! use gpu_makemore::interpreter::{Buffers, Kernel, Rules, What};
//!
//! let text = "
//!     @group(0) @binding(0) var<storage, read_write> x: array<f32>;
//!     @compute @workgroup_size(4) fn double(@builtin(local_invocation_index) i: u32) {
//!         x[i] = 2.0 * x[i];
//!     }";
//! let kernel = Kernel::new(text, "double", &[])?;
//! let mut buffers = Buffers::from([(0, vec![1.5_f32.to_bits(); 4])]);
//! kernel.launch(&mut buffers, [1, 1, 1], &Rules::default())?;
//! assert_eq!(buffers[&0], [3.0_f32.to_bits(); 4]);
//!
//! buffers.insert(0, vec![0; 3]);
//! let finding = kernel.launch(&mut buffers, [1, 1, 1], &Rules::default()).unwrap_err();
//! assert_eq!((finding.kind, finding.line), (What::Write, 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arithmetic;
mod bounds;
mod builtins;
mod code;
mod error;
mod kernel;
mod layout;
mod machine;
mod mask;
mod memory;
#[cfg(test)]
mod tests;

pub use error::{Finding, Refused, What};
pub use kernel::{Buffers, Kernel};
pub use machine::Rules;
