//! `gpu-makemore train`: the training loop, from the data to the names.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::{Backend, BackendInfo, Statistics, Steps};
use crate::checkpoint::{Checkpoint, Config};
use crate::cli::TrainArgs;
use crate::data::{self, Dataset, Examples};
use crate::device::Device;
use crate::dims::Dims;
use crate::error::Error;
use crate::gpu::schedule::Opened;
use crate::params::Params;
use crate::report::{Metrics, ProfileReport, Progress, RunDir, Summary, loss_png};
use crate::rng::TorchGenerator;
use crate::sample::{self, Sampler};

/// How long a chunk of steps should take: often enough for a live display, seldom enough that
/// waiting for the device costs nothing, and far below the second or two after which Windows and
/// some Linux drivers reset a GPU that does not answer.
const CHUNK: Duration = Duration::from_millis(100);
/// Steps in a chunk at most.
const MAX_CHUNK: usize = 4096;
/// Names that are printed in the end.
const NAMES: usize = 20;
/// The lecture samples with a seed of its own: `2147483647 + 10`.
const SAMPLE_SEED_OFFSET: u64 = 10;

/// The learning rate of each step.
#[derive(Clone, Copy, Debug)]
pub struct LearningRate {
    /// Of the first steps.
    pub lr: f64,
    /// From `decay_at` on.
    pub lr_final: f64,
    /// First step with `lr_final`.
    pub decay_at: u64,
}

impl LearningRate {
    /// What the options ask for.
    pub(crate) fn of(args: &TrainArgs) -> Self {
        Self {
            lr: args.lr,
            lr_final: args.lr_final,
            decay_at: args.lr_decay_at.unwrap_or(args.steps / 2),
        }
    }

    /// `lr = 0.1 if i < 100000 else 0.01`
    pub fn lr(&self, step: u64) -> f64 {
        if step < self.decay_at {
            self.lr
        } else {
            self.lr_final
        }
    }
}

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

/// Sizes that the command line asks for, with the vocabulary of the data.
pub(crate) fn dims(args: &TrainArgs, dataset: &Dataset) -> Result<Dims, Error> {
    let dims = Dims {
        vocab: dataset.vocab.len(),
        block: args.block_size as usize,
        embd: args.n_embd as usize,
        hidden: args.n_hidden as usize,
        batch: args.batch_size as usize,
    };
    Ok(dims.validate()?)
}

