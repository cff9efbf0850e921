//! The hunt: one of the known [mistakes](super::mistakes) is made in a kernel, and a learner finds the line from
//! the table and the curve.

use super::mistakes::{By, MISTAKES, Mistake};
use crate::gpu::shader::files;

/// Lines that count as near.
const NEAR: usize = 10;

/// What a guess is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// It is the line.
    Found,
    /// The mistake is at most some lines away.
    Near,
    /// It is in the file, further away.
    InTheFile,
    /// It is in another file.
    OtherFile,
    /// No kernel has a file of this name.
    NoSuchFile,
}

/// The mistakes that can be hunted: those of a training step that its table shows.
pub fn hunted() -> Vec<&'static Mistake> {
    let shows =
        |mistake: &&Mistake| mistake.by == By::Gradcheck && !mistake.file.starts_with("chunked/");
    MISTAKES.iter().filter(shows).collect()
}

/// The mistake of a number, from 1.
pub fn numbered(number: usize) -> Option<&'static Mistake> {
    let place = number.checked_sub(1)?;
    hunted().get(place).copied()
}

/// Judges a guess: a line, from 1, of a file under `shaders/`.
pub fn judge(mistake: &Mistake, file: &str, line: usize) -> Guess {
    if file != mistake.file {
        let known = files().iter().any(|part| part.file == file);
        return match known {
            true => Guess::OtherFile,
            false => Guess::NoSuchFile,
        };
    }
    let (first, last) = lines(mistake);
    if (first..=last).contains(&line) {
        Guess::Found
    } else if line.abs_diff(first).min(line.abs_diff(last)) < NEAR {
        Guess::Near
    } else {
        Guess::InTheFile
    }
}

/// The first and the last line of a mistake in its file, from 1.
pub fn lines(mistake: &Mistake) -> (usize, usize) {
    let text = files().into_iter().find(|part| part.file == mistake.file);
    let text = text.map_or_else(String::new, |part| part.text.into_owned());
    let before = text.split(mistake.from).next().unwrap_or_default();
    let first = before.matches('\n').count() + 1;
    (first, first + mistake.from.matches('\n').count())
}

#[cfg(test)]
mod tests {
    use super::{Guess, hunted, judge, lines, numbered};

    #[test]
    fn a_guess_is_found_near_or_elsewhere() {
        for mistake in hunted() {
            let (first, last) = lines(mistake);
            assert_eq!(judge(mistake, mistake.file, first), Guess::Found);
            assert_eq!(judge(mistake, mistake.file, last), Guess::Found);
            assert_eq!(judge(mistake, mistake.file, last + 1), Guess::Near);
            assert_eq!(judge(mistake, mistake.file, last + 10), Guess::InTheFile);
            assert_eq!(judge(mistake, "sgd.wgsl", first), Guess::OtherFile);
            assert_eq!(judge(mistake, "sgd.wgls", first), Guess::NoSuchFile);
        }
    }

    #[test]
    fn mistakes_are_numbered_from_one() {
        assert!(numbered(0).is_none());
        assert_eq!(
            numbered(1).map(|m| m.name),
            hunted().first().map(|m| m.name)
        );
        assert!(numbered(hunted().len() + 1).is_none());
    }
}
