//! A training without a device, a clock or a screen: a state machine that hands out steps and takes what
//! came of them.
//!
//! ```text
//! while let Some(steps) = training.next_steps() {
//!     losses = the device's losses of `steps`        (meanwhile: training.draw_ahead())
//!     training.accept_losses(losses, took)?
//!     for event in training.accept_params(the device's parameters)? { ... }
//! }
//! ```
//!
//! Whoever drives it owns the loop. What the user sees and keeps hangs on the events: rows of metrics, and
//! the steps after which a checkpoint is due.

pub mod curve;
pub mod evaluation;
pub mod log;
pub mod ratios;

use std::borrow::Cow;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::data::{Batch, Examples};
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::recipe::Recipe;
use crate::model::steps::{LearningRate, Steps};
use crate::rng::TorchGenerator;
use curve::LossCurve;
use log::{LossLog, Row};
use ratios::Ratios;

/// The stream of steps: minibatches drawn as the lecture draws them, one after another.
pub struct Stream<'a> {
    examples: Cow<'a, Examples>,
    generator: TorchGenerator,
    schedule: LearningRate,
    batch: usize,
    next: u64,
    /// `ix`, kept to save the allocation.
    ix: Vec<u32>,
}

impl<'a> Stream<'a> {
    /// A stream that continues with the generator that drew the initial values.
    pub fn new(
        examples: impl Into<Cow<'a, Examples>>,
        generator: TorchGenerator,
        schedule: LearningRate,
        batch: usize,
    ) -> Self {
        Self {
            examples: examples.into(),
            generator,
            schedule,
            batch,
            next: 0,
            ix: vec![0; batch],
        }
    }

    /// The stream after its first `steps`, with the generator as it was there.
    pub fn from_step(self, steps: u64) -> Self {
        Self {
            next: steps,
            ..self
        }
    }

    /// The next `count` steps: `ix = torch.randint(0, Xtr.shape[0], (batch_size,), generator=g)`,
    /// `Xb, Yb = Xtr[ix], Ytr[ix]`.
    pub fn take(&mut self, count: usize) -> Steps {
        let first = self.next;
        let mut batch = Batch::with_capacity(count * self.batch, self.examples.block());
        let mut lr = Vec::with_capacity(count);
        for _ in 0..count {
            self.generator
                .randint_into(self.examples.len() as u32, &mut self.ix);
            for &i in &self.ix {
                self.examples.write(i as usize, &mut batch);
            }
            lr.push(self.schedule.lr(self.next) as f32);
            self.next += 1;
        }
        let Batch { x, y } = batch;
        Steps { first, x, y, lr }
    }
}

/// A model between two steps.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The seven parameters.
    pub params: Params<f32>,
    /// Steps done.
    pub steps: u64,
    /// The generator that draws the minibatches of the steps after these.
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

/// What happened in a training.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A row of the metrics.
    Row(Row),
    /// The gradients of a step beside the parameters.
    Ratios(Box<Ratios>),
    /// As many steps are done as lie between two checkpoints, or all of them.
    CheckpointDue,
    /// As many steps are done as lie between two evaluations ([`Training::evaluate_every`]).
    EvaluationDue,
    /// All steps are done.
    Finished,
}

/// A loss or a parameter is no longer a finite number: the training is over. A smaller learning rate may
/// do.
#[derive(Debug, thiserror::Error)]
#[error("training diverged: {what} at step {step}")]
pub struct Diverged {
    /// The loss or the parameter, with its value.
    pub what: String,
    /// The step, from 0.
    pub step: u64,
    /// The last model known to give a finite loss.
    pub good: Snapshot,
}

/// Where a training stands between two chunks: all that it takes to continue.
#[derive(Clone)]
pub struct State {
    /// The model.
    pub now: Snapshot,
    /// The rows of metrics.
    pub log: LossLog,
    /// The curve of the losses.
    pub curve: LossCurve,
}

impl State {
    /// The state before the first step of a recipe, with a row of metrics every `log_every` steps.
    pub fn first(recipe: &Recipe, dims: &Dims, log_every: u64) -> Self {
        Self {
            now: Snapshot::first(dims, recipe.seed),
            log: LossLog::new(log_every),
            curve: LossCurve::new(recipe.steps),
        }
    }
}

