//! The values of a swept option: a list, or a range to draw from.

use std::fmt::Display;

use rand::{Rng, RngExt};

use crate::model::recipe::Value;
use crate::rng::TorchUniform;

/// The values of one option.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// `0.05,0.1,0.2`: each of them. With `:log` they are drawn on a logarithmic axis.
    List {
        /// The values, none of them twice.
        values: Vec<Value>,
        /// Whether the axis is logarithmic.
        log: bool,
    },
    /// `0.01..0.3`, both ends included: drawn evenly, or with `:log` evenly in the logarithm.
    Range {
        /// The smallest value.
        low: Value,
        /// The largest value.
        high: Value,
        /// Whether the logarithm is drawn.
        log: bool,
    },
}

/// Uniform over `low..=high`, both included; `u` is uniform in `[0, 1)`.
fn between(low: &Value, high: &Value, log: bool, u: f64) -> Value {
    let draw = |low: f64, high: f64| match log {
        true => (low.ln() + u * (high.ln() - low.ln())).exp(),
        false => low + u * (high - low),
    };
    match (low, high) {
        // A whole number stands for half a unit on each side of it, which makes all equally likely.
        (&Value::Whole(low), &Value::Whole(high)) => {
            let value = draw(low as f64 - 0.5, high as f64 + 0.5);
            Value::Whole((value.round() as u64).clamp(low, high))
        }
        // Rounded to four digits: a person can type those, and logarithms of different C libraries differ
        // in the sixteenth.
        _ => {
            let (low, high) = (low.to_f64(), high.to_f64());
            let value = draw(low, high);
            let rounded = format!("{value:.3e}").parse().unwrap_or(value);
            Value::Real(rounded.clamp(low, high))
        }
    }
}

impl Values {
    /// Reads a list or a range, each number by `one`.
    ///
    /// # Errors
    ///
    /// What is wrong and what would be right, as a sentence that follows the option's name.
    pub fn parse(text: &str, one: impl Fn(&str) -> Result<Value, String>) -> Result<Self, String> {
        let (body, log) = match text.strip_suffix(":log") {
            Some(body) => (body, true),
            None => (text, false),
        };
        let number = |text: &str| one(text.trim()).map_err(|rule| format!("'{text}' {rule}"));
        let values = if let Some((low, high)) = body.split_once("..") {
            let (low, high) = (number(low)?, number(high)?);
            if low > high {
                return Err(format!(
                    "the range is the wrong way round: write {high}..{low}"
                ));
            }
            if low == high {
                return Err(format!("the range holds nothing but {low}: write {low}"));
            }
            Self::Range { low, high, log }
        } else {
            let body = body.strip_suffix(',').unwrap_or(body);
            if body.trim().is_empty() {
                return Err(
                    "the list is empty: give values like 1,2,3 or a range like 1..3".to_owned(),
                );
            }
            let values: Vec<Value> = body.split(',').map(number).collect::<Result<_, _>>()?;
            for (i, value) in values.iter().enumerate() {
                if values[..i].contains(value) {
                    return Err(format!("{value} is listed twice: take one out"));
                }
            }
            Self::List { values, log }
        };
        if log && values.smallest() <= 0.0 {
            return Err(
                "a logarithmic axis has no 0: begin above it, or leave out :log".to_owned(),
            );
        }
        Ok(values)
    }

    fn smallest(&self) -> f64 {
        match self {
            Self::List { values, .. } => values
                .iter()
                .fold(f64::INFINITY, |m, value| m.min(value.to_f64())),
            Self::Range { low, .. } => low.to_f64(),
        }
    }

    /// Whether the option has a logarithmic axis.
    pub fn log(&self) -> bool {
        match self {
            Self::List { log, .. } | Self::Range { log, .. } => *log,
        }
    }

    /// Whether values are drawn.
    pub fn is_range(&self) -> bool {
        matches!(self, Self::Range { .. })
    }

    /// The values of a list, or one drawn from the range.
    pub fn choices(&self, rng: &mut impl Rng) -> Vec<Value> {
        match self {
            Self::List { values, .. } => values.clone(),
            Self::Range { low, high, log } => {
                vec![between(low, high, *log, rng.sample(TorchUniform))]
            }
        }
    }

