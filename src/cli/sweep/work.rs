//! Trains the points: a model per core, one after another, or many in a dispatch.
//!
//! However they are grouped, each model is bit for bit what `train` makes of its options: it has its own
//! stream of steps, and neither chunks nor other models change a bit.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use super::error::SweepError;
use crate::backend::{Backend, BackendInfo, DeviceError, Schedule};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::packed::{config, finish, statistics};
use crate::cli::args::TuningArgs;
use crate::cli::drive::{Ended, drive};
use crate::cli::error::Error;
use crate::cli::tunings::Asked;
use crate::cli::wait::block_on;
use crate::cores::{both, cores, share_out};
use crate::cpu::CpuBackend;
use crate::data::Dataset;
use crate::engine::tune::{Tune, Tuned};
use crate::engine::{Engine, How, is_large, open_with};
use crate::gpu::adapter::Found;
use crate::gpu::device::Gpu;
use crate::gpu::kernels::Kernels;
use crate::gpu::resident::Resident;
use crate::gpu::shader::ProbeModules;
use crate::gpu::tuning::{Cuts, Tuning, WorkSplit};
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::recipe::Recipe;
use crate::model::steps::Steps;
use crate::training::evaluation;
use crate::training::{Pace, Snapshot, State, Stream, Training, first_non_finite, non_finite};

/// Threads on the CPU at most, for each core: more would only take turns, each with a model's memory.
const PER_CORE: usize = 4;
/// The most models in a dispatch, unless `--width` says otherwise: several per core of the largest GPUs.
const MAX_WIDTH: usize = 1024;
/// The most bytes of drawn steps that wait for the device, over all models.
const MAX_DRAWN: usize = 64 << 20;
/// How long each width is timed.
const TRIAL: Duration = Duration::from_millis(20);
/// How often it is timed.
const TRIES: usize = 3;
/// Twice as many models are worth it if the model-steps per second rise by this factor.
const WORTHWHILE: f64 = 1.1;

/// A point that is to be trained.
pub struct Job<'a> {
    /// Its number.
    pub point: usize,
    /// Its recipe.
    pub recipe: Recipe,
    /// Its sizes.
    pub dims: Dims,
    /// Its data.
    pub dataset: &'a Dataset,
}

/// What happens during a sweep.
pub enum Event {
    /// This many steps were done, over all models.
    Steps(u64),
    /// A model has ended.
    Ended(Box<Finished>),
    /// Something that the user may want to know.
    Note(String),
}

/// A model that has ended.
pub struct Finished {
    /// Its point's number.
    pub point: usize,
    /// Time that its steps took.
    pub seconds: f64,
    /// What it ran on.
    pub info: BackendInfo,
    /// How it ended.
    pub end: End,
}

/// How a model ended.
pub enum End {
    /// With its training, validation and test loss.
    Done(Box<Checkpoint>, [f64; 3]),
    /// What was no longer finite and when, or how far the loss has risen.
    Diverged(String),
}

/// Receives the events.
pub type Sink<'a> = &'a mut dyn FnMut(Event) -> Result<(), Error>;

impl<'a> Job<'a> {
    /// The initial values, and the stream that continues with their generator.
    fn start(&self) -> (Params<f32>, Stream<'a>) {
        let Snapshot {
            params, generator, ..
        } = Snapshot::first(&self.dims, self.recipe.seed);
        let rates = self.recipe.learning_rate();
        let stream = Stream::new(&self.dataset.train, generator, rates, self.dims.batch);
        (params, stream)
    }

    /// Calibrates, evaluates and packs up a trained model.
    async fn end(&self, backend: &mut impl Backend, params: Params<f32>) -> Result<End, Error> {
        let Self {
            recipe, dataset, ..
        } = self;
        let config = config(recipe, dataset, backend.info());
        let train = &dataset.train;
        let checkpoint = finish(backend, config, params, train, train.len()).await?;
        let losses = evaluation::losses(backend, &statistics(&checkpoint), dataset).await?;
        let loss = losses[0];
        let (seed, steps) = (recipe.seed, recipe.steps);
        if let Some(untrained) =
            evaluation::worse_than_untrained(backend, seed, steps, train, loss).await?
        {
            return Ok(End::Diverged(format!(
                "the training loss is {loss:.4} in the end, and that of the untrained model was \
                 {untrained:.4}"
            )));
        }
        Ok(End::Done(Box::new(checkpoint), losses))
    }

