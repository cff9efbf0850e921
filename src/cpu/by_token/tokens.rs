//! The distinct tokens of a minibatch at each position.

use std::ops::Range;

use super::contexts::Contexts;
use super::lines::{LANES, tile_of};
use crate::model::dims::{Dims, Token};
use crate::reference::linear::tiles;
use crate::reference::real::Real;

/// Part of an embedding: the values that are worked on at a time.
pub type Piece<R> = [R; LANES];

/// How many pieces a row of `C` has.
pub fn pieces(dims: &Dims) -> usize {
    dims.embd.div_ceil(LANES)
}

/// Characters of a vocabulary up to which a step goes through all of them, which takes no branches. With more,
/// it goes through those that occur.
pub const FEW: usize = 256;

/// The distinct tokens of a minibatch: a row for each pair of position and token that occurs, sorted by
/// position, then by token.
#[derive(Clone, Debug)]
pub struct Tokens<R> {
    /// The rows of each position.
    pub positions: Vec<Range<usize>>,
    /// The token of each row.
    pub token: Vec<Token>,
    /// How many examples have the token at that position.
    pub uses: Vec<R>,
    /// The rows, cut into tiles: position and rows.
    pub tiles: Vec<(usize, Range<usize>)>,
    /// `(contexts, block)`: the row of each token of each context.
    pub rows: Vec<u32>,
    /// The embedding of each row minus the mean embedding of its position over the minibatch: the first
    /// pieces of all rows, then their second pieces. There is room for [`Tokens::most_rows`].
    centred: Vec<Piece<R>>,
    /// `(block, vocab)`: uses of each token at each position, in a vocabulary of [`FEW`].
    uses_of: Vec<R>,
    /// `(block, vocab)`: the row of each token at each position where it occurs.
    row_of: Vec<u32>,
    /// The tokens of one position, in a vocabulary of more.
    sorted: Vec<Token>,
}

impl<R: Real> Tokens<R> {
    pub fn new(dims: &Dims) -> Self {
        let Dims {
            vocab,
            block,
            batch,
            ..
        } = *dims;
        let most = Self::most_rows(dims);
        Self {
            positions: vec![0..0; block],
            // One more, because `read` writes the token of a row before it knows whether the row exists.
            token: vec![0; most + 1],
            uses: vec![R::zero(); most + 1],
            tiles: Vec::with_capacity(most),
            rows: Vec::with_capacity(batch * block),
            centred: vec![[R::zero(); LANES]; most * pieces(dims)],
            uses_of: vec![R::zero(); if vocab <= FEW { block * vocab } else { 0 }],
            row_of: vec![0; block * vocab],
            sorted: Vec::new(),
        }
    }

    /// Rows that a minibatch can have.
    pub fn most_rows(dims: &Dims) -> usize {
        dims.block * dims.vocab.min(dims.batch)
    }

    /// Rows of this minibatch.
    pub fn count(&self) -> usize {
        self.positions.last().map_or(0, |rows| rows.end)
    }

    /// Lists the tokens of a minibatch, in tiles of at most `tile_rows` rows.
    #[inline(always)]
    pub fn read(&mut self, contexts: &Contexts<R>, dims: &Dims, tile_rows: usize) {
        let vocab = dims.vocab;
        if vocab <= FEW {
            self.list_by_vocabulary(contexts, vocab);
        } else {
            self.list_by_sorting(contexts, vocab);
        }
        self.tiles.clear();
        for (t, rows) in self.positions.iter().enumerate() {
            let cut = tiles(rows.clone(), tile_rows);
            self.tiles.extend(cut.map(|rows| (t, rows)));
        }
        self.rows.clear();
        for key in contexts.keys() {
            let row_of = self.row_of.chunks_exact(vocab).zip(key);
            self.rows
                .extend(row_of.map(|(row_of, &token)| row_of[usize::from(token)]));
        }
    }

