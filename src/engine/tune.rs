//! The search for the layout that suits a device, on the device itself.

use std::iter;
use std::time::Duration;

use super::scheduled::{Scheduled, open};
use super::search::{Findings, Ready, Trials, search};
use super::sizes::{SMALL, is_large, like_names, work};
use crate::backend::{Backend, DeviceError, Schedule};
use crate::clock::Instant;
use crate::cpu::CpuBackend;
use crate::gpu::adapter::Found;
use crate::gpu::device::Gpu;
use crate::gpu::kernels::Kernels;
use crate::gpu::probe::Answers;
use crate::gpu::tuning::Tuning;
use crate::model::dims::Dims;
use crate::model::params::Params;
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
/// its schedule are next.
pub fn candidates(found: &Found, dims: &Dims, asked: Schedule, usual: Tuning) -> Vec<Tuning> {
    let (own, other) = match usual.schedule() {
        Schedule::Staged => (Schedule::Staged, Schedule::Resident),
        _ => (Schedule::Resident, Schedule::Staged),
    };
    let [own, other] = [own, other].map(|schedule| Tuning::candidates(found, dims, schedule));
    // Where the sizes alone decide, the other schedule is far behind.
    let is_open = asked == Schedule::Auto && work(dims) > SMALL && !is_large(dims);
    let others = own.into_iter().chain(other.into_iter().filter(|_| is_open));
    let others = others.filter(|tuning| *tuning != usual);
    iter::once(usual).chain(others).collect()
}

/// A device on which candidates are tried.
pub struct Bench<'a> {
    gpu: Gpu,
    found: &'a Found,
    dims: Dims,
    params: &'a Params<f32>,
    answers: &'a Answers,
    kernels: &'a Kernels,
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
    /// Candidates on an open device that has been probed; the first one took `opening`
    /// to be opened.
    ///
    /// # Errors
    ///
    /// The CPU cannot train the first steps.
    #[allow(clippy::too_many_arguments)] // what a device is opened with, and the candidates
    pub async fn new(
        gpu: Gpu,
        found: &'a Found,
        params: &'a Params<f32>,
        dims: Dims,
        answers: &'a Answers,
        kernels: &'a Kernels,
        candidates: Vec<Tuning>,
        opening: Duration,
    ) -> Result<Self, DeviceError> {
        let mut losses = Vec::new();
        let mut cpu = CpuBackend::new(dims, params.clone());
        cpu.train(&steps(&dims, FIRST, LR), &mut losses).await?;
        Ok(Self {
            gpu,
            found,
            dims,
            params,
            answers,
            kernels,
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
            adapter: self.found.info.name.clone(),
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
        let Some(mut backend) = self.open[chosen].take() else {
            unreachable!("a candidate that is chosen was measured, and kept open")
        };
        backend.set_params(self.params).await?;
        Ok((backend, searched.then_some(tuned)))
    }

    /// Opens a candidate if that has not been done.
    async fn opened(&mut self, candidate: usize) -> Result<Scheduled, DeviceError> {
        match self.open[candidate].take() {
            Some(backend) => Ok(backend),
            None => {
                open(
                    self.gpu.clone(),
                    self.found,
                    self.dims,
                    self.candidates[candidate],
                    self.params,
                    self.answers,
                    self.kernels,
                )
                .await
            }
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
        let first = steps(&self.dims, FIRST, LR);
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
                self.idle = steps(&self.dims, count as usize, 0.0);
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
            self.idle = steps(&self.dims, count as usize, 0.0);
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
