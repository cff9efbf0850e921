//! Checkpoints: a trained model as one `model.safetensors` file, out and in.
//!
//! The file holds nine F32 tensors in the lecture's shapes and one metadata entry, the text of a
//! JSON object under the key `gpu-makemore`. The `safetensors` package of Python reads it:
//!
//! ```python
//! import json
//! from safetensors import safe_open
//!
//! with safe_open("model.safetensors", framework="pt") as file:
//!     C, W1 = file.get_tensor("C"), file.get_tensor("W1")
//!     config = json.loads(file.metadata()["gpu-makemore"])
//! print(config["block_size"], config["vocab"])
//! ```
//!
//! | tensor | shape |
//! |---|---|
//! | `C` | `(vocab, n_embd)` |
//! | `W1` | `(block_size * n_embd, n_hidden)` |
//! | `b1` | `(n_hidden)` |
//! | `W2` | `(n_hidden, vocab)` |
//! | `b2` | `(vocab)` |
//! | `bngain`, `bnbias` | `(1, n_hidden)` |
//! | `bnmean`, `bnvar` | `(1, n_hidden)`: mean and variance of `hprebn` over the training set |
//!
//! A run that is not finished leaves a file of the same kind, with two tensors more and the entry
//! `training` in the JSON object ([`Training`]): all that it takes to continue.
//!
//! | tensor | type and shape |
//! |---|---|
//! | `generator` | U32 `(624)`: the next words of the Mersenne Twister that draws the minibatches |
//! | `losses` | F64 `(points + 1)`: sums of log10 of the losses, for the picture ([`LossCurve`]) |
//!
//! # The checksum
//!
//! The JSON object has the fields of [`Config`], `format` (1) and `sha256`. The last is the
//! SHA-256, in lower-case hex, of these bytes in this order:
//!
//! 1. the metadata text itself, with the 64 digits of `sha256` replaced by 64 zeros;
//! 2. for each tensor, in the order of the tables (`bngain` before `bnbias`, `bnmean` before
//!    `bnvar`): its name, a space, its shape in brackets and a line feed, then its values as they
//!    lie in the file (row-major, little-endian). The first line is `C [27, 10]`.
//!
//! In Python, with `tensors` from `safetensors.numpy.load_file`:
//!
//! ```python
//! digest = hashlib.sha256(text.replace(config["sha256"], "0" * 64).encode())
//! for name in ["C", "W1", "b1", "W2", "b2", "bngain", "bnbias", "bnmean", "bnvar"]:
//!     digest.update(f"{name} {list(tensors[name].shape)}\n".encode() + tensors[name].tobytes())
//! assert digest.hexdigest() == config["sha256"]
//! ```
//!
//! With one metadata key the file is a function of its content alone: the same model gives the
//! same bytes.

pub mod header;

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensorError, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::header::{Header, HeaderError, modest};
use crate::cli::files::{FileError, write_atomic};
use crate::cli::report::MetricsMark;
use crate::model::dims::{Dims, DimsError};
use crate::model::params::{Params, Tensor};
use crate::rng::STATE_WORDS;
use crate::training::curve::LossCurve;

/// The metadata key under which the configuration lies.
pub const METADATA_KEY: &str = "gpu-makemore";

/// The version of the format that this program writes and reads.
pub const FORMAT: u32 = 1;

/// The largest file that [`Checkpoint::load`] reads. The largest sizes allowed by [`Dims`] need
/// less than a tenth of it.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// The longest header that is read or written. The format allows 100 MB, but nine tensors and a
/// configuration need about 2 KB, and parsing JSON takes several times its length in memory.
pub const MAX_HEADER_BYTES: u64 = 1 << 20;

/// The most tensors of which a header is read; more are refused before the rest is looked at.
const MAX_TENSORS: usize = 64;

/// Length of the number that opens a safetensors file: how long the header after it is.
const PREFIX_BYTES: u64 = 8;

/// Stands for the checksum in the text that the checksum is taken of.
const ZERO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How a model was made: what it takes to run it, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The characters in the order of their tokens; the first is the end mark `.`. A list of
    /// one-character strings in the file.
    pub vocab: Vec<char>,
    /// Context length.
    pub block_size: usize,
    /// Length of an embedding vector.
    pub n_embd: usize,
    /// Units of the hidden layer.
    pub n_hidden: usize,
    /// Examples in a minibatch.
    pub batch_size: usize,
    /// Training steps done.
    pub steps: u64,
    /// Learning rate of the first steps.
    pub lr: f64,
    /// Learning rate from step `lr_decay_at` on.
    pub lr_final: f64,
    /// The first step with `lr_final`.
    pub lr_decay_at: u64,
    /// Seed of the run.
    pub seed: u64,
    /// What the model was trained on: the name of a data set or of a file.
    pub data: String,
    /// The column of the data that was read, if it has columns.
    pub column: Option<String>,
    /// Whether the cleaning rules were applied to the data.
    pub clean: bool,
    /// The backend that trained the model.
    pub backend: String,
    /// The version of the program that wrote the file.
    pub version: String,
}

