//! `results.jsonl`: a line for each model that has ended, synced to the disk at once.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::SweepError;
use super::manifest::Manifest;
use crate::cli::error::Error;
use crate::cli::files::FileError;
use crate::model::recipe::Recipe;

/// How a model ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All its steps are done.
    Done,
    /// A loss or a parameter was no longer a finite number.
    Diverged,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The point's number, from 0.
    pub point: usize,
    /// What it was trained with.
    pub options: Recipe,
    /// Mean loss over the training set, in nats; none if it diverged.
    pub train_loss: Option<f64>,
    /// Mean loss over the validation set.
    pub val_loss: Option<f64>,
    /// Mean loss over the test set.
    pub test_loss: Option<f64>,
    /// Time that its steps took, beside those of the models trained with it.
    pub seconds: f64,
    /// How it ended.
    pub status: Status,
    /// If it diverged: what was no longer finite, and at which step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub diverged: Option<String>,
    /// What did the work: a GPU API or the CPU.
    pub backend: String,
    /// The name of the GPU, or of the CPU code path.
    pub adapter: String,
    /// How the steps were launched; none on the CPU.
    pub schedule: Option<String>,
    /// The layout of a step there, as `--tuning` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<String>,
}

/// The file's name.
pub const FILE: &str = "results.jsonl";

/// What a file of results holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Its records.
    pub records: Vec<Record>,
    /// Whether the last line is incomplete: the program was killed while it wrote.
    pub torn: bool,
    /// Length of the whole lines.
    bytes: u64,
}

/// Reads the results of a folder; none if there is no file.
///
/// # Errors
///
/// The file cannot be read, or has a line that is no result of this sweep.
pub fn load(folder: &Path, manifest: &Manifest) -> Result<Found, Error> {
    let path = folder.join(FILE);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(mut file) => file
            .read_to_end(&mut bytes)
            .map_err(FileError::at("read", &path))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(e) => return Err(FileError::at("read", &path)(e).into()),
    };
    parse(&bytes, manifest).map_err(|reason| SweepError::Damaged { path, reason }.into())
}

fn parse(bytes: &[u8], manifest: &Manifest) -> Result<Found, String> {
    // A line counts once its newline is there.
    let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
    let mut records = Vec::new();
    for (i, line) in bytes[..whole].split_inclusive(|&b| b == b'\n').enumerate() {
        let line_number = i + 1;
        let record: Record = serde_json::from_slice(line)
            .map_err(|e| format!("line {line_number} is no result ({e})"))?;
        if manifest.points.get(record.point) != Some(&record.options) {
            let point = record.point;
            return Err(format!(
                "line {line_number} is not of this sweep: its point {point} has other options"
            ));
        }
        let losses = [record.train_loss, record.val_loss, record.test_loss];
        let fits = match record.status {
            Status::Done => losses.iter().all(Option::is_some),
            Status::Diverged => losses.iter().all(Option::is_none),
        };
        if !fits {
            return Err(format!(
                "line {line_number} contradicts itself: a model that is done has three losses, and \
                 one that diverged has none"
            ));
        }
        records.push(record);
    }
    Ok(Found {
        records,
        torn: whole < bytes.len(),
        bytes: whole as u64,
    })
}

/// The file of a running sweep, locked against a second one.
pub struct Results {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Results {
    /// Opens or creates the file, and removes an incomplete last line.
    ///
    /// # Errors
    ///
    /// Another process has it, or it cannot be read or written.
    pub fn open(folder: &Path, manifest: &Manifest) -> Result<(Self, Found), Error> {
        let path = folder.join(FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(FileError::at("open", &path))?;
        // Some network file systems have no locks: there, a second process goes unnoticed.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let path = folder.to_path_buf();
            return Err(SweepError::InUse { path }.into());
        }
        let found = load(folder, manifest)?;
        let bytes = found.bytes;
        let mut results = Self { path, file, bytes };
        results
            .cut()
            .map_err(FileError::at("write", &results.path))?;
        Ok((results, found))
    }

    /// Truncates the file after its complete lines.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes)).map(drop)
    }

    /// Appends a line and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be written. No part of the line is left in it.
    pub fn append(&mut self, record: &Record) -> Result<(), FileError> {
        let path = self.path.clone();
        let error = FileError::at("write", &path);
        let mut line = serde_json::to_vec(record).map_err(|e| error(e.into()))?;
        line.push(b'\n');
        match self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
        {
            Ok(()) => {
                self.bytes += line.len() as u64;
                Ok(())
            }
            Err(e) => {
                // The first error is the one to report.
                let _ = self.cut();
                Err(error(e))
            }
        }
    }
}
