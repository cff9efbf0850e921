//! Bytes and text from outside, made fit for a message.

use std::fmt::{self, Display, Write};

/// The text with control characters shown by their escapes, so that no file can garble a terminal, and cut
/// after `most` characters.
///
/// What is cut off is not formatted: a message of megabytes takes no memory.
///
/// ```
/// use gpu_makemore::text::excerpt;
///
/// assert_eq!(excerpt("\u{1b}[2J\n", 40), r"\u{1b}[2J\n");
/// assert_eq!(excerpt("ñandú", 3), "ñan…");
/// ```
pub fn excerpt(text: impl Display, most: usize) -> String {
    let mut line = Excerpt {
        text: String::new(),
        left: most,
    };
    if write!(line, "{text}").is_err() {
        line.text.push('…');
    }
    line.text
}

/// Takes characters until there are enough, and then reports an error, which ends the formatting.
struct Excerpt {
    text: String,
    left: usize,
}

impl Write for Excerpt {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            if c.is_control() {
                self.text.extend(c.escape_default());
            } else {
                self.text.push(c);
            }
        }
        Ok(())
    }
}

/// The whole text as one line that is safe to print: paths, file contents and drivers may bring line
/// breaks and control characters.
///
/// ```
/// use gpu_makemore::text::one_line;
///
/// assert_eq!(one_line("a fault\n\n  caused by: \u{1b}[2J"), r"a fault caused by: \u{1b}[2J");
/// ```
pub fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    excerpt(lines.join(" "), usize::MAX)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Characters of a vocabulary that are listed at most.
const LISTED: usize = 256;

/// The characters of a vocabulary in a row, or the first of them.
pub fn listed(chars: impl ExactSizeIterator<Item = char>) -> String {
    let more = (chars.len() > LISTED).then_some('…');
    chars.take(LISTED).chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_only_if_it_is_longer() {
        assert_eq!(excerpt("ñ".repeat(40), 40), "ñ".repeat(40));
        assert_eq!(excerpt("ñ".repeat(41), 40), "ñ".repeat(40) + "…");
        assert_eq!(excerpt("", 0), "");
        // The parts of a formatted text are counted together.
        assert_eq!(excerpt(format_args!("{}-{}", 12, 345), 5), "12-34…");
        assert_eq!(excerpt(format_args!("{}-{}", 12, 34), 5), "12-34");
    }
}
