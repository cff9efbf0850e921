//! `gpu-makemore eval`: the loss of a trained model.

use std::path::{Path, PathBuf};

use crate::backend::Statistics;
use crate::checkpoint::Checkpoint;
use crate::cli::EvalArgs;
use crate::data::{self, Source, Split, Vocabulary};
use crate::error::Error;
use crate::report::{Output, RunDir};

/// Prints the loss of each split that was asked for.
pub fn run(args: &EvalArgs) -> Result<(), Error> {
    let checkpoint = Checkpoint::load(checkpoint_path(&args.checkpoint))?;
    let config = &checkpoint.config;
    let vocabulary = vocabulary(&config.vocab)?;
    // Without --data the model's own data is read as it was read for training.
    let own = args.data.is_none();
    let Ok(own_source) = config.data.parse::<Source>(); // any text names a source
    let options = data::Options {
        source: args.data.clone().unwrap_or(own_source),
        column: args
            .columns
            .column
            .clone()
            .or_else(|| config.column.clone().filter(|_| own)),
        clean: args.columns.clean || (own && config.clean),
        block: config.block_size,
    };
    let dataset = data::load_with_vocabulary(&options, &vocabulary)?;
    let device = crate::train::Device::choose(&args.device)?;
    let mut backend = device.open(config.dims(), &checkpoint.params)?;
    let mut out = Output::new();
    out.line(&format!("device  {}", device.describe()))?;
    out.line(&format!("data    {}", dataset.label))?;
    let stats = Statistics {
        bnmean: checkpoint.bnmean,
        bnvar: checkpoint.bnvar,
    };
    let splits = match args.split {
        Some(split) => vec![split],
        None => vec![Split::Train, Split::Val, Split::Test],
    };
    for split in splits {
        let examples = dataset.split(split);
        let loss = backend.evaluate(&stats, examples.x(), examples.y())?;
        out.line(&format!(
            "{:<7} {loss:.4}  ({} examples)",
            split.to_string(),
            examples.len()
        ))?;
    }
    Ok(())
}

/// A checkpoint, or the one in the folder of a run.
pub fn checkpoint_path(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(RunDir::MODEL)
    } else {
        path.to_path_buf()
    }
}

/// The vocabulary that a checkpoint lists; its first character is the end mark.
pub fn vocabulary(chars: &[char]) -> Result<Vocabulary, Error> {
    let letters = chars.iter().copied().filter(|&c| c != Vocabulary::END);
    Vocabulary::new(letters).map_err(|e| Error::Usage(format!("the model's vocabulary: {e}")))
}
