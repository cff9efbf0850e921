//! `train --tensorboard`: the curves of a run in the format that TensorBoard reads.
//!
//! An event file is a row of records (`framed`), each with one `Event` in protobuf. The messages are the
//! part of TensorFlow's `event.proto` and `summary.proto` that scalars take, with the numbers that the fields
//! have there.
//!
//! A run that is continued gets a further file, as TensorFlow and PyTorch do it: its second record says from
//! which step on what is in the files before does not count. So no file that a TensorBoard may have open is ever
//! cut, and no step is there twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::{Message, Oneof};

use crate::cli::files::{Appended, FileError};
use crate::training::log::{Row, Validation};

/// What the name of an event file begins with; TensorBoard looks for `tfevents` in it.
pub const PREFIX: &str = "events.out.tfevents";

/// The event files in a folder, in the order in which TensorBoard reads them.
///
/// # Errors
///
/// The folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let names = || -> std::io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        let paths = entries.into_iter().filter_map(|entry| {
            let ours = entry.file_name().to_str()?.starts_with(PREFIX);
            ours.then(|| entry.path())
        });
        let mut paths: Vec<PathBuf> = paths.collect();
        paths.sort();
        Ok(paths)
    };
    names().map_err(FileError::at("read", folder))
}

/// An event file that a training writes.
#[derive(Debug)]
pub struct EventFile {
    file: Appended,
}

impl EventFile {
    /// Makes a further event file in `folder`, with its head: what the files before have of step `from` on does
    /// not count.
    ///
    /// # Errors
    ///
    /// The file cannot be made or written.
    pub fn begin(folder: &Path, from: u64) -> Result<Self, FileError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        // TensorBoard reads them in the order of their names: a second that is taken, or a clock that was set
        // back, must not change it.
        let earlier = files(folder)?;
        let latest = earlier.iter().filter_map(|path| second_of(path)).max();
        let second = latest.map_or(now, |latest| now.max(latest.saturating_add(1)));
        let path = folder.join(format!("{PREFIX}.{second:010}.gpu-makemore"));
        let mut events = Self {
            file: Appended::create(&path)?,
        };
        events.write(0, What::FileVersion("brain.Event:2".to_owned()))?;
        let start = SessionLog { status: START };
        events.write(from, What::SessionLog(start))?;
        Ok(events)
    }

    /// Writes the scalars of a training step.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn record(&mut self, row: &Row) -> Result<(), FileError> {
        let scalars = [
            ("loss/training", row.loss),
            ("loss/training_mean", row.loss_mean as f32),
            ("learning_rate", row.lr as f32),
        ];
        self.scalars(row.step, &scalars)
    }

    /// Writes a validation loss.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn record_validation(&mut self, row: Validation) -> Result<(), FileError> {
        self.scalars(row.step, &[("loss/validation", row.val_loss as f32)])
    }

    /// Writes the losses over the three sets after the last of `steps` steps; those of empty sets are left out.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn record_final(&mut self, steps: u64, losses: [f64; 3]) -> Result<(), FileError> {
        let tags = ["final/train", "final/val", "final/test"];
        let scalars = tags.into_iter().zip(losses.map(|loss| loss as f32));
        let scalars: Vec<_> = scalars.filter(|(_, loss)| loss.is_finite()).collect();
        self.scalars(steps, &scalars)
    }

    /// Waits until the records are on the disk.
    ///
    /// # Errors
    ///
    /// The disk does not take them.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file.sync()
    }

    fn scalars(&mut self, step: u64, scalars: &[(&str, f32)]) -> Result<(), FileError> {
        let value = |&(tag, value): &(&str, f32)| Value {
            tag: tag.to_owned(),
            simple_value: Some(value),
        };
        let values = scalars.iter().map(value).collect();
        self.write(step, What::Summary(Summary { values }))
    }

    fn write(&mut self, step: u64, what: What) -> Result<(), FileError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let event = Event {
            wall_time: now.map_or(0.0, |since| since.as_secs_f64()),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            what: Some(what),
        };
        self.file.append(&framed(&event.encode_to_vec()))
    }
}

/// The second in the name of an event file of ours.
fn second_of(path: &Path) -> Option<u64> {
    let rest = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    rest.split('.').nth(1)?.parse().ok()
}

/// A record of TensorFlow: the length, its checksum, the bytes, their checksum; numbers are little-endian.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [
        &length[..],
        &masked_crc(&length).to_le_bytes(),
        bytes,
        &masked_crc(bytes).to_le_bytes(),
    ]
    .concat()
}

/// CRC-32C, rotated and shifted as TensorFlow does: the checksum of bytes that hold a checksum of their own
/// kind would be a constant.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// `SessionLog.START`
const START: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    /// Written even if it is 0, which a plain field of proto3 would not be.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_file_comes_after_those_before() {
        let dir = tempfile::tempdir().unwrap();
        // From the future, as after a clock that was set back.
        let first = dir.path().join(format!("{PREFIX}.4000000000.host"));
        fs::write(&first, "").unwrap();
        fs::write(dir.path().join("metrics.jsonl"), "").unwrap();
        for _ in 0..2 {
            EventFile::begin(dir.path(), 0).unwrap();
        }
        let names = files(dir.path()).unwrap();
        let second = dir.path().join(format!("{PREFIX}.4000000001.gpu-makemore"));
        let third = dir.path().join(format!("{PREFIX}.4000000002.gpu-makemore"));
        assert_eq!(names, [first, second, third]);
    }

    /// The test vector of RFC 3720, B.4, for 32 zeros is 8a9136aa; masked:
    #[test]
    fn the_checksum_is_tensorflows() {
        assert_eq!(masked_crc(&[0; 32]), 0x0fd7_fffa);
    }
}
