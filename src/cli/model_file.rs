//! Checkpoints as files.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{FileError, OpenError, open_regular, write_atomic};
use crate::checkpoint::plain::{Plain, PlainError};
use crate::checkpoint::{Checkpoint, CheckpointError};

/// Why a checkpoint's file cannot be read or written. Every message is one line that names the file and
/// says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// There is no such file.
    #[error("cannot load {}: there is no such file; check the path or train a model first", .path.display())]
    Missing {
        /// The file asked for.
        path: PathBuf,
    },
    /// The path names a folder, a device or a pipe.
    #[error("cannot load {}: it is not a regular file; give the path of a model.safetensors", .path.display())]
    NotAFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refused to read or write.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in the file is no checkpoint that can be used.
    #[error("cannot load {}: {source}{}", .path.display(), advice(.source))]
    Load {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        source: CheckpointError,
    },
    /// What is in the file is no model at all.
    #[error("cannot load {}: {source}", .path.display())]
    Plain {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        source: PlainError,
    },
    /// The checkpoint is one that could not be loaded again.
    #[error("cannot save {}: {source}{}", .path.display(), advice(.source))]
    Save {
        /// The file that was to be written.
        path: PathBuf,
        /// What is wrong with the checkpoint.
        source: CheckpointError,
    },
}

/// What to do about a checkpoint that is refused.
fn advice(error: &CheckpointError) -> &'static str {
    use CheckpointError as E;
    match error {
        E::TooLarge { .. } => "; give the path of a model.safetensors of gpu-makemore",
        E::HeaderTooLong { .. } | E::TooManyTensors => "; give the path of a model.safetensors",
        E::NotSafetensors(_) | E::Length { .. } | E::Metadata(_) | E::Checksum { .. } => {
            "; copy it again or train a new model"
        }
        E::NotOurs | E::MissingTensor { .. } | E::ExtraTensor { .. } => {
            "; only files written by gpu-makemore can be loaded"
        }
        E::Format { .. } => "; use the version that wrote it",
        E::Dtype { .. } => "; convert it",
        E::NonFinite { .. } => "; train again with a smaller learning rate",
        E::Size(_) | E::Config(_) | E::Shape { .. } | E::NegativeVariance { .. } => {
            "; train a new model"
        }
        E::Read(_) | E::Count { .. } | E::Serialize(_) => "",
    }
}

/// Reads the checkpoint in `path` and checks all of it.
///
/// # Errors
///
/// The file cannot be read, or what is in it is refused.
pub fn load(path: impl AsRef<Path>) -> Result<Checkpoint, ModelFileError> {
    let path = path.as_ref();
    let (file, length) = open_regular(path).map_err(|error| match error {
        OpenError::Missing => ModelFileError::Missing { path: path.into() },
        OpenError::NotAFile => ModelFileError::NotAFile { path: path.into() },
        OpenError::File(error) => error.into(),
    })?;
    Checkpoint::read(length, file).map_err(|source| match source {
        CheckpointError::Read(source) => FileError::at("read", path)(source).into(),
        source => ModelFileError::Load {
            path: path.into(),
            source,
        },
    })
}

/// A model as a file has it.
#[derive(Debug)]
pub enum Model {
    /// With its configuration.
    Ours(Box<Checkpoint>),
    /// The tensors alone.
    Plain(Box<Plain>),
}

/// Reads the model in `path`, of this program or from elsewhere.
///
/// # Errors
///
/// The file cannot be read, or what is in it is refused.
pub fn load_any(path: &Path) -> Result<Model, ModelFileError> {
    match load(path) {
        Err(ModelFileError::Load {
            source: CheckpointError::NotOurs,
            ..
        }) => {}
        other => return other.map(|checkpoint| Model::Ours(checkpoint.into())),
    }
    let bytes = fs::read(path).map_err(FileError::at("read", path))?;
    match Plain::from_bytes(&bytes) {
        Ok(plain) => Ok(Model::Plain(plain.into())),
        Err(source) => Err(ModelFileError::Plain {
            path: path.into(),
            source,
        }),
    }
}

/// Writes the checkpoint to `path`, which then holds all of it or is left as it was.
///
/// # Errors
///
/// The checkpoint is one that [`load`] would refuse, or the file cannot be written.
pub fn save(checkpoint: &Checkpoint, path: impl AsRef<Path>) -> Result<(), ModelFileError> {
    let path = path.as_ref();
    let bytes = checkpoint
        .to_bytes()
        .map_err(|source| ModelFileError::Save {
            path: path.into(),
            source,
        })?;
    Ok(write_atomic(path, |w| w.write_all(&bytes))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Config;
    use crate::model::params::Params;
    use crate::model::recipe::Recipe;

    /// A model with small sizes.
    fn small() -> Checkpoint {
        let config = Config {
            vocab: vec!['.', 'a', 'b'],
            recipe: Recipe {
                block_size: 2,
                n_embd: 2,
                n_hidden: 3,
                batch_size: 4,
                seed: 1,
                clean: true,
                ..Recipe::default()
            },
            backend: "cpu".to_owned(),
            version: "0.1.0".to_owned(),
            data_sha256: None,
        };
        Checkpoint {
            params: Params::filled(&config.dims(), 0.5),
            config,
            bnmean: vec![0.5; 3],
            bnvar: vec![2.0; 3],
            training: None,
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        save(&small(), &path).unwrap();
        assert_eq!(load(&path).unwrap(), small());
    }

    #[test]
    fn messages_name_the_file_what_is_wrong_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let mut diverged = small();
        diverged.params.w2[7] = f32::NAN;
        let message = save(&diverged, &path).unwrap_err().to_string();
        let expected = "model.safetensors: value 7 of the tensor 'W2' is NaN, so the training \
                        diverged; train again with a smaller learning rate";
        assert!(message.starts_with("cannot save "), "{message}");
        assert!(message.ends_with(expected), "{message}");
        assert!(!path.exists());

        std::fs::write(&path, "words\n").unwrap();
        let message = load(&path).unwrap_err().to_string();
        let expected = "model.safetensors: it is not a safetensors file, or it is damaged: it is only \
                        6 bytes long; copy it again or train a new model";
        assert!(message.starts_with("cannot load "), "{message}");
        assert!(message.ends_with(expected), "{message}");
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let missing = load(dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("no such file; check"));
        let folder = load(dir.path()).unwrap_err();
        assert!(folder.to_string().contains("not a regular file"));
    }
}