/// Runs the command.
pub fn run(args: &TrainArgs) -> Result<(), Error> {
    let dataset = data::load(&data::Options {
        source: args.data.clone(),
        column: args.columns.column.clone(),
        clean: args.columns.clean,
        block: args.block_size as usize,
    })?;
    let dims = dims(args, &dataset)?;
    let device = Device::choose(&args.device)?;
    if args.profile {
        device.needs_gpu("--profile")?;
    }
    let mut generator = TorchGenerator::manual_seed(args.seed);
    let params = Params::init(&dims, &mut generator);
    let opened = device.open_to_train(dims, &params, args.schedule)?;
    let run_dir = RunDir::create(args.out.as_deref())?;
    let schedule = LearningRate::of(args);
    let mut progress = Progress::new(args.steps);
    for line in set_up(args, &dataset, &dims, &device, &opened, &schedule, &run_dir) {
        progress.line(&line)?;
    }

    let mut backend = opened.backend;
    if args.profile {
        backend.start_profile()?;
    }
    let mut config = config(args, &dataset, &dims, &schedule, backend.info());
    let stream = Stream::new(&dataset.train, generator, schedule, dims.batch);
    let mut metrics = Metrics::create(&run_dir.file(RunDir::METRICS), args.log_every)?;
    let start = Instant::now();
    let on_chunk = |losses: &[f32], done: u64| -> Result<(), Error> {
        for note in opened.notes.try_iter() {
            progress.line(&note)?;
        }
        for row in metrics.record(losses, |step| schedule.lr(step))? {
            progress.line(&row.lecture_line(args.steps))?;
        }
        if let Some(&loss) = losses.last() {
            progress.update(done, loss);
        }
        Ok(())
    };
    let (params, losses) = match steps(&mut *backend, stream, args.steps, params, on_chunk)? {
        Ended::Whole { params, losses } => (params, losses),
        Ended::Diverged { what, step, good } => {
            progress.finish();
            config.steps = good.steps;
            let path = run_dir.file(RunDir::LAST_GOOD);
            let model = finish(&mut *backend, config, good.params, &dataset.train)?;
            let saved = match model.save(&path) {
                Ok(()) => Ok((good.steps, path)),
                Err(error) => Err(Box::new(error)),
            };
            return Err(Error::Diverged {
                what,
                step,
                lr: schedule.lr(step),
                saved,
            });
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    progress.finish();

    let checkpoint = finish(&mut *backend, config, params, &dataset.train)?;
    checkpoint.save(run_dir.file(RunDir::MODEL))?;
    let stats = statistics(&checkpoint);
    let [train_loss, val_loss, test_loss] = evaluate(&mut *backend, &stats, &dataset)?;
    for note in opened.notes.try_iter() {
        progress.line(&note)?;
    }
    let info = backend.info();
    Summary {
        train_loss: Some(train_loss),
        val_loss: Some(val_loss),
        test_loss: Some(test_loss),
        steps: args.steps,
        seconds,
        steps_per_second: args.steps as f64 / seconds,
        backend: info.backend.to_owned(),
        adapter: info.adapter.clone(),
        driver: Some(info.driver.clone()),
        schedule: info.schedule.map(str::to_owned),
        seed: args.seed,
        sizes: dims.into(),
        data: dataset.label.clone(),
        lr: schedule.lr,
        lr_final: schedule.lr_final,
        lr_decay_at: schedule.decay_at,
        version: crate::VERSION.to_owned(),
    }
    .save(&run_dir.file(RunDir::SUMMARY))?;
    loss_png(&run_dir.file(RunDir::PLOT), &losses)?;

    progress.line(&format!("train {train_loss:.4}"))?;
    progress.line(&format!("val   {val_loss:.4}"))?;
    let seed = args.seed.wrapping_add(SAMPLE_SEED_OFFSET);
    let mut sampler = Sampler::new(dims, checkpoint.params, stats, seed);
    for _ in 0..NAMES {
        progress.line(&sample::text(&dataset.vocab, &sampler.name(&[])))?;
    }
    progress.line(&format!(
        "{} steps in {seconds:.1} s: {:.0} steps/s",
        args.steps,
        args.steps as f64 / seconds
    ))?;
    if let Some(profile) = backend.profile() {
        let report = ProfileReport::new(profile, seconds);
        report.save(&run_dir.file(RunDir::PROFILE))?;
        for line in report.lines() {
            progress.line(&line)?;
        }
    }
    progress.line(&format!(
        "the model is in {}",
        run_dir.file(RunDir::MODEL).display()
    ))?;
    Ok(())
}

/// What the checkpoint says of how its model was made.
pub(crate) fn config(
    args: &TrainArgs,
    dataset: &Dataset,
    dims: &Dims,
    schedule: &LearningRate,
    info: &BackendInfo,
) -> Config {
    Config {
        vocab: dataset.vocab.chars().collect(),
        block_size: dims.block,
        n_embd: dims.embd,
        n_hidden: dims.hidden,
        batch_size: dims.batch,
        steps: args.steps,
        lr: schedule.lr,
        lr_final: schedule.lr_final,
        lr_decay_at: schedule.decay_at,
        seed: args.seed,
        data: args.data.to_string(),
        column: args.columns.column.clone(),
        clean: args.columns.clean,
        backend: info.backend.to_owned(),
        version: crate::VERSION.to_owned(),
    }
}

/// The lines that say what is about to be done.
fn set_up(
    args: &TrainArgs,
    dataset: &Dataset,
    dims: &Dims,
    device: &Device,
    opened: &Opened,
    schedule: &LearningRate,
    run_dir: &RunDir,
) -> Vec<String> {
    let words = dataset.words.train + dataset.words.val + dataset.words.test;
    let info = opened.backend.info();
    let mut lines = vec![
        format!("device      {}; {}", device.name(), info.driver),
        format!("why         {}", device.why()),
    ];
    if let Some(schedule) = info.schedule {
        lines.push(format!("schedule    {schedule}; {}", opened.why));
    }
    lines.extend([
        format!(
            "data        {}: {words} words; {} examples to train, {} to validate, {} to test",
            dataset.label,
            dataset.train.len(),
            dataset.val.len(),
            dataset.test.len()
        ),
        format!(
            "vocabulary  {}: {}",
            dims.vocab,
            dataset.vocab.chars().collect::<String>()
        ),
        format!(
            "model       block {}, embd {}, hidden {}: {} parameters",
            dims.block,
            dims.embd,
            dims.hidden,
            dims.parameter_count()
        ),
        format!(
            "training    {} steps of {} examples; learning rate {:?}, from step {} on {:?}; seed {}",
            args.steps, dims.batch, schedule.lr, schedule.decay_at, schedule.lr_final, args.seed
        ),
        format!("output      {}", run_dir.path().display()),
    ]);
    lines
}

/// How the steps ended.
pub(crate) enum Ended {
    /// All of them were done.
    Whole {
        params: Params<f32>,
        losses: Vec<f32>,
    },
    /// A value is not finite any more.
    Diverged {
        what: String,
        step: u64,
        /// The last parameters known to give a finite loss.
        good: Snapshot,
    },
}

/// Parameters, and after how many steps they were those.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) params: Params<f32>,
    pub(crate) steps: u64,
}

/// Does `count` steps in chunks and reports each.
pub(crate) fn steps(
    backend: &mut dyn Backend,
    mut stream: Stream<'_>,
    count: u64,
    params: Params<f32>,
    mut on_chunk: impl FnMut(&[f32], u64) -> Result<(), Error>,
) -> Result<Ended, Error> {
    let mut losses = Vec::with_capacity(count.min(1 << 24) as usize);
    let mut chunk = 1;
    let mut now = Snapshot { params, steps: 0 };
    // Parameters can be finite and yet of no use: they are good once they have given a loss.
    let mut good = now.clone();
    let mut drawn = Steps::default();
    while now.steps < count {
        let start = Instant::now();
        let before = losses.len();
        if drawn.is_empty() {
            drawn = stream.take(chunk);
        }
        let steps = drawn;
        // While the device is busy with this chunk, the next one is drawn.
        let next = chunk.min((count - now.steps) as usize - steps.len());
        let trained;
        (trained, drawn) = thread::scope(|scope| {
            let next = scope.spawn(|| stream.take(next));
            let trained = backend.train(&steps, &mut losses);
            let next = next.join();
            (trained, next.unwrap_or_else(|panic| resume_unwind(panic)))
        });
        trained?;
        chunk = next_chunk(steps.len(), start.elapsed());
        let new = &losses[before..];
        let bad_loss = new.iter().position(|loss| !loss.is_finite());
        if bad_loss != Some(0) {
            good = now.clone();
        }
        if let Some(i) = bad_loss {
            let what = format!("the loss is {}", new[i]);
            let step = steps.first + i as u64;
            return Ok(Ended::Diverged { what, step, good });
        }
        let params = backend.params()?;
        if let Some((tensor, i)) = params.first_non_finite() {
            let what = format!("{}[{i}] is {}", tensor.name(), params.get(tensor)[i]);
            let step = steps.first + steps.len() as u64 - 1;
            return Ok(Ended::Diverged { what, step, good });
        }
        now = Snapshot {
            params,
            steps: now.steps + steps.len() as u64,
        };
        on_chunk(new, now.steps)?;
    }
    Ok(Ended::Whole {
        params: now.params,
        losses,
    })
}

/// Steps of the next chunk: towards [`CHUNK`], but at most four times as many, since the first
/// chunks also compile the kernels.
pub(crate) fn next_chunk(steps: usize, took: Duration) -> usize {
    let fitting = steps as f64 * CHUNK.as_secs_f64() / took.as_secs_f64().max(1e-6);
    (fitting as usize).clamp(1, (4 * steps).min(MAX_CHUNK))
}

/// The model as it is saved: parameters, and batch-norm statistics over the whole training set.
pub(crate) fn finish(
    backend: &mut dyn Backend,
    config: Config,
    params: Params<f32>,
    train: &Examples,
) -> Result<Checkpoint, Error> {
    backend.set_params(&params)?;
    let Statistics { bnmean, bnvar } = backend.calibrate(train.x())?;
    Ok(Checkpoint {
        config,
        params,
        bnmean,
        bnvar,
    })
}

/// The batch-norm statistics of a finished model.
pub(crate) fn statistics(checkpoint: &Checkpoint) -> Statistics {
    Statistics {
        bnmean: checkpoint.bnmean.clone(),
        bnvar: checkpoint.bnvar.clone(),
    }
}

/// Losses of the model that the backend holds, over the training, validation and test sets.
pub(crate) fn evaluate(
    backend: &mut dyn Backend,
    stats: &Statistics,
    dataset: &Dataset,
) -> Result<[f64; 3], Error> {
    let mut loss_of = |examples: &Examples| backend.evaluate(stats, examples.x(), examples.y());
    Ok([
        loss_of(&dataset.train)?,
        loss_of(&dataset.val)?,
        loss_of(&dataset.test)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_falls_at_its_step() {
        let schedule = LearningRate {
            lr: 0.1,
            lr_final: 0.01,
            decay_at: 5,
        };
        assert_eq!(schedule.lr(4), 0.1);
        assert_eq!(schedule.lr(5), 0.01);
    }

    #[test]
    fn chunks_grow_towards_their_time_and_shrink_at_once() {
        assert_eq!(next_chunk(1, Duration::from_micros(10)), 4);
        assert_eq!(next_chunk(100, Duration::from_millis(50)), 200);
        assert_eq!(next_chunk(1000, Duration::from_secs(10)), 10);
        assert_eq!(next_chunk(1, Duration::from_secs(10)), 1);
        assert_eq!(next_chunk(4096, Duration::ZERO), 4096);
    }
}
