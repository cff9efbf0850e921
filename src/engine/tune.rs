//! The search for the layout that suits a device, on the device itself.

use std::iter;
use std::time::Duration;

use super::scheduled::{Opening, Scheduled};
use super::search::{Findings, Ready, Trials, search};
use super::sizes::{SMALL, is_large, like_names, work};
use crate::backend::{Backend, DeviceError, Schedule};
use crate::clock::Instant;
use crate::cpu::CpuBackend;
use crate::gpu::adapter::Found;
use crate::gpu::launch::{Cut, Launch};
use crate::gpu::layout::Layout;
use crate::gpu::plan::Plan;
use crate::gpu::staged::step_of;
use crate::gpu::tuning::Tuning;
use crate::model::dims::Dims;
use crate::model::steps::Steps;

/// How the layout of a step is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tune {
    /// What suits the kind of the adapter, without a measurement.
    Fixed,
    /// This one.
    Given(Tuning),
    /// The fastest, by a search.
    Search {
        /// What it may take.
        budget: Duration,
        /// Steps of the run: a short one gains less than a search takes.
        steps: u64,
    },
}

/// What a search found, for people and for later runs.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// Every candidate that was timed, with seconds per step.
    pub times: Vec<(Tuning, f64)>,
    /// The one that was taken.
    pub chosen: Tuning,
    /// Candidates whose results were wrong, and how: a fault of the driver.
    pub wrong: Vec<(Tuning, String)>,
    /// How many candidates there were.
    pub candidates: usize,
    /// What the search took.
    pub took: Duration,
}

impl Tuned {
    /// What candidates that were wrong show of the driver.
    pub fn warnings(&self) -> Vec<String> {
        let wrong = |(tuning, reason): &(Tuning, String)| format!("{tuning} is not used: {reason}");
        self.wrong.iter().map(wrong).collect()
    }

    /// One line about it.
    pub fn why(&self) -> String {
        let time = |tuning: Tuning| {
            let found = self.times.iter().find(|(other, _)| *other == tuning);
            found.map_or(f64::NAN, |(_, time)| 1e6 * time)
        };
        let mut why = format!("measured: {:.0} us per step", time(self.chosen));
        if self.times.len() == 1 {
            return why + "; there was no time to try another layout";
        }
        match self.times.first() {
            Some((usual, _)) if *usual != self.chosen => {
                why += &format!(", the usual layout {:.0}", time(*usual));
            }
            _ => why += ", no other layout is faster",
        }
        let (timed, took) = (self.times.len(), self.took.as_secs_f64());
        why += &format!("; {timed} of {} were timed", self.candidates);
        if timed < self.candidates {
            why += &format!(", in {took:.2} s");
        }
        why
    }
}

/// Steps whose losses are held against the CPU's.
const FIRST: usize = 3;
/// How far a loss may be from the CPU's. (With the right kernels they differ by 1e-6 at most.)
const CLOSE: f32 = 1e-4;
/// A measurement takes about so long. In a browser, clocks may tick in milliseconds, and an answer takes about one
/// to arrive.
const MEASURED: Duration = Duration::from_millis(if IN_BROWSER { 10 } else { 2 });
/// Steps of a measurement at most.
const MOST: f64 = if IN_BROWSER { 2048.0 } else { 256.0 };
const IN_BROWSER: bool = cfg!(target_arch = "wasm32");
/// The share of a run's time that a search may take.
const SHARE: u32 = 10;
/// A search for less than this finds nothing.
const LEAST: Duration = Duration::from_millis(20);

/// The layouts worth trying for a schedule, and before them the one that is taken without a measurement. Those of
/// its schedule are next. Of those that come to the same at these sizes, the first one.
pub fn candidates(found: &Found, dims: &Dims, asked: Schedule, usual: Tuning) -> Vec<Tuning> {
    let (own, other) = match usual.schedule() {
        Schedule::Staged => (Schedule::Staged, Schedule::Resident),
        _ => (Schedule::Resident, Schedule::Staged),
    };
    let [own, other] = [own, other].map(|schedule| Tuning::candidates(found, dims, schedule));
    // Where the sizes alone decide, the other schedule is far behind.
    let is_open = asked == Schedule::Auto && work(dims) > SMALL && !is_large(dims);
    let others = own.into_iter().chain(other.into_iter().filter(|_| is_open));
    different(iter::once(usual).chain(others), dims)
}

/// The layouts without those that come to the same as one before them: a short sum gets no more
/// slices or parts, however many a layout allows.
fn different(all: impl Iterator<Item = Tuning>, dims: &Dims) -> Vec<Tuning> {
    let (mut kept, mut seen) = (Vec::new(), Vec::new());
    for tuning in all {
        let launched = Launched::new(tuning, dims);
        if !seen.contains(&launched) {
            seen.push(launched);
            kept.push(tuning);
        }
    }
    kept
}

