//! Measures what a driver really does before the program relies on it, by a few tiny kernels.
//!
//! Training can only be right if each of the measured properties holds; each measurement takes a fraction of
//! a millisecond. [`Answers`] holds the results, and [`Answers::refuses`] what they mean for each schedule.

mod answers;

use std::time::Duration;

use wgpu::{Buffer, CommandEncoder, ComputePipeline};

pub use answers::{Answers, Counters, Edge, Finding, Loops, Memory};

use super::adapter::Found;
use super::device::Gpu;
use super::executor::to_f32;
use super::plan::Plan;
use super::shader::{Module, ProbeModules};
use super::tuning::WorkSplit;
use crate::backend::{DeviceError, Schedule};
use crate::clock::Instant;
use crate::model::dims::Dims;

/// Loop iterations that are tried: more than a dispatch needs to amortize its launch, within a few
/// milliseconds on the slowest device.
const ROUNDS: u32 = 1 << 18;
/// Launches in a chain.
const LAUNCHES: u32 = 16;
/// Invocations of each of those launches: four workgroups of 64.
const LAUNCHED: u32 = 256;
/// Barriers at which the invocations of the resident kernel's workgroup wait for each other.
const COUNTED: u32 = 64;
/// Invocations that share workgroup memory.
const SHARING: u32 = 64;
/// Results for each value, as in `shaders/probe/arithmetic.wgsl`.
const RESULTS: usize = 9;
/// Half the smallest number that is not subnormal.
const SUBNORMAL: f32 = f32::MIN_POSITIVE / 2.0;
/// Arguments for the formulas.
#[rustfmt::skip]
const VALUES: [f32; 18] = [
    0.0, 1e-4, -1e-4, 0.5, -0.5, 9.0, -9.0, 44.0, -44.0, -87.0, 89.0, -89.0, f32::MAX, -f32::MAX,
    f32::NAN, f32::INFINITY, f32::NEG_INFINITY, SUBNORMAL,
];

/// How long the probe took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// To create its pipelines and run them once. Some drivers compile a kernel only at its first launch.
    pub first: Duration,
    /// To run them again.
    pub again: Duration,
}

/// A kernel with its buffers, ready to run.
struct Ready {
    pipeline: ComputePipeline,
    bindings: Vec<wgpu::BindGroup>,
    workgroups: u32,
}

impl Ready {
    /// One workgroup that sees `buffers`, each under its name in the module.
    fn new(
        gpu: &Gpu,
        module: &Module,
        pipeline: &ComputePipeline,
        buffers: &[(&str, &Buffer)],
    ) -> Result<Self, DeviceError> {
        let mut ready = Self {
            pipeline: pipeline.clone(),
            bindings: Vec::new(),
            workgroups: 1,
        };
        ready.bind(gpu, module, buffers)?;
        Ok(ready)
    }

    /// Adds a set of bindings.
    fn bind(
        &mut self,
        gpu: &Gpu,
        module: &Module,
        buffers: &[(&str, &Buffer)],
    ) -> Result<(), DeviceError> {
        let (kernel, bindings) = (module.entry_points[0], module.source.bindings());
        let resources = buffers
            .iter()
            .map(|&(name, buffer)| (name, buffer.as_entire_binding()));
        let group = gpu.bind(&self.pipeline, kernel, &bindings, resources)?;
        self.bindings.push(group);
        Ok(())
    }

    /// Records `times` launches, with each set of bindings in turn.
    fn encode(&self, encoder: &mut CommandEncoder, times: u32) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        for (_, bindings) in (0..times).zip(self.bindings.iter().cycle()) {
            pass.set_bind_group(0, bindings, &[]);
            pass.dispatch_workgroups(self.workgroups, 1, 1);
        }
    }
}

/// A storage buffer that holds these words.
fn holding(gpu: &Gpu, words: &[u32]) -> Buffer {
    let bytes = bytemuck::cast_slice(words);
    let buffer = gpu.storage("probe", bytes.len() as u64);
    gpu.queue.write_buffer(&buffer, 0, bytes);
    buffer
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytemuck::pod_collect_to_vec(bytes)
}

/// All measurements, compiled and bound.
pub struct Probe {
    gpu: Gpu,
    loops: Ready,
    launches: Ready,
    arithmetic: Ready,
    memory: Ready,
    counters: Ready,
    split: WorkSplit,
    bytes: u32,
    made: Duration,
    /// Results: iterations of the loop; numbers of the launches; results of the arithmetic; first wrong word
    /// of each invocation; count of each invocation.
    left: [Buffer; 5],
}

impl Probe {
    /// The probe for a device, with the split that its resident kernel would have.
    ///
    /// # Errors
    ///
    /// The device failed, or refuses a kernel.
    pub async fn new(gpu: &Gpu, split: WorkSplit) -> Result<Self, DeviceError> {
        Self::with(gpu, split, &ProbeModules::new(split.lanes > 1)).await
    }

