//! Examples by their contexts. What a model makes of equal contexts is equal, so each of them is computed
//! once: every seventh example of the names is the beginning of one.

use crate::model::dims::{Dims, Token};

/// The tokens of a context, and zeros up to the longest one that there can be.
pub type Key = [Token; *Dims::BLOCK.end()];

/// A key as numbers, which are compared at once. Most contexts need the first one only.
type Halves = [u128; 2];

/// Tokens of a half.
const HALF: usize = size_of::<u128>() / size_of::<Token>();

const _: () = assert!(size_of::<Key>() == size_of::<Halves>());

/// Numbers contexts: equal ones alike, in the order in which they first come.
///
/// They are found in a table of our own, which does without a branch for what is anyone's guess: whether a
/// context is new. (Measured, the reading of a minibatch of the lecture, tokens included: 0.74 us, and 0.91
/// with the standard library's table and a fast hash.)
#[derive(Clone, Debug)]
pub struct Numbering {
    /// How many there are.
    count: usize,
    /// Their tokens; and one more place, as `read` compares with that of a next one.
    keys: Vec<Halves>,
    /// The table: a context's number is at the place that its key gives, or at the next that is free.
    slots: Vec<u32>,
    /// Number of the context of each example.
    number_of: Vec<u32>,
}

impl Numbering {
    /// Larger than any number.
    const FREE: u32 = u32::MAX;

    /// Room for `examples` examples.
    pub fn new(examples: usize) -> Self {
        Self {
            count: 0,
            keys: vec![[0; 2]; examples + 1],
            // A quarter full at most, so that the first place is nearly always the one.
            slots: vec![Self::FREE; 4 * examples.next_power_of_two()],
            number_of: vec![0; examples],
        }
    }

    /// Numbers the contexts of `x (examples, block)`, of as many examples as there is room for, and has
    /// `each` look at the number of each example.
    #[inline(always)]
    pub fn read(&mut self, x: &[Token], block: usize, each: impl FnMut(usize)) {
        if block <= HALF {
            self.read_as::<false>(x, block, each);
        } else {
            self.read_as::<true>(x, block, each);
        }
    }

    /// Reads contexts that are `LONG`er than half a key, or are not.
    #[inline(always)]
    fn read_as<const LONG: bool>(
        &mut self,
        x: &[Token],
        block: usize,
        mut each: impl FnMut(usize),
    ) {
        self.slots.fill(Self::FREE);
        let bits = self.slots.len().trailing_zeros();
        let mask = self.slots.len() - 1;
        let mut count = 0;
        for (b, number_of) in self.number_of.iter_mut().enumerate() {
            let key = key::<LONG>(&x[b * block..], block);
            let mut place = slot::<LONG>(key, bits);
            let number = loop {
                let number = self.slots[place].min(count);
                if number == count || are_equal::<LONG>(self.keys[number as usize], key) {
                    break number;
                }
                place = (place + 1) & mask;
            };
            self.slots[place] = number;
            self.keys[number as usize] = key;
            each(number as usize);
            *number_of = number;
            count += u32::from(number == count);
        }
        self.count = count as usize;
    }

    /// The tokens of each context.
    pub fn keys(&self) -> &[Key] {
        bytemuck::cast_slice(&self.keys[..self.count])
    }

    /// The number of the context of each example.
    pub fn number_of(&self) -> &[u32] {
        &self.number_of
    }
}

/// The first `block` tokens of `x`.
#[inline(always)]
fn key<const LONG: bool>(x: &[Token], block: usize) -> Halves {
    if LONG {
        [half(x, HALF), half(&x[HALF..], block - HALF)]
    } else {
        [half(x, block), 0]
    }
}

/// The first `count` tokens of `x`, at least one, in half a key.
#[inline(always)]
fn half(x: &[Token], count: usize) -> u128 {
    match x.first_chunk() {
        // As many tokens as there is room for: those that follow are taken off.
        Some(&tokens) => {
            let all: u128 = bytemuck::cast::<[Token; HALF], _>(tokens);
            all & (u128::MAX >> (u128::BITS - Token::BITS * count as u32))
        }
        None => {
            let tokens = x[..count].iter().rev();
            tokens.fold(0, |key, &token| key << Token::BITS | u128::from(token))
        }
    }
}

#[inline(always)]
fn are_equal<const LONG: bool>(a: Halves, b: Halves) -> bool {
    a[0] == b[0] && (!LONG || a[1] == b[1])
}

