//! A model with all that is to be had about it: from its file, from the run that it is part of, and from the
//! words that it was trained on.

use std::path::{Path, PathBuf};

use crate::checkpoint::{Config, Training as Record};
use crate::cli::args::ShowArgs;
use crate::cli::data::{self, Source};
use crate::cli::error::Error;
use crate::cli::model_file::{self, Model};
use crate::cli::report::metrics::{self, RatiosRow};
use crate::cli::report::{RunDir, Summary};
use crate::cli::trained::{Adopted, data_options, places, vocabulary};
use crate::data::{Dataset, Vocabulary};
use crate::model::dims::Dims;
use crate::model::params::Params;
use crate::model::statistics::Statistics;

/// What `show` shows.
pub struct Shown {
    /// The file of the model.
    pub file: PathBuf,
    /// The folder of its run, if it lies in one.
    pub run: Option<PathBuf>,
    /// Its sizes.
    pub dims: Dims,
    /// Its seven parameters.
    pub params: Params<f32>,
    /// Its batch-norm statistics, unless it is from elsewhere and has none.
    pub stats: Option<Statistics>,
    /// How it was made, if it says so.
    pub config: Option<Config>,
    /// What the run's last checkpoint says of it.
    pub record: Option<Record>,
    /// The results of the run, if it ended with this model.
    pub summary: Option<Summary>,
    /// The recorded ratios of the run.
    pub ratios: Vec<RatiosRow>,
    /// Its characters, unless it is from elsewhere and no words are given.
    pub vocabulary: Option<Vocabulary>,
    /// The words, or why there are none.
    pub words: Result<Dataset, String>,
    /// What else the user should know.
    pub notes: Vec<String>,
}

impl Shown {
    /// Whether the file itself is a checkpoint of a run, and not its finished model.
    pub fn is_checkpoint(&self) -> bool {
        [RunDir::LAST, RunDir::BEST]
            .iter()
            .any(|name| self.file.ends_with(name))
    }

    /// Finds the model of a path, and what there is about it.
    ///
    /// # Errors
    ///
    /// There is no model, it is refused, or the data that the options name cannot be loaded.
    pub async fn load(args: &ShowArgs) -> Result<Self, Error> {
        let (file, run) = file_of(&args.path);
        let ours = match model_file::load_any(&file)? {
            Model::Ours(ours) => *ours,
            Model::Plain(plain) => {
                let plain = *plain;
                let adopted = match &args.data {
                    Some(source) => {
                        Some(Adopted::new(&file, &plain, source.clone(), &args.reading).await?)
                    }
                    None => None,
                };
                let (stats, words) = match adopted {
                    Some(adopted) => (Some(adopted.stats), Ok(adopted.dataset)),
                    None => (
                        plain.stats,
                        Err(
                            "a model from elsewhere does not name its words; --data does"
                                .to_owned(),
                        ),
                    ),
                };
                return Ok(Self {
                    file,
                    run: None,
                    dims: plain.dims,
                    params: plain.params,
                    stats,
                    config: None,
                    record: None,
                    summary: None,
                    ratios: Vec::new(),
                    vocabulary: words.as_ref().ok().map(|words| words.vocab.clone()),
                    words,
                    notes: Vec::new(),
                });
            }
        };
        let mut notes = Vec::new();
        let mut record = ours.training;
        let (mut summary, mut ratios) = (None, Vec::new());
        if let Some(run) = &run {
            let last = run.join(RunDir::LAST);
            if record.is_none() && last.is_file() {
                match model_file::load(&last) {
                    Ok(last) => record = last.training,
                    Err(error) => notes.push(error.to_string()),
                }
            }
            let path = run.join(RunDir::SUMMARY);
            if file.ends_with(RunDir::MODEL) && path.is_file() {
                match Summary::load(&path) {
                    // A run that is going further has the summary of its end before.
                    Ok(found) if found.recipe == ours.config.recipe => summary = Some(found),
                    Ok(_) => notes.push(format!("{} is of another model", path.display())),
                    Err(error) => notes.push(error.to_string()),
                }
            }
            let path = run.join(RunDir::METRICS);
            if path.is_file() {
                ratios = metrics::ratios(&path)?;
            }
        }
        let vocabulary = vocabulary(&ours.config)?;
        let data_path = record
            .as_ref()
            .and_then(|record| record.data_path.as_deref());
        let beside = run.as_deref().zip(data_path);
        let (words, note) = words(args, &ours.config, &vocabulary, beside)?;
        notes.extend(note);
        Ok(Self {
            file,
            run,
            dims: ours.config.dims(),
            params: ours.params,
            stats: Some(Statistics {
                bnmean: ours.bnmean,
                bnvar: ours.bnvar,
            }),
            config: Some(ours.config),
            record,
            summary,
            ratios,
            vocabulary: Some(vocabulary),
            words,
            notes,
        })
    }
}

/// The file of the model that a path names, and the folder of its run. In a folder it is the finished model, or
/// else the last checkpoint, or what is left of a run that diverged.
fn file_of(path: &Path) -> (PathBuf, Option<PathBuf>) {
    let models = [RunDir::MODEL, RunDir::LAST, RunDir::LAST_GOOD];
    if path.is_dir() {
        let there = models.iter().find(|name| path.join(name).is_file());
        let file = path.join(there.unwrap_or(&RunDir::MODEL));
        return (file, Some(path.to_path_buf()));
    }
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => path,
    };
    let of_run = models
        .iter()
        .chain([&RunDir::BEST])
        .any(|name| path.ends_with(name));
    let run = of_run && folder.join(RunDir::METRICS).is_file();
    (path.to_path_buf(), run.then(|| folder.to_path_buf()))
}

/// The words of a model of this program, or why there are none; and what to know of them.
///
/// # Errors
///
/// The data that the options name cannot be loaded.
fn words(
    args: &ShowArgs,
    config: &Config,
    vocabulary: &Vocabulary,
    beside: Option<(&Path, &str)>,
) -> Result<(Result<Dataset, String>, Option<String>), Error> {
    let given = args.reading.clone().into();
    let options = data_options(&config.recipe, args.data.as_ref(), &given);
    let then = config.data_sha256.as_deref();
    if args.data.is_some() {
        let dataset = data::load_with_vocabulary(&options, vocabulary)?;
        let other = then.is_some_and(|then| then != dataset.sha256());
        let note = "--data has other words than those that the model was trained on";
        return Ok((Ok(dataset), other.then(|| note.to_owned())));
    }
    if options.source == Source::Stdin {
        let why = "the words came from standard input; --data says where they are";
        return Ok((Err(why.to_owned()), None));
    }
    let mut why = String::new();
    for options in places(options, beside) {
        match data::load_with_vocabulary(&options, vocabulary) {
            Ok(dataset) if then.is_none_or(|then| then == dataset.sha256()) => {
                let unknown = then.is_none();
                let note =
                    "the model does not tell a checksum of its words: those found may be others";
                return Ok((Ok(dataset), unknown.then(|| note.to_owned())));
            }
            // A file with other words says more than one that is not there.
            Ok(dataset) => {
                why = format!(
                    "{} has other words now than the model was trained on; --data says where those are",
                    dataset.label
                );
            }
            Err(error) if why.is_empty() => why = error.to_string(),
            Err(_) => {}
        }
    }
    Ok((Err(why), None))
}
