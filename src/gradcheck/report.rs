//! The table that `gradcheck` prints, for people and for machines.

use serde::Serialize;

use super::Row;
use super::against::Notes;
use super::engine::Engine;
use crate::compare::Comparison;
use crate::dims::Dims;
use crate::error::Error;

/// The lecture's `cmp` line for each row, with what it leaves open beside it, and the footer.
pub fn table(dims: &Dims, rows: &[Row]) -> Vec<String> {
    // The lecture pads names to 15, which `d.counts_sum_inv` does not fit.
    let width = rows.iter().map(|row| row.label.len()).max().unwrap_or(0);
    let mut lines: Vec<String> = rows.iter().map(|row| line(dims, row, width)).collect();
    lines.extend(footer(rows));
    lines
}

fn line(dims: &Dims, row: &Row, width: usize) -> String {
    let shape = row.chunk.shape(dims);
    let name = format!("{:width$}", row.label);
    cmp(&name, &shape, row.by, &row.comparison)
}

/// `s:15s | exact: … | approximate: … | maxdiff: …`, the lecture's line, and beside it the distance
/// in units of the last place, the tolerance and where it is strained most.
pub fn cmp(name: &str, shape: &[usize], by: &str, c: &Comparison) -> String {
    let python = |b: bool| if b { "True" } else { "False" };
    format!(
        "{name:15} | exact: {:5} | approximate: {:5} | maxdiff: {:<9} | ulp: {:<6} | allowed: {:8.2e} at {:12} | {by:7} | {}",
        python(c.exact),
        python(c.approximate),
        short(c.maxdiff),
        ulps(c.max_ulps),
        c.worst.allowed,
        index(shape, c.worst.index),
        if c.pass { "ok" } else { "WRONG" }
    )
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

/// `[3, 17]`: an index into row-major values as the lecture would write it.
pub fn index(shape: &[usize], mut flat: usize) -> String {
    let mut parts = vec![0; shape.len()];
    for (part, &size) in parts.iter_mut().zip(shape).rev() {
        *part = flat % size;
        flat /= size;
    }
    format!("{parts:?}")
}

/// The verdict in a sentence, and why `exact: False` is fine.
fn footer(rows: &[Row]) -> Vec<String> {
    let wrong = rows.iter().filter(|r| !r.comparison.pass).count();
    let mut lines = vec![String::new()];
    if wrong == 0 && rows.iter().any(|r| !r.comparison.exact) {
        lines.push(
            "`exact: False` is fine: in f32 each operation rounds at the 8th digit, so the same sum \
             in another order, or beside an f64 reference, ends a few ULP away; all are within \
             their tolerance."
                .to_owned(),
        );
    }
    lines.push(format!(
        "{} of {} tensors agree",
        rows.len() - wrong,
        rows.len()
    ));
    lines
}

#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    device: String,
    driver: Option<String>,
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
    by: &'a str,
    exact: bool,
    approximate: bool,
    maxdiff: f64,
    max_ulps: u64,
    allowed: f64,
    worst_index: usize,
    worst_value: f64,
    worst_expected: f64,
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
                    by: row.by,
                    exact: c.exact,
                    approximate: c.approximate,
                    maxdiff: c.maxdiff,
                    max_ulps: c.max_ulps,
                    allowed: c.worst.allowed,
                    worst_index: c.worst.index,
                    worst_value: c.worst.got,
                    worst_expected: c.worst.want,
                    pass: c.pass,
                }
            })
            .collect(),
        notes,
    };
    serde_json::to_string_pretty(&document).map_err(|e| Error::Output(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_written_as_the_shape_has_it() {
        assert_eq!(index(&[32, 27], 27 * 3 + 5), "[3, 5]");
        assert_eq!(index(&[2, 3, 4], 23), "[1, 2, 3]");
        assert_eq!(index(&[7], 6), "[6]");
    }
}