impl Config {
    /// The sizes, not yet checked against their ranges.
    pub fn dims(&self) -> Dims {
        Dims {
            vocab: self.vocab.len(),
            block: self.block_size,
            embd: self.n_embd,
            hidden: self.n_hidden,
            batch: self.batch_size,
        }
    }

    /// How many sums of losses the file has, if the run is not finished.
    fn sums(
        &self,
        path: &Path,
        training: Option<&Training>,
    ) -> Result<Option<usize>, CheckpointError> {
        let Some(training) = training else {
            return Ok(None);
        };
        if self.steps > training.steps {
            return Err(CheckpointError::Config {
                path: path.to_path_buf(),
                reason: format!("it is {} of {} steps far", self.steps, training.steps),
            });
        }
        Ok(Some(LossCurve::sums_after(self.steps, training.steps)))
    }

    /// Checks sizes, vocabulary and learning rates; `path` is for the message.
    fn validate(&self, path: &Path) -> Result<Dims, CheckpointError> {
        let dims = self
            .dims()
            .validate()
            .map_err(|source| CheckpointError::Size {
                path: path.to_path_buf(),
                source,
            })?;
        let refuse = |reason: String| CheckpointError::Config {
            path: path.to_path_buf(),
            reason,
        };
        // `validate` has seen to it that there is a first character.
        if self.vocab.first() != Some(&'.') {
            return Err(refuse(format!(
                "its vocabulary starts with {:?} instead of the end mark '.'",
                self.vocab.first().copied().unwrap_or_default()
            )));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.vocab.iter().find(|c| !seen.insert(**c)) {
            return Err(refuse(format!("its vocabulary has {twice:?} twice")));
        }
        for (name, value) in [("lr", self.lr), ("lr_final", self.lr_final)] {
            // JSON has no way to write these.
            if !value.is_finite() {
                return Err(refuse(format!("its {name} is {value}, not a number")));
            }
        }
        Ok(dims)
    }
}

/// A trained model with all that it takes to run it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// How it was made, with vocabulary and sizes.
    pub config: Config,
    /// The seven trained tensors.
    pub params: Params<f32>,
    /// Mean of each hidden unit's `hprebn` over the training set, `(1, n_hidden)`.
    pub bnmean: Vec<f32>,
    /// Its variance, `(1, n_hidden)`.
    pub bnvar: Vec<f32>,
    /// What it takes to continue, if the run is not finished. The statistics above are those over the
    /// first examples of the training set then, which takes no time.
    pub training: Option<Training>,
}

/// What it takes to continue a run, beside its [`Config`] and its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps between two rows of metrics.
    pub log_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// `--adapter`.
    pub adapter_option: Option<String>,
    /// How steps were launched, if that was on a GPU.
    pub schedule: Option<String>,
    /// The adapter's own name.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// A checksum of the vocabulary and of all words.
    pub data_sha256: String,
    /// Time that the steps took so far.
    pub seconds: f64,
    /// Where `metrics.jsonl` stands.
    pub metrics: MetricsMark,
    /// Mean loss over the validation set, with the statistics that are in the file.
    pub val_loss: Option<f64>,
    /// The checkpoint with the lowest validation loss so far.
    pub best: Option<Best>,
    /// The next words of the generator that draws the minibatches; a tensor in the file.
    #[serde(skip)]
    pub generator: Vec<u32>,
    /// [`LossCurve::sums`]; a tensor in the file.
    #[serde(skip)]
    pub losses: Vec<f64>,
}

/// A checkpoint of a run, in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done.
    pub step: u64,
    /// Mean loss over the validation set.
    pub val_loss: f64,
}

