//! `gpu-makemore train`: the training loop, from the data to the names.

mod interrupt;
mod keeper;
mod resume;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::backend::Schedule;
use crate::backend::{Backend, BackendInfo};
use crate::checkpoint::{Checkpoint, CheckpointError, Config, Training};
use crate::cli::args::TrainArgs;
use crate::cli::device::Device;
use crate::cli::error::Error;
use crate::cli::report::{
    Metrics, MetricsMark, ProfileReport, Progress, RunDir, Summary, Validation, loss_png,
};
use crate::data::{self, Dataset, Examples};
use crate::engine::Opened;
use crate::model::dims::Dims;
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::model::steps::LearningRate;
use crate::sample::{self, Sampler};
use crate::training::curve::LossCurve;
use crate::training::{Ended, Snapshot, Stream, steps};
pub(crate) use interrupt::Interrupt;
use keeper::Keeper;
use resume::Resumed;

/// Names that are printed in the end.
const NAMES: usize = 20;
/// The lecture samples with a seed of its own: `2147483647 + 10`.
const SAMPLE_SEED_OFFSET: u64 = 10;

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

/// The learning rates that the options ask for.
pub(crate) fn schedule_of(args: &TrainArgs) -> LearningRate {
    LearningRate {
        lr: args.lr,
        lr_final: args.lr_final(),
        decay_at: args.lr_decay_at.unwrap_or(args.steps / 2),
    }
}

/// Runs the command.
pub fn run(args: &TrainArgs) -> Result<(), Error> {
    run_on(args, |device, dims, params, schedule| {
        device.open_to_train(dims, params, schedule)
    })
}

/// The same on a backend that `open` opens.
fn run_on(
    args: &TrainArgs,
    open: impl FnOnce(&Device, Dims, &Params<f32>, Schedule) -> Result<Opened, Error>,
) -> Result<(), Error> {
    let resumed = match &args.resume {
        Some(folder) => Some(Resumed::open(folder, args)?),
        None => None,
    };
    let own = resumed.as_ref().map(|resumed| resumed.args.clone());
    let args = own.as_ref().unwrap_or(args);
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
    let start = match &resumed {
        Some(resumed) => resumed.start(&dataset)?,
        None => Snapshot::first(&dims, args.seed),
    };
    let opening = Instant::now();
    let Opened {
        backend,
        why,
        notes,
    } = open(&device, dims, &start.params, args.schedule)?;
    let opened = opening.elapsed();
    let info = backend.info();
    let config = config(args, &dataset, &dims, &schedule_of(args), info);
    let mut lines = set_up(args, &dataset, &dims, &device, info, &why);
    let training = match &resumed {
        Some(resumed) => {
            lines.extend(resumed.lines(info));
            resumed.training.clone()
        }
        None => first_training(args, &dataset, info),
    };
    let curve = match &resumed {
        Some(resumed) => resumed.curve()?,
        None => LossCurve::new(args.steps),
    };
    let run_dir = match resumed {
        Some(resumed) => resumed.run_dir,
        None => RunDir::begin(args.out.as_deref())?,
    };
    lines.push(format!("output      {}", run_dir.path().display()));

    let earlier = training.seconds;
    let mark = training.metrics;
    let from = start.steps;
    let mut keeper = Keeper::new(run_dir, &dataset, config.clone(), training, &start);
    let path = keeper.file(RunDir::METRICS);
    // From here on the run can be killed at any time and go on.
    let metrics = if args.resume.is_some() {
        Metrics::go_on(&path, args.log_every(), start.steps, &mark)?
    } else {
        if let Some(measured) = keeper.measure(&start)? {
            keeper.save(measured, &start, mark, &curve, 0.0)?;
        }
        Metrics::create(&path, args.log_every())?
    };
    let mut run = Run {
        args,
        dataset: &dataset,
        dims,
        schedule: schedule_of(args),
        backend,
        notes,
        progress: Progress::starting_at(start.steps, args.steps),
        metrics,
        curve,
        config,
        clock: Clock::new(from, earlier, opened, &keeper),
        keeper,
        finished: false,
    };
    let result = run.go(start, &lines);
    run.progress.finish();
    result.map_err(|error| match (error, run.keeper.saved()) {
        (error @ (Error::Interrupted { .. } | Error::Diverged { .. } | Error::Worse { .. }), _) => {
            error
        }
        (error, _) if run.finished => Error::Unprinted {
            error: Box::new(error),
            model: run.keeper.file(RunDir::MODEL),
        },
        (error, step @ 1..) => Error::Kept {
            error: Box::new(error),
            step,
            folder: run.keeper.folder().to_path_buf(),
        },
        (error, 0) => {
            // After no step there is nothing worth keeping, unless somebody counts on going on with it.
            // If it cannot be removed, it does no harm.
            if run.curve.steps() == 0 && args.resume.is_none() {
                let _ = run.keeper.discard();
            }
            error
        }
    })
}

