//! The kernels' side: choosing an adapter, assembling WGSL, and the schedule that runs a step.

pub mod adapter;
pub mod chunked;
pub mod device;
pub mod executor;
pub mod extras;
pub mod kernels;
pub mod launch;
pub mod layout;
mod packing;
pub mod plan;
pub mod probe;
pub mod resident;
pub mod shader;
pub mod single;
pub mod staged;
pub mod submission;
pub mod timestamps;
pub mod tuning;
pub mod work;
