//! Python's `random` module.

use std::convert::Infallible;
use std::hint::black_box;

use rand::rand_core::utils::fill_bytes_via_next_word;
use rand::{SeedableRng, TryRng};
use rand_mt::Mt;

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
    pub fn shuffle<T: Copy>(&mut self, items: &mut [T]) {
        const TOGETHER: usize = 32;
        let mut drawn = Vec::with_capacity(TOGETHER);
        let mut left = items.len();
        while left > 1 {
            let first = left.saturating_sub(TOGETHER).max(1);
            drawn.clear();
            drawn.extend(
                (first..left)
                    .rev()
                    .map(|i| (i, self.below(i as u64 + 1) as usize)),
            );
            // In a long list each partner is a cache miss. Loading them all first lets the misses overlap.
            for &(_, j) in &drawn {
                black_box(items[j]);
            }
            for &(i, j) in &drawn {
                items.swap(i, j);
            }
            left = first;
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

impl TryRng for PythonRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.twister.next_u32())
    }

    /// `random.getrandbits(64)`.
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.getrandbits(64))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes_via_next_word(bytes, || self.try_next_u32())
    }
}

impl SeedableRng for PythonRandom {
    type Seed = [u8; 8];

    fn from_seed(seed: Self::Seed) -> Self {
        Self::seed(u64::from_le_bytes(seed))
    }

    /// [`PythonRandom::seed`].
    fn seed_from_u64(seed: u64) -> Self {
        Self::seed(seed)
    }
}

#[cfg(test)]
mod tests {
    //! Every literal below was printed by CPython 3.11, by the statement beside it.

    use rand::Rng;

    use super::*;

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

    #[test]
    fn rand_draws_from_the_same_stream() {
        let [mut a, mut b] = [PythonRandom::seed(7), PythonRandom::seed_from_u64(7)];
        assert_eq!(u64::from(b.next_u32()), a.getrandbits(32));
        assert_eq!(b.next_u64(), a.getrandbits(64));
        let mut c = PythonRandom::from_seed(7_u64.to_le_bytes());
        let mut bytes = [0; 4];
        c.fill_bytes(&mut bytes);
        assert_eq!(u32::from_le_bytes(bytes), PythonRandom::seed(7).next_u32());
    }
}