    /// A probe with kernels that tests may have changed.
    ///
    /// # Errors
    ///
    /// As for [`Probe::new`].
    pub async fn with(
        gpu: &Gpu,
        split: WorkSplit,
        modules: &ProbeModules,
    ) -> Result<Self, DeviceError> {
        let start = Instant::now();
        let bytes = gpu.device.limits().max_compute_workgroup_storage_size;
        let (memory_words, workers) = (bytes / 4, split.workers as u32);

        let rounds = holding(gpu, &[ROUNDS, 0, 0]);
        let numbers = [(); 2].map(|()| holding(gpu, &[0; LAUNCHED as usize]));
        let values = holding(gpu, &VALUES.map(f32::to_bits));
        let results = holding(gpu, &[0; RESULTS * VALUES.len()]);
        let wrong = holding(gpu, &[0; SHARING as usize]);
        let counted = holding(gpu, &vec![0; split.workers]);

        let kernels: [(&Module, &[(&str, f64)]); 5] = [
            (&modules.loops, &[]),
            (&modules.launches, &[]),
            (&modules.arithmetic, &[]),
            (&modules.memory, &[("WORDS", memory_words.into())]),
            (&modules.counters, &[("WORKERS", workers.into())]),
        ];
        let pipelines = gpu.compile(kernels).await?;
        let [loops, launches, arithmetic, memory, counters] = &pipelines[..] else {
            unreachable!("as many pipelines as kernels")
        };
        let loops = Ready::new(gpu, &modules.loops, loops, &[("answers", &rounds)])?;
        let [first, second] = &numbers;
        let there = [("before", first), ("after", second)];
        let back = [("before", second), ("after", first)];
        let mut launches = Ready::new(gpu, &modules.launches, launches, &there)?;
        launches.bind(gpu, &modules.launches, &back)?;
        launches.workgroups = LAUNCHED / 64;
        let buffers = [("values", &values), ("results", &results)];
        let arithmetic = Ready::new(gpu, &modules.arithmetic, arithmetic, &buffers)?;
        let sharing = holding(gpu, &[memory_words]);
        let buffers = [("asked", &sharing), ("wrong", &wrong)];
        let memory = Ready::new(gpu, &modules.memory, memory, &buffers)?;
        let asked = holding(gpu, &[COUNTED]);
        let scratch = holding(gpu, &vec![0; split.workers]);
        let buffers = [
            ("asked", &asked),
            ("scratch", &scratch),
            ("counted", &counted),
        ];
        let counters = Ready::new(gpu, &modules.counters, counters, &buffers)?;
        gpu.check()?;
        // The last of an even number of launches writes the buffer that the first one read.
        let [numbers, _] = numbers;
        Ok(Self {
            gpu: gpu.clone(),
            loops,
            launches,
            arithmetic,
            memory,
            counters,
            split,
            bytes: 4 * memory_words,
            made: start.elapsed(),
            left: [rounds, numbers, results, wrong, counted],
        })
    }

    /// Measures everything in one submission.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn ask(&self) -> Result<Answers, DeviceError> {
        let [rounds, numbers, results, wrong, counted] = &self.left;
        // A result that no kernel wrote must not pass for a right one.
        let fill = |buffer: &Buffer, first: u64, word: u32| {
            let words = vec![word; (buffer.size() - first) as usize / 4];
            let bytes = bytemuck::cast_slice(&words);
            self.gpu.queue.write_buffer(buffer, first, bytes);
        };
        fill(rounds, 4, 0);
        fill(numbers, 0, 0);
        fill(results, 0, 0x7f80_0001); // a NaN that no operation makes
        fill(wrong, 0, 0);
        fill(counted, 0, 0);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.loops.encode(&mut encoder, 1);
        self.launches.encode(&mut encoder, LAUNCHES);
        self.arithmetic.encode(&mut encoder, 1);
        self.memory.encode(&mut encoder, 1);
        self.counters.encode(&mut encoder, 1);
        let sources = self.left.each_ref().map(|b| (b, 0, b.size()));
        let read = self.gpu.finish_and_read(encoder, &sources).await?;
        let results = to_f32(&read[2]);
        let edges = VALUES.iter().zip(results.chunks_exact(RESULTS));
        Ok(Answers {
            loops: Loops {
                asked: ROUNDS,
                done: words(&read[0])[1],
            },
            launches: Counters {
                asked: LAUNCHES,
                done: words(&read[1]),
            },
            edges: edges.map(|(&x, results)| Edge::new(x, results)).collect(),
            memory: Memory {
                bytes: self.bytes,
                right: 4 * words(&read[3]).into_iter().min().unwrap_or(0),
            },
            counters: Counters {
                asked: COUNTED,
                done: words(&read[4]),
            },
            subgroup: self.split.lanes > 1,
        })
    }

    /// Measures twice and times both: the difference is the time of the driver's compiler. The answers are
    /// those of the first run, when the buffers could not hold old results.
    ///
    /// # Errors
    ///
    /// As for [`Probe::ask`].
    pub async fn ask_timed(&self) -> Result<(Answers, Took), DeviceError> {
        let start = Instant::now();
        let answers = self.ask().await?;
        let first = self.made + start.elapsed();
        let start = Instant::now();
        self.ask().await?;
        let again = start.elapsed();
        Ok((answers, Took { first, again }))
    }
}

impl Answers {
    /// Measures a device, with the split that its resident kernel would have.
    ///
    /// # Errors
    ///
    /// The device failed, or refuses a kernel.
    pub async fn of(gpu: &Gpu, split: WorkSplit) -> Result<Self, DeviceError> {
        Probe::new(gpu, split).await?.ask().await
    }
}

/// Steps of the lecture that a dispatch of the resident schedule would have, or why it has none.
///
/// # Errors
///
/// As for [`Answers::check`]; or a step is longer than the driver's loops.
pub fn steps_of_a_dispatch(found: &Found, answers: &Answers) -> Result<usize, DeviceError> {
    answers.check(Schedule::Resident, &found.info.name)?;
    let dims = Dims::LECTURE;
    let plan = Plan::for_driver(
        found,
        dims,
        1,
        WorkSplit::of(found, &dims),
        answers.loops.done,
    )?;
    Ok(plan.steps_of_a_dispatch())
}