    /// Lists the tokens, with their uses and rows, by going through the vocabulary at each position.
    #[inline(always)]
    fn list_by_vocabulary(&mut self, contexts: &Contexts<R>, vocab: usize) {
        self.uses_of.fill(R::zero());
        for (key, &count) in contexts.keys().iter().zip(contexts.uses()) {
            for (uses, &token) in self.uses_of.chunks_exact_mut(vocab).zip(key) {
                uses[usize::from(token)] += count;
            }
        }
        let mut row = 0;
        let row_of = self.row_of.chunks_exact_mut(vocab);
        for (t, (uses_of, row_of)) in self.uses_of.chunks_exact(vocab).zip(row_of).enumerate() {
            let first = row;
            for (token, (&uses, row_of)) in uses_of.iter().zip(row_of).enumerate() {
                // No branch on whether a token occurs, which would be unpredictable: a row written for one
                // that does not is overwritten by the next.
                *row_of = row as u32;
                self.token[row] = token as Token;
                self.uses[row] = uses;
                row += usize::from(uses > R::zero());
            }
            self.positions[t] = first..row;
        }
    }

    /// Lists the tokens of each position by sorting them, so that the cost of a step does not depend on the
    /// size of the vocabulary.
    fn list_by_sorting(&mut self, contexts: &Contexts<R>, vocab: usize) {
        let mut row = 0;
        for (t, row_of) in self.row_of.chunks_exact_mut(vocab).enumerate() {
            self.sorted.clear();
            self.sorted.extend(contexts.keys().iter().map(|key| key[t]));
            self.sorted.sort_unstable();
            self.sorted.dedup();
            let first = row;
            for &token in &self.sorted {
                row_of[usize::from(token)] = row as u32;
                self.token[row] = token;
                self.uses[row] = R::zero();
                row += 1;
            }
            for (key, &count) in contexts.keys().iter().zip(contexts.uses()) {
                self.uses[row_of[usize::from(key[t])] as usize] += count;
            }
            self.positions[t] = first..row;
        }
    }

    /// Replaces `distinct` by the tokens of this minibatch, each of them once.
    pub fn distinct(&self, distinct: &mut Vec<Token>) {
        distinct.clear();
        distinct.extend(&self.token[..self.count()]);
        distinct.sort_unstable();
        distinct.dedup();
    }

    /// Looks the embeddings up in `c`, each row in pieces, and subtracts the mean of each position.
    #[inline(always)]
    pub fn centre(&mut self, c: &[Piece<R>], dims: &Dims) {
        let n = R::of(dims.batch as f64);
        let pieces = pieces(dims);
        let most = Self::most_rows(dims);
        for rows in &self.positions {
            let (token, uses) = (&self.token[rows.clone()], &self.uses[rows.clone()]);
            for piece in 0..pieces {
                let embedding = |token: Token| &c[usize::from(token) * pieces + piece];
                let mut mean = [R::zero(); LANES];
                for (&token, &uses) in token.iter().zip(uses) {
                    let embedding = embedding(token);
                    for l in 0..LANES {
                        mean[l] += uses * embedding[l];
                    }
                }
                for mean in &mut mean {
                    *mean /= n;
                }
                let centred = &mut self.centred[piece * most..][rows.clone()];
                for (&token, row) in token.iter().zip(centred) {
                    let mut values = *embedding(token);
                    for l in 0..LANES {
                        values[l] -= mean[l];
                    }
                    *row = values;
                }
            }
        }
    }

    /// Piece number `piece` of the centred embeddings of all rows.
    #[inline(always)]
    pub fn all_centred(&self, piece: usize, dims: &Dims) -> &[Piece<R>] {
        &self.centred[piece * Self::most_rows(dims)..][..self.count()]
    }

