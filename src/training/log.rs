//! The log of the losses: a row every `log_every` steps, and the validation losses between them.

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Vocabulary};
use crate::model::dims::Dims;
use crate::model::recipe::Recipe;
use crate::text::listed;

/// The line of a training step. A loss that is not finite is written as `null`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The step, counted from 0.
    pub step: u64,
    /// The learning rate of this step.
    pub lr: f64,
    /// The loss of this step's minibatch, which is what the lecture prints.
    pub loss: f32,
    /// Mean loss of all steps since the row before, this one included. A single minibatch of 32
    /// is noisy; this is the number to compare runs by.
    pub loss_mean: f64,
}

impl Row {
    /// The line that the lecture prints for this row, in a run of `steps` steps.
    pub fn lecture_line(&self, steps: u64) -> String {
        lecture_line(self.step, steps, self.loss)
    }
}

/// The line of a validation loss: of a checkpoint, or of an evaluation between two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Steps done before; the step of this number is the next one, so that a [`Row`] of the same step
    /// has the loss of the same model.
    pub step: u64,
    /// Mean loss over the validation set, in nats. The batch-norm statistics are those over the first
    /// 4,096 training examples, which are quick to have; `summary.json` has the loss with the
    /// statistics over all of them, which differs in the fourth digit or so.
    pub val_loss: f64,
}

impl Validation {
    /// The line on the screen, in a run of `steps` steps: like the lecture's.
    pub fn line(&self, steps: u64) -> String {
        format!("{:7}/{steps:7}: val {:.4}", self.step, self.val_loss)
    }
}

/// The lecture's `f'{i:7d}/{max_steps:7d}: {loss.item():.4f}'`.
pub fn lecture_line(step: u64, steps: u64, loss: f32) -> String {
    format!("{step:7}/{steps:7}: {loss:.4}")
}

/// The lines that say what is about to be trained, and on what.
pub fn set_up_lines(recipe: &Recipe, dataset: &Dataset, dims: &Dims) -> Vec<String> {
    let words = dataset.words.train + dataset.words.val + dataset.words.test;
    let mut lines = vec![format!(
        "data        {}: {words} words; {} examples to train, {} to validate, {} to test{}",
        dataset.label,
        dataset.train.len(),
        dataset.val.len(),
        dataset.test.len(),
        end_mark(&dataset.vocab)
    )];
    let notes = dataset.notes.to_string();
    lines.extend((!notes.is_empty()).then(|| format!("            {notes}")));
    lines.extend([
        format!(
            "vocabulary  {}: {}",
            dims.vocab,
            listed(dataset.vocab.chars())
        ),
        format!(
            "model       block {}, embd {}, hidden {}: {} parameters",
            dims.block,
            dims.embd,
            dims.hidden,
            dims.parameter_count()
        ),
        format!(
            "training    {} steps of {} examples; learning rate {:?}, from step {} on {:?}; seed {}",
            recipe.steps, dims.batch, recipe.lr, recipe.lr_decay_at, recipe.lr_final, recipe.seed
        ),
    ]);
    lines
}

/// How the end mark is shown, if that is not as the lecture shows it.
fn end_mark(vocab: &Vocabulary) -> String {
    match vocab.end() {
        '.' => String::new(),
        end => format!("; '.' is a letter, and {end} marks the end of a word"),
    }
}

/// Picks the rows out of the stream of losses: one at each step that is a multiple of
/// `log_every`, the first step included.
#[derive(Clone, Debug)]
pub struct LossLog {
    log_every: u64,
    /// The step whose loss comes next.
    step: u64,
    /// Sum and number of the losses since the last row.
    sum: f64,
    count: u64,
}

impl LossLog {
    /// Starts at step 0; with `log_every` 0 there are no rows at all.
    pub fn new(log_every: u64) -> Self {
        Self {
            log_every,
            step: 0,
            sum: 0.0,
            count: 0,
        }
    }

    /// A log that continues before `step`, with the sum and the number of the losses since the last row.
    pub fn from_step(log_every: u64, step: u64, (sum, count): (f64, u64)) -> Self {
        Self {
            log_every,
            step,
            sum,
            count,
        }
    }

    /// Sum and number of the losses since the last row.
    pub fn since_the_last_row(&self) -> (f64, u64) {
        (self.sum, self.count)
    }

    /// Takes the losses of the next steps, in order, and returns the rows among them.
    ///
    /// How a run is cut into chunks makes no difference to its rows. `lr` gives the learning
    /// rate of a step.
    pub fn take(&mut self, losses: &[f32], lr: impl Fn(u64) -> f64) -> Vec<Row> {
        losses
            .iter()
            .filter_map(|&loss| self.take_one(loss, &lr))
            .collect()
    }

    fn take_one(&mut self, loss: f32, lr: impl Fn(u64) -> f64) -> Option<Row> {
        let step = self.step;
        self.step += 1;
        self.sum += f64::from(loss);
        self.count += 1;
        // `x % 0` would panic; `checked_rem` has no value there.
        if step.checked_rem(self.log_every) != Some(0) {
            return None;
        }
        let loss_mean = self.sum / self.count as f64;
        (self.sum, self.count) = (0.0, 0);
        Some(Row {
            step,
            lr: lr(step),
            loss,
            loss_mean,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lr(step: u64) -> f64 {
        if step < 20 { 0.1 } else { 0.01 }
    }

    #[test]
    fn rows_do_not_depend_on_the_chunks() {
        let losses: Vec<f32> = (0..47).map(|i| i as f32).collect();
        let whole = LossLog::new(10).take(&losses, lr);
        let summary: Vec<_> = whole
            .iter()
            .map(|r| (r.step, r.lr, r.loss, r.loss_mean))
            .collect();
        assert_eq!(
            summary,
            [
                (0, 0.1, 0.0, 0.0),
                (10, 0.1, 10.0, 5.5), // the mean of 1, 2, …, 10
                (20, 0.01, 20.0, 15.5),
                (30, 0.01, 30.0, 25.5),
                (40, 0.01, 40.0, 35.5),
            ]
        );
        for chunk in 1..=losses.len() {
            let mut log = LossLog::new(10);
            let rows: Vec<_> = losses
                .chunks(chunk)
                .flat_map(|chunk| log.take(chunk, lr))
                .collect();
            assert_eq!(rows, whole, "chunks of {chunk}");
        }
    }

    #[test]
    fn every_step_or_none() {
        assert_eq!(LossLog::new(1).take(&[1.0; 5], lr).len(), 5);
        assert_eq!(LossLog::new(0).take(&[1.0; 5], lr).len(), 0);
        assert_eq!(LossLog::new(1).take(&[], lr).len(), 0);
    }

    #[test]
    fn lines_look_like_the_lecture() {
        assert_eq!(lecture_line(0, 200_000, 3.84131), "      0/ 200000: 3.8413");
        assert_eq!(
            lecture_line(190_000, 200_000, 2.0),
            " 190000/ 200000: 2.0000"
        );
    }
}
