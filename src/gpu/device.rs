//! An opened adapter: pipelines, uploads and downloads, with every fault turned into an error.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, ComputePipeline, Device, Features, PollError, PollType,
    Queue, ShaderModule, SubmissionIndex,
};

use super::GpuError;
use super::adapter::Found;
use super::shader::{Module, Source};
use crate::cores::{cores, share_out};

/// How long a chunk may take. The training loop aims at a tenth of a second, but a chunk has one step
/// at least: at the largest sizes that is 5e10 multiplications, a quarter of a minute and more at the
/// 3e9 a second that lavapipe does on two cores at hidden 1,024 and batch 1,024.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A device with its queue, and the first fault that was reported outside a call. A clone is another
/// handle to the same device.
#[derive(Clone)]
pub struct Gpu {
    /// wgpu's device.
    pub device: Device,
    /// Its queue.
    pub queue: Queue,
    fault: Arc<Mutex<Option<Fault>>>,
    timeout: Arc<Mutex<Duration>>,
}

/// What a driver or the API layer reported.
#[derive(Debug)]
struct Fault {
    message: String,
    /// Whether the device is gone with it.
    lost: bool,
}

impl Gpu {
    /// What is used where it is there.
    const FEATURES: Features = Features::SUBGROUP
        .union(Features::SUBGROUP_BARRIER)
        .union(Features::TIMESTAMP_QUERY);

    /// Opens an adapter with all that it offers.
    pub fn open(found: &Found) -> Result<Self, GpuError> {
        Self::open_without(found, Features::empty())
    }