/// The place in a table of `2**bits` for a key: the upper bits of a product, which all of its bits
/// have a part in.
#[inline(always)]
fn slot<const LONG: bool>(key: Halves, bits: u32) -> usize {
    // 2**64 divided by the golden ratio, odd: Knuth's multiplicative hashing.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |sum: u64, half: u128| {
        let sum = sum.wrapping_mul(FACTOR) ^ half as u64;
        sum.wrapping_mul(FACTOR) ^ (half >> 64) as u64
    };
    let mut folded = fold(0, key[0]);
    if LONG {
        folded = fold(folded, key[1]);
    }
    (folded.wrapping_mul(FACTOR) >> (u64::BITS - bits)) as usize
}

/// A token that follows a context, and the number of examples where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The token.
    pub token: Token,
    /// How many examples.
    pub examples: u32,
}

/// Some examples with a row for each context.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Tokens of a context.
    block: usize,
    /// The contexts, `(rows, block)`.
    x: Vec<Token>,
    /// What follows each of them, row after row.
    targets: Vec<Target>,
    /// Where the targets of each row end, behind a 0.
    ends: Vec<usize>,
}

impl Rows {
    /// Examples whose contexts are looked for together at most.
    pub const MOST: usize = 1 << 20;
    /// Targets of a row at most: as many as a minibatch can have. A context with more has several rows, since
    /// a device goes through the targets of a row in one loop.
    pub const MOST_TARGETS: usize = *Dims::BATCH.end();

    /// The examples `x (examples, block)`, `y (examples)`, each context once; without `y` each target is
    /// token 0.
    pub fn merged(x: &[Token], y: Option<&[Token]>, block: usize) -> Self {
        let examples = x.len() / block;
        let mut numbering = Numbering::new(examples);
        // A counting sort of the targets by context: how many each has; where they begin, which moves on
        // to where they end while they are put there.
        let mut ends = vec![0; examples + 1];
        numbering.read(x, block, |number| ends[number + 1] += 1);
        let rows = numbering.keys().len();
        ends.truncate(rows + 1);
        let mut first = 0;
        for end in &mut ends {
            (first, *end) = (first + *end, first);
        }
        let mut tokens = vec![0; examples];
        for (i, &number) in numbering.number_of().iter().enumerate() {
            let end = &mut ends[number as usize + 1];
            tokens[*end] = y.map_or(0, |y| y[i]);
            *end += 1;
        }
        let mut merged = Self {
            block,
            x: Vec::with_capacity(rows * block),
            targets: Vec::with_capacity(examples),
            ends: Vec::with_capacity(rows + 1),
        };
        merged.ends.push(0);
        let most = y.unwrap_or_default().iter().max();
        let mut times = vec![0; most.map_or(1, |&token| usize::from(token) + 1)];
        for (key, ends) in numbering.keys().iter().zip(ends.windows(2)) {
            let tokens = &tokens[ends[0]..ends[1]];
            for &token in tokens {
                times[usize::from(token)] += 1;
            }
            let first = merged.targets.len();
            // In the order in which they first come.
            for &token in tokens {
                let examples = std::mem::take(&mut times[usize::from(token)]);
                if examples > 0 {
                    merged.targets.push(Target { token, examples });
                }
            }
            let end = merged.targets.len();
            for first in (first..end).step_by(Self::MOST_TARGETS) {
                merged.x.extend_from_slice(&key[..block]);
                merged.ends.push(end.min(first + Self::MOST_TARGETS));
            }
        }
        merged
    }