/// A run that is under way.
struct Run<'a> {
    args: &'a TrainArgs,
    dataset: &'a Dataset,
    dims: Dims,
    schedule: LearningRate,
    backend: Box<dyn Backend>,
    /// What happens to the device.
    notes: Receiver<String>,
    progress: Progress,
    metrics: Metrics,
    curve: LossCurve,
    config: Config,
    keeper: Keeper<'a>,
    clock: Clock,
    /// Whether all files are written: what fails after that costs nothing but lines on the screen.
    finished: bool,
}

impl Run<'_> {
    /// Does the steps, evaluates the model and writes it all down.
    fn go(&mut self, start: Snapshot, lines: &[String]) -> Result<(), Error> {
        for line in lines {
            self.progress.line(line)?;
        }
        if self.args.profile {
            self.backend.start_profile()?;
        }
        let interrupt = Interrupt::listen().map_err(Error::Signals)?;
        self.clock.start(&self.keeper);
        let params = self.steps(start, &interrupt)?;
        self.progress.finish();
        let times = self.clock.times(self.args.steps, &self.keeper);
        self.finish(params, times)
    }

    /// The parameters after the last step.
    fn steps(&mut self, start: Snapshot, interrupt: &Interrupt) -> Result<Params<f32>, Error> {
        let Self {
            args,
            schedule,
            backend,
            notes,
            progress,
            metrics,
            curve,
            keeper,
            clock,
            ..
        } = self;
        let every = args.checkpoint_every();
        let examples = &self.dataset.train;
        let stream = Stream::new(examples, start.generator, *schedule, self.dims.batch)
            .from_step(start.steps);
        let params = start.params;
        let mut stopped = None;
        let on_chunk = |losses: &[f32], now: &Snapshot| -> Result<ControlFlow<()>, Error> {
            clock.first_chunk(now.steps);
            for note in notes.try_iter() {
                progress.line(&format!("note        {note}"))?;
            }
            for row in metrics.record(losses, |step| schedule.lr(step))? {
                progress.line(&row.lecture_line(args.steps))?;
            }
            curve.add(losses);
            if let Some(&loss) = losses.last() {
                progress.update(now.steps, loss);
            }
            stopped = interrupt.exit_code();
            let due = now.steps.is_multiple_of(every) || now.steps == args.steps;
            if (due || stopped.is_some())
                && let Some(measured) = keeper.measure(now)?
            {
                // A run that is interrupted leaves no row that an undisturbed one has not.
                let row = measured
                    .val_loss
                    .filter(|_| due)
                    .map(|val_loss| Validation {
                        step: now.steps,
                        val_loss,
                    });
                if let Some(row) = row {
                    metrics.record_validation(row)?;
                }
                let seconds = clock.times(now.steps, keeper).seconds;
                keeper.save(measured, now, metrics.mark()?, curve, seconds)?;
                // After the last step, that over all statistics follows at once.
                if let Some(row) = row.filter(|row| row.step < args.steps) {
                    progress.line(&row.line(args.steps))?;
                }
            }
            Ok(match stopped {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            })
        };
        match steps(&mut **backend, stream, args.steps, every, params, on_chunk)? {
            Ended::Whole(params) => Ok(params),
            Ended::Stopped => Err(Error::Interrupted {
                step: keeper.saved(),
                steps: args.steps,
                folder: keeper.folder().to_path_buf(),
                exit_code: stopped.unwrap_or_default(),
            }),
            Ended::Failed { error, before } => {
                // If that fails too, the checkpoint before stays, and the first error is the one to
                // report.
                if before.steps > keeper.saved()
                    && let Ok(Some(measured)) = keeper.measure(&before)
                    && let Ok(mark) = metrics.mark()
                {
                    let seconds = clock.times(before.steps, keeper).seconds;
                    let _ = keeper.save(measured, &before, mark, curve, seconds);
                }
                Err(error.into())
            }
            Ended::Diverged { what, step, good } => {
                progress.finish();
                let lr = schedule.lr(step);
                let saved = self.keep_good(good.params, good.steps)?;
                Err(Error::Diverged {
                    what,
                    step,
                    lr,
                    saved,
                })
            }
        }
    }

    /// Saves the last good model of a run that diverged, which was so after `steps` steps: its steps
    /// and its file, or why that cannot be written.
    fn keep_good(
        &mut self,
        params: Params<f32>,
        steps: u64,
    ) -> Result<Result<(u64, PathBuf), Box<CheckpointError>>, Error> {
        let path = self.keeper.file(RunDir::LAST_GOOD);
        let config = Config {
            steps,
            ..self.config.clone()
        };
        let contexts = self.dataset.train.x();
        let model = finish(&mut *self.backend, config, params, contexts)?;
        Ok(match model.save(&path) {
            Ok(()) => {
                // To continue would only come to the same end.
                self.keeper.remove_last()?;
                Ok((steps, path))
            }
            Err(error) => Err(Box::new(error)),
        })
    }

    /// The error of a run whose training loss in the end is `loss`, while it was `untrained` before.
    fn worse(&mut self, loss: f64, untrained: f64) -> Result<Error, Error> {
        let limit = worst(&self.dims, self.args.steps, untrained);
        let best = self.keeper.best().filter(|best| best.val_loss <= limit);
        let good = match best {
            Some(_) => {
                let best = Checkpoint::load(self.keeper.file(RunDir::BEST));
                best.map(|best| (best.params, best.config.steps))
            }
            None => Ok((Snapshot::first(&self.dims, self.args.seed).params, 0)),
        };
        let saved = match good {
            Ok((params, steps)) => self.keep_good(params, steps)?,
            Err(error) => Err(Box::new(error)),
        };
        let LearningRate { lr, lr_final, .. } = self.schedule;
        Ok(Error::Worse {
            steps: self.args.steps,
            loss,
            untrained,
            lr: lr.max(lr_final),
            saved,
        })
    }

    /// Evaluates the trained model and writes all about it down.
    fn finish(&mut self, params: Params<f32>, times: Times) -> Result<(), Error> {
        let Times {
            seconds,
            set_up,
            loop_seconds,
        } = times;
        let Self {
            args,
            dataset,
            schedule,
            backend,
            progress,
            keeper,
            ..
        } = self;
        let checkpoint = finish(
            &mut **backend,
            self.config.clone(),
            params,
            dataset.train.x(),
        )?;
        let stats = statistics(&checkpoint);
        let [train_loss, val_loss, test_loss] = evaluate(&mut **backend, &stats, dataset)?;
        let untrained = worse_than_untrained(&mut **backend, args, dataset, train_loss)?;
        if let Some(untrained) = untrained {
            return Err(self.worse(train_loss, untrained)?);
        }
        checkpoint.save(keeper.file(RunDir::MODEL))?;
        for note in self.notes.try_iter() {
            progress.line(&format!("note        {note}"))?;
        }
        let validation = self.metrics.validation();
        loss_png(&keeper.file(RunDir::PLOT), &self.curve, validation)?;
        let profile = backend
            .profile()
            .map(|profile| ProfileReport::new(profile, loop_seconds));
        if let Some(profile) = &profile {
            profile.save(&keeper.file(RunDir::PROFILE))?;
        }
        let info = backend.info();
        // The last of the files: a run with a summary is finished.
        Summary {
            train_loss: Some(train_loss),
            val_loss: Some(val_loss),
            test_loss: Some(test_loss),
            steps: args.steps,
            seconds,
            steps_per_second: args.steps as f64 / seconds,
            setup_seconds: set_up,
            checkpoint_seconds: keeper.took().as_secs_f64(),
            backend: info.backend.to_owned(),
            adapter: info.adapter.clone(),
            driver: info.driver.clone(),
            schedule: info.schedule.map(str::to_owned),
            seed: args.seed,
            sizes: self.dims.into(),
            data: dataset.label.clone(),
            lr: schedule.lr,
            lr_final: schedule.lr_final,
            lr_decay_at: schedule.decay_at,
            version: crate::VERSION.to_owned(),
        }
        .save(&keeper.file(RunDir::SUMMARY))?;
        keeper.remove_last()?;
        self.finished = true;

        progress.line(&format!("train {train_loss:.4}"))?;
        progress.line(&format!("val   {val_loss:.4}"))?;
        let seed = args.seed.wrapping_add(SAMPLE_SEED_OFFSET);
        let mut sampler = Sampler::new(self.dims, checkpoint.params, stats, seed);
        for _ in 0..NAMES {
            progress.line(&sample::text(&dataset.vocab, &sampler.name(&[])))?;
        }
        let mut line = format!(
            "{} steps in {} s: {:.0} steps/s",
            args.steps,
            short(seconds),
            args.steps as f64 / seconds
        );
        if set_up >= 0.05 {
            let set_up = short(set_up);
            line += &format!(" (and {set_up} s to open the device and compile the kernels)");
        }
        progress.line(&line)?;
        for line in profile.iter().flat_map(ProfileReport::lines) {
            progress.line(&line)?;
        }
        if let Some(best) = keeper.best().filter(|best| best.step < args.steps) {
            progress.line(&format!(
                "the lowest validation loss was {:.4}, after {} steps: {}",
                best.val_loss,
                best.step,
                keeper.file(RunDir::BEST).display()
            ))?;
        }
        progress.line(&format!(
            "the model is in {}",
            keeper.file(RunDir::MODEL).display()
        ))?;
        Ok(())
    }
}

