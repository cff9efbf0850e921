//! `gpu-makemore sample`: names that a trained model invents.

use crate::cli::args::SampleArgs;
use crate::cli::data::listed;
use crate::cli::error::{Error, Failure, USAGE};
use crate::cli::report::Output;
use crate::cli::trained::Trained;
use crate::model::dims::Token;
use crate::sample::{Sampler, text};

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

/// Prints names.
pub fn run(args: &SampleArgs) -> Result<(), Error> {
    let Trained {
        config,
        vocabulary,
        params,
        stats,
    } = Trained::load(&args.checkpoint)?;
    let prefix = args
        .prefix
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
    let mut sampler = Sampler::new(config.dims(), params, stats, args.seed);
    sampler.temperature = args.temperature as f32;
    let mut out = Output::new();
    for _ in 0..args.count {
        out.line(&text(&vocabulary, &sampler.name(&prefix)))?;
        if !out.is_open() {
            // `sample -n 1000000 | head -1`: the names are all that there is to it.
            break;
        }
    }
    Ok(())
}
