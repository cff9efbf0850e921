//! The folder that a training run writes into.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::tensorboard;
use crate::cli::error::Failure;
use crate::cli::files::{FileError, exists, remove_leftovers, temporary_in};

/// Where the folders of runs without `--out` go, below the current folder.
const RUNS: &str = "runs";

/// How many runs may start in the same second before the program gives up.
const MAX_SAME_SECOND: u32 = 1000;

/// The folder of one training run: it exists, can be written to and holds no other run.
///
/// A run that fails before its first file leaves no trace: when the value is dropped, a folder
/// that it made and that is still empty is removed.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Whether the folder was made for this run.
    made: bool,
    /// Held as long as the run writes here.
    lock: Option<File>,
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // While it is held: who has opened it by now finds out that it is gone.
            let _ = fs::remove_file(self.file(Self::LOCK));
        }
        if self.made {
            // Refused by the operating system unless the folder is empty, which is what is wanted.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Why a run has no folder to write into.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// The folder has the files of an earlier run, and those are never overwritten.
    #[error("{} already holds a run ({file}); choose another --out or remove it", .path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
        /// The file that gives the earlier run away.
        file: &'static str,
    },
    /// Another process is writing into the folder.
    #[error("another process is training in {}; wait for it to end, or choose another --out", .path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder's run has come to its end.
    #[error(
        "the run in {} is finished: nothing left to continue; --steps N, with N above {steps}, takes it further",
        .path.display()
    )]
    Finished {
        /// The folder.
        path: PathBuf,
        /// Steps of the run.
        steps: u64,
    },
    /// The folder's run has come to its end, and what it would take to go further is gone.
    #[error("the run in {} is finished, and its {} is gone: nothing to continue from", .path.display(), RunDir::LAST)]
    Ended {
        /// The folder.
        path: PathBuf,
    },
    /// A finished model was asked for, but the run has not come to its end.
    #[error("the run in {0} is not finished; continue with: gpu-makemore train --resume {0}, or use {0}/{last} as it is", .path.display(), last = RunDir::LAST)]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has no run that could continue.
    #[error("{} has no run to continue ({} is missing); start one with train --out", .path.display(), RunDir::LAST)]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// `--resume` with a file that is not the last checkpoint of a run.
    #[error("{} is a file, but no {}; give the folder of the run", .path.display(), RunDir::LAST)]
    NotLast {
        /// The file.
        path: PathBuf,
    },
    /// There is a file of that name.
    #[error("{} is a file, not a folder; choose another --out", .path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// The folder cannot be made.
    #[error("{0}; choose a folder that you can write to with --out")]
    Create(#[source] FileError),
    /// The folder is there, but no file can be made in it.
    #[error("{0}; choose a folder that you can write to with --out")]
    NotWritable(#[source] FileError),
    /// The operating system refused to look into the folder.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Failure for RunDirError {}

impl RunDir {
    /// The trained model.
    pub const MODEL: &str = "model.safetensors";
    /// The loss over the steps, one JSON object a line.
    pub const METRICS: &str = "metrics.jsonl";
    /// The results, one JSON object.
    pub const SUMMARY: &str = "summary.json";
    /// Where the GPU's time went, one JSON object, if that was asked for.
    pub const PROFILE: &str = "profile.json";
    /// The last model with finite values, if the training diverged.
    pub const LAST_GOOD: &str = "last-good.safetensors";
    /// The run as it stood at its last checkpoint, with all that it takes to continue.
    pub const LAST: &str = "last.safetensors";
    /// The checkpoint with the lowest validation loss.
    pub const BEST: &str = "best.safetensors";
    /// Locked while a run writes into the folder.
    const LOCK: &str = ".lock";
    /// The picture of the loss.
    pub const PLOT: &str = "loss.png";

    /// Makes the folder `out` with its parents, or without `out` a new one in `runs` that is named
    /// after the local date and time, `runs/2026-01-31_18-05-09`, with `-2`, `-3` and so on
    /// appended when the name is taken.
    ///
    /// An existing `out` is fine as long as it holds none of the files of a run. Whether files can
    /// be made in the folder is tried here, because an hour of training later is a bad time to
    /// find out.
    ///
    /// # Errors
    ///
    /// `out` holds a run, is a file, or the folder cannot be made or written to.
    pub fn create(out: Option<&Path>) -> Result<Self, RunDirError> {
        let run = match out {
            Some(out) => Self::create_named(out)?,
            None => Self::create_dated(Path::new(RUNS), &local_time())?,
        };
        run.probe()?;
        Ok(run)
    }

    /// Makes the folder, as [`RunDir::create`] does, for a run that nobody else may disturb.
    ///
    /// # Errors
    ///
    /// Those of [`RunDir::create`]; another process has the folder.
    pub fn begin(out: Option<&Path>) -> Result<Self, RunDirError> {
        let mut run = Self::create(out)?;
        run.lock()?;
        Ok(run)
    }

    /// The folder of a run that is named by its folder or by its last checkpoint, whether that is
    /// there or not.
    ///
    /// # Errors
    ///
    /// The path is another file.
    pub fn of_run(path: &Path) -> Result<&Path, RunDirError> {
        if path.is_dir() {
            return Ok(path);
        }
        match path.parent() {
            Some(folder) if path.ends_with(Self::LAST) => Ok(match folder.as_os_str() {
                name if name.is_empty() => Path::new("."),
                _ => folder,
            }),
            _ if path.is_file() => Err(RunDirError::NotLast {
                path: path.to_path_buf(),
            }),
            _ => Ok(path),
        }
    }

    /// The folder of a run that continues. What a killed process left half written is removed.
    ///
    /// # Errors
    ///
    /// There is no such run, or another process has the folder.
    pub fn go_on(path: &Path) -> Result<Self, RunDirError> {
        let mut run = Self {
            path: path.to_path_buf(),
            made: false,
            lock: None,
        };
        // Looked at first: a folder of something else gets no file of ours.
        run.has_last()?;
        run.lock()?;
        // Whoever had the folder until now may have finished the run.
        run.has_last()?;
        run.probe()?;
        remove_leftovers(path)?;
        Ok(run)
    }

    fn has_last(&self) -> Result<(), RunDirError> {
        let path = self.path.clone();
        if exists(&self.file(Self::LAST))? {
            Ok(())
        } else if exists(&self.file(Self::SUMMARY))? {
            Err(RunDirError::Ended { path })
        } else {
            Err(RunDirError::NoRun { path })
        }
    }

    /// Takes the lock of the folder.
    fn lock(&mut self) -> Result<(), RunDirError> {
        let path = self.file(Self::LOCK);
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(FileError::at("open", &path))?;
            // Some network file systems have no locks: there, nothing warns of a second process.
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                let path = self.path.clone();
                return Err(RunDirError::InUse { path });
            }
            // The process that had it before removes it in the end. If that was between the two calls
            // above, it is no longer the file that others would lock.
            if is_still_at(&file, &path) {
                self.lock = Some(file);
                return Ok(());
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of one of its files: `run.file(RunDir::MODEL)`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn create_named(out: &Path) -> Result<Self, RunDirError> {
        if out.is_file() {
            return Err(RunDirError::NotAFolder {
                path: out.to_path_buf(),
            });
        }
        let made = !out.is_dir();
        fs::create_dir_all(out)
            .map_err(|e| RunDirError::Create(FileError::at("create the folder", out)(e)))?;
        for file in [
            Self::MODEL,
            Self::METRICS,
            Self::SUMMARY,
            Self::PLOT,
            Self::PROFILE,
            Self::LAST_GOOD,
            Self::LAST,
            Self::BEST,
        ] {
            if exists(&out.join(file))? {
                return Err(RunDirError::Taken {
                    path: out.to_path_buf(),
                    file,
                });
            }
        }
        // Their curves would be mixed with those of the new run.
        if !tensorboard::files(out)?.is_empty() {
            return Err(RunDirError::Taken {
                path: out.to_path_buf(),
                file: tensorboard::PREFIX,
            });
        }
        Ok(Self {
            path: out.to_path_buf(),
            made,
            lock: None,
        })
    }

    fn create_dated(base: &Path, name: &str) -> Result<Self, RunDirError> {
        fs::create_dir_all(base)
            .map_err(|e| RunDirError::Create(FileError::at("create the folder", base)(e)))?;
        for n in 1..=MAX_SAME_SECOND {
            let path = match n {
                1 => base.join(name),
                n => base.join(format!("{name}-{n}")),
            };
            // `create_dir` fails when the name is taken. Asking first and creating afterwards
            // would let two runs that start together share a folder.
            match fs::create_dir(&path) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        made: true,
                        lock: None,
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    let error = FileError::at("create the folder", &path)(e);
                    return Err(RunDirError::Create(error));
                }
            }
        }
        let error = io::Error::from(io::ErrorKind::AlreadyExists);
        Err(RunDirError::Create(FileError::at(
            "create the folder",
            &base.join(name),
        )(error)))
    }

    /// Makes a file and removes it again.
    fn probe(&self) -> Result<(), RunDirError> {
        temporary_in(&self.path)
            .and_then(tempfile::NamedTempFile::close)
            .map_err(|e| RunDirError::NotWritable(FileError::at("write into", &self.path)(e)))
    }
}

/// Whether the open file is the one that `path` names.
#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => same(a, b),
        _ => false,
    }
}

