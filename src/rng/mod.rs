//! Random streams that repeat those of PyTorch and of Python's `random` module.
//!
//! With them one seed gives this program the initial parameters, the batches, the shuffled words
//! and the sampled names of the lecture's notebook, so that the two runs can be compared number by
//! number.
//!
//! Both are a Mersenne Twister (MT19937); they differ in how a seed fills its state and in how its
//! 32-bit words become numbers. PyTorch's way is that of its CPU kernels in version 2.15, and gives
//! the same bits on x86-64 with AVX2. On other processors PyTorch rounds its normal values
//! otherwise, by up to 2e-6; this module does not.

use rand_mt::Mt;
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_PI, TAU};

/// Words of a Mersenne Twister's state.
pub const STATE_WORDS: usize = 624;

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
        // The twister takes words for those of its past, and goes on behind them.
        let twister = Mt::recover(words.iter().copied()).ok()?;
        Some(Self {
            twister,
            ahead: words.iter().rev().copied().collect(),
            spare_normal: None,
        })
    }

    fn next_u32(&mut self) -> u32 {
        match self.ahead.pop() {
            Some(word) => word,
            None => self.twister.next_u32(),
        }
    }

    fn next_u64(&mut self) -> u64 {
        let high = u64::from(self.next_u32());
        high << 32 | u64::from(self.next_u32())
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

    /// Uniform in `[0, 1)`: the low 24 bits of a word, as many as a float's mantissa holds.
    fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & 0xff_ffff) as f32 / (1 << 24) as f32
    }

    /// Uniform in `[0, 1)`: the low 53 bits of two words, the first of them the higher.
    pub(crate) fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64
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

// The standard library's `ln`, `sin` and `cos` round as the C library of the platform does. PyTorch
// evaluates the single-precision polynomials of Cephes (S. L. Moshier, netlib.org/cephes) with
// fused multiply-adds instead. So do the two functions below, operation by operation: this gives
// PyTorch's bits, and the same ones on every platform.

/// Natural logarithm of a normal, positive number.
#[expect(
    clippy::excessive_precision,
    reason = "constants as Cephes prints them"
)]
fn ln(x: f32) -> f32 {
    // x = m * 2^e with m in [sqrt(1/2), sqrt(2)), then f = m - 1
    let bits = x.to_bits();
    let mut e = ((bits >> 23) as i32 - 126) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000); // in [1/2, 1)
    let f = if m < FRAC_1_SQRT_2 {
        e -= 1.0;
        2.0 * m - 1.0
    } else {
        m - 1.0
    };
    // ln(1 + f) = f - f^2 / 2 + f^3 p(f)
    let p = polynomial(
        f,
        [
            7.037_683_629_2e-2,
            -1.151_461_031_0e-1,
            1.167_699_874_0e-1,
            -1.242_014_084_6e-1,
            1.424_932_278_7e-1,
            -1.666_805_766_5e-1,
            2.000_071_476_5e-1,
            -2.499_999_399_3e-1,
            3.333_333_117_4e-1,
        ],
    );
    // ln 2 in two parts: the product of e with the large one is exact.
    const LN_2_HIGH: f32 = 0.693_359_375;
    const LN_2_LOW: f32 = -2.121_944_40e-4;
    let f2 = f * f;
    let tail = (p * f).mul_add(f2, e * LN_2_LOW) - 0.5 * f2;
    f + tail + e * LN_2_HIGH
}

/// Sine and cosine of an angle in `[0, 2 pi]`.
#[expect(
    clippy::excessive_precision,
    reason = "constants as Cephes prints them"
)]
fn sin_cos(theta: f32) -> (f32, f32) {
    // theta = quarters * pi/2 + r with r in [-pi/4, pi/4]
    let eighths = (theta * (2.0 * FRAC_2_PI)) as u32;
    let quarters = eighths.div_ceil(2);
    // pi/4 in three parts, each product but the last exact, so that r keeps its digits.
    let j = (2 * quarters) as f32;
    let r = j.mul_add(-0.785_156_25, theta);
    let r = j.mul_add(-2.418_756_484_985_351_562_5e-4, r);
    let r = j.mul_add(-3.774_894_977_445_941_08e-8, r);

    let r2 = r * r;
    let p = polynomial(
        r2,
        [
            2.443_315_711_809_948e-5,
            -1.388_731_625_493_765e-3,
            4.166_664_568_298_827e-2,
        ],
    );
    let cos = (p * r2).mul_add(r2, -0.5 * r2) + 1.0;
    let p = polynomial(
        r2,
        [-1.951_529_589_1e-4, 8.332_160_873_6e-3, -1.666_665_461_1e-1],
    );
    let sin = (p * r2).mul_add(r, r);
    match quarters % 4 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// A polynomial by Horner's rule, the coefficient of the highest power first.
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    // From zero the first step is exact: it yields the first coefficient.
    coefficients
        .into_iter()
        .fold(0.0, |sum: f32, c| sum.mul_add(x, c))
}

