//! Names that a trained model invents.

use std::collections::HashSet;

use crate::data::Vocabulary;
use crate::model::dims::{Dims, Token};
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::reference::Model;
use crate::rng::TorchGenerator;

/// The most characters that are drawn for a name: an untrained model may never choose the end mark.
pub const LONGEST: usize = 1000;

/// Names that are printed after a training.
pub const NAMES: usize = 20;

/// The lecture samples with a seed of its own: `2147483647 + 10`.
const SEED_OFFSET: u64 = 10;

/// Draws in a row that give no name which is wanted, before the search ends.
const DRAWS: u32 = 10_000;

/// Tokens as text.
pub fn text(vocabulary: &Vocabulary, tokens: &[Token]) -> String {
    tokens
        .iter()
        .filter_map(|&t| vocabulary.decode(t))
        .collect()
}

/// How a name is drawn. The default is the lecture's way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Divides the logits. At 0 nothing is drawn: each character is the likeliest one.
    pub temperature: f32,
    /// How many characters, the likeliest ones, may come next; the end mark is one of them. All, if there is
    /// no number; one at least.
    pub top_k: Option<usize>,
    /// The end mark cannot come before a name has this many characters, its prefix included; [`LONGEST`] at
    /// most.
    pub min_len: usize,
    /// A name ends when it has this many characters, its prefix included, whether the end mark would come
    /// or not. It may only have a longer prefix.
    pub max_len: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            min_len: 0,
            max_len: None,
        }
    }
}

/// Draws names from a trained model as the lecture does: character by character, each from the
/// softmax of the logits, until the end mark comes. It runs on the CPU, where one row costs less
/// than a launch.
pub struct Sampler {
    model: Model<f32>,
    stats: Statistics,
    generator: TorchGenerator,
    /// How names are drawn.
    pub options: Options,
}

impl Sampler {
    /// A sampler whose draws follow `torch.Generator().manual_seed(seed)`.
    pub fn new(dims: Dims, params: Params<f32>, stats: Statistics, seed: u64) -> Self {
        Self {
            model: Model::new(dims.with_batch(1), params),
            stats,
            generator: TorchGenerator::manual_seed(seed),
            options: Options::default(),
        }
    }

    /// The sampler of the names that follow a training of this seed.
    pub fn of_run(dims: Dims, params: Params<f32>, stats: Statistics, seed: u64) -> Self {
        Self::new(dims, params, stats, seed.wrapping_add(SEED_OFFSET))
    }

    /// The probability of each token behind a context, as the model has it.
    pub fn next(&mut self, context: &[Token]) -> Vec<f32> {
        softmax(self.logits(context), 1.0)
    }

    /// The tokens of one name that begins with `prefix`, without the end mark.
    pub fn name(&mut self, prefix: &[Token]) -> Vec<Token> {
        let block = self.model.dims.block;
        let Options {
            temperature,
            top_k,
            min_len,
            max_len,
        } = self.options;
        let longest = max_len.unwrap_or(usize::MAX).min(prefix.len() + LONGEST);
        let mut tokens = vec![Vocabulary::END_TOKEN; block];
        tokens.extend(prefix);
        while tokens.len() - block < longest {
            let mut logits = self.logits(&tokens[tokens.len() - block..]).to_vec();
            if tokens.len() - block < min_len {
                logits[usize::from(Vocabulary::END_TOKEN)] = f32::NEG_INFINITY;
            }
            if let Some(k) = top_k {
                for token in likeliest(&logits).split_off(k.min(logits.len())) {
                    logits[token] = f32::NEG_INFINITY;
                }
            }
            let next = if temperature == 0.0 {
                likeliest(&logits)[0]
            } else {
                self.generator.multinomial(&softmax(&logits, temperature))
            };
            let next = next as Token;
            if next == Vocabulary::END_TOKEN {
                break;
            }
            tokens.push(next);
        }
        tokens.split_off(block)
    }

    /// The logarithm of the probability that the model gives a name: of each of its characters, and of the
    /// end mark behind them, multiplied. The [`Options`] are no part of the model.
    pub fn log_probability(&mut self, name: &[Token]) -> f64 {
        let block = self.model.dims.block;
        let end = [Vocabulary::END_TOKEN];
        let tokens = [&vec![Vocabulary::END_TOKEN; block][..], name, &end].concat();
        let logprob = |window: &[Token]| match window {
            [context @ .., next] => log_softmax(self.logits(context), usize::from(*next)),
            [] => 0.0,
        };
        tokens.windows(block + 1).map(logprob).sum()
    }

