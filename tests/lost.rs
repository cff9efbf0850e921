//! A device that is lost in the midst of a run, on every adapter that the tests know and with both
//! schedules: destroyed, or without an answer in time. The run goes on, bit for bit, once.

mod common;

use std::cell::{Cell, RefCell};
use std::process::ExitCode;
use std::rc::Rc;
use std::slice::from_ref;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use common::adapters::{self, Check, OnEach, Outcome};
use common::{Inputs, bits, inputs, lecture_steps, part};
use gpu_makemore::backend::{Backend, DeviceError, Schedule};
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::engine::Scheduled;
use gpu_makemore::engine::recovery::{Rebuilding, Reopen};
use gpu_makemore::gpu::adapter::Found;
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::kernels::Kernels;
use gpu_makemore::gpu::layout::Layout;
use gpu_makemore::gpu::resident::Resident;
use gpu_makemore::gpu::staged::Staged;
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::params::Params;
use gpu_makemore::model::steps::Steps;
use libtest_mimic::Failed;
use pollster::FutureExt as _;

/// What is asked of every adapter.
const CHECKS: [Check; 5] = [
    ("a_destroyed_device_changes_no_bit", destroyed),
    ("a_device_without_an_answer_changes_no_bit", unanswered),
    ("a_second_loss_ends_the_run_with_a_good_model", twice),
    ("a_device_that_does_not_come_back_ends_the_run", not_back),
    ("a_lost_device_is_told_from_a_fault", told_apart),
];

fn main() -> ExitCode {
    let at_work = OnEach::new(
        "a_device_destroyed_at_work_changes_no_bit",
        destroyed_at_work,
    );
    let in_evaluation = OnEach::new("a_device_lost_in_the_evaluation_changes_no_bit", evaluation);
    let late = OnEach::new("a_second_loss_after_the_training_is_no_end", late);
    let long = [at_work, in_evaluation, late].map(OnEach::long);
    adapters::run(CHECKS.iter().map(OnEach::from).chain(long), Vec::new())
}

const BOTH: [Schedule; 2] = [Schedule::Staged, Schedule::Resident];

/// A run with a hold on its device, to do it harm.
struct Run {
    backend: Rebuilding<Opener>,
    /// The device in use.
    gpu: Rc<RefCell<Gpu>>,
    /// How often it may be opened again.
    spare: Rc<Cell<usize>>,
    notes: Receiver<String>,
}

/// Opens the adapter again, as often as it may.
struct Opener {
    gpu: Rc<RefCell<Gpu>>,
    spare: Rc<Cell<usize>>,
    found: Found,
    schedule: Schedule,
}

impl Reopen for Opener {
    type Backend = Scheduled;

    async fn reopen(&mut self, params: &Params<f32>) -> Result<Scheduled, DeviceError> {
        let Some(less) = self.spare.get().checked_sub(1) else {
            let adapter = self.found.info.name.clone();
            return Err(DeviceError::Gone { adapter });
        };
        self.spare.set(less);
        let found = self.found.again().await?;
        let gpu = Gpu::open(&found).await?;
        *self.gpu.borrow_mut() = gpu.clone();
        on(gpu, &found, self.schedule, params).await
    }
}

impl Run {
    fn new(found: &Found, schedule: Schedule, params: &Params<f32>) -> Result<Self, Failed> {
        let gpu = Rc::new(RefCell::new(Gpu::open(found).block_on()?));
        let first = on(gpu.borrow().clone(), found, schedule, params).block_on()?;
        let spare = Rc::new(Cell::new(usize::MAX));
        let opener = Opener {
            gpu: Rc::clone(&gpu),
            spare: Rc::clone(&spare),
            found: found.clone(),
            schedule,
        };
        let (sender, notes) = channel();
        Ok(Self {
            backend: Rebuilding::new(first, params, opener, sender),
            gpu,
            spare,
            notes,
        })
    }

    fn destroy(&self) {
        self.gpu.borrow().device.destroy();
    }

    /// What was told of the device.
    fn told(&self) -> Vec<String> {
        self.notes.try_iter().collect()
    }
}

async fn on(
    gpu: Gpu,
    found: &Found,
    schedule: Schedule,
    params: &Params<f32>,
) -> Result<Scheduled, DeviceError> {
    let dims = Dims::LECTURE;
    Ok(match schedule {
        Schedule::Resident => Resident::several(gpu, found, dims, from_ref(params))
            .await?
            .into(),
        _ => Staged::on(
            gpu,
            found,
            Layout::of(found, dims),
            params,
            &Kernels::default(),
        )
        .await?
        .into(),
    })
}

