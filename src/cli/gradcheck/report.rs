//! The table that `gradcheck` prints, for people and for machines.

use serde::Serialize;

use crate::cli::error::Error;
use crate::cli::report::OutputError;
use crate::gradcheck::Row;
use crate::gradcheck::against::Notes;
use crate::gradcheck::compare::{Comparison, index};
use crate::gradcheck::engine::Engine;
use crate::gradcheck::step::Code;
use crate::model::dims::Dims;
use std::io;

/// One line of a table.
pub struct Line<'a> {
    /// The tensor.
    pub name: &'a str,
    /// Its shape, for the index of its worst element.
    pub shape: &'a [usize],
    /// What computed it.
    pub by: &'a str,
    /// Whether it is zero for any data, but for rounding.
    pub zero: bool,
    /// Whether a group of rows begins with it, which an empty line sets off.
    pub begins: bool,
    /// How it compares.
    pub comparison: &'a Comparison,
}

impl<'a> Line<'a> {
    fn of(row: &'a Row) -> Self {
        Self {
            name: &row.label,
            shape: &row.shape,
            by: row.by.name(),
            zero: row.zero,
            begins: false,
            comparison: &row.comparison,
        }
    }

    /// The rows of a table, those of each further training step set off.
    fn of_all(rows: &'a [Row]) -> Vec<Self> {
        let mut step = None;
        rows.iter()
            .map(|row| {
                let of_step = row.by != Code::Chunked;
                let begins = of_step && step.is_some_and(|step| step != row.by);
                if of_step {
                    step = Some(row.by);
                }
                Self {
                    begins,
                    ..Self::of(row)
                }
            })
            .collect()
    }

    fn verdict(&self) -> &'static str {
        match (self.comparison.pass, self.zero) {
            (true, false) => "ok",
            (true, true) => "ok: zero",
            (false, _) => "WRONG",
        }
    }

    /// The worst element, and how far the tensor is in units of the last place.
    fn details(&self) -> String {
        let Comparison {
            worst, max_ulps, ..
        } = self.comparison;
        let at = index(self.shape, worst.index);
        let ulps = if self.zero {
            // Some thousand million, between two zeros of different sign: it says nothing.
            String::new()
        } else {
            format!("; {} ULP at most", ulps(*max_ulps))
        };
        format!(
            "    at {at}: {:.7e}, expected {:.7e}{ulps}",
            worst.got, worst.want
        )
    }
}