/// A training by a recipe.
pub struct Training<'a> {
    stream: Stream<'a>,
    schedule: LearningRate,
    dims: Dims,
    /// Steps of the whole training.
    steps: u64,
    /// Steps between two checkpoints.
    checkpoint_every: u64,
    /// Steps between two evaluations, if any are asked for beside those of the checkpoints.
    eval_every: Option<NonZeroU64>,
    /// Steps between two records of the ratios, if there are to be any.
    ratios_every: Option<NonZeroU64>,
    /// Steps that are handed out together at most, whatever the pace.
    most: usize,
    state: State,
    /// The last model that has given a finite loss: parameters can be finite and yet of no use.
    good: Snapshot,
    pace: Pace,
    /// Drawn, and not handed out yet.
    ahead: Option<Chunk>,
    /// Handed out, and not accepted yet.
    under_way: Option<UnderWay>,
}

/// Steps that are handed out together, and the generator after they were drawn.
struct Chunk {
    steps: Steps,
    generator: TorchGenerator,
}

/// What is kept of a [`Chunk`] that was handed out.
struct UnderWay {
    first: u64,
    len: usize,
    generator: TorchGenerator,
    losses: Vec<f32>,
    /// The first step, if its ratios are to be recorded.
    measured: Option<Minibatch>,
}

/// Contexts, targets and learning rate of a step.
struct Minibatch {
    x: Vec<Token>,
    y: Vec<Token>,
    lr: f32,
}

impl<'a> Training<'a> {
    /// A training that continues from `state`. A checkpoint is due after each multiple of
    /// `checkpoint_every` steps, and after the last step. Whoever keeps the training beyond the data set that
    /// it was made from gives it examples of its own.
    pub fn new(
        examples: impl Into<Cow<'a, Examples>>,
        recipe: &Recipe,
        state: State,
        checkpoint_every: u64,
    ) -> Self {
        let (schedule, now) = (recipe.learning_rate(), &state.now);
        let batch = recipe.batch_size as usize;
        let stream = Stream::new(examples, now.generator.clone(), schedule, batch);
        Self {
            stream: stream.from_step(now.steps),
            schedule,
            dims: recipe.unchecked_dims(now.params.b2.len()),
            steps: recipe.steps,
            checkpoint_every: checkpoint_every.max(1),
            eval_every: None,
            ratios_every: None,
            most: usize::MAX,
            good: now.clone(),
            state,
            pace: Pace::default(),
            ahead: None,
            under_way: None,
        }
    }

    /// The same training, with an [`Event::EvaluationDue`] after each multiple of `steps` steps. Chunks end
    /// there too, which changes no step.
    #[must_use]
    pub fn evaluate_every(self, steps: Option<NonZeroU64>) -> Self {
        Self {
            eval_every: steps,
            ..self
        }
    }

    /// The same training, with the ratios of step 0, of step `every`, `2 * every` and so on among its events.
    /// The steps are the same; only where one chunk ends and the next begins is not.
    #[must_use]
    pub fn with_ratios(self, every: Option<NonZeroU64>) -> Self {
        Self {
            ratios_every: every,
            ..self
        }
    }

    /// Hands out at most `most` steps at once from now on. Steps that are drawn ahead stay as they are.
    pub fn hand_out_at_most(&mut self, most: NonZeroUsize) {
        self.most = most.get();
    }

    /// Where it stands: after the last chunk that was accepted.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The learning rate of each step.
    pub fn schedule(&self) -> LearningRate {
        self.schedule
    }

    /// The next steps for the device; none when all are done. Steps that were handed out before and not
    /// accepted are lost.
    pub fn next_steps(&mut self) -> Option<Steps> {
        let done = self.state.now.steps;
        let chunk = self.ahead.take().or_else(|| self.draw(done))?;
        let first = chunk.steps.first;
        // A chunk begins with each of these steps, for the parameters before it to be known.
        let measured = self.ratios_every.filter(|&every| first % every == 0);
        let measured = measured.map(|_| {
            let (x, y, lr) = chunk.steps.step(0);
            let (x, y) = (x.to_vec(), y.to_vec());
            Minibatch { x, y, lr }
        });
        self.under_way = Some(UnderWay {
            first,
            len: chunk.steps.len(),
            generator: chunk.generator,
            losses: Vec::new(),
            measured,
        });
        Some(chunk.steps)
    }

    /// Draws the steps after those that were handed out, while the device is busy with them.
    pub fn draw_ahead(&mut self) {
        if let Some(chunk) = &self.under_way {
            let done = chunk.first + chunk.len as u64;
            self.ahead = self.draw(done);
        }
    }