/// What a layout comes to for a model of some sizes.
#[derive(PartialEq)]
enum Launched {
    /// The kernels of a step, each with the cut of its sums; and how many invocations add up columns and how many
    /// hand rows out.
    Staged(Vec<(&'static str, Cut)>, [usize; 2]),
    /// The constants of the kernel.
    Resident(Vec<(String, f64)>),
}

impl Launched {
    fn new(tuning: Tuning, dims: &Dims) -> Self {
        match tuning {
            Tuning::Staged(cuts) => {
                let layout = Layout::new(*dims, cuts);
                let cut = |l: &Launch| (l.kernel, layout.cut_of(l.invocations, dims.batch));
                let kernels = step_of(&layout).iter().map(cut).collect();
                Self::Staged(kernels, [cuts.adders, cuts.lanes])
            }
            Tuning::Resident(split) => {
                Self::Resident(Plan::new(*dims, 1, split, usize::MAX).named())
            }
        }
    }
}

/// A device on which candidates are tried.
pub(super) struct Bench<'a> {
    /// The model on it.
    model: Opening<'a>,
    candidates: Vec<Tuning>,
    /// Those that are open.
    open: Vec<Option<Scheduled>>,
    /// The steps of a measurement, which change no parameter.
    idle: Steps,
    /// The first losses, by the CPU.
    losses: Vec<f32>,
    /// How long it took to open the first candidate.
    opening: Duration,
    begun: Instant,
}

impl<'a> Bench<'a> {
    /// Candidates for a model; the first one took `opening` to be opened.
    ///
    /// # Errors
    ///
    /// The CPU cannot train the first steps.
    pub async fn new(
        model: Opening<'a>,
        candidates: Vec<Tuning>,
        opening: Duration,
    ) -> Result<Self, DeviceError> {
        let dims = model.dims;
        let mut losses = Vec::new();
        let mut cpu = CpuBackend::new(dims, model.params.clone());
        cpu.train(&steps(&dims, FIRST, LR), &mut losses).await?;
        Ok(Self {
            model,
            open: candidates.iter().map(|_| None).collect(),
            candidates,
            idle: steps(&dims, 1, 0.0),
            losses,
            opening,
            begun: Instant::now(),
        })
    }

    /// Searches among all candidates, the first of which is open, for a run of `steps` steps. The one that is
    /// chosen gets the parameters of the start again.
    ///
    /// # Errors
    ///
    /// The device failed; or no candidate has room on it and gives the losses of the CPU.
    pub async fn search(
        mut self,
        first: Scheduled,
        budget: Duration,
        steps: u64,
    ) -> Result<(Scheduled, Option<Tuned>), DeviceError> {
        self.open[0] = Some(first);
        let pays = |time: f64| {
            let run = Duration::try_from_secs_f64(time * steps as f64).unwrap_or(Duration::MAX);
            let most = run / SHARE;
            (most >= LEAST).then_some(most)
        };
        let count = self.candidates.len();
        let found = search(&mut self, count, budget, pays).await?;
        let Findings {
            chosen,
            times,
            wrong,
            searched,
            took,
        } = found.ok_or_else(|| DeviceError::Driver {
            adapter: self.model.found.info.name.clone(),
            schedule: self.candidates[0].schedule(),
            found: "no layout of a step gives the losses that the CPU has".to_owned(),
            instead: None,
        })?;
        let tuning = |i: usize| self.candidates[i];
        let tuned = Tuned {
            times: times.iter().map(|&(i, time)| (tuning(i), time)).collect(),
            chosen: tuning(chosen),
            wrong: (wrong.into_iter())
                .map(|(i, how)| (tuning(i), how))
                .collect(),
            candidates: self.candidates.len(),
            took,
        };
        // Only the first one was opened for more than to time it.
        let backend = match self.open[chosen].take() {
            Some(mut first) if chosen == 0 => {
                first.set_params(self.model.params).await?;
                first
            }
            other => {
                drop(other); // its tensors make room
                self.model.open(tuned.chosen).await?
            }
        };
        Ok((backend, searched.then_some(tuned)))
    }

    /// Opens a candidate if that has not been done.
    async fn opened(&mut self, candidate: usize) -> Result<Scheduled, DeviceError> {
        match self.open[candidate].take() {
            Some(backend) => Ok(backend),
            None => self.model.open_to_time(self.candidates[candidate]).await,
        }
    }
}

/// The learning rate of the steps that are held against the CPU's.
const LR: f32 = 0.1;

/// Steps on examples like those of names.
fn steps(dims: &Dims, count: usize, lr: f32) -> Steps {
    let (x, y) = like_names(dims, count);
    Steps {
        first: 0,
        x,
        y,
        lr: vec![lr; count],
    }
}

impl Trials for Bench<'_> {
    type Error = DeviceError;

