//! Which adapter runs the kernels: what was found on every API, and what the user asked for.

use std::fmt;

use wgpu::{Adapter, AdapterInfo, Backend, Backends, DeviceType, DownlevelFlags, Limits};

use crate::backend::{Api, DeviceError};

impl Api {
    /// Those that have adapters.
    const WITH_ADAPTERS: [Api; 4] = [Api::Vulkan, Api::Metal, Api::Dx12, Api::Gl];

    fn backends(self) -> Backends {
        match self {
            Api::Auto if cfg!(target_arch = "wasm32") => Backends::BROWSER_WEBGPU,
            Api::Auto => Backends::VULKAN | Backends::METAL | Backends::DX12 | Backends::GL,
            Api::Vulkan => Backends::VULKAN,
            Api::Metal => Backends::METAL,
            Api::Dx12 => Backends::DX12,
            Api::Gl => Backends::GL,
            Api::WebGpu => Backends::BROWSER_WEBGPU,
            Api::Cpu => Backends::empty(),
        }
    }

    /// The APIs of a list with commas, by the names that wgpu knows (`vulkan` or `vk`, `opengl` or `gl`).
    ///
    /// # Errors
    ///
    /// The part that names no API which has adapters here.
    pub fn of_list(list: &str) -> Result<Vec<Self>, String> {
        let of_part = |part: &str| {
            let backends = Backends::from_comma_list(part);
            let api = Self::WITH_ADAPTERS
                .into_iter()
                .find(|api| backends.contains(api.backends()));
            api.ok_or_else(|| part.to_owned())
        };
        list.split(',').map(of_part).collect()
    }
}

/// Which adapter is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// By its place among all that are found, from 1.
    Number(usize),
    /// A part of its name, in any case.
    Name(String),
    /// A part of its driver's name or version.
    Driver(String),
    /// A part of either.
    Text(String),
}

impl Pick {
    /// Whether it is an adapter's name or driver that is wanted; a number says nothing of them.
    fn fits(&self, info: &AdapterInfo) -> bool {
        let has = |field: &str, text: &str| field.to_lowercase().contains(&text.to_lowercase());
        match self {
            Pick::Number(_) => false,
            Pick::Name(text) => has(&info.name, text),
            Pick::Driver(text) => has(&driver(info), text),
            Pick::Text(text) => has(&format!("{} {}", info.name, driver(info)), text),
        }
    }

    /// The places of the adapters that are wanted.
    fn among(&self, infos: &[&AdapterInfo]) -> Vec<usize> {
        match self {
            Pick::Number(number) => (0..infos.len())
                .filter(|place| place + 1 == *number)
                .collect(),
            text => (0..infos.len())
                .filter(|&place| text.fits(infos[place]))
                .collect(),
        }
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pick::Number(number) => write!(f, "the number {number}"),
            Pick::Name(text) => write!(f, "'{text}' in its name"),
            Pick::Driver(text) => write!(f, "'{text}' in its driver"),
            Pick::Text(text) => write!(f, "'{text}' in its name or driver"),
        }
    }
}

/// Driver and version, as far as the API reports them.
fn driver(info: &AdapterInfo) -> String {
    format!("{} {}", info.driver, info.driver_info)
        .trim()
        .to_owned()
}

/// The name of an API in records and messages.
pub fn api_name(backend: Backend) -> &'static str {
    match backend {
        Backend::Vulkan => "vulkan",
        Backend::Metal => "metal",
        Backend::Dx12 => "dx12",
        Backend::Gl => "gl",
        Backend::BrowserWebGpu => "webgpu",
        Backend::Noop => "other",
    }
}

/// An adapter that a driver offers.
#[derive(Clone, Debug)]
pub struct Found {
    /// wgpu's handle.
    pub adapter: Adapter,
    /// Name, type and driver.
    pub info: AdapterInfo,
    /// How many of those before it have the same info: two cards of one kind can only be told apart by
    /// their order.
    twins: usize,
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
        driver(&self.info)
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
            Backend::BrowserWebGpu => Api::WebGpu,
            Backend::Noop => Api::Auto,
        };
        let mut adapters = enumerate(api).await.into_iter();
        let same = adapters.find(|found| found.info == self.info && found.twins == self.twins);
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
    enumerate_on(api.backends()).await
}

async fn enumerate_on(backends: Backends) -> Vec<Found> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Validation layers are for developing wgpu itself; they slow each launch down.
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    let mut found: Vec<Found> = Vec::new();
    for adapter in instance.enumerate_adapters(backends).await {
        let info = adapter.get_info();
        let twins = found.iter().filter(|other| other.info == info).count();
        found.push(Found {
            adapter,
            info,
            twins,
        });
    }
    found.sort_by_key(Found::rank);
    found
}

/// What a command will run on, and why.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The CPU twin.
    Cpu {
        /// Why no adapter.
        why: Why,
    },
    /// An adapter.
    Gpu {
        /// The adapter.
        found: Box<Found>,
        /// Why this one.
        why: Why,
    },
}

/// The reason of a [`Choice`].
#[derive(Clone, Debug)]
pub enum Why {
    /// It was asked for.
    Asked {
        /// How many adapters have the text that was asked for, of which this is the first.
        of: usize,
    },
    /// Nothing was asked for, and it is the best hardware GPU.
    Best,
    /// Nothing was asked for, and there is no adapter.
    NoneFound,
    /// Nothing was asked for, and there are only these software adapters.
    OnlySoftware(Vec<Found>),
}

