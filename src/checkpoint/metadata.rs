//! The metadata text of a checkpoint: how the model was made, and the run that it is part of.

use std::collections::HashSet;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::header::Extent;
use super::{CheckpointError, EXCERPT, FORMAT, ZERO_DIGEST};
use crate::gpu::kernels::Changed;
use crate::model::dims::Dims;
use crate::model::recipe::{Recipe, is_off};
use crate::text::excerpt;
use crate::training::curve::LossCurve;

/// Bytes of a text or a number in the metadata text at most, escapes as they are written: twice the longest
/// path of Linux.
const MAX_LENGTH: usize = 8192;

/// Commas between the values of the metadata text at most. All but some dozens are between characters.
const MAX_COMMAS: usize = 4096 + *Dims::VOCAB.end();

/// How a model was made: what it takes to run it, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The characters in the order of their tokens; the first shows the end mark, `.` unless that is a
    /// letter. A list of one-character strings in the file.
    pub vocab: Vec<char>,
    /// The recipe; its `steps` are those that are done.
    #[serde(flatten)]
    pub recipe: Recipe,
    /// The backend that trained the model.
    pub backend: String,
    /// The version of the program that wrote the file.
    pub version: String,
    /// A checksum of the vocabulary and of all words ([`Dataset::sha256`](crate::data::Dataset::sha256)).
    /// Files of the first versions have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_sha256: Option<String>,
}

impl Config {
    /// The sizes, not yet checked against their ranges.
    pub fn dims(&self) -> Dims {
        self.recipe.unchecked_dims(self.vocab.len())
    }

    /// How many sums of losses the file has, if the run is not finished.
    pub(super) fn sums(
        &self,
        training: Option<&Training>,
    ) -> Result<Option<usize>, CheckpointError> {
        let Some(training) = training else {
            return Ok(None);
        };
        if self.recipe.steps > training.steps {
            let reason = format!(
                "it is {} of {} steps far",
                self.recipe.steps, training.steps
            );
            return Err(CheckpointError::Config(reason));
        }
        let bucket = training.bucket();
        Ok(Some(LossCurve::sums_after(self.recipe.steps, bucket)))
    }

    /// Checks sizes, vocabulary and learning rates.
    pub(super) fn validate(&self) -> Result<Dims, CheckpointError> {
        let dims = self.dims().validate().map_err(CheckpointError::Size)?;
        let refuse = CheckpointError::Config;
        let mut seen = HashSet::new();
        if let Some(twice) = self.vocab.iter().find(|c| !seen.insert(**c)) {
            return Err(refuse(format!("its vocabulary has {twice:?} twice")));
        }
        for (name, value) in [("lr", self.recipe.lr), ("lr_final", self.recipe.lr_final)] {
            // JSON has no way to write these.
            if !value.is_finite() {
                return Err(refuse(format!("its {name} is {value}, not a number")));
            }
        }
        Ok(dims)
    }
}

/// What it takes to continue a run, or to take a finished one further, beside its [`Config`] and its
/// parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps between two rows of metrics.
    pub log_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Steps between two evaluations, if there are any beside those of the checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<NonZeroU64>,
    /// Whether TensorBoard's event files are written.
    #[serde(default, skip_serializing_if = "is_off")]
    pub tensorboard: bool,
    /// Steps between two records of the ratios, if there are to be any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratios_every: Option<NonZeroU64>,
    /// `--adapter`.
    pub adapter_option: Option<String>,
    /// How steps were launched, if that was on a GPU.
    pub schedule: Option<String>,
    /// How a step was laid out there: a name that [`Tuning`](crate::gpu::tuning::Tuning) reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<String>,
    /// The adapter's own name.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// The kernels, if they were not the program's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shaders: Option<Changed>,
    /// As in [`Config`]: here, it has always been.
    pub data_sha256: String,
    /// Where the file with the words lies, as seen from the run's folder, if they come from a file.
    pub data_path: Option<String>,
    /// Time that the steps took so far.
    pub seconds: f64,
    /// Where `metrics.jsonl` stands.
    pub metrics: MetricsMark,
    /// Mean loss over the validation set, with the statistics that are in the file.
    pub val_loss: Option<f64>,
    /// The checkpoint with the lowest validation loss so far.
    pub best: Option<Best>,
    /// Mean loss over the training set before the first step, if the run started from a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_loss: Option<f64>,
    /// [`LossCurve::bucket`], if it does not follow from `steps`: the run has become longer or shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<NonZeroU64>,
    /// The next words of the generator that draws the minibatches; a tensor in the file.
    #[serde(skip)]
    pub generator: Vec<u32>,
    /// [`LossCurve::sums`]; a tensor in the file.
    #[serde(skip)]
    pub losses: Vec<f64>,
}