/// Why a checkpoint cannot be loaded or saved. Every message is one line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
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
    /// The file is larger than any checkpoint.
    #[error("cannot load {}: it is {bytes} bytes long, but a checkpoint has {MAX_FILE_BYTES} at most; give the path of a model.safetensors of gpu-makemore", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The header is longer than any checkpoint's, or the file has no header at all.
    #[error("cannot load {}: it is not a checkpoint of gpu-makemore: its first 8 bytes call for a header of {bytes} bytes, more than the {MAX_HEADER_BYTES} allowed; give the path of a model.safetensors", .path.display())]
    HeaderTooLong {
        /// The file.
        path: PathBuf,
        /// Length of the header, as the file states it.
        bytes: u64,
    },
    /// The header lists many tensors: the model of another program.
    #[error("cannot load {}: its header lists more than {MAX_TENSORS} tensors, but a checkpoint of gpu-makemore has few; give the path of a model.safetensors", .path.display())]
    TooManyTensors {
        /// The file.
        path: PathBuf,
    },
    /// The file does not follow the safetensors format.
    #[error("cannot load {}: it is not a safetensors file, or it is damaged: {reason}; copy it again or train a new model", .path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What does not follow the format.
        reason: String,
    },
    /// The file ends early or late.
    #[error("cannot load {}: it is {found} bytes long, but its header calls for {expected}: it was cut short or something was added; copy it again or train a new model", .path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The length that follows from the header.
        expected: u64,
    },
    /// A safetensors file of another program.
    #[error("cannot load {}: it is a safetensors file, but without the metadata '{METADATA_KEY}'; only files written by gpu-makemore can be loaded", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The metadata are not what this program writes.
    #[error("cannot load {}: its metadata '{METADATA_KEY}' cannot be read: {reason}; copy it again or train a new model", .path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with the text.
        reason: String,
    },
    /// The file has a version of the format that this program does not know.
    #[error("cannot load {}: it has format {found}, but this gpu-makemore reads format {FORMAT}; use the version that wrote it", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A size is outside its range.
    #[error("cannot use {}: in its configuration, {source}; train a new model", .path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// The size and its range.
        source: DimsError,
    },
    /// The configuration contradicts itself.
    #[error("cannot use {}: {reason}; train a new model", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is absent.
    #[error("cannot load {}: it has no tensor '{name}'; only files written by gpu-makemore can be loaded", .path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: &'static str,
    },
    /// A tensor does not belong to the model.
    #[error("cannot load {}: it has a tensor '{name}', which is not part of the model; only files written by gpu-makemore can be loaded", .path.display())]
    ExtraTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name, shortened if it is long.
        name: String,
    },
    /// A tensor holds values of another type.
    #[error("cannot load {}: the tensor '{name}' holds {found} values instead of {expected}; convert it", .path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: &'static str,
        /// The type of its values.
        found: Dtype,
        /// The type that it has to have.
        expected: Dtype,
    },
    /// A tensor's shape contradicts the configuration.
    #[error("cannot load {}: the tensor '{name}' has the shape {found:?}, but {expected:?} follows from the configuration; train a new model", .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: &'static str,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that follows from the configuration.
        expected: Vec<usize>,
    },
    /// In memory: a tensor has not the number of values that its shape calls for.
    #[error("cannot save {}: the tensor '{name}' has {found} values, but {expected} follow from the configuration", .path.display())]
    Count {
        /// The file that was to be written.
        path: PathBuf,
        /// The tensor's name.
        name: &'static str,
        /// Its number of values.
        found: usize,
        /// The number that follows from the configuration.
        expected: usize,
    },
    /// The file is not as it was written.
    #[error("cannot load {}: its content has the SHA-256 {computed}, but it was written with {stored}: the file was altered; copy it again or train a new model", .path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The checksum in the file.
        stored: String,
        /// The checksum of its content.
        computed: String,
    },
    /// A value is NaN or infinite.
    #[error("cannot use {}: value {index} of the tensor '{name}' is {value}, so the training diverged; train again with a smaller learning rate", .path.display())]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: &'static str,
        /// Position of the first such value, row-major.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A variance is below zero.
    #[error("cannot use {}: value {index} of the tensor 'bnvar' is {value}, but a variance is never negative; train a new model", .path.display())]
    NegativeVariance {
        /// The file.
        path: PathBuf,
        /// Position of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The safetensors library refused to write.
    #[error("cannot save {}: {source}", .path.display())]
    Serialize {
        /// The file that was to be written.
        path: PathBuf,
        /// Its reason.
        source: SafeTensorError,
    },
}

/// Name, type and shape of a tensor.
type Item = (&'static str, Dtype, Vec<usize>);

/// The tensors in the order of the checksum: nine, and two more if the run is not finished, which has
/// `sums` sums of losses then.
fn layout(dims: &Dims, sums: Option<usize>) -> Vec<Item> {
    let parameters = Tensor::ALL
        .into_iter()
        .map(|t| (t.name(), Dtype::F32, t.shape(dims)));
    let statistics = ["bnmean", "bnvar"].map(|name| (name, Dtype::F32, vec![1, dims.hidden]));
    let training = sums.map(|sums| {
        [
            ("generator", Dtype::U32, vec![STATE_WORDS]),
            ("losses", Dtype::F64, vec![sums]),
        ]
    });
    parameters
        .chain(statistics)
        .chain(training.into_iter().flatten())
        .collect()
}

/// The metadata as they are written: the configuration and what guards it.
#[derive(Serialize)]
struct Record<'a> {
    format: u32,
    sha256: &'a str,
    #[serde(flatten)]
    config: &'a Config,
    #[serde(skip_serializing_if = "Option::is_none")]
    training: Option<&'a Training>,
}

impl Record<'_> {
    fn to_text(
        config: &Config,
        training: Option<&Training>,
        sha256: &str,
    ) -> serde_json::Result<String> {
        serde_json::to_string(&Record {
            format: FORMAT,
            sha256,
            config,
            training,
        })
    }
}

/// The part of the metadata that every version of the format has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

/// The part of the metadata that is not configuration.
#[derive(Deserialize)]
struct Seal {
    sha256: String,
    training: Option<Training>,
}

