//! One bar for the whole sweep, and a line for each model that ends.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::cli::report::progress::draw_target;
use crate::cli::report::{Output, OutputError};

/// Bar, models, model-steps a second, time left and the best loss; for a terminal of 80 columns.
const TEMPLATE: &str = "{bar:16} {models} models  {speed} steps/s  {eta} left  best val {best}";

/// What the bar shows beside its own numbers.
#[derive(Debug)]
struct Shown {
    models: usize,
    of: usize,
    best: Option<f64>,
}

/// Shows how far the sweep is. Drawn on stderr if that is a terminal.
pub struct Progress {
    bar: ProgressBar,
    shown: Arc<Mutex<Shown>>,
    out: Output,
}

impl Progress {
    /// A bar for models that have `steps` steps together.
    pub fn new(models: usize, steps: u64, best: Option<f64>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), draw_target());
        let shown = Arc::new(Mutex::new(Shown {
            models: 0,
            of: models,
            best,
        }));
        bar.set_style(style(&shown).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            shown,
            out: Output::new(),
        }
    }

    /// So many steps more are done, over all models.
    pub fn steps(&self, steps: u64) {
        self.bar.inc(steps);
    }

    /// A model has ended; `best` is the lowest validation loss so far. Returns how many have.
    pub fn ended(&self, best: Option<f64>) -> usize {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.models += 1;
        shown.best = best;
        shown.models
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

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(shown: &Arc<Mutex<Shown>>) -> Result<ProgressStyle, indicatif::style::TemplateError> {
    let (models, best) = (Arc::clone(shown), Arc::clone(shown));
    Ok(ProgressStyle::with_template(TEMPLATE)?
        .progress_chars("=> ")
        .with_key("models", move |_: &ProgressState, out: &mut dyn Write| {
            let shown = models.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = write!(out, "{}/{}", shown.models, shown.of);
        })
        .with_key("best", move |_: &ProgressState, out: &mut dyn Write| {
            let shown = best.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = match shown.best {
                Some(best) => write!(out, "{best:.4}"),
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
    fn the_template_is_valid() {
        let progress = Progress::new(3, 30, None);
        style(&progress.shown).unwrap();
        progress.steps(10);
        assert_eq!(progress.ended(Some(2.0)), 1);
        progress.finish();
    }
}
