//! `gpu-makemore train`: a training from the data to the names, with all that is kept of it.

mod clock;
mod curves;
pub mod error;
mod init;
mod keeper;
mod resume;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use crate::backend::{Backend, BackendInfo};
use crate::checkpoint::packed::{Measured, config, finish, statistics};
use crate::checkpoint::{Config, Training as Record};
use crate::cli::args::TrainArgs;
use crate::cli::data::{self, Source};
use crate::cli::device::Device;
use crate::cli::drive::{Ended, drive};
use crate::cli::error::Error;
use crate::cli::files::seen_from;
use crate::cli::interrupt::Interrupt;
use crate::cli::model_file;
use crate::cli::report::{ProfileReport, Progress, RunDir, Summary, loss_png};
use crate::cli::shaders::Shaders;
use crate::cli::tunings::Asked;
use crate::data::Dataset;
use crate::engine::tune::Tuned;
use crate::engine::{How, Opened};
use crate::gpu::adapter::Choice;
use crate::gpu::kernels::Changed;
use crate::model::dims::Dims;
use crate::model::params::Params;
use crate::model::recipe::Recipe;
use crate::sample::{self, Sampler};
use crate::training::evaluation::{self, worst};
use crate::training::log::{Validation, lecture_line, set_up_lines};
use crate::training::{Event, Snapshot, State, Training};
use clock::{Clock, Times};
use curves::Curves;
use error::{LastGood, TrainError};
use init::Start;
use keeper::Keeper;
use resume::Resumed;

/// Runs the command.
pub async fn run(args: &TrainArgs) -> Result<(), Error> {
    run_on(args, async |device: &Device, dims, params, how| {
        device.open_to_train(dims, params, how).await
    })
    .await
}