/// Python's generator: `random.seed(seed)` and the methods that follow it.
#[derive(Clone, Debug)]
pub struct PythonRandom {
    twister: Mt,
}

impl PythonRandom {
    /// A fresh generator in the state after `random.seed(seed)`.
    ///
    /// CPython hands the number's 32-bit digits, the lowest first, to the twister's
    /// `init_by_array`; a number below 2^32 has one.
    pub fn seed(seed: u64) -> Self {
        let digits = [seed as u32, (seed >> 32) as u32];
        let count = if digits[1] == 0 { 1 } else { 2 };
        Self {
            twister: Mt::new_with_key(digits.into_iter().take(count)),
        }
    }

    /// `random.shuffle(items)`: Fisher-Yates, from the last item down.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1);
            items.swap(i, j as usize);
        }
    }

    /// Uniform in `0..n`, for `n` above zero: as many bits as `n` has, drawn again until they
    /// make a number below it (`_randbelow_with_getrandbits`).
    fn below(&mut self, n: u64) -> u64 {
        let bits = u64::BITS - n.leading_zeros();
        loop {
            let r = self.getrandbits(bits);
            if r < n {
                return r;
            }
        }
    }

    /// `random.getrandbits(bits)` for 1 to 64 bits: the highest bits of a word, or a whole word
    /// and above it the highest bits of a second.
    fn getrandbits(&mut self, bits: u32) -> u64 {
        if bits <= 32 {
            return u64::from(self.twister.next_u32() >> (32 - bits));
        }
        let low = u64::from(self.twister.next_u32());
        let high = u64::from(self.twister.next_u32() >> (64 - bits));
        high << 32 | low
    }
}

#[cfg(test)]
mod tests {
    //! Every literal below was printed by PyTorch 2.15 (x86-64 with AVX2) or CPython 3.11, by the
    //! statement beside it, where `g = torch.Generator().manual_seed(seed)`. Floats are compared
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
    fn ln_and_sin_cos_over_the_range_that_box_muller_uses() {
        for i in 0..1 << 14 {
            let u = (i << 10) as f32 / (1 << 24) as f32;
            let (x, theta) = (1.0 - u, TAU * u);
            let exact = f64::from(x).ln();
            assert!(
                (f64::from(ln(x)) - exact).abs() <= 1e-7 * exact.abs(),
                "ln {x}"
            );
            let (sin, cos) = sin_cos(theta);
            let (exact_sin, exact_cos) = f64::from(theta).sin_cos();
            assert!((f64::from(sin) - exact_sin).abs() < 1e-7, "sin {theta}");
            assert!((f64::from(cos) - exact_cos).abs() < 1e-7, "cos {theta}");
        }
    }

    #[test]
    fn python_shuffles() {
        // items = list(range(n)); random.seed(seed); random.shuffle(items)
        let shuffled = |seed, n| {
            let mut items: Vec<u64> = (0..n).collect();
            PythonRandom::seed(seed).shuffle(&mut items);
            items
        };
        assert!(shuffled(42, 0).is_empty());
        assert_eq!(shuffled(42, 1), [0]);
        assert_eq!(shuffled(42, 10), [7, 3, 2, 8, 5, 6, 9, 4, 0, 1]);
        let forty = [
            9, 3, 10, 36, 25, 24, 30, 11, 4, 32, 21, 28, 23, 18, 12, 34, 35, 26, 13, 22, 20, 31,
            37, 29, 19, 16, 39, 33, 2, 0, 38, 27, 5, 6, 8, 14, 15, 17, 1, 7,
        ];
        assert_eq!(shuffled(42, 40), forty);
        assert_eq!(shuffled(0, 10), [7, 8, 1, 5, 3, 4, 2, 0, 9, 6]);
        assert_eq!(shuffled(1 << 32, 10), [8, 9, 3, 2, 4, 7, 0, 6, 5, 1]);
        assert_eq!(shuffled((1 << 63) + 7, 10), [6, 3, 0, 7, 9, 5, 2, 1, 8, 4]);
        // As many as the lecture has names: the ends, and sum(i * v for i, v in enumerate(items)).
        let names = shuffled(42, 32_033);
        assert!(names.starts_with(&[26785, 23366, 20900, 29382, 25333]));
        assert!(names.ends_with(&[9012, 24299, 819, 3648, 20952]));
        let sum: u64 = names.iter().enumerate().map(|(i, v)| i as u64 * v).sum();
        assert_eq!(sum, 8_219_076_285_673);
    }

    #[test]
    fn python_random_bits() {
        // random.seed(7); [random.getrandbits(k) for k in (1, 31, 32, 33, 40, 64)]
        let mut r = PythonRandom::seed(7);
        let drawn = [1, 31, 32, 33, 40, 64].map(|k| r.getrandbits(k));
        let expected = [
            0,
            2035525362,
            647892279,
            5990721294,
            77516799952,
            9885278224986867748,
        ];
        assert_eq!(drawn, expected);
    }
}
