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

/// Makes the mistake of a number, or one at random; or judges a guess.
///
/// # Errors
///
/// There is no GPU, or the guess is wrong.
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
        "mistake {number}: somewhere in the kernels a piece of text is another one"
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
    out.line("the files are under shaders/; which line is it?")?;
    out.line(&format!(
        "gpu-makemore learn hunt {number} --line batchnorm.wgsl:57"
    ))?;
    Ok(())
}

fn judge(mistake: &Mistake, number: usize, guess: &str) -> Result<(), Error> {
    let guess = guess.trim_start_matches("shaders/");
    let (file, line) = guess.rsplit_once(':').unwrap_or((guess, ""));
    let not = |told: String| Err(LearnError::NotFound(told).into());
    match hunt::judge(mistake, file, line.parse().unwrap_or(0)) {
        Guess::Found => {}
        Guess::Near => return not("not this line: near there".to_owned()),
        Guess::InTheFile => return not("not this line: in that file, elsewhere".to_owned()),
        Guess::OtherFile => return not(format!("it is not in {file}")),
    }
    let mut out = Output::new();
    out.line(&format!("found: mistake {number} is {}", mistake.name))?;
    out.line(&format!("right:  {}", mistake.from.trim()))?;
    out.line(&format!("wrong:  {}", mistake.to.trim()))?;
    Ok(())
}
