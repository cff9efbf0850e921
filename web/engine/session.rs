//! A training that a page drives.

use std::collections::HashSet;
use std::num::NonZeroUsize;

use gpu_makemore::backend::{Backend, Schedule};
use gpu_makemore::checkpoint::packed::{self, CALIBRATED, Measured};
use gpu_makemore::checkpoint::{Checkpoint, Config, Training as Record};
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::data::{self, Dataset, Format, Options, Reading, Source, Split, Vocabulary};
use gpu_makemore::engine::{Opened, open_on};
use gpu_makemore::gpu::adapter::Choice;
use gpu_makemore::gpu::tuning::Tuning;
use gpu_makemore::gradcheck::engine::Engine as Checked;
use gpu_makemore::gradcheck::mistakes::Mistake;
use gpu_makemore::gradcheck::step::{Code, Layouts};
use gpu_makemore::gradcheck::{Inputs, extras};
use gpu_makemore::model::dims::{Dims, Token};
use gpu_makemore::model::plane::Plane;
use gpu_makemore::model::recipe::{default_checkpoint_every, default_decay_at, default_log_every};
use gpu_makemore::model::statistics::Statistics;
use gpu_makemore::model::tensors::LectureTensor;
use gpu_makemore::sample::{self, Sampler};
use gpu_makemore::training::Stream;
use gpu_makemore::training::log::{Validation, lecture_line, set_up_lines};
use gpu_makemore::{DeviceError, Engine, Event, Instant, Recipe, State, Training, evaluation};
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::device::Device;

use crate::failure;
use crate::hunt::planted;
use crate::inspection::inspect;
use crate::layout::{Asked, Mode, Tunings, Wish};
use crate::messages::{
    About, Curve, Extra, Extras, Finished, Inspection, Name, Names, Next, Progress, Setup,
    SourceErrors, ValidationPoint, Words,
};
use crate::settings::{fields, recipe};
use crate::trial::{Trial, called, errors};

/// A training: its data, its model, its device.
#[wasm_bindgen]
pub struct Session {
    recipe: Recipe,
    dataset: Dataset,
    dims: Dims,
    device: Device,
    opened: Opened<Engine>,
    training: Training<'static>,
    /// Evaluates, as the program's does, whatever trains: its numbers are the same everywhere.
    evaluator: Engine,
    config: Config,
    record: Record,
    /// The words of the data, once they were asked for.
    known: Option<HashSet<Vec<Token>>>,
    /// Lines that tell how it was set up.
    lines: Vec<String>,
    /// Points of the curve that the page has.
    sent: usize,
}

/// Begins a training. `tunings` is what the browser remembers of layouts.
///
/// # Errors
///
/// A setting, the data or the device cannot be had; the message says why.
#[wasm_bindgen]
pub async fn open(setup: Ts<Setup>, tunings: Option<Tunings>) -> Result<Session, JsError> {
    let setup = setup.to_rust()?;
    let wish = Wish {
        mode: Mode::of(setup.tune.as_deref()).map_err(failure)?,
        begun: Ok(None),
        tunings,
    };
    let recipe = recipe(&setup.fields).map_err(failure)?;
    let (recipe, dataset) = load(recipe, setup.file.as_ref())?;
    let dims = recipe.dims(dataset.vocab.len()).map_err(failure)?;
    let device = Device::of(&setup.backend).await.map_err(failure)?;
    let state = State::first(&recipe, &dims, default_log_every(recipe.steps));
    let record = Record {
        steps: recipe.steps,
        log_every: default_log_every(recipe.steps),
        checkpoint_every: default_checkpoint_every(recipe.steps),
        ..Record::default()
    };
    Session::new(recipe, dataset, device, state, record, wish).await
}

