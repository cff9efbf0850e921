//! What can be wrong with a checkpoint.

use std::io;

use safetensors::tensor::{Dtype, SafeTensorError};

use super::{FORMAT, MAX_FILE_BYTES, MAX_HEADER_BYTES, MAX_TENSORS, METADATA_KEY};
use crate::model::dims::DimsError;

/// Why bytes are no checkpoint, or a checkpoint cannot be made bytes. Every message is one line in which
/// the file is "it".
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The input failed, or ended before its length.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The file is larger than any checkpoint.
    #[error("it is {bytes} bytes long, but a checkpoint has {MAX_FILE_BYTES} at most")]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// The header is longer than any checkpoint's, or the file has no header at all.
    #[error(
        "it is not a checkpoint of gpu-makemore: its first 8 bytes call for a header of {bytes} bytes, \
         more than the {MAX_HEADER_BYTES} allowed"
    )]
    HeaderTooLong {
        /// Length of the header, as the file states it.
        bytes: u64,
    },
    /// The header lists many tensors: the model of another program.
    #[error(
        "its header lists more than {MAX_TENSORS} tensors, but a checkpoint of gpu-makemore has few"
    )]
    TooManyTensors,
    /// The file does not follow the safetensors format.
    #[error("it is not a safetensors file, or it is damaged: {0}")]
    NotSafetensors(String),
    /// The file ends early or late.
    #[error(
        "it is {found} bytes long, but its header calls for {expected}: it was cut short or something \
         was added"
    )]
    Length {
        /// Its length.
        found: u64,
        /// The length that follows from the header.
        expected: u64,
    },
    /// A safetensors file of another program.
    #[error("it is a safetensors file, but without the metadata '{METADATA_KEY}'")]
    NotOurs,
    /// The metadata are not what this program writes.
    #[error("its metadata '{METADATA_KEY}' cannot be read: {0}")]
    Metadata(String),
    /// The file has a version of the format that this program does not know.
    #[error("it has format {found}, but this gpu-makemore reads format {FORMAT}")]
    Format {
        /// Its format.
        found: u64,
    },
    /// A size is outside its range.
    #[error("in its configuration, {0}")]
    Size(DimsError),
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// A tensor is absent.
    #[error("it has no tensor '{name}'")]
    MissingTensor {
        /// The tensor's name.
        name: &'static str,
    },
    /// A tensor does not belong to the model.
    #[error("it has a tensor '{name}', which is not part of the model")]
    ExtraTensor {
        /// The tensor's name, shortened if it is long.
        name: String,
    },
    /// A tensor holds values of another type.
    #[error("the tensor '{name}' holds {found} values instead of {expected}")]
    Dtype {
        /// The tensor's name.
        name: &'static str,
        /// The type of its values.
        found: Dtype,
        /// The type that it has to have.
        expected: Dtype,
    },
    /// A tensor's shape contradicts the configuration.
    #[error(
        "the tensor '{name}' has the shape {found:?}, but {expected:?} follows from the configuration"
    )]
    Shape {
        /// The tensor's name.
        name: &'static str,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that follows from the configuration.
        expected: Vec<usize>,
    },
    /// In memory: a tensor has not the number of values that its shape calls for.
    #[error("the tensor '{name}' has {found} values, but {expected} follow from the configuration")]
    Count {
        /// The tensor's name.
        name: &'static str,
        /// Its number of values.
        found: usize,
        /// The number that follows from the configuration.
        expected: usize,
    },
    /// The file is not as it was written.
    #[error(
        "its content has the SHA-256 {computed}, but it was written with {stored}: the file was altered"
    )]
    Checksum {
        /// The checksum in the file.
        stored: String,
        /// The checksum of its content.
        computed: String,
    },
    /// A value is NaN or infinite.
    #[error("value {index} of the tensor '{name}' is {value}, so the training diverged")]
    NonFinite {
        /// The tensor's name.
        name: &'static str,
        /// Position of the first such value, row-major.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A variance is below zero.
    #[error("value {index} of the tensor 'bnvar' is {value}, but a variance is never negative")]
    NegativeVariance {
        /// Position of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The safetensors library refused to write.
    #[error("{0}")]
    Serialize(#[from] SafeTensorError),
}
