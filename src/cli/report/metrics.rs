//! `metrics.jsonl`: the losses over the steps, written while the training runs.
//!
//! Each line is a JSON object of one of three kinds: a [`Row`] has the loss of a training step, a
//! [`Validation`] the loss over the validation set, and [`Ratios`] the gradients beside the parameters. A reader
//! tells them apart by their fields (`"val_loss" in row`); all count `step` alike, and come in its order.
//!
//! [`Row`]: crate::training::log::Row
//! [`Ratios`]: crate::training::ratios::Ratios

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::MetricsMark;
use crate::cli::error::Failure;
use crate::cli::files::{Appended, FileError};
use crate::training::log::{LossLog, Row, Validation};
use crate::training::ratios::Ratio;

/// The file `metrics.jsonl` of a running training.
#[derive(Debug)]
pub struct Metrics {
    file: Appended,
    /// The rows of validation losses in the file.
    validation: Vec<Validation>,
}

impl Metrics {
    /// Makes the file, which must not exist.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be made.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            file: Appended::create(path)?,
            validation: Vec::new(),
        })
    }

    /// Opens the file of a run that continues: rows after the first `bytes` are cut off, since they will
    /// be made again. If rows before that are gone too, what is left of them stays, and a file that is
    /// gone is made anew.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, read or written.
    pub fn go_on(path: &Path, bytes: u64) -> Result<Self, FileError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(FileError::at("open", path))?;
        let (bytes, validation) =
            whole_lines(&mut file, bytes).map_err(FileError::at("read", path))?;
        Ok(Self {
            file: Appended::go_on(path, file, bytes)?,
            validation,
        })
    }

    /// Waits until the rows are on the disk, and tells where they and the log of losses end.
    ///
    /// # Errors
    ///
    /// The disk does not take them.
    pub fn mark(&mut self, log: &LossLog) -> Result<MetricsMark, FileError> {
        self.file.sync()?;
        let (sum, count) = log.since_the_last_row();
        Ok(MetricsMark {
            bytes: self.file.bytes(),
            sum,
            count,
        })
    }

    /// Writes a row of the log, or the ratios of a step.
    ///
    /// It is in the file when this returns: who watches the file sees it, and a run that is interrupted
    /// keeps its rows. A row that does not fit on the disk is not there at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written, because the disk is full for example.
    pub fn record(&mut self, row: &impl Serialize) -> Result<(), FileError> {
        self.write(row)
    }

    /// Writes the row of a validation loss, with the same guarantees.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn record_validation(&mut self, row: Validation) -> Result<(), FileError> {
        self.write(&row)?;
        self.validation.push(row);
        Ok(())
    }

    /// The rows of the validation losses so far, those before an interruption included.
    pub fn validation(&self) -> &[Validation] {
        &self.validation
    }

    fn write(&mut self, row: &impl Serialize) -> Result<(), FileError> {
        let json = serde_json::to_vec(row).map_err(io::Error::from);
        let mut line = json.map_err(FileError::at("write", self.file.path()))?;
        line.push(b'\n');
        self.file.append(&line)
    }
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The loss of a training step.
    Step(Row),
    /// A validation loss.
    Validation(Validation),
    /// The ratios of a step.
    Ratios(RatiosRow),
}

/// The ratios of a step as they are read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RatiosRow {
    /// The step, counted from 0.
    pub step: u64,
    /// By the names of the tensors.
    pub ratios: BTreeMap<String, Ratio>,
}

/// A line that is none of these.
#[derive(Debug, thiserror::Error)]
#[error("{} is damaged: line {line} {reason}", .path.display())]
pub struct DamagedLine {
    /// The file.
    pub path: PathBuf,
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
    /// Whether it is the end of the file, without its line feed.
    pub torn: bool,
}

impl Failure for DamagedLine {}

/// The lines of a file, each with what it says or why it says nothing.
///
/// # Errors
///
/// The file cannot be read.
pub fn lines(path: &Path) -> Result<Vec<Result<Line, DamagedLine>>, FileError> {
    let bytes = fs::read(path).map_err(FileError::at("read", path))?;
    let line = |(i, line): (usize, &[u8])| {
        let damaged = |reason, torn| DamagedLine {
            path: path.to_path_buf(),
            line: i + 1,
            reason,
            torn,
        };
        if !line.ends_with(b"\n") {
            return Err(damaged("is cut off", true));
        }
        let step = serde_json::from_slice(line).map(Line::Step);
        step.or_else(|_| serde_json::from_slice(line).map(Line::Validation))
            .or_else(|_| serde_json::from_slice(line).map(Line::Ratios))
            .map_err(|_| damaged("has neither a loss nor ratios", false))
    };
    Ok(bytes
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .map(line)
        .collect())
}

/// Where the last whole line ends within the first `bytes` of a file, and the rows of validation
/// losses among the whole lines.
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