/// Elsewhere a file that is open in another process cannot be removed.
#[cfg(not(unix))]
fn is_still_at(_: &File, _: &Path) -> bool {
    true
}

/// The local time as `2026-01-31_18-05-09`: sorts by age, and no file system objects to it.
fn local_time() -> String {
    // The clock can only be out of range by a fault; a wrong date in a name is no reason to fail.
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    let local = now.to_zoned(TimeZone::system());
    local.strftime("%Y-%m-%d_%H-%M-%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_is_made_with_its_parents() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/b");
        let run = RunDir::create(Some(&out)).unwrap();
        assert_eq!(run.path(), out);
        assert_eq!(run.file(RunDir::MODEL), out.join("model.safetensors"));
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "the probe stayed");
        // Twice is fine as long as nothing was written, and other files are no run.
        fs::write(out.join("notes.txt"), "").unwrap();
        RunDir::create(Some(&out)).unwrap();
    }

    #[test]
    fn a_run_without_a_file_leaves_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("made");
        drop(RunDir::create(Some(&made)).unwrap());
        assert!(!made.exists());
        // What was there before stays, and so does what has a file.
        drop(RunDir::create(Some(dir.path())).unwrap());
        assert!(dir.path().exists());
        let run = RunDir::create(Some(&made)).unwrap();
        fs::write(run.file(RunDir::METRICS), "").unwrap();
        drop(run);
        assert!(made.join("metrics.jsonl").exists());
    }

    #[test]
    fn an_earlier_run_is_never_overwritten() {
        for file in [
            "model.safetensors",
            "metrics.jsonl",
            "summary.json",
            "loss.png",
            "profile.json",
            "last.safetensors",
            "best.safetensors",
            "events.out.tfevents",
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(file), "").unwrap();
            let message = RunDir::create(Some(dir.path())).unwrap_err().to_string();
            assert_eq!(
                message,
                format!(
                    "{} already holds a run ({file}); choose another --out or remove it",
                    dir.path().display()
                )
            );
        }
    }

    #[test]
    fn a_folder_has_one_run_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let first = RunDir::begin(Some(&out)).unwrap();
        let message = RunDir::begin(Some(&out)).unwrap_err().to_string();
        assert!(
            message.contains("another process is training in"),
            "{message}"
        );
        fs::write(first.file(RunDir::LAST), "").unwrap();
        let error = RunDir::go_on(&out).unwrap_err();
        assert!(matches!(error, RunDirError::InUse { .. }), "{error}");
        drop(first);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "the lock stayed");
        // The lock of a process that was killed is a file that nobody has locked.
        fs::write(out.join(".lock"), "").unwrap();
        let (_, left) = temporary_in(&out).unwrap().keep().unwrap();
        let run = RunDir::go_on(&out).unwrap();
        assert!(!left.exists());
        fs::remove_file(run.file(RunDir::LAST)).unwrap();
        drop(run);
        // Without a file it leaves no trace at all.
        drop(RunDir::begin(Some(&dir.path().join("none"))).unwrap());
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn only_a_run_that_is_not_finished_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let error = RunDir::go_on(&dir.path().join("missing")).unwrap_err();
        assert!(matches!(error, RunDirError::NoRun { .. }), "{error}");
        let error = RunDir::go_on(dir.path()).unwrap_err();
        assert!(matches!(error, RunDirError::NoRun { .. }), "{error}");
        fs::write(dir.path().join(RunDir::SUMMARY), "").unwrap();
        let error = RunDir::go_on(dir.path()).unwrap_err();
        assert!(matches!(error, RunDirError::Ended { .. }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_run_is_named_by_its_folder_or_by_its_last_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let last = dir.path().join(RunDir::LAST);
        assert_eq!(RunDir::of_run(dir.path()).unwrap(), dir.path());
        // There or not: what is missing is found out later, with a message about the run.
        assert_eq!(RunDir::of_run(&last).unwrap(), dir.path());
        fs::write(&last, "").unwrap();
        assert_eq!(RunDir::of_run(&last).unwrap(), dir.path());
        let bare = RunDir::of_run(Path::new(RunDir::LAST)).unwrap();
        assert_eq!(bare, Path::new("."));
        let best = dir.path().join(RunDir::BEST);
        assert_eq!(RunDir::of_run(&best).unwrap(), best);
        fs::write(&best, "").unwrap();
        let error = RunDir::of_run(&best).unwrap_err();
        assert!(matches!(error, RunDirError::NotLast { .. }), "{error}");
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = RunDir::create(Some(&file)).unwrap_err();
        assert!(matches!(error, RunDirError::NotAFolder { .. }), "{error}");
        let error = RunDir::create(Some(&file.join("below"))).unwrap_err();
        assert!(matches!(error, RunDirError::Create(_)), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_without_permission_to_write_is_found_at_once() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
        if fs::write(dir.path().join("x"), "").is_ok() {
            return; // nothing is forbidden to the superuser
        }
        let error = RunDir::create(Some(dir.path())).unwrap_err();
        assert!(matches!(error, RunDirError::NotWritable(_)), "{error}");
    }

    #[test]
    fn runs_of_the_same_second_get_folders_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("runs");
        let names: Vec<_> = (0..3)
            .map(|_| RunDir::create_dated(&base, "2026-01-31_18-05-09").unwrap())
            .collect();
        let expected =
            ["", "-2", "-3"].map(|suffix| base.join(format!("2026-01-31_18-05-09{suffix}")));
        assert_eq!(names.iter().map(RunDir::path).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_time_is_a_plain_name() {
        let time = local_time();
        assert_eq!(time.len(), "2026-01-31_18-05-09".len());
        assert!(
            time.bytes()
                .all(|b| b.is_ascii_digit() || b"-_".contains(&b))
        );
    }
}
