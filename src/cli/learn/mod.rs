//! `gpu-makemore learn`: exercises in which one writes backward passes as kernels.

mod entry;
mod error;
mod folder;
mod hunt;
mod lines;
mod train;
mod watch;

use std::time::Duration;

use crate::backend::DeviceError;
use crate::cli::args::{LearnArgs, LearnCheckArgs, LearnCommand, LearnHintArgs, LearnReportArgs};
use crate::cli::device::Device;
use crate::cli::error::Error;
use crate::cli::report::Output;
use crate::exercises::{self, EXERCISES, Exercise, Verdict, find};
use crate::gpu::adapter::Choice;
use entry::{Entry, Learner};
use error::LearnError;
use folder::Folder;

/// Runs the command.
pub async fn run(args: &LearnArgs) -> Result<(), Error> {
    match (&args.command, &args.dir) {
        (Some(LearnCommand::Check(args)), _) => check(args).await,
        (Some(LearnCommand::Train(args)), _) => train::run(args).await,
        (Some(LearnCommand::Hunt(args)), _) => hunt::run(args).await,
        (Some(LearnCommand::Watch(args)), _) => watch::run(&args.dir),
        (Some(LearnCommand::Hint(args)), _) => hint(args),
        (Some(LearnCommand::Solution(args)), _) => solution(&args.name),
        (Some(LearnCommand::List(args)), _) => list(&args.dir),
        (Some(LearnCommand::Report(args)), _) => report(args),
        (None, Some(dir)) => write(dir),
        (None, None) => Err(LearnError::Nothing.into()),
    }
}

fn exercise(name: &str) -> Result<&'static Exercise, LearnError> {
    find(name).ok_or_else(|| LearnError::NoSuchExercise(name.to_owned()))
}

/// Writes the exercises that are not there yet.
fn write(dir: &std::path::Path) -> Result<(), Error> {
    let written = folder::write(dir)?;
    let there = EXERCISES.len() - written;
    let mut out = Output::new();
    let dir = dir.display();
    out.line(&match there {
        0 => format!("{written} exercises are in {dir}"),
        _ => format!(
            "{written} exercises were written into {dir}; {there} were there already and stay as they are"
        ),
    })?;
    let first = EXERCISES[0].file;
    out.line(&format!(
        "begin with {dir}/{first}: read it, write the function, and save"
    ))?;
    out.line(&format!(
        "gpu-makemore learn watch --dir {dir}    checks on every save, and goes on to the next"
    ))?;
    out.line(&format!(
        "gpu-makemore learn hint {}    if you are stuck",
        EXERCISES[0].name
    ))?;
    Ok(())
}

/// `learn check`
async fn check(args: &LearnCheckArgs) -> Result<(), Error> {
    let folder = Folder::of(&args.place.dir)?;
    let all = args.names.is_empty();
    let exercises: Vec<&'static Exercise> = match all {
        true => EXERCISES.iter().collect(),
        false => args
            .names
            .iter()
            .map(|name| exercise(name))
            .collect::<Result<_, _>>()?,
    };
    let mut verdicts = folder.check(&exercises)?;
    let device = Device::choose(&args.device).await?;
    let mut times: Vec<Option<Times>> = exercises.iter().map(|_| None).collect();
    if let Choice::Gpu { found, .. } = device.choice() {
        let gpu = exercises::Device::open(found).await?;
        for ((exercise, verdict), time) in exercises.iter().zip(&mut verdicts).zip(&mut times) {
            if let (Some(Verdict::Right(_)), Some(text)) = (&verdict, folder.text(exercise)?) {
                *verdict = Some(gpu.check(exercise, &text).await?);
                if !all {
                    *time = Some(Times::of(&gpu, exercise, &text).await?);
                }
            }
        }
    }
    let right = |verdict: &Option<Verdict>| verdict.as_ref().is_some_and(Verdict::is_right);
    let done = verdicts.iter().filter(|verdict| right(verdict)).count();
    let mut out = Output::new();
    let pairs = || exercises.iter().copied().zip(&verdicts);
    if args.json {
        out.json(&Entry::all(&exercises, &verdicts))?;
    } else if all {
        out.line(&lines::progress(&verdicts))?;
        // What was begun and is not right; else the next one.
        let begun = |verdict: &&Option<Verdict>| {
            !right(verdict) && !matches!(verdict, None | Some(Verdict::Untouched))
        };
        let open = pairs().filter(|(_, verdict)| begun(verdict));
        for (exercise, verdict) in open {
            for line in verdict.iter().flat_map(|v| exercises::lines(exercise, v)) {
                out.line(&line)?;
            }
        }
        if let Some((next, _)) = pairs().find(|(_, verdict)| !right(verdict)) {
            out.line(&lines::next(next, folder.path(next).as_deref()))?;
        }
    } else {
        for (exercise, verdict) in pairs() {
            let lines = match verdict {
                Some(verdict) => exercises::lines(exercise, verdict),
                None => vec![format!(
                    "{} is not in {}",
                    exercise.file,
                    args.place.dir.display()
                )],
            };
            for line in lines {
                out.line(&line)?;
            }
        }
        for (exercise, times) in exercises.iter().zip(&times) {
            if let Some(times) = times {
                out.line(&times.line(exercise, &device.name()))?;
            }
        }
    }
    match done == exercises.len() {
        true => Ok(()),
        false => Err(LearnError::NotDone {
            done,
            of: exercises.len(),
        }
        .into()),
    }
}

