//! What the sizes of a model say of its schedule, and examples of any sizes to time a schedule on.

use crate::model::dims::{Dims, Token};
use crate::rng::TorchGenerator;

/// Multiplications of the lecture's forward pass.
const LECTURE: usize = 32 * 200 * (30 + 27);
/// Multiplications up to which the resident schedule is taken, and from which on the staged one; in between
/// both are timed. (Measured with Mesa 22.3.6 on two cores: on llvmpipe both take the same time at twice the
/// lecture's size; on lavapipe the resident one is still faster at ten times that size.)
pub(super) const SMALL: usize = 2 * LECTURE;
const LARGE: usize = 16 * LECTURE;
/// Multiplications of a forward pass.
pub(super) fn work(dims: &Dims) -> usize {
    dims.batch * dims.hidden * (dims.fan_in() + dims.vocab)
}

/// Whether a model is so large that the staged schedule is taken without a measurement.
pub fn is_large(dims: &Dims) -> bool {
    work(dims) >= LARGE
}

/// Examples whose contexts repeat about as often as those of names, since the staged schedule computes each
/// distinct context once. Of 128 contexts drawn like this 109 are distinct, of 128 of the names 99; of 512,
/// 413 and 324. Every seventh is the beginning of a name, and some letters are frequent.
pub(super) fn like_names(dims: &Dims, count: usize) -> (Vec<Token>, Vec<Token>) {
    const PARTS: u32 = 1 << 12;
    let examples = count * dims.batch;
    let mut draws = vec![0; examples * (dims.block + 2)];
    TorchGenerator::manual_seed(1).randint_into(PARTS, &mut draws);
    // The square of a number between 0 and 1.
    let token = |&draw: &u32| {
        let square = u64::from(draw).pow(2) / u64::from(PARTS);
        (dims.vocab as u64 * square / u64::from(PARTS)) as Token
    };
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for draws in draws.chunks_exact(dims.block + 2) {
        let (begins, draws) = (draws[0] % 7 == 0, &draws[1..]);
        x.extend(
            draws[1..]
                .iter()
                .map(|draw| if begins { 0 } else { token(draw) }),
        );
        y.push(token(&draws[0]));
    }
    (x, y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::contexts::Rows;

    /// The numbers that the comment tells, and every token within the vocabulary.
    #[test]
    fn contexts_of_a_trial_come_again_as_those_of_names_do() {
        for (batch, told) in [(128, 109.0), (512, 413.0)] {
            let dims = Dims::LECTURE.with_batch(batch);
            let (x, y) = like_names(&dims, 50);
            assert_eq!((x.len(), y.len()), (50 * batch * dims.block, 50 * batch));
            let largest = x.iter().chain(&y).copied().max();
            assert_eq!(largest, Some(26));
            let rows = x
                .chunks(batch * dims.block)
                .map(|x| Rows::merged(x, None, dims.block).len());
            let mean = rows.sum::<usize>() as f64 / 50.0;
            assert!((mean / told - 1.0).abs() < 0.02, "{mean} of {batch}");
        }
    }
}