/// Chooses an adapter of one of these APIs, or the CPU. A software adapter is taken only if an API or an
/// adapter is asked for.
///
/// # Errors
///
/// What is asked for is not there, or has no compute shaders.
pub async fn choose(apis: &[Api], pick: Option<&Pick>) -> Result<Choice, DeviceError> {
    if apis == [Api::Cpu] {
        return Ok(Choice::Cpu {
            why: Why::Asked { of: 1 },
        });
    }
    let wanted: Backends = apis.iter().map(|api| api.backends()).collect();
    // Numbers count the adapters of all APIs.
    let among = match pick {
        Some(Pick::Number(_)) => Api::Auto.backends(),
        _ => wanted,
    };
    let found = enumerate_on(among).await;
    if let Some(pick) = pick {
        let numbered = matches!(pick, Pick::Number(_));
        let candidates: Vec<&Found> = found.iter().filter(|f| numbered || f.computes()).collect();
        let infos: Vec<&AdapterInfo> = candidates.iter().map(|f| &f.info).collect();
        let places = pick.among(&infos);
        let Some(&f) = places.first().map(|&place| &candidates[place]) else {
            return Err(DeviceError::NoSuchAdapter {
                apis: apis.to_vec(),
                wanted: pick.to_string(),
                found: list(&found, numbered),
            });
        };
        let adapter = || f.to_string();
        if !wanted.contains(f.info.backend.into()) {
            return Err(DeviceError::OtherApi { adapter: adapter() });
        }
        if !f.computes() {
            return Err(DeviceError::NoCompute { adapter: adapter() });
        }
        return Ok(gpu(f, Why::Asked { of: places.len() }));
    }
    let mut usable = found.iter().filter(|f| f.computes());
    if apis == [Api::Auto] {
        return Ok(match usable.find(|f| !f.is_software()) {
            Some(f) => gpu(f, Why::Best),
            None => Choice::Cpu {
                why: match found.is_empty() {
                    true => Why::NoneFound,
                    false => Why::OnlySoftware(found),
                },
            },
        });
    }
    match usable.next() {
        Some(f) => Ok(gpu(f, Why::Asked { of: 1 })),
        None => Err(DeviceError::NoAdapter {
            apis: apis.to_vec(),
            others: list(&enumerate(Api::Auto).await, false),
        }),
    }
}

fn gpu(found: &Found, why: Why) -> Choice {
    Choice::Gpu {
        found: Box::new(found.clone()),
        why,
    }
}

/// Adapters in one line, with their numbers if these are all there are.
pub fn list(found: &[Found], numbered: bool) -> String {
    if found.is_empty() {
        return "none".to_owned();
    }
    let line = |(place, found): (usize, &Found)| match numbered {
        true => format!("{}: {found}", place + 1),
        false => found.to_string(),
    };
    let lines: Vec<String> = found.iter().enumerate().map(line).collect();
    lines.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, driver: &str, driver_info: &str) -> AdapterInfo {
        let mut info = AdapterInfo::new(DeviceType::DiscreteGpu, Backend::Vulkan);
        info.name = name.to_owned();
        info.driver = driver.to_owned();
        info.driver_info = driver_info.to_owned();
        info
    }

    #[test]
    fn an_adapter_is_picked_by_number_name_or_driver() {
        let card = info("NVIDIA GeForce RTX 4090", "NVIDIA", "550.54");
        let infos = [
            card.clone(),
            card, // two of one kind
            info("AMD Radeon 680M", "radv", "Mesa 24.1"),
            info("llvmpipe (LLVM 17)", "llvmpipe", "Mesa 24.1 (LLVM 17)"),
            info("Mesa Virtual", "", ""),
        ];
        let infos: Vec<&AdapterInfo> = infos.iter().collect();
        let text = |text: &str| Pick::Text(text.to_owned());
        let name = |text: &str| Pick::Name(text.to_owned());
        let driver = |text: &str| Pick::Driver(text.to_owned());
        for (pick, places) in [
            (Pick::Number(0), &[][..]),
            (Pick::Number(1), &[0]),
            (Pick::Number(2), &[1]),
            (Pick::Number(5), &[4]),
            (Pick::Number(6), &[]),
            (Pick::Number(4090), &[]),
            (text("4090"), &[0, 1]),
            (text("geforce"), &[0, 1]),
            (text("MESA"), &[2, 3, 4]),
            (text("radeon 680m radv"), &[2]), // across the two
            (text("intel"), &[]),
            (name("mesa"), &[4]),
            (name("radv"), &[]),
            (driver("mesa"), &[2, 3]),
            (driver("llvm 17"), &[3]),
            (driver("radeon"), &[]),
        ] {
            assert_eq!(pick.among(&infos), places, "{pick:?}");
        }
    }

    #[test]
    fn lists_of_apis_are_wgpus() {
        for (list, apis) in [
            ("vulkan", &[Api::Vulkan][..]),
            ("VK", &[Api::Vulkan]),
            ("mtl,d3d12", &[Api::Metal, Api::Dx12]),
            ("gl, vulkan", &[Api::Gl, Api::Vulkan]),
            (" OpenGL ", &[Api::Gl]),
        ] {
            assert_eq!(Api::of_list(list).as_deref(), Ok(apis), "{list}");
        }
        for (list, part) in [
            ("", ""),
            ("fast", "fast"),
            ("vulkan,", ""),
            ("gl,cpu", "cpu"),
            ("webgpu", "webgpu"),
        ] {
            assert_eq!(Api::of_list(list), Err(part.to_owned()), "{list}");
        }
    }
}
