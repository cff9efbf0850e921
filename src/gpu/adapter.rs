//! Which adapter runs the kernels: what was found on every API, and what the user asked for.

use std::fmt;

use wgpu::{Adapter, Backend, Backends, DeviceType, DownlevelFlags, Limits};

use crate::backend::{Api, DeviceError};

impl Api {
    /// What brings an adapter of this API on this system, if anything does.
    fn hint(self) -> String {
        let elsewhere = match self {
            Api::Metal if cfg!(not(target_os = "macos")) => "Metal exists on macOS only; ",
            Api::Dx12 if cfg!(not(target_os = "windows")) => "Direct3D exists on Windows only; ",
            _ => "",
        };
        format!("{elsewhere}{}", install_hint())
    }

    fn backends(self) -> Backends {
        match self {
            Api::Auto => Backends::VULKAN | Backends::METAL | Backends::DX12 | Backends::GL,
            Api::Vulkan => Backends::VULKAN,
            Api::Metal => Backends::METAL,
            Api::Dx12 => Backends::DX12,
            Api::Gl => Backends::GL,
            Api::Cpu => Backends::empty(),
        }
    }
}

/// The command line's name of an API.
pub fn api_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Vulkan => "vulkan",
        Backend::Metal => "metal",
        Backend::Dx12 => "dx12",
        Backend::Gl => "gl",
        Backend::Noop | Backend::BrowserWebGpu => "other",
    }
}

/// An adapter that a driver offers.
#[derive(Clone, Debug)]
pub struct Found {
    /// wgpu's handle.
    pub adapter: Adapter,
    /// Name, type and driver.
    pub info: wgpu::AdapterInfo,
}

impl Found {
    /// Whether it computes on the processor: lavapipe, llvmpipe, SwiftShader, WARP.
    pub fn is_software(&self) -> bool {
        self.info.device_type == DeviceType::Cpu
    }

    /// `software`, or the kind of hardware.
    pub fn kind(&self) -> &'static str {
        match self.info.device_type {
            DeviceType::DiscreteGpu => "discrete GPU",
            DeviceType::IntegratedGpu => "integrated GPU",
            DeviceType::VirtualGpu => "virtual GPU",
            DeviceType::Cpu => "software",
            DeviceType::Other => "other",
        }
    }

    /// Driver and version, as far as the API reports them.
    pub fn driver(&self) -> String {
        format!("{} {}", self.info.driver, self.info.driver_info)
            .trim()
            .to_owned()
    }

    /// Whether kernels can run on it at all (old OpenGL drivers have no compute shaders).
    pub fn computes(&self) -> bool {
        let flags = self.adapter.get_downlevel_capabilities().flags;
        flags.contains(DownlevelFlags::COMPUTE_SHADERS)
    }

    /// The same adapter, found anew: after the loss of a device, what the drivers hold of it may be
    /// of no use any more.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Gone`]: it is no longer there.
    pub async fn again(&self) -> Result<Self, DeviceError> {
        let api = match self.info.backend {
            Backend::Vulkan => Api::Vulkan,
            Backend::Metal => Api::Metal,
            Backend::Dx12 => Api::Dx12,
            Backend::Gl => Api::Gl,
            Backend::Noop | Backend::BrowserWebGpu => Api::Auto,
        };
        let mut adapters = enumerate(api).await.into_iter();
        let same = adapters.find(|found| found.info == self.info);
        same.ok_or_else(|| DeviceError::Gone {
            adapter: self.info.name.clone(),
        })
    }

    /// Order of preference: hardware before software, a dedicated GPU before a shared one, a
    /// modern API before OpenGL.
    fn rank(&self) -> (u8, bool) {
        let kind = match self.info.device_type {
            DeviceType::DiscreteGpu => 0,
            DeviceType::IntegratedGpu => 1,
            DeviceType::VirtualGpu => 2,
            DeviceType::Other => 3,
            DeviceType::Cpu => 4,
        };
        (kind, self.info.backend == Backend::Gl)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' ({}, {})",
            self.info.name,
            api_name(self.info.backend),
            self.kind()
        )
    }
}

/// What a schedule needs of an adapter.
pub struct Needs {
    /// Storage buffers of the kernel that binds the most.
    pub storage_buffers: usize,
    /// Invocations of its largest workgroup.
    pub invocations: usize,
    /// Workgroups of its largest launch in one dimension.
    pub workgroups: u64,
    /// Bytes of its largest buffer, all of which may be bound.
    pub largest: u64,
}

