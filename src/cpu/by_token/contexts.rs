//! Which contexts a minibatch has, how often each, and which tokens follow.

use super::lines::LINE;
pub use crate::model::contexts::Key;
use crate::model::contexts::Numbering;
use crate::model::dims::Dims;
use crate::reference::real::Real;

/// Contexts that are worked on at a time: the lanes of a line, as in `logits`.
pub const CHUNK: usize = LINE;

/// The distinct contexts of a minibatch, in the order in which they first come.
#[derive(Clone, Debug)]
pub struct Contexts<R> {
    numbering: Numbering,
    /// How many examples have each: a chunk's side by side, with zeros behind the last.
    uses: Vec<[R; CHUNK]>,
    /// What follows, chunk by chunk: a target for each example that has one of the chunk's contexts.
    targets: Vec<Target>,
    /// Where those of each chunk end.
    ends: Vec<usize>,
}

/// The token that follows the context in some lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub lane: u8,
    pub token: u8,
}

impl<R: Real> Contexts<R> {
    pub fn new(dims: &Dims) -> Self {
        let batch = dims.batch;
        let chunks = batch.div_ceil(CHUNK);
        Self {
            numbering: Numbering::new(batch),
            uses: vec![[R::zero(); CHUNK]; chunks],
            targets: vec![Target::default(); batch],
            ends: vec![0; chunks],
        }
    }

    /// Lists the contexts of `x (batch, block)` with their targets `y (batch)`.
    #[inline(always)]
    pub fn read(&mut self, x: &[u8], y: &[u8], dims: &Dims) {
        let uses = self.uses.as_flattened_mut();
        uses.fill(R::zero());
        self.numbering
            .read(x, dims.block, |number| uses[number] += R::one());
        // At first `ends` has where the targets of each chunk begin.
        let mut first = 0;
        for (end, uses) in self.ends.iter_mut().zip(&self.uses) {
            *end = first;
            first += uses
                .iter()
                .map(|uses| uses.to_usize().unwrap_or(0))
                .sum::<usize>();
        }
        for (&number, &token) in self.numbering.number_of().iter().zip(y) {
            let end = &mut self.ends[number as usize / CHUNK];
            let lane = (number as usize % CHUNK) as u8;
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

    /// The same of a chunk, with zeros behind the last.
    pub fn uses_of_lanes(&self, chunk: usize) -> &[R; CHUNK] {
        &self.uses[chunk]
    }

    /// What follows the contexts of a chunk.
    pub fn targets(&self, chunk: usize) -> &[Target] {
        let first = if chunk == 0 { 0 } else { self.ends[chunk - 1] };
        &self.targets[first..self.ends[chunk]]
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> usize {
        self.keys().len().div_ceil(CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::rng::TorchGenerator;
    use crate::{model::steps::LearningRate, training::Stream};

    /// The means that the module's text and the README tell, over 200 minibatches as they are trained.
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

    /// Contexts of 16 tokens that differ in one byte each, and one of them often.
    #[test]
    fn each_context_is_listed_once_with_its_uses_and_targets() {
        let dims = Dims {
            block: 16,
            batch: 100,
            ..Dims::LECTURE
        };
        let mut contexts = Contexts::<f64>::new(&dims);
        // Twice, as what a minibatch leaves must not show in the next.
        for first in [0, 3] {
            let kinds: Vec<usize> = (0..dims.batch)
                .map(|b| (b % 3 + first) * (b % 40))
                .collect();
            let mut x = vec![0; dims.batch * dims.block];
            for (x, &kind) in x.chunks_exact_mut(dims.block).zip(&kinds) {
                x[kind % 16] = (kind / 16) as u8 + 1;
            }
            let y: Vec<u8> = (0..dims.batch).map(|b| b as u8).collect();
            contexts.read(&x, &y, &dims);
            let mut distinct: Vec<usize> = Vec::new();
            for &kind in &kinds {
                if !distinct.contains(&kind) {
                    distinct.push(kind);
                }
            }
            assert!(distinct.len() > CHUNK && distinct.len() < dims.batch);
            assert_eq!(contexts.chunks(), distinct.len().div_ceil(CHUNK));
            let keys = distinct
                .iter()
                .map(|kind| (*kind as Key / 16 + 1) << (8 * (kind % 16)));
            assert_eq!(contexts.keys(), keys.collect::<Vec<_>>());
            let users =
                |kind: usize| (0..dims.batch).filter(move |&b| (b % 3 + first) * (b % 40) == kind);
            let uses = distinct.iter().map(|&kind| users(kind).count() as f64);
            assert_eq!(contexts.uses(), uses.collect::<Vec<_>>());
            for chunk in 0..contexts.chunks() {
                let members = &distinct[chunk * CHUNK..];
                let members = &members[..CHUNK.min(members.len())];
                assert!(
                    contexts.uses_of_lanes(chunk)[members.len()..]
                        .iter()
                        .all(|&uses| uses == 0.0)
                );
                let mut targets = contexts.targets(chunk).to_vec();
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
