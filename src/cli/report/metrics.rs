//! `metrics.jsonl`: the losses over the steps, written while the training runs.
//!
//! Each line is a JSON object of one of two kinds: a [`Row`] has the loss of a training step, a
//! [`Validation`] the loss over the validation set. A reader tells them apart by their fields
//! (`"val_loss" in row`); both count `step` alike, and come in its order.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checkpoint::MetricsMark;
use crate::cli::files::FileError;
use crate::training::log::{LossLog, Row, Validation};

/// The file `metrics.jsonl` of a running training.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    /// Length of the rows in the file.
    bytes: u64,
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
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(FileError::at("create", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            bytes: 0,
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
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::Start(bytes)))
            .map_err(FileError::at("write", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            bytes,
            validation,
        })
    }

    /// Waits until the rows are on the disk, and tells where they and the log of losses end.
    ///
    /// # Errors
    ///
    /// The disk does not take them.
    pub fn mark(&mut self, log: &LossLog) -> Result<MetricsMark, FileError> {
        self.file
            .sync_data()
            .map_err(FileError::at("write", &self.path))?;
        let (sum, count) = log.since_the_last_row();
        Ok(MetricsMark {
            bytes: self.bytes,
            sum,
            count,
        })
    }

    /// Writes a row of the log.
    ///
    /// It is in the file when this returns: who watches the file sees it, and a run that is interrupted
    /// keeps its rows. A row that does not fit on the disk is not there at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written, because the disk is full for example.
    pub fn record(&mut self, row: &Row) -> Result<(), FileError> {
        self.write(row).map_err(FileError::at("write", &self.path))
    }

    /// Writes the row of a validation loss, with the same guarantees.
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

    /// The rows of the validation losses so far, those before an interruption included.
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
            metrics.metrics.file.write_all(b"{\"step\":").unwrap();
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
    fn an_existing_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        std::fs::write(&path, "old").unwrap();
        let message = Metrics::create(&path).unwrap_err().to_string();
        assert!(message.starts_with("cannot create "), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    }
}
