//! A trained model, as the commands that use one load it.

use std::path::{Path, PathBuf};

use crate::checkpoint::plain::Plain;
use crate::checkpoint::{Checkpoint, Config};
use crate::cli::args::ReadingArgs;
use crate::cli::data::{self, Options, Source};
use crate::cli::error::{Error, Failure, USAGE};
use crate::cli::model_file::{self, Model, ModelFileError};
use crate::cli::report::{RunDir, RunDirError};
use crate::cpu::CpuBackend;
use crate::data::{Dataset, Reading, Vocabulary, VocabularyError};
use crate::model::params::Params;
use crate::model::recipe::Recipe;
use crate::model::statistics::Statistics;
use crate::training::evaluation;

/// A checkpoint whose characters are no vocabulary.
#[derive(Debug, thiserror::Error)]
#[error("the model's vocabulary: {0}; train a new model")]
pub struct NoVocabulary(VocabularyError);

impl Failure for NoVocabulary {}

/// A model without a vocabulary, and no words to take it from.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is from elsewhere and has no vocabulary: --data says which words it was trained on", .0.display()
)]
pub struct NoWords(pub PathBuf);

impl Failure for NoWords {
    fn exit_code(&self) -> u8 {
        USAGE
    }
}

/// A model without a vocabulary, and words that it cannot have been trained on.
#[derive(Debug, thiserror::Error)]
#[error(
    "the tensor C in {} has {rows} rows, but {data} has {characters} characters, the end mark among them; \
     --data says which words it was trained on",
    .path.display()
)]
pub struct OtherWords {
    path: PathBuf,
    rows: usize,
    data: String,
    characters: usize,
}

impl Failure for OtherWords {}

/// The words of a model from elsewhere, which has `rows` characters.
///
/// # Errors
///
/// They cannot be loaded, or have another number of characters.
pub fn words(path: &Path, rows: usize, options: &data::Options) -> Result<Dataset, Error> {
    let dataset = data::load(options)?;
    let characters = dataset.vocab.len();
    if characters != rows {
        return Err(OtherWords {
            path: path.to_path_buf(),
            rows,
            data: dataset.label,
            characters,
        }
        .into());
    }
    Ok(dataset)
}

/// The model in a file, or the one in the folder of a run.
///
/// # Errors
///
/// There is none, or it is refused.
pub fn model(path: &Path) -> Result<Model, Error> {
    if !path.is_dir() {
        return Ok(model_file::load_any(path)?);
    }
    let [model, last] = [RunDir::MODEL, RunDir::LAST].map(|name| path.join(name));
    match model_file::load_any(&model) {
        Err(ModelFileError::Missing { .. }) if last.is_file() => {
            let path = path.to_path_buf();
            Err(RunDirError::Unfinished { path }.into())
        }
        other => Ok(other?),
    }
}

/// The vocabulary of a checkpoint.
///
/// # Errors
///
/// Its characters make none.
pub fn vocabulary(config: &Config) -> Result<Vocabulary, NoVocabulary> {
    Vocabulary::from_chars(config.vocab.iter().copied()).map_err(NoVocabulary)
}

/// The data that the options name; without `--data`, those that a model of this recipe was trained on, read
/// as they were for its training.
pub fn data_options(recipe: &Recipe, data: Option<&Source>, given: &Reading) -> Options {
    let Ok(own) = recipe.data.parse::<Source>(); // any text names a source
    let mut recipe = match data {
        Some(_) => Recipe {
            block_size: recipe.block_size,
            ..Recipe::default()
        },
        None => recipe.clone(),
    };
    given.record(&mut recipe);
    Options {
        source: data.cloned().unwrap_or(own),
        reading: Reading::from(&recipe),
        block: recipe.block_size as usize,
    }
}

/// Where the words of a run may be: at the path they were read from, as seen from the current folder; and then
/// at that which leads to them from the run's own, if it has one: the folder and the path.
pub fn places(options: Options, beside: Option<(&Path, &str)>) -> Vec<Options> {
    let seen_from_run = beside.map(|(folder, path)| Options {
        source: Source::File(folder.join(path)),
        ..options.clone()
    });
    std::iter::once(options).chain(seen_from_run).collect()
}

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
    /// Whether this program has trained it: then it has a vocabulary of its own.
    pub is_ours: bool,
}

impl Trained {
    /// Takes a checkpoint apart.
    ///
    /// # Errors
    ///
    /// Its characters make no vocabulary.
    fn ours(checkpoint: Checkpoint) -> Result<Self, NoVocabulary> {
        Ok(Self {
            vocabulary: vocabulary(&checkpoint.config)?,
            config: checkpoint.config,
            params: checkpoint.params,
            stats: Statistics {
                bnmean: checkpoint.bnmean,
                bnvar: checkpoint.bnvar,
            },
            is_ours: true,
        })
    }

    /// Loads a model. One from elsewhere takes its vocabulary from `data`, and if it has no batch-norm
    /// statistics, those over the training set of it.
    ///
    /// # Errors
    ///
    /// There is no model, it is refused, or it lacks the words that it needs.
    pub async fn load(
        path: &Path,
        data: Option<&Source>,
        reading: &ReadingArgs,
    ) -> Result<Self, Error> {
        let plain = match model(path)? {
            Model::Ours(checkpoint) => return Ok(Self::ours(*checkpoint)?),
            Model::Plain(plain) => plain,
        };
        let source = data.ok_or_else(|| NoWords(path.to_path_buf()))?.clone();
        let adopted = Adopted::new(path, &plain, source, reading).await?;
        Ok(Self {
            config: Config {
                vocab: adopted.dataset.vocab.chars().collect(),
                recipe: adopted.recipe,
                backend: String::new(),
                version: String::new(),
                data_sha256: None, // whether it was trained on these words, only the user knows
            },
            vocabulary: adopted.dataset.vocab,
            params: plain.params,
            stats: adopted.stats,
            is_ours: false,
        })
    }
}

/// What a model from elsewhere lacks, taken from the words that it is said to be trained on.
pub struct Adopted {
    /// The words.
    pub dataset: Dataset,
    /// The lecture's recipe with the sizes of the model, and these words.
    pub recipe: Recipe,
    /// The batch-norm statistics of the file, or those over the training set.
    pub stats: Statistics,
}

impl Adopted {
    /// What the model in the file `path` takes from a data set.
    ///
    /// # Errors
    ///
    /// The words cannot be loaded, or have another number of characters than the model.
    pub async fn new(
        path: &Path,
        plain: &Plain,
        source: Source,
        reading: &ReadingArgs,
    ) -> Result<Self, Error> {
        let dims = plain.dims;
        let mut recipe = Recipe {
            block_size: dims.block as u64,
            n_embd: dims.embd as u64,
            n_hidden: dims.hidden as u64,
            data: source.to_string(),
            ..Recipe::default()
        };
        let reading = Reading::from(reading.clone());
        reading.record(&mut recipe);
        let options = data::Options {
            source,
            reading,
            block: dims.block,
        };
        let dataset = words(path, dims.vocab, &options)?;
        let params = &plain.params;
        let stats = match &plain.stats {
            Some(stats) => stats.clone(),
            None => {
                let mut cpu = CpuBackend::new(dims, params.clone());
                evaluation::calibrate(&mut cpu, params, &dataset.train).await?
            }
        };
        Ok(Self {
            dataset,
            recipe,
            stats,
        })
    }
}
