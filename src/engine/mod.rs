//! The engines that train a model, and the choice between the staged and the resident schedule.

mod dispatch;
#[cfg(test)]
pub(crate) mod fake;
pub mod recovery;

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
use crate::gpu::plan::WorkSplit;
use crate::gpu::probe::Probe;
use crate::gpu::resident::Resident;
use crate::gpu::shader::ProbeModules;
use crate::gpu::staged::Staged;
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::model::steps::Steps;
use crate::rng::TorchGenerator;
use dispatch::backend_by_match;
use recovery::{Rebuilding, Reopen};

/// Everything that can train and evaluate a model.
pub enum Engine {
    /// The CPU.
    Cpu(Box<CpuBackend>),
    /// A schedule on an adapter. The loss of its device is an error.
    Scheduled(Scheduled),
    /// A schedule on an adapter that is opened again, once, if its device is lost.
    Rebuilding(Box<Rebuilding<Opener>>),
}

/// A schedule on an adapter.
pub enum Scheduled {
    /// One launch per operation.
    Staged(Box<Staged>),
    /// Many steps per launch.
    Resident(Box<Resident>),
}

backend_by_match!([] Engine, Cpu, Scheduled, Rebuilding);
backend_by_match!([] Scheduled, Staged, Resident);

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

impl From<Staged> for Scheduled {
    fn from(staged: Staged) -> Self {
        Scheduled::Staged(Box::new(staged))
    }
}

impl From<Resident> for Scheduled {
    fn from(resident: Resident) -> Self {
        Scheduled::Resident(Box::new(resident))
    }
}

/// How a model is trained on a GPU. A schedule alone stands for the program's own kernels.
#[derive(Clone, Debug)]
pub struct How {
    /// The schedule that is asked for.
    pub schedule: Schedule,
    /// The kernels.
    pub kernels: Kernels,
}

impl From<Schedule> for How {
    fn from(schedule: Schedule) -> Self {
        Self {
            schedule,
            kernels: Kernels::default(),
        }
    }
}

/// A model that was opened, with the reason for its schedule.
pub struct Opened<B> {
    /// The model.
    pub backend: B,
    /// Why it has this schedule.
    pub why: String,
    /// Messages for the user about what happens to the device later on.
    pub notes: Receiver<String>,
}

impl<B> Opened<B> {
    /// A backend without later messages.
    pub fn quiet(backend: impl Into<B>, why: &str) -> Self {
        Self {
            backend: backend.into(),
            why: why.to_owned(),
            notes: channel().1,
        }
    }
}

/// Multiplications of the lecture's forward pass.
const LECTURE: usize = 32 * 200 * (30 + 27);
/// Multiplications up to which the resident schedule is taken, and from which on the staged one; in between
/// both are timed. (Measured with Mesa 22.3.6 on two cores: on llvmpipe both take the same time at twice the
/// lecture's size; on lavapipe the resident one is still faster at ten times that size.)
const SMALL: usize = 2 * LECTURE;
const LARGE: usize = 16 * LECTURE;
/// How long each of the two is timed.
const TRIAL: Duration = Duration::from_millis(50);

/// Multiplications of a forward pass.
fn work(dims: &Dims) -> usize {
    dims.batch * dims.hidden * (dims.fan_in() + dims.vocab)
}

