//! The engines that train a model, and the choice between the staged and the resident schedule.

mod dispatch;
#[cfg(test)]
pub(crate) mod fake;
pub mod recovery;
pub mod remembered;
mod scheduled;
pub mod search;
mod sizes;
pub mod tune;

use std::cell::Cell;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::backend::profile::Profile;
use crate::backend::{Api, Backend, BackendInfo, DeviceError, Schedule};
use crate::clock::Instant;
use crate::cores::cores;
use crate::cpu::CpuBackend;
use crate::gpu::adapter::{Choice, Found, choose};
use crate::gpu::device::Gpu;
use crate::gpu::kernels::Kernels;
use crate::gpu::probe::Probe;
use crate::gpu::resident::Resident;
use crate::gpu::shader::ProbeModules;
use crate::gpu::staged::Staged;
use crate::gpu::tuning::{Cuts, Tuning, WorkSplit};
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::model::steps::Steps;
use dispatch::backend_by_match;
use recovery::{Rebuilding, Reopen};
use scheduled::Opening;
pub use scheduled::Scheduled;
pub use sizes::is_large;
use sizes::{SMALL, like_names, work};
use tune::{Bench, Tune, Tuned};

/// Everything that can train and evaluate a model.
pub enum Engine {
    /// The CPU.
    Cpu(Box<CpuBackend>),
    /// A schedule on an adapter. The loss of its device is an error.
    Scheduled(Scheduled),
    /// A schedule on an adapter that is opened again, once, if its device is lost.
    Rebuilding(Box<Rebuilding<Opener>>),
}

backend_by_match!([] Engine, Cpu, Scheduled, Rebuilding);
impl From<CpuBackend> for Engine {
    fn from(cpu: CpuBackend) -> Self {
        Engine::Cpu(Box::new(cpu))
    }
}

impl From<Staged> for Engine {
    fn from(staged: Staged) -> Self {
        Engine::Scheduled(staged.into())
    }
}

impl From<Resident> for Engine {
    fn from(resident: Resident) -> Self {
        Engine::Scheduled(resident.into())
    }
}

/// How a model is trained on a GPU. A schedule alone stands for the program's own kernels, laid out without a
/// measurement.
#[derive(Clone, Debug)]
pub struct How {
    /// The schedule that is asked for.
    pub schedule: Schedule,
    /// The kernels.
    pub kernels: Kernels,
    /// How the layout of a step is found.
    pub tune: Tune,
}

impl From<Schedule> for How {
    fn from(schedule: Schedule) -> Self {
        Self {
            schedule,
            kernels: Kernels::default(),
            tune: Tune::Fixed,
        }
    }
}

/// A model that was opened, with the reason for its schedule.
pub struct Opened<B> {
    /// The model.
    pub backend: B,
    /// Why it has this schedule.
    pub why: String,
    /// What a search for its layout found, if there was one.
    pub tuned: Option<Tuned>,
    /// Messages for the user about what happens to the device later on.
    pub notes: Receiver<String>,
}

impl<B> Opened<B> {
    /// A backend without later messages.
    pub fn quiet(backend: impl Into<B>, why: &str) -> Self {
        Self {
            backend: backend.into(),
            why: why.to_owned(),
            tuned: None,
            notes: channel().1,
        }
    }
}

impl Engine {
    /// Opens a model that is to be trained, on an API or, with [`Api::Auto`], on the best GPU that is found;
    /// without one on the CPU.
    ///
    /// # Errors
    ///
    /// The API has no adapter, or as for [`open`].
    pub async fn new(api: Api, dims: Dims, params: &Params<f32>) -> Result<Self, DeviceError> {
        let choice = choose(&[api], None).await?;
        let opened = open_on(&choice, dims, params, Schedule::Auto).await?;
        Ok(opened.backend)
    }
}