/// What a launch takes on a device.
struct Times {
    /// The learner's kernel.
    own: Duration,
    /// The plain way to write it, if the exercise is about a faster one.
    plain: Option<(String, Duration)>,
}

impl Times {
    async fn of(
        gpu: &exercises::Device,
        exercise: &Exercise,
        text: &str,
    ) -> Result<Self, DeviceError> {
        let own = gpu.time(exercise, text).await?;
        let plain = match exercise.answers().plain {
            Some((name, text)) => Some((name, gpu.time(exercise, &text).await?)),
            None => None,
        };
        Ok(Self { own, plain })
    }

    fn line(&self, exercise: &Exercise, device: &str) -> String {
        let micros = |time: &Duration| time.as_secs_f64() * 1e6;
        let Exercise { name, .. } = exercise;
        let own = micros(&self.own);
        let plain = self
            .plain
            .as_ref()
            .map(|(name, time)| format!("; the plain way ({name}) takes {:.1} us", micros(time)))
            .unwrap_or_default();
        format!("{name}: {own:.1} us a launch on {device}{plain}")
    }
}

/// `learn hint`
fn hint(args: &LearnHintArgs) -> Result<(), Error> {
    let exercise = exercise(&args.name)?;
    let hints = exercise.hints();
    let of = hints.len();
    let hint = args.step.checked_sub(1).and_then(|step| hints.get(step));
    let hint = hint.ok_or(LearnError::NoSuchHint {
        name: exercise.name,
        asked: args.step,
        of,
    })?;
    let mut out = Output::new();
    out.line(&format!("{}: hint {} of {of}", exercise.name, args.step))?;
    out.line("")?;
    for line in exercises::wrapped(hint) {
        out.line(&line)?;
    }
    out.line("")?;
    let more = match args.step < of {
        true => format!("learn hint {} --step {}", exercise.name, args.step + 1),
        false => format!("learn solution {}", exercise.name),
    };
    out.line(&format!("next: gpu-makemore {more}"))?;
    Ok(())
}

/// `learn solution`
fn solution(name: &str) -> Result<(), Error> {
    let exercise = exercise(name)?;
    let answers = exercise.answers();
    let mut out = Output::new();
    for line in answers.solution.lines() {
        out.line(line)?;
    }
    if let Some(answer) = &answers.question {
        out.line("")?;
        for line in exercises::wrapped(answer) {
            out.line(format!("// {line}").trim_end())?;
        }
    }
    Ok(())
}

/// `learn list`
fn list(dir: &std::path::Path) -> Result<(), Error> {
    // The exercises can be listed before they are written somewhere.
    let exercises: Vec<&'static Exercise> = EXERCISES.iter().collect();
    let verdicts = match Folder::of(dir) {
        Ok(folder) => folder.check(&exercises)?,
        Err(LearnError::NoExercises(_)) => exercises.iter().map(|_| None).collect(),
        Err(error) => return Err(error.into()),
    };
    let mut out = Output::new();
    for (exercise, verdict) in exercises.iter().zip(&verdicts) {
        let state = verdict.as_ref().map_or("", lines::word);
        out.line(
            format!(
                "{:2}  {:18} {:16} {}",
                exercise.number,
                exercise.name,
                state,
                exercise.subject()
            )
            .trim_end(),
        )?;
    }
    if verdicts.iter().any(Option::is_some) {
        out.line(&lines::progress(&verdicts))?;
    }
    Ok(())
}

/// `learn report`
fn report(args: &LearnReportArgs) -> Result<(), Error> {
    let exercises: Vec<&'static Exercise> = EXERCISES.iter().collect();
    let mut learners = Vec::new();
    for dir in &args.dirs {
        let verdicts = Folder::of(dir)?.check(&exercises)?;
        let entries = Entry::all(&exercises, &verdicts);
        learners.push(Learner {
            folder: dir.display().to_string(),
            done: entries.iter().filter(|e| e.verdict == "right").count(),
            of: entries.len(),
            exercises: entries,
        });
    }
    let mut out = Output::new();
    if args.json {
        out.json(&learners)?;
        return Ok(());
    }
    for line in lines::report(&learners) {
        out.line(&line)?;
    }
    Ok(())
}