    /// Any number of examples with their contexts merged, in batches of at most `most` rows.
    pub fn batches<'a>(
        x: &'a [Token],
        y: Option<&'a [Token]>,
        block: usize,
        most: usize,
    ) -> impl Iterator<Item = Self> + 'a {
        // Their tables would grow without bounds.
        let examples = x.len() / block;
        (0..examples).step_by(Self::MOST).flat_map(move |first| {
            let end = examples.min(first + Self::MOST);
            let y = y.map(|y| &y[first..end]);
            Self::merged(&x[first * block..end * block], y, block).parts(most)
        })
    }

    /// A row for each example `x (examples, block)`, `y (examples)`, also where several have one context.
    pub fn apart(x: &[Token], y: &[Token], block: usize) -> Self {
        let target = |&token| Target { token, examples: 1 };
        Self {
            block,
            x: x.to_vec(),
            targets: y.iter().map(target).collect(),
            ends: (0..=y.len()).collect(),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The contexts, `(rows, block)`.
    pub fn x(&self) -> &[Token] {
        &self.x
    }

    /// What follows the context of a row.
    pub fn targets(&self, row: usize) -> &[Target] {
        &self.targets[self.ends[row]..self.ends[row + 1]]
    }

    /// How many examples have the context of a row.
    pub fn examples(&self, row: usize) -> usize {
        let targets = self.targets(row).iter();
        targets.map(|target| target.examples as usize).sum()
    }

    /// These rows in parts of at most `most` each.
    fn parts(self, most: usize) -> impl Iterator<Item = Self> {
        (0..self.len()).step_by(most).map(move |first| {
            let end = self.len().min(first + most);
            let ends = &self.ends[first..=end];
            Self {
                block: self.block,
                x: self.x[first * self.block..end * self.block].to_vec(),
                targets: self.targets[ends[0]..ends[ends.len() - 1]].to_vec(),
                ends: ends.iter().map(|end| end - ends[0]).collect(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contexts of 16 tokens that differ in one token each, some of them often, with a few targets each.
    #[test]
    fn rows_are_the_contexts_with_their_targets_counted() {
        const BLOCK: usize = 16;
        let kinds: Vec<usize> = (0..100).map(|b| (b % 3) * (b % 40)).collect();
        let mut x = vec![0; kinds.len() * BLOCK];
        for (x, &kind) in x.chunks_exact_mut(BLOCK).zip(&kinds) {
            x[kind % BLOCK] = 300 * ((kind / BLOCK) as Token + 1);
        }
        let y: Vec<Token> = (0..kinds.len()).map(|b| (b % 7 * 9000) as Token).collect();
        let mut distinct: Vec<usize> = Vec::new();
        for &kind in &kinds {
            if !distinct.contains(&kind) {
                distinct.push(kind);
            }
        }
        let rows = Rows::merged(&x, Some(&y), BLOCK);
        assert_eq!(rows.len(), distinct.len());
        assert!(distinct.len() < kinds.len());
        for (row, &kind) in distinct.iter().enumerate() {
            let users: Vec<usize> = (0..kinds.len()).filter(|&b| kinds[b] == kind).collect();
            let first = users[0] * BLOCK;
            let tokens = &rows.x()[row * BLOCK..(row + 1) * BLOCK];
            assert_eq!(tokens, &x[first..first + BLOCK]);
            assert_eq!(rows.examples(row), users.len());
            let mut wanted: Vec<Target> = Vec::new();
            for &user in &users {
                match wanted.iter_mut().find(|target| target.token == y[user]) {
                    Some(target) => target.examples += 1,
                    None => wanted.push(Target {
                        token: y[user],
                        examples: 1,
                    }),
                }
            }
            assert_eq!(rows.targets(row), wanted);
        }
        assert!((0..rows.len()).any(|row| rows.targets(row).len() < rows.examples(row)));

        // In parts, each row is what it was.
        let parts: Vec<Rows> = Rows::batches(&x, Some(&y), BLOCK, 7).collect();
        assert_eq!(parts.len(), rows.len().div_ceil(7));
        for row in 0..rows.len() {
            let part = &parts[row / 7];
            let tokens =
                |rows: &Rows, row: usize| rows.x()[row * BLOCK..(row + 1) * BLOCK].to_vec();
            assert_eq!(tokens(part, row % 7), tokens(&rows, row));
            assert_eq!(part.targets(row % 7), rows.targets(row));
        }

        let unknown = Rows::merged(&x, None, BLOCK);
        assert_eq!(unknown.x(), rows.x());
        for row in 0..rows.len() {
            assert_eq!(unknown.examples(row), rows.examples(row));
        }
    }

    #[test]
    fn a_context_with_many_targets_has_several_rows() {
        let y: Vec<Token> = (0..2 * Rows::MOST_TARGETS as Token + 5).collect();
        let rows = Rows::merged(&vec![7; 2 * y.len()], Some(&y), 2);
        assert_eq!((rows.len(), rows.x()), (3, &[7; 6][..]));
        let targets: Vec<Target> = (0..3).flat_map(|row| rows.targets(row).to_vec()).collect();
        let wanted = y.iter().map(|&token| Target { token, examples: 1 });
        assert_eq!(targets, wanted.collect::<Vec<_>>());
        let counts = [0, 1, 2].map(|row| rows.examples(row));
        assert_eq!(counts, [Rows::MOST_TARGETS, Rows::MOST_TARGETS, 5]);
    }

    /// The numbers that the README tells.
    #[test]
    fn the_names_have_few_contexts() {
        let names = crate::data::load(&crate::data::Options::default()).unwrap();
        let batch = names.train.range(0..names.train.len());
        let rows = Rows::merged(&batch.x, Some(&batch.y), 3);
        assert_eq!((names.train.len(), rows.len()), (182_625, 5_438));
    }

    #[test]
    fn apart_each_example_has_a_row() {
        let rows = Rows::apart(&[1, 2, 1, 2, 3, 4], &[5, 5, 6], 2);
        assert_eq!((rows.len(), rows.x()), (3, &[1, 2, 1, 2, 3, 4][..]));
        for (row, token) in [5, 5, 6].into_iter().enumerate() {
            assert_eq!(rows.targets(row), [Target { token, examples: 1 }]);
        }
        assert!(Rows::merged(&[], None, 2).is_empty());
    }
}
