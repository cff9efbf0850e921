//! One step under the lens: the lecture's tensors on this device, held against the reference.

use gpu_makemore::data::Vocabulary;
use gpu_makemore::gradcheck::engine::Engine;
use gpu_makemore::gradcheck::step::Code;
use gpu_makemore::gradcheck::{GradcheckError, Inputs, check, check_chunked, explain};
use gpu_makemore::model::tensors::LectureTensor;
use gpu_makemore::sample;

use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::floats::Floats;
use crate::messages::{Derivation, Derivations, Example, Inspection, Row, TensorView};

/// How each of the 26 gradients is derived, with the sources, in the order of the backward pass.
///
/// # Errors
///
/// They cannot be handed over.
#[wasm_bindgen]
pub fn derivations() -> Result<Ts<Derivations>, JsError> {
    let derivation = |tensor: LectureTensor| {
        let (name, axes) = (tensor.name(), explain::axes(tensor));
        let explanation = explain::find(name)?;
        Some(Derivation {
            name: name.to_owned(),
            per_example: axes.starts_with("(batch"),
            of_characters: axes.ends_with("vocab)"),
            axes,
            forward: explanation.forward,
            why: explanation.text,
            backward: explanation.backward,
            file: explanation.file.to_owned(),
            wgsl: explain::wgsl(name),
            twin: explain::twin(name),
        })
    };
    let all = LectureTensor::ALL.into_iter().filter_map(derivation);
    Ok(Derivations(all.collect()).into_ts()?)
}

/// Computes a step on `engine` by a code that trains and, for what that never stores, line by line (with
/// [`Code::Chunked`] all of it); and holds it against the f64 reference.
///
/// # Errors
///
/// The device failed.
pub async fn inspect(
    engine: &Engine,
    code: Code,
    inputs: &Inputs,
    vocab: &Vocabulary,
    step: u64,
) -> Result<Inspection, GradcheckError> {
    let check = match code {
        Code::Chunked => check_chunked(engine, inputs).await?,
        code => check(engine, inputs, &[code]).await?,
    };
    let floats = |values: &[f64]| Floats(values.iter().map(|&v| v as f32).collect());
    let logprobs = &check.reference.values[LectureTensor::Logprobs];
    let of_targets = inputs
        .y
        .iter()
        .zip(logprobs.chunks_exact(inputs.dims.vocab));
    let sum: f64 = of_targets.map(|(&y, row)| row[usize::from(y)]).sum();
    let text = |tokens: &[_]| sample::text(vocab, tokens);
    let contexts = inputs.x.chunks_exact(inputs.dims.block);
    let mut by: Vec<String> = Vec::new();
    let tensors = check.rows.iter().map(|row| {
        let tensor = row.chunk;
        let name = row.by.name();
        let line = format!("{name}: {}", row.by.about());
        if !by.contains(&line) {
            by.push(line);
        }
        TensorView {
            name: tensor.name().to_owned(),
            shape: tensor.shape(&inputs.dims),
            values: Floats(check.pass.values[tensor].clone()),
            grads: Floats(check.pass.grads[tensor].clone()),
            reference: floats(&check.reference.grads[tensor]),
            row: Row {
                exact: row.comparison.exact,
                approximate: row.comparison.approximate,
                maxdiff: row.comparison.maxdiff,
                allowed: row.comparison.worst.allowed,
                worst: row.comparison.worst.index,
                got: row.comparison.worst.got,
                want: row.comparison.worst.want,
                pass: row.comparison.pass,
                by: name.to_owned(),
                zero: row.zero,
            },
        }
    });
    let tensors: Vec<TensorView> = tensors.collect();
    Ok(Inspection {
        step,
        loss: -sum / inputs.dims.batch as f64,
        examples: contexts
            .zip(&inputs.y)
            .map(|(x, &y)| Example {
                context: text(x),
                target: text(&[y]),
            })
            .collect(),
        wrong: tensors.iter().filter(|tensor| !tensor.row.pass).count(),
        tensors,
        by,
    })
}