/// Whether a model is so large that the staged schedule is taken without a measurement.
pub fn is_large(dims: &Dims) -> bool {
    work(dims) >= LARGE
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
    let schedule = match opened.backend {
        Scheduled::Staged(_) => Schedule::Staged,
        Scheduled::Resident(_) => Schedule::Resident,
    };
    let opener = Opener::new(found, dims, How { schedule, ..how });
    let (sender, notes) = channel();
    let rebuilding = Rebuilding::new(opened.backend, params, opener, sender);
    Ok(Opened {
        backend: Engine::Rebuilding(Box::new(rebuilding)),
        why: opened.why,
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
    let How { schedule, kernels } = how.into();
    let gpu = Gpu::open(found).await?;
    let split = WorkSplit::of(found, &dims);
    let probe = Probe::with(&gpu, split, &modules(split.lanes > 1)).await?;
    let answers = probe.ask().await?;
    let staged = async |why: &str| -> Result<Opened<Scheduled>, DeviceError> {
        answers.check(Schedule::Staged, &found.info.name)?;
        let staged = Staged::on(gpu.clone(), found, dims, params, &kernels).await?;
        Ok(Opened::quiet(staged, why))
    };
    let resident = async |why: &str| -> Result<Opened<Scheduled>, DeviceError> {
        let params = std::slice::from_ref(params);
        let opened = Resident::probed(gpu.clone(), found, dims, params, &answers, &kernels);
        let mut resident = opened.await?;
        if kernels.are_changed() {
            resident.compile_evaluation().await?;
        }
        Ok(Opened::quiet(resident, why))
    };
    match schedule {
        Schedule::Staged => staged("as asked for").await,
        Schedule::Resident => resident("as asked for").await,
        Schedule::Auto if is_large(&dims) => staged("the model is large").await,
        Schedule::Auto => {
            let why_staged = match resident("the model is small").await {
                Ok(small) if work(&dims) <= SMALL => return Ok(small),
                Ok(small) => return faster([small, staged("").await?], &dims, params).await,
                Err(DeviceError::Limit { limit, .. }) => {
                    format!("the resident one needs more {limit}")
                }
                Err(DeviceError::Loops { .. }) => {
                    "a step of the resident one needs more loop iterations than the driver does"
                        .to_owned()
                }
                Err(DeviceError::Driver { found, .. }) => {
                    format!("the resident one cannot be used: {found}")
                }
                Err(error) => return Err(error),
            };
            staged(&why_staged).await
        }
    }
}

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

/// Examples whose contexts repeat about as often as those of names, since the staged schedule computes each
/// distinct context once. Of 128 contexts drawn like this 109 are distinct, of 128 of the names 99; of 512,
/// 413 and 324. Every seventh is the beginning of a name, and some letters are frequent.
fn like_names(dims: &Dims, count: usize) -> (Vec<Token>, Vec<Token>) {
    const PARTS: u32 = 1 << 12;
    let examples = count * dims.batch;
    let mut draws = vec![0; examples * (dims.block + 2)];
    TorchGenerator::manual_seed(1).randint_into(PARTS, &mut draws);
    // The square of a number between 0 and 1.
    let token = |&draw: &u32| {
        let square = u64::from(draw).pow(2) / u64::from(PARTS);
        (dims.vocab as u64 * square / u64::from(PARTS)) as Token
    };
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for draws in draws.chunks_exact(dims.block + 2) {
        let (begins, draws) = (draws[0] % 7 == 0, &draws[1..]);
        x.extend(
            draws[1..]
                .iter()
                .map(|draw| if begins { 0 } else { token(draw) }),
        );
        y.push(token(&draws[0]));
    }
    (x, y)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::contexts::Rows;

    /// The numbers that the comment tells, and every token within the vocabulary.
    #[test]
    fn contexts_of_a_trial_come_again_as_those_of_names_do() {
        for (batch, told) in [(128, 109.0), (512, 413.0)] {
            let dims = Dims::LECTURE.with_batch(batch);
            let (x, y) = like_names(&dims, 50);
            assert_eq!((x.len(), y.len()), (50 * batch * dims.block, 50 * batch));
            let largest = x.iter().chain(&y).copied().max();
            assert_eq!(largest, Some(26));
            let rows = x
                .chunks(batch * dims.block)
                .map(|x| Rows::merged(x, None, dims.block).len());
            let mean = rows.sum::<usize>() as f64 / 50.0;
            assert!((mean / told - 1.0).abs() < 0.02, "{mean} of {batch}");
        }
    }
}