    /// As on the command line.
    pub fn text(&self) -> String {
        let (body, log) = match self {
            Self::List { values, log } => {
                let values: Vec<String> = values.iter().map(|v| v.to_string()).collect();
                (values.join(","), *log)
            }
            Self::Range { low, high, log } => (format!("{low}..{high}"), *log),
        };
        body + if log { ":log" } else { "" }
    }
}

/// Reads `--seeds`: how many, or a list.
///
/// # Errors
///
/// As [`Values::parse`].
pub fn seeds(
    text: &str,
    count: impl Fn(&str) -> Result<u64, String>,
    one: impl Fn(&str) -> Result<Value, String>,
) -> Result<Values, String> {
    if text.contains("..") || text.contains(':') {
        return Err("must be how many seeds, like 8, or a list of them, like 1,2,3".to_owned());
    }
    if text.contains(',') {
        return Values::parse(text, one);
    }
    Ok(Values::List {
        values: (1..=count(text)?).map(Value::Whole).collect(),
        log: false,
    })
}

/// One of several parts of a sweep: `--shard I/N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 1, of: 1 };

    /// Whether point number `point`, from 0, is in this part.
    pub fn has(&self, point: usize) -> bool {
        point % self.of == self.index - 1
    }

    /// Reads `I/N`.
    ///
    /// # Errors
    ///
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            Some((_, of)) if of > 0 => Err(format!("must be from 1/{of} to {of}/{of}")),
            _ => Err("must be I/N with I from 1 to N, like 1/4".to_owned()),
        }
    }
}

impl Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::TorchGenerator;

    fn parse(text: &str) -> Result<Values, String> {
        let one = |text: &str| text.parse().map(Value::Real);
        Values::parse(text, |text| one(text).map_err(|_| "no number".into()))
    }

    #[test]
    fn lists_and_ranges_are_read_and_written() {
        for text in [
            "0.05,0.1,0.2",
            "0.1",
            "0.01..0.3",
            "0.01..0.3:log",
            "1,2:log",
        ] {
            assert_eq!(parse(text).unwrap().text(), text);
        }
        assert_eq!(parse("1,").unwrap(), parse("1").unwrap());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, part) in [
            ("", "empty"),
            (",", "empty"),
            ("0.3..0.01", "write 0.01..0.3"),
            ("0.1..0.1", "nothing but 0.1"),
            ("0.1,0.2,0.10", "0.1 is listed twice"),
            ("0..1:log", "has no 0"),
            ("0.1,x", "'x' no number"),
            ("0.1..", "'' no number"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn draws_cover_their_range_evenly() {
        let mut generator = TorchGenerator::manual_seed(1);
        let (range, log) = (parse("1..100").unwrap(), parse("1..100:log").unwrap());
        let mut below_ten = |values: &Values| {
            let drawn: Vec<f64> = (0..1000)
                .flat_map(|_| values.choices(&mut generator))
                .map(|value| value.to_f64())
                .collect();
            assert!(drawn.iter().all(|v| (1.0..=100.0).contains(v)));
            drawn.iter().filter(|&&v| v < 10.0).count()
        };
        assert!((60..130).contains(&below_ten(&range)));
        assert!((450..550).contains(&below_ten(&log)));
        let dice = Values::Range {
            low: Value::Whole(1),
            high: Value::Whole(6),
            log: false,
        };
        let mut counts = [0; 6];
        for _ in 0..6000 {
            counts[dice.choices(&mut generator)[0].to_f64() as usize - 1] += 1;
        }
        assert!(counts.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
    }

    #[test]
    fn shards_part_the_points() {
        for point in 0..20 {
            let holders = (1..=3).filter(|&index| Shard { index, of: 3 }.has(point));
            assert_eq!(holders.count(), 1);
        }
        assert_eq!(Shard::parse("2/3"), Ok(Shard { index: 2, of: 3 }));
        for text in ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", ""] {
            assert!(Shard::parse(text).unwrap_err().starts_with("must be "));
        }
    }
}