/// Continues a training from the bytes that [`Session::save`] gave, or the program's `last.safetensors`; or opens
/// a finished model, `model.safetensors`, to look into it. On the adapter of before it keeps its layout, unless
/// `tune` is `again`.
///
/// # Errors
///
/// They are no such bytes, or of other data; or the device cannot be had.
#[wasm_bindgen]
pub async fn resume(
    bytes: &[u8],
    file: Option<Ts<Words>>,
    backend: String,
    tune: Option<String>,
    tunings: Option<Tunings>,
) -> Result<Session, JsError> {
    let mode = Mode::of(tune.as_deref()).map_err(failure)?;
    let file = file.map(|file| file.to_rust()).transpose()?;
    let checkpoint = Checkpoint::from_bytes(bytes).map_err(failure)?;
    let config = &checkpoint.config;
    let done = config.recipe.steps;
    let (state, record, line) = match checkpoint.training.clone() {
        Some(record) => {
            if let Some(changed) = &record.shaders {
                return Err(failure(format!(
                    "this run trains with kernels that were changed ({}), which the page does not have; the \
                     program continues it: gpu-makemore train --resume, with --shaders",
                    changed.files.join(", ")
                )));
            }
            let state = packed::state(&checkpoint, record.log_every, record.steps);
            let state =
                state.ok_or_else(|| JsError::new("the run lacks what it takes to continue"))?;
            let line = format!("resumed     after {done} of {} steps", record.steps);
            (state, record, line)
        }
        None => {
            // Its generator and its curve are not in the file, and nothing more is drawn from either.
            let dims = config.dims();
            let mut state = State::first(&config.recipe, &dims, default_log_every(done));
            state.now.params = checkpoint.params.clone();
            state.now.steps = done;
            let record = Record {
                steps: done,
                log_every: default_log_every(done),
                checkpoint_every: default_checkpoint_every(done),
                data_sha256: config.data_sha256.clone().unwrap_or_default(),
                ..Record::default()
            };
            (
                state,
                record,
                format!("opened      a model after {done} steps"),
            )
        }
    };
    let recipe = Recipe {
        steps: record.steps,
        ..config.recipe.clone()
    };
    let (recipe, dataset) = load(recipe, file.as_ref())?;
    // Models of the first versions have no checksum.
    let other = !record.data_sha256.is_empty() && dataset.sha256() != record.data_sha256;
    if other || !dataset.vocab.chars().eq(config.vocab.iter().copied()) {
        return Err(failure(format!(
            "{}: these are not the words that the model was trained on",
            dataset.label
        )));
    }
    let device = Device::of(&backend).await.map_err(failure)?;
    let begun = match &device.choice {
        Choice::Gpu { found, .. } => packed::tune(&checkpoint, found, Schedule::Auto),
        Choice::Cpu { .. } => Ok(None),
    };
    let wish = Wish {
        mode,
        begun,
        tunings,
    };
    let mut session = Session::new(recipe, dataset, device, state, record, wish).await?;
    session.lines.push(line);
    Ok(session)
}

/// The words of a recipe: a data set of the program, or a file.
fn load(mut recipe: Recipe, file: Option<&Words>) -> Result<(Recipe, Dataset), JsError> {
    let source = match (file, recipe.data.as_str()) {
        (Some(file), _) => Source::Bytes {
            name: &file.name,
            bytes: &file.bytes,
            format: Format::of_name(&file.name),
        },
        (None, "names") => Source::Names,
        (None, "municipalities") => Source::Municipalities,
        (None, other) => {
            return Err(failure(format!(
                "data={other}: names or municipalities is wanted, or a file"
            )));
        }
    };
    let options = Options {
        source,
        reading: Reading::from(&recipe),
        block: recipe.block_size as usize,
    };
    let dataset = data::load(&options).map_err(|error| match file {
        Some(file) => failure(format!("{}: {error}", file.name)),
        None => failure(error),
    })?;
    if let Some(file) = file {
        recipe.data = file.name.clone();
    }
    Ok((recipe, dataset))
}