/// How long the steps take, without the checkpoints in between.
///
/// A driver compiles a kernel when it is made or, like Mesa's, when it is first launched. The first
/// chunk is a single step ([`steps::steps`]) and has launched each kernel of the training when it is
/// through. So its time says nothing of the speed: it counts for as much as the steps after it take,
/// and the rest of it is set-up. Where there is no step after it, all its time counts.
struct Clock {
    /// Steps that were done before this process.
    from: u64,
    /// Seconds that those took.
    earlier: f64,
    /// How long it took to open the backend.
    opened: Duration,
    begun: Instant,
    /// [`Keeper::took`] before the first step.
    saved: Duration,
    /// Steps of the first chunk, and its time.
    first: Option<(u64, Duration)>,
}

/// What a [`Clock`] says, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    /// Of the steps, those before an interruption included.
    seconds: f64,
    /// Of the set-up of this process.
    set_up: f64,
    /// Of the loop, what the drivers compiled in it included.
    loop_seconds: f64,
}

impl Clock {
    fn new(from: u64, earlier: f64, opened: Duration, keeper: &Keeper) -> Self {
        Self {
            from,
            earlier,
            opened,
            begun: Instant::now(),
            saved: keeper.took(),
            first: None,
        }
    }

    /// The first step begins.
    fn start(&mut self, keeper: &Keeper) {
        (self.begun, self.saved) = (Instant::now(), keeper.took());
    }