/// Fifty steps in three chunks, with something done before the second and before the third; then
/// losses and parameters have to be those of a run to which nothing was done.
fn same_bits(
    found: &Found,
    schedule: Schedule,
    harm: impl Fn(usize, &Run),
    note: &str,
) -> Result<Run, Failed> {
    let (params, steps) = lecture_steps(50)?;
    let (mut want, mut got) = (Vec::new(), Vec::new());
    let mut whole = on(Gpu::open(found).block_on()?, found, schedule, &params).block_on()?;
    whole.train(&steps, &mut want).block_on()?;
    let mut run = Run::new(found, schedule, &params)?;
    for (i, range) in [0..10, 10..30, 30..50].into_iter().enumerate() {
        harm(i, &run);
        run.backend
            .train(&part(&steps, range), &mut got)
            .block_on()?;
    }
    if got != want || bits(&run.backend.params().block_on()?) != bits(&whole.params().block_on()?) {
        return Err(format!("{schedule}: other bits than without the loss").into());
    }
    let told = run.told();
    match &told[..] {
        [one] if one.contains(note) && one.ends_with("and the run continues") => Ok(run),
        _ => Err(format!("{schedule}: told of the loss: {told:?}").into()),
    }
}

fn destroyed(found: &Found) -> Outcome {
    for schedule in BOTH {
        for chunk in [0, 1, 2] {
            let harm = |i, run: &Run| {
                if i == chunk {
                    run.destroy();
                }
            };
            same_bits(found, schedule, harm, "destroyed")?;
        }
    }
    Ok(())
}

/// The device is destroyed while it works on a chunk, wherever it is in it by then.
fn destroyed_at_work(found: &Found) -> Outcome {
    for schedule in BOTH {
        let (params, steps) = lecture_steps(300)?;
        let (mut want, mut got) = (Vec::new(), Vec::new());
        let mut whole = on(Gpu::open(found).block_on()?, found, schedule, &params).block_on()?;
        whole.train(&steps, &mut want).block_on()?;
        for after in [0, 1, 5, 20] {
            let mut run = Run::new(found, schedule, &params)?;
            got.clear();
            let gpu = run.gpu.borrow().clone();
            thread::scope(|scope| {
                scope.spawn(move || {
                    thread::sleep(Duration::from_millis(after));
                    gpu.device.destroy();
                });
                run.backend
                    .train(&part(&steps, 0..200), &mut got)
                    .block_on()
            })?;
            run.backend
                .train(&part(&steps, 200..300), &mut got)
                .block_on()?;
            if got != want
                || bits(&run.backend.params().block_on()?) != bits(&whole.params().block_on()?)
            {
                return Err(format!("{schedule}: other bits than without the loss").into());
            }
            if run.told().len() != 1 {
                return Err(format!("{schedule}: the loss was not told once").into());
            }
        }
    }
    Ok(())
}

/// The time-out is over before the device is asked whether it is done, so it cannot be done in time.
fn unanswered(found: &Found) -> Outcome {
    for schedule in BOTH {
        let harm = |i, run: &Run| {
            if i == 1 {
                run.gpu.borrow().set_timeout(Duration::ZERO);
            }
        };
        same_bits(found, schedule, harm, "no answer within 0 s")?;
    }
    Ok(())
}

fn evaluation(found: &Found) -> Outcome {
    for schedule in BOTH {
        let Inputs { params, x, y } = inputs(&Dims::LECTURE, 3);
        let mut whole = Run::new(found, schedule, &params)?;
        let stats = whole.backend.calibrate(&x).block_on()?;
        let want = whole.backend.evaluate(&stats, &x, &y).block_on()?;
        for at in 0..3 {
            let mut run = Run::new(found, schedule, &Params::filled(&Dims::LECTURE, 0.0))?;
            let then = |i, run: &Run| {
                if i == at {
                    run.destroy();
                }
            };
            then(0, &run);
            run.backend.set_params(&params).block_on()?;
            then(1, &run);
            let got_stats = run.backend.calibrate(&x).block_on()?;
            then(2, &run);
            let got = run.backend.evaluate(&got_stats, &x, &y).block_on()?;
            if got_stats != stats || got.to_bits() != want.to_bits() || run.told().len() != 1 {
                return Err(format!("{schedule}: lost at {at}: {got}, expected {want}").into());
            }
        }
    }
    Ok(())
}

/// The error of a chunk that must fail.
fn fails(run: &mut Run, steps: &Steps) -> Result<DeviceError, Failed> {
    match run.backend.train(steps, &mut Vec::new()).block_on() {
        Err(error) => Ok(error),
        Ok(()) => Err("a chunk was done without a device".into()),
    }
}

