//! `train --profile`: where a device's time goes, by kernel.
//!
//! A device that has timestamps notes its own time before and after each pass; so that a time
//! belongs to one kernel, each launch gets a pass of its own. The others are timed from outside, by
//! submissions. Only training steps are measured.

use std::time::{Duration, Instant};

use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, CommandEncoder, ComputePassDescriptor,
    ComputePassTimestampWrites, Features, QuerySet, QuerySetDescriptor, QueryType,
};

use super::device::Gpu;
use super::machine::{Launch, Layer, Layout, Slot};
use super::submission::Done;
use crate::dims::Dims;

/// Work of a kernel, by which its speed is told. Its time also depends on what is not counted here:
/// loads that miss a cache, waiting for other invocations, addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations; `None` for a kernel that only moves values.
    pub flops: Option<f64>,
    /// Bytes that have to cross the memory bus at least; `None` where that says nothing.
    pub bytes: Option<f64>,
}

impl Work {
    fn plus(self, other: Self) -> Self {
        // A kernel that computes nothing adds nothing to a sum.
        let sum = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
        Self {
            flops: sum(self.flops, other.flops),
            bytes: sum(self.bytes, other.bytes),
        }
    }

    fn times(self, count: u64) -> Self {
        let times = |x: f64| x * count as f64;
        Self {
            flops: self.flops.map(times),
            bytes: self.bytes.map(times),
        }
    }
}

/// The work of one launch of a training step that has `rows` rows.
pub fn work_of(launch: &Launch, layout: &Layout, rows: usize) -> Work {
    Work {
        flops: flops_of(launch, layout, rows),
        bytes: Some(bytes_of(launch, layout, rows)),
    }
}

/// Every `+ - * /`, `max`, `exp` counts as one operation, as the kernel does it for each element of
/// a tensor. What it does once a row, a column or a target (a mean, a logarithm, an inverse root) is left
/// out.
fn flops_of(launch: &Launch, layout: &Layout, rows: usize) -> Option<f64> {
    let dims = &layout.dims;
    let (fan_in, fan_out) = match launch.layer {
        Layer::First => (dims.fan_in(), dims.hidden),
        Layer::Second => (dims.hidden, dims.vocab),
    };
    // A sum of `fan_in` products, which begins with the bias: as many multiplications as additions.
    let product = 2 * rows * fan_in * fan_out;
    let flops = match launch.kernel {
        "linear_forward_kernel" => product,
        // dW and dx are a product each; db adds dy up.
        "linear_backward_kernel" => 2 * product + rows * fan_out,
        // And 3 for tanh_backward.
        "linear_tanh_backward_kernel" => 2 * product + rows * fan_out + 3 * rows * fan_in,
        // 2 for the mean, 4 for the variance, 2 to normalize, 2 to scale, 23 for tanh_forward.
        "batchnorm_tanh_forward_kernel" => (2 + 4 + 2 + 2 + 23) * rows * dims.hidden,
        // 3 for the two sums, 8 for dhprebn.
        "batchnorm_backward_kernel" => (3 + 8) * rows * dims.hidden,
        // 1 for the maximum, 2 for counts and 2 when they are made again, 1 for their sum, 1 for
        // probs, 3 for dlogits.
        "softmax_cross_entropy_kernel" => (1 + 2 + 2 + 1 + 1 + 3) * rows * dims.vocab,
        // One addition a part and value, but for the first part.
        "linear_forward_sum_kernel" => {
            let parts = layout.cut_of(launch.grid, dims.batch).parts;
            (parts - 1) * rows * fan_out
        }
        "linear_backward_input_sum_kernel" => {
            let parts = layout.cut_of(launch.grid, dims.batch).parts;
            (parts - 1) * rows * fan_in
        }
        "linear_backward_weight_sum_kernel" => {
            let parts = layout.cut_of(launch.grid, dims.batch).parts;
            (parts - 1) * (fan_in + 1) * fan_out
        }
        // Every embedding that was used is added to its token's.
        "embedding_backward_kernel" => rows * dims.fan_in(),
        // p - lr * grad
        "sgd_kernel" => 2 * dims.parameter_count(),
        _ => return None, // embedding_forward_kernel copies
    };
    Some(flops as f64)
}