    /// A chunk has ended, after `done` steps; all but the first are of no interest.
    fn first_chunk(&mut self, done: u64) {
        if self.first.is_none() {
            self.first = Some((done - self.from, self.begun.elapsed()));
        }
    }

    /// The times after `done` steps.
    fn times(&self, done: u64, keeper: &Keeper) -> Times {
        let saving = keeper.took() - self.saved;
        self.at(done, self.begun.elapsed() - saving)
    }

    /// The same when the loop has run for `whole`, without the checkpoints.
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

/// Seconds with a digit or two that mean something.
fn short(seconds: f64) -> String {
    let digits = if seconds < 1.0 { 2 } else { 1 };
    format!("{seconds:.digits$}")
}

/// What a checkpoint says of a run that begins.
fn first_training(args: &TrainArgs, dataset: &Dataset, info: &BackendInfo) -> Training {
    Training {
        steps: args.steps,
        log_every: args.log_every(),
        checkpoint_every: args.checkpoint_every(),
        adapter_option: args.device.adapter.clone(),
        schedule: info.schedule.map(str::to_owned),
        adapter: info.adapter.clone(),
        driver: info.driver.clone(),
        data_sha256: dataset.sha256(),
        seconds: 0.0,
        metrics: MetricsMark::default(),
        val_loss: None,
        best: None,
        generator: Vec::new(),
        losses: Vec::new(),
    }
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
    info: &BackendInfo,
    why: &str,
) -> Vec<String> {
    let words = dataset.words.train + dataset.words.val + dataset.words.test;
    let LearningRate {
        lr,
        lr_final,
        decay_at,
    } = schedule_of(args);
    let mut lines = vec![
        format!("device      {}; {}", device.name(), info.driver),
        format!("why         {}", device.why()),
    ];
    if let Some(schedule) = info.schedule {
        lines.push(format!("schedule    {schedule}; {why}"));
    } else if !why.is_empty() {
        lines.push(format!("cores       {why}"));
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
            "training    {} steps of {} examples; learning rate {lr:?}, from step {decay_at} on \
             {lr_final:?}; seed {}",
            args.steps, dims.batch, args.seed
        ),
    ]);
    lines
}

