//! A verdict in lines, as the program prints it and the page shows it.

use super::check::{Problem, Verdict, Wrong};
use super::list::Exercise;
use crate::gradcheck::compare::Comparison;
use crate::text::drawing;

/// Columns of a text.
const WIDTH: usize = 80;

/// A verdict in full.
pub fn verdict(exercise: &Exercise, verdict: &Verdict) -> Vec<String> {
    let name = exercise.name;
    match verdict {
        Verdict::Untouched => vec![format!("{name}: not begun; {} is as it was", exercise.file)],
        Verdict::Right(right) => vec![cmp(name, &right.comparison), format!("{name}: right")],
        Verdict::Wrong(wrong) => {
            let Wrong {
                comparison,
                count,
                of,
                first,
                want,
                got,
                known,
                ..
            } = &**wrong;
            let mut lines = vec![
                cmp(name, comparison),
                format!("{name}: wrong in {count} of {of} elements"),
                format!("  {first} is {got:.6e} and should be {want:.6e}"),
            ];
            if let Some(known) = known {
                lines.extend(
                    wrapped(&known.told)
                        .into_iter()
                        .map(|line| format!("  {line}")),
                );
            }
            lines
        }
        Verdict::Refused(found) => problem(exercise, found, "it does not compile"),
        Verdict::Failed(found) => problem(exercise, found, "it stopped"),
    }
}

/// The lecture's line.
fn cmp(name: &str, comparison: &Comparison) -> String {
    let word = |yes| if yes { "True" } else { "False" };
    let Comparison {
        exact,
        approximate,
        maxdiff,
        ..
    } = *comparison;
    format!(
        "{name:15} | exact: {:5} | approximate: {:5} | maxdiff: {maxdiff:.3e}",
        word(exact),
        word(approximate)
    )
}

/// A place with its line and a caret.
fn problem(exercise: &Exercise, found: &Problem, what: &str) -> Vec<String> {
    let Problem {
        line,
        column,
        excerpt,
        message,
        help,
        known,
    } = found;
    let place = match line {
        0 => exercise.file.to_owned(),
        _ => format!("{}:{line}:{column}", exercise.file),
    };
    let mut lines = vec![
        format!("{}: {what}", exercise.name),
        format!("  {place}: {message}"),
    ];
    let drawing = drawing(excerpt, *column).into_iter().flatten();
    lines.extend(drawing.map(|line| format!("  {line}")));
    let help = match known {
        Some(known) => Some(&known.told),
        None => help.as_ref(),
    };
    let help = help.into_iter().flat_map(|help| wrapped(help));
    lines.extend(help.map(|line| format!("  {line}")));
    lines
}

/// A text in lines, broken between words. One that is in lines already, as derivations are, stays as it is: prose has
/// a line for each paragraph, with an empty one in between.
pub fn wrapped(text: &str) -> Vec<String> {
    let written: Vec<&str> = text.lines().collect();
    if written
        .windows(2)
        .any(|two| two.iter().all(|line| !line.is_empty()))
    {
        return written.into_iter().map(str::to_owned).collect();
    }
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_inclusive(' ') {
            if !line.trim().is_empty()
                && line.chars().count() + word.trim_end().chars().count() > WIDTH - 4
            {
                lines.push(line.trim_end().to_owned());
                line.clear();
            }
            line.push_str(word);
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}