impl Session {
    async fn new(
        recipe: Recipe,
        dataset: Dataset,
        mut device: Device,
        state: State,
        record: Record,
        wish: Wish,
    ) -> Result<Self, JsError> {
        let dims = recipe.dims(dataset.vocab.len()).map_err(failure)?;
        let params = state.now.params.clone();
        let left = recipe.steps.saturating_sub(state.now.steps);
        let mut asked = match &device.choice {
            Choice::Gpu { found, .. } => Asked::new(&wish, found, &dims, left).await,
            Choice::Cpu { .. } => Asked::NOTHING,
        };
        let mut opened = open_on(&device.choice, dims, &params, asked.how()).await;
        if let (Err(error), Choice::Gpu { found, .. }) = (&opened, &device.choice)
            && let Some(instead) = asked.instead(error, &wish, found, &dims, left)
        {
            asked = instead;
            opened = open_on(&device.choice, dims, &params, asked.how()).await;
        }
        if let (Err(error), true) = (&opened, device.or_cpu) {
            device = Device::cpu(format!("WebGPU is there and cannot be used: {error}"));
            asked = Asked::NOTHING;
            opened = open_on(&device.choice, dims, &params, asked.how()).await;
        }
        let opened = opened.map_err(failure)?;
        let tuned = opened.tuned.as_ref();
        asked.remember(tuned, wish.tunings.as_ref()).await;
        let info = opened.backend.info();
        let config = packed::config(&recipe, &dataset, info);
        let mut lines = vec![
            format!("device      {}", device.name()),
            format!("why         {}", device.why),
        ];
        if let Some(schedule) = info.schedule {
            let why = asked.why.as_ref().unwrap_or(&opened.why);
            lines.push(format!("schedule    {schedule}; {why}"));
            lines.extend((info.tuning.iter()).map(|tuning| format!("tuning      {tuning}")));
        }
        lines.extend(set_up_lines(&recipe, &dataset, &dims));
        if let (Some(then), Some(now)) = (&record.tuning, &info.tuning)
            && then != now
        {
            asked.notes.push(format!(
                "the tuning was {then} and is {now} now: the model's bits may differ from those of a run that \
                 had the same throughout"
            ));
        }
        let warnings = tuned.iter().flat_map(|tuned| tuned.warnings());
        let notes = asked.notes.into_iter().chain(warnings);
        lines.extend(notes.map(|note| format!("note        {note}")));
        let record = Record {
            schedule: info.schedule.map(str::to_owned),
            tuning: info.tuning.clone(),
            adapter: info.adapter.clone(),
            driver: info.driver.clone(),
            data_sha256: config.data_sha256.clone().unwrap_or_default(),
            ..record
        };
        let every = record.checkpoint_every;
        Ok(Self {
            training: Training::new(dataset.train.clone(), &recipe, state, every),
            evaluator: CpuBackend::new(dims.with_batch(2), params).into(),
            recipe,
            dataset,
            dims,
            device,
            opened,
            config,
            record,
            known: None,
            lines,
            sent: 0,
        })
    }

    /// The curve, if it has points that the page does not have.
    fn curve(&mut self) -> Option<Curve> {
        let curve = &self.training.state().curve;
        let full: Vec<f64> = curve.points().into_iter().map(|(_, mean)| mean).collect();
        if full.len() == self.sent {
            return None;
        }
        self.sent = full.len();
        Some(Curve {
            bucket: curve.bucket(),
            points: full,
        })
    }

    /// Batch-norm statistics over the first examples, as for a checkpoint.
    async fn statistics(&mut self) -> Result<Statistics, DeviceError> {
        let params = &self.training.state().now.params;
        let train = &self.dataset.train;
        let count = train.len().min(CALIBRATED);
        evaluation::calibrate_on_first(&mut self.evaluator, params, train, count).await
    }

    /// The model as it stands, with its validation loss.
    async fn measure(&mut self) -> Result<Option<Measured>, DeviceError> {
        let now = &self.training.state().now;
        let config = self.config.clone();
        packed::measure(&mut self.evaluator, config, now, &self.dataset).await
    }

    /// The model and the minibatch of the next step.
    fn inputs(&self) -> Inputs {
        let now = &self.training.state().now;
        let (schedule, batch) = (self.training.schedule(), self.dims.batch);
        let mut stream = Stream::new(&self.dataset.train, now.generator.clone(), schedule, batch);
        let steps = stream.take(1);
        Inputs {
            dims: self.dims,
            params: now.params.clone(),
            x: steps.x,
            y: steps.y,
        }
    }