/// Each tensor that is bound, once and without its pads: what the launch would move if it found
/// every value in a cache from the second time on. A kernel near the bandwidth of its device by this
/// count has nothing to gain but from moving less.
fn bytes_of(launch: &Launch, layout: &Layout, rows: usize) -> f64 {
    // The tensors have room for an evaluation batch, and lists for many steps.
    let step = Layout {
        rows,
        ..layout.clone()
    };
    let Dims { vocab, block, .. } = layout.dims;
    let values = |slot: Slot| match slot {
        Slot::X => (rows * block).div_ceil(4),
        Slot::Uses => vocab + 1 + rows * block,
        Slot::Lr => 1,
        Slot::Losses => rows,
        // At most: a target that comes twice after a context is listed once.
        Slot::Targets => rows + 1 + layout.dims.batch,
        Slot::Params => 2 * layout.dims.parameter_count(), // read and written
        Slot::Grads => layout.dims.parameter_count(),
        // Of the three rows, the backward pass reads bnvar_inv.
        Slot::Bnstats if launch.kernel == "batchnorm_backward_kernel" => layout.dims.hidden,
        _ => {
            let (rows, cols) = step.extent(slot);
            rows * cols
        }
    };
    let values: usize = launch.binds.iter().map(|&(_, slot)| values(slot)).sum();
    (size_of::<f32>() * values) as f64
}

/// What the calls of a kernel came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Entry point, or what else was timed.
    pub name: &'static str,
    /// The weight that tells two launches of the same kernel apart: `W1` or `W2`.
    pub weight: Option<&'static str>,
    /// Work in one training step.
    pub per_step: Work,
    /// How often it was launched.
    pub calls: u64,
    /// Calls without a usable time: a timestamp was missing, or the second one before the first.
    pub untimed: u64,
    /// Calls that began and ended in the same tick of the device's clock. They count as no time,
    /// which is right on average: as many others were given a whole tick for a part of one.
    pub instant: u64,
    /// Time of all timed calls, in seconds.
    pub seconds: f64,
    /// Their work.
    pub work: Work,
}

impl Kernel {
    /// A kernel that has not been called.
    pub fn new(name: &'static str, weight: Option<&'static str>, per_step: Work) -> Self {
        Self {
            name,
            weight,
            per_step,
            calls: 0,
            untimed: 0,
            instant: 0,
            seconds: 0.0,
            work: Work::default(),
        }
    }

    /// Adds a call that did `steps` steps and took `seconds`, if that is known.
    fn add(&mut self, steps: u64, seconds: Option<f64>) {
        self.calls += 1;
        match seconds {
            None => self.untimed += 1,
            Some(seconds) => {
                self.instant += u64::from(seconds == 0.0);
                self.seconds += seconds;
                self.work = self.work.plus(self.per_step.times(steps));
            }
        }
    }

    /// Mean time of a timed call, in seconds.
    pub fn seconds_a_call(&self) -> Option<f64> {
        let timed = self.calls - self.untimed;
        (timed > 0).then(|| self.seconds / timed as f64)
    }

    /// Operations a second.
    pub fn flops_a_second(&self) -> Option<f64> {
        self.rate(self.work.flops)
    }

    /// Bytes a second.
    pub fn bytes_a_second(&self) -> Option<f64> {
        self.rate(self.work.bytes)
    }

    fn rate(&self, amount: Option<f64>) -> Option<f64> {
        amount
            .filter(|_| self.seconds > 0.0)
            .map(|a| a / self.seconds)
    }
}

/// The kernels of a table, in its order.
pub fn kernels_of(table: &[Launch], layout: &Layout) -> Vec<Kernel> {
    let kernel = |launch: &Launch| {
        let twice = table.iter().filter(|l| l.kernel == launch.kernel).count() > 1;
        let weight = match launch.layer {
            Layer::First => "W1",
            Layer::Second => "W2",
        };
        let work = work_of(launch, layout, layout.dims.batch);
        Kernel::new(launch.kernel, twice.then_some(weight), work)
    };
    table.iter().map(kernel).collect()
}

