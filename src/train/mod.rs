//! `gpu-makemore train`: the training loop, from the data to the names.

mod interrupt;
mod keeper;
mod resume;
mod steps;

use std::ops::ControlFlow;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::backend::{Backend, BackendInfo, Statistics};
use crate::checkpoint::{Checkpoint, Config, Training};
use crate::cli::TrainArgs;
use crate::data::{self, Dataset, Examples};
use crate::device::Device;
use crate::dims::Dims;
use crate::error::Error;
use crate::gpu::schedule::{Opened, Schedule};
use crate::params::Params;
use crate::report::{
    LossCurve, Metrics, MetricsMark, ProfileReport, Progress, RunDir, Summary, loss_png,
};
use crate::sample::{self, Sampler};
pub(crate) use interrupt::Interrupt;
use keeper::Keeper;
use resume::Resumed;
pub(crate) use steps::{Ended, Snapshot, next_chunk, steps};
pub use steps::{LearningRate, Stream};

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
    let Opened {
        backend,
        why,
        notes,
    } = open(&device, dims, &start.params, args.schedule)?;
    let info = backend.info();
    let config = config(args, &dataset, &dims, &LearningRate::of(args), info);
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
    let mut keeper = Keeper::new(run_dir, &dataset, config.clone(), training, &start);
    let path = keeper.file(RunDir::METRICS);
    // From here on the run can be killed at any time and go on.
    let metrics = if args.resume.is_some() {
        Metrics::go_on(&path, args.log_every, start.steps, &mark)?
    } else {
        keeper.save(&start, mark, &curve, 0.0)?;
        Metrics::create(&path, args.log_every)?
    };
    let mut run = Run {
        args,
        dataset: &dataset,
        dims,
        schedule: LearningRate::of(args),
        backend,
        notes,
        progress: Progress::starting_at(start.steps, args.steps),
        metrics,
        curve,
        config,
        keeper,
        earlier,
    };
    let result = run.go(start, &lines);
    run.progress.finish();
    result.map_err(|error| match (error, run.keeper.saved()) {
        (error @ (Error::Interrupted { .. } | Error::Diverged { .. }), _) => error,
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
    /// Time that its steps took before it was interrupted.
    earlier: f64,
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
        let clock = Clock {
            earlier: self.earlier,
            begun: Instant::now(),
            saved: self.keeper.took(),
        };
        let params = self.steps(start, &interrupt, &clock)?;
        self.progress.finish();
        self.finish(params, clock.seconds(&self.keeper))
    }

    /// The parameters after the last step.
    fn steps(
        &mut self,
        start: Snapshot,
        interrupt: &Interrupt,
        clock: &Clock,
    ) -> Result<Params<f32>, Error> {
        let Self {
            args,
            schedule,
            backend,
            notes,
            progress,
            metrics,
            curve,
            keeper,
            ..
        } = self;
        let every = args.checkpoint_every();
        let examples = &self.dataset.train;
        let stream = Stream::new(examples, start.generator, *schedule, self.dims.batch)
            .from_step(start.steps);
        let params = start.params;
        let mut stopped = None;
        let on_chunk = |losses: &[f32], now: &Snapshot| -> Result<ControlFlow<()>, Error> {
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
            if stopped.is_some() || now.steps.is_multiple_of(every) || now.steps == args.steps {
                keeper.save(now, metrics.mark()?, curve, clock.seconds(keeper))?;
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
                    && let Ok(mark) = metrics.mark()
                {
                    let _ = keeper.save(&before, mark, curve, clock.seconds(keeper));
                }
                Err(error.into())
            }
            Ended::Diverged { what, step, good } => {
                progress.finish();
                let path = keeper.file(RunDir::LAST_GOOD);
                let config = Config {
                    steps: good.steps,
                    ..self.config.clone()
                };
                let model = finish(&mut **backend, config, good.params, examples.x())?;
                let saved = match model.save(&path) {
                    Ok(()) => {
                        // It would only come to the same end.
                        keeper.remove_last()?;
                        Ok((good.steps, path))
                    }
                    Err(error) => Err(Box::new(error)),
                };
                Err(Error::Diverged {
                    what,
                    step,
                    lr: schedule.lr(step),
                    saved,
                })
            }
        }
    }

    /// Evaluates the trained model and writes all about it down.
    fn finish(&mut self, params: Params<f32>, seconds: f64) -> Result<(), Error> {
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
        checkpoint.save(keeper.file(RunDir::MODEL))?;
        let stats = statistics(&checkpoint);
        let [train_loss, val_loss, test_loss] = evaluate(&mut **backend, &stats, dataset)?;
        for note in self.notes.try_iter() {
            progress.line(&format!("note        {note}"))?;
        }
        loss_png(&keeper.file(RunDir::PLOT), &self.curve)?;
        let profile = backend
            .profile()
            .map(|profile| ProfileReport::new(profile, seconds));
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
            checkpoint_seconds: keeper.took().as_secs_f64(),
            backend: info.backend.to_owned(),
            adapter: info.adapter.clone(),
            driver: Some(info.driver.clone()),
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

        progress.line(&format!("train {train_loss:.4}"))?;
        progress.line(&format!("val   {val_loss:.4}"))?;
        let seed = args.seed.wrapping_add(SAMPLE_SEED_OFFSET);
        let mut sampler = Sampler::new(self.dims, checkpoint.params, stats, seed);
        for _ in 0..NAMES {
            progress.line(&sample::text(&dataset.vocab, &sampler.name(&[])))?;
        }
        progress.line(&format!(
            "{} steps in {seconds:.1} s: {:.0} steps/s",
            args.steps,
            args.steps as f64 / seconds
        ))?;
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
struct Clock {
    /// Seconds before the run was interrupted.
    earlier: f64,
    begun: Instant,
    /// [`Keeper::took`] before the first step.
    saved: Duration,
}

impl Clock {
    fn seconds(&self, keeper: &Keeper) -> f64 {
        let saving = keeper.took() - self.saved;
        self.earlier + (self.begun.elapsed() - saving).as_secs_f64()
    }
}

/// What a checkpoint says of a run that begins.
fn first_training(args: &TrainArgs, dataset: &Dataset, info: &BackendInfo) -> Training {
    Training {
        steps: args.steps,
        log_every: args.log_every,
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
    } = LearningRate::of(args);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{BackendError, Steps};
    use crate::cpu::CpuBackend;
    use crate::gpu::GpuError;

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

    /// What was done until then is saved, though no checkpoint was due, and goes on to the same end.
    #[test]
    fn a_device_that_is_lost_for_good_leaves_a_checkpoint_of_the_last_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let [lost, whole] = ["lost", "whole"].map(|name| folder.path().join(name));
        let mut args = TrainArgs::defaults();
        args.device.backend = crate::gpu::adapter::Api::Cpu;
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
