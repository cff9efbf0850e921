//! A mistake that is made on purpose, or an edit of a kernel: what the table says of it, and what it does to a training.

use gpu_makemore::backend::Backend;
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::data::{Dataset, Vocabulary};
use gpu_makemore::gpu::adapter::{Choice, Found};
use gpu_makemore::gpu::shader::files;
use gpu_makemore::gradcheck::Inputs;
use gpu_makemore::gradcheck::engine::{Engine as Checked, Kernels};
use gpu_makemore::gradcheck::mistakes::{By, MISTAKES, Mistake as Known};
use gpu_makemore::gradcheck::step::{Code, Layouts};
use gpu_makemore::model::recipe::default_log_every;
use gpu_makemore::{Engine, Event, Instant, Recipe, State, Training};
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::failure;
use crate::inspection::inspect;
use crate::messages::{
    Inspection, Mistake, Mistakes, SourceError, SourceErrors, SourceFile, Sources, TrialProgress,
};

/// The mistakes that can be made.
///
/// # Errors
///
/// They cannot be handed over.
#[wasm_bindgen]
pub fn mistakes() -> Result<Ts<Mistakes>, JsError> {
    Ok(Mistakes(MISTAKES.iter().map(crossing).collect()).into_ts()?)
}

/// A mistake as it crosses.
pub fn crossing(known: &Known) -> Mistake {
    Mistake {
        name: known.name.to_owned(),
        file: known.file.to_owned(),
        from: known.from.to_owned(),
        to: known.to.to_owned(),
        first: known.first.name().to_owned(),
        trains: known.by != By::Exercise1 && trains(known.file),
    }
}

/// The mistake of a name.
///
/// # Errors
///
/// There is none.
pub fn called(name: &str) -> Result<&'static Known, JsError> {
    Known::of(name).ok_or_else(|| failure(format!("{name}: no such mistake")))
}

/// The files of the kernels, as they are.
///
/// # Errors
///
/// They cannot be handed over.
#[wasm_bindgen]
pub fn sources() -> Result<Ts<Sources>, JsError> {
    let all = files().into_iter().map(|part| SourceFile {
        file: part.file.to_owned(),
        text: part.text.into_owned(),
        trains: trains(part.file),
    });
    Ok(Sources(all.collect()).into_ts()?)
}

/// Whether a file is in a kernel that trains.
fn trains(file: &str) -> bool {
    !file.starts_with("chunked/")
}

/// What the compiler says of other text in a file.
///
/// # Errors
///
/// There is no such file, or no GPU.
pub async fn errors(choice: &Choice, file: &str, text: &str) -> Result<SourceErrors, JsError> {
    let found = on(choice).map_err(failure)?;
    let errors = kernels(found, file, text)?.errors(found, file).await;
    let all = errors.map_err(failure)?.into_iter();
    let all = all.map(|error| SourceError {
        file: error.file.to_owned(),
        line: error.line,
        column: error.column,
        message: error.message,
    });
    Ok(SourceErrors(all.collect()))
}

/// The kernels with other text in a file.
fn kernels(found: &Found, file: &str, text: &str) -> Result<Kernels, JsError> {
    let kernels = Kernels::of(found).with_file(file, text);
    kernels.ok_or_else(|| failure(format!("no kernel on this device is made of {file}")))
}

/// Two trainings from the same initial values: one with a mistake in a kernel, and the right one.
#[wasm_bindgen]
pub struct Trial {
    engine: Checked,
    code: Code,
    inputs: Inputs,
    vocab: Vocabulary,
    step: u64,
    broken: Run,
    right: Run,
}

/// A training and what does it.
struct Run {
    training: Training<'static>,
    backend: Engine,
    /// Why it stopped before its end.
    ended: Option<String>,
}

