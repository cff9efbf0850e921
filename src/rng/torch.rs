//! PyTorch's generator.

use std::convert::Infallible;
use std::f32::consts::TAU;

use rand::distr::Distribution;
use rand::rand_core::utils::fill_bytes_via_next_word;
use rand::{Rng, RngExt, SeedableRng, TryRng};
use rand_mt::Mt;

use super::STATE_WORDS;
use super::cephes::{ln, sin_cos};

/// PyTorch's CPU generator: `torch.Generator().manual_seed(seed)`.
///
/// Every method advances the one stream, so calls must come in the order in which the PyTorch
/// program makes them.
#[derive(Clone, Debug)]
pub struct TorchGenerator {
    twister: Mt,
    /// Words that come before those of the twister, the next one last: see
    /// [`TorchGenerator::from_words_ahead`].
    ahead: Vec<u32>,
    /// Box-Muller makes normal values in pairs; when values are drawn one at a time, the second of
    /// a pair waits here, across any other calls in between.
    spare_normal: Option<f64>,
}

impl TorchGenerator {
    /// A fresh generator. As in PyTorch, only the low 32 bits of the seed count.
    pub fn manual_seed(seed: u64) -> Self {
        Self {
            twister: Mt::new(seed as u32),
            ahead: Vec::new(),
            spare_normal: None,
        }
    }

    /// The state: the next 624 words that it will draw, which determine all later ones.
    ///
    /// The second of a pair of normal values that waits for its call is not part of it, so this is
    /// for a stream that draws integers, as minibatches do.
    pub fn words_ahead(&self) -> Vec<u32> {
        let mut copy = self.clone();
        (0..STATE_WORDS).map(|_| copy.next_u32()).collect()
    }

    /// A generator that continues with [`TorchGenerator::words_ahead`] of another; `None` unless
    /// there are [`STATE_WORDS`].
    pub fn from_words_ahead(words: &[u32]) -> Option<Self> {
        // The twister takes words for those of its past, and continues after them.
        let twister = Mt::recover(words.iter().copied()).ok()?;
        Some(Self {
            twister,
            ahead: words.iter().rev().copied().collect(),
            spare_normal: None,
        })
    }

    /// `n` values of the standard normal distribution: `torch.randn(n, generator=g)`.
    ///
    /// A shape does not matter, only the number of values: `torch.randn((a, b))` is `randn(a * b)`
    /// in row-major order.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        if n < BLOCK {
            // PyTorch makes these few in double precision and rounds them at the end.
            return (0..n).map(|_| self.normal_f64() as f32).collect();
        }
        let mut values: Vec<f32> = (0..n).map(|_| self.uniform_f32()).collect();
        let (blocks, rest) = values.as_chunks_mut::<BLOCK>();
        blocks.iter_mut().for_each(box_muller);
        // PyTorch fills an incomplete last block by making the last 16 values anew, the end of the
        // block before included.
        if !rest.is_empty()
            && let Some(last) = values.last_chunk_mut::<BLOCK>()
        {
            last.fill_with(|| self.uniform_f32());
            box_muller(last);
        }
        values
    }

    /// Fills `out` with integers of `0..high`: `torch.randint(0, high, (out.len(),), generator=g)`.
    ///
    /// Each value is the remainder of a draw by `high`, which favours small values by at most one
    /// part in 16.
    ///
    /// # Panics
    ///
    /// If `high` is zero and `out` is not empty.
    pub fn randint_into(&mut self, high: u32, out: &mut [u32]) {
        if high < 1 << 28 {
            out.fill_with(|| self.next_u32() % high);
        } else {
            // Above this PyTorch spends 64 bits, which keeps the remainder's bias small.
            out.fill_with(|| (self.next_u64() % u64::from(high)) as u32);
        }
    }

    /// Draws one index with the given probabilities:
    /// `torch.multinomial(probs, num_samples=1, generator=g).item()`, with or without
    /// `replacement=True`.
    ///
    /// PyTorch makes it a race: each index gets an exponentially distributed time `q`, divided by
    /// its probability, and the earliest wins (so the largest `p / q`, the first of equals). That
    /// takes two words of the twister for each probability.
    ///
    /// `probs` must be finite and not negative, with one above zero; they need not sum to 1. An
    /// empty slice gives 0.
    pub fn multinomial(&mut self, probs: &[f32]) -> usize {
        let mut winner = (0, f32::NEG_INFINITY);
        for (index, p) in probs.iter().enumerate() {
            let q = -(-self.uniform_f64()).ln_1p() as f32;
            let score = p / q;
            if score > winner.1 {
                winner = (index, score);
            }
        }
        winner.0
    }

    fn uniform_f32(&mut self) -> f32 {
        self.sample(TorchUniform)
    }

    fn uniform_f64(&mut self) -> f64 {
        self.sample(TorchUniform)
    }

    /// One normal value by Box-Muller: the cosine of a pair now, its sine at the next call.
    fn normal_f64(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        // The angle is drawn before the radius.
        let theta = std::f64::consts::TAU * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.spare_normal = Some(radius * theta.sin());
        radius * theta.cos()
    }
}

