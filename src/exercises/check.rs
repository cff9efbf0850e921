//! The verdict on a learner's text.

use super::answers::Mistake;
use super::list::Exercise;
use super::slips;
use super::task::Task;
use crate::gradcheck::compare::{Comparison, compare};
use crate::interpreter::{Buffers, Kernel, Rules};

/// How much an exercise may compute: some twenty times what the longest solution does. A loop without end is
/// told in less than a second.
const STEPS: u64 = 80_000_000;

/// What a text is worth.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is as it was handed out.
    Untouched,
    /// All values are right.
    Right(Box<Right>),
    /// Some are not.
    Wrong(Box<Wrong>),
    /// It is no WGSL, or does not define what is asked for.
    Refused(Problem),
    /// It stopped on the way: beyond the end of a tensor, a race, a loop without end.
    Failed(Problem),
}

/// Values that are right.
#[derive(Clone, Debug)]
pub struct Right {
    /// Against the reference.
    pub comparison: Comparison,
    /// All values, for a picture.
    pub values: Vec<f32>,
}

/// Values that are not right.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// Against the reference.
    pub comparison: Comparison,
    /// How many of how many elements are wrong.
    pub count: usize,
    /// See `count`.
    pub of: usize,
    /// The first wrong element, as the function is called for it.
    pub first: String,
    /// What it should be, and what it is.
    pub want: f64,
    /// See `want`.
    pub got: f64,
    /// All values, for a picture.
    pub values: Vec<f32>,
    /// The typical mistake that gives the same values.
    pub known: Option<Known>,
}

/// A place in the text, and what is wrong there.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Line in the learner's text, from 1; 0 if it has no place there.
    pub line: u32,
    /// Column in it, from 1, in bytes.
    pub column: u32,
    /// The line itself.
    pub excerpt: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The typical mistake that does the same.
    pub known: Option<Known>,
}

/// A typical mistake that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// In a few words.
    pub name: String,
    /// What to say of it.
    pub told: String,
}

impl From<Mistake> for Known {
    fn from(Mistake { name, told, .. }: Mistake) -> Self {
        Self { name, told }
    }
}

impl Verdict {
    /// In a word, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Untouched => "untouched",
            Verdict::Right(_) => "right",
            Verdict::Wrong(_) => "wrong",
            Verdict::Refused(_) => "refused",
            Verdict::Failed(_) => "failed",
        }
    }

    /// All values, if it gave any, in the order of the tensor that is asked for.
    pub fn values(&self) -> Option<&[f32]> {
        match self {
            Verdict::Right(right) => Some(&right.values),
            Verdict::Wrong(wrong) => Some(&wrong.values),
            _ => None,
        }
    }

    /// The typical mistake that was made, if it is one.
    pub fn known(&self) -> Option<&Known> {
        match self {
            Verdict::Wrong(wrong) => wrong.known.as_ref(),
            Verdict::Failed(problem) => problem.known.as_ref(),
            _ => None,
        }
    }

    /// The place that it is about, and what is wrong there.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Verdict::Refused(problem) | Verdict::Failed(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the exercise is done.
    pub fn is_right(&self) -> bool {
        matches!(self, Verdict::Right(_))
    }
}

/// What a run of a text gave.
struct Ran {
    /// The values. Beyond the end of a tensor there is zero.
    values: Vec<f32>,
    /// The first access beyond the end.
    beyond: Option<Problem>,
}

/// Checks a text for an exercise.
pub fn check(exercise: &Exercise, text: &str) -> Verdict {
    if text == exercise.text {
        return Verdict::Untouched;
    }
    let task = Task::of(exercise);
    match run(&task, text) {
        Ok(buffers) => judge(exercise, &task, buffers),
        Err(verdict) => match *verdict {
            Verdict::Failed(problem) => {
                let known = problem
                    .known
                    .clone()
                    .or_else(|| race(exercise, &task, &problem));
                Verdict::Failed(Problem { known, ..problem })
            }
            other => other,
        },
    }
}

/// The typical mistake that makes the same invocations get in each other's way.
fn race(exercise: &Exercise, task: &Task, problem: &Problem) -> Option<Known> {
    let mistakes = exercise.answers().mistakes.into_iter();
    let known = mistakes.filter(|mistake| mistake.is_race).find(|mistake| {
        let ran = run(task, &mistake.text).map_err(|verdict| *verdict);
        matches!(ran, Err(Verdict::Failed(theirs)) if theirs.message == problem.message)
    });
    known.map(Known::from)
}

/// The verdict on what a run has left in the buffers.
pub(super) fn judge(exercise: &Exercise, task: &Task, buffers: Buffers) -> Verdict {
    let Ran { values, beyond } = Ran::of(task, buffers);
    if let Some(problem) = beyond {
        let known = recognised(exercise, task, &values);
        return Verdict::Failed(Problem { known, ..problem });
    }
    let comparison = compared(task, &values);
    if comparison.pass {
        return Verdict::Right(Box::new(Right { comparison, values }));
    }
    let largest = task.want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
    let wrong = |i: &usize| {
        let (got, want) = (f64::from(values[*i]), task.want[*i]);
        let fits = (got - want).abs() <= task.tolerance.allowed(want, largest);
        !fits // also where it is no number
    };
    let all: Vec<usize> = (0..values.len()).filter(wrong).collect();
    let first = all.first().copied().unwrap_or(comparison.worst.index);
    Verdict::Wrong(Box::new(Wrong {
        comparison,
        count: all.len(),
        of: values.len(),
        first: task.element(first),
        want: task.want[first],
        got: f64::from(values[first]),
        known: recognised(exercise, task, &values),
        values,
    }))
}

