//! The choice between the staged and the resident schedule.

pub mod recovery;

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::backend::GpuError;
use crate::backend::{Backend, BackendError, Schedule};
use crate::gpu::adapter::Found;
use crate::gpu::device::Gpu;
use crate::gpu::probe::Probe;
use crate::gpu::resident::{Resident, Split};
use crate::gpu::shader::ProbeModules;
use crate::gpu::staged::Staged;
use crate::model::dims::Dims;
use crate::model::params::Params;
use crate::model::steps::Steps;
use crate::rng::TorchGenerator;
use recovery::Rebuilding;

/// A model with its schedule, and why it is that one.
pub struct Opened {
    /// The model.
    pub backend: Box<dyn Backend>,
    /// Why.
    pub why: String,
    /// What happens to the device later on, for the user to know.
    pub notes: Receiver<String>,
}

impl Opened {
    /// A backend of which nothing more will be told.
    pub fn quiet(backend: Box<dyn Backend>, why: &str) -> Self {
        Self {
            backend,
            why: why.to_owned(),
            notes: channel().1,
        }
    }
}

/// Multiplications of the lecture's forward pass.
const LECTURE: usize = 32 * 200 * (30 + 27);
/// Up to `SMALL`, the resident schedule is taken, and from `LARGE` on, the staged one; in between it
/// depends on the adapter. (Measured, Mesa 22.3.6 on two cores: llvmpipe takes the same time for both
/// at twice the lecture; lavapipe is faster with the resident one still at ten times.)
const SMALL: usize = 2 * LECTURE;
const LARGE: usize = 16 * LECTURE;
/// How long each is measured in between.
const TRIAL: Duration = Duration::from_millis(50);

/// Multiplications of a forward pass.
fn work(dims: &Dims) -> usize {
    dims.batch * dims.hidden * (dims.fan_in() + dims.vocab)
}

/// Whether a model is so large that the staged schedule is taken without a measurement.
pub fn is_large(dims: &Dims) -> bool {
    work(dims) >= LARGE
}

/// Opens a model on an adapter with the schedule that was asked for, or with the better one. If its
/// device is lost, it is opened again, once.
///
/// # Errors
///
/// The adapter cannot hold the model, cannot be opened, refuses a kernel, or has a driver that does
/// not do what the schedule relies on.
pub fn open(
    found: &Found,
    dims: Dims,
    params: &Params<f32>,
    asked: Schedule,
) -> Result<Opened, BackendError> {
    let Opened { backend, why, .. } = open_with(found, dims, params, asked, &ProbeModules::new)?;
    let (sender, notes) = channel();
    let taken = match backend.info().schedule {
        Some("resident") => Schedule::Resident,
        _ => Schedule::Staged,
    };
    let found = found.clone();
    let again = move |params: &Params<f32>| {
        let opened = open_with(&found.again()?, dims, params, taken, &ProbeModules::new)?;
        Ok(opened.backend)
    };
    Ok(Opened {
        backend: Box::new(Rebuilding::new(backend, params, Box::new(again), sender)),
        why,
        notes,
    })
}

/// The same with a probe that tests may have changed, for one subgroup or not, and with no second
/// device.
///
/// # Errors
///
/// As for [`open`].
pub fn open_with(
    found: &Found,
    dims: Dims,
    params: &Params<f32>,
    asked: Schedule,
    modules: &dyn Fn(bool) -> ProbeModules,
) -> Result<Opened, BackendError> {
    let gpu = Gpu::open(found)?;
    let split = Split::of(found, &dims);
    let answers = Probe::with(&gpu, split, &modules(split.lanes > 1))?.ask()?;
    let staged = |why: &str| -> Result<Opened, BackendError> {
        answers.check(Schedule::Staged, &found.info.name)?;
        let staged = Staged::on(gpu.clone(), found, dims, params)?;
        Ok(Opened::quiet(Box::new(staged), why))
    };
    let resident = |why: &str| -> Result<Opened, BackendError> {
        let params = std::slice::from_ref(params);
        let resident = Resident::probed(gpu.clone(), found, dims, params, &answers)?;
        Ok(Opened::quiet(Box::new(resident), why))
    };
    match asked {
        Schedule::Staged => staged("as asked for"),
        Schedule::Resident => resident("as asked for"),
        Schedule::Auto if is_large(&dims) => staged("the model is large"),
        Schedule::Auto => {
            let small = match resident("the model is small") {
                Err(BackendError::Gpu(GpuError::Limit { limit, .. })) => {
                    return staged(&format!("the resident one needs more {limit}"));
                }
                Err(BackendError::Gpu(GpuError::Loops { .. })) => {
                    return staged(
                        "a step of the resident one needs more loop iterations than the driver does",
                    );
                }
                Err(BackendError::Gpu(GpuError::Driver { found, .. })) => {
                    return staged(&format!("the resident one cannot be used: {found}"));
                }
                other => other?,
            };
            if work(&dims) <= SMALL {
                return Ok(small);
            }
            faster([small, staged("")?], &dims, params)
        }
    }
}

/// The faster of the two on some steps.
fn faster(both: [Opened; 2], dims: &Dims, params: &Params<f32>) -> Result<Opened, BackendError> {
    let mut timed = Vec::new();
    for mut opened in both {
        let time = step_time(&mut *opened.backend, dims)?;
        opened.backend.set_params(params)?;
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

/// Examples whose contexts come again about as often as those of names do: the staged schedule computes
/// each of them once. Of 128 that are drawn like this 109 are distinct, of the names' own 99; of 512 they
/// are 413 and 324. Every seventh is the beginning of a name, and some letters are frequent.
fn like_names(dims: &Dims, count: usize) -> (Vec<u8>, Vec<u8>) {
    const PARTS: u32 = 1 << 12;
    let examples = count * dims.batch;
    let mut draws = vec![0; examples * (dims.block + 2)];
    TorchGenerator::manual_seed(1).randint_into(PARTS, &mut draws);
    // The square of a number between 0 and 1.
    let token = |&draw: &u32| {
        let square = u64::from(draw).pow(2) / u64::from(PARTS);
        (dims.vocab as u64 * square / u64::from(PARTS)) as u8
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

/// The time of a step, from a few of them after the first, which compiles the kernels.
fn step_time(backend: &mut dyn Backend, dims: &Dims) -> Result<Duration, BackendError> {
    let mut time = |count: usize| -> Result<Duration, BackendError> {
        let (x, y) = like_names(dims, count);
        let steps = Steps {
            first: 0,
            x,
            y,
            lr: vec![0.0; count],
        };
        let start = Instant::now();
        backend.train(&steps, &mut Vec::new())?;
        Ok(start.elapsed())
    };
    time(1)?;
    let mut count = 1;
    loop {
        let took = time(count)?;
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
