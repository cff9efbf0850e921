//! The progress bar on stderr, and lines on stdout that do not collide with it.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::style::TemplateError;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::output::{Output, OutputError};

/// Bar, steps, loss, speed and time left; short enough for a terminal of 80 columns.
const TRAINING: &str = "{bar:20} {pos}/{len}  loss {loss}  {speed} steps/s  {eta} left";
/// Bar, models, steps a second over all models, time left and the best loss.
const SWEEP: &str = "{bar:16} {models} models  {speed} steps/s  {eta} left  best val {loss}";

/// Where a bar is drawn: on stderr, if that is a terminal that knows control codes (not `TERM=dumb`),
/// and if `NO_COLOR` does not ask for plain text. A bar without a colour needs control codes all the
/// same, to be drawn over; and whoever reads by ear or keeps a transcript is served by lines alone.
fn draw_target() -> ProgressDrawTarget {
    match std::env::var_os("NO_COLOR") {
        Some(value) if !value.is_empty() => ProgressDrawTarget::hidden(),
        _ => ProgressDrawTarget::stderr(),
    }
}

/// What the bar shows beside its own numbers. It is formatted when the bar is drawn, not at each update.
#[derive(Debug, Default)]
struct Shown {
    /// Models that have ended, and all of them.
    models: (usize, usize),
    loss: Option<f64>,
}

/// Shows how far a training or a sweep is, with a loss, the speed and the time left.
///
/// The bar is drawn on stderr, and only if that is a terminal: in a log file it would be noise.
/// Lines for stdout go through [`Progress::line`], which takes the bar off the screen while it
/// prints.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    shown: Arc<Mutex<Shown>>,
    /// Whether the speed is measured already.
    timed: bool,
    out: Output,
}

impl Progress {
    fn new(steps: u64, template: &str, shown: Shown) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), draw_target());
        let shown = Arc::new(Mutex::new(shown));
        let style = style(template, &shown).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self {
            bar,
            shown,
            timed: false,
            out: Output::new(),
        }
    }

    /// A bar for a training of `steps` steps, of which `done` were done before.
    pub fn of_training(done: u64, steps: u64) -> Self {
        let progress = Self::new(steps, TRAINING, Shown::default());
        progress.bar.set_position(done);
        // Else the speed would count them.
        progress.bar.reset_eta();
        progress
    }

    /// A bar for a sweep over `models` models that have `steps` steps together; `best` is the lowest
    /// validation loss of those trained before.
    pub fn of_sweep(models: usize, steps: u64, best: Option<f64>) -> Self {
        let shown = Shown {
            models: (0, models),
            loss: best,
        };
        Self::new(steps, SWEEP, shown)
    }

    /// `step` steps of the training are done, the last one with `loss`. Cheap: the screen is updated at
    /// most twenty times a second.
    pub fn update(&mut self, step: u64, loss: f32) {
        lock(&self.shown).loss = Some(f64::from(loss)).filter(|loss| !loss.is_nan());
        self.bar.set_position(step);
        if !self.timed {
            self.timed = true;
            // Speed and time left count from the end of the first chunk. It is a single step, during
            // which some drivers compile the kernels.
            self.bar.tick();
            self.bar.reset_eta();
        }
    }

    /// `steps` steps more are done, over all models of the sweep.
    pub fn steps(&self, steps: u64) {
        self.bar.inc(steps);
    }

    /// A model of the sweep has ended; `best` is the lowest validation loss so far. Returns how many have.
    pub fn ended(&self, best: Option<f64>) -> usize {
        let mut shown = lock(&self.shown);
        shown.models.0 += 1;
        shown.loss = best;
        shown.models.0
    }

    /// Prints a line to stdout, above the bar.
    ///
    /// # Errors
    ///
    /// As [`Output::line`].
    pub fn line(&mut self, text: &str) -> Result<(), OutputError> {
        let (bar, out) = (&self.bar, &mut self.out);
        bar.suspend(|| out.line(text))
    }

    /// Takes the bar off the screen. Lines can still be printed.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The look of a bar, which reads `shown` when it is drawn.
fn style(template: &str, shown: &Arc<Mutex<Shown>>) -> Result<ProgressStyle, TemplateError> {
    let (models, loss) = (Arc::clone(shown), Arc::clone(shown));
    // Nobody is served by an error of these `write!`: the bar would only miss a number.
    Ok(ProgressStyle::with_template(template)?
        .progress_chars("=> ")
        .with_key("models", move |_: &ProgressState, out: &mut dyn Write| {
            let (ended, all) = lock(&models).models;
            let _ = write!(out, "{ended}/{all}");
        })
        .with_key("loss", move |_: &ProgressState, out: &mut dyn Write| {
            let _ = match lock(&loss).loss {
                Some(loss) => write!(out, "{loss:.4}"),
                None => write!(out, "-"),
            };
        })
        .with_key("speed", |state: &ProgressState, out: &mut dyn Write| {
            let _ = write!(out, "{:.0}", state.per_sec());
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid_and_any_number_can_be_shown() {
        for template in [TRAINING, SWEEP] {
            style(template, &Arc::default()).unwrap();
        }
        let mut progress = Progress::of_training(0, 0);
        progress.update(7, f32::NAN);
        progress.finish();
        progress.finish();
        let progress = Progress::of_sweep(3, 30, None);
        progress.steps(10);
        assert_eq!(progress.ended(Some(2.0)), 1);
        progress.finish();
    }
}
