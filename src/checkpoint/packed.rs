//! From a model in training to what is saved of it, and back.

use std::num::NonZeroU64;

use super::{Checkpoint, Config, MetricsMark, Training};
use crate::backend::{Backend, BackendInfo, DeviceError, Schedule};
use crate::data::{Dataset, Examples};
use crate::engine::tune::Tune;
use crate::gpu::adapter::{Found, api_name};
use crate::gpu::tuning::Tuning;
use crate::model::params::Params;
use crate::model::recipe::Recipe;
use crate::model::statistics::Statistics;
use crate::rng::TorchGenerator;
use crate::training::curve::LossCurve;
use crate::training::log::LossLog;
use crate::training::{Snapshot, State, evaluation};

/// Training examples that a checkpoint's batch-norm statistics are taken over, at most. The words are
/// shuffled, so the first are as good as any, and so few take a millisecond. The finished model has
/// them over all.
pub const CALIBRATED: usize = 4096;

/// What the checkpoint says of how its model was made.
pub fn config(recipe: &Recipe, dataset: &Dataset, info: &BackendInfo) -> Config {
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
///
/// # Errors
///
/// The device failed.
pub async fn finish(
    backend: &mut impl Backend,
    config: Config,
    params: Params<f32>,
    train: &Examples,
    count: usize,
) -> Result<Checkpoint, DeviceError> {
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
pub fn statistics(checkpoint: &Checkpoint) -> Statistics {
    Statistics {
        bnmean: checkpoint.bnmean.clone(),
        bnvar: checkpoint.bnvar.clone(),
    }
}

/// A model that is to be saved, with its validation loss.
pub struct Measured {
    /// The model, with batch-norm statistics over the first [`CALIBRATED`] training examples.
    pub checkpoint: Checkpoint,
    /// Mean loss over the validation set, if it is finite.
    pub val_loss: Option<f64>,
}

/// Measures the validation loss of a model in training. `None` if its batch-norm statistics are not finite:
/// parameters so large diverge at the next step, and are not to be saved.
///
/// # Errors
///
/// The device failed.
pub async fn measure(
    evaluator: &mut impl Backend,
    mut config: Config,
    now: &Snapshot,
    dataset: &Dataset,
) -> Result<Option<Measured>, DeviceError> {
    let train = &dataset.train;
    let count = train.len().min(CALIBRATED);
    config.recipe.steps = now.steps;
    let checkpoint = finish(evaluator, config, now.params.clone(), train, count).await?;
    let stats = statistics(&checkpoint);
    let mut values = stats.bnmean.iter().chain(&stats.bnvar);
    if values.any(|v| !v.is_finite()) {
        return Ok(None);
    }
    let val_loss = evaluation::loss(evaluator, &stats, &dataset.val).await?;
    Ok(Some(Measured {
        checkpoint,
        // Without examples to validate on, it is 0/0.
        val_loss: Some(val_loss).filter(|loss| loss.is_finite()),
    }))
}

/// Where a run stands that is not finished, with a row of metrics every `log_every` steps from now on, and
/// `steps` steps in all. `None` if the checkpoint does not have what it takes.
pub fn state(checkpoint: &Checkpoint, log_every: u64, steps: u64) -> Option<State> {
    let (record, done) = (
        checkpoint.training.as_ref()?,
        checkpoint.config.recipe.steps,
    );
    // A checkpoint with another number of sums is refused when it is read.
    let sums = record.losses.clone();
    let curve = LossCurve::from_sums(done, record.steps, record.bucket(), sums)?;
    let since = (record.metrics.sum, record.metrics.count);
    Some(State {
        now: Snapshot {
            params: checkpoint.params.clone(),
            steps: done,
            generator: TorchGenerator::from_words_ahead(&record.generator)?,
        },
        log: LossLog::from_step(log_every, done, since),
        curve: curve.with_total(steps),
    })
}

/// How a run that continues on the adapter that it was begun on lays its steps out: as before, for the same bits.
/// On another adapter, or with another schedule, that is open again: `None`.
///
/// # Errors
///
/// Why the layout of the run cannot be taken.
pub fn tune(
    checkpoint: &Checkpoint,
    found: &Found,
    schedule: Schedule,
) -> Result<Option<Tune>, String> {
    let Some(record) = &checkpoint.training else {
        return Ok(None);
    };
    let same = record.adapter == found.info.name
        && record.driver == found.driver()
        && checkpoint.config.backend == api_name(found.info.backend);
    if !same {
        return Ok(None);
    }
    let Some(name) = &record.tuning else {
        // Before there were names, each device had one layout.
        return Ok(Some(Tune::Fixed));
    };
    let tuning: Tuning = name.parse().map_err(|error| format!("{error}"))?;
    if ![Schedule::Auto, tuning.schedule()].contains(&schedule) {
        return Ok(None);
    }
    tuning.check(found).map_err(|error| error.to_string())?;
    Ok(Some(Tune::Given(tuning)))
}

/// The record of a run with what changes from checkpoint to checkpoint: the generator, the curve and the
/// losses since the last row.
#[must_use]
pub fn record(standing: Training, state: &State) -> Training {
    let bucket = NonZeroU64::new(state.curve.bucket());
    let (sum, count) = state.log.since_the_last_row();
    Training {
        generator: state.now.generator.words_ahead(),
        losses: state.curve.sums().to_vec(),
        bucket: bucket.filter(|bucket| bucket.get() != LossCurve::bucket_of(standing.steps)),
        metrics: MetricsMark {
            sum,
            count,
            ..standing.metrics
        },
        ..standing
    }
}
