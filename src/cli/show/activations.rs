//! What tanh gives of a trained model over its training examples, as in the lecture before this one.

use serde::Serialize;

use crate::data::Examples;
use crate::model::dims::Dims;
use crate::model::moments::Moments;
use crate::model::params::Params;
use crate::model::statistics::Statistics;
use crate::reference::Model;

/// Training examples whose activations are taken, at most: their order is random, so the first are as good
/// as any.
const MOST: usize = 4096;
/// Examples that are computed at once.
const BATCH: usize = 64;
/// An activation of a larger absolute value passes on next to no gradient: `1 - h**2` is below 0.02.
pub const SATURATED: f32 = 0.99;
/// Bins of the histogram: as many as `torch.histogram` has by default.
pub const BINS: usize = 100;

/// `h (examples, hidden)` of the first training examples.
pub struct Activations {
    h: Vec<f32>,
    hidden: usize,
}

/// What there is to say of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// How many examples they are of.
    pub examples: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub std: f64,
    /// What part of them is saturated.
    pub saturated: f64,
    /// From which absolute value on an activation is saturated.
    pub threshold: f32,
    /// Units that are saturated in every example: they have stopped learning.
    pub dead_units: usize,
}

impl Activations {
    /// Those of a model with these batch-norm statistics.
    pub fn of(dims: Dims, params: &Params<f32>, stats: &Statistics, examples: &Examples) -> Self {
        let mut model = Model::new(dims.with_batch(BATCH), params.clone());
        let count = examples.len().min(MOST);
        let contexts = examples.range(0..count).x;
        let mut h = Vec::with_capacity(count * dims.hidden);
        for x in contexts.chunks(BATCH * dims.block) {
            h.extend_from_slice(model.activations(x, &stats.bnmean, &stats.bnvar));
        }
        Self {
            h,
            hidden: dims.hidden,
        }
    }

    /// What there is to say of them.
    pub fn facts(&self) -> Facts {
        let Moments { mean, std, .. } = Moments::of(&self.h);
        let dead = |unit: &usize| {
            let mut column = self.h.iter().skip(*unit).step_by(self.hidden);
            column.all(|&h| saturated(h))
        };
        Facts {
            examples: self.h.len() / self.hidden,
            mean,
            std,
            saturated: share(&self.h),
            threshold: SATURATED,
            dead_units: (0..self.hidden).filter(dead).count(),
        }
    }

    /// The density in each of [`BINS`] equal parts of -1 to 1: `torch.histogram(h, density=True)` over that
    /// range.
    pub fn density(&self) -> Vec<f64> {
        let mut counts = [0_usize; BINS];
        for &h in &self.h {
            let bin = (f64::from(h) + 1.0) / 2.0 * BINS as f64;
            counts[(bin as usize).min(BINS - 1)] += 1; // the last bin has its upper end in it
        }
        let width = 2.0 / BINS as f64;
        let density = |count: usize| count as f64 / self.h.len() as f64 / width;
        counts.into_iter().map(density).collect()
    }

    /// `h.abs() > 0.99` of the first `examples` examples, `(examples, hidden)`, and the part of them for which
    /// it holds.
    pub fn saturation(&self, examples: usize) -> (Vec<bool>, f64) {
        let first = &self.h[..self.h.len().min(examples * self.hidden)];
        (first.iter().map(|&h| saturated(h)).collect(), share(first))
    }

    /// Units of the hidden layer.
    pub fn hidden(&self) -> usize {
        self.hidden
    }
}

fn saturated(h: f32) -> bool {
    h.abs() > SATURATED
}

/// The saturated part of some activations.
fn share(h: &[f32]) -> f64 {
    h.iter().filter(|&&h| saturated(h)).count() as f64 / h.len() as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::dims::Token;

    /// One unit whose `hpreact` is the embedding of the character before: 3 for the end mark, 2 for the first
    /// letter, -3 for the second, and one that is dead. tanh(3) = 0.99505, tanh(2) = 0.96403.
    pub(in super::super) fn activations() -> Activations {
        let dims = Dims {
            vocab: 3,
            block: 1,
            embd: 1,
            hidden: 2,
            batch: 2,
        };
        let params = Params {
            c: vec![3.0, 2.0, -3.0],
            w1: vec![1.0, 0.0],
            b1: vec![0.0, 0.0],
            bngain: vec![1.0, 1.0],
            bnbias: vec![0.0, 9.0],
            w2: vec![0.0; 6],
            b2: vec![0.0; 3],
        };
        // With the 1e-5 that is added to a variance, 1.
        let stats = Statistics {
            bnmean: vec![0.0, 0.0],
            bnvar: vec![1.0 - 1e-5, 1.0 - 1e-5],
        };
        // The contexts are . a . b b, that is 3, 2, 3, -3, -3.
        let words: [Vec<Token>; 2] = [vec![1], vec![2, 2]];
        let examples = Examples::build(words, 1, 3);
        assert_eq!(examples.range(0..5).x, [0, 1, 0, 2, 2]);
        Activations::of(dims, &params, &stats, &examples)
    }

    #[test]
    fn saturation_is_counted_as_by_hand() {
        let activations = activations();
        let found = activations.facts();
        assert_eq!((found.examples, found.dead_units), (5, 1));
        assert_eq!(found.saturated, 9.0 / 10.0); // all but tanh(2)
        let mean = (2.0_f64.tanh() + 5.0 * 9.0_f64.tanh()) / 10.0; // 3 and -3 cancel
        assert!((found.mean - mean).abs() < 1e-6, "{found:?}");
        let (map, share) = activations.saturation(2);
        assert_eq!((map, share), (vec![true, true, false, true], 0.75));
        assert_eq!(activations.saturation(32).0.len(), 10);
    }

    #[test]
    fn the_density_is_that_of_the_bins() {
        let density = activations().density();
        // tanh(-3) twice, tanh(2), and seven in the last bin: tanh(9) is 1 in f32.
        let bins: Vec<(usize, f64)> = density
            .iter()
            .copied()
            .enumerate()
            .filter(|bin| bin.1 > 0.0)
            .collect();
        let [(0, low), (98, middle), (99, high)] = bins[..] else {
            panic!("{bins:?}");
        };
        for (found, count) in [(low, 2.0), (middle, 1.0), (high, 7.0)] {
            assert!((found - count / 10.0 / 0.02).abs() < 1e-9, "{found}");
        }
    }
}
