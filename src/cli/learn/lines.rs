//! What `learn` prints.

use std::path::Path;

use super::entry::Learner;
use crate::exercises::{Exercise, Verdict};

/// A verdict in a word.
pub fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Untouched => "not begun",
        Verdict::Right(_) => "right",
        Verdict::Wrong(_) => "wrong",
        Verdict::Refused(_) => "does not compile",
        Verdict::Failed(_) => "stopped",
    }
}

/// A mark for each verdict, by its name.
fn marks<'a>(verdicts: impl Iterator<Item = &'a str>) -> String {
    let mark = |name| match name {
        "right" => '●',
        "untouched" | "missing" => '·',
        _ => '×',
    };
    verdicts.map(mark).collect()
}

/// How far a learner is: a mark for each exercise.
pub fn progress(verdicts: &[Option<Verdict>]) -> String {
    let names = || {
        verdicts
            .iter()
            .map(|v| v.as_ref().map_or("missing", Verdict::name))
    };
    let done = names().filter(|name| *name == "right").count();
    format!("{}  {done} of {} done", marks(names()), verdicts.len())
}

/// What comes next.
pub fn next(exercise: &Exercise, path: Option<&Path>) -> String {
    let place = match path {
        Some(path) => path.display().to_string(),
        None => exercise.file.to_owned(),
    };
    format!(
        "next: {place} (a hint: gpu-makemore learn hint {})",
        exercise.name
    )
}

/// The table of a class: a row for each learner, a column for each exercise.
pub fn report(learners: &[Learner]) -> Vec<String> {
    let width = learners.iter().map(|l| l.folder.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut lines = Vec::new();
    for learner in learners {
        let marks = marks(learner.exercises.iter().map(|entry| entry.verdict));
        lines.push(format!(
            "{:width$}  {marks}  {:2} of {}",
            learner.folder, learner.done, learner.of
        ));
    }
    lines.push("● right   × not right yet   · not begun; the first mark is exercise 1".to_owned());
    lines
}
