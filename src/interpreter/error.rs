//! What can be wrong with a kernel: before it runs, and while it runs.

use naga::Span;

/// A text that is not run: it does not parse or validate, or it uses what the interpreter does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Refused {
    /// Line of the text, from 1.
    pub line: u32,
    /// Column in that line, in bytes, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// The line itself; empty where the mistake has no place.
    pub excerpt: String,
}

impl Refused {
    pub(super) fn at(span: Span, text: &str, message: impl Into<String>) -> Self {
        let (line, column) = place(span, text);
        let excerpt = match span.is_defined() {
            true => text.lines().nth(line as usize - 1).unwrap_or_default(),
            false => "",
        };
        Self {
            line,
            column,
            message: message.into(),
            excerpt: excerpt.to_owned(),
        }
    }
}

/// What went wrong in a launch, and where in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Finding {
    /// The kind of the mistake.
    pub kind: What,
    /// Line of the text, from 1.
    pub line: u32,
    /// Column in that line, in bytes, from 1.
    pub column: u32,
    /// Who did what to which element of which variable.
    pub message: String,
}

impl Finding {
    pub(super) fn at(span: Span, text: &str, fault: Fault) -> Self {
        let (line, column) = place(span, text);
        Self {
            kind: fault.kind,
            line,
            column,
            message: fault.message,
        }
    }
}

/// The kinds of mistakes in a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Two accesses to a word that nothing orders, of which at least one writes.
    Race,
    /// A barrier that not all invocations of a workgroup come to.
    Barrier,
    /// A read beyond the end of a variable or of a value.
    Read,
    /// A write beyond the end of a variable.
    Write,
    /// The launch needs more than [`Rules::steps`](super::Rules::steps).
    Steps,
    /// A binding that the kernel uses has no buffer, or one that is too short for its type.
    Buffer,
}

/// A finding whose place is not known yet.
#[derive(Debug)]
pub(super) struct Fault {
    pub kind: What,
    pub message: String,
}

impl Fault {
    pub fn new(kind: What, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind,
            message: message.into(),
        })
    }
}

pub(super) type Outcome<T = ()> = Result<T, Box<Fault>>;

/// Line and column of the beginning of a span; those of the text's beginning for what has no place.
fn place(span: Span, text: &str) -> (u32, u32) {
    let start = span.to_range().map_or(0, |range| range.start);
    let before = text.as_bytes().get(..start).unwrap_or_default();
    let line = before.iter().filter(|&&byte| byte == b'\n').count();
    let column = before.iter().rev().take_while(|&&byte| byte != b'\n');
    (line as u32 + 1, column.count() as u32 + 1)
}