    /// The steps after the first `done`: as many as the pace allows up to the next checkpoint or evaluation, or
    /// the next step whose ratios are recorded.
    fn draw(&mut self, done: u64) -> Option<Chunk> {
        let to_next = |every: u64| every - done % every;
        let others = [self.eval_every, self.ratios_every].into_iter().flatten();
        let room = others.map(|every| to_next(every.get())).fold(
            (self.steps - done).min(to_next(self.checkpoint_every)),
            u64::min,
        );
        let len = room.min(self.pace.chunk.min(self.most) as u64) as usize;
        (len > 0).then(|| Chunk {
            steps: self.stream.take(len),
            generator: self.stream.generator.clone(),
        })
    }

    /// Takes the losses of the steps that were handed out, which took the device the time `took`.
    ///
    /// # Errors
    ///
    /// [`Diverged`]: a loss is not finite. The model after these steps is of no use.
    pub fn accept_losses(&mut self, losses: &[f32], took: Duration) -> Result<(), Box<Diverged>> {
        let Some(chunk) = &mut self.under_way else {
            return Ok(());
        };
        self.pace.accept(chunk.len, took);
        let bad = first_non_finite(losses);
        if bad != Some(0) {
            self.good = self.state.now.clone();
        }
        if let Some(i) = bad {
            return Err(Box::new(Diverged {
                what: format!("the loss is {}", losses[i]),
                step: chunk.first + i as u64,
                good: self.good.clone(),
            }));
        }
        chunk.losses = losses.to_vec();
        Ok(())
    }

    /// Takes the parameters after the steps whose losses were accepted, and tells what has happened with
    /// them.
    ///
    /// # Errors
    ///
    /// [`Diverged`]: a parameter is not finite.
    pub fn accept_params(&mut self, params: Params<f32>) -> Result<Vec<Event>, Box<Diverged>> {
        let Some(chunk) = self.under_way.take() else {
            return Ok(Vec::new());
        };
        let steps = chunk.first + chunk.len as u64;
        if let Some(what) = non_finite(&params) {
            return Err(Box::new(Diverged {
                what,
                step: steps - 1,
                good: self.good.clone(),
            }));
        }
        let ratios = chunk.measured.map(|Minibatch { x, y, lr }| {
            let now = &self.state.now;
            Ratios::of(now.steps, &now.params, self.dims, (&x, &y, lr))
        });
        let rows = self
            .state
            .log
            .take(&chunk.losses, |step| self.schedule.lr(step));
        self.state.curve.add(&chunk.losses);
        self.state.now = Snapshot {
            params,
            steps,
            generator: chunk.generator,
        };
        let mut events: Vec<Event> =
            (ratios.map(Box::new).map(Event::Ratios).into_iter()).collect();
        events.extend(rows.into_iter().map(Event::Row));
        if steps.is_multiple_of(self.checkpoint_every) || steps == self.steps {
            events.push(Event::CheckpointDue);
        }
        if (self.eval_every).is_some_and(|every| steps.is_multiple_of(every.get())) {
            events.push(Event::EvaluationDue);
        }
        if steps == self.steps {
            events.push(Event::Finished);
        }
        Ok(events)
    }
}

/// The first loss that is not finite.
pub fn first_non_finite(losses: &[f32]) -> Option<usize> {
    losses.iter().position(|loss| !loss.is_finite())
}

/// A parameter that is not finite, and its value: `W1[7] is NaN`.
pub fn non_finite(params: &Params<f32>) -> Option<String> {
    let (tensor, i) = params.first_non_finite()?;
    Some(format!(
        "{}[{i}] is {}",
        tensor.name(),
        params.get(tensor)[i]
    ))
}

/// How many steps are handed out together: chunks grow towards a tenth of a second. That is often enough
/// for a live display, seldom enough that waiting for the device costs nothing, and far below the second
/// or two after which Windows and some Linux drivers reset a GPU that does not answer.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Steps of the next chunk at most.
    pub chunk: usize,
}

impl Default for Pace {
    /// The first chunk is a single step: some drivers compile the kernels during it.
    fn default() -> Self {
        Self { chunk: 1 }
    }
}

impl Pace {
    const CHUNK: Duration = Duration::from_millis(100);
    /// Steps in a chunk at most.
    const MOST: usize = 4096;