    /// Trains on a backend that does one model at a time.
    async fn alone(&self, backend: &mut Engine, sink: Sink<'_>) -> Result<(), Error> {
        let state = State::first(&self.recipe, &self.dims, 0);
        backend.set_params(&state.now.params).await?;
        let mut training = Training::new(&self.dataset.train, &self.recipe, state, u64::MAX);
        let start = Instant::now();
        let ended = drive(&mut training, backend, async |_, losses, _| {
            sink(Event::Steps(losses.len() as u64))?;
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        let seconds = start.elapsed().as_secs_f64();
        let end = match ended {
            Ended::Whole => {
                let params = training.state().now.params.clone();
                self.end(backend, params).await?
            }
            Ended::Diverged(how) => End::Diverged(diverged(&how.what, how.step)),
            Ended::Failed(error) => return Err(error.into()),
            Ended::Stopped => return Err(SweepError::Stopped.into()),
        };
        sink(Event::Ended(Box::new(Finished {
            point: self.point,
            seconds,
            info: backend.info().clone(),
            end,
        })))
    }
}

fn diverged(what: &str, step: u64) -> String {
    format!("{what} at step {step}")
}

/// Trains every job on the CPU, `width` at a time, but no more than a few for each core: the others
/// follow as those end.
///
/// # Errors
///
/// Those of the sink; then no further model is begun.
pub fn on_cpu(jobs: &[Job], width: Option<usize>, sink: Sink<'_>) -> Result<(), Error> {
    let asked = width.unwrap_or_else(cores).min(jobs.len());
    let threads = asked.min(PER_CORE * cores());
    if threads < asked {
        let cores = cores();
        let plural = if cores == 1 { "core" } else { "cores" };
        sink(Event::Note(format!(
            "{threads} models at once, not {asked}: {cores} {plural} would gain nothing from more"
        )))?;
    }
    on_threads(jobs, threads, |_| Builder::new(), sink)
}

/// Trains every job on `threads` threads, each of which `builder` builds, or on those that the system
/// grants.
fn on_threads(
    jobs: &[Job],
    threads: usize,
    builder: impl Fn(usize) -> Builder,
    sink: Sink<'_>,
) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let work = |tell: Sink<'_>| -> Result<(), Error> {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (params, _) = job.start();
            let mut cpu = Engine::from(CpuBackend::new(job.dims, params));
            block_on(job.alone(&mut cpu, tell))?;
        }
        Ok(())
    };
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for started in 0..threads {
            let (sender, work) = (sender.clone(), &work);
            let thread = move || {
                let mut tell = |event| {
                    let told = sender.send(Ok(event));
                    told.map_err(|_| Error::from(SweepError::Stopped))
                };
                if let Err(error) = work(&mut tell) {
                    // Without a receiver, the sweep has failed already.
                    let _ = sender.send(Err(error));
                }
            };
            if let Err(error) = builder(started).spawn_scoped(scope, thread) {
                let count = started.max(1);
                let plural = if count == 1 { "model" } else { "models" };
                sink(Event::Note(format!(
                    "{count} {plural} at once, not {threads}: the system grants no more threads \
                     ({error})"
                )))?;
                if started == 0 {
                    return work(sink);
                }
                break;
            }
        }
        drop(sender);
        // When this returns early, the receiver is gone and every thread stops at its next chunk.
        for event in receiver {
            sink(event?)?;
        }
        Ok(())
    })
}