/// Opens a model that is to be trained on what was chosen, and tells why it runs there as it does. `how` is
/// about GPUs.
///
/// # Errors
///
/// As for [`open`].
pub async fn open_on(
    choice: &Choice,
    dims: Dims,
    params: &Params<f32>,
    how: impl Into<How>,
) -> Result<Opened<Engine>, DeviceError> {
    match choice {
        Choice::Cpu { .. } => {
            let backend = CpuBackend::new(dims, params.clone()).with_cores(cores());
            let why = match backend.workers() {
                1 => String::new(),
                workers => format!("{workers}; a model of this size pays for them"),
            };
            Ok(Opened::quiet(backend, &why))
        }
        Choice::Gpu { found, .. } => open(found, dims, params, how).await,
    }
}

/// Opens a model on an adapter with the schedule that was asked for, or with the better one. If its
/// device is lost, it is opened again, once.
///
/// # Errors
///
/// The adapter cannot hold the model, cannot be opened, refuses a kernel, or has a driver that does
/// not do what the schedule relies on.
pub async fn open(
    found: &Found,
    dims: Dims,
    params: &Params<f32>,
    how: impl Into<How>,
) -> Result<Opened<Engine>, DeviceError> {
    let how = how.into();
    let opened = open_with(found, dims, params, how.clone(), &ProbeModules::new).await?;
    // What is opened again is laid out alike, for the same bits.
    let tuning = opened.backend.tuning();
    let how = How {
        schedule: tuning.schedule(),
        tune: Tune::Given(tuning),
        ..how
    };
    let opener = Opener::new(found, dims, how);
    let (sender, notes) = channel();
    let rebuilding = Rebuilding::new(opened.backend, params, opener, sender);
    Ok(Opened {
        backend: Engine::Rebuilding(Box::new(rebuilding)),
        why: opened.why,
        tuned: opened.tuned,
        notes,
    })
}

/// Opens a model on the adapter, with the schedule and the kernels that it had.
pub struct Opener {
    found: Found,
    dims: Dims,
    how: How,
}

impl Opener {
    /// Opens a model of these sizes as `how` says.
    pub fn new(found: &Found, dims: Dims, how: How) -> Self {
        let found = found.clone();
        Self { found, dims, how }
    }
}

impl Reopen for Opener {
    type Backend = Scheduled;

    async fn reopen(&mut self, params: &Params<f32>) -> Result<Scheduled, DeviceError> {
        let found = self.found.again().await?;
        let modules = &ProbeModules::new;
        let opened = open_with(&found, self.dims, params, self.how.clone(), modules).await?;
        Ok(opened.backend)
    }
}