    /// The next step, and the recipe of a trial of `steps` steps.
    fn trial(&self, steps: u32) -> ((Inputs, u64), Recipe) {
        let steps = u64::from(steps.max(1));
        let recipe = Recipe {
            steps,
            lr_decay_at: default_decay_at(steps),
            ..self.recipe.clone()
        };
        ((self.inputs(), self.training.state().now.steps), recipe)
    }

    /// A mistake in the next step, and in a training of `steps` steps.
    async fn with(&self, mistake: &Mistake, steps: u32) -> Result<Trial, JsError> {
        let (next, recipe) = self.trial(steps);
        let set = (&recipe, &self.dataset);
        Trial::of(mistake, &self.device.choice, next, set).await
    }

    /// Invented names, with a mark at those that the data have.
    fn invent(&mut self, sampler: &mut Sampler, count: usize) -> Vec<Name> {
        let dataset = &self.dataset;
        let known = self
            .known
            .get_or_insert_with(|| dataset.split(Split::All).words());
        let mut name = || {
            let tokens = sampler.name(&[]);
            Name {
                text: sample::text(&dataset.vocab, &tokens),
                known: known.contains(&tokens) && !tokens.is_empty(),
            }
        };
        (0..count).map(|_| name()).collect()
    }
}

#[wasm_bindgen]
impl Session {
    /// What it is about.
    ///
    /// # Errors
    ///
    /// It cannot be handed over.
    pub fn about(&mut self) -> Result<Ts<About>, JsError> {
        self.sent = usize::MAX; // the page may be a new one
        let info = self.opened.backend.info();
        let words = &self.dataset.words;
        let steps = self.recipe.steps;
        let about = About {
            backend: info.backend.to_owned(),
            device: self.device.name(),
            why: self.device.why.clone(),
            schedule: info.schedule.map(str::to_owned),
            words: words.train + words.val + words.test,
            vocab: self.dataset.vocab.chars().map(String::from).collect(),
            step: self.training.state().now.steps,
            steps,
            fields: fields(&self.recipe),
            lines: self.lines.clone(),
            curve: self.curve().unwrap_or(Curve {
                bucket: 1,
                points: Vec::new(),
            }),
        };
        Ok(about.into_ts()?)
    }