    /// The logits of what comes behind a context.
    fn logits(&mut self, context: &[Token]) -> &[f32] {
        let Statistics { bnmean, bnvar } = &self.stats;
        self.model.infer(context, bnmean, bnvar)
    }

    /// Whether every name with the same prefix is the same name.
    fn is_fixed(&self) -> bool {
        self.options.temperature == 0.0 || self.options.top_k == Some(1)
    }
}

/// Names of which some are left out.
pub struct Selection {
    /// Draws them.
    pub sampler: Sampler,
    /// What each begins with.
    pub prefix: Vec<Token>,
    /// Names that are not given.
    pub left_out: HashSet<Vec<Token>>,
    /// Whether no name is given twice.
    pub unique: bool,
}

/// No name was drawn that is not left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoName {
    /// In many draws.
    #[error("none of {DRAWS} draws in a row gave a name that is not left out")]
    Draws,
    /// The next draw is as the last.
    #[error("the name is left out, and every draw gives the same one")]
    Fixed,
}

impl Selection {
    /// The next name: the first to be drawn that is not left out.
    ///
    /// # Errors
    ///
    /// There was none in a bounded number of draws.
    pub fn name(&mut self) -> Result<Vec<Token>, NoName> {
        let (draws, none) = match self.sampler.is_fixed() {
            true => (1, NoName::Fixed),
            false => (DRAWS, NoName::Draws),
        };
        for _ in 0..draws {
            let name = self.sampler.name(&self.prefix);
            if !self.left_out.contains(&name) {
                if self.unique {
                    self.left_out.insert(name.clone());
                }
                return Ok(name);
            }
        }
        Err(none)
    }
}