/// The model as it is saved: parameters, and batch-norm statistics over `contexts (examples, block)`
/// of the training set.
pub(crate) fn finish(
    backend: &mut dyn Backend,
    config: Config,
    params: Params<f32>,
    contexts: &[u8],
) -> Result<Checkpoint, Error> {
    backend.set_params(&params)?;
    let Statistics { bnmean, bnvar } = backend.calibrate(contexts)?;
    Ok(Checkpoint {
        config,
        params,
        bnmean,
        bnvar,
        training: None,
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

/// How far above the untrained model's loss that of a trained one may be before the training counts as
/// diverged; and the steps of a run from which on this is so. In fewer steps it may be as many times
/// more.
///
/// A run is judged by its end, and by the loss over the whole training set. On the way losses rise far
/// and come down again: with `--n-hidden 1000 --lr 3` to 72, and in the end the loss is 2.8; with
/// `--n-hidden 16 --lr 10` to 19 and 2.6. And the first steps overshoot where a minibatch is small: with
/// two examples, hidden 1000 and `--lr 0.3` the loss is 6 times that of the untrained model after 10
/// steps, below it after 1,000, and 2.6 after 20,000.
///
/// Measured over some 300 runs of 1 to 200,000 steps on the names and the municipalities, with hidden 1 to
/// 2048, minibatches of 2 to 512, and rates from 0.1 to 100 that fall to a tenth in the middle. Whatever
/// trains a model within 20,000 steps (to a loss below `ln(vocab)`) ends below the untrained model's loss
/// after 1,000 steps or more; in fewer it ends at up to 8.1 times that loss (after 30 steps, where 67
/// times are allowed). What trains none ends at 2.3 (`--lr 10`, municipalities) to 150 times it (`--lr 50`
/// and two examples), and in between lies `--lr 5`, the edge, with 1.02.
const WORSE: (f64, f64) = (2.0, 1000.0);

/// The highest loss over the training set after `steps` steps with which a run has not diverged, if it
/// was `untrained` before the first. A model that guesses evenly has `ln(vocab)`.
fn worst(dims: &Dims, steps: u64, untrained: f64) -> f64 {
    let (times, settled) = WORSE;
    let short = (settled / steps.max(1) as f64).max(1.0);
    times * short * untrained.max((dims.vocab as f64).ln())
}

/// Whether a training has diverged though every number is finite: the untrained model's loss over the
/// training set if `train_loss`, that of the trained one, is far above it ([`WORSE`]). The backend has
/// the parameters of the untrained model then.
pub(crate) fn worse_than_untrained(
    backend: &mut dyn Backend,
    args: &TrainArgs,
    dataset: &Dataset,
    train_loss: f64,
) -> Result<Option<f64>, Error> {
    let dims = *backend.dims();
    let within = |limit: f64| train_loss <= limit; // NaN is not
    if within(worst(&dims, args.steps, 0.0)) {
        return Ok(None); // so is nearly every run, and the untrained model need not be evaluated
    }
    let train = &dataset.train;
    backend.set_params(&Snapshot::first(&dims, args.seed).params)?;
    let stats = backend.calibrate(train.x())?;
    let untrained = backend.evaluate(&stats, train.x(), train.y())?;
    Ok((!within(worst(&dims, args.steps, untrained))).then_some(untrained))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BackendError;
    use crate::cpu::CpuBackend;
    use crate::gpu::GpuError;
    use crate::model::steps::Steps;

    /// A CPU that is lost for good, like a GPU, when it comes to a step.
    struct Lost {
        cpu: CpuBackend,
        at: u64,
    }

    impl Backend for Lost {
        fn info(&self) -> &BackendInfo {
            self.cpu.info()
        }

        fn dims(&self) -> &Dims {
            self.cpu.dims()
        }

        fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), BackendError> {
            if steps.first + steps.len() as u64 > self.at {
                let [first, second] = ["once", "twice"].map(str::to_owned);
                return Err(GpuError::LostTwice { first, second }.into());
            }
            self.cpu.train(steps, losses)
        }

        fn params(&mut self) -> Result<Params<f32>, BackendError> {
            self.cpu.params()
        }

        fn set_params(&mut self, params: &Params<f32>) -> Result<(), BackendError> {
            self.cpu.set_params(params)
        }

        fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, BackendError> {
            self.cpu.calibrate(x)
        }

        fn evaluate(&mut self, s: &Statistics, x: &[u8], y: &[u8]) -> Result<f64, BackendError> {
            self.cpu.evaluate(s, x, y)
        }
    }

    /// A CPU whose first steps take half a second more, as those of a driver that compiles its kernels
    /// at their first launch.
    struct Slow {
        cpu: CpuBackend,
        compiled: bool,
    }

    impl Backend for Slow {
        fn info(&self) -> &BackendInfo {
            self.cpu.info()
        }

        fn dims(&self) -> &Dims {
            self.cpu.dims()
        }

        fn train(&mut self, steps: &Steps, losses: &mut Vec<f32>) -> Result<(), BackendError> {
            if !std::mem::replace(&mut self.compiled, true) {
                std::thread::sleep(COMPILING);
            }
            self.cpu.train(steps, losses)
        }

        fn params(&mut self) -> Result<Params<f32>, BackendError> {
            self.cpu.params()
        }

        fn set_params(&mut self, params: &Params<f32>) -> Result<(), BackendError> {
            self.cpu.set_params(params)
        }

        fn calibrate(&mut self, x: &[u8]) -> Result<Statistics, BackendError> {
            self.cpu.calibrate(x)
        }

        fn evaluate(&mut self, s: &Statistics, x: &[u8], y: &[u8]) -> Result<f64, BackendError> {
            self.cpu.evaluate(s, x, y)
        }
    }

    const COMPILING: Duration = Duration::from_millis(1500);

    #[test]
    fn the_speed_is_that_of_the_steps_without_the_compiling() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut args = TrainArgs::defaults();
        args.device.backend = crate::backend::Api::Cpu;
        (args.steps, args.n_hidden, args.out) = (200, 8, Some(out.clone()));
        run_on(&args, |_, dims, params, _| {
            let cpu = CpuBackend::new(dims, params.clone());
            let compiled = false;
            Ok(Opened::quiet(Box::new(Slow { cpu, compiled }), ""))
        })
        .unwrap();
        let summary = std::fs::read_to_string(out.join(RunDir::SUMMARY)).unwrap();
        let summary: Summary = serde_json::from_str(&summary).unwrap();
        let compiling = COMPILING.as_secs_f64();
        assert!(summary.setup_seconds > 0.99 * compiling, "{summary:?}");
        // 200 such steps take some milliseconds.
        assert!(summary.seconds < compiling / 2.0, "{summary:?}");
        assert!(summary.steps_per_second > 400.0 / compiling, "{summary:?}");
    }

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

    /// What was done until then is saved, though no checkpoint was due, and goes on to the same end.
    #[test]
    fn a_device_that_is_lost_for_good_leaves_a_checkpoint_of_the_last_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let [lost, whole] = ["lost", "whole"].map(|name| folder.path().join(name));
        let mut args = TrainArgs::defaults();
        args.device.backend = crate::backend::Api::Cpu;
        (args.steps, args.n_hidden, args.checkpoint_every) = (500, 8, Some(400));
        args.out = Some(whole.clone());
        run(&args).unwrap();
        args.out = Some(lost.clone());
        let error = run_on(&args, |_, dims, params, _| {
            let cpu = CpuBackend::new(dims, params.clone());
            Ok(Opened::quiet(Box::new(Lost { cpu, at: 300 }), ""))
        })
        .unwrap_err();
        let checkpoint = Checkpoint::load(lost.join(RunDir::LAST)).unwrap();
        let done = checkpoint.config.steps;
        assert!((1..=300).contains(&done), "{done}");
        let message = error.to_string();
        for part in ["once", "twice", &format!("after {done} steps"), "--resume"] {
            assert!(message.contains(part), "{message}");
        }
        args.out = None;
        args.resume = Some(lost.clone());
        run(&args).unwrap();
        for file in [RunDir::MODEL, RunDir::METRICS, RunDir::PLOT] {
            let [a, b] = [&lost, &whole].map(|folder| std::fs::read(folder.join(file)).unwrap());
            assert!(a == b, "{file}");
        }
    }
}