    /// Piece number `piece` of the centred embeddings of a tile's rows, from `first` on.
    #[inline(always)]
    pub fn centred<const ROWS: usize>(
        &self,
        piece: usize,
        first: usize,
        dims: &Dims,
    ) -> &[Piece<R>; ROWS] {
        tile_of(self.all_centred(piece, dims), first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: Dims = Dims {
        vocab: 4,
        block: 2,
        embd: 17,
        hidden: 1,
        batch: 3,
    };

    fn contexts(x: &[Token]) -> Contexts<f64> {
        let mut contexts = Contexts::new(&DIMS);
        contexts.read(x, &[0; DIMS.batch], &DIMS);
        contexts
    }

    #[test]
    fn each_token_of_a_position_has_one_row() {
        let mut tokens = Tokens::<f64>::new(&DIMS);
        // Twice, because nothing of a minibatch may show in the next.
        for _ in 0..2 {
            tokens.read(&contexts(&[3, 0, 1, 0, 3, 3]), &DIMS, 1);
            assert_eq!(tokens.positions, [0..2, 2..4]);
            assert_eq!(tokens.count(), 4);
            assert_eq!(tokens.token[..4], [1, 3, 0, 3]);
            assert_eq!(tokens.uses[..4], [1.0, 2.0, 2.0, 1.0]);
            assert_eq!(tokens.rows, [1, 2, 0, 2, 1, 3]);
            assert_eq!(tokens.tiles, [(0, 0..1), (0, 1..2), (1, 2..3), (1, 3..4)]);
            tokens.read(&contexts(&[0, 1, 2, 3, 3, 2]), &DIMS, 4);
            assert_eq!(tokens.count(), 6, "as many rows as there can be");
            assert_eq!(tokens.tiles, [(0, 0..3), (1, 3..6)]);
        }
    }

    #[test]
    fn tokens_are_listed_alike_with_few_characters_and_with_many() {
        let few = Dims {
            vocab: FEW,
            block: 3,
            batch: 50,
            ..DIMS
        };
        let many = Dims {
            vocab: FEW + 1,
            ..few
        };
        let [mut by_vocabulary, mut by_sorting] = [few, many].map(|d| Tokens::<f64>::new(&d));
        for seed in 1..4 {
            let token = |i: usize| (i * i * seed % 7 * 40) as Token;
            let x: Vec<Token> = (0..few.batch * few.block).map(token).collect();
            let mut contexts = Contexts::new(&few);
            contexts.read(&x, &[0; 50], &few);
            by_vocabulary.read(&contexts, &few, 4);
            by_sorting.read(&contexts, &many, 4);
            assert_eq!(by_sorting.positions, by_vocabulary.positions);
            let count = by_vocabulary.count();
            assert!(count < few.batch);
            assert_eq!(by_sorting.token[..count], by_vocabulary.token[..count]);
            assert_eq!(by_sorting.uses[..count], by_vocabulary.uses[..count]);
            assert_eq!(by_sorting.tiles, by_vocabulary.tiles);
            assert_eq!(by_sorting.rows, by_vocabulary.rows);
            let mut wanted = x;
            wanted.sort_unstable();
            wanted.dedup();
            let mut distinct = Vec::new();
            by_sorting.distinct(&mut distinct);
            assert_eq!(distinct, wanted);
        }
    }

    #[test]
    fn centred_embeddings_have_a_mean_of_zero_over_the_minibatch() {
        let mut tokens = Tokens::<f64>::new(&DIMS);
        tokens.read(&contexts(&[3, 0, 3, 0, 1, 3]), &DIMS, 8);
        let c: Vec<Piece<f64>> = (0..8)
            .map(|i| std::array::from_fn(|l| (i * LANES + l) as f64))
            .collect();
        tokens.centre(&c, &DIMS);
        for piece in 0..2 {
            let all = tokens.all_centred(piece, &DIMS);
            // Token 3 lies two rows of two pieces above token 1.
            assert_eq!(all[1][0] - all[0][0], 4.0 * LANES as f64);
            for rows in &tokens.positions {
                let sum: f64 = rows
                    .clone()
                    .map(|r| tokens.uses[r] * all[r][16 * piece % LANES])
                    .sum();
                assert!(sum.abs() < 1e-12, "{sum}");
            }
        }
    }
}
