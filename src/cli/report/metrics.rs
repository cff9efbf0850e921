//! `metrics.jsonl`: the losses over the steps, written while the training runs.
//!
//! Each line is a JSON object of one of two kinds: a [`Row`] has the loss of a training step, a
//! [`Validation`] the loss over the validation set. A reader tells them apart by their fields
//! (`"val_loss" in row`); both count `step` alike, and come in its order.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::files::FileError;

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

/// The line of a checkpoint.
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

/// Where a [`Metrics`] stands, for a run that goes on later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsMark {
    /// Length of the rows in the file.
    pub bytes: u64,
    /// Sum of the losses since the last row.
    pub sum: f64,
    /// Their number.
    pub count: u64,
}

/// The file `metrics.jsonl` of a running training.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    /// Length of the rows in the file.
    bytes: u64,
    log: LossLog,
    /// The rows of checkpoints in the file.
    validation: Vec<Validation>,
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
            validation: Vec::new(),
        })
    }

    /// Opens the file of a run that goes on at `step`: rows behind the mark are taken off, as they
    /// will be made again. If rows before it are gone too, what is left of them stays, and a file
    /// that is gone is made anew.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, read or written.
    pub fn go_on(
        path: &Path,
        log_every: u64,
        step: u64,
        mark: &MetricsMark,
    ) -> Result<Self, FileError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(FileError::at("open", path))?;
        let (bytes, validation) =
            whole_lines(&mut file, mark.bytes).map_err(FileError::at("read", path))?;
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::Start(bytes)))
            .map_err(FileError::at("write", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            bytes,
            log: LossLog {
                log_every,
                step,
                sum: mark.sum,
                count: mark.count,
            },
            validation,
        })
    }

    /// Waits until the rows are on the disk, and tells where they end.
    ///
    /// # Errors
    ///
    /// The disk does not take them.
    pub fn mark(&mut self) -> Result<MetricsMark, FileError> {
        self.file
            .sync_data()
            .map_err(FileError::at("write", &self.path))?;
        Ok(MetricsMark {
            bytes: self.bytes,
            sum: self.log.sum,
            count: self.log.count,
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

    /// Writes the row of a checkpoint, with the same guarantees.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn record_validation(&mut self, row: Validation) -> Result<(), FileError> {
        self.write(&row)
            .map_err(FileError::at("write", &self.path))?;
        self.validation.push(row);
        Ok(())
    }

    /// The rows of the checkpoints so far, those before an interruption included.
    pub fn validation(&self) -> &[Validation] {
        &self.validation
    }

    /// One call of `write` on an unbuffered file, so that there is nothing to flush.
    fn write(&mut self, row: &impl Serialize) -> std::io::Result<()> {
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

/// Where the last whole line ends within the first `bytes` of a file, and the rows of checkpoints
/// among the whole lines.
fn whole_lines(file: &mut File, bytes: u64) -> std::io::Result<(u64, Vec<Validation>)> {
    let mut reader = BufReader::new(file.take(bytes));
    let (mut whole, mut line) = (0, Vec::new());
    let mut validation = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok((whole, validation));
        }
        whole += length as u64;
        // A line of another kind lacks a field. One that somebody has changed does not keep the run
        // from continuing: its point is missing in the picture.
        validation.extend(serde_json::from_slice::<Validation>(&line));
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
    fn validation_losses_have_rows_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut metrics = Metrics::create(&path, 2).unwrap();
        metrics.record(&[3.5, 2.5], lr).unwrap();
        let row = |step, val_loss| Validation { step, val_loss };
        metrics.record_validation(row(2, 2.75)).unwrap();
        metrics.record(&[2.0], lr).unwrap();
        let mark = metrics.mark().unwrap();
        metrics.record_validation(row(3, 2.7)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "{\"step\":2,\"val_loss\":2.75}");
        assert!(lines[2].starts_with("{\"step\":2,\"lr\":0.1,"), "{text}");
        assert_eq!(metrics.validation(), [row(2, 2.75), row(3, 2.7)]);
        assert_eq!(row(2, 2.75).line(100), "      2/    100: val 2.7500");
        // Those before the mark are known to a run that continues, to the bit.
        let metrics = Metrics::go_on(&path, 2, 3, &mark).unwrap();
        assert_eq!(metrics.validation(), [row(2, 2.75)]);
    }

    #[test]
    fn a_run_that_goes_on_has_the_rows_of_one_that_did_not_stop() {
        let dir = tempfile::tempdir().unwrap();
        let [whole, path] = ["whole", "stopped"].map(|name| dir.path().join(name));
        let losses: Vec<f32> = (0..47).map(|i| 0.1 + i as f32).collect();
        Metrics::create(&whole, 10)
            .unwrap()
            .record(&losses, lr)
            .unwrap();
        let whole = std::fs::read_to_string(whole).unwrap();
        for stop in 0..47 {
            let mut metrics = Metrics::create(&path, 10).unwrap();
            metrics.record(&losses[..stop], lr).unwrap();
            let mark = metrics.mark().unwrap();
            // Rows that came after the mark, the last of them torn.
            metrics.record(&losses[stop..], lr).unwrap();
            metrics.file.write_all(b"{\"step\":").unwrap();
            let mut metrics = Metrics::go_on(&path, 10, stop as u64, &mark).unwrap();
            metrics.record(&losses[stop..], lr).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole, "{stop}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn rows_that_are_gone_do_not_keep_a_run_from_going_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mark = MetricsMark {
            bytes: 1000,
            sum: 1.0,
            count: 1,
        };
        for (left, kept) in [("", ""), ("{}\n{}\n{\"st", "{}\n{}\n")] {
            std::fs::write(&path, left).unwrap();
            let mut metrics = Metrics::go_on(&path, 2, 4, &mark).unwrap();
            metrics.record(&[2.0], lr).unwrap();
            let row = "{\"step\":4,\"lr\":0.1,\"loss\":2.0,\"loss_mean\":1.5}\n";
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text, format!("{kept}{row}"));
        }
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
