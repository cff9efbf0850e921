//! What a user can ask for: an API, and how the steps are launched.

use std::fmt;

/// An API, the CPU, or a choice by the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// A hardware GPU if there is one, else the CPU.
    Auto,
    /// Vulkan: Linux, Windows, Android.
    Vulkan,
    /// Metal: macOS.
    Metal,
    /// Direct3D 12: Windows.
    Dx12,
    /// OpenGL ES 3.1 or OpenGL 4.3.
    Gl,
    /// WebGPU: a browser's only API.
    WebGpu,
    /// This program's CPU twin of the kernels.
    Cpu,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Api::Auto => "GPU",
            Api::Vulkan => "Vulkan",
            Api::Metal => "Metal",
            Api::Dx12 => "Direct3D 12",
            Api::Gl => "OpenGL",
            Api::WebGpu => "WebGPU",
            Api::Cpu => "CPU",
        })
    }
}

/// How the steps are launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The faster one, by size; by a short measurement where it is close
    Auto,
    /// One launch per operation: for large models
    Staged,
    /// One workgroup keeps the model and runs many steps per launch: for small models
    Resident,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Schedule::Auto => "auto",
            Schedule::Staged => "staged",
            Schedule::Resident => "resident",
        })
    }
}
