//! Which device a session runs on, and why, in the words of a browser.

use gpu_makemore::Api;
use gpu_makemore::gpu::adapter::{Choice, Why, choose};
use js_sys::{Reflect, global};
use wasm_bindgen::JsValue;

/// What would bring WebGPU, as of November 2026.
const BROWSERS: &str = "Chrome and Edge have WebGPU on Windows, macOS, ChromeOS and Android, and on Linux with \
     a recent driver; Safari has it from version 26 on; Firefox on Windows and macOS, elsewhere with \
     dom.webgpu.enabled in about:config";

/// A device, and why it is taken.
pub struct Device {
    /// The engine's own choice.
    pub choice: Choice,
    /// Why.
    pub why: String,
    /// Whether the CPU will do as well, if this device fails to open.
    pub or_cpu: bool,
}

impl Device {
    /// The device for `auto`, `webgpu` or `cpu`.
    ///
    /// # Errors
    ///
    /// WebGPU is asked for and not there, or the text is none of the three.
    pub async fn of(asked: &str) -> Result<Self, String> {
        match asked {
            "cpu" => Ok(Self::cpu("backend=cpu".to_owned())),
            // Without it, wgpu would be asked for what is not there.
            "auto" | "webgpu" if !offered() => match asked {
                "auto" => Ok(Self::cpu(missing())),
                _ => Err(format!("backend=webgpu: {}", missing())),
            },
            "webgpu" => {
                let choice = choose(&[Api::WebGpu], None).await;
                let choice = choice.map_err(|_| format!("backend=webgpu: {}", missing()))?;
                Ok(Self {
                    why: format!("backend=webgpu{}", software(&choice)),
                    choice,
                    or_cpu: false,
                })
            }
            "auto" => {
                let choice = choose(&[Api::Auto], None)
                    .await
                    .map_err(|e| e.to_string())?;
                let why = match &choice {
                    Choice::Gpu { .. } => "this browser offers WebGPU".to_owned(),
                    Choice::Cpu {
                        why: Why::OnlySoftware(_),
                    } => "WebGPU computes on the processor here, and the CPU step is much faster; \
                         backend=webgpu would use it"
                        .to_owned(),
                    Choice::Cpu { .. } => missing(),
                };
                Ok(Self {
                    choice,
                    why,
                    or_cpu: true,
                })
            }
            other => Err(format!("backend={other}: auto, webgpu or cpu is wanted")),
        }
    }

    /// The CPU, with the reason.
    pub fn cpu(why: String) -> Self {
        let choice = Choice::Cpu {
            why: Why::Asked { of: 1 },
        };
        Self {
            choice,
            why,
            or_cpu: false,
        }
    }

    /// For people.
    pub fn name(&self) -> String {
        match &self.choice {
            Choice::Cpu { .. } => "CPU, in WebAssembly".to_owned(),
            Choice::Gpu { found, .. } if found.info.name.is_empty() => {
                "WebGPU; the browser does not name the adapter".to_owned()
            }
            Choice::Gpu { found, .. } => format!("{}, WebGPU", found.info.name),
        }
    }
}

fn software(choice: &Choice) -> &'static str {
    match choice {
        Choice::Gpu { found, .. } if found.is_software() => {
            "; a software adapter, which computes on the processor: backend=cpu is much faster"
        }
        _ => "",
    }
}

/// A property of a JavaScript object; undefined if it has none of this name.
fn property(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

/// Whether this browser has WebGPU, here in a worker.
fn offered() -> bool {
    !property(&property(&global(), "navigator"), "gpu").is_undefined()
}

/// Why there is no WebGPU, and what would bring it.
fn missing() -> String {
    if property(&global(), "isSecureContext") == JsValue::FALSE {
        return "WebGPU is only for pages from https or from this machine; open the page by one of them"
            .to_owned();
    }
    if !offered() {
        return format!("this browser has no WebGPU, or not in workers; {BROWSERS}");
    }
    format!(
        "this browser has WebGPU and offers no adapter: its driver may be on a list of exceptions; {BROWSERS}"
    )
}