/// Opens a model as [`open`] does, but without opening a lost device again. `modules` makes the probe, for a
/// workgroup of one subgroup or of several; tests put changed ones in. It measures the driver, so its formulas are
/// the program's own, whatever the kernels are.
///
/// # Errors
///
/// As for [`open`].
pub async fn open_with(
    found: &Found,
    dims: Dims,
    params: &Params<f32>,
    how: impl Into<How>,
    modules: &dyn Fn(bool) -> ProbeModules,
) -> Result<Opened<Scheduled>, DeviceError> {
    let How {
        schedule,
        kernels,
        tune,
    } = how.into();
    let gpu = Gpu::open(found).await?;
    // Until the search has ended: the layouts that it tries have most kernels in common.
    gpu.keep_compiled(matches!(tune, Tune::Search { .. }));
    let split = match tune {
        Tune::Given(Tuning::Resident(split)) => split,
        _ => WorkSplit::of(found, &dims),
    };
    let probe = Probe::with(&gpu, split, &modules(split.lanes > 1)).await?;
    let answers = probe.ask().await?;
    // How long it took to open the last one.
    let opening = Cell::new(Duration::ZERO);
    let model = Opening {
        gpu: gpu.clone(),
        found,
        dims,
        params,
        answers: &answers,
        kernels: &kernels,
    };
    let open = async |tuning: Tuning, why: &str| -> Result<Opened<Scheduled>, DeviceError> {
        let begun = Instant::now();
        let opened = Opened::quiet(model.open(tuning).await?, why);
        opening.set(begun.elapsed());
        Ok(opened)
    };
    if let Tune::Given(tuning) = tune {
        return open(tuning, "as asked for").await;
    }
    let cuts = Cuts::usual(found, &dims, &kernels.changed().collect::<Vec<_>>());
    let staged = async |why: &str| open(Tuning::Staged(cuts), why).await;
    let resident = async |why: &str| open(Tuning::Resident(split), why).await;
    let mut opened = match schedule {
        Schedule::Staged => staged("as asked for").await?,
        Schedule::Resident => resident("as asked for").await?,
        Schedule::Auto if is_large(&dims) => staged("the model is large").await?,
        Schedule::Auto => match resident("the model is small").await {
            Ok(small) if work(&dims) <= SMALL => small,
            Ok(small) => faster([small, staged("").await?], &dims, params).await?,
            Err(error) => staged(&why_not_resident(error)?).await?,
        },
    };
    let Tune::Search { budget, steps } = tune else {
        return Ok(opened);
    };
    // Changed kernels need not give the losses of the CPU, by which a search tells right from wrong.
    if kernels.are_changed() {
        gpu.keep_compiled(false);
        return Ok(opened);
    }
    let first = opened.backend.tuning();
    let candidates = tune::candidates(found, &dims, schedule, first);
    let bench = Bench::new(model, candidates, opening.get());
    let (backend, tuned) = (bench.await?.search(opened.backend, budget, steps)).await?;
    gpu.keep_compiled(false);
    opened.backend = backend;
    if let Some(tuned) = &tuned {
        opened.why = tuned.why();
    }
    opened.tuned = tuned;
    Ok(opened)
}

/// Why a model has the staged schedule although the resident one is preferred, if that is what an error says.
fn why_not_resident(error: DeviceError) -> Result<String, DeviceError> {
    match error {
        DeviceError::Limit { limit, .. } => Ok(format!("the resident one needs more {limit}")),
        DeviceError::Loops { .. } => Ok(
            "a step of the resident one needs more loop iterations than the driver does".to_owned(),
        ),
        DeviceError::Driver { found, .. } => {
            Ok(format!("the resident one cannot be used: {found}"))
        }
        error => Err(error),
    }
}

/// How long each of the two is timed.
const TRIAL: Duration = Duration::from_millis(50);

/// Times both on some steps and returns the faster one.
async fn faster(
    both: [Opened<Scheduled>; 2],
    dims: &Dims,
    params: &Params<f32>,
) -> Result<Opened<Scheduled>, DeviceError> {
    let mut timed = Vec::new();
    for mut opened in both {
        let time = step_time(&mut opened.backend, dims).await?;
        opened.backend.set_params(params).await?;
        timed.push((time, opened));
    }
    timed.sort_by_key(|(time, _)| *time);
    let slow = timed.pop();
    let (Some((time, mut opened)), Some((other, _))) = (timed.pop(), slow) else {
        unreachable!("two schedules were timed")
    };
    opened.why = format!(
        "measured: {:.0} us per step, the other one {:.0}",
        time.as_secs_f64() * 1e6,
        other.as_secs_f64() * 1e6
    );
    Ok(opened)
}

/// The time of a step, measured over several. The first step, which compiles the kernels, does not count.
async fn step_time(backend: &mut impl Backend, dims: &Dims) -> Result<Duration, DeviceError> {
    let mut time = async |count: usize| -> Result<Duration, DeviceError> {
        let (x, y) = like_names(dims, count);
        let steps = Steps {
            first: 0,
            x,
            y,
            lr: vec![0.0; count],
        };
        let start = Instant::now();
        backend.train(&steps, &mut Vec::new()).await?;
        Ok(start.elapsed())
    };
    time(1).await?;
    let mut count = 1;
    loop {
        let took = time(count).await?;
        if took >= TRIAL {
            return Ok(took / count as u32);
        }
        count *= 4;
    }
}
