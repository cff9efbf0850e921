//! Texts that would take too much of the stack: naga walks through an expression, a chain of branches and
//! a chain of declarations by recursion.

use naga::Span;

/// Bytes of a text at most.
const BYTES: usize = 1 << 18;
/// Operators of an expression at most.
const OPERATORS: usize = 250;
/// Words `else` of a text at most.
const BRANCHES: usize = 250;
/// Declarations of a text at most.
const DECLARATIONS: usize = 1000;

/// What a text has too much of, and where.
pub(super) fn exceeded(text: &str) -> Option<(Span, String)> {
    if text.len() > BYTES {
        let what = format!("the text is longer than {} KiB", BYTES >> 10);
        return Some((Span::UNDEFINED, what));
    }
    let bytes = text.as_bytes();
    // The operators of the expressions around, innermost last.
    let mut operators = vec![0];
    let (mut braces, mut branches, mut declarations) = (0_usize, 0, 0);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let start = at;
        at += 1;
        match rest[0] {
            b'/' if rest.starts_with(b"//") => {
                at = start + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            }
            b'/' if rest.starts_with(b"/*") => at = after_comment(bytes, start),
            b'{' => {
                braces += 1;
                operators = vec![0];
            }
            b'}' => {
                braces = braces.saturating_sub(1);
                declarations += usize::from(braces == 0);
                operators = vec![0];
            }
            b';' => {
                declarations += usize::from(braces == 0);
                operators = vec![0];
            }
            b'(' | b'[' => {
                count(&mut operators);
                operators.push(0);
            }
            b')' | b']' if operators.len() > 1 => drop(operators.pop()),
            // A next argument begins.
            b',' => *operators.last_mut()? = 0,
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let word = rest
                    .iter()
                    .position(|&b| !(b.is_ascii_alphanumeric() || b == b'_'));
                let word = &rest[..word.unwrap_or(rest.len())];
                at = start + word.len();
                branches += usize::from(word == b"else");
            }
            byte if byte.is_ascii_punctuation() => count(&mut operators),
            _ => {}
        }
        let what = if operators.last().is_some_and(|&n| n > OPERATORS) {
            format!("an expression with more than {OPERATORS} operators is too long")
        } else if branches > BRANCHES {
            format!("more than {BRANCHES} times `else` is too much")
        } else if declarations > DECLARATIONS {
            format!("more than {DECLARATIONS} declarations are too many")
        } else {
            continue;
        };
        return Some((Span::new(start as u32, at as u32), what));
    }
    None
}

fn count(operators: &mut [usize]) {
    if let Some(last) = operators.last_mut() {
        *last += 1;
    }
}

/// Where a comment ends that begins at `start`; comments nest.
fn after_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => {
                (at, depth) = (at + 2, depth - 1);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}