impl TryRng for TorchGenerator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(match self.ahead.pop() {
            Some(word) => word,
            None => self.twister.next_u32(),
        })
    }

    /// PyTorch takes the first of two words for the higher.
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let high = u64::from(self.next_u32());
        Ok(high << 32 | u64::from(self.next_u32()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes_via_next_word(bytes, || self.try_next_u32())
    }
}

impl SeedableRng for TorchGenerator {
    type Seed = [u8; 8];

    fn from_seed(seed: Self::Seed) -> Self {
        Self::manual_seed(u64::from_le_bytes(seed))
    }

    /// [`TorchGenerator::manual_seed`].
    fn seed_from_u64(seed: u64) -> Self {
        Self::manual_seed(seed)
    }
}

/// Uniform in `[0, 1)`, by as many low bits as the mantissa of the float holds: `torch.rand`. (The
/// distributions of `rand` take the high bits.)
#[derive(Clone, Copy, Debug)]
pub struct TorchUniform;

impl Distribution<f32> for TorchUniform {
    fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> f32 {
        (rng.next_u32() & 0xff_ffff) as f32 / (1 << 24) as f32
    }
}

impl Distribution<f64> for TorchUniform {
    fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        (rng.next_u64() & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64
    }
}

/// Values that PyTorch transforms at once, two vectors of eight floats.
const BLOCK: usize = 16;

/// Turns 16 uniform values of `[0, 1)` into normal ones: value `i` gives the radius and value
/// `i + 8` the angle of a pair, which replaces them.
fn box_muller(block: &mut [f32; BLOCK]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (a, b) in first.iter_mut().zip(second) {
        // 1 - a is in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * ln(1.0 - *a)).sqrt();
        let (sin, cos) = sin_cos(TAU * *b);
        *a = radius * cos;
        *b = radius * sin;
    }
}

#[cfg(test)]
mod tests {
    //! Every literal below was printed by PyTorch 2.15 (x86-64 with AVX2), by the statement beside it,
    //! where `g = torch.Generator().manual_seed(seed)`. Floats are compared
    //! exactly.

    use super::*;

    const LECTURE_SEED: u64 = 2_147_483_647;

    /// What `torch.randn(n, generator=g)` gave: its size, first and last values, and
    /// `sum(v.view(torch.int32))` with the bits read as unsigned, which covers all the others.
    type Randn<'a> = (usize, &'a [f32], &'a [f32], u64);

    fn check_randn(g: &mut TorchGenerator, calls: &[Randn]) {
        for &(n, first, last, sum) in calls {
            let values = g.randn(n);
            assert_eq!(values.len(), n);
            assert_eq!(values[..first.len()], *first, "start of {n}");
            assert_eq!(values[n - last.len()..], *last, "end of {n}");
            let bits: u64 = values.iter().map(|v| u64::from(v.to_bits())).sum();
            assert_eq!(bits, sum, "bits of {n}");
        }
    }

