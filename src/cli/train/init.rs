//! `train --init-from`: a run that starts from the parameters of a model.

use std::path::{Path, PathBuf};

use crate::backend::Backend;
use crate::cli::args::TrainArgs;
use crate::cli::data;
use crate::cli::error::Error;
use crate::cli::model_file::Model;
use crate::cli::trained::{self, vocabulary};
use crate::data::{Dataset, Vocabulary};
use crate::model::params::Params;
use crate::training::evaluation;

use super::error::TrainError;

/// The model that a run starts from.
pub(crate) struct Start {
    path: PathBuf,
    pub(crate) params: Params<f32>,
    /// Its characters, if it says which.
    vocabulary: Option<Vocabulary>,
    /// How many there are.
    characters: usize,
    /// The options, with its sizes.
    pub(crate) args: TrainArgs,
}

impl Start {
    /// Loads the model, and takes its sizes for those that are not given.
    ///
    /// # Errors
    ///
    /// There is no model, or a size is given that is not the model's.
    pub(crate) fn open(path: &Path, given: &TrainArgs) -> Result<Self, Error> {
        let (params, dims, vocabulary) = match trained::model(path)? {
            Model::Ours(ours) => {
                let vocabulary = vocabulary(&ours.config)?;
                (ours.params, ours.config.dims(), Some(vocabulary))
            }
            Model::Plain(plain) => (plain.params, plain.dims, None),
        };
        let mut args = given.clone();
        args.init_sha256 = Some(params.sha256());
        for (option, size, own) in [
            ("--block-size", &mut args.block_size, dims.block),
            ("--n-embd", &mut args.n_embd, dims.embd),
            ("--n-hidden", &mut args.n_hidden, dims.hidden),
        ] {
            if given.has(option) && *size != own as u64 {
                return Err(TrainError::OtherSize {
                    option,
                    given: *size,
                    own,
                    path: path.to_path_buf(),
                }
                .into());
            }
            *size = own as u64;
        }
        Ok(Self {
            path: path.to_path_buf(),
            params,
            vocabulary,
            characters: dims.vocab,
            args,
        })
    }

    /// The words, with the model's vocabulary.
    ///
    /// # Errors
    ///
    /// They cannot be loaded, or have characters that the model lacks; or the model does not say which it
    /// has, and theirs are not as many.
    pub(crate) fn dataset(&self) -> Result<Dataset, Error> {
        let options = self.args.data_options();
        match &self.vocabulary {
            Some(vocabulary) => Ok(data::load_with_vocabulary(&options, vocabulary)?),
            None => trained::words(&self.path, self.characters, &options),
        }
    }

    /// The loss over the training set before the first step.
    ///
    /// # Errors
    ///
    /// The device failed, or the loss is no number.
    pub(crate) async fn loss(
        &self,
        backend: &mut impl Backend,
        dataset: &Dataset,
    ) -> Result<f64, Error> {
        let train = &dataset.train;
        let stats = evaluation::calibrate(backend, &self.params, train).await?;
        let loss = evaluation::loss(backend, &stats, train).await?;
        match loss.is_finite() {
            true => Ok(loss),
            false => Err(TrainError::NoStart {
                path: self.path.clone(),
                loss,
            }
            .into()),
        }
    }
}