    fn now(&self) -> Duration {
        self.opening + self.begun.elapsed()
    }

    async fn prepare(&mut self, candidate: usize) -> Result<Ready, DeviceError> {
        let mut backend = match self.opened(candidate).await {
            Ok(backend) => backend,
            Err(
                DeviceError::Limit { .. } | DeviceError::Loops { .. } | DeviceError::Driver { .. },
            ) => return Ok(Ready::Unfit),
            Err(error) => return Err(error),
        };
        let mut losses = Vec::new();
        let dims = self.model.dims;
        let first = steps(&dims, FIRST, LR);
        if let Err(error) = backend.train(&first, &mut losses).await {
            return match error.lost() {
                Some(_) => Err(error),
                None => Ok(Ready::Wrong(error.to_string())),
            };
        }
        for (step, (got, want)) in losses.iter().zip(&self.losses).enumerate() {
            let close = (got - want).abs() <= CLOSE;
            if !close {
                return Ok(Ready::Wrong(format!(
                    "the loss of step {step} is {got} with it, and {want} on the CPU: a fault of the \
                     driver"
                )));
            }
        }
        if candidate == 0 {
            // The kernels are compiled now, so a few steps show how many fit into a measurement. A few steps may
            // take mostly the latency of a submission; the count is raised until the steps themselves dominate.
            let mut count = FIRST as f64;
            loop {
                self.idle = steps(&dims, count as usize, 0.0);
                let start = Instant::now();
                backend.train(&self.idle, &mut losses).await?;
                let took = start.elapsed();
                let next = count * MEASURED.as_secs_f64() / took.as_secs_f64().max(1e-6);
                let next = next.clamp(1.0, MOST).floor();
                if took >= MEASURED / 2 || next <= count {
                    count = next;
                    break;
                }
                count = next;
            }
            self.idle = steps(&dims, count as usize, 0.0);
        }
        self.open[candidate] = Some(backend);
        Ok(Ready::Yes)
    }

    async fn measure(&mut self, candidate: usize) -> Result<f64, DeviceError> {
        let Some(backend) = &mut self.open[candidate] else {
            unreachable!("only what was made ready is measured")
        };
        let start = Instant::now();
        backend.train(&self.idle, &mut Vec::new()).await?;
        Ok(start.elapsed().as_secs_f64() / self.idle.len() as f64)
    }

    fn release(&mut self, candidate: usize) {
        self.open[candidate] = None;
    }
}

#[cfg(test)]
mod tests {
    use wgpu::Limits;

    use super::*;
    use crate::gpu::tuning::{Cuts, WorkSplit};

    #[test]
    fn layouts_that_come_to_the_same_are_tried_once() {
        let dims = Dims::LECTURE;
        let staged = |name: &str| name.parse::<Tuning>().unwrap();
        // 28 tiles of logits and 50 rounds of four terms: the sums are in 16 slices either way.
        let all = ["staged:invocations=65536", "staged:invocations=262144"].map(staged);
        assert_eq!(different(all.into_iter(), &dims), all[..1]);
        // With 1,024 hidden units and examples the launches have more results, and the cuts differ.
        let large = Dims {
            hidden: 1024,
            batch: 1024,
            ..dims
        };
        assert_eq!(different(all.into_iter(), &large), all);
        // Each of these has kernels of its own.
        let all = [
            "staged:invocations=1",
            "staged:invocations=1,adders=256",
            "staged:invocations=1,lanes=8",
            "staged:invocations=1,lanes=64",
            "staged:invocations=1,parts=16",
            "resident:workers=32",
            "resident:workers=32,slices=2",
        ]
        .map(staged);
        assert_eq!(different(all.into_iter(), &dims), all);
        // More slices than there are groups of four hidden units.
        let all = [
            "resident:workers=32,slices=64",
            "resident:workers=32,slices=99",
        ]
        .map(staged);
        assert_eq!(different(all.into_iter(), &dims), all[..1]);
    }

    #[test]
    fn many_layouts_are_tried_the_usual_one_first() {
        let limits = Limits::default();
        for dims in [Dims::LECTURE, Dims::LECTURE.with_batch(4)] {
            let usual = Cuts::hardware(&dims);
            let staged = Cuts::candidates(usual, &limits, Some(32));
            let staged = different(staged.into_iter().map(Tuning::Staged), &dims);
            assert_eq!(staged[0], Tuning::Staged(usual));
            assert!(staged.len() > 8, "{staged:?}");
            let usual = WorkSplit::hardware(&dims, &limits);
            let resident = WorkSplit::candidates(usual, &limits, &dims);
            let resident = different(resident.into_iter().map(Tuning::Resident), &dims);
            assert_eq!(resident[0], Tuning::Resident(usual));
            assert!(resident.len() > 8, "{resident:?}");
        }
    }
}