/// The ratios in a file, in their order; lines that are damaged have none.
///
/// # Errors
///
/// The file cannot be read.
pub fn ratios(path: &Path) -> Result<Vec<RatiosRow>, FileError> {
    let ratios = |line| match line {
        Ok(Line::Ratios(row)) => Some(row),
        _ => None,
    };
    Ok(lines(path)?.into_iter().filter_map(ratios).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lr(step: u64) -> f64 {
        if step < 20 { 0.1 } else { 0.01 }
    }

    /// A file with the log that fills it.
    struct Logged {
        metrics: Metrics,
        log: LossLog,
    }

    impl Logged {
        fn create(path: &Path, log_every: u64) -> Self {
            Self {
                metrics: Metrics::create(path).unwrap(),
                log: LossLog::new(log_every),
            }
        }

        fn go_on(path: &Path, log_every: u64, step: u64, mark: &MetricsMark) -> Self {
            Self {
                metrics: Metrics::go_on(path, mark.bytes).unwrap(),
                log: LossLog::from_step(log_every, step, (mark.sum, mark.count)),
            }
        }

        fn record(&mut self, losses: &[f32]) {
            for row in self.log.take(losses, lr) {
                self.metrics.record(&row).unwrap();
            }
        }

        fn mark(&mut self) -> MetricsMark {
            self.metrics.mark(&self.log).unwrap()
        }
    }

    #[test]
    fn rows_are_in_the_file_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut metrics = Logged::create(&path, 2);
        metrics.record(&[3.5, 2.5, 2.0]);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"step\":0,\"lr\":0.1,\"loss\":3.5,\"loss_mean\":3.5}\n\
             {\"step\":2,\"lr\":0.1,\"loss\":2.0,\"loss_mean\":2.25}\n"
        );
        metrics.record(&[1.0, f32::NAN]);
        let text = std::fs::read_to_string(&path).unwrap();
        let last = "{\"step\":4,\"lr\":0.1,\"loss\":null,\"loss_mean\":null}";
        assert_eq!(text.lines().last(), Some(last));
    }

    #[test]
    fn validation_losses_have_rows_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut metrics = Logged::create(&path, 2);
        metrics.record(&[3.5, 2.5]);
        let row = |step, val_loss| Validation { step, val_loss };
        metrics.metrics.record_validation(row(2, 2.75)).unwrap();
        metrics.record(&[2.0]);
        let mark = metrics.mark();
        metrics.metrics.record_validation(row(3, 2.7)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "{\"step\":2,\"val_loss\":2.75}");
        assert!(lines[2].starts_with("{\"step\":2,\"lr\":0.1,"), "{text}");
        assert_eq!(metrics.metrics.validation(), [row(2, 2.75), row(3, 2.7)]);
        assert_eq!(row(2, 2.75).line(100), "      2/    100: val 2.7500");
        // Those before the mark are known to a run that continues, to the bit.
        let metrics = Logged::go_on(&path, 2, 3, &mark);
        assert_eq!(metrics.metrics.validation(), [row(2, 2.75)]);
    }

    #[test]
    fn a_run_that_goes_on_has_the_rows_of_one_that_did_not_stop() {
        let dir = tempfile::tempdir().unwrap();
        let [whole, path] = ["whole", "stopped"].map(|name| dir.path().join(name));
        let losses: Vec<f32> = (0..47).map(|i| 0.1 + i as f32).collect();
        Logged::create(&whole, 10).record(&losses);
        let whole = std::fs::read_to_string(whole).unwrap();
        for stop in 0..47 {
            let mut metrics = Logged::create(&path, 10);
            metrics.record(&losses[..stop]);
            let mark = metrics.mark();
            // Rows that came after the mark, the last of them torn.
            metrics.record(&losses[stop..]);
            metrics.metrics.file.append(b"{\"step\":").unwrap();
            let mut metrics = Logged::go_on(&path, 10, stop as u64, &mark);
            metrics.record(&losses[stop..]);
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
            let mut metrics = Logged::go_on(&path, 2, 4, &mark);
            metrics.record(&[2.0]);
            let row = "{\"step\":4,\"lr\":0.1,\"loss\":2.0,\"loss_mean\":1.5}\n";
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text, format!("{kept}{row}"));
        }
    }

    #[test]
    fn a_damaged_line_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let row = "{\"step\":4,\"lr\":0.1,\"loss\":2.0,\"loss_mean\":1.5}\n";
        let validation = "{\"step\":4,\"val_loss\":2.5}\n";
        std::fs::write(&path, [row, validation, "{}\n", row, "{\"st"].concat()).unwrap();
        let lines = lines(&path).unwrap();
        let val_loss = 2.5;
        let step = 4;
        let expected = Line::Validation(Validation { step, val_loss });
        assert!(matches!(lines[0], Ok(Line::Step(Row { loss: 2.0, .. }))));
        assert_eq!(lines[1].as_ref().unwrap(), &expected);
        let [third, last] = [2, 4].map(|i| lines[i].as_ref().unwrap_err());
        assert!(third.to_string().contains("line 3 has neither"), "{third}");
        assert!(last.torn && !third.torn && lines[3].is_ok(), "{last}");
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        std::fs::write(&path, "old").unwrap();
        let message = Metrics::create(&path).unwrap_err().to_string();
        assert!(message.starts_with("cannot create "), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    }
}
