//! The exercises: what is handed out, the verdict on a learner's text, and a training with a learner's own
//! gradients.

mod messages;

use std::rc::Rc;
use std::time::Duration;

use gpu_makemore::Instant;
use gpu_makemore::exercises::{
    self, Device as OnGpu, EXERCISES, Exercise, Losses, OwnGradients, SideBySide, Task, Verdict,
    find,
};
use gpu_makemore::gpu::adapter::Choice;
use gpu_makemore::model::recipe::default_log_every;
use gpu_makemore::training::log::lecture_line;
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::device::Device;
use crate::failure;
use crate::floats::Floats;
use messages::{Checked, Compared, Help, Lesson, Lessons, OwnProgress, Place, Plain, Texts};

/// How long a call trains before it answers.
const CHUNK: Duration = Duration::from_millis(100);

/// The exercises, in their order.
///
/// # Errors
///
/// They cannot be handed over.
#[wasm_bindgen]
pub fn exercises() -> Result<Ts<Lessons>, JsError> {
    let lesson = |exercise: &Exercise| {
        let task = Task::of(exercise);
        Lesson {
            number: exercise.number,
            name: exercise.name.to_owned(),
            file: exercise.file.to_owned(),
            text: exercise.text.to_owned(),
            subject: exercise.subject().to_owned(),
            part: exercise.part().to_owned(),
            accessors: task.given().collect(),
            constants: task.constants().map(str::to_owned).collect(),
            trains: exercise.is_gradient(),
            hints: exercise.hints().len(),
        }
    };
    Ok(Lessons(EXERCISES.iter().map(lesson).collect()).into_ts()?)
}

/// What helps with an exercise.
///
/// # Errors
///
/// There is no such exercise.
#[wasm_bindgen]
pub fn exercise_help(name: &str) -> Result<Ts<Help>, JsError> {
    let exercise = named(name)?;
    let answers = exercise.answers();
    let help = Help {
        hints: exercise.hints(),
        solution: answers.solution,
        question: answers.question,
    };
    Ok(help.into_ts()?)
}

fn named(name: &str) -> Result<&'static Exercise, JsError> {
    find(name).ok_or_else(|| failure(format!("there is no exercise {name}")))
}

/// Checks texts: in the interpreter, and on WebGPU where there is an adapter.
#[wasm_bindgen]
pub struct Checker {
    device: Device,
    gpu: Option<Rc<OnGpu>>,
}

/// Opens a checker on `auto`, `webgpu` or `cpu`, which is the interpreter alone.
///
/// # Errors
///
/// WebGPU is asked for and cannot be had.
#[wasm_bindgen]
pub async fn open_checker(backend: String) -> Result<Checker, JsError> {
    let mut device = Device::of(&backend).await.map_err(failure)?;
    let opened = match &device.choice {
        Choice::Gpu { found, .. } => Some(OnGpu::open(found).await),
        Choice::Cpu { .. } => None,
    };
    let gpu = match opened {
        Some(Err(error)) if device.or_cpu => {
            device = Device::cpu(format!("WebGPU is there and cannot be used: {error}"));
            None
        }
        opened => opened.transpose().map_err(failure)?.map(Rc::new),
    };
    Ok(Checker { device, gpu })
}

#[wasm_bindgen]
impl Checker {
    /// Where it checks.
    ///
    /// # Errors
    ///
    /// It cannot be handed over.
    pub fn place(&self) -> Result<Ts<Place>, JsError> {
        let place = Place {
            device: self.gpu.as_ref().map(|_| self.device.name()),
            why: self.device.why.clone(),
        };
        Ok(place.into_ts()?)
    }

    /// Checks a text. On a device only what is right in the interpreter: a loop without end would stop it.
    ///
    /// # Errors
    ///
    /// There is no such exercise, or the device failed.
    pub async fn check(&self, name: String, text: String) -> Result<Ts<Checked>, JsError> {
        let exercise = named(&name)?;
        let verdict = exercises::check(exercise, &text);
        let by = "the interpreter".to_owned();
        let checked = match &self.gpu {
            Some(gpu) if verdict.is_right() => {
                let verdict = gpu.check(exercise, &text).await.map_err(failure)?;
                let mut checked = checked(exercise, &verdict, vec![by, self.device.name()]);
                if verdict.is_right() {
                    checked.micros = Some(micros(gpu, exercise, &text).await?);
                    if let Some((name, text)) = exercise.answers().plain {
                        let micros = micros(gpu, exercise, &text).await?;
                        checked.plain = Some(Plain { name, micros });
                    }
                }
                checked
            }
            _ => checked(exercise, &verdict, vec![by]),
        };
        Ok(checked.into_ts()?)
    }

