//! `gpu-makemore gradcheck --exercise N`: the lecture's four exercises, done on a device.

use std::path::Path;

use super::{Disagreement, disagreement, report, verdict};
use crate::backend::Backend;
use crate::cli::error::Error;
use crate::cli::report::heatmap::Axis;
use crate::cli::report::{Output, colour_png, grey_png};
use crate::data;
use crate::gradcheck::compare::{Tolerance, compare, index};
use crate::gradcheck::engine::{self, Engine, Pass};
use crate::gradcheck::step::Code;
use crate::gradcheck::{GradcheckError, Inputs};
use crate::model::params::Tensor;
use crate::model::tensors::{LectureTensor, LectureTensors};
use crate::reference::Model;
use crate::reference::chunked::chunk_of;
use crate::rng::TorchGenerator;
use crate::{model::steps::LearningRate, training::Stream};

/// Steps of exercise 4's short run.
const STEPS: usize = 1000;
/// Elements of each parameter that are held against finite differences.
const PICKS: usize = 6;

/// **Exercise 1**: the chunked backward pass, kernel by kernel, each of the 26 gradients computed
/// on the device from the one before.
///
/// # Errors
///
/// A gradient differs, or the device failed.
pub async fn one(
    engine: &Engine,
    inputs: &Inputs,
    verbose: bool,
    out: &mut Output,
) -> Result<(), Error> {
    out.line("Exercise 1: backward through every line of the notebook, on the device.")?;
    out.line("")?;
    let rows = crate::gradcheck::check_chunked(engine, inputs).await?.rows;
    for line in report::table(&rows, verbose) {
        out.line(&line)?;
    }
    end(1, verdict(&rows), out)
}

/// Prints the verdict of an exercise, and hands it on.
fn end(exercise: u32, verdict: Result<(), Error>, out: &mut Output) -> Result<(), Error> {
    let text = match &verdict {
        Ok(()) => "passed".to_owned(),
        Err(error) => match error.downcast_ref() {
            Some(Disagreement { wrong, of, first }) => {
                format!("FAILED, {wrong} of {of} tensors are wrong, {first} first")
            }
            None => format!("FAILED, {error}"),
        },
    };
    out.line(&format!("exercise {exercise}: {text}"))?;
    verdict
}

/// **Exercise 2**: the fused gradient of softmax and cross-entropy beside the chunked one, the
/// lecture's facts about it, and its picture in `folder`.
///
/// # Errors
///
/// The gradients differ, the device failed, or a picture cannot be written.
pub async fn two(
    engine: &Engine,
    inputs: &Inputs,
    folder: &Path,
    verbose: bool,
    out: &mut Output,
) -> Result<(), Error> {
    out.line("Exercise 2: dlogits in one formula, (softmax(logits) - one_hot(Yb)) / n.")?;
    out.line("")?;
    let pass = engine.pass(inputs).await?;
    let fused = engine.fused(inputs).await?;
    let same = fused_beside_chunked(
        &[LectureTensor::Logits],
        inputs,
        &pass,
        &fused,
        verbose,
        out,
    )?;

    let vocab = inputs.dims.vocab;
    let dlogits = &fused[LectureTensor::Logits];
    let n = inputs.dims.batch as f32;
    out.line("")?;
    out.line("F.softmax(logits, 1)[0]:")?;
    out.line(&numbers(
        pass.values[LectureTensor::Probs][..vocab].iter().copied(),
    ))?;
    out.line("dlogits[0] * n: the same, with 1 taken off at the target:")?;
    out.line(&numbers(dlogits[..vocab].iter().map(|d| d * n)))?;
    // In f64, so that what shows is the rounding of the kernel and not that of this sum.
    let row_sum = |row: &[f32]| row.iter().map(|&d| f64::from(d)).sum::<f64>();
    out.line(&format!(
        "dlogits[0].sum() = {:.4e}: pulled up at the target, pushed down elsewhere",
        row_sum(&dlogits[..vocab])
    ))?;
    let largest = dlogits
        .chunks_exact(vocab)
        .map(|row| row_sum(row).abs())
        .fold(0.0, f64::max);
    out.line(&format!("largest |sum| of a row: {largest:.4e}"))?;

    std::fs::create_dir_all(folder).map_err(crate::cli::files::FileError::at(
        "create the folder",
        folder,
    ))?;
    let characters: Vec<String> = names()?.vocab.chars().map(String::from).collect();
    let targets: Vec<String> = inputs
        .y
        .iter()
        .map(|&y| characters[usize::from(y)].clone())
        .collect();
    let (grey, colour) = (
        folder.join("dlogits.png"),
        folder.join("dlogits-colour.png"),
    );
    grey_png(&grey, dlogits, vocab)?;
    let title = "dlogits: red is pushed down, blue pulled up";
    let columns = Axis {
        title: "character that may come next",
        labels: &characters,
    };
    let rows = Axis {
        title: "example, by its target",
        labels: &targets,
    };
    let scale = "gradient of the loss (square-root scale)";
    colour_png(&colour, dlogits, title, &columns, &rows, scale)?;
    out.line(&format!(
        "pictures: {} and {}",
        grey.display(),
        colour.display()
    ))?;
    end(2, same, out)
}

