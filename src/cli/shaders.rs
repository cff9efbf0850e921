//! Kernels from files: `gpu-makemore shaders DIR` writes the program's own, `--shaders DIR` takes those in DIR.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use strsim::levenshtein;

use crate::backend::{DeviceError, ShaderError};
use crate::cli::args::ShadersArgs;
use crate::cli::error::{Error, Failure, Usage};
use crate::cli::files::{FileError, OpenError, TextError, exists, read_text, write_atomic};
use crate::cli::report::Output;
use crate::gpu::kernels::Kernels;
use crate::gpu::shader::Part;
use crate::text::excerpt;

/// Bytes of a file at most: some twenty times the longest of the program's own.
const MAX_BYTES: u64 = 1 << 20;

/// Why kernels cannot be written to files, or be taken from them.
#[derive(Debug, thiserror::Error)]
pub enum ShadersError {
    /// There is nothing to read.
    #[error(
        "--shaders {0}: there is no such folder; `gpu-makemore shaders {0}` makes it, with the program's own \
         kernels",
        .path.display()
    )]
    Missing {
        /// The folder asked for.
        path: PathBuf,
    },
    /// The path of the folder names something else.
    #[error("{} is not a folder; give the path of one for the kernels", .path.display())]
    NotAFolder {
        /// The path asked for.
        path: PathBuf,
    },
    /// A file is there already, with other text.
    #[error(
        "{} is there already and differs from the program's own; nothing was written: choose another folder, or \
         remove the file",
        .path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// Something that is no file of the kernels.
    #[error("{} is no file of the kernels; the nearest name is {nearest}: rename it, or move it away", .path.display())]
    Unknown {
        /// What is there.
        path: PathBuf,
        /// The file of the kernels whose name is most like it.
        nearest: &'static str,
    },
    /// No regular file, though it has the name of one.
    #[error("{} is not a regular file, and a kernel is read from one", .path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// Nothing in it.
    #[error("{} is empty; delete it, and the program's own is used in its place", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Too long for a kernel.
    #[error("{} is longer than a file of the kernels may be ({MAX_BYTES} bytes)", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// No text.
    #[error("{} is not UTF-8 in line {line}; save it as UTF-8", .path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Failure for ShadersError {}

/// Why a device does not take the kernels of a folder.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler found a mistake.
    #[error("{place}:{}:{}: {}", .error.line, .error.column, .error.message)]
    Mistake {
        /// The path of the file; or, of one that is the program's own, its name and that it is that.
        place: String,
        /// What the compiler says.
        error: ShaderError,
    },
    /// The driver refused a kernel without saying where the mistake is.
    #[error("{error}; the kernels in {} were in use, where {differ}", .path.display())]
    Refused {
        /// What the driver says.
        error: DeviceError,
        /// The folder.
        path: PathBuf,
        /// Which files differ.
        differ: String,
    },
}

impl Failure for CompileError {
    fn below(&self) -> Vec<String> {
        match self {
            Self::Mistake { error, .. } => error.drawing().into_iter().flatten().collect(),
            _ => Vec::new(),
        }
    }
}

/// Runs the command.
///
/// # Errors
///
/// A file is there with other text, or something cannot be written.
pub fn run(args: &ShadersArgs) -> Result<(), Error> {
    let mut out = Output::new();
    let folder = &args.folder;
    let (all, written) = write(folder)?;
    let folder = excerpt(folder.display(), usize::MAX);
    for line in [
        format!("{all} files in {folder}, {written} of them written now"),
        "next      change one, such as tanh.wgsl, then".to_owned(),
        format!("          gpu-makemore gradcheck --shaders {folder}"),
        format!("          gpu-makemore train --shaders {folder}"),
        "          without a GPU, with --backend vulkan; a file that you delete is the program's own again".to_owned(),
    ] {
        out.line(&line)?;
    }
    Ok(())
}

/// Writes the files of the kernels that are not there yet; how many there are, and how many were written.
///
/// # Errors
///
/// A file is there with other text; then nothing is written. Or something cannot be read or written.
pub fn write(folder: &Path) -> Result<(usize, usize), ShadersError> {
    is_folder(folder)?;
    let files = Kernels::default().files();
    let mut absent: Vec<(PathBuf, &Part)> = Vec::new();
    for part in &files {
        let path = folder.join(part.file);
        match fs::read(&path) {
            Ok(bytes) if bytes == part.text.as_bytes() => {}
            Ok(_) => return Err(ShadersError::Differs { path }),
            // A link that leads nowhere is there too.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !exists(&path)? => {
                absent.push((path, part));
            }
            Err(e) => return Err(FileError::at("read", &path)(e).into()),
        }
    }
    for (path, part) in &absent {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
        }
        write_atomic(path, |w| w.write_all(part.text.as_bytes()))?;
    }
    Ok((files.len(), absent.len()))
}

