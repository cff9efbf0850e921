//! `gpu-makemore gradcheck`: the lecture's `cmp` for every tensor, on any device.

pub mod against;
pub mod engine;
pub mod exercise;
pub mod explain;
pub mod extras;
pub mod report;

use std::path::Path;

use crate::chunks::Chunk;
use crate::cli::{Exercise, GradcheckArgs};
use crate::compare::{Comparison, compare};
use crate::data;
use crate::device::Device;
use crate::dims::Dims;
use crate::error::{Error, one_line};
use crate::params::Params;
use crate::report::Output;
use crate::rng::TorchGenerator;
use against::Given;
use engine::{Engine, Gradients};

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
    /// What computed it: the training step's kernels or the chunked ones.
    pub by: &'static str,
    /// Against the reference.
    pub comparison: Comparison,
}

/// Compares the gradient of each of the 26 tensors with the `f64` reference: the training step's
/// where it has one, else the chunked pass's.
///
/// # Errors
///
/// The device failed.
pub fn check(engine: &Engine, inputs: &Inputs) -> Result<Vec<Row>, Error> {
    let reference = engine::reference(inputs);
    let got = engine.gradients(inputs)?;
    Chunk::ALL
        .into_iter()
        .map(|chunk| {
            let (by, values) = got.gradient(chunk);
            row(chunk, by, values, &reference)
        })
        .collect()
}

/// The same for the chunked pass alone.
///
/// # Errors
///
/// The device failed.
pub fn check_chunked(engine: &Engine, inputs: &Inputs) -> Result<Vec<Row>, Error> {
    let reference = engine::reference(inputs);
    let got = engine.gradients(inputs)?;
    Chunk::ALL
        .into_iter()
        .map(|chunk| row(chunk, "chunked", &got.chunked[chunk], &reference))
        .collect()
}

fn row(
    chunk: Chunk,
    by: &'static str,
    got: &[f32],
    reference: &Gradients<f64>,
) -> Result<Row, Error> {
    let got: Vec<f64> = got.iter().map(|&v| f64::from(v)).collect();
    let tolerance = reference.tolerance(chunk);
    let comparison = compare(&got, &reference.chunked[chunk], tolerance)
        .map_err(|e| Error::Compare(chunk.name().to_owned(), e))?;
    Ok(Row {
        chunk,
        label: chunk.name().to_owned(),
        by,
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
    if let Some(explanation) = args.explain.and_then(explain::explain) {
        for line in explanation.lines() {
            out.line(&line)?;
        }
        return Ok(());
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
    let rows = check(&engine, &inputs)?;
    if args.json {
        out.line(&report::json(&engine, &inputs.dims, &rows, None)?)?;
    } else {
        out.line(&format!("device  {}", device.name()))?;
        out.line(&format!("why     {}", device.why()))?;
        out.line(&format!("sizes   {}", inputs.dims))?;
        for line in report::table(&inputs.dims, &rows) {
            out.line(&line)?;
        }
    }
    verdict(&rows)
}

fn run_exercise(
    exercise: Exercise,
    args: &GradcheckArgs,
    device: &Device,
    engine: &Engine,
    inputs: &Inputs,
    out: &mut Output,
) -> Result<(), Error> {
    out.line(&format!("device  {}", device.name()))?;
    out.line(&format!("sizes   {}", inputs.dims))?;
    match exercise {
        Exercise::One => exercise::one(engine, inputs, out),
        Exercise::Two => exercise::two(engine, inputs, &args.out, out),
        Exercise::Three => exercise::three(engine, inputs, out),
        Exercise::Four => exercise::four(engine, inputs, args.seed, out),
        Exercise::Extras => exercise::extras(engine, args.seed, out),
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
            "file    {}",
            one_line(&path.display().to_string())
        ))?;
        out.line(&format!("device  {}", device.name()))?;
        out.line(&format!("why     {}", device.why()))?;
        out.line(&format!("sizes   {dims}"))?;
        for line in report::table(dims, &rows) {
            out.line(&line)?;
        }
        for line in given.notes.lines() {
            out.line(&one_line(&line))?;
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
    let wrong: Vec<&Row> = rows.iter().filter(|r| !r.comparison.pass).collect();
    match wrong.first() {
        None => Ok(()),
        Some(first) => Err(Error::Gradcheck {
            wrong: wrong.len(),
            of: rows.len(),
            first: first.label.clone(),
        }),
    }
}