/// **Exercise 3**: the fused gradient of batch norm beside the chunked one.
///
/// # Errors
///
/// The gradients differ, or the device failed.
pub async fn three(
    engine: &Engine,
    inputs: &Inputs,
    verbose: bool,
    out: &mut Output,
) -> Result<(), Error> {
    out.line("Exercise 3: dhprebn in one formula,")?;
    out.line("  bngain*bnvar_inv/n * (n*dhpreact - dhpreact.sum(0)")?;
    out.line("                        - n/(n-1)*bnraw*(dhpreact*bnraw).sum(0))")?;
    out.line("")?;
    let pass = engine.pass(inputs).await?;
    let fused = engine.fused(inputs).await?;
    let chunks = [
        LectureTensor::Bngain,
        LectureTensor::Bnbias,
        LectureTensor::Hprebn,
    ];
    let same = fused_beside_chunked(&chunks, inputs, &pass, &fused, verbose, out)?;
    end(3, same, out)
}

/// Prints the gradients by the fused formulas against the chunked pass's, both from the device; the
/// inner result tells whether they agree.
fn fused_beside_chunked(
    chunks: &[LectureTensor],
    inputs: &Inputs,
    pass: &Pass<f32>,
    fused: &LectureTensors<f32>,
    verbose: bool,
    out: &mut Output,
) -> Result<Result<(), Error>, Error> {
    let pass = pass.to_f64();
    let mut compared = Vec::new();
    for &chunk in chunks {
        let got: Vec<f64> = fused[chunk].iter().map(|&v| f64::from(v)).collect();
        let comparison = compare(&got, &pass.grads[chunk], pass.tolerance(chunk))
            .map_err(|e| GradcheckError::Compare(chunk.name().to_owned(), e))?;
        compared.push((chunk.name(), chunk.shape(&inputs.dims), comparison));
    }
    let lines: Vec<report::Line<'_>> = compared
        .iter()
        .map(|(name, shape, comparison)| report::Line {
            name,
            shape,
            by: "fused",
            zero: false,
            begins: false,
            comparison,
        })
        .collect();
    for line in report::lines(&lines, verbose) {
        out.line(&line)?;
    }
    let checked = compared.iter().map(|(name, _, c)| (*name, c.pass));
    Ok(disagreement(checked))
}

/// **Exercise 4**: a short run with the manual gradients, which are held against finite differences
/// of the loss at its start and at its end. It is the step that `train` would take that computes them.
///
/// # Errors
///
/// A gradient differs, or the device failed.
pub async fn four(
    engine: &Engine,
    inputs: &Inputs,
    seed: u64,
    out: &mut Output,
) -> Result<(), Error> {
    out.line(&format!(
        "Exercise 4: {STEPS} steps with the gradients written by hand."
    ))?;
    let code = engine.trained(inputs).await?;
    let mut backend = engine.open(code, inputs).await?;
    let mut now = inputs.clone();
    let mut wrong = finite_differences(engine, code, &now, "at the start", out).await?;

    let names = data::load(&data::Options {
        block: inputs.dims.block,
        ..data::Options::default()
    })?;
    let schedule = LearningRate {
        lr: 0.1,
        lr_final: 0.1,
        decay_at: 0,
    };
    let generator = TorchGenerator::manual_seed(seed);
    let mut stream = Stream::new(&names.train, generator, schedule, inputs.dims.batch);
    let mut losses = Vec::new();
    for _ in 0..STEPS / 100 {
        backend.train(&stream.take(100), &mut losses).await?;
        let last = &losses[losses.len() - 100..];
        let mean = last.iter().sum::<f32>() / 100.0;
        out.line(&format!(
            "{:7}/{STEPS:7}: mean loss of 100 steps {mean:.4}",
            losses.len()
        ))?;
    }
    now.params = backend.params().await?;
    wrong.extend(finite_differences(engine, code, &now, "at the end", out).await?);
    end(4, disagreement(wrong.into_iter()), out)
}