/// Whether a folder is there; something else in its place is an error.
fn is_folder(path: &Path) -> Result<bool, ShadersError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(ShadersError::NotAFolder { path: path.into() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            Err(ShadersError::NotAFolder { path: path.into() })
        }
        Err(e) => Err(FileError::at("look at", path)(e).into()),
    }
}

/// The kernels of a command: the program's own, or with the files of `--shaders`.
#[derive(Clone, Debug, Default)]
pub struct Shaders {
    /// The folder, if one was given.
    folder: Option<PathBuf>,
    /// Its files of the kernels.
    there: Vec<&'static str>,
    kernels: Kernels,
}

impl Shaders {
    /// Those of `--shaders`, if it is given.
    ///
    /// # Errors
    ///
    /// The folder has something that is no file of the kernels, or a file that is no text.
    pub fn load(folder: Option<&Path>) -> Result<Self, ShadersError> {
        let mut shaders = Self::default();
        let Some(folder) = folder else {
            return Ok(shaders);
        };
        if !is_folder(folder)? {
            let path = folder.to_path_buf();
            return Err(ShadersError::Missing { path });
        }
        shaders.folder = Some(folder.to_path_buf());
        shaders.load_from(folder, "")?;
        Ok(shaders)
    }

    /// Takes the files of a folder, whose files have names under `shaders/` that begin with `prefix`.
    fn load_from(&mut self, folder: &Path, prefix: &str) -> Result<(), ShadersError> {
        let known: Vec<&'static str> = Kernels::default().files().iter().map(|p| p.file).collect();
        let refused = FileError::at("read", folder);
        let mut entries = fs::read_dir(folder).map_err(&refused)?;
        let mut names = Vec::new();
        while let Some(entry) = entries.next().transpose().map_err(&refused)? {
            names.push(entry.file_name());
        }
        names.sort(); // which mistake is told first is the same everywhere
        for name in names {
            let path = folder.join(&name);
            let name = name.to_string_lossy();
            // What editors, version control and file managers leave beside a file.
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            let file = format!("{prefix}{name}");
            if let Some(&file) = known.iter().find(|known| **known == file) {
                let text = read(&path)?;
                if let Some(kernels) = self.kernels.clone().with_file(file, &text) {
                    self.kernels = kernels;
                }
                self.there.push(file);
                continue;
            }
            let inside = format!("{file}/");
            let holds_some = known.iter().any(|known| known.starts_with(&inside));
            if !holds_some || !path.is_dir() {
                let nearest = nearest(&file, &known);
                return Err(ShadersError::Unknown { path, nearest });
            }
            self.load_from(&path, &inside)?;
        }
        Ok(())
    }

    /// The kernels.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Whether `--shaders` was given.
    pub fn are_given(&self) -> bool {
        self.folder.is_some()
    }

    /// Which files differ, for the lines that say what is about to be done; none without `--shaders`.
    pub fn line(&self) -> Option<String> {
        let folder = self.folder.as_ref()?;
        Some(format!("{}: {}", folder.display(), self.differ()))
    }

    fn differ(&self) -> String {
        let changed: Vec<&str> = self.kernels.changed().collect();
        match &changed[..] {
            [] => "no file differs from the program's own".to_owned(),
            [one] => format!("{one} differs"),
            several => format!("{} differ", several.join(", ")),
        }
    }

    /// The error of a device that was opened with these kernels: with the path of the file if it has to do
    /// with one.
    pub fn explain(&self, error: Error) -> Error {
        let Some(folder) = self.folder.as_ref().filter(|_| self.kernels.are_changed()) else {
            return error;
        };
        match error.device() {
            Some(DeviceError::Shader(error)) => {
                let place = match self.there.contains(&error.file) {
                    true => folder.join(error.file).display().to_string(),
                    false => format!("{} (the program's own)", error.file),
                };
                let error = error.clone();
                CompileError::Mistake { place, error }.into()
            }
            Some(DeviceError::Fault(message)) => CompileError::Refused {
                error: DeviceError::Fault(message.clone()),
                path: folder.clone(),
                differ: self.differ(),
            }
            .into(),
            _ => error,
        }
    }
}

/// The text of a file.
fn read(path: &Path) -> Result<String, ShadersError> {
    let own = || path.to_path_buf();
    let text = read_text(path, MAX_BYTES).map_err(|error| match error {
        // It was listed: a link that leads nowhere.
        TextError::Open(OpenError::Missing | OpenError::NotAFile) => {
            ShadersError::NotAFile { path: own() }
        }
        TextError::Open(OpenError::File(error)) => error.into(),
        TextError::TooLong => ShadersError::TooLong { path: own() },
        TextError::NotUtf8 { line, .. } => ShadersError::NotUtf8 { path: own(), line },
    })?;
    // Some editors begin a file with a byte order mark, which WGSL does not know.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match text.trim().is_empty() {
        true => Err(ShadersError::Empty { path: own() }),
        false => Ok(text.to_owned()),
    }
}

