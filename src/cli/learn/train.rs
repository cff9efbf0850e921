//! `learn train`: the learner's own gradients train the model, beside the reference.

use std::rc::Rc;

use super::error::LearnError;
use super::folder::Folder;
use crate::cli::args::LearnTrainArgs;
use crate::cli::device::Device;
use crate::cli::error::Error;
use crate::cli::report::{CurveOfRun, Output, compare_png};
use crate::exercises::{self, OwnGradients, SideBySide};
use crate::gpu::adapter::Choice;
use crate::training::log::lecture_line;

/// Steps on a GPU.
const STEPS: u64 = 2000;
/// Steps in the interpreter, of which each takes some tenths of a second.
const FEW: u64 = 20;

/// Trains with the texts of a folder.
///
/// # Errors
///
/// Exercises are missing, a function stops, or the training diverges.
pub async fn run(args: &LearnTrainArgs) -> Result<(), Error> {
    let folder = Folder::of(&args.place.dir)?;
    let mut texts = Vec::new();
    let mut missing = Vec::new();
    for exercise in OwnGradients::exercises() {
        match folder.text(exercise)? {
            Some(text) if text != exercise.text => texts.push(text),
            _ => missing.push(exercise.name),
        }
    }
    if !missing.is_empty() {
        return Err(LearnError::NotBegun(missing).into());
    }
    let device = Device::choose(&args.device).await?;
    let gpu = match device.choice() {
        Choice::Gpu { found, .. } => Some(Rc::new(exercises::Device::open(found).await?)),
        Choice::Cpu { .. } => None,
    };
    let steps = args
        .steps
        .unwrap_or(if gpu.is_some() { STEPS } else { FEW });
    let training = SideBySide::new(&texts, gpu, steps).await;
    let mut training = training.map_err(LearnError::from)?;
    let mut out = Output::new();
    let by = match device.choice() {
        Choice::Gpu { .. } => format!("on {}", device.name()),
        Choice::Cpu { .. } => {
            "in the interpreter (a GPU, or --backend vulkan, does 2000 steps in seconds)".to_owned()
        }
    };
    out.line(&format!("training {steps} steps with your gradients, {by}"))?;
    let every = steps.div_ceil(20).max(1);
    for step in 0..steps {
        let loss = training.step().await.map_err(LearnError::from)?;
        if step % every == 0 {
            out.line(&lecture_line(step, steps, loss))?;
        }
    }
    let curves = [
        ("the reference", training.theirs().curve.points()),
        ("your gradients", training.mine().curve.points()),
    ];
    let curves = curves.each_ref().map(|(name, points)| CurveOfRun {
        name,
        points,
        validation: &[],
    });
    compare_png(&args.out, &curves)?;
    out.line(&format!(
        "the largest difference from the reference's losses is {:.1e}; both curves are in {}",
        training.apart(),
        args.out.display()
    ))?;
    Ok(())
}