/// Prints some gradients of each parameter beside the central difference of the loss in `f64`, and
/// returns for each parameter whether they agree.
async fn finite_differences(
    engine: &Engine,
    code: Code,
    inputs: &Inputs,
    when: &str,
    out: &mut Output,
) -> Result<Vec<(&'static str, bool)>, Error> {
    let got = engine.step(code, inputs).await?.grads;
    let reference = engine::reference(inputs);
    let mut model = Model::new(inputs.dims, inputs.params.map(f64::from));
    out.line("")?;
    out.line(&format!(
        "{when:13} {:>12}  {:>14}  {:>14}  {:>8}  {:>7}",
        "element", "by hand", "numerical", "off by", "verdict"
    ))?;
    let mut compared = Vec::new();
    for tensor in Tensor::ALL {
        let chunk = chunk_of(tensor);
        let len = tensor.len(&inputs.dims);
        let picks: Vec<usize> = (0..len.min(PICKS))
            .map(|k| k * len / len.min(PICKS))
            .collect();
        let at = |i: usize| inputs.params.get(tensor)[i].into();
        let mut differences = Vec::new();
        for &i in &picks {
            let step = 1e-5;
            let mut loss_at = |value: f64| {
                model.params.get_mut(tensor)[i] = value;
                model.forward(&inputs.x, &inputs.y)
            };
            differences.push((loss_at(at(i) + step) - loss_at(at(i) - step)) / (2.0 * step));
            model.params.get_mut(tensor)[i] = at(i);
        }
        let gradients: Vec<f64> = picks.iter().map(|&i| got[chunk][i].into()).collect();
        // What an f32 gradient is allowed for the whole tensor, of which these are a few elements;
        // the difference quotient itself is good to about 1e-9.
        let whole = reference.tolerance(chunk);
        let largest = reference.grads[chunk]
            .iter()
            .fold(0.0f64, |m, v| m.max(v.abs()));
        let allowed = Tolerance {
            relative: whole.relative,
            of_largest: 0.0,
            absolute: whole.of_largest * largest + whole.absolute + 1e-8,
        };
        let comparison = compare(&gradients, &differences, allowed)
            .map_err(|e| GradcheckError::Compare(tensor.name().to_owned(), e))?;
        for ((&i, gradient), difference) in picks.iter().zip(&gradients).zip(&differences).take(2) {
            out.line(&format!(
                "{:13} {:>12}  {gradient:>14.6e}  {difference:>14.6e}  {:>8.1e}  {:>7}",
                tensor.name(),
                index(&tensor.shape(&inputs.dims), i),
                (gradient - difference).abs(),
                if comparison.pass { "ok" } else { "WRONG" }
            ))?;
        }
        compared.push((tensor.name(), comparison.pass));
    }
    out.line("")?;
    Ok(compared)
}

/// **Extras**: two kernels of today's models, the one-hot linear layer and `repeat_kv`, each with
/// its gradients.
///
/// # Errors
///
/// A tensor differs, or the device failed.
pub async fn extras(
    engine: &Engine,
    seed: u64,
    verbose: bool,
    out: &mut Output,
) -> Result<(), Error> {
    let (linear, repeat) = crate::gradcheck::extras::SIZES;
    out.line(&format!(
        "Extras: {} x {} one-hot rows times {} x {},\n  and repeat_kv of {} heads, {} times each.",
        linear.rows, linear.classes, linear.classes, linear.cols, repeat.kv_heads, repeat.copies
    ))?;
    out.line("")?;
    let rows = crate::gradcheck::extras::run(engine, seed).await?;
    let lines: Vec<report::Line<'_>> = rows
        .iter()
        .map(|row| report::Line {
            name: row.name,
            shape: &row.shape,
            by: row.loss.unwrap_or("forward"),
            zero: false,
            begins: false,
            comparison: &row.comparison,
        })
        .collect();
    for line in report::lines(&lines, verbose) {
        out.line(&line)?;
    }
    out.line("")?;
    for line in report::notes(&lines) {
        out.line(&line)?;
    }
    let verdict = disagreement(rows.iter().map(|row| (row.name, row.comparison.pass)));
    let text = if verdict.is_ok() { "passed" } else { "FAILED" };
    out.line(&format!("extras: {text}"))?;
    verdict
}

fn numbers(values: impl Iterator<Item = f32>) -> String {
    let texts: Vec<String> = values.map(|v| format!("{v:.4}")).collect();
    texts
        .chunks(9)
        .map(|line| line.join("  "))
        .collect::<Vec<_>>()
        .join("\n")
}

fn names() -> Result<data::Dataset, Error> {
    Ok(data::load(&data::Options::default())?)
}