/// The name that is most like another one, in itself or in its last part.
fn nearest(name: &str, known: &[&'static str]) -> &'static str {
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_lowercase();
    let far = |file: &&&str| {
        let whole = levenshtein(&name.to_lowercase(), file);
        whole.min(1 + levenshtein(&last(name), &last(file)))
    };
    known.iter().min_by_key(far).copied().unwrap_or_default()
}

/// The error of `--shaders` on the CPU.
pub fn on_the_cpu(why: &str) -> Usage {
    Usage(format!(
        "--shaders changes kernels, and none runs on the CPU, where this run is: {why}; give --backend vulkan, \
         metal, dx12 or gl, whichever `gpu-makemore adapters` lists"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(folder: &Path) -> Result<Shaders, String> {
        Shaders::load(Some(folder)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_as_the_programs_own_and_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let (all, written) = write(&path).unwrap();
        assert_eq!(all, written);
        assert_eq!(write(&path).unwrap(), (all, 0));
        fs::remove_file(path.join("sgd.wgsl")).unwrap();
        assert_eq!(write(&path).unwrap(), (all, 1));
        let shaders = loaded(&path).unwrap();
        assert!(shaders.are_given() && !shaders.kernels().are_changed());
        assert_eq!(shaders.there.len(), all);
        let line = shaders.line().unwrap();
        assert!(
            line.ends_with("a/b: no file differs from the program's own"),
            "{line}"
        );
        assert_eq!(Shaders::load(None).unwrap().line(), None);
    }

    #[test]
    fn a_file_that_differs_is_not_overwritten_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // The last of them all: by then others would have been written.
        let last = Kernels::default().files().pop().unwrap().file;
        fs::create_dir_all(path.join(last).parent().unwrap()).unwrap();
        fs::write(path.join(last), "mine").unwrap();
        let error = write(path).unwrap_err().to_string();
        let named = path.join(last).display().to_string();
        assert!(
            error.starts_with(&named) && error.contains("nothing was written"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(path.join(last)).unwrap(), "mine");
        assert!(!path.join("tanh.wgsl").exists());
        let file = path.join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = write(&path).unwrap_err().to_string();
            assert!(error.contains("is not a folder"), "{error}");
        }
    }

    #[test]
    fn each_file_that_cannot_be_a_kernel_is_named_with_the_reason() {
        let long = "x".repeat(MAX_BYTES as usize + 1);
        for (file, content, reason) in [
            ("tanh.wgs", &b"x"[..], "the nearest name is tanh.wgsl"),
            ("foo.wgsl", b"x", "the nearest name is sgd.wgsl"),
            (
                "Staged/Linear.wgsl",
                b"x",
                "Staged is no file of the kernels",
            ),
            ("linear2.wgsl", b"x", "the nearest name is linear.wgsl"),
            (
                "train.wgsl",
                b"x",
                "the nearest name is resident/train.wgsl",
            ),
            (
                "staged/part.wgsl",
                b"x",
                "the nearest name is staged/parts.wgsl",
            ),
            ("staged", b"x", "is no file of the kernels"),
            ("tanh.wgsl/x", b"x", "tanh.wgsl is not a regular file"),
            ("tanh.wgsl", b"", "is empty"),
            ("tanh.wgsl", b" \n\n", "is empty"),
            ("staged/sgd.wgsl", b"a\nb\n\xff", "is not UTF-8 in line 3"),
            ("tanh.wgsl", long.as_bytes(), "is longer than"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let error = loaded(folder.path()).unwrap_err();
            let begins = folder.path().display().to_string();
            assert!(
                error.starts_with(&begins) && error.contains(reason),
                "{file}: {error}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let error = loaded(&folder.path().join("none")).unwrap_err();
        assert!(error.contains("gpu-makemore shaders "), "{error}");
    }

    #[test]
    fn what_editors_leave_and_how_they_end_lines_is_no_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path(".git")).unwrap();
        for name in [".tanh.wgsl.swp", "tanh.wgsl~", ".git/HEAD"] {
            fs::write(path(name), "x").unwrap();
        }
        let files = Kernels::default().files();
        let own = files.iter().find(|part| part.file == "tanh.wgsl").unwrap();
        fs::write(path("tanh.wgsl"), format!("\u{feff}{}\n", own.text)).unwrap();
        assert!(!loaded(folder.path()).unwrap().kernels().are_changed());
        fs::write(
            path("tanh.wgsl"),
            own.text.replace("1.0 - h * h", "1.0 - h"),
        )
        .unwrap();
        let line = loaded(folder.path()).unwrap().line().unwrap();
        assert!(line.ends_with(": tanh.wgsl differs"), "{line}");
        fs::write(path("sgd.wgsl"), "x").unwrap();
        let line = loaded(folder.path()).unwrap().line().unwrap();
        assert!(line.ends_with(": sgd.wgsl, tanh.wgsl differ"), "{line}");
    }
}
