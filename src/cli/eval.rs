//! `gpu-makemore eval`: the loss of a trained model.

use crate::backend::Backend;
use crate::cli::args::EvalArgs;
use crate::cli::data;
use crate::cli::device::Device;
use crate::cli::error::{Error, Failure};
use crate::cli::report::Output;
use crate::cli::trained::{Trained, data_options};
use crate::data::Split;
use crate::training::evaluation;

/// A split of words that are not those of the training.
#[derive(Debug, thiserror::Error)]
#[error(
    "{data}: are not the words that the model was trained on, so its {split} split would have words from the \
     training in it; use --split all, or the data of the training"
)]
struct OtherWords {
    data: String,
    split: Split,
}

impl Failure for OtherWords {}

/// Prints the loss of each split that was asked for.
pub async fn run(args: &EvalArgs) -> Result<(), Error> {
    let trained = Trained::load(&args.checkpoint, args.data.as_ref(), &args.reading).await?;
    let config = &trained.config;
    let given = args.reading.clone().into();
    let options = data_options(&config.recipe, args.data.as_ref(), &given);
    let dataset = data::load_with_vocabulary(&options, &trained.vocabulary)?;
    // Other words are split otherwise, and some of each part may be words that the model was trained on.
    // Models of the first versions do not tell which words theirs are.
    let others = (config.data_sha256.as_ref()).is_some_and(|words| *words != dataset.sha256());
    if let Some(split) = args.split.filter(|&split| others && split != Split::All) {
        return Err(OtherWords {
            data: dataset.label,
            split,
        }
        .into());
    }
    let device = Device::choose(&args.device).await?;
    let mut backend = device.open(config.dims(), &trained.params).await?;
    let mut out = Output::new();
    out.line(&format!(
        "device  {}; {}",
        device.name(),
        backend.info().driver
    ))?;
    out.line(&format!("why     {}", device.why()))?;
    out.line(&format!("data    {}", dataset.label))?;
    let notes = dataset.notes.to_string();
    if !notes.is_empty() {
        out.line(&format!("        {notes}"))?;
    }
    let splits = match (args.split, others) {
        (Some(split), _) => vec![split],
        (None, false) => vec![Split::Train, Split::Val, Split::Test],
        (None, true) => {
            out.line("        not the words of the training, so they are not split")?;
            vec![Split::All]
        }
    };
    for split in splits {
        let examples = dataset.split(split);
        let loss = evaluation::loss(&mut backend, &trained.stats, &examples).await?;
        out.line(&format!(
            "{:<7} {loss:.4}  ({} examples)",
            split.to_string(),
            examples.len()
        ))?;
    }
    Ok(())
}
