//! `learn hunt`: a mistake is made in a kernel, and the learner finds the line.

use std::hash::{BuildHasher, RandomState};

use super::error::LearnError;
use crate::Recipe;
use crate::backend::Backend;
use crate::cli::args::LearnHuntArgs;
use crate::cli::device::Device;
use crate::cli::error::Error;
use crate::cli::gradcheck::report::table;
use crate::cli::report::{CurveOfRun, Output, compare_png};
use crate::cpu::CpuBackend;
use crate::data;
use crate::gpu::adapter::Choice;
use crate::gradcheck::hunt::{self, Guess};
use crate::gradcheck::mistakes::Mistake;
use crate::gradcheck::step::Code;
use crate::gradcheck::{Inputs, check};
use crate::model::dims::Dims;
use crate::training::curve::LossCurve;
use crate::training::{Snapshot, Stream};

/// Steps of the curve.
const STEPS: u64 = 500;

/// Makes the mistake of a number, or one at random; or judges a guess, or tells the line.
///
/// # Errors
///
/// There is no GPU to make it on, or the guess is wrong or no place.
pub async fn run(args: &LearnHuntArgs) -> Result<(), Error> {
    let of = hunt::hunted().len();
    let number = match args.number {
        Some(number) => number,
        // Hashes begin with what the operating system draws.
        None => 1 + RandomState::new().hash_one(()) as usize % of,
    };
    let mistake = hunt::numbered(number);
    let mistake = mistake.ok_or(LearnError::NoSuchMistake { asked: number, of })?;
    match &args.line {
        Some(guess) => judge(mistake, number, guess),
        None if args.give_up => give_up(mistake, number),
        None => show(mistake, number, args).await,
    }
}

async fn show(mistake: &Mistake, number: usize, args: &LearnHuntArgs) -> Result<(), Error> {
    let device = Device::choose(&args.device).await?;
    let Choice::Gpu { found, .. } = device.choice() else {
        return Err(LearnError::NoGpu.into());
    };
    let engine = mistake.engine(found).map_err(LearnError::Changed)?;
    let recipe = Recipe::default();
    let inputs = Inputs::of_names(Dims::LECTURE, recipe.seed)?;
    let checked = check(&engine, &inputs, &[Code::Staged]).await?;
    let mut out = Output::new();
    out.line(&format!(
        "mistake {number}: one place in one kernel has been changed"
    ))?;
    out.line("")?;
    // Which tensors are wrong is the trace to follow; by how much is not.
    for line in table(&checked.rows, false) {
        if !line.starts_with("    at [") {
            out.line(&line)?;
        }
    }
    let names = data::names(inputs.dims.block)?;
    let Snapshot {
        params, generator, ..
    } = Snapshot::first(&inputs.dims, recipe.seed);
    let schedule = recipe.learning_rate();
    let mut stream = Stream::new(&names.train, generator, schedule, inputs.dims.batch);
    let steps = stream.take(STEPS as usize);
    let mut broken = engine.open(Code::Staged, &inputs).await?;
    let mut right = CpuBackend::new(inputs.dims, params);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    broken.train(&steps, &mut with).await?;
    right.train(&steps, &mut without).await?;
    let points = |losses: &[f32]| {
        let mut curve = LossCurve::new(STEPS);
        let finite = losses.iter().take_while(|loss| loss.is_finite()).count();
        curve.add(&losses[..finite]);
        curve.points()
    };
    let curves = [
        ("right", points(&without)),
        ("with the mistake", points(&with)),
    ];
    let curves = curves.each_ref().map(|(name, points)| CurveOfRun {
        name,
        points,
        validation: &[],
    });
    compare_png(&args.out, &curves)?;
    let last = |losses: &[f32]| losses.last().copied().unwrap_or(f32::NAN);
    out.line(&format!(
        "after {STEPS} steps the loss is {:.4}, and {:.4} without the mistake: {}",
        last(&with),
        last(&without),
        args.out.display()
    ))?;
    out.line("")?;
    out.line("Which line is it? gpu-makemore shaders DIR writes the kernels, as they should be.")?;
    for (command, does) in [
        ("--line batchnorm.wgsl:57", "says whether it is that line"),
        ("--give-up", "tells the line"),
    ] {
        let command = format!("gpu-makemore learn hunt {number} {command}");
        out.line(&format!("{command:50}  {does}"))?;
    }
    Ok(())
}

fn judge(mistake: &Mistake, number: usize, guess: &str) -> Result<(), Error> {
    let place = guess.trim_start_matches("shaders/").rsplit_once(':');
    let place = place.and_then(|(file, line)| Some((file, line.parse().ok()?)));
    let (file, line) = place.ok_or_else(|| LearnError::NoPlace(guess.to_owned()))?;
    let not = |told: String| Err(LearnError::NotFound(told).into());
    match hunt::judge(mistake, file, line) {
        Guess::Found => {}
        Guess::Near => return not("not this line, but fewer than ten lines away".to_owned()),
        Guess::InTheFile => return not(format!("not this line, but it is in {file}")),
        Guess::OtherFile => return not(format!("it is not in {file}")),
        Guess::NoSuchFile => return Err(LearnError::NoSuchFile(guess.to_owned()).into()),
    }
    let mut out = Output::new();
    out.line(&format!("found: mistake {number} is {}", mistake.name))?;
    texts(mistake, &mut out)
}

/// Tells the line, what is wrong in it, and where the table shows it.
fn give_up(mistake: &Mistake, number: usize) -> Result<(), Error> {
    let Mistake { file, name, .. } = mistake;
    let (line, _) = hunt::lines(mistake);
    let mut out = Output::new();
    out.line(&format!("mistake {number} is at {file}:{line}: {name}"))?;
    texts(mistake, &mut out)?;
    out.line(&format!(
        "the first wrong row of its table is {}",
        mistake.first.name()
    ))?;
    out.line("another one: gpu-makemore learn hunt")?;
    Ok(())
}

/// The text as it should be and as it is.
fn texts(mistake: &Mistake, out: &mut Output) -> Result<(), Error> {
    for (title, text) in [("right:", mistake.from), ("wrong:", mistake.to)] {
        for (i, line) in text.trim().lines().enumerate() {
            let title = if i == 0 { title } else { "" };
            out.line(&format!("{title:8}{line}"))?;
        }
    }
    Ok(())
}
