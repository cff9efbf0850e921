//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use tempfile::NamedTempFile;

use super::faults::{self, Point, reached};

/// Something that the file system refused, with the file it was about.
///
/// The message is one line with the operating system's reason at the end:
/// `cannot write runs/a/loss.png: No space left on device (os error 28)`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", .path.display())]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// What was to be done with it: `read`, `write`, `create`.
    pub action: &'static str,
    /// The operating system's reason.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: adds the file and the action to an I/O error.
    pub fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> FileError {
        move |source| FileError {
            path: path.to_path_buf(),
            action,
            source,
        }
    }
}

/// Why a file that should be read whole cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// The path names a folder, a device or a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Opens a regular file for reading, and tells its length.
///
/// # Errors
///
/// [`OpenError`] lists them.
pub fn open_regular(path: &Path) -> Result<(File, u64), OpenError> {
    // Asked before opening, which would wait forever for the other end of a named pipe.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(OpenError::NotAFile),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(OpenError::Missing),
        _ => {}
    }
    let open = || {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    };
    Ok(open().map_err(FileError::at("read", path))?)
}

/// Why a file is not read as text.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It cannot be opened or read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It has more bytes than are read.
    #[error("it is too long")]
    TooLong,
    /// It is not UTF-8.
    #[error("it is not UTF-8 in line {line}")]
    NotUtf8 {
        /// The line, from 1.
        line: usize,
        /// Its text, as far as it can be read.
        excerpt: String,
    },
}

/// The text of a regular file that has at most `most` bytes.
///
/// # Errors
///
/// [`TextError`] lists them.
pub fn read_text(path: &Path, most: u64) -> Result<String, TextError> {
    let (file, _) = open_regular(path)?;
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| OpenError::File(FileError::at("read", path)(error)))?;
    if bytes.len() as u64 > most {
        return Err(TextError::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let text = String::from_utf8_lossy(error.as_bytes());
        TextError::NotUtf8 {
            line,
            excerpt: text.lines().nth(line - 1).unwrap_or_default().to_owned(),
        }
    })
}

/// Writes the file `path` by way of a temporary file, so that a reader sees the old content or
/// the new, never half of it, whatever interrupts the program.
///
/// `fill` writes the content, through a buffer. The temporary file lies in the folder of `path`,
/// because only within one file system is a rename atomic. It reaches the disk before it takes
/// the name `path`, and so does the name itself where the platform lets a program ask for that
/// (unix). When anything fails, the temporary file is removed and `path` stays as it was.
///
/// A link stays a link: the file that it leads to is replaced. What is no file, such as a pipe or
/// `/dev/stdout`, is written to as it is.
///
/// # Errors
///
/// The folder is missing or not writable, the disk is full, or `fill` fails.
pub fn write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FileError> {
    let write = || match fs::metadata(path) {
        Ok(found) if found.is_file() => try_write_atomic(&fs::canonicalize(path)?, fill),
        // A folder is refused when the file is to get its name.
        Ok(found) if !found.is_dir() => {
            let mut writer = BufWriter::new(OpenOptions::new().write(true).open(path)?);
            fill(&mut writer)?;
            writer.flush()
        }
        _ => try_write_atomic(path, fill),
    };
    write().map_err(FileError::at("write", path))
}

fn try_write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let folder = folder_of(path);
    let temporary = temporary_in(folder)?;
    reached(path, Point::Created)?;

    let mut writer = BufWriter::new(Watched {
        file: temporary.as_file(),
        path,
    });
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    reached(path, Point::Written)?;

    // Without this, a power cut shortly after the rename can leave the new name with no content.
    temporary.as_file().sync_all()?;
    reached(path, Point::Synced)?;
    temporary.persist(path).map_err(|e| e.error)?;
    reached(path, Point::Renamed)?;
    sync_folder(folder)?;
    reached(path, Point::Done)
}

/// A file that is written in parts if a fault may come between them.
struct Watched<'a> {
    file: &'a File,
    path: &'a Path,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !faults::are_injected() {
            return self.file.write(bytes);
        }
        let written = self.file.write(&bytes[..bytes.len().div_ceil(2)])?;
        reached(self.path, Point::Filling)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that grows by whole records. Other programs can read each of them as soon as it is appended.
#[derive(Debug)]
pub struct Appended {
    path: PathBuf,
    file: File,
    /// Length of the records in the file.
    bytes: u64,
}

impl Appended {
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
        })
    }

    /// Continues after the first `bytes` of an open file and cuts off the rest.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn go_on(path: &Path, mut file: File, bytes: u64) -> Result<Self, FileError> {
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::Start(bytes)))
            .map_err(FileError::at("write", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            bytes,
        })
    }

    /// Appends a record; it is in the file when this returns. If it does not fit on the disk, no part of it
    /// stays.
    ///
    /// # Errors
    ///
    /// The file cannot be written, because the disk is full for example.
    pub fn append(&mut self, record: &[u8]) -> Result<(), FileError> {
        // The file is not buffered, so that there is nothing to flush.
        match self.file.write_all(record) {
            Ok(()) => self.bytes += record.len() as u64,
            Err(e) => {
                // A full disk takes what fits, and half a record would be none. If it cannot be taken back,
                // the first error is still the one to report.
                let _ = self.file.set_len(self.bytes);
                return Err(FileError::at("write", &self.path)(e));
            }
        }
        Ok(())
    }

    /// Waits until the records are on the disk.
    ///
    /// # Errors
    ///
    /// The disk does not take them.
    pub fn sync(&self) -> Result<(), FileError> {
        (self.file.sync_data()).map_err(FileError::at("write", &self.path))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the records in the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Removes the temporary files that a killed process left in `folder`. Nobody else may be writing
/// there.
///
/// # Errors
///
/// The folder cannot be read, or a file cannot be removed.
pub fn remove_leftovers(folder: &Path) -> Result<(), FileError> {
    let entries = fs::read_dir(folder).map_err(FileError::at("read", folder))?;
    for entry in entries {
        let entry = entry.map_err(FileError::at("read", folder))?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes()) {
            let path = entry.path();
            fs::remove_file(&path).map_err(FileError::at("remove", &path))?;
        }
    }
    Ok(())
}

