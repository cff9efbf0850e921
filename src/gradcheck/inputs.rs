//! What is checked: a minibatch and a model.

use super::error::GradcheckError;
use crate::data::{self, Batch, Dataset};
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::rng::TorchGenerator;
use crate::training::Snapshot;

/// A minibatch and a model: what a pass is computed from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Sizes.
    pub dims: Dims,
    /// The seven parameters.
    pub params: Params<f32>,
    /// Contexts, `(batch, block)`.
    pub x: Vec<Token>,
    /// Targets, `(batch)`.
    pub y: Vec<Token>,
}

impl Inputs {
    /// The notebook's: initial values of a seed, and its first minibatch of the names.
    ///
    /// # Errors
    ///
    /// A size is out of range.
    pub fn of_names(sizes: Dims, seed: u64) -> Result<Self, GradcheckError> {
        let names = data::names(sizes.block)?;
        let dims = Dims {
            vocab: names.vocab.len(),
            ..sizes
        }
        .validate()?;
        let mut generator = TorchGenerator::manual_seed(seed);
        let params = Params::init(&dims, &mut generator);
        Ok(Self::first(&names, dims, params, generator))
    }

    /// A model, and the minibatch with which a training of it by this seed begins.
    ///
    /// # Errors
    ///
    /// A size is out of range.
    pub fn of_model(
        dataset: &Dataset,
        sizes: Dims,
        params: Params<f32>,
        seed: u64,
    ) -> Result<Self, GradcheckError> {
        let dims = sizes.validate()?;
        // What is drawn for the initial values is not needed, but moves the generator on.
        let Snapshot { generator, .. } = Snapshot::first(&dims, seed);
        Ok(Self::first(dataset, dims, params, generator))
    }

    /// With the first minibatch that the generator draws.
    fn first(
        dataset: &Dataset,
        dims: Dims,
        params: Params<f32>,
        mut generator: TorchGenerator,
    ) -> Self {
        let train = &dataset.train;
        let mut ix = vec![0; dims.batch];
        generator.randint_into(train.len() as u32, &mut ix);
        let mut batch = Batch::default();
        for i in ix {
            train.write(i as usize, &mut batch);
        }
        let Batch { x, y } = batch;
        Self { dims, params, x, y }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_meets_the_minibatch_of_the_seed() {
        let names = data::load(&data::Options::default()).unwrap();
        let drawn = Inputs::of_names(Dims::LECTURE, 5).unwrap();
        let params = Params::filled(&Dims::LECTURE, 0.5);
        let model = Inputs::of_model(&names, Dims::LECTURE, params.clone(), 5).unwrap();
        assert_eq!((&model.x, &model.y), (&drawn.x, &drawn.y));
        assert_eq!(model.params, params);
    }
}
