//! A trained model, as the commands that use one load it.

use std::path::Path;

use crate::checkpoint::Config;
use crate::cli::args::ReadingArgs;
use crate::cli::data::{Options, Source};
use crate::cli::error::{Error, Failure};
use crate::cli::model_file::{self, ModelFileError};
use crate::cli::report::{RunDir, RunDirError};
use crate::data::{Reading, Vocabulary, VocabularyError};
use crate::model::params::Params;
use crate::model::statistics::Statistics;

/// A checkpoint whose characters are no vocabulary.
#[derive(Debug, thiserror::Error)]
#[error("the model's vocabulary: {0}; train a new model")]
pub struct NoVocabulary(VocabularyError);

impl Failure for NoVocabulary {}

/// A checkpoint, taken apart.
#[derive(Clone, Debug)]
pub struct Trained {
    /// How it was made, and its sizes.
    pub config: Config,
    /// Its characters.
    pub vocabulary: Vocabulary,
    /// The seven parameters.
    pub params: Params<f32>,
    /// Batch-norm statistics over its training set.
    pub stats: Statistics,
}

impl Trained {
    /// The data that the options name: without `--data` the model's own, read as for its training.
    pub fn data_options(&self, data: Option<&Source>, reading: &ReadingArgs) -> Options {
        let recipe = &self.config.recipe;
        let given = Reading::from(reading.clone());
        let Ok(own) = recipe.data.parse::<Source>(); // any text names a source
        Options {
            source: data.cloned().unwrap_or(own),
            reading: match data {
                Some(_) => given,
                None => given.or(Reading::from(recipe)),
            },
            block: recipe.block_size as usize,
        }
    }

    /// Loads a `model.safetensors`, or the one in the folder of a run.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let checkpoint = if path.is_dir() {
            let [model, last] = [RunDir::MODEL, RunDir::LAST].map(|name| path.join(name));
            match model_file::load(model) {
                Err(ModelFileError::Missing { .. }) if last.is_file() => {
                    let path = path.to_path_buf();
                    return Err(RunDirError::Unfinished { path }.into());
                }
                other => other?,
            }
        } else {
            model_file::load(path)?
        };
        let chars = checkpoint.config.vocab.iter().copied();
        Ok(Self {
            vocabulary: Vocabulary::from_chars(chars).map_err(NoVocabulary)?,
            config: checkpoint.config,
            params: checkpoint.params,
            stats: Statistics {
                bnmean: checkpoint.bnmean,
                bnvar: checkpoint.bnvar,
            },
        })
    }
}
