//! `learn train`: the learner's own gradients train the model, beside the reference.

use super::error::LearnError;
use super::folder::Folder;
use crate::Recipe;
use crate::backend::Backend;
use crate::cli::args::LearnTrainArgs;
use crate::cli::device::Device;
use crate::cli::error::Error;
use crate::cli::report::{CurveOfRun, Output, compare_png};
use crate::cpu::CpuBackend;
use crate::data;
use crate::exercises::{self, OwnGradients};
use crate::gpu::adapter::Choice;
use crate::model::dims::Dims;
use crate::model::recipe::default_decay_at;
use crate::training::curve::LossCurve;
use crate::training::log::lecture_line;
use crate::training::{Snapshot, Stream};

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
        Choice::Gpu { found, .. } => Some(exercises::Device::open(found).await?),
        Choice::Cpu { .. } => None,
    };
    let steps = args
        .steps
        .unwrap_or(if gpu.is_some() { STEPS } else { FEW });
    let recipe = Recipe {
        steps,
        lr_decay_at: default_decay_at(steps),
        ..Recipe::default()
    };
    let names = data::load(&data::Options::default())?;
    let dims = Dims::LECTURE;
    let Snapshot {
        params, generator, ..
    } = Snapshot::first(&dims, recipe.seed);
    let own = OwnGradients::new(params.clone(), &texts, gpu.as_ref());
    let mut own = own.await.map_err(LearnError::from)?;
    let mut reference = CpuBackend::new(dims, params);
    let mut stream = Stream::new(&names.train, generator, recipe.learning_rate(), dims.batch);
    let mut out = Output::new();
    let by = match &gpu {
        Some(_) => device.name(),
        None => {
            "the interpreter; a GPU, or --backend vulkan, does 2000 steps in seconds".to_owned()
        }
    };
    out.line(&format!("your gradients train {steps} steps by {by}"))?;
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    let every = steps.div_ceil(20).max(1);
    for step in 0..steps {
        let one = stream.take(1);
        let loss = own.train(&one).await.map_err(LearnError::from)?;
        reference.train(&one, &mut theirs).await?;
        mine.extend(loss);
        if step % every == 0 {
            out.line(&lecture_line(step, steps, mine[step as usize]))?;
        }
    }
    let points = |losses: &[f32]| {
        let mut curve = LossCurve::new(steps);
        curve.add(losses);
        curve.points()
    };
    let curves = [("the reference", &theirs), ("your gradients", &mine)]
        .map(|(name, losses)| (name, points(losses)));
    let curves = curves.each_ref().map(|(name, points)| CurveOfRun {
        name,
        points,
        validation: &[],
    });
    compare_png(&args.out, &curves)?;
    let off = mine.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
    let off = off.fold(0.0f32, f32::max);
    out.line(&format!(
        "the losses differ from the reference's by {off:.1e} at most; both curves are in {}",
        args.out.display()
    ))?;
    Ok(())
}