    /// A chunk of `len` steps has taken `took`. The next one is at most four times as long, since the first
    /// chunks also compile the kernels.
    pub fn accept(&mut self, len: usize, took: Duration) {
        let fitting = len as f64 * Self::CHUNK.as_secs_f64() / took.as_secs_f64().max(1e-6);
        let next = (fitting as usize).clamp(1, (4 * len).min(Self::MOST));
        // A chunk that had to end early says nothing against longer ones.
        self.chunk = if len < self.chunk {
            next.max(self.chunk)
        } else {
            next
        };
    }
}

#[cfg(test)]
mod tests {
    use pollster::FutureExt as _;

    use super::*;
    use crate::backend::Backend;
    use crate::cpu::CpuBackend;

    fn chunk_after(chunk: usize, len: usize, took: Duration) -> usize {
        let mut pace = Pace { chunk };
        pace.accept(len, took);
        pace.chunk
    }

    #[test]
    fn chunks_grow_towards_their_time_and_shrink_at_once() {
        assert_eq!(chunk_after(1, 1, Duration::from_micros(10)), 4);
        assert_eq!(chunk_after(100, 100, Duration::from_millis(50)), 200);
        assert_eq!(chunk_after(1000, 1000, Duration::from_secs(10)), 10);
        assert_eq!(chunk_after(1, 1, Duration::from_secs(10)), 1);
        assert_eq!(chunk_after(4096, 4096, Duration::ZERO), 4096);
        // Cut short by a checkpoint.
        assert_eq!(chunk_after(1000, 10, Duration::from_millis(1)), 1000);
    }

    const DIMS: Dims = Dims {
        vocab: 3,
        block: 1,
        embd: 1,
        hidden: 2,
        batch: 2,
    };

    fn recipe(steps: u64) -> Recipe {
        Recipe {
            steps,
            block_size: 1,
            n_embd: 1,
            n_hidden: 2,
            batch_size: 2,
            ..Recipe::default()
        }
    }

    /// Drives a training with a device whose losses are all 1 until `bad`. Gives the sizes of the chunks,
    /// the events, and how it ended.
    fn drive(
        recipe: &Recipe,
        every: u64,
        ahead: bool,
        bad: Option<u64>,
    ) -> (Vec<Steps>, Vec<Event>, Option<Box<Diverged>>) {
        drive_evaluating(recipe, every, None, ahead, bad)
    }

    /// [`drive`] with an evaluation every `eval` steps.
    fn drive_evaluating(
        recipe: &Recipe,
        every: u64,
        eval: Option<u64>,
        ahead: bool,
        bad: Option<u64>,
    ) -> (Vec<Steps>, Vec<Event>, Option<Box<Diverged>>) {
        let words: [Vec<Token>; 4] = [vec![1, 2], vec![2], vec![1, 1, 2], vec![2, 1]];
        let examples = Examples::build(words, 1, 27);
        let state = State::first(recipe, &DIMS, 3);
        let mut training = Training::new(&examples, recipe, state, every)
            .evaluate_every(eval.and_then(NonZeroU64::new));
        let (mut chunks, mut events) = (Vec::new(), Vec::new());
        while let Some(steps) = training.next_steps() {
            if ahead {
                training.draw_ahead();
            }
            let loss = |i: usize| match Some(steps.first + i as u64) == bad {
                true => f32::NAN,
                false => 1.0,
            };
            let losses: Vec<f32> = (0..steps.len()).map(loss).collect();
            chunks.push(steps);
            if let Err(diverged) = training.accept_losses(&losses, Duration::ZERO) {
                return (chunks, events, Some(diverged));
            }
            let params = training.state().now.params.clone();
            events.extend(training.accept_params(params).unwrap());
        }
        (chunks, events, None)
    }

    #[test]
    fn chunks_end_at_checkpoints_and_drawing_ahead_changes_no_step() {
        let recipe = recipe(20);
        let (chunks, events, _) = drive(&recipe, 8, false, None);
        let lens: Vec<usize> = chunks.iter().map(Steps::len).collect();
        assert_eq!(lens, [1, 4, 3, 8, 4]);
        let rows = events.iter().filter(|event| matches!(event, Event::Row(_)));
        assert_eq!(rows.count(), 7); // steps 0, 3, ... 18
        let due = events
            .iter()
            .filter(|event| **event == Event::CheckpointDue);
        assert_eq!(due.count(), 3);
        assert_eq!(events.last(), Some(&Event::Finished));
        // The pace of a chunk that is drawn ahead is that of the chunk before.
        let (ahead, also, _) = drive(&recipe, 8, true, None);
        let flat = |chunks: &[Steps]| -> (Vec<Token>, Vec<Token>) {
            let x = chunks.iter().flat_map(|steps| steps.x.clone());
            let y = chunks.iter().flat_map(|steps| steps.y.clone());
            (x.collect(), y.collect())
        };
        assert_eq!(flat(&ahead), flat(&chunks));
        assert_eq!(also, events);
    }

