//! What a trained model is worth: its batch-norm statistics, its losses, and whether the training made it
//! worse than it was.

use crate::backend::{Backend, DeviceError};
use crate::data::{Batch, Dataset, Examples};
use crate::model::dims::Dims;
use crate::model::params::Params;
use crate::model::statistics::{MergedStatistics, Statistics};
use crate::training::Snapshot;

/// Gives the backend these parameters, and returns their batch-norm statistics over the training set.
///
/// # Errors
///
/// The device failed.
pub async fn calibrate(
    backend: &mut impl Backend,
    params: &Params<f32>,
    train: &Examples,
) -> Result<Statistics, DeviceError> {
    calibrate_on_first(backend, params, train, train.len()).await
}

/// [`calibrate`], over the first `count` examples.
///
/// # Errors
///
/// The device failed.
pub async fn calibrate_on_first(
    backend: &mut impl Backend,
    params: &Params<f32>,
    train: &Examples,
    count: usize,
) -> Result<Statistics, DeviceError> {
    backend.set_params(params).await?;
    let mut merged = MergedStatistics::new(backend.dims().hidden);
    for Batch { x, y } in train.parts(count) {
        let stats = backend.calibrate(&x).await?;
        if y.len() == count {
            return Ok(stats); // nothing to merge: not even the last bit changes
        }
        merged.add(y.len(), &stats.bnmean, &stats.bnvar);
    }
    Ok(merged.finish())
}

/// The mean loss of the model that the backend holds, over these examples. Of no examples it is NaN.
///
/// # Errors
///
/// The device failed.
pub async fn loss(
    backend: &mut impl Backend,
    stats: &Statistics,
    examples: &Examples,
) -> Result<f64, DeviceError> {
    let mut mean = f64::NAN;
    let mut count = 0;
    for Batch { x, y } in examples.parts(examples.len()) {
        let loss = backend.evaluate(stats, &x, &y).await?;
        count += y.len();
        mean = match y.len() == count {
            true => loss, // the first part, and of most data sets the only one
            false => mean + (loss - mean) * (y.len() as f64 / count as f64),
        };
    }
    Ok(mean)
}

/// Mean losses of the model that the backend holds, over the training, validation and test sets.
///
/// # Errors
///
/// The device failed.
pub async fn losses(
    backend: &mut impl Backend,
    stats: &Statistics,
    dataset: &Dataset,
) -> Result<[f64; 3], DeviceError> {
    let mut losses = [0.0; 3];
    let sets = [&dataset.train, &dataset.val, &dataset.test];
    for (loss, examples) in losses.iter_mut().zip(sets) {
        *loss = self::loss(backend, stats, examples).await?;
    }
    Ok(losses)
}

/// How far above the untrained model's loss that of a trained one may be before the training counts as
/// diverged; and the steps of a run from which on this is so. In fewer steps it may be as many times
/// more.
///
/// A run is judged by its end, and by the loss over the whole training set. On the way losses rise far
/// and come down again: with `--n-hidden 1000 --lr 3` to 72, and in the end the loss is 2.8; with
/// `--n-hidden 16 --lr 10` to 19 and 2.6. And the first steps overshoot where a minibatch is small: with
/// two examples, hidden 1000 and `--lr 0.3` the loss is 6 times that of the untrained model after 10
/// steps, below it after 1,000, and 2.6 after 20,000.
///
/// Measured over some 300 runs of 1 to 200,000 steps on the names and the municipalities, with hidden 1 to
/// 2048, minibatches of 2 to 512, and rates from 0.1 to 100 that fall to a tenth in the middle. Whatever
/// trains a model within 20,000 steps (to a loss below `ln(vocab)`) ends below the untrained model's loss
/// after 1,000 steps or more; in fewer it ends at up to 8.1 times that loss (after 30 steps, where 67
/// times are allowed). What trains none ends at 2.3 (`--lr 10`, municipalities) to 150 times it (`--lr 50`
/// and two examples), and in between lies `--lr 5`, the edge, with 1.02.
const WORSE: (f64, f64) = (2.0, 1000.0);

/// The highest loss over the training set after `steps` steps with which a run has not diverged, if it
/// was `untrained` before the first. A model that guesses evenly has `ln(vocab)`.
pub fn worst(dims: &Dims, steps: u64, untrained: f64) -> f64 {
    let (times, settled) = WORSE;
    let short = (settled / steps.max(1) as f64).max(1.0);
    times * short * untrained.max((dims.vocab as f64).ln())
}

/// Whether a training of `steps` steps has diverged though every number is finite: the loss of the
/// untrained model over the training set if `train_loss`, that of the trained model, is far above it
/// ([`worst`]). The backend then holds the untrained model.
///
/// # Errors
///
/// The device failed.
pub async fn worse_than_untrained(
    backend: &mut impl Backend,
    seed: u64,
    steps: u64,
    train: &Examples,
    train_loss: f64,
) -> Result<Option<f64>, DeviceError> {
    let dims = *backend.dims();
    let within = |limit: f64| train_loss <= limit; // NaN is not
    if within(worst(&dims, steps, 0.0)) {
        return Ok(None); // true of nearly every run, and the untrained model need not be evaluated
    }
    let untrained = Snapshot::first(&dims, seed).params;
    let stats = calibrate(backend, &untrained, train).await?;
    let untrained = loss(backend, &stats, train).await?;
    Ok((!within(worst(&dims, steps, untrained))).then_some(untrained))
}