/// The columns of the lecture's `cmp`, with what is allowed, what computed the tensor, and the verdict;
/// 80 characters wide. Below a tensor that is wrong, or below each if `verbose`, its worst element.
pub fn lines(lines: &[Line<'_>], verbose: bool) -> Vec<String> {
    let width = |least: usize, of: fn(&Line<'_>) -> usize| {
        lines.iter().map(of).max().unwrap_or(0).max(least)
    };
    let (names, by) = (width(15, |l| l.name.len()), width(7, |l| l.by.len()));
    let python = |b: bool| if b { "True" } else { "False" };
    let row = |name: &str, [exact, approximate, maxdiff, allowed, code, verdict]: [&str; 6]| {
        format!(
            "{name:names$}  {exact:5}  {approximate:11}  {maxdiff:8}  {allowed:8}  {code:by$}  {verdict}"
        )
    };
    let heading = [
        "exact",
        "approximate",
        "maxdiff",
        "allowed",
        "by",
        "verdict",
    ];
    let mut table = vec![row("tensor", heading)];
    for line in lines {
        let c = line.comparison;
        if line.begins {
            table.push(String::new());
        }
        table.push(row(
            line.name,
            [
                python(c.exact),
                python(c.approximate),
                &short(c.maxdiff),
                &short(c.worst.allowed),
                line.by,
                line.verdict(),
            ],
        ));
        if verbose || !c.pass {
            table.push(line.details());
        }
    }
    table
}

/// The table of some rows, what there is to say of it, and how many tensors agree.
pub fn table(rows: &[Row], verbose: bool) -> Vec<String> {
    let all = Line::of_all(rows);
    let mut table = lines(&all, verbose);
    table.push(String::new());
    table.extend(notes(&all));
    let agree = rows.iter().filter(|row| row.comparison.pass).count();
    table.push(format!("{agree} of {} tensors agree", rows.len()));
    table
}

fn short(value: f64) -> String {
    if value == 0.0 {
        "0.0".to_owned()
    } else {
        format!("{value:.2e}")
    }
}

/// Distances of a million and more are those of values beside zero, on either side of which f32 has
/// a thousand million values: their order of magnitude says enough.
fn ulps(ulps: u64) -> String {
    if ulps < 1_000_000 {
        ulps.to_string()
    } else {
        format!("{:.0e}", ulps as f64)
    }
}

/// What a reader may stumble over in a table, where it occurs.
pub fn notes(lines: &[Line<'_>]) -> Vec<String> {
    let passed = || lines.iter().filter(|line| line.comparison.pass);
    let mut notes = Vec::new();
    if passed().any(|line| !line.comparison.exact) {
        notes.extend(paragraph(&[
            "exact: False is fine. In f32 each operation rounds at the 8th digit, so the",
            "same sum in another order ends a few units of the last place away.",
        ]));
    }
    if passed().any(|line| !line.comparison.approximate && !line.zero) {
        notes.extend(paragraph(&[
            "approximate: False with verdict ok: torch.allclose allows each element 1e-5 of",
            "itself. Where terms cancel, their rounding is larger than that, for the sum that",
            "is left is small. `allowed` is a bound on the rounding of the terms.",
        ]));
    }
    let mut zeros: Vec<&str> = passed().filter(|l| l.zero).map(|l| l.name).collect();
    zeros.sort_unstable();
    zeros.dedup();
    if !zeros.is_empty() {
        notes.extend(paragraph(&[
            &format!(
                "ok: zero ({}): zero for any data. What is there is",
                zeros.join(", ")
            ),
            "rounding, and is held against the size of the terms that cancel.",
        ]));
    }
    notes
}

/// Lines that belong together, and an empty one behind them.
fn paragraph(lines: &[&str]) -> Vec<String> {
    let lines = lines.iter().map(|&line| line.to_owned());
    lines.chain([String::new()]).collect()
}

/// The codes that a table is about, and what a row of theirs is.
pub fn codes(rows: &[Row], contexts: usize, examples: usize) -> Vec<String> {
    let mut codes: Vec<Code> = Vec::new();
    for row in rows {
        if !codes.contains(&row.by) {
            codes.push(row.by);
        }
    }
    codes.sort_by_key(|&code| code == Code::Chunked);
    let mut lines: Vec<String> = codes
        .iter()
        .map(|code| format!("{:10}{}", code.name(), code.about()))
        .collect();
    if codes
        .iter()
        .any(|code| matches!(code, Code::Staged | Code::InParts))
    {
        lines.push(format!(
            "rows      {contexts} in a step, where equal contexts share one; {examples} in the chunked pass"
        ));
    }
    lines
}

#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    device: String,
    driver: Option<String>,
    /// Files of the kernels that are not the program's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shaders: Vec<&'static str>,
    vocab_size: usize,
    block_size: usize,
    n_embd: usize,
    n_hidden: usize,
    batch_size: usize,
    pass: bool,
    tensors: Vec<JsonRow<'a>>,
    #[serde(flatten)]
    notes: Option<&'a Notes>,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    name: &'a str,
    /// The lecture's name of the tensor, whose gradient or value this is: what `--explain` takes.
    tensor: &'static str,
    /// Of the values that were compared; `worst_index` is an index into them, row-major.
    shape: &'a [usize],
    by: &'a str,
    exact: bool,
    approximate: bool,
    maxdiff: f64,
    max_ulps: u64,
    zero: bool,
    allowed: f64,
    worst_index: usize,
    worst_value: f64,
    worst_expected: f64,
    /// Elements that are not within what is allowed them.
    beyond: usize,
    pass: bool,
}

/// The rows as one JSON object, with what there is to say of the file that they come from.
///
/// # Errors
///
/// None that is known of: the values are numbers and text.
pub fn json(
    engine: &Engine,
    dims: &Dims,
    rows: &[Row],
    notes: Option<&Notes>,
) -> Result<String, Error> {
    let document = Document {
        version: crate::VERSION,
        device: engine.name(),
        driver: engine.driver(),
        shaders: engine.changed(),
        vocab_size: dims.vocab,
        block_size: dims.block,
        n_embd: dims.embd,
        n_hidden: dims.hidden,
        batch_size: dims.batch,
        pass: rows.iter().all(|r| r.comparison.pass),
        tensors: rows
            .iter()
            .map(|row| {
                let c = &row.comparison;
                JsonRow {
                    name: &row.label,
                    tensor: row.chunk.name(),
                    shape: &row.shape,
                    by: row.by.name(),
                    exact: c.exact,
                    approximate: c.approximate,
                    maxdiff: c.maxdiff,
                    max_ulps: c.max_ulps,
                    zero: row.zero,
                    allowed: c.worst.allowed,
                    worst_index: c.worst.index,
                    worst_value: c.worst.got,
                    worst_expected: c.worst.want,
                    beyond: c.beyond,
                    pass: c.pass,
                }
            })
            .collect(),
        notes,
    };
    Ok(serde_json::to_string_pretty(&document)
        .map_err(|e| OutputError::from(io::Error::from(e)))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::compare::{Tolerance, compare};

    fn comparison(got: &[f64], want: &[f64]) -> Comparison {
        compare(got, want, Tolerance::F32).unwrap()
    }

    fn line<'a>(name: &'a str, comparison: &'a Comparison) -> Line<'a> {
        Line {
            name,
            shape: &[32, 200],
            by: "resident",
            zero: false,
            begins: false,
            comparison,
        }
    }

    #[test]
    fn a_table_has_a_heading_and_fits_80_columns() {
        let good = comparison(&[1.0, 2.0], &[1.0, 2.0]);
        let bad = comparison(&[-1.25e-30, f64::NAN], &[1.0, 2.0]);
        let zero = Line {
            zero: true,
            begins: true,
            ..line("d.logit_maxes", &good)
        };
        let all = [line("d.counts_sum_inv", &good), line("d.C", &bad), zero];
        for verbose in [false, true] {
            let table = lines(&all, verbose);
            let wide = table.iter().find(|line| line.len() > 80);
            assert_eq!(wide, None);
            assert!(table[0].starts_with("tensor            exact  approximate  maxdiff "));
            // The columns stand below their heading.
            let verdict = table[0].find("verdict").unwrap();
            assert_eq!(&table[1][verdict..], "ok");
            let details = "    at [0, 1]: NaN, expected 2.0000000e0; ";
            let shown: Vec<_> = table.iter().filter(|l| l.starts_with("    at")).collect();
            // Of a wrong tensor in any case, of the others if asked for.
            assert_eq!(shown.len(), if verbose { 3 } else { 1 });
            assert!(shown.iter().any(|l| l.starts_with(details)), "{shown:?}");
            // No distance in ULP between two zeros.
            assert_eq!(
                table.iter().filter(|l| l.contains("ULP")).count(),
                shown.len().min(2)
            );
            let (last, rest) = table.split_last().unwrap();
            let last = if verbose { rest.last().unwrap() } else { last };
            assert_eq!(&last[verdict..], "ok: zero");
            assert_eq!(table.iter().filter(|l| l.is_empty()).count(), 1);
        }
    }

    #[test]
    fn what_puzzles_is_explained_only_where_it_occurs() {
        let exact = comparison(&[1.0], &[1.0]);
        let near = comparison(&[1.0 + 1e-6], &[1.0]);
        let cancels = comparison(&[1.0, 1e-6], &[1.0, 0.0]);
        let wrong = comparison(&[1.0], &[2.0]);
        let said = |comparison: &Comparison, zero: bool| {
            let notes = notes(&[Line {
                zero,
                ..line("b1", comparison)
            }]);
            assert!(notes.iter().all(|line| line.len() <= 80), "{notes:?}");
            ["exact: False", "approximate: False", "ok: zero (b1)"]
                .map(|start| notes.iter().any(|line| line.starts_with(start)))
        };
        assert_eq!(said(&exact, false), [false, false, false]);
        assert_eq!(said(&near, false), [true, false, false]);
        assert_eq!(said(&cancels, false), [true, true, false]);
        assert_eq!(said(&cancels, true), [true, false, true]);
        assert_eq!(said(&wrong, true), [false, false, false]);
    }

    #[test]
    fn an_index_is_written_as_the_shape_has_it() {
        assert_eq!(index(&[32, 27], 27 * 3 + 5), "[3, 5]");
        assert_eq!(index(&[2, 3, 4], 23), "[1, 2, 3]");
        assert_eq!(index(&[7], 6), "[6]");
    }
}
