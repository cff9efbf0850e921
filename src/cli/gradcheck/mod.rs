//! `gpu-makemore gradcheck`: what is checked, the table, and the lecture's exercises.

pub mod exercise;
pub mod file;
mod layouts;
pub mod report;

use std::path::Path;

use crate::cli::args::{Exercise, GradcheckArgs};
use crate::cli::data;
use crate::cli::device::Device;
use crate::cli::error::{Error, Failure, Usage};
use crate::cli::model_file::Model;
use crate::cli::report::Output;
use crate::cli::shaders::Shaders;
use crate::cli::trained::{self, NoWords};
use crate::data::Reading;
use crate::gpu::adapter::Choice;
use crate::gradcheck::against;
use crate::gradcheck::engine::Engine;
use crate::gradcheck::explain::{self, Topic};
use crate::gradcheck::step::{Checked, Contexts};
use crate::gradcheck::{Check, Inputs, Row, check};
use crate::model::dims::Dims;
use crate::text::one_line;
use layouts::Asked;

/// Gradients differ from the reference.
#[derive(Debug, thiserror::Error)]
#[error("gradcheck: {wrong} of {of} tensors differ from the reference; the first is {first}")]
pub struct Disagreement {
    /// How many differ.
    pub wrong: usize,
    /// Of how many.
    pub of: usize,
    /// The first of them, in the order of the backward pass.
    pub first: String,
}

impl Failure for Disagreement {}

/// Runs the command.
///
/// # Errors
///
/// A tensor differs, or the check could not be made.
pub async fn run(args: &GradcheckArgs) -> Result<(), Error> {
    let mut out = Output::new();
    if args.init_from.is_none() && Reading::from(args.reading.clone()) != Reading::default() {
        let message = "options that say how words are read, such as --column, need --init-from";
        return Err(Usage(message.to_owned()).into());
    }
    if let Some(topic) = &args.explain {
        return run_explain(topic.as_ref(), args.exercise, &mut out);
    }
    if let Some(path) = &args.against {
        return run_against(path, args, &mut out).await;
    }
    let sizes = Dims {
        vocab: Dims::LECTURE.vocab,
        block: args.block_size as usize,
        embd: args.n_embd as usize,
        hidden: args.n_hidden as usize,
        batch: args.batch_size as usize,
    };
    let inputs = match &args.init_from {
        Some(path) => of_model(path, args)?,
        None => Inputs::of_names(sizes, args.seed)?,
    };
    let device = Device::choose(&args.device).await?;
    let shaders = kernels(&device, args).await?;
    let asked = Asked::new(args, &device, shaders.kernels(), &inputs.dims)?;
    let engine = Engine::with_kernels(device.choice(), shaders.kernels().clone())
        .with_layouts(asked.layouts.clone());
    let checked = run_on(&device, &engine, &shaders, &asked, &inputs, args, &mut out).await;
    checked.map_err(|error| shaders.explain(error))
}

/// The kernels to check, which the compiler has read.
async fn kernels(device: &Device, args: &GradcheckArgs) -> Result<Shaders, Error> {
    let shaders = device.shaders(args.shaders.as_deref())?;
    if let (Choice::Gpu { found, .. }, true) = (device.choice(), shaders.kernels().are_changed()) {
        let exercise = args.exercise;
        let left_out = |file: &str| match file.split_once('/') {
            Some(("extras", _)) => exercise != Some(Exercise::Extras),
            Some(("resident", _)) => {
                args.schedule == Checked::Staged || exercise.is_some() || args.against.is_some()
            }
            _ => exercise == Some(Exercise::Extras),
        };
        let checked = shaders.kernels().check(found, left_out).await;
        checked.map_err(|error| shaders.explain(error.into()))?;
    }
    Ok(shaders)
}

/// Checks the step of some inputs on a device.
async fn run_on(
    device: &Device,
    engine: &Engine,
    shaders: &Shaders,
    asked: &Asked,
    inputs: &Inputs,
    args: &GradcheckArgs,
    out: &mut Output,
) -> Result<(), Error> {
    if let Some(exercise) = args.exercise {
        return run_exercise(exercise, args, device, engine, shaders, inputs, out).await;
    }
    if matches!(args.schedule, Checked::Staged | Checked::Resident) {
        device.needs_gpu("--schedule")?;
    }
    let codes = engine.codes(inputs, args.schedule).await?;
    let Check { rows, left_out, .. } = check(engine, inputs, &codes).await?;
    if args.json {
        out.line(&report::json(engine, &inputs.dims, &rows, None)?)?;
    } else {
        head(device, shaders, &inputs.dims, out)?;
        for line in asked.lines(engine, &codes, &inputs.dims) {
            out.line(&line)?;
        }
        for line in report::codes(&rows, Contexts::of(inputs).count, inputs.dims.batch) {
            out.line(&line)?;
        }
        for (code, why) in left_out {
            out.line(&format!(
                "left out  {}: {}",
                code.name(),
                one_line(&Error::from(why).to_string())
            ))?;
        }
        out.line("")?;
        for line in report::table(&rows, args.verbose) {
            out.line(&line)?;
        }
    }
    verdict(&rows)
}

