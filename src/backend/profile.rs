//! Where a device's time goes, by kernel: the record that a profiled training leaves.

use std::time::Duration;

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
    pub fn set_rows(&mut self, rows: usize, work: impl IntoIterator<Item = Work>) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
