//! The one clock. The standard library's panics on wasm, where the browser's is read instead.

#[cfg(not(target_arch = "wasm32"))]
pub use std::time::Instant;
#[cfg(target_arch = "wasm32")]
pub use web_time::Instant;
