//! Checkpoints: a trained model as the bytes of one `model.safetensors` file, out and in.
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
//! | `losses` | F64 `(points + 1)`: sums of log10 of the losses, for the picture ([`Training::losses`]) |
//!
//! `data_sha256` in the JSON object is a checksum of the vocabulary and all words that the model was trained
//! on; files of the first versions lack it.
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

mod error;
pub mod header;
mod metadata;
#[doc(hidden)]
pub mod packed;
pub mod plain;

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;

use safetensors::tensor::{Dtype, Metadata, TensorView};
use sha2::{Digest, Sha256};

pub use error::CheckpointError;
pub use metadata::{Best, Config, MetricsMark, Training};

use crate::model::dims::Dims;
use crate::model::params::{Params, Tensor};
use crate::rng::STATE_WORDS;
use crate::text::{excerpt, hex};
use header::{Header, HeaderError, MAX_TEXT_BYTES};

/// The metadata key under which the configuration lies.
pub const METADATA_KEY: &str = "gpu-makemore";

/// The version of the format that this program writes and reads.
pub const FORMAT: u32 = 1;

/// The largest file that [`Checkpoint::read`] reads. The largest sizes allowed by [`Dims`] need
/// less than a tenth of it.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// The longest header that is read or written. The format allows 100 MB, but nine tensors and a
/// configuration need about 2 KB, and parsing JSON takes several times its length in memory.
pub const MAX_HEADER_BYTES: u64 = 1 << 20;

/// The most tensors of which a header is read; more are refused before the rest is looked at.
const MAX_TENSORS: usize = 64;

/// Length of the number that opens a safetensors file: how long the header after it is.
const PREFIX_BYTES: u64 = 8;

/// Characters of a file's content that a message shows.
const EXCERPT: usize = 160;

/// Stands for the checksum in the text that the checksum is taken of.
const ZERO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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

impl Checkpoint {
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
    fn check_values(&self, dims: &Dims) -> Result<(), CheckpointError> {
        for ((name, ..), values) in layout(dims, None).into_iter().zip(self.values()) {
            if let Some(index) = values.iter().position(|v| !v.is_finite()) {
                let value = values[index];
                return Err(CheckpointError::NonFinite { name, index, value });
            }
        }
        if let Some(index) = self.bnvar.iter().position(|&v| v < 0.0) {
            let value = self.bnvar[index];
            return Err(CheckpointError::NegativeVariance { index, value });
        }
        Ok(())
    }

    /// The checkpoint as the bytes of a file.
    ///
    /// # Errors
    ///
    /// The checkpoint is one that [`Checkpoint::read`] would refuse: sizes out of range, vectors of
    /// another length, values that are not finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let dims = self.config.validate()?;
        let layout = layout(&dims, self.config.sums(self.training.as_ref())?);
        let data = self.data();
        for ((name, dtype, shape), data) in layout.iter().zip(&data) {
            let size = dtype.bitsize() / 8;
            let expected = shape.iter().product();
            if data.len() != expected * size {
                return Err(CheckpointError::Count {
                    name,
                    found: data.len() / size,
                    expected,
                });
            }
        }
        self.check_values(&dims)?;

        let json = |e: serde_json::Error| CheckpointError::Serialize(e.into());
        let text = |sha256: &str| {
            metadata::to_text(&self.config, self.training.as_ref(), sha256).map_err(json)
        };
        let unsealed = text(ZERO_DIGEST)?;
        metadata::modest(&unsealed).map_err(|reason| {
            CheckpointError::Config(format!("its metadata would not be read again: {reason}"))
        })?;
        let written = serde_json::to_string(&unsealed).map_err(json)?.len();
        if written > MAX_TEXT_BYTES {
            return Err(CheckpointError::Config(format!(
                "its metadata would have {written} bytes, but {MAX_TEXT_BYTES} are allowed: its texts \
                 are too long"
            )));
        }
        let parts = || layout.iter().zip(&data);
        let sha256 = digest(
            &unsealed,
            parts().map(|((name, _, shape), data)| (*name, shape.as_slice(), data.as_slice())),
        );
        let views = parts()
            .map(|((name, dtype, shape), data)| {
                Ok((*name, TensorView::new(*dtype, shape.clone(), data)?))
            })
            .collect::<Result<Vec<_>, CheckpointError>>()?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), text(&sha256)?)]);
        Ok(safetensors::serialize(views, Some(metadata))?)
    }

    /// Reads a file of `length` bytes from `input`, and checks all of it: structure, sizes, shapes,
    /// checksum and values.
    ///
    /// Nothing is allocated on the word of the file alone: each length is first held against `length` or
    /// against what the configuration calls for. So memory stays near twice the length of the file; only a
    /// hostile header may take a few times its own length, which is [`MAX_HEADER_BYTES`] at most.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] lists what is refused.
    pub fn read(length: u64, mut input: impl Read) -> Result<Self, CheckpointError> {
        let mut prefix = [0; PREFIX_BYTES as usize];
        if (PREFIX_BYTES..=MAX_FILE_BYTES).contains(&length) {
            input.read_exact(&mut prefix)?;
        }
        let mut json = vec![0; header_length(length, prefix)?];
        input.read_exact(&mut json)?;
        let plan = Plan::new(length, &json)?;
        drop(json);
        // Every tensor has the shape that follows from valid sizes, so this is 600 MB at most.
        let mut body = vec![0; plan.tensors.data_len()];
        input.read_exact(&mut body)?;
        plan.checkpoint(&body)
    }

    /// Reads a file that is in memory: [`Checkpoint::read`] without a copy of it.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let length = bytes.len() as u64;
        let (prefix, rest) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
        // The header is not longer than the file, and the body as long as the plan says: both checked.
        let (json, body) = rest.split_at(header_length(length, *prefix)?);
        Plan::new(length, json)?.checkpoint(body)
    }
}

