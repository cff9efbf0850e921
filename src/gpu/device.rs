//! An opened adapter: pipelines, uploads and downloads, with every fault turned into an error.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot::Receiver;
use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindingResource, Buffer, BufferAsyncError,
    BufferDescriptor, BufferUsages, ComputePipeline, Device, Features, Queue, ShaderModule,
    SubmissionIndex,
};
#[cfg(not(target_arch = "wasm32"))]
use wgpu::{PollError, PollType};

use super::adapter::Found;
use super::shader::{Bindings, Module};
use crate::backend::DeviceError;
#[cfg(not(target_arch = "wasm32"))]
use crate::clock::Instant;
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
    compilers: usize,
    kept: Arc<Mutex<Option<Kept>>>,
    fault: Arc<Mutex<Option<Fault>>>,
    timeout: Arc<Mutex<Duration>>,
}

/// What has been compiled, for whoever asks for the same again.
#[derive(Default)]
struct Kept {
    /// By their texts.
    modules: HashMap<String, ShaderModule>,
    pipelines: HashMap<Compiled, ComputePipeline>,
}

/// What a pipeline is compiled from: a module, an entry point, and the names and bits of its constants.
type Compiled = (ShaderModule, String, Vec<(String, u64)>);

/// What a driver or the API layer reported.
#[derive(Debug)]
struct Fault {
    message: String,
    /// Whether the device is gone with it.
    lost: bool,
}

impl Gpu {
    /// Features that are used where the adapter has them.
    const FEATURES: Features = Features::SUBGROUP
        .union(Features::SUBGROUP_BARRIER)
        .union(Features::TIMESTAMP_QUERY);

    /// Opens an adapter with its own limits and those of its features that are used.
    pub async fn open(found: &Found) -> Result<Self, DeviceError> {
        Self::open_without(found, Features::empty()).await
    }

