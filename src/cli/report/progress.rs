//! The progress bar on stderr, and lines on stdout that do not collide with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::output::{Output, OutputError};

/// Bar, steps, loss, speed and time left; short enough for a terminal of 80 columns.
const TEMPLATE: &str = "{bar:20} {pos}/{len}  loss {loss}  {speed} steps/s  {eta} left";

/// Where a bar is drawn: on stderr, if that is a terminal that knows control codes (not `TERM=dumb`),
/// and if `NO_COLOR` does not ask for plain text. A bar without a colour needs control codes all the
/// same, to be drawn over; and whoever reads by ear or keeps a transcript is served by lines alone.
pub(crate) fn draw_target() -> ProgressDrawTarget {
    match std::env::var_os("NO_COLOR") {
        Some(value) if !value.is_empty() => ProgressDrawTarget::hidden(),
        _ => ProgressDrawTarget::stderr(),
    }
}

/// Shows how far a training is, with its loss, its speed and the time left.
///
/// The bar is drawn on stderr, and only if that is a terminal: in a log file it would be noise.
/// Lines for stdout go through [`Progress::line`], which takes the bar off the screen while it
/// prints.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// The bits of the latest loss, which the bar reads when it is drawn. As a message of the bar
    /// it would have to be formatted at each update, drawn or not.
    loss: Arc<AtomicU32>,
    /// Whether the speed is measured already.
    timed: bool,
    out: Output,
}

impl Progress {
    /// A bar for `steps` steps.
    pub fn new(steps: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), draw_target());
        let loss = Arc::new(AtomicU32::new(f32::NAN.to_bits()));
        bar.set_style(style(&loss).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            loss,
            timed: false,
            out: Output::new(),
        }
    }

    /// A bar for `steps` steps, of which `done` were done before.
    pub fn starting_at(done: u64, steps: u64) -> Self {
        let progress = Self::new(steps);
        progress.bar.set_position(done);
        // Else the speed would count them.
        progress.bar.reset_eta();
        progress
    }

    /// `step` steps are done, the last one with `loss`. Cheap: the screen is updated at most
    /// twenty times a second.
    pub fn update(&mut self, step: u64, loss: f32) {
        // Nothing but the number itself is passed on, so no stronger ordering is called for.
        self.loss.store(loss.to_bits(), Ordering::Relaxed);
        self.bar.set_position(step);
        if !self.timed {
            self.timed = true;
            // Speed and time left count from the end of the first chunk. It is a single step, during
            // which some drivers compile the kernels.
            self.bar.tick();
            self.bar.reset_eta();
        }
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

/// The look of the bar, with `loss` as its source of the loss (NaN: none yet).
fn style(loss: &Arc<AtomicU32>) -> Result<ProgressStyle, indicatif::style::TemplateError> {
    let loss = Arc::clone(loss);
    // Nobody is served by an error of these `write!`: the bar would only miss a number.
    Ok(ProgressStyle::with_template(TEMPLATE)?
        .progress_chars("=> ")
        .with_key(
            "loss",
            move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                let loss = f32::from_bits(loss.load(Ordering::Relaxed));
                let _ = match loss.is_nan() {
                    true => write!(out, "-"),
                    false => write!(out, "{loss:.4}"),
                };
            },
        )
        .with_key(
            "speed",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{:.0}", state.per_sec());
            },
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid_and_any_number_can_be_shown() {
        style(&Arc::default()).unwrap();
        let mut progress = Progress::new(0);
        progress.update(7, f32::NAN);
        progress.finish();
        progress.finish();
    }
}