    /// Against the same training step by step, in which the parameters before each step are at hand.
    #[test]
    fn ratios_are_those_before_their_step_and_change_no_bit() {
        let words: [Vec<Token>; 4] = [vec![1, 2], vec![2], vec![1, 1, 2], vec![2, 1]];
        let (examples, recipe) = (Examples::build(words, 1, 27), recipe(20));
        let start = State::first(&recipe, &DIMS, 3);
        let mut alone = CpuBackend::new(DIMS, start.now.params.clone());
        let generator = start.now.generator.clone();
        let mut stream = Stream::new(&examples, generator, recipe.learning_rate(), 2);
        let (mut expected, mut losses) = (Vec::new(), Vec::new());
        for step in 0..20 {
            let steps = stream.take(1);
            let params = alone.params().block_on().unwrap();
            if step % 3 == 0 {
                expected.push(Ratios::of(step, &params, DIMS, steps.step(0)));
            }
            alone.train(&steps, &mut losses).block_on().unwrap();
        }
        let last = alone.params().block_on().unwrap();
        for every in [None, NonZeroU64::new(3), NonZeroU64::new(1)] {
            let training = Training::new(&examples, &recipe, start.clone(), 8);
            let mut training = training.with_ratios(every);
            let mut backend = CpuBackend::new(DIMS, start.now.params.clone());
            let mut found = Vec::new();
            while let Some(steps) = training.next_steps() {
                training.draw_ahead();
                let mut losses = Vec::new();
                backend.train(&steps, &mut losses).block_on().unwrap();
                training.accept_losses(&losses, Duration::ZERO).unwrap();
                let params = backend.params().block_on().unwrap();
                let events = training.accept_params(params).unwrap();
                found.extend(events.into_iter().filter_map(|event| match event {
                    Event::Ratios(ratios) => Some(*ratios),
                    _ => None,
                }));
            }
            assert_eq!(training.state().now.params, last, "{every:?}");
            match every.map(NonZeroU64::get) {
                Some(3) => assert_eq!(found, expected),
                every => assert_eq!(found.len() as u64, 20 * every.unwrap_or(0)),
            }
        }
    }

    #[test]
    fn evaluations_cut_chunks_and_change_no_step() {
        let recipe = recipe(20);
        let flat = |chunks: &[Steps]| -> (Vec<Token>, Vec<f32>) {
            let parts = chunks
                .iter()
                .map(|steps| (steps.x.clone(), steps.lr.clone()));
            let (x, lr): (Vec<_>, Vec<_>) = parts.unzip();
            (x.concat(), lr.concat())
        };
        let whole = flat(&drive(&recipe, 8, true, None).0);
        for (eval, due_after) in [
            (5, vec![5, 10, 15, 20]),
            (7, vec![7, 14]),
            (8, vec![8, 16]),
            (u64::MAX, vec![]),
        ] {
            let (chunks, events, _) = drive_evaluating(&recipe, 8, Some(eval), true, None);
            assert_eq!(flat(&chunks), whole, "{eval}");
            let ends: Vec<u64> = chunks
                .iter()
                .map(|steps| steps.first + steps.len() as u64)
                .collect();
            assert!(due_after.iter().all(|step| ends.contains(step)), "{ends:?}");
            let count = |event| events.iter().filter(|other| **other == event).count();
            assert_eq!(count(Event::EvaluationDue), due_after.len(), "{eval}");
            assert_eq!(count(Event::CheckpointDue), 3, "{eval}");
        }
    }

    #[test]
    fn a_bad_loss_ends_it_with_the_last_good_model() {
        let (_, _, diverged) = drive(&recipe(20), 8, true, Some(6));
        let diverged = diverged.unwrap();
        assert_eq!(diverged.step, 6);
        assert!(diverged.what.contains("NaN"), "{}", diverged.what);
        assert!((1..=6).contains(&diverged.good.steps));
        let (_, _, at_once) = drive(&recipe(20), 8, true, Some(0));
        assert_eq!(at_once.unwrap().good.steps, 0);
    }
}
