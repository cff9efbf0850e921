//! Minibatches as the kernels read them: contexts, the targets of each context, and the uses of each token.

use super::layout::{Layout, packed_words, pitch, targets_words, uses_words};
use crate::model::contexts::{Rows, Target};
use crate::model::dims::{Dims, Token};

impl Layout {
    /// The words of `X`, `Uses` and `Targets` for some minibatches. Each takes `rows` rows; those beyond its
    /// own stand for no example.
    pub fn pack_steps(&self, minibatches: &[Rows], rows: usize) -> [Vec<u32>; 3] {
        let dims = &self.dims;
        let lengths = [
            packed_words(rows * dims.block),
            uses_words(dims, rows),
            targets_words(rows, dims.batch),
        ];
        let mut words = lengths.map(|length| vec![0; minibatches.len() * length]);
        let [x, uses, targets] = &mut words;
        let records = minibatches
            .iter()
            .zip(x.chunks_exact_mut(lengths[0]))
            .zip(uses.chunks_exact_mut(lengths[1]))
            .zip(targets.chunks_exact_mut(lengths[2]));
        for (((minibatch, x), uses), targets) in records {
            let x: &mut [Token] = bytemuck::cast_slice_mut(x);
            fill_up(minibatch.x(), dims.block, &mut x[..rows * dims.block]);
            list_uses(dims, pitch(dims.fan_in()), minibatch.x(), uses);
            list_targets(minibatch, rows, targets);
        }
        words
    }
}

/// Copies the contexts `x (.., block)` and fills the rest of `all` with copies of the first: rows that are
/// computed like the others, so without NaN, and whose results are not used.
fn fill_up(x: &[Token], block: usize, all: &mut [Token]) {
    let (own, others) = all.split_at_mut(x.len());
    own.copy_from_slice(x);
    for other in others.chunks_exact_mut(block) {
        other.copy_from_slice(&x[..block]);
    }
}

/// The targets of each row, as shaders/staged/targets.wgsl reads them: a 0 and the end of each row's list,
/// then the lists, row after row, with two words for each target. Rows beyond the last have no targets.
pub(super) fn list_targets(minibatch: &Rows, rows: usize, list: &mut [u32]) {
    let (ends, targets) = list.split_at_mut(rows + 1);
    let mut end = 0;
    ends[0] = 0;
    for (row, to) in ends[1..].iter_mut().enumerate() {
        if row < minibatch.len() {
            for &Target { token, examples } in minibatch.targets(row) {
                targets[end..][..2].copy_from_slice(&[u32::from(token), examples]);
                end += 2;
            }
        }
        *to = end as u32;
    }
}

/// The uses of each token in the contexts `x (rows, block)` of a step: a row of dC is the sum over the list
/// of its token. First a 0 and the end of each token's list; then the lists, token after token. An entry is
/// the place in `dembcat` where the embedding of a use begins; rows of `dembcat` are `row` values apart.
pub(super) fn list_uses(dims: &Dims, row: usize, x: &[Token], uses: &mut [u32]) {
    let (ends, places) = uses.split_at_mut(dims.vocab + 1);
    // A counting sort: first the lengths of the lists, then their starts, which become their ends as
    // the lists are filled.
    ends.fill(0);
    for &token in x {
        ends[usize::from(token) + 1] += 1;
    }
    let mut first = 0;
    for end in ends.iter_mut() {
        (first, *end) = (first + *end, first);
    }
    let (row, embd) = (row as u32, dims.embd as u32);
    for (r, tokens) in (0..).zip(x.chunks_exact(dims.block)) {
        for (k, &token) in (0..).zip(tokens) {
            let end = &mut ends[usize::from(token) + 1];
            places[*end as usize] = r * row + k * embd;
            *end += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uses_of_each_token_are_listed_in_the_order_of_the_positions() {
        let dims = Dims {
            vocab: 4,
            block: 3,
            embd: 5,
            hidden: 1,
            batch: 2,
        };
        let mut uses = [9; 4 + 1 + 6];
        list_uses(&dims, 16, &[2, 0, 2, 3, 2, 0], &mut uses);
        // A row of dembcat has 15 values and a pad of one.
        let (ends, places) = ([0, 2, 2, 5, 6], [5, 16 + 10, 0, 10, 16 + 5, 16]);
        assert_eq!(uses, [&ends[..], &places].concat()[..]);
    }

    #[test]
    fn the_targets_of_each_row_are_listed_and_the_rows_filled_up() {
        let y = [700, 8, 700, 700];
        let rows = Rows::merged(&[1, 2, 1, 2, 3, 4, 1, 2], Some(&y), 2);
        let mut list = [9; 4 + 1 + 2 * 4];
        list_targets(&rows, 4, &mut list);
        let (ends, lists) = ([0, 4, 6, 6, 6], [700, 2, 8, 1, 700, 1, 9, 9]);
        assert_eq!(list, [&ends[..], &lists].concat()[..]);
        let mut x = [9; 8];
        fill_up(rows.x(), 2, &mut x);
        assert_eq!(x, [1, 2, 3, 4, 1, 2, 1, 2]);
    }
}
