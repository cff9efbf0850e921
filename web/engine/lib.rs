//! The engine of gpu-makemore as a page calls it, from a worker: one [`Session`] is one training.
//!
//! Everything that a model is made of happens in the engine; the page shows what comes back and keeps the
//! bytes that it is given. Whoever calls waits for one call before making the next.
//!
//! It is two packages, which differ in one feature. The `trainer` is what every visit loads. The `lessons`, which bring a compiler for WGSL and
//! its interpreter, are loaded when the exercises are opened.

mod device;
mod floats;
#[cfg(feature = "trainer")]
mod hunt;
#[cfg(feature = "trainer")]
mod inspection;
#[cfg(feature = "trainer")]
mod layout;
#[cfg(feature = "lessons")]
mod lessons;
#[cfg(feature = "trainer")]
mod messages;
#[cfg(feature = "trainer")]
mod session;
#[cfg(feature = "trainer")]
mod settings;
#[cfg(feature = "trainer")]
mod trial;

use std::fmt::Display;

use wasm_bindgen::prelude::*;

#[cfg(feature = "lessons")]
pub use lessons::{Checker, OwnTraining};
#[cfg(feature = "trainer")]
pub use session::Session;
#[cfg(feature = "trainer")]
pub use trial::Trial;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Without it a panic is `unreachable executed` and nothing else.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| console_error(&panic.to_string())));
}

/// An error as the page shows it: its message, and those of its causes that add something.
fn failure(error: impl Display) -> JsError {
    JsError::new(&error.to_string())
}