/// What the name of a temporary file begins and ends with.
const PREFIX: &str = ".gpu-makemore-";
const SUFFIX: &str = ".tmp";

/// Makes a hidden file in `folder` that is removed when the value is dropped.
///
/// # Errors
///
/// The folder is missing or not writable; the error is the operating system's own.
pub fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    // `tempfile` adds the temporary file's name to errors, which would only distract from the
    // file that a message is about.
    let mut code = None;
    tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(SUFFIX)
        // The files that `tempfile` makes by itself are private to the user. This one may end up
        // as a file like any other, so it is opened like any other.
        .make_in(folder, |path| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path)
                .inspect_err(|e| code = e.raw_os_error())
        })
        .map_err(|e| code.map_or(e, io::Error::from_raw_os_error))
}

/// The folder that holds `path`; `.` for a bare file name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The path that leads from a folder to a file; `None` if either is missing, or is no text.
pub fn seen_from(folder: &Path, file: &Path) -> Option<String> {
    let [folder, file] = [folder, file].map(|path| fs::canonicalize(path).ok());
    let (folder, file) = (folder?, file?);
    let (from, to) = (folder.components(), file.components());
    let common = from.clone().zip(to.clone()).take_while(|(a, b)| a == b);
    let common = common.count();
    if common == 0 {
        return file.to_str().map(str::to_owned); // another drive
    }
    let up = from.skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(to.skip(common)).collect();
    path.to_str().map(str::to_owned)
}

/// Puts a folder's list of names on the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(()); // elsewhere a folder cannot be opened as a file
    }
    match File::open(folder)?.sync_all() {
        // Some network file systems have no such operation; the file itself is complete.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Whether anything has the name `path`, a link that leads nowhere included.
///
/// # Errors
///
/// The name cannot be looked up, for lack of permission for example.
pub fn exists(path: &Path) -> Result<bool, FileError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(FileError::at("look at", path)(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_replaces_content_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for content in ["first", "second, longer", ""] {
            write_atomic(&path, |w| w.write_all(content.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let kept = ["a.tmp", ".tmp", ".gpu-makemore-a", "model.safetensors"];
        for name in kept {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let (_, left) = temporary_in(dir.path()).unwrap().keep().unwrap();
        remove_leftovers(dir.path()).unwrap();
        assert!(!left.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), kept.len());
        assert!(remove_leftovers(&dir.path().join("missing")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_a_pipe_a_pipe() {
        use std::os::unix::fs::{FileTypeExt, symlink};

        let dir = tempfile::tempdir().unwrap();
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| dir.path().join(name));
        fs::write(&file, "old").unwrap();
        symlink("file", &link).unwrap();
        write_atomic(&link, |w| w.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");

        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        write_atomic(&pipe, |w| w.write_all(b"through")).unwrap();
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(reader.join().unwrap(), "through");
    }

    #[test]
    fn a_failed_write_keeps_the_old_content_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        let error = write_atomic(&path, |w| {
            w.write_all(b"half of the new")?;
            Err(io::Error::other("the disk is full"))
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot write {}: the disk is full", path.display())
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_and_a_folder_as_target_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing").join("file");
        let message = write_atomic(&missing, |_| Ok(())).unwrap_err().to_string();
        assert_eq!(message.matches("missing").count(), 1, "{message}");
        assert!(write_atomic(dir.path(), |_| Ok(())).is_err());
        for nameless in ["", "/", ".."] {
            assert!(write_atomic(Path::new(nameless), |_| Ok(())).is_err());
        }
    }

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("a")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/b")), Path::new("a"));
        assert_eq!(folder_of(Path::new("/b")), Path::new("/"));
    }

    #[test]
    fn a_path_leads_from_a_folder_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("runs/a")).unwrap();
        for (file, folder, expected) in [
            ("words", "runs/a", "../../words"),
            ("runs/words", "runs/a", "../words"),
            ("runs/a/words", "runs/a", "words"),
            ("runs/a/words", "", "runs/a/words"),
        ] {
            fs::write(path(file), "").unwrap();
            let found = seen_from(&path(folder), &path(file)).unwrap();
            assert_eq!(Path::new(&found), Path::new(expected));
            assert!(path(folder).join(found).is_file());
        }
        assert_eq!(seen_from(dir.path(), &path("missing")), None);
    }

    #[cfg(unix)]
    #[test]
    fn files_get_the_usual_permissions() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let [plain, atomic] = ["plain", "atomic"].map(|name| dir.path().join(name));
        fs::write(&plain, "").unwrap();
        write_atomic(&atomic, |_| Ok(())).unwrap();
        let [plain, atomic] = [plain, atomic].map(|p| fs::metadata(p).unwrap().permissions());
        assert_eq!(atomic.mode(), plain.mode());
    }
}
