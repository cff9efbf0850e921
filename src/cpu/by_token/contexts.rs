//! Which contexts a minibatch has, how often each, and which tokens follow.

use super::lines::LINE;
pub use crate::model::contexts::Key;
use crate::model::contexts::Numbering;
use crate::model::dims::{Dims, Token};
use crate::reference::real::Real;

/// Contexts that are worked on at a time: as many as a line has lanes. (`Dims::block` is something else, the
/// length of a context.)
pub const CONTEXT_BLOCK: usize = LINE;

/// The distinct contexts of a minibatch, in order of first occurrence.
#[derive(Clone, Debug)]
pub struct Contexts<R> {
    numbering: Numbering,
    /// How many examples have each context, by blocks; zeros after the last context.
    uses: Vec<[R; CONTEXT_BLOCK]>,
    /// The target of every example, sorted by the block of its context.
    targets: Vec<Target>,
    /// Where the targets of each block end.
    ends: Vec<usize>,
}

/// The target of one example, whose context is in lane `lane` of its block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub lane: u8,
    pub token: Token,
}

impl<R: Real> Contexts<R> {
    pub fn new(dims: &Dims) -> Self {
        let batch = dims.batch;
        let blocks = batch.div_ceil(CONTEXT_BLOCK);
        Self {
            numbering: Numbering::new(batch),
            uses: vec![[R::zero(); CONTEXT_BLOCK]; blocks],
            targets: vec![Target::default(); batch],
            ends: vec![0; blocks],
        }
    }

    /// Lists the contexts of `x (batch, block)` with their targets `y (batch)`.
    #[inline(always)]
    pub fn read(&mut self, x: &[Token], y: &[Token], dims: &Dims) {
        let uses = self.uses.as_flattened_mut();
        uses.fill(R::zero());
        self.numbering
            .read(x, dims.block, |number| uses[number] += R::one());
        // A counting sort: `ends` has where the targets of each block begin, until they are placed.
        let mut first = 0;
        for (end, uses) in self.ends.iter_mut().zip(&self.uses) {
            *end = first;
            first += uses
                .iter()
                .map(|uses| uses.to_usize().unwrap_or(0))
                .sum::<usize>();
        }
        for (&number, &token) in self.numbering.number_of().iter().zip(y) {
            let end = &mut self.ends[number as usize / CONTEXT_BLOCK];
            let lane = (number as usize % CONTEXT_BLOCK) as u8;
            self.targets[*end] = Target { lane, token };
            *end += 1;
        }
    }

    /// The tokens of each context.
    pub fn keys(&self) -> &[Key] {
        self.numbering.keys()
    }

    /// How many examples have each context.
    pub fn uses(&self) -> &[R] {
        &self.uses.as_flattened()[..self.keys().len()]
    }

    /// How many examples have each context of a block; zeros after the last context.
    pub fn uses_of_lanes(&self, block: usize) -> &[R; CONTEXT_BLOCK] {
        &self.uses[block]
    }

    /// The targets of the examples that have a context of this block.
    pub fn targets(&self, block: usize) -> &[Target] {
        let first = if block == 0 { 0 } else { self.ends[block - 1] };
        &self.targets[first..self.ends[block]]
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.keys().len().div_ceil(CONTEXT_BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::rng::TorchGenerator;
    use crate::{model::steps::LearningRate, training::Stream};

    /// The means that the module documentation and the README give, over 200 minibatches of training.
    #[test]
    fn minibatches_of_names_share_contexts() {
        let names = data::load(&data::Options::default()).unwrap();
        for (batch, told) in [(32, 28.0), (4096, 1340.0)] {
            let dims = Dims {
                batch,
                ..Dims::LECTURE
            };
            let rate = LearningRate {
                lr: 0.1,
                lr_final: 0.1,
                decay_at: 0,
            };
            let generator = TorchGenerator::manual_seed(2_147_483_647);
            let steps = Stream::new(&names.train, generator, rate, batch).take(200);
            let mut contexts = Contexts::<f32>::new(&dims);
            let mut distinct = 0;
            for i in 0..steps.len() {
                let (x, y, _) = steps.step(i);
                contexts.read(x, y, &dims);
                distinct += contexts.keys().len();
            }
            let mean = distinct as f64 / steps.len() as f64;
            println!("{batch} examples: {mean:.1} distinct contexts, mean of 200 minibatches");
            assert!(
                (mean / told - 1.0).abs() < 0.02,
                "{mean} of {batch}, not {told}"
            );
        }
    }

    /// Contexts of 16 tokens that differ in one of them, one of them in many examples.
    #[test]
    fn each_context_is_listed_once_with_its_uses_and_targets() {
        let dims = Dims {
            block: 16,
            batch: 100,
            ..Dims::LECTURE
        };
        let mut contexts = Contexts::<f64>::new(&dims);
        // Twice, because nothing of a minibatch may show in the next.
        for first in [0, 3] {
            let kinds: Vec<usize> = (0..dims.batch)
                .map(|b| (b % 3 + first) * (b % 40))
                .collect();
            let mut x = vec![0; dims.batch * dims.block];
            for (x, &kind) in x.chunks_exact_mut(dims.block).zip(&kinds) {
                x[kind % 16] = 300 * ((kind / 16) as Token + 1);
            }
            let y: Vec<Token> = (0..dims.batch).map(|b| 600 * b as Token).collect();
            contexts.read(&x, &y, &dims);
            let mut distinct: Vec<usize> = Vec::new();
            for &kind in &kinds {
                if !distinct.contains(&kind) {
                    distinct.push(kind);
                }
            }
            assert!(distinct.len() > CONTEXT_BLOCK && distinct.len() < dims.batch);
            assert_eq!(contexts.blocks(), distinct.len().div_ceil(CONTEXT_BLOCK));
            let keys = distinct.iter().map(|kind| {
                let mut key = Key::default();
                key[kind % 16] = 300 * ((kind / 16) as Token + 1);
                key
            });
            assert_eq!(contexts.keys(), keys.collect::<Vec<_>>());
            let users =
                |kind: usize| (0..dims.batch).filter(move |&b| (b % 3 + first) * (b % 40) == kind);
            let uses = distinct.iter().map(|&kind| users(kind).count() as f64);
            assert_eq!(contexts.uses(), uses.collect::<Vec<_>>());
            for block in 0..contexts.blocks() {
                let members = &distinct[block * CONTEXT_BLOCK..];
                let members = &members[..CONTEXT_BLOCK.min(members.len())];
                assert!(
                    contexts.uses_of_lanes(block)[members.len()..]
                        .iter()
                        .all(|&uses| uses == 0.0)
                );
                let mut targets = contexts.targets(block).to_vec();
                targets.sort_by_key(|target| target.token);
                let wanted = kinds.iter().zip(&y).filter_map(|(kind, &token)| {
                    let lane = members.iter().position(|member| member == kind)?;
                    Some(Target {
                        lane: lane as u8,
                        token,
                    })
                });
                assert_eq!(targets, wanted.collect::<Vec<_>>());
            }
        }
    }
}
