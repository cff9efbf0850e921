//! The file of `gradcheck --against`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::cli::error::Failure;
use crate::cli::files::{FileError, OpenError, open_regular};
use crate::gradcheck::against::{AgainstError, Foreign, Given};

/// Why the file cannot be checked. Every message is one line that names it.
#[derive(Debug, thiserror::Error)]
pub enum GivenFileError {
    /// There is no such file.
    #[error("cannot check {}: there is no such file", .path.display())]
    Missing {
        /// The file asked for.
        path: PathBuf,
    },
    /// The path names a folder, a device or a pipe.
    #[error("cannot check {}: it is not a regular file; give the path of a safetensors file", .path.display())]
    NotAFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refused to read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in the file cannot be checked.
    #[error("cannot check {}: {source}{}", .path.display(), conversion(.source, .path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        source: AgainstError,
    },
}

impl Failure for GivenFileError {}

/// The two lines of Python that make a safetensors file of another one.
fn conversion(error: &AgainstError, path: &Path) -> String {
    let AgainstError::Foreign(foreign) = error else {
        return String::new();
    };
    // Text in JSON is text in Python.
    let quoted = |text: &OsStr| serde_json::Value::from(text.to_string_lossy()).to_string();
    let (from, to) = (quoted(path.as_os_str()), path.with_extension("safetensors"));
    // The file itself may have that name.
    let to = if to == path {
        path.with_extension("converted.safetensors")
    } else {
        to
    };
    let to = quoted(to.as_os_str());
    // PyTorch's writer refuses views and tensors that share memory.
    let tensors = "{k: torch.as_tensor(t).detach().contiguous().clone() for k, t in mine.items()}";
    let (module, load, writer, tensors) = match foreign {
        Foreign::PyTorch => {
            let load = format!("torch.load({from}, map_location=\"cpu\")");
            ("torch", load, "torch", tensors)
        }
        Foreign::Pickle => {
            let load = format!("pickle.load(open({from}, \"rb\"))");
            ("pickle, torch", load, "torch", tensors)
        }
        Foreign::Npz => (
            "numpy",
            format!("dict(numpy.load({from}))"),
            "numpy",
            "mine",
        ),
        Foreign::Npy => {
            let name = quoted(path.file_stem().unwrap_or_default());
            let load = format!("{{{name}: numpy.load({from})}}");
            ("numpy", load, "numpy", "mine")
        }
    };
    let others = match foreign {
        Foreign::Npy => "; all tensors go into one file: put the others into `mine` beside it",
        _ => "",
    };
    format!(
        "; two lines of Python convert it: `import {module}, safetensors.{writer}; mine = {load}` and \
         `safetensors.{writer}.save_file({tensors}, {to})`{others}"
    )
}

/// Reads the file and checks that its tensors belong together.
///
/// # Errors
///
/// The file cannot be read, or what is in it is refused.
pub fn load(path: &Path) -> Result<Given, GivenFileError> {
    let (file, length) = open_regular(path).map_err(|error| match error {
        OpenError::Missing => GivenFileError::Missing { path: path.into() },
        OpenError::NotAFile => GivenFileError::NotAFile { path: path.into() },
        OpenError::File(error) => error.into(),
    })?;
    Given::read(length, file).map_err(|source| match source {
        AgainstError::Read(source) => FileError::at("read", path)(source).into(),
        source => GivenFileError::Content {
            path: path.into(),
            source,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_file_and_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.safetensors");
        let said = |path: &Path| load(path).unwrap_err().to_string();
        let start = format!("cannot check {}: ", path.display());
        assert_eq!(said(&path), format!("{start}there is no such file"));
        std::fs::write(&path, "words").unwrap();
        assert_eq!(
            said(&path),
            format!(
                "{start}it is not a safetensors file, or it is damaged: it is only 5 bytes long; write it \
                 with safetensors.torch.save_file"
            )
        );
        assert!(said(folder.path()).contains("not a regular file"));
        // A hole on the disk, refused unread.
        let file = std::fs::File::create(&path).unwrap();
        file.set_len((2 << 30) + 1).unwrap();
        assert!(said(&path).contains("it is 2147483649 bytes long"));
    }
}