impl Training {
    /// Steps that a point of the loss curve stands for.
    pub fn bucket(&self) -> u64 {
        self.bucket
            .map_or_else(|| LossCurve::bucket_of(self.steps), NonZeroU64::get)
    }
}

/// Where the metrics of a run stand, for a run that continues later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsMark {
    /// Length of the rows in `metrics.jsonl`, in bytes.
    pub bytes: u64,
    /// Sum of the losses since the last row.
    pub sum: f64,
    /// Their number.
    pub count: u64,
}

/// A checkpoint of a run, in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done.
    pub step: u64,
    /// Mean loss over the validation set.
    pub val_loss: f64,
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

/// The metadata text with the checksum `sha256`.
pub(super) fn to_text(
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

/// Configuration, record of an unfinished run and checksum from the metadata text.
pub(super) fn parse(text: &str) -> Result<(Config, Option<Training>, String), CheckpointError> {
    let refuse = |reason: String| CheckpointError::Metadata(excerpt(reason, EXCERPT));
    let json = |e: serde_json::Error| refuse(e.to_string());
    modest(text).map_err(refuse)?;
    // First and by itself: the other fields of another version may have changed their meaning.
    let Version { format } = serde_json::from_str(text).map_err(json)?;
    if format != u64::from(FORMAT) {
        return Err(CheckpointError::Format { found: format });
    }
    let Seal { sha256, training } = serde_json::from_str(text).map_err(json)?;
    if sha256.len() != ZERO_DIGEST.len() || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(refuse("its sha256 is not 64 hexadecimal digits".to_owned()));
    }
    let config = serde_json::from_str(text).map_err(json)?;
    Ok((config, training, sha256))
}

/// Refuses JSON of which a parser could make much more than its length: with very long texts and
/// numbers, which are copied to take out escapes, or very many values, for which a list grows by
/// doubling.
pub(super) fn modest(json: &str) -> Result<(), String> {
    let Extent {
        longest, commas, ..
    } = Extent::of(json);
    if longest > MAX_LENGTH {
        return Err(format!(
            "a text or a number in it is longer than {MAX_LENGTH} bytes"
        ));
    }
    if commas > MAX_COMMAS {
        return Err(format!("it has more than {MAX_COMMAS} values"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modest_is_what_has_no_long_text_and_few_values() {
        let text = |length: usize| {
            format!(
                r#"{{"a":"{}","b":"{}"}}"#,
                "x,".repeat(length / 2),
                "y".repeat(10)
            )
        };
        assert_eq!(modest(&text(MAX_LENGTH)), Ok(()));
        assert!(
            modest(&text(MAX_LENGTH + 2))
                .unwrap_err()
                .contains("longer than 8192")
        );
        // A quotation mark behind a backslash does not end a text, behind two it does.
        let escaped = |mark: &str| format!(r#"["{mark}","{}"]"#, "x".repeat(MAX_LENGTH - 2));
        assert!(modest(&escaped(r#"\""#)).is_ok());
        assert!(modest(&format!(r#"["\"{}"#, "x".repeat(MAX_LENGTH))).is_err());
        assert!(modest(&format!(r#"["\\"{}"#, "x".repeat(MAX_LENGTH))).is_ok());
        assert_eq!(modest(&"7".repeat(MAX_LENGTH)), Ok(()));
        assert!(modest(&"7".repeat(MAX_LENGTH + 1)).is_err());
        assert_eq!(modest(&",".repeat(MAX_COMMAS)), Ok(()));
        assert!(
            modest(&",".repeat(MAX_COMMAS + 1))
                .unwrap_err()
                .contains("69631 values")
        );
    }
}
