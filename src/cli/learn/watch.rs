//! `learn watch`: checks on every save.

use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use super::folder::Folder;
use super::lines;
use crate::cli::error::Error;
use crate::cli::interrupt::Interrupt;
use crate::cli::report::Output;
use crate::exercises::{self, EXERCISES, Exercise, Verdict};

/// How often it looks whether a file was saved.
const EVERY: Duration = Duration::from_millis(150);

/// Checks an exercise whenever its file is saved, and goes on to the next one, until Ctrl-C or until all are
/// done.
///
/// # Errors
///
/// There are no exercises, or a file cannot be read.
pub fn run(dir: &Path) -> Result<(), Error> {
    let interrupt = Interrupt::listen()?;
    let folder = Folder::of(dir)?;
    let exercises: Vec<&'static Exercise> = EXERCISES.iter().collect();
    let mut out = Output::new();
    let saved = |exercise: &Exercise| -> Option<SystemTime> {
        let path = folder.path(exercise)?;
        path.metadata().and_then(|found| found.modified()).ok()
    };
    // Before the first check: what is saved meanwhile is checked again.
    let mut times: Vec<Option<SystemTime>> = exercises.iter().map(|e| saved(e)).collect();
    let mut verdicts = folder.check(&exercises)?;
    out.line(&lines::progress(&verdicts))?;
    let open = |verdicts: &[Option<Verdict>]| {
        let right = |verdict: &Option<Verdict>| verdict.as_ref().is_some_and(Verdict::is_right);
        verdicts.iter().position(|verdict| !right(verdict))
    };
    let mut told = None;
    while interrupt.exit_code().is_none() && out.is_open() {
        let Some(next) = open(&verdicts) else {
            out.line("all exercises are done")?;
            return Ok(());
        };
        if told != Some(next) {
            out.line(&lines::next(
                exercises[next],
                folder.path(exercises[next]).as_deref(),
            ))?;
            told = Some(next);
        }
        thread::sleep(EVERY);
        for (i, &exercise) in exercises.iter().enumerate() {
            let time = saved(exercise);
            if time == times[i] {
                continue;
            }
            times[i] = time;
            // An editor may replace a file, which is gone for a moment.
            let Ok(found) = folder.check(&[exercise]) else {
                times[i] = None;
                continue;
            };
            let Some(Some(verdict)) = found.into_iter().next() else {
                continue;
            };
            out.line("")?;
            for line in exercises::lines(exercise, &verdict) {
                out.line(&line)?;
            }
            let was_right = verdicts[i].as_ref().is_some_and(Verdict::is_right);
            let is_right = verdict.is_right();
            verdicts[i] = Some(verdict);
            if is_right && !was_right {
                out.line(&lines::progress(&verdicts))?;
            }
        }
    }
    Ok(())
}
