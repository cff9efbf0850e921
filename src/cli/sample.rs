//! `gpu-makemore sample`: names that a trained model invents.

use std::collections::HashSet;
use std::io;

use serde::Serialize;

use crate::cli::args::SampleArgs;
use crate::cli::data::{self, DataFileError};
use crate::cli::error::{Error, Failure, USAGE, Usage};
use crate::cli::report::{Output, OutputError};
use crate::cli::trained::{Trained, data_options};
use crate::data::{Reading, normalized};
use crate::model::dims::Token;
use crate::sample::{NoName, Options, Sampler, Selection, text};
use crate::text::listed;

/// `--prefix` has a character that the model does not know.
#[derive(Debug, thiserror::Error)]
#[error("--prefix: the model knows no {character:?}; its characters are: {vocabulary}")]
pub struct UnknownCharacter {
    /// The character.
    pub character: char,
    /// The model's characters.
    pub vocabulary: String,
}

impl Failure for UnknownCharacter {
    fn exit_code(&self) -> u8 {
        USAGE
    }
}

/// The words that `--new` leaves out are not at hand.
#[derive(Debug, thiserror::Error)]
#[error("--new needs the words that the model was trained on: {0}; --data names them")]
pub struct NoWords(DataFileError);

impl Failure for NoWords {}

/// The names ran out.
#[derive(Debug, thiserror::Error)]
#[error("only {given} of {asked} names: {why}; ask for fewer, or leave out {options}")]
pub struct RanOut {
    given: u64,
    asked: u64,
    why: NoName,
    options: &'static str,
}

impl Failure for RanOut {}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    /// What the model gives it, whatever the options.
    probability: f64,
    log_probability: f64,
    /// Nothing, if the words are not at hand.
    training_word: Option<bool>,
}

/// Prints names.
pub async fn run(args: &SampleArgs) -> Result<(), Error> {
    let trained = Trained::load(&args.checkpoint, args.data.as_ref(), &args.reading).await?;
    let vocabulary = &trained.vocabulary;
    let prefix = normalized(&args.prefix)
        .chars()
        .map(|character| {
            vocabulary
                .encode(character)
                .ok_or_else(|| UnknownCharacter {
                    character,
                    vocabulary: listed(vocabulary.letters().iter().copied()),
                })
        })
        .collect::<Result<Vec<Token>, UnknownCharacter>>()?;
    let options = options(args, trained.is_ours, prefix.len())?;
    let words = training_words(args, &trained)?;
    let Trained {
        config,
        params,
        stats,
        ..
    } = trained.clone();
    let mut sampler = Sampler::new(config.dims(), params, stats, args.seed);
    sampler.options = options;
    let mut names = Selection {
        sampler,
        prefix,
        left_out: words.clone().filter(|_| args.new).unwrap_or_default(),
        unique: args.unique,
    };
    let mut out = Output::new();
    for given in 0..args.count {
        let name = names.name().map_err(|why| RanOut {
            given,
            asked: args.count,
            why,
            options: match (args.new, args.unique) {
                (true, true) => "--new or --unique",
                (true, false) => "--new",
                _ => "--unique",
            },
        })?;
        let name_text = text(vocabulary, &name);
        if args.json {
            let log_probability = names.sampler.log_probability(&name);
            let line = Line {
                name: &name_text,
                probability: log_probability.exp(),
                log_probability,
                training_word: words.as_ref().map(|words| words.contains(&name)),
            };
            let line = serde_json::to_string(&line);
            out.line(&line.map_err(|e| OutputError::from(io::Error::from(e)))?)?;
        } else {
            out.line(&name_text)?;
        }
        if !out.is_open() {
            // `sample -n 1000000 | head -1`: the names are all that there is to it.
            break;
        }
    }
    Ok(())
}

/// How the names are drawn; and options that contradict each other are refused.
fn options(args: &SampleArgs, is_ours: bool, prefix: usize) -> Result<Options, Usage> {
    let about_words =
        args.data.is_some() || Reading::from(args.reading.clone()) != Reading::default();
    // A model from elsewhere has its vocabulary from them.
    if about_words && is_ours && !args.new && !args.json {
        let message = "--data, --column, --clean and the like say which words --new and --json look at; this model has a vocabulary of \
             its own; add one of them";
        return Err(Usage(message.to_owned()));
    }
    // More than fits a machine's word is more than any model has characters.
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (min_len, max_len) = (size(args.min_len), args.max_len.map(size));
    if let Some(max_len) = max_len {
        if min_len > max_len {
            return Err(Usage(format!(
                "--min-len {min_len} is more than --max-len {max_len}"
            )));
        }
        if prefix > max_len {
            return Err(Usage(format!(
                "--prefix has {prefix} characters, and --max-len allows a name {max_len}"
            )));
        }
    }
    Ok(Options {
        temperature: args.temperature as f32,
        top_k: args.top_k.map(size),
        min_len,
        max_len,
    })
}

/// The words that the model was trained on, if they are wanted; with `--json` alone they may be missing.
fn training_words(
    args: &SampleArgs,
    trained: &Trained,
) -> Result<Option<HashSet<Vec<Token>>>, Error> {
    if !args.new && !args.json {
        return Ok(None);
    }
    let given = args.reading.clone().into();
    let options = data_options(&trained.config.recipe, args.data.as_ref(), &given);
    match data::load_with_vocabulary(&options, &trained.vocabulary) {
        Ok(dataset) => Ok(Some(dataset.train.words())),
        Err(error) if args.data.is_some() => Err(error.into()),
        Err(error) if args.new => Err(NoWords(error).into()),
        Err(_) => Ok(None),
    }
}
