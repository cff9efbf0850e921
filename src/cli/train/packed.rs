//! A trained model as it is saved.

use crate::backend::{Backend, BackendInfo};
use crate::checkpoint::{Checkpoint, Config};
use crate::cli::error::Error;
use crate::data::{Dataset, Examples};
use crate::model::params::Params;
use crate::model::recipe::Recipe;
use crate::model::statistics::Statistics;
use crate::training::evaluation;

/// What the checkpoint says of how its model was made.
pub(crate) fn config(recipe: &Recipe, dataset: &Dataset, info: &BackendInfo) -> Config {
    Config {
        vocab: dataset.vocab.chars().collect(),
        recipe: recipe.clone(),
        backend: info.backend.to_owned(),
        version: crate::VERSION.to_owned(),
        data_sha256: Some(dataset.sha256()),
    }
}

/// The model as it is saved: parameters, and batch-norm statistics over the first `count` examples of
/// the training set.
pub(crate) async fn finish(
    backend: &mut impl Backend,
    config: Config,
    params: Params<f32>,
    train: &Examples,
    count: usize,
) -> Result<Checkpoint, Error> {
    let Statistics { bnmean, bnvar } =
        evaluation::calibrate_on_first(backend, &params, train, count).await?;
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