impl Checkpoint {
    /// Writes the checkpoint to `path`, which then holds all of it or is left as it was.
    ///
    /// # Errors
    ///
    /// The checkpoint is one that [`Checkpoint::load`] would refuse (sizes out of range, vectors
    /// of another length, values that are not finite), or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        let path = path.as_ref();
        let bytes = self.to_bytes(path)?;
        write_atomic(path, |w| w.write_all(&bytes))?;
        Ok(())
    }

    /// Reads the checkpoint in `path` and checks all of it: structure, sizes, shapes, checksum
    /// and values.
    ///
    /// Memory stays near twice the length of the file, whatever its header claims.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] lists what is refused.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref();
        // Asked before opening, which would wait forever for the other end of a named pipe.
        match fs::metadata(path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => {
                return Err(CheckpointError::NotAFile {
                    path: path.to_path_buf(),
                });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(CheckpointError::Missing {
                    path: path.to_path_buf(),
                });
            }
            Err(e) => return Err(FileError::at("read", path)(e).into()),
        }
        let file = File::open(path).map_err(FileError::at("read", path))?;
        let length = file.metadata().map_err(FileError::at("read", path))?.len();
        Self::read(path, length, file)
    }

    /// The same for a file that is in memory; `path` is for messages.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::load`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, CheckpointError> {
        Self::read(path.as_ref(), bytes.len() as u64, bytes)
    }

    /// The values of the nine tensors of the model, in the order of [`layout`].
    fn values(&self) -> impl Iterator<Item = &[f32]> {
        Tensor::ALL
            .into_iter()
            .map(|t| self.params.get(t))
            .chain([self.bnmean.as_slice(), self.bnvar.as_slice()])
    }

    /// The values of all tensors as they lie in the file, in the order of [`layout`].
    fn data(&self) -> Vec<Vec<u8>> {
        let mut data: Vec<Vec<u8>> = self
            .values()
            .map(|values| values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        if let Some(training) = &self.training {
            let words = training.generator.iter();
            data.push(words.flat_map(|v| v.to_le_bytes()).collect());
            let sums = training.losses.iter();
            data.push(sums.flat_map(|v| v.to_le_bytes()).collect());
        }
        data
    }

    /// Refuses values with which no model can run.
    fn check_values(&self, path: &Path, dims: &Dims) -> Result<(), CheckpointError> {
        for ((name, ..), values) in layout(dims, None).into_iter().zip(self.values()) {
            if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                return Err(CheckpointError::NonFinite {
                    path: path.to_path_buf(),
                    name,
                    index,
                    value: values[index],
                });
            }
        }
        if let Some(index) = self.bnvar.iter().position(|&v| v < 0.0) {
            return Err(CheckpointError::NegativeVariance {
                path: path.to_path_buf(),
                index,
                value: self.bnvar[index],
            });
        }
        Ok(())
    }

    /// The bytes of the file; `path` is for messages.
    fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, CheckpointError> {
        let dims = self.config.validate(path)?;
        let layout = layout(&dims, self.config.sums(path, self.training.as_ref())?);
        let data = self.data();
        for ((name, dtype, shape), data) in layout.iter().zip(&data) {
            let size = dtype.bitsize() / 8;
            let expected = shape.iter().product();
            if data.len() != expected * size {
                return Err(CheckpointError::Count {
                    path: path.to_path_buf(),
                    name,
                    found: data.len() / size,
                    expected,
                });
            }
        }
        self.check_values(path, &dims)?;

        let serialize = |source| CheckpointError::Serialize {
            path: path.to_path_buf(),
            source,
        };
        let text = |sha256: &str| {
            Record::to_text(&self.config, self.training.as_ref(), sha256)
                .map_err(|e| serialize(e.into()))
        };
        modest(&text(ZERO_DIGEST)?).map_err(|reason| CheckpointError::Config {
            path: path.to_path_buf(),
            reason: format!("its metadata would not be read again: {reason}"),
        })?;
        let parts = || layout.iter().zip(&data);
        let sha256 = digest(
            &text(ZERO_DIGEST)?,
            parts().map(|((name, _, shape), data)| (*name, shape.as_slice(), data.as_slice())),
        );
        let views = parts()
            .map(|((name, dtype, shape), data)| {
                Ok((*name, TensorView::new(*dtype, shape.clone(), data)?))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(serialize)?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), text(&sha256)?)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(serialize)?;

        // What follows the header is known, so the header's length is what is left.
        let body: usize = data.iter().map(Vec::len).sum();
        let header = (bytes.len() - body) as u64 - PREFIX_BYTES;
        if header > MAX_HEADER_BYTES {
            return Err(CheckpointError::Config {
                path: path.to_path_buf(),
                reason: format!(
                    "its header would have {header} bytes, but {MAX_HEADER_BYTES} are allowed: \
                     the name of the data is too long"
                ),
            });
        }
        Ok(bytes)
    }

    /// Reads a file of `length` bytes from `input`; `path` is for messages.
    ///
    /// Nothing is allocated on the word of the file alone: each length is first held against
    /// `length` or against what the configuration calls for.
    fn read(path: &Path, length: u64, mut input: impl Read) -> Result<Self, CheckpointError> {
        let not_safetensors = |reason: String| CheckpointError::NotSafetensors {
            path: path.to_path_buf(),
            reason: one_line(&reason),
        };
        if length > MAX_FILE_BYTES {
            return Err(CheckpointError::TooLarge {
                path: path.to_path_buf(),
                bytes: length,
            });
        }
        if length < PREFIX_BYTES {
            return Err(not_safetensors(format!("it is only {length} bytes long")));
        }
        let mut prefix = [0; PREFIX_BYTES as usize];
        input
            .read_exact(&mut prefix)
            .map_err(FileError::at("read", path))?;
        let header_length = u64::from_le_bytes(prefix);
        if header_length > MAX_HEADER_BYTES {
            return Err(CheckpointError::HeaderTooLong {
                path: path.to_path_buf(),
                bytes: header_length,
            });
        }
        let body_start = PREFIX_BYTES + header_length;
        if body_start > length {
            return Err(CheckpointError::Length {
                path: path.to_path_buf(),
                found: length,
                expected: body_start,
            });
        }
        let mut json = vec![0; header_length as usize];
        input
            .read_exact(&mut json)
            .map_err(FileError::at("read", path))?;
        // This also checks that the tensors lie end to end and that each fits its shape.
        let mut header = Header::parse(&json, METADATA_KEY, MAX_TENSORS).map_err(|e| match e {
            HeaderError::Malformed(reason) => not_safetensors(format!("in its header, {reason}")),
            HeaderError::TooManyTensors => CheckpointError::TooManyTensors {
                path: path.to_path_buf(),
            },
        })?;
        drop(json);
        let expected = body_start.saturating_add(header.data_len() as u64);
        if expected != length {
            return Err(CheckpointError::Length {
                path: path.to_path_buf(),
                found: length,
                expected,
            });
        }

        let text = header.take_text().ok_or_else(|| CheckpointError::NotOurs {
            path: path.to_path_buf(),
        })?;
        let (config, training, stored) = parse_metadata(path, &text)?;
        let dims = config.validate(path)?;
        let layout = layout(&dims, config.sums(path, training.as_ref())?);
        let ranges = locate(path, &header, &layout)?;

        // Every tensor has the shape that follows from valid sizes, so this is 20 MB at most.
        let mut body = vec![0; header.data_len()];
        input
            .read_exact(&mut body)
            .map_err(FileError::at("read", path))?;
        let computed = digest(
            &unsealed(&text, &stored),
            layout
                .iter()
                .zip(&ranges)
                .map(|((name, _, shape), range)| (*name, shape.as_slice(), &body[range.clone()])),
        );
        if computed != stored {
            return Err(CheckpointError::Checksum {
                path: path.to_path_buf(),
                stored,
                computed,
            });
        }

        // `ranges` has one entry for each tensor of `layout`, those of `Tensor::ALL` first: the
        // iterator never runs dry.
        let mut tensors = ranges.into_iter().map(|range| &body[range]);
        let mut next = || tensors.next().unwrap_or_default();
        let params = Params::from_fn(|_| values(next(), f32::from_le_bytes));
        let bnmean = values(next(), f32::from_le_bytes);
        let bnvar = values(next(), f32::from_le_bytes);
        let training = training.map(|training| Training {
            generator: values(next(), u32::from_le_bytes),
            losses: values(next(), f64::from_le_bytes),
            ..training
        });
        let checkpoint = Checkpoint {
            config,
            params,
            bnmean,
            bnvar,
            training,
        };
        checkpoint.check_values(path, &dims)?;
        Ok(checkpoint)
    }
}

