//! One step under the lens: the lecture's tensors on this device, held against the reference.

use gpu_makemore::data::Vocabulary;
use gpu_makemore::gradcheck::engine::{Engine, reference};
use gpu_makemore::gradcheck::step::Code;
use gpu_makemore::gradcheck::{Check, GradcheckError, Inputs, check, check_chunked, explain};
use gpu_makemore::model::tensors::LectureTensor;
use gpu_makemore::sample;

use crate::messages::{Example, Floats, Inspection, Row, TensorView};

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
        Code::Chunked => Check {
            rows: check_chunked(engine, inputs).await?,
            left_out: Vec::new(),
            pass: engine.pass(inputs).await?,
            reference: reference(inputs),
        },
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
        let explanation = explain::find(tensor.name());
        let lines = |of: fn(&explain::Explanation) -> &Vec<String>| {
            explanation
                .as_ref()
                .map(|e| of(e).clone())
                .unwrap_or_default()
        };
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
            forward: lines(|e| &e.forward),
            why: lines(|e| &e.text),
            backward: lines(|e| &e.backward),
            file: explanation.as_ref().map_or("", |e| e.file).to_owned(),
            wgsl: explain::wgsl(tensor.name()),
            twin: explain::twin(tensor.name()),
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