    /// Does some steps, at most `most`; 0 for as many as take a tenth of a second.
    ///
    /// # Errors
    ///
    /// The device failed, or the training diverged: then it stands where it was before these steps.
    pub async fn advance(&mut self, most: usize) -> Result<Ts<Progress>, JsError> {
        let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MAX);
        self.training.hand_out_at_most(most);
        let total = self.recipe.steps;
        let Some(steps) = self.training.next_steps() else {
            return Err(JsError::new("all steps are done"));
        };
        let begun = Instant::now();
        let mut losses = Vec::with_capacity(steps.len());
        let trained = self.opened.backend.train(&steps, &mut losses).await;
        trained.map_err(failure)?;
        let took = begun.elapsed();
        self.record.seconds += took.as_secs_f64();
        let diverged = |error: Box<gpu_makemore::training::Diverged>| {
            failure(format!("{error}; try a smaller learning rate"))
        };
        self.training
            .accept_losses(&losses, took)
            .map_err(diverged)?;
        let params = self.opened.backend.params().await.map_err(failure)?;
        let events = self.training.accept_params(params).map_err(diverged)?;
        let notes = self.opened.notes.try_iter();
        let mut lines: Vec<String> = notes.map(|note| format!("note        {note}")).collect();
        let (mut validation, mut finished) = (None, false);
        for event in events {
            match event {
                Event::Row(row) => lines.push(lecture_line(row.step, total, row.loss)),
                Event::CheckpointDue => {
                    let measured = self.measure().await.map_err(failure)?;
                    let step = self.training.state().now.steps;
                    if let Some(val_loss) = measured.and_then(|measured| measured.val_loss) {
                        // After the last step, the loss with the statistics over all examples follows.
                        if step < total {
                            lines.push(Validation { step, val_loss }.line(total));
                        }
                        validation = Some(ValidationPoint { step, val_loss });
                    }
                }
                Event::Finished => finished = true,
                Event::EvaluationDue | Event::Ratios(_) => {}
            }
        }
        let result = Progress {
            step: self.training.state().now.steps,
            loss: losses.last().copied().unwrap_or(f32::NAN),
            count: losses.len(),
            seconds: took.as_secs_f64(),
            lines,
            validation,
            curve: self.curve(),
            finished,
        };
        Ok(result.into_ts()?)
    }

    /// The losses of the trained model over the three parts, and the names that it invents.
    ///
    /// # Errors
    ///
    /// The device failed, or the model is worse than before its first step.
    pub async fn finish(&mut self) -> Result<Ts<Finished>, JsError> {
        let params = self.training.state().now.params.clone();
        let (backend, train) = (&mut self.opened.backend, &self.dataset.train);
        let stats = evaluation::calibrate(backend, &params, train)
            .await
            .map_err(failure)?;
        let losses = evaluation::losses(backend, &stats, &self.dataset);
        let [train_loss, val, test] = losses.await.map_err(failure)?;
        let (seed, steps) = (self.recipe.seed, self.recipe.steps);
        let worse = evaluation::worse_than_untrained(backend, seed, steps, train, train_loss);
        if let Some(untrained) = worse.await.map_err(failure)? {
            return Err(failure(format!(
                "training diverged: after {steps} steps the loss over the training set is \
                 {train_loss:.4}, and that of the untrained model was {untrained:.4}; try a smaller \
                 learning rate than {}",
                self.recipe.lr.max(self.recipe.lr_final)
            )));
        }
        let mut sampler = Sampler::of_run(self.dims, params, stats, seed);
        let names = self.invent(&mut sampler, sample::NAMES);
        let mut lines = vec![format!("train {train_loss:.4}"), format!("val   {val:.4}")];
        lines.extend(names.iter().map(|name| name.text.clone()));
        let result = Finished {
            train: train_loss,
            val,
            test,
            lines,
            names,
        };
        Ok(result.into_ts()?)
    }

    /// Names that the model as it stands invents.
    ///
    /// # Errors
    ///
    /// The statistics cannot be computed.
    pub async fn names(&mut self, count: usize) -> Result<Ts<Names>, JsError> {
        let stats = self.statistics().await.map_err(failure)?;
        let now = &self.training.state().now;
        let seed = self.recipe.seed.wrapping_add(now.steps); // others at every step
        let mut sampler = Sampler::of_run(self.dims, now.params.clone(), stats, seed);
        Ok(Names(self.invent(&mut sampler, count)).into_ts()?)
    }

    /// How likely each character is behind a prefix.
    ///
    /// # Errors
    ///
    /// The vocabulary lacks a character of the prefix.
    pub async fn next(&mut self, prefix: String) -> Result<Ts<Next>, JsError> {
        let prefix = data::normalized(&prefix);
        let vocab = &self.dataset.vocab;
        let mut context = vec![Vocabulary::END_TOKEN; self.dims.block];
        for c in prefix.chars() {
            let token = vocab
                .encode(c)
                .ok_or_else(|| failure(format!("{c:?} is not among the characters of the data")))?;
            context.push(token);
        }
        let stats = self.statistics().await.map_err(failure)?;
        let params = self.training.state().now.params.clone();
        let mut sampler = Sampler::new(self.dims, params, stats, 0);
        let context = &context[context.len() - self.dims.block..];
        let result = Next {
            probabilities: sampler.next(context),
        };
        Ok(result.into_ts()?)
    }

    /// The embeddings in the plane, `(vocab, 2)`.
    pub fn embeddings(&self) -> Vec<f32> {
        let params = &self.training.state().now.params;
        let points = Plane::of(&params.c, self.dims.embd).points;
        points
            .into_iter()
            .flat_map(|(x, y)| [x as f32, y as f32])
            .collect()
    }

    /// What tanh gives for the next minibatch, `h (batch, hidden)`.
    ///
    /// # Errors
    ///
    /// None is known.
    pub async fn saturation(&self) -> Result<Vec<f32>, JsError> {
        let pass = Checked::Cpu.pass(&self.inputs()).await.map_err(failure)?;
        Ok(pass.values[LectureTensor::H].clone())
    }

    /// The next step, tensor by tensor, on this device and by the reference.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn inspect(&self) -> Result<Ts<Inspection>, JsError> {
        let mut engine = Checked::new(&self.device.choice);
        let mut code = Code::Cpu;
        if let Some(name) = &self.opened.backend.info().tuning {
            let tuning: Tuning = name.parse().map_err(failure)?;
            engine = engine.with_layouts(Layouts::of(tuning));
            code = Code::of(&tuning);
        }
        let step = self.training.state().now.steps;
        let inputs = self.inputs();
        let found = inspect(&engine, code, &inputs, &self.dataset.vocab, step);
        Ok(found.await.map_err(failure)?.into_ts()?)
    }

    /// The extra kernels (the one-hot linear layer, `repeat_kv`) on this device.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub async fn extras(&self) -> Result<Ts<Extras>, JsError> {
        let engine = Checked::new(&self.device.choice);
        let rows = extras::run(&engine, self.recipe.seed)
            .await
            .map_err(failure)?;
        let rows = rows.into_iter().map(|row| Extra {
            name: row.name.to_owned(),
            maxdiff: row.comparison.maxdiff,
            pass: row.comparison.pass,
        });
        Ok(Extras(rows.collect()).into_ts()?)
    }

    /// A mistake on purpose, by its name in [`mistakes`](crate::trial::mistakes): what it does to the next
    /// step, and to a training of `steps` steps from the beginning.
    ///
    /// # Errors
    ///
    /// There is no such mistake, or no GPU to make it on.
    pub async fn break_it(&self, name: String, steps: u32) -> Result<Trial, JsError> {
        self.with(called(&name)?, steps).await
    }

    /// A planted mistake by its number, from 1 to [`hunts`](crate::hunt::hunts): as [`Session::break_it`].
    ///
    /// # Errors
    ///
    /// There is no mistake of this number, or no GPU to make it on.
    pub async fn hunt(&self, number: usize, steps: u32) -> Result<Trial, JsError> {
        self.with(planted(number)?, steps).await
    }

    /// Other text in a file of the kernels: what it does to the next step, and to a training of `steps` steps
    /// from the beginning.
    ///
    /// # Errors
    ///
    /// There is no such file, no GPU, or the kernels are refused: [`Session::compile`] says where.
    pub async fn edit(&self, file: String, text: String, steps: u32) -> Result<Trial, JsError> {
        let (next, recipe) = self.trial(steps);
        let edit = (&*file, &*text);
        Trial::of_edit(edit, &self.device.choice, next, (&recipe, &self.dataset)).await
    }

    /// What the compiler says of other text in a file of the kernels.
    ///
    /// # Errors
    ///
    /// There is no such file, or no GPU.
    pub async fn compile(&self, file: String, text: String) -> Result<Ts<SourceErrors>, JsError> {
        let errors = errors(&self.device.choice, &file, &text).await?;
        Ok(errors.into_ts()?)
    }

    /// The run as it stands, as the bytes of the program's `last.safetensors`.
    ///
    /// # Errors
    ///
    /// The model cannot be saved.
    pub async fn save(&mut self) -> Result<Vec<u8>, JsError> {
        let measured = self.measure().await.map_err(failure)?;
        let Measured {
            mut checkpoint,
            val_loss,
        } = measured.ok_or_else(|| {
            JsError::new("the model has numbers that are not finite, and cannot be saved")
        })?;
        let standing = Record {
            val_loss,
            ..self.record.clone()
        };
        checkpoint.training = Some(packed::record(standing, self.training.state()));
        checkpoint.to_bytes().map_err(failure)
    }

    /// The model as it stands, as the bytes of the program's `model.safetensors`.
    ///
    /// # Errors
    ///
    /// The model cannot be saved.
    pub async fn model(&mut self) -> Result<Vec<u8>, JsError> {
        let now = &self.training.state().now;
        let mut config = self.config.clone();
        config.recipe.steps = now.steps;
        let (params, train) = (now.params.clone(), &self.dataset.train);
        let packed = packed::finish(&mut self.evaluator, config, params, train, train.len());
        let checkpoint = packed.await.map_err(failure)?;
        checkpoint.to_bytes().map_err(failure)
    }
}