/// Configuration, record of an unfinished run and checksum from the metadata text.
fn parse_metadata(
    path: &Path,
    text: &str,
) -> Result<(Config, Option<Training>, String), CheckpointError> {
    let refuse = |reason: String| CheckpointError::Metadata {
        path: path.to_path_buf(),
        reason: one_line(&reason),
    };
    let json = |e: serde_json::Error| refuse(e.to_string());
    modest(text).map_err(refuse)?;
    // First and by itself: the other fields of another version may have changed their meaning.
    let Version { format } = serde_json::from_str(text).map_err(json)?;
    if format != u64::from(FORMAT) {
        return Err(CheckpointError::Format {
            path: path.to_path_buf(),
            found: format,
        });
    }
    let Seal { sha256, training } = serde_json::from_str(text).map_err(json)?;
    if sha256.len() != ZERO_DIGEST.len() || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(refuse("its sha256 is not 64 hexadecimal digits".to_owned()));
    }
    let config = serde_json::from_str(text).map_err(json)?;
    Ok((config, training, sha256))
}

/// Where in the body the tensors lie, in the order of `layout`, after checking that they are just
/// those, of the right type and shape.
fn locate(
    path: &Path,
    header: &Header,
    layout: &[Item],
) -> Result<Vec<std::ops::Range<usize>>, CheckpointError> {
    let stranger = header
        .names()
        .find(|name| layout.iter().all(|(known, ..)| known != name));
    if let Some(name) = stranger {
        return Err(CheckpointError::ExtraTensor {
            path: path.to_path_buf(),
            name: one_line(name),
        });
    }
    layout
        .iter()
        .map(|&(name, dtype, ref expected)| {
            let path = path.to_path_buf();
            let Some(info) = header.info(name) else {
                return Err(CheckpointError::MissingTensor { path, name });
            };
            if info.dtype != dtype {
                return Err(CheckpointError::Dtype {
                    path,
                    name,
                    found: info.dtype,
                    expected: dtype,
                });
            }
            if info.shape != *expected {
                let found = info.shape.iter().copied().take(8).collect();
                return Err(CheckpointError::Shape {
                    path,
                    name,
                    found,
                    expected: expected.clone(),
                });
            }
            let (start, end) = info.data_offsets;
            Ok(start..end)
        })
        .collect()
}

