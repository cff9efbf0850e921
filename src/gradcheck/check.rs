//! The comparison of every gradient with the reference.

use super::compare::{Comparison, Tolerance, compare};
use super::engine::{self, Engine, Pass};
use super::error::GradcheckError;
use super::inputs::Inputs;
use super::step::{Code, Contexts, Step};
use crate::model::tensors::LectureTensor;

/// One line of the table: a tensor and how it compares.
#[derive(Clone, Debug)]
pub struct Row {
    /// The tensor.
    pub chunk: LectureTensor,
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
    pub left_out: Vec<(Code, GradcheckError)>,
    /// The lecture's chunked pass on the device.
    pub pass: Pass<f32>,
    /// The reference.
    pub reference: Pass<f64>,
}

/// Compares the gradient of each of the 26 tensors with the `f64` reference: those of each training step
/// in `codes`, and of the lecture's chunked pass for what no step stores.
///
/// # Errors
///
/// The device failed, or can run none of the codes.
pub async fn check(
    engine: &Engine,
    inputs: &Inputs,
    codes: &[Code],
) -> Result<Check, GradcheckError> {
    let mut left_out = Vec::new();
    let mut steps = Vec::new();
    for &code in codes {
        match engine.step(code, inputs).await {
            Ok(step) => steps.push(step),
            // Another code may do: this one needs more than the adapter has, or a better driver.
            Err(error) if error.is_unfit() => left_out.push((code, error)),
            Err(error) => return Err(error),
        }
    }
    let Some((first, others)) = steps.split_first() else {
        let error = left_out.into_iter().next().map(|(_, error)| error);
        return Err(error.unwrap_or(GradcheckError::NoStep));
    };
    let reference = engine::reference(inputs);
    let pass = engine.pass(inputs).await?;
    let contexts = Contexts::of(inputs);
    let row =
        |chunk: LectureTensor, step: &Step| step_row(chunk, step, inputs, &contexts, &reference);
    let mut rows = Vec::new();
    for chunk in LectureTensor::ALL {
        rows.push(if first.grads[chunk].is_empty() {
            chunked_row(chunk, inputs, &pass, &reference)?
        } else {
            row(chunk, first)?
        });
    }
    for step in others {
        let stored = LectureTensor::ALL
            .into_iter()
            .filter(|&chunk| !step.grads[chunk].is_empty());
        for chunk in stored {
            rows.push(row(chunk, step)?);
        }
    }
    Ok(Check {
        rows,
        left_out,
        pass,
        reference,
    })
}

/// Compares the gradient of each of the 26 tensors as the lecture's chunked pass computes it with the `f64`
/// reference.
///
/// # Errors
///
/// The device failed.
pub async fn check_chunked(engine: &Engine, inputs: &Inputs) -> Result<Check, GradcheckError> {
    let reference = engine::reference(inputs);
    let pass = engine.pass(inputs).await?;
    let rows = LectureTensor::ALL.map(|chunk| chunked_row(chunk, inputs, &pass, &reference));
    Ok(Check {
        rows: rows.into_iter().collect::<Result<_, _>>()?,
        left_out: Vec::new(),
        pass,
        reference,
    })
}

fn chunked_row(
    chunk: LectureTensor,
    inputs: &Inputs,
    pass: &Pass<f32>,
    reference: &Pass<f64>,
) -> Result<Row, GradcheckError> {
    let (got, want) = (&pass.grads[chunk], &reference.grads[chunk]);
    let tolerance = reference.tolerance(chunk);
    let shape = chunk.shape(&inputs.dims);
    row(chunk, Code::Chunked, shape, got, want, tolerance)
}

/// A gradient of a training step, in which examples with equal contexts share a row.
fn step_row(
    chunk: LectureTensor,
    step: &Step,
    inputs: &Inputs,
    contexts: &Contexts,
    reference: &Pass<f64>,
) -> Result<Row, GradcheckError> {
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
    chunk: LectureTensor,
    by: Code,
    shape: Vec<usize>,
    got: &[f32],
    want: &[f64],
    tolerance: Tolerance,
) -> Result<Row, GradcheckError> {
    let got: Vec<f64> = got.iter().map(|&v| f64::from(v)).collect();
    let comparison = compare(&got, want, tolerance)
        .map_err(|e| GradcheckError::Compare(chunk.name().to_owned(), e))?;
    Ok(Row {
        chunk,
        label: chunk.name().to_owned(),
        by,
        shape,
        zero: chunk.is_zero(),
        comparison,
    })
}
