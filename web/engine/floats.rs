//! Floats as they cross between the page and the engine.

use serde::Serialize;

/// Floats that become a `Float32Array`.
pub struct Floats(pub Vec<f32>);

impl Serialize for Floats {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_wasm_bindgen::preserve::serialize(
            &js_sys::Float32Array::from(&self.0[..]),
            serializer,
        )
    }
}