impl Needs {
    /// Whether the adapter has what is needed.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`], with the first limit that is too low.
    pub fn check(&self, limits: &Limits, adapter: &str) -> Result<(), DeviceError> {
        let needs = [
            (
                "maxStorageBuffersPerShaderStage",
                self.storage_buffers as u64,
                limits.max_storage_buffers_per_shader_stage.into(),
            ),
            (
                "maxComputeInvocationsPerWorkgroup",
                self.invocations as u64,
                limits.max_compute_invocations_per_workgroup.into(),
            ),
            (
                "maxComputeWorkgroupsPerDimension",
                self.workgroups,
                limits.max_compute_workgroups_per_dimension.into(),
            ),
            (
                "maxStorageBufferBindingSize",
                self.largest,
                limits.max_storage_buffer_binding_size,
            ),
            ("maxBufferSize", self.largest, limits.max_buffer_size),
        ];
        match needs.into_iter().find(|(_, needed, there)| needed > there) {
            None => Ok(()),
            Some((limit, needed, available)) => Err(DeviceError::Limit {
                adapter: adapter.to_owned(),
                limit,
                needed,
                available,
            }),
        }
    }
}

/// All adapters of an API, the preferred ones first.
pub async fn enumerate(api: Api) -> Vec<Found> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = api.backends();
    // Validation layers are for developing wgpu itself; they slow each launch down.
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    let adapters = instance.enumerate_adapters(api.backends()).await;
    let mut found: Vec<Found> = adapters
        .into_iter()
        .map(|adapter| Found {
            info: adapter.get_info(),
            adapter,
        })
        .collect();
    found.sort_by_key(Found::rank);
    found
}

/// What a command will run on, and why.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The CPU twin.
    Cpu {
        /// In a few words, for the user.
        why: String,
    },
    /// An adapter.
    Gpu {
        /// The adapter.
        found: Box<Found>,
        /// In a few words, for the user.
        why: String,
    },
}

/// Resolves `--backend` and `--adapter`. A software adapter is taken only if one of the two asks
/// for it.
pub async fn choose(api: Api, text: Option<&str>) -> Result<Choice, DeviceError> {
    if api == Api::Cpu {
        return Ok(Choice::Cpu {
            why: "--backend cpu".to_owned(),
        });
    }
    let found = enumerate(api).await;
    let usable: Vec<&Found> = found.iter().filter(|f| f.computes()).collect();
    if let Some(text) = text {
        let wanted = text.to_lowercase();
        let matching = usable.iter().find(|f| {
            format!("{} {}", f.info.name, f.driver())
                .to_lowercase()
                .contains(&wanted)
        });
        return match matching {
            Some(&f) => Ok(gpu(f, format!("--adapter {text}"))),
            None => Err(DeviceError::NoSuchAdapter {
                text: text.to_owned(),
                found: match found.is_empty() {
                    true => format!("none; {}", api.hint()),
                    false => list(&found),
                },
            }),
        };
    }
    if api == Api::Auto {
        return Ok(match usable.iter().find(|f| !f.is_software()) {
            Some(&f) => gpu(f, "the best GPU found".to_owned()),
            None => Choice::Cpu {
                why: why_cpu(&found),
            },
        });
    }
    match usable.first() {
        Some(&f) => Ok(gpu(f, format!("--backend {}", api_name(f.info.backend)))),
        None => Err(DeviceError::NoAdapter {
            api,
            found: format!("on other APIs: {}", list(&enumerate(Api::Auto).await)),
            hint: api.hint(),
        }),
    }
}

fn gpu(found: &Found, why: String) -> Choice {
    Choice::Gpu {
        found: Box::new(found.clone()),
        why,
    }
}

fn why_cpu(found: &[Found]) -> String {
    if found.is_empty() {
        return "no GPU was found; `gpu-makemore adapters` tells what would bring one".to_owned();
    }
    format!(
        "no hardware GPU was found, only {}; --backend {} would use it",
        list(found),
        api_name(found[0].info.backend)
    )
}

/// Adapters in one line.
pub fn list(found: &[Found]) -> String {
    if found.is_empty() {
        return "none".to_owned();
    }
    found
        .iter()
        .map(Found::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What brings an adapter on this system.
pub fn install_hint() -> &'static str {
    if cfg!(target_os = "macos") {
        "Metal is part of macOS 10.13 and later; a virtual machine may hide it"
    } else if cfg!(target_os = "windows") {
        "install the driver of the graphics card from its maker"
    } else {
        "install the GPU's Vulkan driver, or Mesa's drivers, a software one among them: `apt install \
         libvulkan1 mesa-vulkan-drivers` on Debian and Ubuntu, `dnf install vulkan-loader \
         mesa-vulkan-drivers` on Fedora (for OpenGL: libegl1 libgl1-mesa-dri); if a driver is \
         installed and not found, name its .json file in VK_DRIVER_FILES"
    }
}