/// The text that the checksum is taken of. (`str::replace` would allocate up to twice as much.)
fn unsealed(text: &str, sha256: &str) -> String {
    let mut unsealed = String::with_capacity(text.len());
    for (i, part) in text.split(sha256).enumerate() {
        if i > 0 {
            unsealed.push_str(ZERO_DIGEST);
        }
        unsealed.push_str(part);
    }
    unsealed
}

/// The checksum: see the description of the module for what is in it.
fn digest<'a>(
    text: &str,
    tensors: impl Iterator<Item = (&'static str, &'a [usize], &'a [u8])>,
) -> String {
    let mut sha = Sha256::new();
    sha.update(text);
    for (name, shape, data) in tensors {
        sha.update(format!("{name} {shape:?}\n"));
        sha.update(data);
    }
    Hex(&sha.finalize()).to_string()
}

/// Shows bytes as lower-case hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Numbers of `N` bytes, from the little-endian form that they have in the file.
fn values<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|v| from(*v)).collect()
}

/// Text from a file made fit for a message: control characters shown by their escapes, so that no
/// file can garble the terminal, and cut to a sensible length.
fn one_line(text: &str) -> String {
    const MAX: usize = 160;
    let mut line = String::new();
    for c in text.chars() {
        if line.len() > MAX {
            line.push('…');
            break;
        }
        if c.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model with small sizes, and with every kind of character that JSON escapes.
    fn small() -> Checkpoint {
        let config = Config {
            vocab: vec!['.', '"', '\\', 'é', '😀'],
            block_size: 2,
            n_embd: 2,
            n_hidden: 3,
            batch_size: 4,
            steps: 200_000,
            lr: 0.1,
            lr_final: 0.01,
            lr_decay_at: 100_000,
            seed: u64::MAX,
            data: "names \"quoted\"\n".to_owned(),
            column: None,
            clean: true,
            backend: "cpu".to_owned(),
            version: "0.1.0".to_owned(),
        };
        let mut next = 0.0;
        let params = Params::from_fn(|t| {
            let count = t.len(&config.dims());
            std::iter::repeat_with(|| {
                next += 0.37;
                f32::sin(next)
            })
            .take(count)
            .collect()
        });
        Checkpoint {
            config,
            params,
            bnmean: vec![0.5, -1e-30, f32::MAX],
            bnvar: vec![0.0, f32::MIN_POSITIVE / 2.0, 2.0],
            training: None,
        }
    }

    /// The same after 7 of 20 steps.
    fn unfinished() -> Checkpoint {
        let mut checkpoint = small();
        checkpoint.config.steps = 7;
        checkpoint.training = Some(Training {
            steps: 20,
            log_every: 10,
            checkpoint_every: 2,
            adapter_option: Some("llvm".to_owned()),
            schedule: Some("staged".to_owned()),
            adapter: "llvmpipe".to_owned(),
            driver: "Mesa".to_owned(),
            data_sha256: "0".to_owned(),
            seconds: 0.1 + 0.2,
            metrics: MetricsMark {
                bytes: 5,
                sum: 1.0 / 3.0,
                count: 7,
            },
            val_loss: Some(2.1),
            best: None,
            generator: (0..STATE_WORDS as u32).map(|i| i << 22).collect(),
            losses: vec![
                1.0,
                f64::NEG_INFINITY,
                -0.0,
                0.1,
                f64::MIN,
                1e-300,
                2.0,
                0.0,
            ],
        });
        checkpoint
    }

    fn path() -> &'static Path {
        Path::new("m.safetensors")
    }

    fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
        checkpoint.to_bytes(path()).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::read(path(), bytes.len() as u64, bytes)
    }

    /// Header (after its length) and body of a file.
    fn split(bytes: &[u8]) -> (&str, &[u8]) {
        let (prefix, rest) = bytes.split_first_chunk().unwrap();
        let (header, body) = rest.split_at(u64::from_le_bytes(*prefix) as usize);
        (str::from_utf8(header).unwrap(), body)
    }

    fn join(header: &str, body: &[u8]) -> Vec<u8> {
        let prefix = (header.len() as u64).to_le_bytes();
        [&prefix, header.as_bytes(), body].concat()
    }

    /// The file of `small` with its header edited.
    fn edited(from: &str, to: &str) -> Vec<u8> {
        let file = bytes(&small());
        let (header, body) = split(&file);
        assert!(header.contains(from), "{header} has no {from}");
        join(&header.replace(from, to), body)
    }

    /// A file whose checksum is right, from metadata and tensors that may not be.
    fn sealed(config: &Config, tensors: &[(&'static str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let parts = tensors
            .iter()
            .map(|(name, _, shape, data)| (*name, shape.as_slice(), data.as_slice()));
        let sha256 = digest(&Record::to_text(config, None, ZERO_DIGEST).unwrap(), parts);
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
            (*name, view)
        });
        let text = Record::to_text(config, None, &sha256).unwrap();
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), text)]);
        safetensors::serialize(views, Some(metadata)).unwrap()
    }

    /// The tensors of `checkpoint` for [`sealed`].
    fn raw(checkpoint: &Checkpoint) -> Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)> {
        layout(&checkpoint.config.dims(), None)
            .into_iter()
            .zip(checkpoint.data())
            .map(|((name, dtype, shape), data)| (name, dtype, shape, data))
            .collect()
    }

    #[track_caller]
    fn assert_refused(file: &[u8], expected: &str) {
        let message = read(file).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("m.safetensors"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }

    #[test]
    fn an_unfinished_run_is_loaded_with_all_that_it_takes_to_go_on() {
        let checkpoint = unfinished();
        let file = bytes(&checkpoint);
        let loaded = read(&file).unwrap();
        assert_eq!(loaded, checkpoint);
        let sums = loaded.training.unwrap().losses;
        assert_eq!(sums[2].to_bits(), (-0.0f64).to_bits());
        // It is part of what the checksum covers.
        let (header, body) = split(&file);
        let altered = header.replace("\\\"log_every\\\":10", "\\\"log_every\\\":11");
        assert_ne!(header, altered);
        assert_refused(&join(&altered, body), "the file was altered");
        let mut altered = file.clone();
        *altered.last_mut().unwrap() ^= 1; // the tensors of the narrowest type come last
        assert_refused(&altered, "the file was altered");
        // And part of its structure.
        let late = header.replace("\\\"steps\\\":7", "\\\"steps\\\":8");
        assert_refused(&join(&late, body), "'losses' has the shape [8], but [9]");
        let late = header.replace("\\\"steps\\\":7", "\\\"steps\\\":21");
        assert_refused(&join(&late, body), "it is 21 of 20 steps far");
        let other = header.replace("\"dtype\":\"U32\"", "\"dtype\":\"I32\"");
        assert_refused(
            &join(&other, body),
            "'generator' holds I32 values instead of U32",
        );
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let checkpoint = small();
        checkpoint.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), checkpoint);
    }

    #[test]
    fn the_same_model_gives_the_same_bytes() {
        let first = bytes(&small());
        for _ in 0..20 {
            assert_eq!(bytes(&small()), first);
        }
        assert_eq!(sealed(&small().config, &raw(&small())), first);
    }

    #[test]
    fn a_file_cut_at_any_length_is_refused() {
        let file = bytes(&small());
        for length in 0..file.len() {
            assert!(read(&file[..length]).is_err(), "cut at {length}");
        }
        assert_refused(&file[..0], "only 0 bytes");
        assert_refused(&file[..100], "100 bytes long, but its header calls for");
        assert_refused(&file[..file.len() - 1], "cut short");
        assert_refused(&[&file[..], b"\0"].concat(), "something was added");
    }

    #[test]
    fn a_file_with_any_bit_flipped_is_refused() {
        let file = bytes(&small());
        for position in 0..file.len() {
            for bit in 0..8 {
                let mut altered = file.clone();
                altered[position] ^= 1 << bit;
                assert!(read(&altered).is_err(), "bit {bit} of byte {position}");
            }
        }
        let mut altered = file;
        *altered.last_mut().unwrap() ^= 1;
        assert_refused(&altered, "SHA-256");
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_an_error() {
        let file = bytes(&small());
        let error = Checkpoint::read(path(), file.len() as u64, &file[..file.len() - 4]);
        assert!(matches!(error, Err(CheckpointError::File(_))));
    }

    #[test]
    fn absurd_lengths_are_refused_before_anything_is_allocated() {
        for header in [MAX_HEADER_BYTES + 1, 200_000_000, u64::MAX] {
            assert_refused(&header.to_le_bytes(), "call for a header of");
        }
        assert_refused(&1000_u64.to_le_bytes(), "its header calls for 1008");
        let error = Checkpoint::read(path(), MAX_FILE_BYTES + 1, io::empty());
        assert!(matches!(error, Err(CheckpointError::TooLarge { .. })));
        let giant = r#"{"C":{"dtype":"F32","shape":[576460752303423487],"data_offsets":[0,2305843009213693948]}}"#;
        assert_refused(&join(giant, b""), "calls for 23058430092136940");
        let overflow = giant.replace("[5764", "[99,5764");
        assert_refused(&join(&overflow, b""), "overflow");
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        assert_refused(b"\x89PNG\r\n\x1a\n____", "not a checkpoint of gpu-makemore");
        assert_refused(&join("not JSON", b""), "not a safetensors file");
        assert_refused(&join("{\"a\u{1b}[2J\n\":1}", b""), "not a safetensors file");
        assert_refused(&join("{}", b""), "without the metadata 'gpu-makemore'");
        let other = r#"{"__metadata__":{"format":"pt"}}"#;
        assert_refused(&join(other, b""), "without the metadata 'gpu-makemore'");
        let words = r#"{"__metadata__":{"gpu-makemore":"words"}}"#;
        assert_refused(&join(words, b""), "metadata 'gpu-makemore' cannot be read");
        let bare = r#"{"__metadata__":{"gpu-makemore":"{\"format\":1}"}}"#;
        assert_refused(&join(bare, b""), "missing field `sha256`");
        let nested = format!("{{\"__metadata__\":{}", "[".repeat(100_000));
        assert_refused(&join(&nested, b""), "not a safetensors file");
    }

    #[test]
    fn edited_headers_are_refused_with_the_reason() {
        assert_refused(&edited(r#"format\":1"#, r#"format\":2"#), "has format 2");
        assert_refused(&edited(r#"sha256\":\""#, r#"sha256\":\"0"#), "64 hex");
        assert_refused(&edited("F32", "I32"), "holds I32 values instead of F32");
        assert_refused(&edited(r#""b1""#, r#""b3""#), "a tensor 'b3'");
        assert_refused(&edited(r#""b1""#, r#""b\u001b\n1""#), r"'b\u{1b}\n1'");
        assert_refused(&edited("[1,3]", "[3]"), "shape [3], but [1, 3] follows");
        assert_refused(&edited(r#"steps\":200000"#, r#"steps\":20"#), "SHA-256");
        assert_refused(&edited(r#"\"é\""#, r#"\"éa\""#), "expected a character");
        // Two tensors of one shape change places: only the checksum can tell.
        let file = bytes(&small());
        let (header, body) = split(&file);
        let header = header
            .replace("bngain", "?")
            .replace("bnbias", "bngain")
            .replace('?', "bnbias");
        assert_refused(&join(&header, body), "SHA-256");
    }

    #[test]
    fn a_right_checksum_does_not_excuse_wrong_content() {
        let good = small();
        let refused = |change: fn(&mut Config), expected: &str| {
            let mut config = good.config.clone();
            change(&mut config);
            assert_refused(&sealed(&config, &raw(&good)), expected);
        };
        refused(|c| c.block_size = 17, "--block-size is 17");
        refused(|c| c.n_embd = 0, "--n-embd is 0");
        refused(|c| c.n_hidden = usize::MAX, "--n-hidden is 1844");
        refused(|c| c.batch_size = 1, "--batch-size is 1");
        refused(|c| c.vocab.truncate(1), "vocabulary size is 1");
        refused(|c| c.vocab[4] = 'é', "'é' twice");
        refused(|c| c.vocab[0] = 'a', "starts with 'a'");
        refused(
            |c| c.vocab.push('x'),
            "'C' has the shape [5, 2], but [6, 2]",
        );
        refused(|c| c.lr = f64::NAN, "invalid type: null");

        let mut lacking = raw(&good);
        lacking.retain(|(name, ..)| *name != "bnvar");
        assert_refused(&sealed(&good.config, &lacking), "no tensor 'bnvar'");
        let mut extra = raw(&good);
        extra.push(("b3", Dtype::F32, vec![0], vec![]));
        assert_refused(&sealed(&good.config, &extra), "a tensor 'b3'");
        let mut halves = raw(&good);
        halves[2] = ("b1", Dtype::F16, vec![3], vec![0; 6]);
        assert_refused(&sealed(&good.config, &halves), "'b1' holds F16");

        let mut nan = small();
        nan.params.w2[7] = f32::NAN;
        assert_refused(
            &sealed(&nan.config, &raw(&nan)),
            "value 7 of the tensor 'W2'",
        );
        let mut infinite = small();
        infinite.bnmean[1] = f32::NEG_INFINITY;
        assert_refused(
            &sealed(&infinite.config, &raw(&infinite)),
            "'bnmean' is -inf",
        );
        let mut negative = small();
        negative.bnvar[2] = -0.5;
        assert_refused(&sealed(&negative.config, &raw(&negative)), "never negative");
    }

    #[test]
    fn what_load_would_refuse_is_not_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let changes: [fn(&mut Checkpoint); 8] = [
            |c| c.config.n_hidden = 4,
            |c| c.config.batch_size = 1,
            |c| c.config.vocab[1] = '.',
            |c| c.config.lr = f64::INFINITY,
            |c| c.config.data = "x".repeat(MAX_HEADER_BYTES as usize),
            |c| c.params.c[0] = f32::NAN,
            |c| c.bnmean.push(0.0),
            |c| c.bnvar[0] = -1.0,
        ];
        for change in changes {
            let mut checkpoint = small();
            change(&mut checkpoint);
            let message = checkpoint.save(&path).unwrap_err().to_string();
            assert!(message.contains("model.safetensors"), "{message}");
        }
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Checkpoint::load(dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("no such file; check"));
        let folder = Checkpoint::load(dir.path()).unwrap_err();
        assert!(folder.to_string().contains("not a regular file"));
    }

    #[test]
    fn the_largest_model_fits() {
        let mut checkpoint = small();
        let config = &mut checkpoint.config;
        config.vocab = ('.'..).take(256).collect();
        config.block_size = 16;
        config.n_embd = 128;
        config.n_hidden = 2048;
        let dims = config.dims();
        checkpoint.params = Params::filled(&dims, 0.5);
        checkpoint.bnmean = vec![0.0; 2048];
        checkpoint.bnvar = vec![1.0; 2048];
        let file = bytes(&checkpoint);
        assert!((file.len() as u64) < MAX_FILE_BYTES / 10);
        assert_eq!(read(&file).unwrap(), checkpoint);
    }
}
