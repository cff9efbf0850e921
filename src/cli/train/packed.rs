//! A trained model as it is saved.

use crate::backend::{Backend, BackendInfo};
use crate::checkpoint::{Checkpoint, Config};
use crate::cli::error::Error;
use crate::data::Dataset;
use crate::model::params::Params;
use crate::model::recipe::Recipe;
use crate::model::statistics::Statistics;
use crate::training::evaluation;

/// What the checkpoint says of how its model was made.
pub(crate) fn config(recipe: &Recipe, dataset: &Dataset, info: &BackendInfo) -> Config {
    let recipe = recipe.clone();
    Config {
        vocab: dataset.vocab.chars().collect(),
        block_size: recipe.block_size as usize,
        n_embd: recipe.n_embd as usize,
        n_hidden: recipe.n_hidden as usize,
        batch_size: recipe.batch_size as usize,
        steps: recipe.steps,
        lr: recipe.lr,
        lr_final: recipe.lr_final,
        lr_decay_at: recipe.lr_decay_at,
        seed: recipe.seed,
        data: recipe.data,
        column: recipe.column,
        clean: recipe.clean,
        backend: info.backend.to_owned(),
        version: crate::VERSION.to_owned(),
    }
}

/// The model as it is saved: parameters, and batch-norm statistics over `contexts (examples, block)`
/// of the training set.
pub(crate) async fn finish(
    backend: &mut impl Backend,
    config: Config,
    params: Params<f32>,
    contexts: &[u8],
) -> Result<Checkpoint, Error> {
    let Statistics { bnmean, bnvar } = evaluation::calibrate(backend, &params, contexts).await?;
    Ok(Checkpoint {
        config,
        params,
        bnmean,
        bnvar,
        training: None,
    })
}

/// The batch-norm statistics of a finished model.
pub(crate) fn statistics(checkpoint: &Checkpoint) -> Statistics {
    Statistics {
        bnmean: checkpoint.bnmean.clone(),
        bnvar: checkpoint.bnvar.clone(),
    }
}