/// Trains jobs of one size and one number of steps on an adapter.
///
/// # Errors
///
/// The device failed, or those of the sink.
pub async fn on_gpu(
    jobs: &[Job<'_>],
    found: &Found,
    how: &How,
    args: &TuningArgs,
    width: Option<usize>,
    sink: Sink<'_>,
) -> Result<(), Error> {
    let Some(first) = jobs.first() else {
        return Ok(());
    };
    let (asked, kernels) = (how.schedule, &how.kernels);
    let (dims, (params, _)) = (first.dims, first.start());
    let steps = jobs
        .iter()
        .fold(0, |steps, job| job.recipe.steps.saturating_add(steps));
    let tuning = tuned(found, dims, &params, how, args, steps, sink).await?;
    let split = match tuning {
        Some(Tuning::Resident(split)) => split,
        _ => WorkSplit::of(found, &dims),
    };
    let is_staged = args
        .tuning
        .is_some_and(|tuning| tuning.schedule() == Schedule::Staged);
    // Which schedule it is depends on options and sizes alone: a sweep that is continued takes the same one.
    let mut note = "as asked for".to_owned();
    if asked == Schedule::Resident || (asked == Schedule::Auto && !is_large(&dims) && !is_staged) {
        match room(found, dims, split, &params, kernels, jobs.len(), width).await {
            Ok(resident) => return waves(resident, jobs, width, sink).await,
            Err(error) => note = why_staged(error, asked)?,
        }
    } else if asked == Schedule::Auto && !is_staged {
        note = "the model is large".to_owned();
    }
    let cuts = match tuning {
        Some(Tuning::Staged(cuts)) => cuts,
        _ => Cuts::usual(found, &dims, &kernels.changed().collect::<Vec<_>>()),
    };
    sink(Event::Note(format!(
        "{dims}: staged, one after another; {note}"
    )))?;
    let how = How {
        schedule: Schedule::Staged,
        kernels: kernels.clone(),
        tune: Tune::Given(Tuning::Staged(cuts)),
    };
    let staged = open_with(found, dims, &params, how, &ProbeModules::new).await?;
    let mut staged = Engine::Scheduled(staged.backend);
    for job in jobs {
        job.alone(&mut staged, sink).await?;
    }
    Ok(())
}

/// Why the models run staged although the resident schedule was tried first, if that is the answer to
/// what kept it from running: a size that it does not fit, and a user who left the schedule open.
fn why_staged(error: DeviceError, asked: Schedule) -> Result<String, DeviceError> {
    match error {
        _ if asked != Schedule::Auto => Err(error),
        DeviceError::Limit { limit, .. } => Ok(format!("the resident schedule needs more {limit}")),
        DeviceError::Loops {
            needed, available, ..
        } => Ok(format!(
            "a step of the resident schedule needs {needed} loop iterations, and the driver stops at \
             {available}"
        )),
        // What the staged schedule relies on was probed too, and it will say so itself if it is wrong.
        DeviceError::Driver { found, .. } => Ok(format!("the probe found {found}")),
        other => Err(other),
    }
}

/// The layout that `train` would take for a model of these sizes, if that is not the usual one.
async fn tuned(
    found: &Found,
    dims: Dims,
    params: &Params<f32>,
    how: &How,
    args: &TuningArgs,
    steps: u64,
    sink: Sink<'_>,
) -> Result<Option<Tuning>, Error> {
    let asked = Asked::new(args, found, &dims, how.schedule, steps, &how.kernels, None)?;
    let mut told: Vec<String> = asked.note.iter().cloned().collect();
    let tuning = match asked.tune {
        Tune::Fixed => None,
        Tune::Given(tuning) => Some(tuning),
        Tune::Search { .. } => {
            let how = How {
                tune: asked.tune,
                ..how.clone()
            };
            let opened = open_with(found, dims, params, how, &ProbeModules::new).await?;
            told.extend(opened.tuned.iter().flat_map(Tuned::warnings));
            told.extend(asked.remember(opened.tuned.as_ref()));
            opened.tuned.map(|tuned| tuned.chosen)
        }
    };
    for text in told {
        sink(Event::Note(text))?;
    }
    if let Some(tuning) = tuning {
        sink(Event::Note(format!("{dims}: {tuning}")))?;
    }
    Ok(tuning)
}

/// Room for as many models as are useful, or as the adapter can hold.
async fn room(
    found: &Found,
    dims: Dims,
    split: WorkSplit,
    params: &Params<f32>,
    kernels: &Kernels,
    jobs: usize,
    width: Option<usize>,
) -> Result<Resident, DeviceError> {
    // A software adapter runs one workgroup per core, and further ones after those.
    let useful = match found.is_software() {
        true => 2 * cores(),
        false => MAX_WIDTH,
    };
    let most = width.unwrap_or(useful).min(jobs);
    let gpu = Gpu::open(found).await?;
    Resident::at_most(gpu, found, dims, split, params, most, kernels).await
}

/// Opens a model as the sweep does, and closes it again: so that a mistake in changed kernels shows before
/// anything is written.
///
/// # Errors
///
/// As for [`open_with`].
pub async fn try_out(found: &Found, dims: Dims, seed: u64, how: How) -> Result<(), Error> {
    let Snapshot { params, .. } = Snapshot::first(&dims, seed);
    open_with(found, dims, &params, how, &ProbeModules::new).await?;
    Ok(())
}

/// Trains jobs of one size in waves of as many models as are worth training at once.
async fn waves(
    mut resident: Resident,
    jobs: &[Job<'_>],
    width: Option<usize>,
    sink: Sink<'_>,
) -> Result<(), Error> {
    let dims = *resident.dims();
    warm_up(&mut resident).await?;
    let (at_once, why) = match width.map(|width| width.min(jobs.len())) {
        Some(asked) if asked > resident.count() => (
            resident.count(),
            format!("{asked} were asked for, and the adapter has no room for more"),
        ),
        Some(_) => (resident.count(), "as asked for".to_owned()),
        None => measured_width(&mut resident).await?,
    };
    let plural = if at_once == 1 { "model" } else { "models" };
    sink(Event::Note(format!(
        "{dims}: resident, {at_once} {plural} at once; {why}"
    )))?;
    for jobs in jobs.chunks(at_once) {
        wave(&mut resident, jobs, sink).await?;
    }
    Ok(())
}

/// Steps that change no parameter.
fn idle_steps(dims: &Dims, count: usize) -> Steps {
    let tokens = |len: usize| (0..len).map(|i| (i % dims.vocab) as Token).collect();
    Steps {
        first: 0,
        x: tokens(count * dims.batch * dims.block),
        y: tokens(count * dims.batch),
        lr: vec![0.0; count],
    }
}

/// Some drivers compile a kernel at its first use, which must not count as time of a model's steps.
async fn warm_up(resident: &mut Resident) -> Result<(), DeviceError> {
    let steps = idle_steps(resident.dims(), 1);
    resident.train_all(&[&steps], &mut [Vec::new()]).await
}

/// How many models at once are worth it: doubled until that gains too little.
async fn measured_width(resident: &mut Resident) -> Result<(usize, String), DeviceError> {
    let most = resident.count();
    if most == 1 {
        return Ok((
            1,
            "no others are left, or there is no room for them".to_owned(),
        ));
    }
    let dims = *resident.dims();
    let mut time = async |models: usize, count: usize| -> Result<Duration, DeviceError> {
        let steps = idle_steps(&dims, count);
        // The best of a few: other work on the machine only adds to a time, and one bad measurement
        // would halve the speed of the whole sweep.
        let mut best = Duration::MAX;
        for _ in 0..TRIES {
            let start = Instant::now();
            let (steps, losses) = (vec![&steps; models], &mut vec![Vec::new(); models]);
            resident.train_all(&steps, losses).await?;
            best = best.min(start.elapsed());
        }
        Ok(best)
    };
    let (mut count, mut took) = (1, time(1, 1).await?);
    while took < TRIAL {
        count *= 4;
        took = time(1, count).await?;
    }
    // Model-steps a second.
    let rate = |models: usize, took: Duration| (models * count) as f64 / took.as_secs_f64();
    let mut best = (1, rate(1, took));
    while best.0 < most {
        let models = (2 * best.0).min(most);
        let new = rate(models, time(models, count).await?);
        if new < best.1 * WORTHWHILE.min(models as f64 / best.0 as f64) {
            break;
        }
        best = (models, new);
    }
    let (models, rate) = best;
    Ok((models, format!("measured: {rate:.0} model-steps/s")))
}

/// One model of a wave.
struct Member<'a> {
    job: &'a Job<'a>,
    stream: Stream<'a>,
    /// Set when a loss or a parameter is no longer finite. The device keeps training it: that costs nothing,
    /// since the dispatch takes as long as the other models need, and affects none of them.
    diverged: Option<String>,
}

/// Trains some jobs, all of them at once.
async fn wave(resident: &mut Resident, jobs: &[Job<'_>], sink: Sink<'_>) -> Result<(), Error> {
    let mut members = Vec::new();
    for (place, job) in jobs.iter().enumerate() {
        let (params, stream) = job.start();
        resident.write_params(place, &params);
        members.push(Member {
            job,
            stream,
            diverged: None,
        });
    }
    let Some(first) = members.first() else {
        return Ok(());
    };
    let (steps, dims) = (first.job.recipe.steps, first.job.dims);
    let most = MAX_DRAWN / (jobs.len() * dims.batch * (dims.block + 1));
    let start = Instant::now();
    let mut losses = vec![Vec::new(); jobs.len()];
    let mut done = 0;
    let mut pace = Pace::default();
    let mut drawn: Vec<Steps> = Vec::new();
    while done < steps && members.iter().any(|member| member.diverged.is_none()) {
        let began = Instant::now();
        if drawn.first().is_none_or(Steps::is_empty) {
            drawn = draw(&mut members, pace.chunk);
        }
        let now = drawn;
        let len = now[0].len();
        // While the device is busy with this chunk, the next one is drawn.
        let next = pace.chunk.min((steps - done) as usize - len);
        let trained;
        let now: Vec<&Steps> = now.iter().collect();
        let train = resident.train_all(&now, &mut losses);
        (drawn, trained) = both(|| draw(&mut members, next), train).await;
        trained?;
        pace.accept(len, began.elapsed());
        pace.chunk = pace.chunk.clamp(1, most.max(1));
        for (member, losses) in members.iter_mut().zip(&mut losses) {
            let bad = first_non_finite(losses);
            if let (None, Some(i)) = (&member.diverged, bad) {
                let what = format!("the loss is {}", losses[i]);
                member.diverged = Some(diverged(&what, done + i as u64));
            }
            losses.clear();
        }
        done += len as u64;
        sink(Event::Steps((len * jobs.len()) as u64))?;
    }
    // If all models diverged, steps are left over, which the progress bar has to count.
    sink(Event::Steps((steps - done) * jobs.len() as u64))?;
    let seconds = start.elapsed().as_secs_f64();
    let mut trained = Vec::new();
    for place in 0..jobs.len() {
        trained.push(resident.read_params(place).await?);
    }
    for (member, params) in members.into_iter().zip(trained) {
        // A parameter that is not finite stays so: to look once, at the end, is enough.
        let bad = non_finite(&params).map(|what| diverged(&what, done - 1));
        let end = match member.diverged.or(bad) {
            Some(what) => End::Diverged(what),
            // Evaluates in the first place, whose own parameters have been read.
            None => member.job.end(resident, params).await?,
        };
        sink(Event::Ended(Box::new(Finished {
            point: member.job.point,
            seconds,
            info: resident.info().clone(),
            end,
        })))?;
    }
    Ok(())
}

/// The next `count` steps of each model, drawn on all cores.
fn draw(members: &mut [Member], count: usize) -> Vec<Steps> {
    let draw = |member: &mut Member| member.stream.take(count);
    share_out(cores(), members, draw)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::data;

    /// Runs some tiny jobs and gives the notes and the points that ended.
    fn run(count: u64, work: impl FnOnce(&[Job], Sink<'_>)) -> (Vec<String>, Vec<usize>) {
        let dataset = data::load(&data::Options::default()).unwrap();
        let jobs: Vec<Job> = (0..count)
            .map(|seed| {
                let recipe = Recipe {
                    steps: 2,
                    n_hidden: 1,
                    batch_size: 2,
                    seed,
                    ..Recipe::default()
                };
                Job {
                    point: seed as usize,
                    dims: recipe.dims(dataset.vocab.len()).unwrap(),
                    recipe,
                    dataset: &dataset,
                }
            })
            .collect();
        let (mut notes, mut ended) = (Vec::new(), Vec::new());
        work(&jobs, &mut |event| {
            match event {
                Event::Note(text) => notes.push(text),
                Event::Ended(finished) => ended.push(finished.point),
                Event::Steps(_) => {}
            }
            Ok(())
        });
        ended.sort_unstable();
        (notes, ended)
    }

    #[test]
    fn a_width_beyond_the_cores_has_a_few_threads_for_each() {
        let most = PER_CORE * cores();
        let count = 2 * most as u64;
        let (notes, ended) = run(count, |jobs, sink| {
            on_cpu(jobs, Some(65_535), sink).unwrap();
        });
        assert_eq!(ended, (0..2 * most).collect::<Vec<_>>());
        let note = format!("{most} models at once, not {count}: ");
        assert!(notes[0].starts_with(&note), "{notes:?}");
        let (notes, _) = run(2, |jobs, sink| on_cpu(jobs, Some(2), sink).unwrap());
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn threads_that_the_system_refuses_are_done_without() {
        // No system has so much memory for a stack.
        let refused = || Builder::new().stack_size(1 << (usize::BITS - 3));
        for granted in [0, 1, 2] {
            let built = Cell::new(0);
            let builder = |i| {
                built.set(built.get() + 1);
                if i < granted {
                    Builder::new()
                } else {
                    refused()
                }
            };
            let (notes, ended) = run(6, |jobs, sink| on_threads(jobs, 4, builder, sink).unwrap());
            assert_eq!(ended, [0, 1, 2, 3, 4, 5], "{granted} threads");
            assert_eq!(built.get(), granted + 1);
            let at_once = granted.max(1);
            let plural = if at_once == 1 { "model" } else { "models" };
            let note =
                format!("{at_once} {plural} at once, not 4: the system grants no more threads");
            assert!(notes[0].starts_with(&note), "{notes:?}");
        }
    }

    #[test]
    fn what_does_not_fit_runs_staged_unless_the_schedule_was_asked_for() {
        let limit = || DeviceError::Limit {
            adapter: "a".to_owned(),
            limit: "maxBufferSize",
            needed: 2,
            available: 1,
        };
        let loops = || DeviceError::Loops {
            adapter: "a".to_owned(),
            needed: 70_000,
            available: 57_344,
        };
        let why = why_staged(limit(), Schedule::Auto).unwrap();
        assert_eq!(why, "the resident schedule needs more maxBufferSize");
        let why = why_staged(loops(), Schedule::Auto).unwrap();
        assert!(
            why.contains("70000 loop iterations") && why.contains("57344"),
            "{why}"
        );
        let driver = || DeviceError::Driver {
            adapter: "a".to_owned(),
            schedule: Schedule::Resident,
            found: "exp(0) is 2".to_owned(),
            instead: Some(Schedule::Staged),
        };
        let why = why_staged(driver(), Schedule::Auto).unwrap();
        assert!(why.contains("exp(0) is 2"), "{why}");
        for error in [limit(), loops(), driver()] {
            assert!(why_staged(error, Schedule::Resident).is_err());
        }
        let fault = DeviceError::Fault("lost".to_owned());
        assert!(why_staged(fault, Schedule::Auto).is_err());
    }
}