/// The typical mistake that gives these values.
fn recognised(exercise: &Exercise, task: &Task, values: &[f32]) -> Option<Known> {
    let mut mistakes = exercise.answers().mistakes.into_iter();
    let known = mistakes.find(|mistake| {
        let ran = run(task, &mistake.text);
        ran.is_ok_and(|theirs| same(task, values, &Ran::of(task, theirs).values))
    });
    known.map(Known::from)
}

fn compared(task: &Task, values: &[f32]) -> Comparison {
    let got: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    compare(&got, &task.want, task.tolerance).expect("a task has values, and its result as many")
}

/// Whether two results are the same but for rounding. What is no number, or infinite, is the same as another
/// that is not finite.
fn same(task: &Task, a: &[f32], b: &[f32]) -> bool {
    let largest = b.iter().filter(|v| v.is_finite());
    let largest = largest.fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    a.iter().zip(b).all(|(&a, &b)| {
        if !a.is_finite() || !b.is_finite() {
            return a.is_finite() == b.is_finite();
        }
        let (a, b) = (f64::from(a), f64::from(b));
        (a - b).abs() <= task.tolerance.allowed(b, largest)
    })
}

impl Ran {
    fn of(task: &Task, mut buffers: Buffers) -> Self {
        let mut words = |binding: usize| buffers.remove(&(binding as u32)).unwrap_or_default();
        let report = task.report.map(&mut words);
        let values = words(task.result).into_iter().map(f32::from_bits).collect();
        Self {
            values,
            beyond: report.and_then(|report| beyond(task, &report)),
        }
    }
}

/// Runs the text of a task for all elements, and gives the buffers as it leaves them.
fn run(task: &Task, text: &str) -> Result<Buffers, Box<Verdict>> {
    let kernel = Kernel::new(&task.module(text), task.entry[0], &[]).map_err(|refused| {
        let place = (refused.line, refused.column);
        Box::new(Verdict::Refused(placed(task, text, place, refused.message)))
    })?;
    let mut buffers: Buffers = (0..).zip(task.buffers.iter().cloned()).collect();
    launch(&kernel, task, &mut buffers).map_err(|(place, message)| {
        Box::new(Verdict::Failed(placed(task, text, place, message)))
    })?;
    Ok(buffers)
}

/// Launches a task's kernel in the interpreter. An error has its place in the module.
pub(super) fn launch(
    kernel: &Kernel,
    task: &Task,
    buffers: &mut Buffers,
) -> Result<(), ((u32, u32), String)> {
    let rules = Rules {
        steps: STEPS,
        reads_in_range: true,
    };
    let launched = kernel.launch(buffers, task.groups, &rules);
    launched.map_err(|finding| ((finding.line, finding.column), finding.message))
}

/// The first access beyond the end of a tensor.
fn beyond(task: &Task, report: &[u32]) -> Option<Problem> {
    let (reports, _) = report.as_chunks::<4>();
    let (i, &[number, ..]) = reports
        .iter()
        .enumerate()
        .find(|(_, [number, ..])| *number > 0)?;
    let asked = &reports[i][1..];
    let (name, indices) = task.accessors.get(number as usize - 1)?;
    let list = |texts: Vec<String>| texts.join(", ");
    let asked = list(asked[..indices.len()].iter().map(u32::to_string).collect());
    let ends = indices
        .iter()
        .map(|(index, size)| format!("{index} must be below {size}"));
    Some(Problem {
        line: 0,
        column: 0,
        excerpt: String::new(),
        message: format!(
            "{} reads {name}({asked}), which does not exist: {}",
            task.element(i),
            list(ends.collect())
        ),
        help: Some(format!(
            "Are the indices in the right order? The heading has {name}({}).",
            list(
                indices
                    .iter()
                    .map(|(index, _)| (*index).to_owned())
                    .collect()
            )
        )),
        known: None,
    })
}

/// A place in the module as one in the text.
fn placed(task: &Task, text: &str, (line, column): (u32, u32), message: String) -> Problem {
    let before = task.lines_before();
    let excerpt = line
        .checked_sub(before + 1)
        .and_then(|line| text.lines().nth(line as usize));
    let Some(excerpt) = excerpt else {
        // The kernel that calls the function, or the text as a whole.
        return Problem {
            line: 0,
            column: 0,
            excerpt: String::new(),
            help: (line > before).then(|| {
                format!(
                    "What is wanted is {}, with this name and these parameters.",
                    task.signature
                )
            }),
            message,
            known: None,
        };
    };
    Problem {
        line: line - before,
        column,
        help: slips::help(&message, excerpt).map(str::to_owned),
        excerpt: excerpt.to_owned(),
        message,
        known: None,
    }
}
