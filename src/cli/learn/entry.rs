//! Exercises and learners, as JSON.

use serde::Serialize;

use crate::exercises::{self, Exercise, Verdict};

/// An exercise and its verdict, as JSON.
#[derive(Serialize)]
pub struct Entry {
    pub number: usize,
    pub name: &'static str,
    pub file: &'static str,
    /// `right`, `wrong`, `refused`, `failed`, `untouched` or `missing`.
    pub verdict: &'static str,
    /// The lines that are printed.
    pub lines: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxdiff: Option<f64>,
    /// The name of the typical mistake that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mistake: Option<String>,
}

impl Entry {
    /// Exercises with their verdicts, in their order.
    pub fn all(exercises: &[&'static Exercise], verdicts: &[Option<Verdict>]) -> Vec<Self> {
        let pairs = exercises.iter().zip(verdicts);
        pairs
            .map(|(exercise, verdict)| Self::new(exercise, verdict.as_ref()))
            .collect()
    }

    /// With the verdict; none for a file that is not there.
    fn new(exercise: &'static Exercise, verdict: Option<&Verdict>) -> Self {
        let comparison = match verdict {
            Some(Verdict::Right(right)) => Some(&right.comparison),
            Some(Verdict::Wrong(wrong)) => Some(&wrong.comparison),
            _ => None,
        };
        let maxdiff = comparison.map(|comparison| comparison.maxdiff);
        let known = verdict.and_then(Verdict::known);
        Self {
            number: exercise.number,
            name: exercise.name,
            file: exercise.file,
            verdict: verdict.map_or("missing", Verdict::name),
            lines: verdict.map_or_else(Vec::new, |verdict| exercises::lines(exercise, verdict)),
            maxdiff: maxdiff.filter(|d| d.is_finite()),
            mistake: known.map(|known| known.name.clone()),
        }
    }
}

/// A learner's row of the report.
#[derive(Serialize)]
pub struct Learner {
    pub folder: String,
    pub done: usize,
    pub of: usize,
    pub exercises: Vec<Entry>,
}