/// A model with the first minibatch of its own words, or of others.
fn of_model(path: &Path, args: &GradcheckArgs) -> Result<Inputs, Error> {
    let given = args.data.as_ref();
    let reading = Reading::from(args.reading.clone());
    let (params, dims, dataset) = match trained::model(path)? {
        Model::Ours(ours) => {
            let dims = ours.config.dims();
            let options = trained::data_options(&ours.config.recipe, given, &reading);
            let vocabulary = trained::vocabulary(&ours.config)?;
            let dataset = data::load_with_vocabulary(&options, &vocabulary)?;
            (ours.params, dims, dataset)
        }
        Model::Plain(plain) => {
            let options = data::Options {
                source: given.cloned().ok_or_else(|| NoWords(path.to_path_buf()))?,
                reading,
                block: plain.dims.block,
            };
            let dataset = trained::words(path, plain.dims.vocab, &options)?;
            (plain.params, plain.dims, dataset)
        }
    };
    let dims = dims.with_batch(args.batch_size as usize);
    Ok(Inputs::of_model(&dataset, dims, params, args.seed)?)
}

/// What is checked, before the table.
fn head(device: &Device, shaders: &Shaders, dims: &Dims, out: &mut Output) -> Result<(), Error> {
    out.line(&format!("device    {}", device.name()))?;
    out.line(&format!("why       {}", device.why()))?;
    if let Some(line) = shaders.line() {
        out.line(&format!("shaders   {line}"))?;
    }
    out.line(&format!("sizes     {dims}"))?;
    Ok(())
}

fn run_explain(
    topic: Option<&Topic>,
    exercise: Option<Exercise>,
    out: &mut Output,
) -> Result<(), Error> {
    // There is a block for each of the two: a test sees to it.
    let fused = |name| explain::find(name).map_or_else(Vec::new, |block| block.lines());
    let lines = match (topic, exercise) {
        (Some(topic), None) => topic.explanation().lines(),
        (None, None) => explain::contents(),
        (None, Some(Exercise::Two)) => fused(explain::SOFTMAX),
        (None, Some(Exercise::Three)) => fused(explain::BATCHNORM),
        (None, Some(Exercise::One)) => {
            return Err(Usage(
                "exercise 1 is explained tensor by tensor: gradcheck --explain lists their names"
                    .to_owned(),
            )
            .into());
        }
        (None, Some(Exercise::Four | Exercise::Extras)) => {
            return Err(Usage(
                "--explain --exercise takes 2 or 3: the others derive no formula of their own"
                    .to_owned(),
            )
            .into());
        }
        (Some(_), Some(_)) => {
            return Err(
                Usage("--explain takes a tensor or --exercise 2|3, not both".to_owned()).into(),
            );
        }
    };
    for line in lines {
        out.line(&line)?;
    }
    Ok(())
}

async fn run_exercise(
    exercise: Exercise,
    args: &GradcheckArgs,
    device: &Device,
    engine: &Engine,
    shaders: &Shaders,
    inputs: &Inputs,
    out: &mut Output,
) -> Result<(), Error> {
    head(device, shaders, &inputs.dims, out)?;
    out.line("")?;
    match exercise {
        Exercise::One => exercise::one(engine, inputs, args.verbose, out).await,
        Exercise::Two => exercise::two(engine, inputs, &args.out, args.verbose, out).await,
        Exercise::Three => exercise::three(engine, inputs, args.verbose, out).await,
        Exercise::Four => exercise::four(engine, inputs, args.seed, out).await,
        Exercise::Extras => exercise::extras(engine, args.seed, args.verbose, out).await,
    }
}

async fn run_against(path: &Path, args: &GradcheckArgs, out: &mut Output) -> Result<(), Error> {
    let given = file::load(path)?;
    let device = Device::choose(&args.device).await?;
    let shaders = kernels(&device, args).await?;
    let engine = Engine::with_kernels(device.choice(), shaders.kernels().clone());
    let rows = against::check(&engine, &given).await;
    let rows = rows.map_err(|error| shaders.explain(error.into()))?;
    let dims = &given.inputs.dims;
    if args.json {
        out.line(&report::json(&engine, dims, &rows, Some(&given.notes))?)?;
    } else {
        out.line(&format!(
            "file      {}",
            one_line(&path.display().to_string())
        ))?;
        head(&device, &shaders, dims, out)?;
        out.line("")?;
        for line in report::table(&rows, args.verbose) {
            out.line(&line)?;
        }
        for line in given.notes.lines() {
            out.line(&one_line(&line))?;
        }
        if let Some(first) = rows.iter().find(|row| !row.comparison.pass) {
            out.line(&format!(
                "how the first of them is derived: gpu-makemore gradcheck --explain {}",
                first.chunk.name()
            ))?;
        }
    }
    verdict(&rows)
}

/// The error that names the first wrong tensor, if there is one.
///
/// # Errors
///
/// A tensor differs.
pub fn verdict(rows: &[Row]) -> Result<(), Error> {
    disagreement(
        rows.iter()
            .map(|row| (row.label.as_str(), row.comparison.pass)),
    )
}

/// The error for the tensors that did not pass, by name, if there are any.
fn disagreement<'a>(checked: impl Iterator<Item = (&'a str, bool)>) -> Result<(), Error> {
    let (mut wrong, mut of, mut first) = (0, 0, None);
    for (name, pass) in checked {
        of += 1;
        if !pass {
            wrong += 1;
            first.get_or_insert(name);
        }
    }
    match first {
        None => Ok(()),
        Some(first) => Err(Disagreement {
            wrong,
            of,
            first: first.to_owned(),
        }
        .into()),
    }
}