/// What is told of a loss, and how it is brought about.
type Harm = (&'static str, fn(&Run));

fn twice(found: &Found) -> Outcome {
    for schedule in BOTH {
        let harms: [Harm; 2] = [
            ("reason: destroyed", Run::destroy),
            ("no answer within 0 s", |run| {
                run.gpu.borrow().set_timeout(Duration::ZERO);
            }),
        ];
        for (second, harm) in harms {
            let harm_first = |i, run: &Run| {
                if i == 1 {
                    run.destroy();
                }
            };
            let mut run = same_bits(found, schedule, harm_first, "destroyed")?;
            let good = bits(&run.backend.params().block_on()?);
            let (_, steps) = lecture_steps(20)?;
            harm(&run);
            let error = fails(&mut run, &steps)?;
            let text = error.to_string();
            let wanted = format!("lost twice: first reason: destroyed; then {second}");
            if !matches!(error, DeviceError::LostTwice { .. }) || !text.contains(&wanted) {
                return Err(format!("{schedule}: {text}").into());
            }
            if !run.told().is_empty() {
                return Err(format!("{schedule}: a third device was opened").into());
            }
            left_with(&mut run, &good)?;
        }
    }
    Ok(())
}

/// The second loss comes when the training is over: the CPU does the rest.
fn late(found: &Found) -> Outcome {
    for schedule in BOTH {
        let Inputs { params, x, y } = inputs(&Dims::LECTURE, 3);
        let mut run = Run::new(found, schedule, &params)?;
        run.destroy();
        let stats = run.backend.calibrate(&x).block_on()?;
        run.destroy();
        let got = run.backend.evaluate(&stats, &x, &y).block_on()?;
        let want = CpuBackend::new(Dims::LECTURE, params)
            .evaluate(&stats, &x, &y)
            .block_on()?;
        let told = run.told();
        let second = told
            .get(1)
            .is_some_and(|note| note.ends_with("the CPU does the rest"));
        if got.to_bits() != want.to_bits() || told.len() != 2 || !second {
            return Err(format!("{schedule}: {got}, expected {want}; {told:?}").into());
        }
    }
    Ok(())
}

/// After the end, the last good model can be had and made a checkpoint of, and not trained.
fn left_with(run: &mut Run, good: &[u32]) -> Outcome {
    let params = run.backend.params().block_on()?;
    if bits(&params) != good {
        return Err("the last good model is gone".into());
    }
    let Inputs { x, y, .. } = inputs(&Dims::LECTURE, 3);
    run.backend.set_params(&params).block_on()?;
    let stats = run.backend.calibrate(&x).block_on()?;
    let mut cpu = CpuBackend::new(Dims::LECTURE, params);
    if stats != cpu.calibrate(&x).block_on()? {
        return Err("the statistics are not those of the last good model".into());
    }
    run.backend.evaluate(&stats, &x, &y).block_on()?;
    if run.backend.info().backend == "cpu" {
        return Err("the model is said to be trained on the CPU".into());
    }
    let (_, steps) = lecture_steps(5)?;
    fails(run, &steps).map(|_| ())
}

fn not_back(found: &Found) -> Outcome {
    for schedule in BOTH {
        let (params, steps) = lecture_steps(20)?;
        let mut run = Run::new(found, schedule, &params)?;
        run.backend
            .train(&part(&steps, 0..10), &mut Vec::new())
            .block_on()?;
        let good = bits(&run.backend.params().block_on()?);
        run.spare.set(0);
        run.destroy();
        let error = fails(&mut run, &part(&steps, 10..20))?;
        let text = error.to_string();
        if !matches!(error, DeviceError::NotBack { .. }) || !text.contains("no longer there") {
            return Err(format!("{schedule}: {text}").into());
        }
        left_with(&mut run, &good)?;
    }
    Ok(())
}

/// A loss may be mended by another device; what a program does wrong may not.
fn told_apart(found: &Found) -> Outcome {
    let gpu = Gpu::open(found).block_on()?;
    let encoder = gpu.device.create_command_encoder(&Default::default());
    let (small, large) = (gpu.storage("small", 16), gpu.storage("large", 32));
    let mut wrong = encoder;
    wrong.copy_buffer_to_buffer(&large, 0, &small, 0, 32);
    match gpu.finish_and_read(wrong, &[]).block_on() {
        Err(error @ DeviceError::Fault(_)) if error.lost().is_none() => {}
        other => return Err(format!("a copy beyond a buffer's end: {other:?}").into()),
    }
    let gpu = Gpu::open(found).block_on()?;
    gpu.device.destroy();
    let encoder = gpu.device.create_command_encoder(&Default::default());
    match gpu.finish_and_read(encoder, &[]).block_on() {
        Err(error @ DeviceError::Lost(_)) if error.lost().is_some() => Ok(()),
        other => Err(format!("a destroyed device: {other:?}").into()),
    }
}