    /// Opens an adapter as if it did not have some features, which other adapters lack.
    pub fn open_without(found: &Found, features: Features) -> Result<Self, GpuError> {
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("gpu-makemore"),
            required_limits: found.adapter.limits(),
            required_features: (found.adapter.features() & Self::FEATURES).difference(features),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(found.adapter.request_device(&descriptor))
            .map_err(|e| GpuError::Open {
                adapter: found.info.name.clone(),
                message: e.to_string(),
            })?;
        let fault = Arc::new(Mutex::new(None));
        // wgpu's own handler panics; a fault belongs to the call that waits for the result.
        let keep = Arc::clone(&fault);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            // An internal error is the driver's, not one of a call that was wrong.
            let lost = matches!(error, wgpu::Error::Internal { .. });
            record(&keep, error.to_string(), lost);
        }));
        let keep = Arc::clone(&fault);
        device.set_device_lost_callback(move |reason, message| {
            let reason = format!("{reason:?}").to_lowercase();
            let message = match message.is_empty() {
                true => format!("reason: {reason}"),
                false => format!("reason: {reason}: {message}"),
            };
            record(&keep, message, true);
        });
        Ok(Self {
            device,
            queue,
            fault,
            timeout: Arc::new(Mutex::new(TIMEOUT)),
        })
    }

    /// The first fault since the device was opened, as an error; the loss of the device before any
    /// other.
    pub fn check(&self) -> Result<(), GpuError> {
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Fault {
                message,
                lost: true,
            }) => Err(GpuError::Lost(message.clone())),
            Some(Fault { message, .. }) => Err(GpuError::Fault(message.clone())),
            None => Ok(()),
        }
    }

    /// How long work may take from now on, on all handles to this device.
    pub fn set_timeout(&self, timeout: Duration) {
        *self.timeout.lock().unwrap_or_else(PoisonError::into_inner) = timeout;
    }

    /// Waits for a submission, or for all of them.
    pub(super) fn wait(&self, submission: Option<&SubmissionIndex>) -> Result<(), GpuError> {
        let mut submission = submission.cloned();
        let timeout = *self.timeout.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            // A time-out of zero is over before the device is asked, however fast the device is: so a
            // test can have one.
            if left.is_zero() {
                // A device waits for its work before it is dropped, and if that work hangs, it
                // waits for ever. So this one is never dropped.
                std::mem::forget(self.clone());
                let seconds = timeout.as_secs_f64();
                return Err(GpuError::Timeout { seconds });
            }
            let waited = self.device.poll(PollType::Wait {
                submission_index: submission.clone(),
                timeout: Some(left),
            });
            match waited {
                Ok(_) => return Ok(()),
                // What was refused was not submitted. If it was for the loss of the device, wgpu tells of
                // that when all other work has ended.
                Err(PollError::WrongSubmissionIndex(..)) if submission.is_some() => {
                    submission = None;
                }
                // OpenGL waits for four seconds at most, whatever it is asked for.
                Err(PollError::Timeout) => {}
                Err(error) => return Err(GpuError::Fault(error.to_string())),
            }
        }
    }

    /// Reads one source.
    ///
    /// # Errors
    ///
    /// [`GpuError::Shader`], with the first mistake in it.
    pub fn module(&self, source: &Source) -> Result<ShaderModule, GpuError> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(source.name()),
                source: wgpu::ShaderSource::Wgsl(source.text().into()),
            });
        let info = pollster::block_on(module.get_compilation_info());
        let refused = pollster::block_on(scope.pop());
        if let Some(message) = info
            .messages
            .into_iter()
            .find(|m| m.message_type == wgpu::CompilationMessageType::Error)
        {
            let line = message.location.map_or(1, |l| l.line_number);
            let (file, line) = source.locate(line);
            return Err(GpuError::Shader {
                file,
                line,
                message: message.message,
            });
        }
        if let Some(error) = refused {
            return Err(GpuError::Shader {
                file: source.name(),
                line: 1,
                message: error.to_string(),
            });
        }
        Ok(module)
    }

    /// Compiles an entry point with constants for its overrides, and a bind group layout derived
    /// from the bindings that it uses.
    pub fn pipeline(
        &self,
        module: &ShaderModule,
        entry: &str,
        constants: &[(&str, f64)],
    ) -> ComputePipeline {
        self.device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry),
                layout: None,
                module,
                entry_point: Some(entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants,
                    // Every kernel writes what it reads there; zeros would be written by each
                    // workgroup of each launch.
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            })
    }

    /// Compiles the first entry points of some modules, each with its constants, several at once.
    ///
    /// # Errors
    ///
    /// [`GpuError::Shader`], with the first mistake in the first module that has one. A kernel that is
    /// refused later on is a fault of the device.
    pub fn compile<const N: usize>(
        &self,
        kernels: [(&Module, &[(&str, f64)]); N],
    ) -> Result<Vec<ComputePipeline>, GpuError> {
        let compiled = share_out(cores(), kernels, |(module, constants)| {
            let shader = self.module(&module.source)?;
            Ok(self.pipeline(&shader, module.entry_points[0], constants))
        });
        compiled.into_iter().collect()
    }

    /// Compiles the entry points of one source, which has no overrides or leaves them as they are.
    ///
    /// # Errors
    ///
    /// The source has a mistake, or the device failed.
    pub fn pipelines(
        &self,
        source: &Source,
        entry_points: &[&'static str],
    ) -> Result<Vec<ComputePipeline>, GpuError> {
        let module = self.module(source)?;
        let pipelines = entry_points
            .iter()
            .map(|entry| self.pipeline(&module, entry, &[]))
            .collect();
        self.check()?;
        Ok(pipelines)
    }

    /// A storage buffer of `bytes`, zeroed, that can be written and read back.
    pub fn storage(&self, label: &str, bytes: u64) -> Buffer {
        self.device.create_buffer(&BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    }
}

/// Keeps the first message: later faults are mostly consequences of it. But of a lost device wgpu may
/// tell after what it was lost by.
fn record(fault: &Mutex<Option<Fault>>, message: String, lost: bool) {
    let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
    if fault.as_ref().is_none_or(|fault| lost && !fault.lost) {
        *fault = Some(Fault { message, lost });
    }
}
