//! The stream of minibatches, and the loop that sends them to a device.

pub mod curve;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::backend::{Backend, BackendError};
use crate::cli::error::Error;
use crate::cores::both;
use crate::data::Examples;
use crate::model::dims::Dims;
use crate::model::params::Params;
use crate::model::steps::{LearningRate, Steps};
use crate::rng::TorchGenerator;

/// How long a chunk of steps should take: often enough for a live display, seldom enough that
/// waiting for the device costs nothing, and far below the second or two after which Windows and
/// some Linux drivers reset a GPU that does not answer.
const CHUNK: Duration = Duration::from_millis(100);
/// Steps in a chunk at most.
const MAX_CHUNK: usize = 4096;
/// The stream of steps: minibatches drawn as the lecture draws them, one after another.
pub struct Stream<'a> {
    examples: &'a Examples,
    generator: TorchGenerator,
    schedule: LearningRate,
    batch: usize,
    next: u64,
    /// `ix`, kept to save the allocation.
    ix: Vec<u32>,
}

impl<'a> Stream<'a> {
    /// A stream that goes on with the generator that drew the initial values.
    pub fn new(
        examples: &'a Examples,
        generator: TorchGenerator,
        schedule: LearningRate,
        batch: usize,
    ) -> Self {
        Self {
            examples,
            generator,
            schedule,
            batch,
            next: 0,
            ix: vec![0; batch],
        }
    }

    /// The same stream behind its first `steps`, with the generator as it was there.
    pub fn from_step(self, steps: u64) -> Self {
        Self {
            next: steps,
            ..self
        }
    }

    /// The next `count` steps: `ix = torch.randint(0, Xtr.shape[0], (batch_size,), generator=g)`,
    /// `Xb, Yb = Xtr[ix], Ytr[ix]`.
    pub fn take(&mut self, count: usize) -> Steps {
        let block = self.examples.block();
        let mut steps = Steps {
            first: self.next,
            x: Vec::with_capacity(count * self.batch * block),
            y: Vec::with_capacity(count * self.batch),
            lr: Vec::with_capacity(count),
        };
        for _ in 0..count {
            self.generator
                .randint_into(self.examples.len() as u32, &mut self.ix);
            for &i in &self.ix {
                steps.x.extend_from_slice(self.examples.context(i as usize));
                steps.y.push(self.examples.y()[i as usize]);
            }
            steps.lr.push(self.schedule.lr(self.next) as f32);
            self.next += 1;
        }
        steps
    }
}

/// How the steps ended.
pub enum Ended {
    /// All of them were done.
    Whole(Params<f32>),
    /// A value is not finite any more.
    Diverged {
        /// The value: a loss, or a parameter by its name.
        what: String,
        /// The step, from 0.
        step: u64,
        /// The last parameters known to give a finite loss.
        good: Snapshot,
    },
    /// `on_chunk` did not want more.
    Stopped,
    /// The device failed.
    Failed {
        /// What it reported.
        error: BackendError,
        /// Before the chunk that failed.
        before: Snapshot,
    },
}

/// A model between two steps.
#[derive(Clone)]
pub struct Snapshot {
    /// The seven parameters.
    pub params: Params<f32>,
    /// Steps done.
    pub steps: u64,
    /// The generator that draws the steps after these.
    pub generator: TorchGenerator,
}

impl Snapshot {
    /// The model before its first step: `g = torch.Generator().manual_seed(seed)`.
    pub fn first(dims: &Dims, seed: u64) -> Self {
        let mut generator = TorchGenerator::manual_seed(seed);
        Self {
            params: Params::init(dims, &mut generator),
            steps: 0,
            generator,
        }
    }
}

/// Does the steps of `stream` up to the number `count` in chunks and reports each. No chunk goes
/// beyond a multiple of `every`.
pub fn steps(
    backend: &mut dyn Backend,
    mut stream: Stream<'_>,
    count: u64,
    every: u64,
    params: Params<f32>,
    mut on_chunk: impl FnMut(&[f32], &Snapshot) -> Result<ControlFlow<()>, Error>,
) -> Result<Ended, Error> {
    let room = |done: u64| (count - done).min(every - done % every);
    let fitting = |chunk: usize, done: u64| room(done).min(chunk as u64) as usize;
    let mut losses = Vec::new();
    let mut chunk = 1;
    let mut now = Snapshot {
        params,
        steps: stream.next,
        generator: stream.generator.clone(),
    };
    // Parameters can be finite and yet of no use: they are good once they have given a loss.
    let mut good = now.clone();
    let mut drawn = Steps::default();
    while now.steps < count {
        let start = Instant::now();
        losses.clear();
        if drawn.is_empty() {
            drawn = stream.take(fitting(chunk, now.steps));
        }
        let steps = drawn;
        let done = now.steps + steps.len() as u64;
        let generator = stream.generator.clone();
        // While the device is busy with this chunk, the next one is drawn.
        let next = fitting(chunk, done);
        let trained;
        (drawn, trained) = both(|| stream.take(next), || backend.train(&steps, &mut losses));
        if let Err(error) = trained {
            return Ok(Ended::Failed { error, before: now });
        }
        // A chunk that had to end early says nothing against longer ones.
        let shorter = chunk > steps.len();
        chunk = next_chunk(steps.len(), start.elapsed()).max(if shorter { chunk } else { 1 });
        let bad_loss = losses.iter().position(|loss| !loss.is_finite());
        if bad_loss != Some(0) {
            good = now.clone();
        }
        if let Some(i) = bad_loss {
            let what = format!("the loss is {}", losses[i]);
            let step = steps.first + i as u64;
            return Ok(Ended::Diverged { what, step, good });
        }
        let params = match backend.params() {
            Ok(params) => params,
            Err(error) => return Ok(Ended::Failed { error, before: now }),
        };
        if let Some((tensor, i)) = params.first_non_finite() {
            let what = format!("{}[{i}] is {}", tensor.name(), params.get(tensor)[i]);
            let step = steps.first + steps.len() as u64 - 1;
            return Ok(Ended::Diverged { what, step, good });
        }
        now = Snapshot {
            params,
            steps: done,
            generator,
        };
        if on_chunk(&losses, &now)?.is_break() {
            return Ok(Ended::Stopped);
        }
    }
    Ok(Ended::Whole(now.params))
}

/// Steps of the next chunk: towards a tenth of a second, but at most four times as many, since the first
/// chunks also compile the kernels.
pub fn next_chunk(steps: usize, took: Duration) -> usize {
    let fitting = steps as f64 * CHUNK.as_secs_f64() / took.as_secs_f64().max(1e-6);
    (fitting as usize).clamp(1, (4 * steps).min(MAX_CHUNK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_towards_their_time_and_shrink_at_once() {
        assert_eq!(next_chunk(1, Duration::from_micros(10)), 4);
        assert_eq!(next_chunk(100, Duration::from_millis(50)), 200);
        assert_eq!(next_chunk(1000, Duration::from_secs(10)), 10);
        assert_eq!(next_chunk(1, Duration::from_secs(10)), 1);
        assert_eq!(next_chunk(4096, Duration::ZERO), 4096);
    }
}
