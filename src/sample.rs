//! Names that a trained model invents.

use crate::data::Vocabulary;
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::reference::Model;
use crate::rng::TorchGenerator;

/// A longer name is cut: an untrained model may never choose the end mark.
const LONGEST: usize = 1000;

/// Tokens as text.
pub fn text(vocabulary: &Vocabulary, tokens: &[Token]) -> String {
    tokens
        .iter()
        .filter_map(|&t| vocabulary.decode(t))
        .collect()
}

/// Draws names from a trained model as the lecture does: character by character, each from the
/// softmax of the logits, until the end mark comes. It runs on the CPU, where one row costs less
/// than a launch.
pub struct Sampler {
    model: Model<f32>,
    stats: Statistics,
    generator: TorchGenerator,
    /// Divides the logits.
    pub temperature: f32,
}

impl Sampler {
    /// A sampler whose draws follow `torch.Generator().manual_seed(seed)`.
    pub fn new(dims: Dims, params: Params<f32>, stats: Statistics, seed: u64) -> Self {
        Self {
            model: Model::new(dims.with_batch(1), params),
            stats,
            generator: TorchGenerator::manual_seed(seed),
            temperature: 1.0,
        }
    }

    /// The tokens of one name that begins with `prefix`, without the end mark.
    pub fn name(&mut self, prefix: &[Token]) -> Vec<Token> {
        let block = self.model.dims.block;
        let mut tokens = vec![Vocabulary::END_TOKEN; block];
        tokens.extend(prefix);
        while tokens.len() < block + prefix.len() + LONGEST {
            let context = &tokens[tokens.len() - block..];
            let logits = self
                .model
                .infer(context, &self.stats.bnmean, &self.stats.bnvar);
            let probs = softmax(logits, self.temperature);
            let next = self.generator.multinomial(&probs) as Token;
            if next == Vocabulary::END_TOKEN {
                break;
            }
            tokens.push(next);
        }
        tokens.split_off(block)
    }
}

/// `F.softmax(logits / temperature, dim=1)` of one row.
fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let counts: Vec<f32> = logits
        .iter()
        .map(|&l| ((l - max) / temperature).exp())
        .collect();
    let sum: f32 = counts.iter().sum();
    counts.into_iter().map(|c| c / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_and_follows_the_temperature() {
        let logits = [1.0, 3.0, -2.0];
        for temperature in [0.1, 1.0, 10.0] {
            let probs = softmax(&logits, temperature);
            assert!((probs.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert!(softmax(&logits, 0.1)[1] > 0.99);
        assert!(softmax(&logits, 100.0)[1] < 0.35);
    }

    #[test]
    fn a_name_without_an_end_is_cut() {
        let dims = Dims {
            vocab: 3,
            block: 2,
            embd: 1,
            hidden: 1,
            batch: 2,
        };
        let mut params = Params::filled(&dims, 0.0);
        params.b2 = vec![-1e4, 0.0, 0.0];
        let stats = Statistics {
            bnmean: vec![0.0],
            bnvar: vec![1.0],
        };
        let mut sampler = Sampler::new(dims, params, stats, 1);
        assert_eq!(sampler.name(&[2]).len(), 1 + LONGEST);
    }
}