/// What times are based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The device's timestamps.
    Timestamps,
    /// Submissions: the device has no timestamps.
    NoTimestamps,
    /// Submissions: none of the device's timestamps can be used.
    Unusable,
    /// Submissions: by the device's timestamps, its kernels took longer than the host waited.
    TooLong,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Length of a tick of the device's clock in seconds; `None` without timestamps.
    pub tick: Option<f64>,
    /// Training steps done.
    pub steps: u64,
    /// Rows of the activations in a step, and in all steps so far; 0 if it is one for each example.
    rows: u64,
    all_rows: u64,
    /// By the device's clock; without calls if it has no timestamps.
    kernels: Vec<Kernel>,
    /// By the host's clock, from submitting a chunk of steps to its end.
    submissions: Kernel,
}

impl Profile {
    /// A profile of kernels that are to be run.
    pub fn new(tick: Option<f64>, kernels: Vec<Kernel>) -> Self {
        let step = kernels.iter().map(|k| k.per_step);
        let step = step.fold(Work::default(), Work::plus);
        Self {
            tick,
            steps: 0,
            rows: 0,
            all_rows: 0,
            submissions: Kernel::new("submission", None, step),
            kernels,
        }
    }

    /// Changes the number of rows that a step has from now on, and with it the work of each kernel.
    fn set_rows(&mut self, rows: usize, work: impl IntoIterator<Item = Work>) {
        self.rows = rows as u64;
        for (kernel, work) in self.kernels.iter_mut().zip(work) {
            kernel.per_step = work;
        }
        let step = self.kernels.iter().map(|k| k.per_step);
        self.submissions.per_step = step.fold(Work::default(), Work::plus);
    }

    /// Adds a submission that took `took`, with its calls: which kernel, how many steps it did, and
    /// the ticks at its beginning and its end. Without timestamps there are no calls to add.
    pub fn add(
        &mut self,
        steps: u64,
        took: Duration,
        calls: impl IntoIterator<Item = (usize, u64, [u64; 2])>,
    ) {
        self.steps += steps;
        self.all_rows += steps * self.rows;
        self.submissions.add(steps, Some(took.as_secs_f64()));
        for (kernel, steps, ticks) in calls {
            let seconds = self.tick.and_then(|tick| seconds_between(ticks, tick));
            self.kernels[kernel].add(steps, seconds);
        }
    }

    /// What the times are based on. Drivers err in their clocks, and nobody would notice.
    pub fn basis(&self) -> Basis {
        // The host's clock and the device's agree to a small fraction of this.
        const TOLERANCE: f64 = 1.01;
        let seconds: f64 = self.kernels.iter().map(|k| k.seconds).sum();
        if self.tick.is_none() {
            Basis::NoTimestamps
        } else if seconds == 0.0 {
            Basis::Unusable
        } else if seconds > TOLERANCE * self.submissions.seconds {
            Basis::TooLong
        } else {
            Basis::Timestamps
        }
    }

    /// The kernels in the order of a step, or the submissions if the device's clock is of no use.
    pub fn rows(&self) -> &[Kernel] {
        match self.basis() {
            Basis::Timestamps => &self.kernels,
            _ => std::slice::from_ref(&self.submissions),
        }
    }

    /// All rows together, as if a step were a kernel: its calls are the steps.
    pub fn whole_step(&self) -> Kernel {
        let rows = self.rows();
        let sum = |of: fn(&Kernel) -> u64| rows.iter().map(of).sum();
        Kernel {
            calls: self.steps,
            untimed: 0,
            instant: sum(|k| k.instant),
            seconds: rows.iter().map(|k| k.seconds).sum(),
            work: rows
                .iter()
                .map(|k| k.work)
                .fold(Work::default(), Work::plus),
            ..Kernel::new("whole step", None, self.submissions.per_step)
        }
    }

    /// Rows of a step, on average, where a row is not an example.
    pub fn rows_a_step(&self) -> Option<f64> {
        (self.all_rows > 0).then(|| self.all_rows as f64 / self.steps as f64)
    }

