//! A folder with a learner's files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::LearnError;
use crate::cli::files::{FileError, OpenError, TextError, read_text};
use crate::cores::{cores, share_out};
use crate::exercises::{EXERCISES, Exercise, Problem, Verdict, check};

/// Bytes that are read of a file at most: many times what a solution has.
const MOST: u64 = 1 << 20;

/// A folder with some of the exercises in it.
pub struct Folder(PathBuf);

/// Writes the exercises that a folder lacks, and counts them.
///
/// # Errors
///
/// The file system refuses.
pub fn write(dir: &Path) -> Result<usize, FileError> {
    fs::create_dir_all(dir).map_err(FileError::at("create the folder", dir))?;
    let mut written = 0;
    for exercise in EXERCISES {
        let path = dir.join(exercise.file);
        // Never over what is there, even if it has come this moment.
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        match file {
            Ok(mut file) => {
                let whole = file.write_all(exercise.text.as_bytes());
                if let Err(error) = whole {
                    // Half a file would count as the learner's.
                    let _ = fs::remove_file(&path);
                    return Err(FileError::at("write", &path)(error));
                }
                written += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(FileError::at("write", &path)(error)),
        }
    }
    Ok(written)
}

impl Folder {
    /// A folder that has exercises.
    pub fn of(dir: &Path) -> Result<Self, LearnError> {
        let there = EXERCISES
            .iter()
            .any(|exercise| dir.join(exercise.file).exists());
        match there {
            true => Ok(Self(dir.to_path_buf())),
            false => Err(LearnError::NoExercises(dir.to_path_buf())),
        }
    }

    /// The path of an exercise, if it is there.
    pub fn path(&self, exercise: &Exercise) -> Option<PathBuf> {
        let path = self.0.join(exercise.file);
        path.exists().then_some(path)
    }

    /// The text of an exercise, if it is there and is text.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn text(&self, exercise: &Exercise) -> Result<Option<String>, FileError> {
        match self.path(exercise) {
            Some(path) => Ok(read(&path)?.ok()),
            None => Ok(None),
        }
    }

    /// The verdicts on some exercises; none for a file that is not there.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn check(
        &self,
        exercises: &[&'static Exercise],
    ) -> Result<Vec<Option<Verdict>>, FileError> {
        let one = |exercise: &'static Exercise| -> Result<Option<Verdict>, FileError> {
            let Some(path) = self.path(exercise) else {
                return Ok(None);
            };
            Ok(Some(match read(&path)? {
                Ok(text) => check(exercise, &text),
                Err(problem) => Verdict::Refused(problem),
            }))
        };
        share_out(cores(), exercises.iter().copied(), one)
            .into_iter()
            .collect()
    }
}

/// A learner's file as text, or what is wrong with it.
fn read(path: &Path) -> Result<Result<String, Problem>, FileError> {
    let (line, excerpt, message) = match read_text(path, MOST) {
        Ok(text) => return Ok(Ok(text)),
        Err(TextError::Open(OpenError::File(error))) => return Err(error),
        Err(TextError::NotUtf8 { line, excerpt }) => {
            let message = "the file is not UTF-8: save it with that encoding".to_owned();
            (line as u32, excerpt, message)
        }
        Err(error) => (0, String::new(), error.to_string()),
    };
    Ok(Err(Problem {
        line,
        column: 1,
        excerpt,
        message,
        help: None,
        known: None,
    }))
}