    #[test]
    fn the_words_ahead_are_the_whole_state() {
        // 0 and 1: at the start of a state; 623 to 625: around its end.
        for drawn in [0, 1, 7, 623, 624, 625, 2000] {
            let mut g = TorchGenerator::manual_seed(LECTURE_SEED);
            g.randint_into(27, &mut vec![0; drawn]);
            let words = g.words_ahead();
            assert_eq!(words.len(), STATE_WORDS);
            let mut copy = TorchGenerator::from_words_ahead(&words).unwrap();
            // Some from the words themselves, then what the twister makes of them; a state of a state.
            for count in [100, 700, 3000] {
                let [mut a, mut b] = [vec![0; count], vec![0; count]];
                g.randint_into(1 << 20, &mut a);
                copy.randint_into(1 << 20, &mut b);
                assert_eq!(a, b, "{drawn} drawn");
                copy = TorchGenerator::from_words_ahead(&copy.words_ahead()).unwrap();
            }
            let [mut a, mut b] = [[0; 5]; 2];
            g.randint_into(1 << 30, &mut a);
            copy.randint_into(1 << 30, &mut b);
            assert_eq!(a, b, "{drawn} drawn, 64 bits each");
        }
        assert!(TorchGenerator::from_words_ahead(&[1; STATE_WORDS - 1]).is_none());
        assert!(TorchGenerator::from_words_ahead(&[1; STATE_WORDS + 1]).is_none());
    }

    #[test]
    fn the_lectures_seven_tensors_and_first_batch() {
        let mut g = TorchGenerator::manual_seed(LECTURE_SEED);
        let start_of_c = [1.567362, -0.23729232, -0.027384605, -1.1007794];
        let start_of_w1 = [-1.1707008, 0.071937405, -1.8492522];
        check_randn(
            &mut g,
            &[
                (27 * 10, &start_of_c, &[0.38448527], 582_014_183_743),
                (30 * 200, &start_of_w1, &[-0.7130854], 12_706_290_000_271),
                (200, &[-2.0704637], &[0.54869175], 428_518_165_734),
                (200 * 27, &[0.7262576], &[-0.5141542], 11_462_532_993_179),
                (27, &[0.13731365], &[-0.25132093], 47_858_589_578),
                (200, &[-1.1237607], &[-0.3882086], 438_992_031_818),
                (200, &[0.25536737], &[0.86672336], 438_949_105_877),
            ],
        );
        // torch.randint(0, 182625, (32,), generator=g)
        let mut batch = [0; 32];
        g.randint_into(182_625, &mut batch);
        let expected = [
            26838, 175152, 71220, 112139, 131027, 157579, 43946, 165526, 114244, 173108, 174872,
            19188, 167688, 176297, 120216, 477, 144516, 94031, 28246, 180184, 67785, 120821,
            171914, 152568, 86945, 47299, 118062, 167965, 69109, 70612, 102494, 87294,
        ];
        assert_eq!(batch, expected);
        // torch.randint(0, high, (3,), generator=g), on both sides of 2^28
        for (high, expected) in [
            (1 << 28, [156728013, 763609, 174031674]),
            ((1 << 28) - 1, [101992069, 203857035, 138581283]),
            (u32::MAX, [810338697, 1234287176, 1515246279]),
        ] {
            let mut out = [0; 3];
            g.randint_into(high, &mut out);
            assert_eq!(out, expected, "high {high}");
        }
    }

    #[test]
    fn short_and_long_draws_interleave() {
        // The 5 leave a spare value, which the 15 use up; the 3 leave another for the 1.
        check_randn(
            &mut TorchGenerator::manual_seed(LECTURE_SEED),
            &[
                (5, &[-0.98000735, -1.6578479], &[2.0991552], 13_881_973_311),
                (15, &[0.8963768], &[-1.1345285, 1.542169], 35_248_716_869),
                (16, &[1.5203699], &[0.4834608, -0.31640068], 31_949_640_522),
                (
                    17,
                    &[-0.5029567],
                    &[-0.10002765, -1.2575126],
                    54_490_499_433,
                ),
                (
                    200,
                    &[0.38314444],
                    &[0.71022636, 0.9552997],
                    434_706_805_474,
                ),
                (
                    270,
                    &[0.5766197],
                    &[-0.9351425, 0.10465201],
                    571_148_983_304,
                ),
                (3, &[0.9145657, -0.47582647], &[-0.6130698], 7_473_902_245),
                (1, &[-0.18601505], &[], 3_191_765_691),
                (0, &[], &[], 0),
            ],
        );
    }

    #[test]
    fn a_million_normal_values_bit_by_bit() {
        // A coefficient of the logarithm off by one in its last bit changes 1 value in 6,000.
        // v = torch.randn(1_000_000, generator=g).view(torch.int32).long() & 0xffffffff
        // (v * torch.arange(1_000_000)).sum().item()
        let values = TorchGenerator::manual_seed(99).randn(1_000_000);
        let sum = (0_i64..).zip(values).fold(0_i64, |sum, (i, v)| {
            sum.wrapping_add(i * i64::from(v.to_bits()))
        });
        assert_eq!(sum, -3_682_463_704_382_444_482);
    }

