//! Which contexts a minibatch has, how often each, and which tokens follow.

use super::lines::LINE;
use crate::cpu::real::Real;
use crate::dims::Dims;

/// Contexts that are worked on at a time: the lanes of a line, as in `logits`.
pub const CHUNK: usize = LINE;

/// A context as one number: a byte for each of its tokens, the first one lowest. A context has at
/// most as many tokens as the number has bytes.
pub type Key = u128;

const _: () = assert!(*Dims::BLOCK.end() == size_of::<Key>());

/// The distinct contexts of a minibatch, in the order in which they first come.
///
/// Equal contexts are found in a table of our own, which does without a branch for what is anyone's guess:
/// whether a context is new. (Measured, the reading of a minibatch of the lecture, tokens included: 0.74 us,
/// and 0.91 with the standard library's table and a fast hash.)
#[derive(Clone, Debug)]
pub struct Contexts<R> {
    /// How many there are.
    count: usize,
    /// Their tokens; and one more place, as `read` compares with that of a next one.
    keys: Vec<Key>,
    /// How many examples have each: a chunk's side by side, with zeros behind the last.
    uses: Vec<[R; CHUNK]>,
    /// What follows, chunk by chunk: a target for each example that has one of the chunk's contexts.
    targets: Vec<Target>,
    /// Where those of each chunk end.
    ends: Vec<usize>,
    /// The table: a context's number is at the place that its key gives, or at the next that is free.
    slots: Vec<u32>,
    /// Number of the context of each example, `(batch)`.
    number_of: Vec<u32>,
}

/// The token that follows the context in some lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub lane: u8,
    pub token: u8,
}

impl<R: Real> Contexts<R> {
    /// Larger than any number.
    const FREE: u32 = u32::MAX;

    pub fn new(dims: &Dims) -> Self {
        let batch = dims.batch;
        let chunks = batch.div_ceil(CHUNK);
        Self {
            count: 0,
            keys: vec![0; batch + 1],
            uses: vec![[R::zero(); CHUNK]; chunks],
            targets: vec![Target::default(); batch],
            ends: vec![0; chunks],
            // A quarter full at most, so that the first place is nearly always the one.
            slots: vec![Self::FREE; 4 * batch.next_power_of_two()],
            number_of: vec![0; batch],
        }
    }

    /// Lists the contexts of `x (batch, block)` with their targets `y (batch)`.
    #[inline(always)]
    pub fn read(&mut self, x: &[u8], y: &[u8], dims: &Dims) {
        self.slots.fill(Self::FREE);
        self.uses.as_flattened_mut().fill(R::zero());
        let bits = self.slots.len().trailing_zeros();
        let mask = self.slots.len() - 1;
        let mut count = 0;
        for (b, number_of) in self.number_of.iter_mut().enumerate() {
            let key = key(&x[b * dims.block..], dims.block);
            let mut place = slot(key, bits);
            let number = loop {
                let number = self.slots[place].min(count);
                if number == count || self.keys[number as usize] == key {
                    break number;
                }
                place = (place + 1) & mask;
            };
            self.slots[place] = number;
            self.keys[number as usize] = key;
            self.uses.as_flattened_mut()[number as usize] += R::one();
            *number_of = number;
            count += u32::from(number == count);
        }
        self.count = count as usize;
        // At first `ends` has where the targets of each chunk begin.
        let mut first = 0;
        for (end, uses) in self.ends.iter_mut().zip(&self.uses) {
            *end = first;
            first += uses
                .iter()
                .map(|uses| uses.to_usize().unwrap_or(0))
                .sum::<usize>();
        }
        for (&number, &token) in self.number_of.iter().zip(y) {
            let end = &mut self.ends[number as usize / CHUNK];
            let lane = (number as usize % CHUNK) as u8;
            self.targets[*end] = Target { lane, token };
            *end += 1;
        }
    }

    /// The tokens of each context.
    pub fn keys(&self) -> &[Key] {
        &self.keys[..self.count]
    }

    /// How many examples have each context.
    pub fn uses(&self) -> &[R] {
        &self.uses.as_flattened()[..self.count]
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
        self.count.div_ceil(CHUNK)
    }
}

/// The first `block` tokens of `x`.
#[inline(always)]
fn key(x: &[u8], block: usize) -> Key {
    match x.first_chunk() {
        // As many tokens as a number has bytes: those that follow are taken off.
        Some(&tokens) => Key::from_le_bytes(tokens) & (Key::MAX >> (Key::BITS - 8 * block as u32)),
        None => {
            let tokens = x[..block].iter().rev();
            tokens.fold(0, |key, &token| key << 8 | Key::from(token))
        }
    }
}

/// The place in a table of `2**bits` for a key: the upper bits of a product, which all of its bits
/// have a part in.
#[inline(always)]
fn slot(key: Key, bits: u32) -> usize {
    // 2**64 divided by the golden ratio, odd: Knuth's multiplicative hashing.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let folded = (key as u64).wrapping_mul(FACTOR) ^ (key >> 64) as u64;
    (folded.wrapping_mul(FACTOR) >> (u64::BITS - bits)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::rng::TorchGenerator;
    use crate::train::{LearningRate, Stream};

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
