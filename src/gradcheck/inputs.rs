//! What is checked: a minibatch and a model.

use super::error::GradcheckError;
use crate::data;
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::rng::TorchGenerator;

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
        let names = data::load(&data::Options {
            block: sizes.block,
            ..data::Options::default()
        })?;
        let dims = Dims {
            vocab: names.vocab.len(),
            ..sizes
        }
        .validate()?;
        let mut generator = TorchGenerator::manual_seed(seed);
        let params = Params::init(&dims, &mut generator);
        let mut ix = vec![0; dims.batch];
        generator.randint_into(names.train.len() as u32, &mut ix);
        Ok(Self {
            dims,
            params,
            x: ix
                .iter()
                .flat_map(|&i| names.train.context(i as usize).to_vec())
                .collect(),
            y: ix.iter().map(|&i| names.train.y()[i as usize]).collect(),
        })
    }
}
