//! `gpu-makemore gradcheck`: the lecture's `cmp` for every tensor, on any device, by the code that trains.

pub mod against;
pub mod engine;
pub mod exercise;
pub mod explain;
pub mod extras;
pub mod report;
pub mod step;

use std::path::Path;

use crate::backend::BackendError;
use crate::chunks::Chunk;
use crate::cli::{Exercise, GradcheckArgs};
use crate::compare::{Comparison, Tolerance, compare};
use crate::data;
use crate::device::Device;
use crate::dims::Dims;
use crate::error::{Error, one_line};
use crate::gpu::GpuError;
use crate::params::Params;
use crate::report::Output;
use crate::rng::TorchGenerator;
use against::Given;
use engine::{Engine, Pass};
use explain::Topic;
use step::{Checked, Code, Contexts, Step};

/// A minibatch and a model: what a pass is computed from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Sizes.
    pub dims: Dims,
    /// The seven parameters.
    pub params: Params<f32>,
    /// Contexts, `(batch, block)`.
    pub x: Vec<u8>,
    /// Targets, `(batch)`.
    pub y: Vec<u8>,
}

impl Inputs {
    /// The notebook's: initial values of a seed, and its first minibatch of the names.
    ///
    /// # Errors
    ///
    /// A size is out of range.
    pub fn of_names(sizes: Dims, seed: u64) -> Result<Self, Error> {
        let names = data::load(&data::Options {
            block: sizes.block,
            ..data::Options::default()
        })?;
        let dims = Dims {
            vocab: names.vocab.len(),
            ..sizes
        }
        .validate()?;
        let mut generator = TorchGenerator::manual_seed(seed);
        let params = Params::init(&dims, &mut generator);
        let mut ix = vec![0; dims.batch];
        generator.randint_into(names.train.len() as u32, &mut ix);
        Ok(Self {
            dims,
            params,
            x: ix
                .iter()
                .flat_map(|&i| names.train.context(i as usize).to_vec())
                .collect(),
            y: ix.iter().map(|&i| names.train.y()[i as usize]).collect(),
        })
    }
}

/// One line of the table: a tensor and how it compares.
#[derive(Clone, Debug)]
pub struct Row {
    /// The tensor.
    pub chunk: Chunk,
    /// What the table calls it: `probs`, or `d.probs` where values and gradients are side by side.
    pub label: String,
    /// What computed it.
    pub by: Code,
    /// Its shape. A training step has a row for each distinct context, where the notebook has one for
    /// each example.
    pub shape: Vec<usize>,
    /// Whether it is zero for every minibatch, but for rounding.
    pub zero: bool,
    /// Against the reference.
    pub comparison: Comparison,
}

/// What was checked, and what could not be.
#[derive(Debug)]
pub struct Check {
    /// The 26 gradients by the first code, those that it never stores by the chunked pass; then what
    /// each further code stores. All in the order of the backward pass.
    pub rows: Vec<Row>,
    /// The codes that cannot run at these sizes or on this adapter, and why.
    pub left_out: Vec<(Code, Error)>,
}

/// Compares the gradient of each of the 26 tensors with the `f64` reference: those of each training step
/// in `codes`, and of the lecture's chunked pass for what no step stores.
///
/// # Errors
///
/// The device failed, or can run none of the codes.
pub fn check(engine: &Engine, inputs: &Inputs, codes: &[Code]) -> Result<Check, Error> {
    let mut left_out = Vec::new();
    let mut steps = Vec::new();
    for &code in codes {
        match engine.step(code, inputs) {
            Ok(step) => steps.push(step),
            // Another code may do: this one needs more than the adapter has, or a better driver.
            Err(error) if is_unfit(&error) => left_out.push((code, error)),
            Err(error) => return Err(error),
        }
    }
    let Some((first, others)) = steps.split_first() else {
        let error = left_out.into_iter().next().map(|(_, error)| error);
        return Err(error.unwrap_or_else(|| Error::Usage("no training step to check".to_owned())));
    };
    let reference = engine::reference(inputs);
    let pass = engine.pass(inputs)?;
    let contexts = Contexts::of(inputs);
    let row = |chunk: Chunk, step: &Step| step_row(chunk, step, inputs, &contexts, &reference);
    let mut rows = Vec::new();
    for chunk in Chunk::ALL {
        rows.push(if first.grads[chunk].is_empty() {
            chunked_row(chunk, inputs, &pass, &reference)?
        } else {
            row(chunk, first)?
        });
    }
    for step in others {
        let stored = Chunk::ALL
            .into_iter()
            .filter(|&chunk| !step.grads[chunk].is_empty());
        for chunk in stored {
            rows.push(row(chunk, step)?);
        }
    }
    Ok(Check { rows, left_out })
}

/// Whether an error only tells that a code cannot run here.
fn is_unfit(error: &Error) -> bool {
    use GpuError::{Driver, Limit, Loops};
    matches!(
        error,
        Error::Gpu(Limit { .. } | Loops { .. } | Driver { .. })
            | Error::Backend(BackendError::Gpu(
                Limit { .. } | Loops { .. } | Driver { .. }
            ))
    )
}

/// The same for the chunked pass alone.
///
/// # Errors
///
/// The device failed.
pub fn check_chunked(engine: &Engine, inputs: &Inputs) -> Result<Vec<Row>, Error> {
    let reference = engine::reference(inputs);
    let pass = engine.pass(inputs)?;
    Chunk::ALL
        .into_iter()
        .map(|chunk| chunked_row(chunk, inputs, &pass, &reference))
        .collect()
}

