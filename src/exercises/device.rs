//! Exercises on a GPU, after the interpreter has found them right: a loop without end, or invocations that get
//! in each other's way, would be found by luck there.

use std::borrow::Cow;
use std::time::Duration;

use wgpu::Buffer;

use super::check::{Verdict, judge};
use super::list::Exercise;
use super::task::Task;
use crate::backend::DeviceError;
use crate::gpu::adapter::Found;
use crate::gpu::device::Gpu;
use crate::gpu::shader::{Module, Part, Source};
use crate::gpu::single::Single;

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

    /// Runs a text that [`check`](super::check()) has found right, and judges it by the same measure; also the
    /// time of a launch, on average.
    ///
    /// # Errors
    ///
    /// The device refuses the text, or failed.
    pub async fn check(
        &self,
        exercise: &Exercise,
        text: &str,
    ) -> Result<(Verdict, Duration), DeviceError> {
        let task = Task::of(exercise);
        let buffers: Vec<Buffer> = task
            .buffers
            .iter()
            .enumerate()
            .map(|(binding, words)| self.upload(binding, words))
            .collect();
        let module = module(exercise, &task, text);
        let bound: Vec<(&Buffer, bool)> = buffers
            .iter()
            .enumerate()
            .map(|(binding, buffer)| (buffer, task.writes(binding)))
            .collect();
        let single = Single::new(&self.gpu, &module, &bound).await?;
        let written: Vec<usize> = (0..buffers.len()).filter(|&b| task.writes(b)).collect();
        let all: Vec<(&Buffer, u64, u64)> = written
            .iter()
            .map(|&binding| (&buffers[binding], 0, 4 * task.buffers[binding].len() as u64))
            .collect();
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        single.encode(&mut encoder, task.groups, 1);
        let read = self.gpu.finish_and_read(encoder, &all).await?;
        let words = read.iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes));
        let left = written.iter().map(|&binding| binding as u32).zip(words);
        let verdict = judge(exercise, &task, left.collect());
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        single.encode(&mut encoder, task.groups, TIMED);
        let done = self.gpu.submit(encoder, &all).wait().await?;
        let took = done.ended.duration_since(done.submitted) / TIMED as u32;
        Ok((verdict, took))
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