/// Runs the command on a backend that `open` opens.
async fn run_on<B: Backend>(
    args: &TrainArgs,
    open: impl AsyncFnOnce(&Device, Dims, &Params<f32>, How) -> Result<Opened<B>, Error>,
) -> Result<(), Error> {
    let resumed = match &args.resume {
        Some(folder) => Some(Resumed::open(folder, args)?),
        None => None,
    };
    let start = match &args.init_from {
        Some(path) => Some(Start::open(path, args)?),
        None => None,
    };
    let own = (resumed.as_ref().map(|resumed| &resumed.args))
        .or(start.as_ref().map(|start| &start.args))
        .cloned();
    let args = own.as_ref().unwrap_or(args);
    let recipe = args.recipe();
    let (dataset, source) = match (&resumed, &start) {
        (Some(resumed), _) => resumed.dataset()?,
        (None, Some(start)) => (start.dataset()?, args.data.clone()),
        (None, None) => (data::load(&args.data_options())?, args.data.clone()),
    };
    let dims = recipe.dims(dataset.vocab.len())?;
    let device = Device::choose(&args.device).await?;
    if args.profile {
        device.needs_gpu("--profile")?;
    }
    let shaders = device.shaders(args.shaders.as_deref())?;
    if let Some(resumed) = &resumed {
        resumed.has_kernels(shaders.kernels())?;
    }
    let state = match &resumed {
        Some(resumed) => resumed.state()?,
        None => {
            let mut state = State::first(&recipe, &dims, args.log_every());
            if let Some(start) = &start {
                state.now.params = start.params.clone();
            }
            state
        }
    };
    let tuning = match device.choice() {
        Choice::Gpu { found, .. } => Asked::new(
            &args.tuning,
            found,
            &dims,
            args.schedule,
            recipe.steps - state.now.steps,
            shaders.kernels(),
            (resumed.as_ref()).and_then(|resumed| resumed.tune(found, args.schedule)),
        )?,
        Choice::Cpu { .. } => {
            if let Some(option) = args.tuning.given() {
                device.needs_gpu(&option)?;
            }
            Asked::NOTHING
        }
    };
    let opening = Instant::now();
    let how = How {
        schedule: args.schedule,
        kernels: shaders.kernels().clone(),
        tune: tuning.tune,
    };
    let opened = open(&device, dims, &state.now.params, how).await;
    let Opened {
        mut backend,
        why,
        tuned,
        notes,
    } = opened.map_err(|error| shaders.explain(error))?;
    let opened = opening.elapsed();
    let why = tuning.why.clone().unwrap_or(why);
    let init_loss = match &start {
        Some(start) => Some(start.loss(&mut backend, &dataset).await?),
        None => resumed
            .as_ref()
            .and_then(|resumed| resumed.record.init_loss),
    };
    let info = backend.info();
    let config = config(&recipe, &dataset, info);
    let mut lines = set_up(&recipe, &dataset, &dims, &device, info, &why, &shaders);
    if let (Some(path), Some(loss)) = (&recipe.init_from, init_loss) {
        lines.push(format!(
            "start       {path}: loss over the training set {loss:.4}"
        ));
    }
    let (run_dir, past) = match resumed {
        Some(resumed) => {
            lines.extend(resumed.lines(info));
            (resumed.run_dir, Some(resumed.record))
        }
        None => (RunDir::begin(args.out.as_deref())?, None),
    };
    let remembered = tuning.remember(tuned.as_ref());
    lines.extend(tuned.iter().flat_map(Tuned::warnings).map(note));
    lines.extend(tuning.note.into_iter().chain(remembered).map(note));
    lines.push(format!("output      {}", run_dir.path().display()));
    let record = Record {
        init_loss,
        shaders: shaders.kernels().record(),
        ..standing(args, &config, &source, info, &run_dir, past)
    };

    let (earlier, mark, from) = (record.seconds, record.metrics, state.now.steps);
    let mut keeper = Keeper::new(run_dir, &dataset, config.clone(), record, &state.now);
    // From here on the run can be killed at any time and continued.
    let curves = if args.resume.is_some() {
        Curves::go_on(keeper.folder(), mark.bytes, from, args.tensorboard)?
    } else {
        if let Some(measured) = keeper.measure(&state.now).await? {
            keeper.save(measured, &state, mark, 0.0)?;
        }
        Curves::begin(keeper.folder(), args.tensorboard)?
    };
    let mut run = Run {
        args,
        recipe: &recipe,
        dataset: &dataset,
        dims,
        training: Training::new(&dataset.train, &recipe, state, args.checkpoint_every())
            .evaluate_every(args.eval_every)
            .with_ratios(args.ratios_every),
        backend,
        notes,
        progress: Progress::of_training(from, recipe.steps),
        curves,
        config,
        clock: Clock::new(from, earlier, opened, keeper.took()),
        keeper,
        init_loss,
        shaders: shaders.kernels().record(),
        finished: false,
    };
    let result = run.go(&lines).await;
    run.progress.finish();
    result.map_err(|error| run.describe(error))
}

/// A run that is under way.
struct Run<'a, B> {
    args: &'a TrainArgs,
    recipe: &'a Recipe,
    dataset: &'a Dataset,
    dims: Dims,
    training: Training<'a>,
    backend: B,
    /// What happens to the device.
    notes: Receiver<String>,
    progress: Progress,
    curves: Curves,
    config: Config,
    keeper: Keeper<'a>,
    clock: Clock,
    /// The training loss before the first step, if that of a model from which the run started.
    init_loss: Option<f64>,
    /// The kernels, if they are not the program's own.
    shaders: Option<Changed>,
    /// Whether all files are written: what fails after that costs nothing but lines on the screen.
    finished: bool,
}