impl Run {
    /// Does one chunk, and gives its lines of the log.
    async fn advance(&mut self) -> Result<Vec<String>, JsError> {
        let Some(steps) = self.training.next_steps() else {
            return Ok(Vec::new());
        };
        let begun = Instant::now();
        let mut losses = Vec::with_capacity(steps.len());
        let trained = self.backend.train(&steps, &mut losses).await;
        trained.map_err(failure)?;
        let took = begun.elapsed();
        let params = self.backend.params().await.map_err(failure)?;
        let accepted = self.training.accept_losses(&losses, took);
        let events = match accepted.and_then(|()| self.training.accept_params(params)) {
            Ok(events) => events,
            Err(diverged) => {
                self.ended = Some(diverged.to_string());
                return Ok(Vec::new());
            }
        };
        let rows = events.into_iter().filter_map(|event| match event {
            Event::Row(row) => Some(row.lecture_line(self.steps())),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The points of its curve.
    fn points(&self) -> Vec<f64> {
        let points = self.training.state().curve.points();
        points.into_iter().map(|(_, mean)| mean).collect()
    }

    /// Steps done.
    fn step(&self) -> u64 {
        self.training.state().now.steps
    }

    /// Steps of the whole.
    fn steps(&self) -> u64 {
        self.training.state().curve.total()
    }

    fn is_done(&self) -> bool {
        self.ended.is_some() || self.step() == self.steps()
    }
}

impl Trial {
    /// A mistake, on the device of a session whose next step is `inputs`; trained for as many steps as `recipe`
    /// has.
    ///
    /// # Errors
    ///
    /// There is no GPU, or the broken kernel is refused.
    pub async fn of(
        known: &Known,
        choice: &Choice,
        next: (Inputs, u64),
        set: (&Recipe, &Dataset),
    ) -> Result<Self, JsError> {
        let found = on(choice).map_err(failure)?;
        let engine = known.engine(found).map_err(failure)?;
        // What is checked.
        let code = match known.by {
            By::Parts => Code::InParts,
            By::Resident => Code::Resident,
            By::Exercise1 => Code::Chunked,
            By::Gradcheck | By::LargeLogits => Code::Staged,
        };
        Self::new(engine, code, next, set).await
    }

    /// Other text in a file, as [`Trial::of`] makes a mistake.
    ///
    /// # Errors
    ///
    /// There is no such file, no GPU, or the kernels made of it are refused.
    pub async fn of_edit(
        (file, text): (&str, &str),
        choice: &Choice,
        next: (Inputs, u64),
        set: (&Recipe, &Dataset),
    ) -> Result<Self, JsError> {
        let found = on(choice).map_err(failure)?;
        let kernels = kernels(found, file, text)?;
        let engine = Checked::Gpu(Box::new(found.clone()), kernels, Layouts::default());
        Self::new(engine, Code::of_file(file), next, set).await
    }

    async fn new(
        engine: Checked,
        code: Code,
        (inputs, step): (Inputs, u64),
        (recipe, dataset): (&Recipe, &Dataset),
    ) -> Result<Self, JsError> {
        // No training runs the line-by-line pass.
        let trains = match code {
            Code::Chunked => Code::Staged,
            code => code,
        };
        let log_every = default_log_every(recipe.steps);
        let state = State::first(recipe, &inputs.dims, log_every);
        let params = state.now.params.clone();
        let first = Inputs {
            params: params.clone(),
            ..inputs.clone()
        };
        let backend = engine.open(trains, &first).await.map_err(failure)?;
        let train = &dataset.train;
        let run = |backend, state| Run {
            training: Training::new(train.clone(), recipe, state, recipe.steps),
            backend,
            ended: None,
        };
        let right = CpuBackend::new(inputs.dims, params).into();
        Ok(Self {
            broken: run(backend, state.clone()),
            right: run(right, state),
            vocab: dataset.vocab.clone(),
            engine,
            code,
            inputs,
            step,
        })
    }
}

/// The adapter.
fn on(choice: &Choice) -> Result<&Found, &'static str> {
    match choice {
        Choice::Gpu { found, .. } => Ok(found),
        Choice::Cpu { .. } => Err(
            "mistakes are made in the kernels, and this session runs on the CPU, whose step is compiled \
             in; open it with backend=webgpu",
        ),
    }
}

#[wasm_bindgen]
impl Trial {
    /// The step of the session with the mistake in it, tensor by tensor.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn inspect(&self) -> Result<Ts<Inspection>, JsError> {
        let found = inspect(
            &self.engine,
            self.code,
            &self.inputs,
            &self.vocab,
            self.step,
        );
        Ok(found.await.map_err(failure)?.into_ts()?)
    }

    /// Has both trainings do some more steps: the one that is behind, a tenth of a second's.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn advance(&mut self) -> Result<Ts<TrialProgress>, JsError> {
        let (broken, right) = (&mut self.broken, &mut self.right);
        let lines = if !right.is_done() && (broken.is_done() || right.step() <= broken.step()) {
            right.advance().await?;
            Vec::new()
        } else {
            broken.advance().await?
        };
        let result = TrialProgress {
            step: self.broken.step(),
            steps: self.broken.steps(),
            lines,
            bucket: self.broken.training.state().curve.bucket(),
            broken: self.broken.points(),
            right: self.right.points(),
            ended: self.broken.ended.clone(),
            finished: self.broken.is_done() && self.right.is_done(),
        };
        Ok(result.into_ts()?)
    }
}