/// Length of the header of a file of `length` bytes, which begins with `prefix`.
fn header_length(length: u64, prefix: [u8; 8]) -> Result<usize, CheckpointError> {
    if length > MAX_FILE_BYTES {
        return Err(CheckpointError::TooLarge { bytes: length });
    }
    if length < PREFIX_BYTES {
        let reason = format!("it is only {length} bytes long");
        return Err(CheckpointError::NotSafetensors(reason));
    }
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER_BYTES {
        return Err(CheckpointError::HeaderTooLong { bytes: header });
    }
    if PREFIX_BYTES + header > length {
        return Err(CheckpointError::Length {
            found: length,
            expected: PREFIX_BYTES + header,
        });
    }
    Ok(header as usize)
}

/// What a valid header says, which is all that has to be known before the tensors are read.
struct Plan {
    config: Config,
    training: Option<Training>,
    dims: Dims,
    /// The metadata text, and the checksum in it.
    text: String,
    sha256: String,
    tensors: Metadata,
    layout: Vec<Item>,
    /// Where in the body each of them lies.
    ranges: Vec<Range<usize>>,
}

impl Plan {
    /// Reads the header of a file of `length` bytes.
    fn new(length: u64, json: &[u8]) -> Result<Self, CheckpointError> {
        // This also checks that the tensors lie end to end and that each fits its shape.
        let header = Header::parse(json, METADATA_KEY, MAX_TENSORS);
        let Header { text, tensors } = header.map_err(|e| match e {
            HeaderError::Malformed(reason) => CheckpointError::NotSafetensors(reason),
            HeaderError::TooManyTensors(_) => CheckpointError::TooManyTensors,
        })?;
        let body_start = PREFIX_BYTES + json.len() as u64;
        let expected = body_start.saturating_add(tensors.data_len() as u64);
        if expected != length {
            return Err(CheckpointError::Length {
                found: length,
                expected,
            });
        }
        let text = text.ok_or(CheckpointError::NotOurs)?;
        let (config, training, sha256) = metadata::parse(&text)?;
        let dims = config.validate()?;
        let layout = layout(&dims, config.sums(training.as_ref())?);
        let ranges = locate(&tensors, &layout)?;
        Ok(Self {
            config,
            training,
            dims,
            text,
            sha256,
            tensors,
            layout,
            ranges,
        })
    }

    /// Takes the values from the body, and checks them.
    fn checkpoint(self, body: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let parts = self.layout.iter().zip(&self.ranges);
        let computed = digest(
            &unsealed(&self.text, &self.sha256),
            parts.map(|((name, _, shape), range)| (*name, shape.as_slice(), &body[range.clone()])),
        );
        if computed != self.sha256 {
            return Err(CheckpointError::Checksum {
                stored: self.sha256,
                computed,
            });
        }
        // `ranges` has one entry for each tensor of `layout`, those of `Tensor::ALL` first: the
        // iterator never runs dry.
        let mut tensors = self.ranges.into_iter().map(|range| &body[range]);
        let mut next = || tensors.next().unwrap_or_default();
        let params = Params::from_fn(|_| values(next(), f32::from_le_bytes));
        let bnmean = values(next(), f32::from_le_bytes);
        let bnvar = values(next(), f32::from_le_bytes);
        let training = self.training.map(|training| Training {
            generator: values(next(), u32::from_le_bytes),
            losses: values(next(), f64::from_le_bytes),
            ..training
        });
        let checkpoint = Checkpoint {
            config: self.config,
            params,
            bnmean,
            bnvar,
            training,
        };
        checkpoint.check_values(&self.dims)?;
        Ok(checkpoint)
    }
}

/// Where in the body the tensors lie, in the order of `layout`, after checking that they are just
/// those, of the right type and shape.
fn locate(tensors: &Metadata, layout: &[Item]) -> Result<Vec<Range<usize>>, CheckpointError> {
    let stranger = tensors
        .offset_keys()
        .into_iter()
        .find(|name| layout.iter().all(|(known, ..)| known != name));
    if let Some(name) = stranger {
        let name = excerpt(name, EXCERPT);
        return Err(CheckpointError::ExtraTensor { name });
    }
    layout
        .iter()
        .map(|&(name, dtype, ref expected)| {
            let Some(info) = tensors.info(name) else {
                return Err(CheckpointError::MissingTensor { name });
            };
            if info.dtype != dtype {
                return Err(CheckpointError::Dtype {
                    name,
                    found: info.dtype,
                    expected: dtype,
                });
            }
            if info.shape != *expected {
                return Err(CheckpointError::Shape {
                    name,
                    found: info.shape.iter().copied().take(8).collect(),
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
    hex(&sha.finalize())
}

/// Numbers of `N` bytes, from the little-endian form that they have in the file.
fn values<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    let (values, _) = bytes.as_chunks();
    values.iter().map(|v| from(*v)).collect()
}

#[cfg(test)]
mod tests;