    /// The host's view: submissions, and the time from each to its end.
    pub fn submissions(&self) -> &Kernel {
        &self.submissions
    }
}

/// The time between two timestamps, if it makes sense: a query that was never written is zero, and a
/// clock that wraps around jumps back.
fn seconds_between([begin, end]: [u64; 2], tick: f64) -> Option<f64> {
    let usable = begin > 0 && end >= begin;
    usable.then(|| (end - begin) as f64 * tick)
}

/// The device's clock, and room for the times of the passes of a submission.
struct Clock {
    queries: QuerySet,
    resolved: Buffer,
    /// Seconds.
    tick: f64,
}

/// Measures the passes of a schedule.
pub struct Profiler {
    clock: Option<Clock>,
    profile: Profile,
    /// The end of the submission before.
    until: Option<Instant>,
}

/// How long the device was at work on a submission. It may have been submitted while the one before
/// was at work, until `until`: that time is not its own.
fn time_at_work(until: Option<Instant>, submitted: Instant, ended: Instant) -> Duration {
    let began = until.map_or(submitted, |until| until.max(submitted));
    ended.saturating_duration_since(began)
}

impl Profiler {
    /// Passes of a submission at most: each has two timestamps.
    pub const MAX_PASSES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

    /// A profiler for kernels that are to be run on a device.
    pub fn new(gpu: &Gpu, kernels: Vec<Kernel>) -> Self {
        let tick = f64::from(gpu.queue.get_timestamp_period()) * 1e-9;
        let there = gpu.device.features().contains(Features::TIMESTAMP_QUERY);
        // A clock with no period is none.
        let clock = (there && tick > 0.0).then(|| Clock {
            queries: gpu.device.create_query_set(&QuerySetDescriptor {
                label: Some("timestamps"),
                ty: QueryType::Timestamp,
                count: wgpu::QUERY_SET_MAX_QUERIES,
            }),
            resolved: gpu.device.create_buffer(&BufferDescriptor {
                label: Some("timestamps"),
                size: u64::from(wgpu::QUERY_SET_MAX_QUERIES * wgpu::QUERY_SIZE),
                usage: BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
            tick,
        });
        Self {
            profile: Profile::new(clock.as_ref().map(|c| c.tick), kernels),
            clock,
            until: None,
        }
    }

    /// What has been measured.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Whether each launch is to have a pass of its own: without timestamps that would be for
    /// nothing.
    pub fn times_passes(&self) -> bool {
        self.clock.is_some()
    }

    /// The description of pass number `pass` of a submission.
    pub fn pass(&self, pass: usize) -> ComputePassDescriptor<'_> {
        let first = 2 * pass as u32;
        let timestamp_writes = self.clock.as_ref().map(|clock| ComputePassTimestampWrites {
            query_set: &clock.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        });
        ComputePassDescriptor {
            label: None,
            timestamp_writes,
        }
    }

    /// Ends a submission of `passes` passes, and tells where their times will lie.
    pub fn resolve(
        &self,
        encoder: &mut CommandEncoder,
        passes: usize,
    ) -> Option<(&Buffer, u64, u64)> {
        let clock = self.clock.as_ref()?;
        let queries = 2 * passes as u32;
        encoder.resolve_query_set(&clock.queries, 0..queries, &clock.resolved, 0);
        let bytes = u64::from(queries * wgpu::QUERY_SIZE);
        Some((&clock.resolved, 0, bytes))
    }

    /// The rows of a step, and the work of each kernel on them, in the submissions that are added from
    /// now on.
    pub fn set_rows(&mut self, rows: usize, work: impl IntoIterator<Item = Work>) {
        self.profile.set_rows(rows, work);
    }

    /// Adds a submission of `steps` steps: the bytes of [`Profiler::resolve`], which it read, and for
    /// each pass its kernel and the steps that it did.
    pub fn add(
        &mut self,
        steps: usize,
        done: &Done,
        times: Option<&[u8]>,
        passes: impl IntoIterator<Item = (usize, u64)>,
    ) {
        let took = time_at_work(self.until, done.submitted, done.ended);
        self.until = Some(done.ended);
        let ticks: Vec<[u64; 2]> = times.map(bytemuck::pod_collect_to_vec).unwrap_or_default();
        let calls = passes.into_iter().zip(ticks);
        let calls = calls.map(|((kernel, steps), ticks)| (kernel, steps, ticks));
        self.profile.add(steps as u64, took, calls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::staged::STEP;

    const WORK: Work = Work {
        flops: Some(100.0),
        bytes: Some(40.0),
    };

    /// A profile of one kernel with a clock of 2 ns a tick, after calls of one step each.
    fn profile(took: Duration, calls: &[[u64; 2]]) -> Profile {
        let mut profile = Profile::new(Some(2e-9), vec![Kernel::new("kernel", None, WORK)]);
        let steps = calls.len() as u64;
        profile.add(steps, took, calls.iter().map(|&ticks| (0, 1, ticks)));
        profile
    }

    #[test]
    fn a_submission_that_had_to_wait_for_another_has_only_its_own_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let took = |until: Option<u64>, submitted, ended| {
            time_at_work(until.map(at), at(submitted), at(ended)).as_secs()
        };
        assert_eq!(took(None, 1, 5), 4);
        assert_eq!(took(Some(3), 1, 5), 2);
        assert_eq!(took(Some(3), 4, 9), 5);
    }

    #[test]
    fn calls_add_up_and_those_with_impossible_times_are_left_out() {
        let calls = [[10, 20], [30, 55], [60, 50], [0, 70], [0, 0], [80, 80]];
        let profile = profile(Duration::from_secs(1), &calls);
        assert_eq!(profile.basis(), Basis::Timestamps);
        let [kernel] = profile.rows() else {
            panic!("{profile:?}")
        };
        assert_eq!((kernel.calls, kernel.untimed, kernel.instant), (6, 3, 1));
        assert!((kernel.seconds - 70e-9).abs() < 1e-15);
        assert_eq!(kernel.work, WORK.times(3));
        let near = |value: Option<f64>, want: f64| (value.unwrap() / want - 1.0).abs() < 1e-9;
        assert!(near(kernel.seconds_a_call(), 70e-9 / 3.0));
        assert!(near(kernel.flops_a_second(), 300.0 / 70e-9));
        assert!(near(kernel.bytes_a_second(), 120.0 / 70e-9));
    }

    #[test]
    fn the_whole_step_is_the_sum_of_its_kernels() {
        let moves = Work {
            flops: None,
            bytes: Some(8.0),
        };
        let kernels = vec![Kernel::new("a", None, WORK), Kernel::new("b", None, moves)];
        let mut profile = Profile::new(Some(1e-9), kernels);
        // Two chunks, in the second of which a call does three steps.
        profile.add(
            1,
            Duration::from_micros(1),
            [(0, 1, [1, 11]), (1, 1, [11, 16])],
        );
        profile.add(
            3,
            Duration::from_micros(2),
            [(0, 3, [1, 31]), (1, 3, [31, 46])],
        );
        let step = profile.whole_step();
        assert_eq!(step.calls, 4);
        assert!((step.seconds - 60e-9).abs() < 1e-15);
        assert_eq!(step.work.flops, Some(4.0 * 100.0));
        assert_eq!(step.work.bytes, Some(4.0 * 48.0));
        assert_eq!(profile.rows()[1].work.flops, None);
        assert_eq!(profile.rows()[1].flops_a_second(), None);
        let submissions = profile.submissions();
        assert_eq!((submissions.calls, submissions.untimed), (2, 0));
        assert!((submissions.seconds - 3e-6).abs() < 1e-12);
        assert_eq!(submissions.work, step.work);
    }

    #[test]
    fn steps_of_few_rows_count_as_little_work() {
        let mut profile = Profile::new(None, vec![Kernel::new("kernel", None, WORK)]);
        assert_eq!(profile.rows_a_step(), None);
        for (steps, rows) in [(3, 10), (1, 30)] {
            profile.set_rows(rows, [WORK.times(rows as u64)]);
            profile.add(steps, Duration::from_secs(1), []);
        }
        assert_eq!(profile.rows_a_step(), Some(15.0));
        assert_eq!(profile.whole_step().work, WORK.times(60));
    }

    #[test]
    fn a_clock_of_no_use_is_found_out_and_submissions_stand_in() {
        let ms = Duration::from_millis(1); // 500,000 ticks
        for (calls, basis) in [
            (vec![[1, 500_001]], Basis::Timestamps),
            (vec![[1, 510_001]], Basis::TooLong),
            (vec![[0, 0], [9, 3]], Basis::Unusable),
            (vec![[9, 9]], Basis::Unusable),
        ] {
            let profile = profile(ms, &calls);
            assert_eq!(profile.basis(), basis);
            if basis != Basis::Timestamps {
                assert_eq!(profile.rows(), [profile.submissions().clone()]);
                assert_eq!(profile.whole_step().seconds, 1e-3);
                assert_eq!(profile.whole_step().calls, calls.len() as u64);
            }
        }
        let mut none = Profile::new(None, vec![Kernel::new("kernel", None, WORK)]);
        none.add(5, ms, []);
        assert_eq!(none.basis(), Basis::NoTimestamps);
        let [row] = none.rows() else {
            panic!("{none:?}")
        };
        assert_eq!((row.name, row.calls, row.seconds), ("submission", 1, 1e-3));
        assert_eq!(row.work, WORK.times(5));
    }

    /// By hand, for sizes of which no two are the same: kernel, operations, values moved.
    #[test]
    fn the_work_of_each_launch_is_counted() {
        let dims = Dims {
            vocab: 5,
            block: 2,
            embd: 3,
            hidden: 7,
            batch: 9,
        };
        // Each row's context in 18 bytes, 5 words; targets: 9 + 1 + 9 words; uses: 5 + 1 + 18.
        let params = 15 + 6 * 7 + 7 + 7 * 5 + 5 + 7 + 7;
        let want = [
            ("embedding_forward_kernel", 0, 2 + 5 + 15 + 54 + 19 + 9),
            ("linear_forward_kernel", 2 * 9 * 6 * 7, 54 + 42 + 7 + 63),
            (
                "batchnorm_tanh_forward_kernel",
                33 * 63,
                63 + 7 + 7 + 21 + 63 + 63 + 9,
            ),
            ("linear_forward_kernel", 2 * 9 * 7 * 5, 63 + 35 + 5 + 45),
            (
                "softmax_cross_entropy_kernel",
                10 * 45,
                2 + 19 + 45 + 9 + 45,
            ),
            (
                "linear_tanh_backward_kernel",
                4 * 9 * 7 * 5 + 45 + 3 * 63,
                63 + 35 + 45 + 63 + 35 + 5,
            ),
            (
                "batchnorm_backward_kernel",
                11 * 63,
                7 + 7 + 63 + 63 + 7 + 7 + 63 + 9,
            ),
            (
                "linear_backward_kernel",
                4 * 9 * 6 * 7 + 63,
                54 + 42 + 63 + 54 + 42 + 7,
            ),
            ("embedding_backward_kernel", 54, 2 + 24 + 54 + 15),
            ("sgd_kernel", 2 * params, 2 + 1 + 3 * params),
        ];
        for software in [false, true] {
            let kernels = kernels_of(&STEP, &Layout::new(dims, software));
            assert_eq!(kernels.len(), want.len());
            for (kernel, (name, flops, values)) in kernels.iter().zip(want) {
                let flops = (flops > 0).then_some(f64::from(flops));
                let bytes = Some(4.0 * f64::from(values));
                assert_eq!(kernel.name, name);
                assert_eq!(kernel.per_step, Work { flops, bytes }, "{name}");
            }
        }
    }

    #[test]
    fn the_two_linear_layers_can_be_told_apart() {
        let kernels = kernels_of(&STEP, &Layout::new(Dims::LECTURE, true));
        let names = |weight| -> Vec<&str> {
            let of_weight = kernels.iter().filter(|k| k.weight == weight);
            of_weight.map(|k| k.name).collect()
        };
        for weight in ["W1", "W2"] {
            assert_eq!(names(Some(weight)), ["linear_forward_kernel"]);
        }
        assert_eq!(names(None).len(), 8);
    }
}