    /// Checks a text on the device alone, which may stop it for good: for tests of texts that are known.
    ///
    /// # Errors
    ///
    /// There is no such exercise or no device, or the device failed.
    pub async fn check_on_device(
        &self,
        name: String,
        text: String,
    ) -> Result<Ts<Checked>, JsError> {
        let exercise = named(&name)?;
        let gpu = self.gpu.as_ref();
        let gpu = gpu.ok_or_else(|| failure(format!("no device: {}", self.device.why)))?;
        let verdict = gpu.check(exercise, &text).await.map_err(failure)?;
        Ok(checked(exercise, &verdict, vec![self.device.name()]).into_ts()?)
    }

    /// Begins a training of `steps` steps with the learner's gradients.
    ///
    /// # Errors
    ///
    /// A text is missing or does not compile, or the device failed.
    pub async fn train(&self, texts: Ts<Texts>, steps: u32) -> Result<OwnTraining, JsError> {
        let mut given = texts.to_rust()?.0;
        let text = |exercise: &&'static Exercise| {
            let text = given.remove(exercise.name);
            text.ok_or_else(|| failure(format!("{} is missing", exercise.name)))
        };
        let texts: Vec<String> = OwnGradients::exercises()
            .iter()
            .map(text)
            .collect::<Result<_, _>>()?;
        let steps = u64::from(steps.max(1));
        let both = SideBySide::new(&texts, self.gpu.clone(), steps).await;
        Ok(OwnTraining {
            both: both.map_err(failure)?,
            every: default_log_every(steps),
            ended: None,
        })
    }
}

/// A training with a learner's gradients, beside one with the program's.
#[wasm_bindgen]
pub struct OwnTraining {
    both: SideBySide,
    /// Steps between two lines of the log.
    every: u64,
    /// Why it stopped before its end.
    ended: Option<String>,
}

#[wasm_bindgen]
impl OwnTraining {
    /// Does a tenth of a second's steps, one at least.
    ///
    /// # Errors
    ///
    /// It cannot be handed over. What goes wrong in the training itself stands in `ended`.
    pub async fn advance(&mut self) -> Result<Ts<OwnProgress>, JsError> {
        let begun = Instant::now();
        let mut lines = Vec::new();
        let steps = self.both.steps();
        while self.ended.is_none() && self.both.done() < steps {
            let step = self.both.done();
            match self.both.step().await {
                Ok(loss) if step.is_multiple_of(self.every) => {
                    lines.push(lecture_line(step, steps, loss));
                }
                Ok(_) => {}
                Err(error) => self.ended = Some(error.to_string()),
            }
            if begun.elapsed() >= CHUNK {
                break;
            }
        }
        let points = |losses: &Losses| {
            let points = losses.curve.points().into_iter();
            points.map(|(_, mean)| mean).collect()
        };
        let progress = OwnProgress {
            step: self.both.done(),
            steps,
            lines,
            bucket: self.both.mine().curve.bucket(),
            mine: points(self.both.mine()),
            reference: points(self.both.theirs()),
            apart: self.both.apart(),
            finished: self.ended.is_some() || self.both.done() == steps,
            ended: self.ended.clone(),
        };
        Ok(progress.into_ts()?)
    }
}

async fn micros(gpu: &OnGpu, exercise: &Exercise, text: &str) -> Result<f64, JsError> {
    let time = gpu.time(exercise, text).await.map_err(failure)?;
    Ok(time.as_secs_f64() * 1e6)
}

/// A verdict as it crosses.
fn checked(exercise: &Exercise, verdict: &Verdict, by: Vec<String>) -> Checked {
    let placed = verdict.problem().filter(|problem| problem.line > 0);
    Checked {
        verdict: verdict.name().to_owned(),
        lines: exercises::lines(exercise, verdict),
        line: placed.map(|problem| problem.line),
        column: placed.map(|problem| problem.column),
        message: placed.map(|problem| problem.message.clone()),
        mistake: verdict.known().map(|known| known.name.clone()),
        values: verdict.values().map(|values| compared(exercise, values)),
        by,
        micros: None,
        plain: None,
    }
}

fn compared(exercise: &Exercise, mine: &[f32]) -> Compared {
    let task = Task::of(exercise);
    let difference = |(&mine, want): (&f32, &f64)| (f64::from(mine) - want) as f32;
    Compared {
        difference: Floats(mine.iter().zip(&task.want).map(difference).collect()),
        mine: Floats(mine.to_vec()),
        reference: Floats(task.want.iter().map(|&want| want as f32).collect()),
        axes: task
            .shape
            .iter()
            .map(|(axis, _)| (*axis).to_owned())
            .collect(),
        shape: task.shape.iter().map(|(_, size)| *size).collect(),
        name: task.wanted,
    }
}