    #[test]
    fn a_spare_value_outlives_long_draws() {
        // 1, 270 and 1 values: the last is the sine that belongs to the first.
        let mut g = TorchGenerator::manual_seed(LECTURE_SEED);
        let expected = g.clone().randn(2);
        let first = g.randn(1);
        g.randn(270);
        let second = g.randn(1);
        assert_eq!([first, second].concat(), expected);
    }

    #[test]
    fn only_the_low_32_bits_of_a_seed_count() {
        for seed in [12_345, (1 << 32) + 12_345, (7 << 32) + 12_345] {
            check_randn(
                &mut TorchGenerator::manual_seed(seed),
                &[
                    (5, &[1.4271305, -1.8700892], &[-0.45599058], 13_927_936_105),
                    (15, &[-1.4294505], &[-0.2762705], 35_169_106_898),
                    (16, &[-1.0796901], &[-2.0421097], 34_072_750_176),
                    (17, &[-0.6596841], &[0.37106982], 28_742_929_628),
                    (200, &[-0.8293506], &[0.026846431], 415_115_593_740),
                    (270, &[1.5027994], &[1.0652757], 598_752_524_268),
                ],
            );
        }
    }

    #[test]
    fn multinomial_draws_as_torch_does() {
        let mut g = TorchGenerator::manual_seed(LECTURE_SEED + 10);
        // p = torch.tensor([0.125, 0.5, 0.0, 0.25, 0.125])
        // [torch.multinomial(p, num_samples=1, generator=g).item() for _ in range(40)]
        let drawn: Vec<usize> = (0..40)
            .map(|_| g.multinomial(&[0.125, 0.5, 0.0, 0.25, 0.125]))
            .collect();
        let expected = [
            3, 1, 4, 3, 1, 3, 1, 0, 3, 1, 1, 0, 4, 1, 4, 0, 0, 1, 1, 1, 1, 4, 1, 4, 0, 1, 4, 1, 3,
            1, 1, 4, 1, 3, 1, 4, 0, 1, 1, 3,
        ];
        assert_eq!(drawn, expected);
        // the same 20 times with torch.full((27,), 1/27)
        let drawn: Vec<usize> = (0..20).map(|_| g.multinomial(&[1.0 / 27.0; 27])).collect();
        let expected = [
            6, 18, 26, 24, 1, 6, 11, 22, 19, 0, 23, 2, 7, 5, 13, 21, 9, 22, 19, 14,
        ];
        assert_eq!(drawn, expected);
        // torch.randint(0, 1000, (3,), generator=g): the stream stands where PyTorch's stands
        let mut out = [0; 3];
        g.randint_into(1000, &mut out);
        assert_eq!(out, [442, 406, 806]);
    }

    #[test]
    fn multinomial_of_nothing_is_zero() {
        let mut g = TorchGenerator::manual_seed(0);
        assert_eq!(g.multinomial(&[]), 0);
        assert_eq!(g.multinomial(&[0.0, 0.0]), 0);
    }

    #[test]
    fn rand_draws_from_the_same_stream() {
        let mut g = TorchGenerator::manual_seed(LECTURE_SEED);
        let mut words = [0; 6];
        // torch.randint(0, 2**28 - 1, (6,), generator=g) would take the remainder; this is all of it.
        words.fill_with(|| g.next_u32());
        let mut g = TorchGenerator::seed_from_u64(LECTURE_SEED);
        let [a, b, c, d, e, f] = words.map(u64::from);
        assert_eq!(g.next_u64(), a << 32 | b);
        assert_eq!(
            g.sample::<f64, _>(TorchUniform),
            ((c << 32 | d) % (1 << 53)) as f64 / 2f64.powi(53)
        );
        let mut bytes = [0; 5];
        g.fill_bytes(&mut bytes);
        assert_eq!(bytes[..4], words[4].to_le_bytes());
        assert_eq!(bytes[4], f as u8);
        assert_eq!(e as u32, words[4]);
        let mut seeded = TorchGenerator::from_seed(LECTURE_SEED.to_le_bytes());
        assert_eq!(seeded.next_u32(), words[0]);
    }
}
