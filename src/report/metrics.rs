//! `metrics.jsonl`: the loss over the steps, written while the training runs.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::FileError;

/// One line of `metrics.jsonl`. A loss that is not finite is written as `null`.
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

/// The lecture's `f'{i:7d}/{max_steps:7d}: {loss.item():.4f}'`.
pub fn lecture_line(step: u64, steps: u64, loss: f32) -> String {
    format!("{step:7}/{steps:7}: {loss:.4}")
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

/// The file `metrics.jsonl` of a running training.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    /// Length of the rows in the file.
    bytes: u64,
    log: LossLog,
}

impl Metrics {
    /// Makes the file, which must not exist, for a row every `log_every` steps.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be made.
    pub fn create(path: &Path, log_every: u64) -> Result<Self, FileError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(FileError::at("create", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            bytes: 0,
            log: LossLog::new(log_every),
        })
    }

    /// Takes the losses of the next steps, in order, writes the rows among them and returns
    /// those; `lr` gives the learning rate of a step.
    ///
    /// A row is in the file when this returns: who watches the file sees it, and a run that is
    /// interrupted keeps its rows. A row that does not fit on the disk is not there at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written, because the disk is full for example.
    pub fn record(
        &mut self,
        losses: &[f32],
        lr: impl Fn(u64) -> f64,
    ) -> Result<Vec<Row>, FileError> {
        let rows = self.log.take(losses, lr);
        for row in &rows {
            self.write(row)
                .map_err(FileError::at("write", &self.path))?;
        }
        Ok(rows)
    }

    /// One call of `write` on an unbuffered file, so that there is nothing to flush.
    fn write(&mut self, row: &Row) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        match (&self.file).write_all(&line) {
            Ok(()) => self.bytes += line.len() as u64,
            Err(e) => {
                // A full disk takes what fits, and half a row would be no JSON. If it cannot be
                // taken back, the first error is still the one to report.
                let _ = self.file.set_len(self.bytes);
                return Err(e);
            }
        }
        Ok(())
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

    #[test]
    fn rows_are_in_the_file_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut metrics = Metrics::create(&path, 2).unwrap();
        metrics.record(&[3.5, 2.5, 2.0], lr).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"step\":0,\"lr\":0.1,\"loss\":3.5,\"loss_mean\":3.5}\n\
             {\"step\":2,\"lr\":0.1,\"loss\":2.0,\"loss_mean\":2.25}\n"
        );
        metrics.record(&[1.0, f32::NAN], lr).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let last = "{\"step\":4,\"lr\":0.1,\"loss\":null,\"loss_mean\":null}";
        assert_eq!(text.lines().last(), Some(last));
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        std::fs::write(&path, "old").unwrap();
        let message = Metrics::create(&path, 1).unwrap_err().to_string();
        assert!(message.starts_with("cannot create "), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    }
}