/// All tokens, the likeliest first; of equals the first.
fn likeliest(logits: &[f32]) -> Vec<usize> {
    let mut tokens: Vec<usize> = (0..logits.len()).collect();
    tokens.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    tokens
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

/// `F.log_softmax(logits, dim=1)` of one row, at one token.
fn log_softmax(logits: &[f32], token: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let norm = |l: f32| f64::from(l) - f64::from(max);
    let sum: f64 = logits.iter().map(|&l| norm(l).exp()).sum();
    norm(logits[token]) - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model of the letters 1 and 2 that looks at nothing: the logits are `b2`.
    fn sampler(b2: [f32; 3]) -> Sampler {
        let dims = Dims {
            vocab: 3,
            block: 2,
            embd: 1,
            hidden: 1,
            batch: 2,
        };
        let mut params = Params::filled(&dims, 0.0);
        params.b2 = b2.to_vec();
        let stats = Statistics {
            bnmean: vec![0.0],
            bnvar: vec![1.0],
        };
        Sampler::new(dims, params, stats, 1)
    }

    /// Of end mark, 1 and 2 the probabilities 1/2, 1/4 and 1/4.
    fn halves() -> Sampler {
        sampler([2f32.ln(), 0.0, 0.0])
    }

    fn selection(sampler: Sampler, unique: bool, left_out: &[&[Token]]) -> Selection {
        Selection {
            sampler,
            prefix: Vec::new(),
            left_out: left_out.iter().map(|name| name.to_vec()).collect(),
            unique,
        }
    }

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
        let mut sampler = sampler([-1e4, 0.0, 0.0]);
        assert_eq!(sampler.name(&[2]).len(), 1 + LONGEST);
    }

    #[test]
    fn the_probability_of_a_name_is_that_of_its_characters_and_its_end() {
        let mut sampler = halves();
        for options in [
            Options::default(),
            Options {
                temperature: 0.0,
                top_k: Some(1),
                min_len: 3,
                max_len: Some(1),
            },
        ] {
            sampler.options = options;
            for (name, probability) in [(&[][..], 0.5), (&[1], 0.125), (&[2, 1, 1], 1.0 / 128.0)] {
                let found = sampler.log_probability(name).exp();
                assert!((found - probability).abs() < 1e-7, "{name:?}: {found}");
            }
        }
    }

    /// The context is what was drawn: behind 1, which `C` tells from the others, the end is all but sure.
    #[test]
    fn the_probability_of_a_character_depends_on_those_before_it() {
        let mut sampler = sampler([0.0; 3]);
        let params = &mut sampler.model.params;
        params.c = vec![0.0, 1.0, 0.0];
        params.w1 = vec![0.0, 1.0]; // of the last character
        params.bngain = vec![1.0];
        params.w2 = vec![10.0, 0.0, 0.0];
        // bnvar has 1e-5 added to it.
        let h = f64::from((1.00001f32.powf(-0.5)).tanh());
        let after_1 = (10.0 * h).exp() / ((10.0 * h).exp() + 2.0);
        let third: f64 = 1.0 / 3.0;
        for (name, expected) in [
            (&[2][..], third.ln() * 2.0),
            (&[1], third.ln() + after_1.ln()),
            (&[1, 2], third.ln() * 2.0 + ((1.0 - after_1) / 2.0).ln()),
        ] {
            let found = sampler.log_probability(name);
            assert!(
                (found - expected).abs() < 1e-5,
                "{name:?}: {found} {expected}"
            );
        }
    }

    #[test]
    fn one_candidate_is_the_likeliest_and_so_is_temperature_0() {
        for (b2, likeliest) in [
            ([0.0, 2.0, 1.0], Some(1)),
            ([0.0, 1.0, 2.0], Some(2)),
            ([2.0, 1.0, 0.0], None),
            ([0.0, 1.0, 1.0], Some(1)), // the first of equals
        ] {
            let expected = likeliest.map_or(Vec::new(), |token| vec![token; 5]);
            for (temperature, top_k) in [(0.0, None), (1.0, Some(1)), (30.0, Some(1))] {
                let mut sampler = sampler(b2);
                sampler.options = Options {
                    temperature,
                    top_k,
                    max_len: Some(5),
                    ..Options::default()
                };
                assert_eq!(sampler.name(&[]), expected, "{b2:?} {:?}", sampler.options);
            }
        }
    }

    #[test]
    fn only_the_likeliest_are_drawn() {
        let mut sampler = sampler([0.0, -1.0, -0.5]);
        sampler.options.top_k = Some(2);
        let names: Vec<_> = (0..200).map(|_| sampler.name(&[])).collect();
        assert!(names.iter().flatten().all(|&token| token == 2));
        assert!(names.contains(&vec![]) && names.contains(&vec![2, 2]));
        // As many as there are, or more, are all: the draws stay the same.
        for k in [3, 4, usize::MAX] {
            let (mut all, mut k_of_them) = (halves(), halves());
            k_of_them.options.top_k = Some(k);
            for _ in 0..50 {
                assert_eq!(k_of_them.name(&[]), all.name(&[]));
            }
        }
    }

    #[test]
    fn names_are_as_long_as_they_may_be() {
        let mut sampler = halves();
        let mut lengths = |min_len, max_len, prefix: &[Token]| -> HashSet<usize> {
            sampler.options.min_len = min_len;
            sampler.options.max_len = max_len;
            (0..300).map(|_| sampler.name(prefix).len()).collect()
        };
        assert!(lengths(0, None, &[]).contains(&0));
        let some = lengths(1, None, &[]);
        assert!(!some.contains(&0) && some.contains(&1) && some.contains(&4));
        assert_eq!(lengths(2, Some(3), &[]), [2, 3].into());
        assert_eq!(lengths(3, Some(3), &[]), [3].into());
        assert_eq!(lengths(0, Some(2), &[1]), [1, 2].into());
        assert_eq!(lengths(2, Some(2), &[1, 2]), [2].into());
    }

    #[test]
    fn no_name_is_given_twice_nor_one_that_is_left_out() {
        let mut names = halves();
        names.options.max_len = Some(1);
        let mut names = selection(names, true, &[&[1]]);
        let mut two = [names.name().unwrap(), names.name().unwrap()];
        two.sort_unstable();
        assert_eq!(two, [vec![], vec![2]]);
        assert_eq!(names.name(), Err(NoName::Draws));
        // Without `unique` the same ones come again.
        names.unique = false;
        names.left_out.remove(&vec![2]);
        for _ in 0..20 {
            assert_eq!(names.name(), Ok(vec![2]));
        }
        // Leaving names out leaves the order of the others.
        let (mut all, mut some) = (halves(), selection(halves(), false, &[&[], &[2]]));
        let mut wanted = (0..)
            .map(|_| all.name(&[]))
            .filter(|n| !n.is_empty() && n[..] != [2]);
        for _ in 0..20 {
            assert_eq!(some.name().ok(), wanted.next());
        }
    }

    #[test]
    fn where_each_name_is_the_same_one_draw_is_enough() {
        for options in [
            Options {
                temperature: 0.0,
                ..Options::default()
            },
            Options {
                top_k: Some(1),
                ..Options::default()
            },
        ] {
            let mut sampler = halves();
            sampler.options = options;
            let mut names = selection(sampler, true, &[]);
            assert_eq!(names.name(), Ok(vec![]));
            assert_eq!(names.name(), Err(NoName::Fixed));
        }
    }
}
