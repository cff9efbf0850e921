//! How long the steps of a run take.

use std::time::{Duration, Instant};

/// How long the steps take, without the checkpoints in between.
///
/// A driver compiles a kernel when it is made or, like Mesa's, when it is first launched. The first
/// chunk is a single step ([`Pace`](crate::training::Pace)) and has launched each kernel of the training when it is
/// through. So its time says nothing of the speed: it counts for as much as the steps after it take,
/// and the rest of it is set-up. Where there is no step after it, all its time counts.
pub(super) struct Clock {
    /// Steps that were done before this process.
    from: u64,
    /// Seconds that those took.
    earlier: f64,
    /// How long it took to open the backend.
    opened: Duration,
    begun: Instant,
    /// What the checkpoints had taken before the first step.
    saved: Duration,
    /// Steps of the first chunk, and its time.
    first: Option<(u64, Duration)>,
}

/// What a [`Clock`] says, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Times {
    /// Of the steps, those before an interruption included.
    pub seconds: f64,
    /// Of the set-up of this process.
    pub set_up: f64,
    /// Of the loop, what the drivers compiled in it included.
    pub loop_seconds: f64,
}

impl Clock {
    pub fn new(from: u64, earlier: f64, opened: Duration, saved: Duration) -> Self {
        Self {
            from,
            earlier,
            opened,
            begun: Instant::now(),
            saved,
            first: None,
        }
    }

    /// The first step begins; the checkpoints have taken `saved` so far.
    pub fn start(&mut self, saved: Duration) {
        (self.begun, self.saved) = (Instant::now(), saved);
    }

    /// A chunk has ended, after `done` steps; all but the first are of no interest.
    pub fn first_chunk(&mut self, done: u64) {
        if self.first.is_none() {
            self.first = Some((done - self.from, self.begun.elapsed()));
        }
    }

    /// The times after `done` steps, when the checkpoints have taken `saved` in all.
    pub fn times(&self, done: u64, saved: Duration) -> Times {
        self.at(done, self.begun.elapsed() - (saved - self.saved))
    }

    /// The times after `done` steps, when the loop has run for `whole`, checkpoints left out.
    fn at(&self, done: u64, whole: Duration) -> Times {
        let done = done - self.from;
        let whole = whole.as_secs_f64();
        let seconds = match self.first {
            Some((count, took)) if done > count => {
                let rest = whole - took.as_secs_f64();
                rest * done as f64 / (done - count) as f64
            }
            _ => whole,
        };
        Times {
            seconds: self.earlier + seconds,
            // Noise can make the first step the faster one.
            set_up: self.opened.as_secs_f64() + (whole - seconds).max(0.0),
            loop_seconds: self.earlier + whole,
        }
    }
}

impl Times {
    /// What the user is told of a run of `steps` steps.
    pub fn line(&self, steps: u64) -> String {
        let speed = steps as f64 / self.seconds;
        let mut line = format!(
            "{steps} steps in {} s: {speed:.0} steps/s",
            short(self.seconds)
        );
        if self.set_up >= 0.05 {
            let set_up = short(self.set_up);
            line += &format!(" (and {set_up} s to open the device and compile the kernels)");
        }
        line
    }
}

/// Seconds with a digit or two that mean something.
fn short(seconds: f64) -> String {
    let digits = if seconds < 1.0 { 2 } else { 1 };
    format!("{seconds:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_chunk_counts_for_as_much_as_the_others() {
        let secs = Duration::from_secs;
        let clock = Clock {
            from: 100,
            earlier: 7.0,
            opened: secs(3),
            begun: Instant::now(),
            saved: Duration::ZERO,
            first: Some((2, secs(10))),
        };
        // Eight steps in 4 seconds after the two that took 10.
        let times = clock.at(110, secs(14));
        assert_eq!((times.seconds, times.set_up), (7.0 + 5.0, 3.0 + 9.0));
        assert_eq!(times.loop_seconds, 7.0 + 14.0);
        // Nothing to compare them with.
        let times = clock.at(102, secs(10));
        assert_eq!((times.seconds, times.set_up), (7.0 + 10.0, 3.0));
        // A first chunk that was faster than the rest has no set-up in it.
        let times = clock.at(104, secs(30));
        assert_eq!((times.seconds, times.set_up), (7.0 + 40.0, 3.0));
    }
}
