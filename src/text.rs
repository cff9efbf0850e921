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

/// A message of naga without the piece of source that it draws below it, which has its own place and line
/// numbers, and without the numbers that naga gives to functions and expressions; its notes stay.
pub fn without_drawing(message: &str) -> String {
    let Some((_, drawn)) = message.split_once("error: ") else {
        return message.trim().to_owned();
    };
    let mut lines = drawn.lines();
    let first = lines.next().unwrap_or_default().trim();
    let mut parts: Vec<String> = vec![without_numbers(first)];
    for line in lines.map(str::trim) {
        // A label stands behind the carets that it belongs to.
        let label = line.rsplit_once("^ ").map(|(_, label)| label);
        let note = line
            .strip_prefix("= ")
            .map(|note| note.trim_start_matches("note: "));
        let more = label.or(note).map(without_numbers);
        if let Some(more) = more.filter(|more| parts.iter().all(|part| !part.contains(more))) {
            parts.push(more);
        }
    }
    // "Expression [3] is invalid": what is wrong with it comes after.
    let says_nothing =
        |part: &String| part.starts_with("naga::ir::") || part.ends_with(" is invalid");
    if !parts.iter().all(says_nothing) {
        parts.retain(|part| !says_nothing(part));
    }
    parts.join("; ")
}

/// Types by their names in WGSL, and no handles: `f32` for `[2] (of type Scalar(Scalar { kind: Float, ... }))`.
fn without_numbers(text: &str) -> String {
    let kinds = [
        ("Float, width: 4", "f32"),
        ("Uint, width: 4", "u32"),
        ("Sint, width: 4", "i32"),
        ("Bool, width: 1", "bool"),
    ];
    let mut text = text.to_owned();
    for (kind, name) in kinds {
        text = text.replace(&format!("Scalar(Scalar {{ kind: {kind} }})"), name);
    }
    while let Some(at) = text.find(" (of type ") {
        let Some(end) = text[at..].find(')') else {
            break;
        };
        let ty = text[at + " (of type ".len()..at + end].to_owned();
        let handle = text[..at].rfind('[').unwrap_or(at);
        text.replace_range(handle..=at + end, &ty);
    }
    text
}

/// A line of source, to stand below a message about it, and under it a caret at the column (in bytes, from 1);
/// none for an empty line.
pub fn drawing(line: &str, column: u32) -> Option<[String; 2]> {
    if line.is_empty() {
        return None;
    }
    // A tab is as wide as here in both lines, and no other character of a file moves the cursor.
    let shown = |text: &str| excerpt(text.replace('\t', "    "), usize::MAX);
    let before = line.char_indices();
    let before = before.take_while(|(at, _)| *at + 1 < column as usize);
    let before: String = before.map(|(_, c)| c).collect();
    let caret = format!("  {}^", " ".repeat(shown(&before).chars().count()));
    Some([format!("  {}", shown(line)), caret])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_naga_is_left_with_what_it_says() {
        let message = "error: Function [29] 'f' is invalid\n   ┌─ wgsl:1:1\n   │ \n 1 │ x\n   │  ^ naga::ir::Expression \
             [3]\n   │ ╰──────^ naga::ir::Function [29]\n   │  \n   = Expression [3] is invalid\n   = Operation \
             Multiply can't work with [2] (of type Scalar(Scalar { kind: Float, width: 4 })) and [0] (of type \
             Scalar(Scalar { kind: Uint, width: 4 }))\n";
        assert_eq!(
            without_drawing(message),
            "Operation Multiply can't work with f32 and u32"
        );
        let message = "error: no definition in scope for identifier: `g`\n  ┌─ wgsl:1:1\n  │  ^ unknown identifier\n";
        assert_eq!(
            without_drawing(message),
            "no definition in scope for identifier: `g`; unknown identifier"
        );
        assert_eq!(without_drawing("lost\n"), "lost");
    }

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