    /// Opens an adapter as if it did not have some features, which other adapters lack.
    pub async fn open_without(found: &Found, features: Features) -> Result<Self, DeviceError> {
        // In a browser an adapter opens one device and no other.
        #[cfg(target_arch = "wasm32")]
        let found = &found.again().await?;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("gpu-makemore"),
            required_limits: found.adapter.limits(),
            required_features: (found.adapter.features() & Self::FEATURES).difference(features),
            ..Default::default()
        };
        let (device, queue) = found
            .adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| DeviceError::Open {
                adapter: found.info.name.clone(),
                message: e.to_string(),
            })?;
        let fault = Arc::new(Mutex::new(None));
        // wgpu's own handler panics. Here the call that waits for the result returns the error.
        let keep = Arc::clone(&fault);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            // An internal error comes from the driver, not from a wrong call.
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
        // An OpenGL context compiles one kernel at a time, and wgpu panics where another one has waited for it for
        // six seconds. That was seen: a slow machine takes longer for one kernel.
        let compilers = if found.info.backend == wgpu::Backend::Gl {
            1
        } else {
            cores()
        };
        Ok(Self {
            device,
            queue,
            compilers,
            kept: Arc::default(),
            fault,
            timeout: Arc::new(Mutex::new(TIMEOUT)),
        })
    }

    /// How many kernels may be compiled at once.
    pub fn compilers(&self) -> usize {
        self.compilers
    }

    /// From now on keeps what is compiled, on all handles to this device, for whoever asks for the same again:
    /// layouts of a step have most of their kernels in common. Or lets go of it and keeps nothing.
    pub fn keep_compiled(&self, keep: bool) {
        *self.lock_kept() = keep.then(Kept::default);
    }

    /// Looks something up in what is kept, or adds to it. Nothing, if nothing is kept.
    fn with_kept<R>(&self, work: impl FnOnce(&mut Kept) -> Option<R>) -> Option<R> {
        self.lock_kept().as_mut().and_then(work)
    }

    fn lock_kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first fault since the device was opened, as an error; the loss of the device before any
    /// other.
    pub fn check(&self) -> Result<(), DeviceError> {
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Fault {
                message,
                lost: true,
            }) => Err(DeviceError::Lost(message.clone())),
            Some(Fault { message, .. }) => Err(DeviceError::Fault(message.clone())),
            None => Ok(()),
        }
    }

    /// How long work may take from now on, on all handles to this device.
    pub fn set_timeout(&self, timeout: Duration) {
        *self.timeout.lock().unwrap_or_else(PoisonError::into_inner) = timeout;
    }

    /// Waits until the results of a submission are mapped; the callback of the mapping sends to `mapped`. Only
    /// here a browser differs: blocking is forbidden there, and the callback comes without polling.
    pub(super) async fn wait(
        &self,
        submission: &SubmissionIndex,
        mapped: Receiver<Result<(), BufferAsyncError>>,
    ) -> Result<(), DeviceError> {
        #[cfg(target_arch = "wasm32")]
        let told = {
            let _ = submission;
            mapped.await.ok()
        };
        #[cfg(not(target_arch = "wasm32"))]
        let told = {
            let mut mapped = mapped;
            self.poll(Some(submission))?;
            mapped.try_recv().ok().flatten()
        };
        match told {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.unreadable(error.to_string())),
            None => Err(self.unreadable("the results were not mapped".to_owned())),
        }
    }

    /// The error for results that cannot be read though the work has ended: the loss of the device, if it
    /// was that.
    pub(super) fn unreadable(&self, message: String) -> DeviceError {
        // wgpu reports a lost device only once all work has ended.
        #[cfg(not(target_arch = "wasm32"))]
        if let Err(error) = self.poll(None) {
            return error;
        }
        let fault = DeviceError::Fault(message);
        self.check().err().unwrap_or(fault)
    }

    /// Blocks until a submission has ended, or all of them, and calls the callbacks of what they mapped.
    #[cfg(not(target_arch = "wasm32"))]
    fn poll(&self, submission: Option<&SubmissionIndex>) -> Result<(), DeviceError> {
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
                return Err(DeviceError::Timeout { seconds });
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
                Err(error) => return Err(DeviceError::Fault(error.to_string())),
            }
        }
    }

    /// Reads one module. The front end has it when this returns; the future tells what it found.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Shader`], with the first mistake in it: an entry point that it lacks is one.
    pub fn module<'a>(
        &self,
        module: &'a Module,
    ) -> impl Future<Output = Result<ShaderModule, DeviceError>> + use<'a> {
        let source = &module.source;
        let lacks_entry_point = module.lacks_entry_point();
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(source.name()),
                source: wgpu::ShaderSource::Wgsl(source.text().into()),
            });
        // Scopes nest: this one has to end before the next module begins.
        let (info, refused) = (module.get_compilation_info(), scope.pop());
        async move {
            let (info, refused) = (info.await, refused.await);
            let is_error = |message: &wgpu::CompilationMessage| {
                message.message_type == wgpu::CompilationMessageType::Error
            };
            if let Some(message) = info.messages.into_iter().find(is_error) {
                let place = message.location;
                let place = place.map_or((1, 1), |at| (at.line_number, at.line_position));
                return Err(source.error(place, &message.message).into());
            }
            match (refused, lacks_entry_point) {
                (None, None) => Ok(module),
                (None, Some(error)) => Err(error.into()),
                (Some(error), _) => Err(source.error((1, 1), &error.to_string()).into()),
            }
        }
    }

    /// Reads several sources, several at once on a processor with several cores.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Shader`], with the first mistake in the first source that has one.
    pub async fn modules<'m>(
        &self,
        modules: impl IntoIterator<Item = &'m Module, IntoIter: Send>,
    ) -> Result<Vec<ShaderModule>, DeviceError> {
        let known_or_reading = |module: &'m Module| {
            let text = module.source.text();
            let known = self.with_kept(|kept| kept.modules.get(&text).cloned());
            known.ok_or_else(|| (text, Box::pin(self.module(module))))
        };
        let mut read = Vec::new();
        for module in share_out(cores(), modules, known_or_reading) {
            read.push(match module {
                Ok(known) => known,
                Err((text, reading)) => {
                    let module = reading.await?;
                    self.with_kept(|kept| kept.modules.insert(text, module.clone()));
                    module
                }
            });
        }
        Ok(read)
    }

    /// Compiles an entry point with constants for its overrides, and a bind group layout derived
    /// from the bindings that it uses.
    pub fn pipeline(
        &self,
        module: &ShaderModule,
        entry: &str,
        constants: &[(&str, f64)],
    ) -> ComputePipeline {
        let bits = |&(name, value): &(&str, f64)| (name.to_owned(), value.to_bits());
        let bits = constants.iter().map(bits).collect();
        let key = (module.clone(), entry.to_owned(), bits);
        if let Some(known) = self.with_kept(|kept| kept.pipelines.get(&key).cloned()) {
            return known;
        }
        let pipeline = self
            .device
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
            });
        self.with_kept(|kept| kept.pipelines.insert(key, pipeline.clone()));
        pipeline
    }

    /// Compiles the first entry points of some modules, each with its constants, several at once where the API
    /// can do that.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Shader`], with the first mistake in the first module that has one. A kernel that is
    /// refused later on is a fault of the device.
    pub async fn compile<const N: usize>(
        &self,
        kernels: [(&Module, &[(&str, f64)]); N],
    ) -> Result<Vec<ComputePipeline>, DeviceError> {
        let shaders = self.modules(kernels.map(|(module, _)| module)).await?;
        let kernels = shaders.iter().zip(kernels);
        Ok(share_out(
            self.compilers(),
            kernels,
            |(shader, (module, constants))| {
                self.pipeline(shader, module.entry_points[0], constants)
            },
        ))
    }

    /// Binds resources to the variables of a kernel, by their names in its module.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Shader`]: the module has no variable of one of the names.
    pub fn bind<'a>(
        &self,
        pipeline: &ComputePipeline,
        kernel: &str,
        bindings: &Bindings,
        resources: impl IntoIterator<Item = (&'a str, BindingResource<'a>)>,
    ) -> Result<BindGroup, DeviceError> {
        let entry = |(name, resource)| -> Result<BindGroupEntry<'_>, DeviceError> {
            let binding = bindings.number(name, kernel)?;
            Ok(BindGroupEntry { binding, resource })
        };
        let entries: Result<Vec<_>, _> = resources.into_iter().map(entry).collect();
        Ok(self.device.create_bind_group(&BindGroupDescriptor {
            label: Some(kernel),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries?,
        }))
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

/// Keeps the first message, since later faults are mostly consequences of it; but the loss of the device
/// replaces a fault, which wgpu may report first.
fn record(fault: &Mutex<Option<Fault>>, message: String, lost: bool) {
    let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
    if fault.as_ref().is_none_or(|fault| lost && !fault.lost) {
        *fault = Some(Fault { message, lost });
    }
}