fn chunked_row(
    chunk: Chunk,
    inputs: &Inputs,
    pass: &Pass<f32>,
    reference: &Pass<f64>,
) -> Result<Row, Error> {
    let (got, want) = (&pass.grads[chunk], &reference.grads[chunk]);
    let tolerance = reference.tolerance(chunk);
    let shape = chunk.shape(&inputs.dims);
    row(chunk, Code::Chunked, shape, got, want, tolerance)
}

/// A gradient of a training step, in which examples with equal contexts share a row.
fn step_row(
    chunk: Chunk,
    step: &Step,
    inputs: &Inputs,
    contexts: &Contexts,
    reference: &Pass<f64>,
) -> Result<Row, Error> {
    let mut shape = chunk.shape(&inputs.dims);
    let (got, want) = (&step.grads[chunk], &reference.grads[chunk]);
    let mut tolerance = reference.tolerance(chunk);
    if chunk.is_parameter() {
        return row(chunk, step.code, shape, got, want, tolerance);
    }
    shape[0] = contexts.count;
    // What is allowed for the terms of one example adds up with the examples of a row.
    tolerance.absolute *= contexts.most as f64;
    row(
        chunk,
        step.code,
        shape,
        got,
        &contexts.summed(want),
        tolerance,
    )
}

fn row(
    chunk: Chunk,
    by: Code,
    shape: Vec<usize>,
    got: &[f32],
    want: &[f64],
    tolerance: Tolerance,
) -> Result<Row, Error> {
    let got: Vec<f64> = got.iter().map(|&v| f64::from(v)).collect();
    let comparison =
        compare(&got, want, tolerance).map_err(|e| Error::Compare(chunk.name().to_owned(), e))?;
    Ok(Row {
        chunk,
        label: chunk.name().to_owned(),
        by,
        shape,
        zero: chunk.is_zero(),
        comparison,
    })
}

/// Runs the command.
///
/// # Errors
///
/// A tensor differs, or the check could not be made.
pub fn run(args: &GradcheckArgs) -> Result<(), Error> {
    let mut out = Output::new();
    if let Some(topic) = &args.explain {
        return run_explain(topic.as_ref(), args.exercise, &mut out);
    }
    if let Some(path) = &args.against {
        return run_against(path, args, &mut out);
    }
    let sizes = Dims {
        vocab: Dims::LECTURE.vocab,
        block: args.block_size as usize,
        embd: args.n_embd as usize,
        hidden: args.n_hidden as usize,
        batch: args.batch_size as usize,
    };
    let inputs = Inputs::of_names(sizes, args.seed)?;
    let device = Device::choose(&args.device)?;
    let engine = Engine::new(&device);
    if let Some(exercise) = args.exercise {
        return run_exercise(exercise, args, &device, &engine, &inputs, &mut out);
    }
    if matches!(args.schedule, Checked::Staged | Checked::Resident) {
        device.needs_gpu("--schedule")?;
    }
    let codes = engine.codes(&inputs, args.schedule)?;
    let Check { rows, left_out } = check(&engine, &inputs, &codes)?;
    if args.json {
        out.line(&report::json(&engine, &inputs.dims, &rows, None)?)?;
    } else {
        head(&device, &inputs.dims, &mut out)?;
        for line in report::codes(&rows, Contexts::of(&inputs).count, inputs.dims.batch) {
            out.line(&line)?;
        }
        for (code, why) in left_out {
            out.line(&format!(
                "left out  {}: {}",
                code.name(),
                one_line(&why.to_string())
            ))?;
        }
        out.line("")?;
        for line in report::table(&rows, args.verbose) {
            out.line(&line)?;
        }
    }
    verdict(&rows)
}

/// What is checked, before the table.
fn head(device: &Device, dims: &Dims, out: &mut Output) -> Result<(), Error> {
    out.line(&format!("device    {}", device.name()))?;
    out.line(&format!("why       {}", device.why()))?;
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
            return Err(Error::Usage(
                "exercise 1 is explained tensor by tensor: gradcheck --explain lists their names"
                    .to_owned(),
            ));
        }
        (None, Some(Exercise::Four | Exercise::Extras)) => {
            return Err(Error::Usage(
                "--explain --exercise takes 2 or 3: the others derive no formula of their own"
                    .to_owned(),
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Error::Usage(
                "--explain takes a tensor or --exercise 2|3, not both".to_owned(),
            ));
        }
    };
    for line in lines {
        out.line(&line)?;
    }
    Ok(())
}

fn run_exercise(
    exercise: Exercise,
    args: &GradcheckArgs,
    device: &Device,
    engine: &Engine,
    inputs: &Inputs,
    out: &mut Output,
) -> Result<(), Error> {
    head(device, &inputs.dims, out)?;
    out.line("")?;
    match exercise {
        Exercise::One => exercise::one(engine, inputs, args.verbose, out),
        Exercise::Two => exercise::two(engine, inputs, &args.out, args.verbose, out),
        Exercise::Three => exercise::three(engine, inputs, args.verbose, out),
        Exercise::Four => exercise::four(engine, inputs, args.seed, out),
        Exercise::Extras => exercise::extras(engine, args.seed, args.verbose, out),
    }
}

fn run_against(path: &Path, args: &GradcheckArgs, out: &mut Output) -> Result<(), Error> {
    let given = Given::load(path)?;
    let device = Device::choose(&args.device)?;
    let engine = Engine::new(&device);
    let rows = against::check(&engine, &given)?;
    let dims = &given.inputs.dims;
    if args.json {
        out.line(&report::json(&engine, dims, &rows, Some(&given.notes))?)?;
    } else {
        out.line(&format!(
            "file      {}",
            one_line(&path.display().to_string())
        ))?;
        head(&device, dims, out)?;
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
                first.label.trim_start_matches("d.")
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
        Some(first) => Err(Error::Gradcheck {
            wrong,
            of,
            first: first.to_owned(),
        }),
    }
}
