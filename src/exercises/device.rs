//! Exercises on a GPU, after the interpreter has found them right: a loop without end, or invocations that get
//! in each other's way, would be found by luck there.

use std::borrow::Cow;
use std::time::Duration;

use bytemuck::pod_collect_to_vec;
use wgpu::Buffer;

use super::check::{Verdict, judge};
use super::list::Exercise;
use super::task::Task;
use crate::backend::DeviceError;
use crate::gpu::adapter::Found;
use crate::gpu::device::Gpu;
use crate::gpu::shader::{Module, Part, Source};
use crate::gpu::single::Single;
use crate::gpu::submission::Done;

/// Launches that are timed together.
const TIMED: usize = 100;

/// An adapter on which exercises run.
pub struct Device {
    pub(super) gpu: Gpu,
}

impl Device {
    /// Opens an adapter.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub async fn open(found: &Found) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(found).await?;
        Ok(Self { gpu })
    }

    /// Runs a text that [`check`](super::check()) has found right, and judges it by the same measure.
    ///
    /// # Errors
    ///
    /// The device refuses the text, or failed.
    pub async fn check(&self, exercise: &Exercise, text: &str) -> Result<Verdict, DeviceError> {
        let ready = Ready::new(self, exercise, text).await?;
        let done = ready.launch(&self.gpu, 1).await?;
        let words = done.read.iter().map(|bytes| pod_collect_to_vec(bytes));
        let left = ready
            .written
            .iter()
            .map(|&binding| binding as u32)
            .zip(words);
        Ok(judge(exercise, &ready.task, left.collect()))
    }

    /// How long a launch of a right text takes, on average over some.
    ///
    /// # Errors
    ///
    /// The device refuses the text, or failed.
    pub async fn time(&self, exercise: &Exercise, text: &str) -> Result<Duration, DeviceError> {
        let ready = Ready::new(self, exercise, text).await?;
        ready.launch(&self.gpu, 1).await?; // some drivers compile only now
        let done = ready.launch(&self.gpu, TIMED).await?;
        Ok(done.ended.duration_since(done.submitted) / TIMED as u32)
    }

    /// A buffer with these words.
    pub(super) fn upload(&self, binding: usize, words: &[u32]) -> Buffer {
        let label = format!("binding {binding}");
        let buffer = self.gpu.storage(&label, 4 * words.len() as u64);
        self.gpu
            .queue
            .write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    }
}

/// A text on a device, ready to be launched.
struct Ready {
    task: Task,
    single: Single,
    buffers: Vec<Buffer>,
    /// The bindings that it writes.
    written: Vec<usize>,
}

impl Ready {
    async fn new(device: &Device, exercise: &Exercise, text: &str) -> Result<Self, DeviceError> {
        let task = Task::of(exercise);
        let words = task.buffers.iter().enumerate();
        let buffers: Vec<Buffer> = words
            .map(|(binding, words)| device.upload(binding, words))
            .collect();
        let bound: Vec<(&Buffer, bool)> = buffers
            .iter()
            .enumerate()
            .map(|(binding, buffer)| (buffer, task.writes(binding)))
            .collect();
        let module = module(exercise, &task, text);
        let single = Single::new(&device.gpu, &module, &bound).await?;
        let written = (0..buffers.len()).filter(|&b| task.writes(b)).collect();
        Ok(Self {
            task,
            single,
            buffers,
            written,
        })
    }

    /// Launches the kernel `times` times, and reads the buffers that it writes.
    async fn launch(&self, gpu: &Gpu, times: usize) -> Result<Done, DeviceError> {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        self.single.encode(&mut encoder, self.task.groups, times);
        let bytes = |binding: usize| 4 * self.task.buffers[binding].len() as u64;
        let all: Vec<(&Buffer, u64, u64)> = self
            .written
            .iter()
            .map(|&binding| (&self.buffers[binding], 0, bytes(binding)))
            .collect();
        gpu.submit(encoder, &all).wait().await
    }
}

/// The module of a task with a text in it, under the exercise's name.
pub(super) fn module(exercise: &Exercise, task: &Task, text: &str) -> Module {
    Module {
        source: Source::new([Part {
            file: exercise.file,
            text: Cow::Owned(task.module(text)),
        }]),
        entry_points: task.entry,
    }
}