impl<B: Backend> Run<'_, B> {
    /// Does the steps, evaluates the model and writes it all down.
    async fn go(&mut self, lines: &[String]) -> Result<(), Error> {
        for line in lines {
            self.progress.line(line)?;
        }
        if self.args.profile {
            self.backend.start_profile().await?;
        }
        let interrupt = Interrupt::listen()?;
        self.clock.start(self.keeper.took());
        self.steps(&interrupt).await?;
        self.progress.finish();
        let times = self.clock.times(self.recipe.steps, self.keeper.took());
        self.finish(times).await
    }

    /// Adds to an error what is kept of the run.
    fn describe(&mut self, error: Error) -> Error {
        if let Some(
            TrainError::Interrupted { .. } | TrainError::Diverged { .. } | TrainError::Worse { .. },
        ) = error.downcast_ref()
        {
            return error;
        }
        match self.keeper.saved() {
            _ if self.finished => TrainError::Unprinted {
                error,
                model: self.keeper.file(RunDir::MODEL),
            }
            .into(),
            step @ 1.. => TrainError::Kept {
                error,
                step,
                folder: self.keeper.folder().to_path_buf(),
                shaders: self.shaders_again(),
            }
            .into(),
            0 => {
                // After no step there is nothing worth keeping, unless somebody counts on continuing it.
                // If it cannot be removed, it does no harm.
                if self.training.state().now.steps == 0 && self.args.resume.is_none() {
                    let _ = self.keeper.discard();
                }
                error
            }
        }
    }

    /// The folder of `--shaders`, if the run trains with changed kernels: `--resume` needs it again.
    fn shaders_again(&self) -> Option<PathBuf> {
        let folder = self.args.shaders.clone();
        folder.filter(|_| self.shaders.is_some())
    }

    /// Does the steps.
    async fn steps(&mut self, interrupt: &Interrupt) -> Result<(), Error> {
        let shaders = self.shaders_again();
        let Self {
            recipe,
            training,
            backend,
            notes,
            progress,
            curves,
            keeper,
            clock,
            ..
        } = self;
        let steps = recipe.steps;
        let measured = curves.validation().last().map(|row| row.step);
        if training.state().now.steps == steps && measured != Some(steps) {
            // It was to go further, and is to end here now.
            save(keeper, curves, clock, training.state(), true).await?;
        }
        let mut stopped = None;
        let ended = drive(training, backend, async |training, losses, events| {
            let state = training.state();
            let now = &state.now;
            clock.first_chunk(now.steps);
            for note in notes.try_iter() {
                progress.line(&format!("note        {note}"))?;
            }
            for event in events {
                match event {
                    Event::Row(row) => {
                        curves.record(row)?;
                        progress.line(&lecture_line(row.step, steps, row.loss))?;
                    }
                    Event::Ratios(ratios) => curves.record_ratios(ratios)?,
                    Event::CheckpointDue | Event::EvaluationDue | Event::Finished => {}
                }
            }
            if let Some(&loss) = losses.last() {
                progress.update(now.steps, loss);
            }
            stopped = interrupt.exit_code();
            let checkpoint = events.contains(&Event::CheckpointDue);
            let due = checkpoint || events.contains(&Event::EvaluationDue);
            if due || stopped.is_some() {
                let row = match checkpoint || stopped.is_some() {
                    true => save(keeper, curves, clock, state, due).await?,
                    false => {
                        let measured = keeper.measure(now).await?;
                        record(curves, now, measured.as_ref())?
                    }
                };
                // After the last step, the loss with the statistics over all examples follows at once.
                if let Some(row) = row.filter(|row| row.step < steps) {
                    progress.line(&row.line(steps))?;
                }
            }
            Ok(match stopped {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            })
        })
        .await?;
        match ended {
            Ended::Whole => Ok(()),
            Ended::Stopped => Err(TrainError::Interrupted {
                step: keeper.saved(),
                steps,
                folder: keeper.folder().to_path_buf(),
                shaders,
                exit_code: stopped.unwrap_or_default(),
            }
            .into()),
            Ended::Failed(error) => {
                // If saving fails too, the checkpoint before stays, and the first error is the one to
                // report.
                let state = training.state();
                if state.now.steps > keeper.saved()
                    && let Ok(Some(measured)) = keeper.measure(&state.now).await
                    && let Ok(mark) = curves.mark(&state.log)
                {
                    let seconds = clock.times(state.now.steps, keeper.took()).seconds;
                    let _ = keeper.save(measured, state, mark, seconds);
                }
                Err(error.into())
            }
            Ended::Diverged(diverged) => {
                progress.finish();
                let lr = training.schedule().lr(diverged.step);
                let saved = self
                    .keep_good(diverged.good.params, diverged.good.steps)
                    .await?;
                Err(TrainError::Diverged {
                    what: diverged.what,
                    step: diverged.step,
                    lr,
                    saved,
                }
                .into())
            }
        }
    }

    /// Saves the last good model of a run that diverged, which was so after `steps` steps.
    async fn keep_good(&mut self, params: Params<f32>, steps: u64) -> Result<LastGood, Error> {
        let path = self.keeper.file(RunDir::LAST_GOOD);
        let mut config = self.config.clone();
        config.recipe.steps = steps;
        let train = &self.dataset.train;
        let model = finish(&mut self.backend, config, params, train, train.len()).await?;
        Ok(match model_file::save(&model, &path) {
            Ok(()) => {
                // To continue would only come to the same end.
                self.keeper.remove_last()?;
                Ok((steps, path))
            }
            Err(error) => Err(Box::new(error)),
        })
    }

    /// The error of a run whose training loss in the end is `loss`, while it was `untrained` before.
    async fn worse(&mut self, loss: f64, untrained: f64) -> Result<TrainError, Error> {
        let limit = worst(&self.dims, self.recipe.steps, untrained);
        // What it started from is not at hand if the run was interrupted: then the best is the least evil.
        let started = self.init_loss.is_some();
        let best = (self.keeper.best()).filter(|best| started || best.val_loss <= limit);
        let good = match best {
            Some(_) => {
                let best = model_file::load(self.keeper.file(RunDir::BEST));
                best.map(|best| (best.params, best.config.recipe.steps))
            }
            None => Ok((Snapshot::first(&self.dims, self.recipe.seed).params, 0)),
        };
        let saved = match good {
            Ok((params, steps)) => self.keep_good(params, steps).await?,
            Err(error) => Err(Box::new(error)),
        };
        Ok(TrainError::Worse {
            steps: self.recipe.steps,
            loss,
            model: if started { "initial" } else { "untrained" },
            untrained,
            lr: self.recipe.lr.max(self.recipe.lr_final),
            saved,
        })
    }

    /// Evaluates the trained model and writes all about it down.
    async fn finish(&mut self, times: Times) -> Result<(), Error> {
        let Self {
            recipe,
            dataset,
            training,
            backend,
            progress,
            keeper,
            ..
        } = self;
        let params = training.state().now.params.clone();
        let train = &dataset.train;
        let checkpoint = finish(backend, self.config.clone(), params, train, train.len()).await?;
        let stats = statistics(&checkpoint);
        let losses = evaluation::losses(backend, &stats, dataset).await?;
        let (seed, steps) = (recipe.seed, recipe.steps);
        let begun = match self.init_loss {
            Some(begun) => {
                let within = losses[0] <= worst(&self.dims, steps, begun); // NaN is not
                (!within).then_some(begun)
            }
            None => {
                evaluation::worse_than_untrained(backend, seed, steps, train, losses[0]).await?
            }
        };
        if let Some(begun) = begun {
            return Err(self.worse(losses[0], begun).await?.into());
        }
        model_file::save(&checkpoint, keeper.file(RunDir::MODEL))?;
        for note in self.notes.try_iter() {
            progress.line(&format!("note        {note}"))?;
        }
        let validation = self.curves.validation();
        loss_png(
            &keeper.file(RunDir::PLOT),
            &training.state().curve,
            validation,
        )?;
        let profile = backend
            .profile()
            .map(|profile| ProfileReport::new(profile, times.loop_seconds));
        if let Some(profile) = &profile {
            profile.save(&keeper.file(RunDir::PROFILE))?;
        }
        self.curves.record_final(steps, losses)?;
        let info = backend.info();
        // The last of the files: a run with a summary is finished.
        Summary {
            train_loss: Some(losses[0]),
            val_loss: Some(losses[1]),
            test_loss: Some(losses[2]),
            seconds: times.seconds,
            steps_per_second: steps as f64 / times.seconds,
            setup_seconds: times.set_up,
            checkpoint_seconds: keeper.took().as_secs_f64(),
            backend: info.backend.to_owned(),
            adapter: info.adapter.clone(),
            driver: info.driver.clone(),
            schedule: info.schedule.map(str::to_owned),
            tuning: info.tuning.clone(),
            shaders: self.shaders.clone(),
            recipe: recipe.clone(),
            vocab_size: self.dims.vocab,
            parameters: self.dims.parameter_count(),
            version: crate::VERSION.to_owned(),
        }
        .save(&keeper.file(RunDir::SUMMARY))?;
        self.finished = true;

        let [train_loss, val_loss, _] = losses;
        progress.line(&format!("train {train_loss:.4}"))?;
        progress.line(&format!("val   {val_loss:.4}"))?;
        let mut sampler = Sampler::of_run(self.dims, checkpoint.params, stats, seed);
        for _ in 0..sample::NAMES {
            progress.line(&sample::text(&dataset.vocab, &sampler.name(&[])))?;
        }
        progress.line(&times.line(steps))?;
        for line in profile.iter().flat_map(ProfileReport::lines) {
            progress.line(&line)?;
        }
        if let Some(best) = keeper.best().filter(|best| best.step < steps) {
            // Between checkpoints it may have been lower, and such a model is not kept.
            let of = match self.args.eval_every {
                Some(_) => " of a checkpoint",
                None => "",
            };
            progress.line(&format!(
                "the lowest validation loss{of} was {:.4}, after {} steps: {}",
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

/// Saves the run as it stands; if its validation loss is due, with a row of metrics, which it gives.
async fn save(
    keeper: &mut Keeper<'_>,
    curves: &mut Curves,
    clock: &Clock,
    state: &State,
    due: bool,
) -> Result<Option<Validation>, Error> {
    let now = &state.now;
    let Some(measured) = keeper.measure(now).await? else {
        return Ok(None);
    };
    // A run that is interrupted leaves no row that an undisturbed one has not.
    let row = record(curves, now, Some(&measured).filter(|_| due))?;
    let seconds = clock.times(now.steps, keeper.took()).seconds;
    keeper.save(measured, state, curves.mark(&state.log)?, seconds)?;
    Ok(row)
}

/// Writes the row of a model whose validation loss was measured, if it has one, and gives it.
fn record(
    curves: &mut Curves,
    now: &Snapshot,
    measured: Option<&Measured>,
) -> Result<Option<Validation>, Error> {
    let row = measured.and_then(|measured| measured.val_loss);
    let row = row.map(|val_loss| Validation {
        step: now.steps,
        val_loss,
    });
    if let Some(row) = row {
        curves.record_validation(row)?;
    }
    Ok(row)
}

/// What a checkpoint says of a run: how it runs now, and of its `past`, if it has one, how far it came.
fn standing(
    args: &TrainArgs,
    config: &Config,
    source: &Source,
    info: &BackendInfo,
    run_dir: &RunDir,
    past: Option<Record>,
) -> Record {
    let data_path = match source {
        Source::File(path) => seen_from(run_dir.path(), path),
        Source::Names | Source::Municipalities | Source::Stdin => None,
    };
    Record {
        steps: args.steps,
        log_every: args.log_every(),
        checkpoint_every: args.checkpoint_every(),
        eval_every: args.eval_every,
        tensorboard: args.tensorboard,
        ratios_every: args.ratios_every,
        adapter_option: args.device.adapter.clone(),
        schedule: info.schedule.map(str::to_owned),
        tuning: info.tuning.clone(),
        adapter: info.adapter.clone(),
        driver: info.driver.clone(),
        data_sha256: config.data_sha256.clone().unwrap_or_default(),
        data_path,
        ..past.unwrap_or_default()
    }
}

/// A line for something that the user should know.
fn note(text: String) -> String {
    format!("note        {text}")
}

/// The lines that say what is about to be done.
fn set_up(
    recipe: &Recipe,
    dataset: &Dataset,
    dims: &Dims,
    device: &Device,
    info: &BackendInfo,
    why: &str,
    shaders: &Shaders,
) -> Vec<String> {
    let mut lines = vec![
        format!("device      {}; {}", device.name(), info.driver),
        format!("why         {}", device.why()),
    ];
    if let Some(schedule) = info.schedule {
        lines.push(format!("schedule    {schedule}; {why}"));
        lines.extend((info.tuning.iter()).map(|tuning| format!("tuning      {tuning}")));
    } else if !why.is_empty() {
        lines.push(format!("cores       {why}"));
    }
    lines.extend(shaders.line().map(|line| format!("shaders     {line}")));
    lines.extend(set_up_lines(recipe, dataset, dims));
    lines
}

#[cfg(test)]
mod tests {
    use pollster::FutureExt as _;

    use std::time::Duration;

    use super::*;
    use crate::backend::DeviceError;
    use crate::engine::fake::{Call, Fake};

    /// Lost for good, like a GPU, when it comes to step `at`.
    fn lost_at(at: u64) -> impl FnMut(Call<'_>) -> Result<(), DeviceError> {
        move |call| match call {
            Call::Train(steps, _) if steps.first + steps.len() as u64 > at => {
                let [first, second] = ["once", "twice"].map(str::to_owned);
                Err(DeviceError::LostTwice { first, second })
            }
            _ => Ok(()),
        }
    }

    /// Takes its time for the first steps, like a driver that compiles its kernels at their first launch.
    fn compiles() -> impl FnMut(Call<'_>) -> Result<(), DeviceError> {
        let mut compiled = false;
        move |call| {
            if matches!(call, Call::Train(..)) && !std::mem::replace(&mut compiled, true) {
                std::thread::sleep(COMPILING);
            }
            Ok(())
        }
    }

    const COMPILING: Duration = Duration::from_millis(1500);

    #[test]
    fn the_speed_is_that_of_the_steps_without_the_compiling() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut args = TrainArgs::defaults();
        args.device.backend = Some(crate::backend::Api::Cpu);
        (args.steps, args.n_hidden, args.out) = (200, 8, Some(out.clone()));
        run_on(&args, async |_: &Device, dims, params: &Params<f32>, _| {
            let slow = Fake::new(dims, params, compiles());
            Ok(Opened::<Fake>::quiet(slow, ""))
        })
        .block_on()
        .unwrap();
        let summary = std::fs::read_to_string(out.join(RunDir::SUMMARY)).unwrap();
        let summary: Summary = serde_json::from_str(&summary).unwrap();
        let compiling = COMPILING.as_secs_f64();
        assert!(summary.setup_seconds > 0.99 * compiling, "{summary:?}");
        // 200 such steps take some milliseconds.
        assert!(summary.seconds < compiling / 2.0, "{summary:?}");
        assert!(summary.steps_per_second > 400.0 / compiling, "{summary:?}");
    }

    /// What was done until then is saved, though no checkpoint was due, and a run continued from it comes to the same end.
    #[test]
    fn a_device_that_is_lost_for_good_leaves_a_checkpoint_of_the_last_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let [lost, whole] = ["lost", "whole"].map(|name| folder.path().join(name));
        let mut args = TrainArgs::defaults();
        args.device.backend = Some(crate::backend::Api::Cpu);
        (args.steps, args.n_hidden, args.checkpoint_every) = (500, 8, Some(400));
        args.out = Some(whole.clone());
        run(&args).block_on().unwrap();
        args.out = Some(lost.clone());
        let error = run_on(&args, async |_: &Device, dims, params: &Params<f32>, _| {
            let lost = Fake::new(dims, params, lost_at(300));
            Ok(Opened::<Fake>::quiet(lost, ""))
        })
        .block_on()
        .unwrap_err();
        let checkpoint = model_file::load(lost.join(RunDir::LAST)).unwrap();
        let done = checkpoint.config.recipe.steps;
        assert!((1..=300).contains(&done), "{done}");
        let message = error.to_string();
        for part in ["once", "twice", &format!("after {done} steps"), "--resume"] {
            assert!(message.contains(part), "{message}");
        }
        args.out = None;
        args.resume = Some(lost.clone());
        run(&args).block_on().unwrap();
        for file in [RunDir::MODEL, RunDir::METRICS, RunDir::PLOT] {
            let [a, b] = [&lost, &whole].map(|folder| std::fs::read(folder.join(file)).unwrap());
            assert!(a == b, "{file}");
        }
    }
}
