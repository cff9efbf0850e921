//! `gpu-makemore sweep report`: the results of a sweep, from one folder or from many.

use std::collections::BTreeMap;
use std::iter::once;
use std::path::{Path, PathBuf};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::error::SweepError;
use super::manifest::Manifest;
use super::numbers::{deviation, loss, mean};
use super::plot::{self, Axis, Series};
use super::results::{self, Record, Status};
use super::swept;
use crate::cli::args::ReportArgs;
use crate::cli::error::Error;
use crate::cli::files::write_atomic;
use crate::cli::report::Output;
use crate::model::recipe::{FIELDS, Field, Recipe, Value};

/// Point numbers that a message lists before it only counts.
const LISTED: usize = 20;

/// A sweep, put together from its folders.
struct Merged {
    manifest: Manifest,
    /// The result of each point that has one.
    records: BTreeMap<usize, Record>,
    /// What is odd about them.
    notices: Vec<String>,
}

/// Models that differ in nothing but the seed.
struct Configuration {
    options: Recipe,
    val: Vec<f64>,
    train: Vec<f64>,
    test: Vec<f64>,
    diverged: usize,
    /// The best of them: validation loss and point.
    best: Option<(f64, usize)>,
}

/// Runs the command.
pub fn run(args: &ReportArgs) -> Result<(), Error> {
    let merged = Merged::load(&args.folders)?;
    let records: Vec<&Record> = merged.records.values().collect();
    if let Some(path) = &args.csv {
        csv(path, &records)?;
    }
    let axes = axes(&merged);
    if let Some(path) = &args.png {
        plot::png(path, &axes)?;
    }
    let mut out = Output::new();
    for line in table(&merged).lines() {
        out.line(line.trim_end())?;
    }
    for axis in &axes {
        out.line("")?;
        for line in plot::terminal(axis).lines() {
            out.line(line.trim_end())?;
        }
    }
    out.line("")?;
    let (done, total) = (merged.records.len(), merged.manifest.total);
    let diverged = records
        .iter()
        .filter(|record| record.status == Status::Diverged)
        .count();
    out.line(&format!(
        "{done} of {total} models have ended; {diverged} diverged"
    ))?;
    for notice in &merged.notices {
        out.line(notice)?;
    }
    Ok(())
}

impl Merged {
    fn load(folders: &[PathBuf]) -> Result<Self, Error> {
        let mut loaded: Vec<(&Path, Manifest)> = Vec::new();
        let mut holders: BTreeMap<usize, Vec<&Path>> = BTreeMap::new();
        let mut records = BTreeMap::new();
        let mut notices = Vec::new();
        for folder in folders {
            let path = || folder.to_path_buf();
            let manifest =
                Manifest::load(folder)?.ok_or_else(|| SweepError::NoSweep { path: path() })?;
            if let Some((first, like)) = loaded.first() {
                let difference = like.difference(&manifest, "in the first", "in the second");
                if let Some(difference) = difference {
                    return Err(SweepError::DifferentSweeps {
                        first: first.to_path_buf(),
                        second: path(),
                        difference,
                    }
                    .into());
                }
            }
            let found = results::load(folder, &manifest)?;
            if found.torn {
                notices.push(format!(
                    "{}: the last line of its results is cut off and does not count",
                    folder.display()
                ));
            }
            for record in found.records {
                holders.entry(record.point).or_default().push(folder);
                records.entry(record.point).or_insert(record);
            }
            loaded.push((folder, manifest));
        }
        let Some((_, manifest)) = loaded.pop() else {
            return Err(SweepError::EmptyGrid.into()); // the command line asks for one folder at least
        };
        let missing: Vec<String> = (0..manifest.total)
            .filter(|point| !records.contains_key(point))
            .map(|point| point.to_string())
            .collect();
        if !missing.is_empty() {
            notices.push(listed("missing", &missing));
        }
        let doubled: Vec<String> = holders
            .iter()
            .filter(|(_, folders)| folders.len() > 1)
            .map(|(point, folders)| {
                let folders: Vec<String> =
                    folders.iter().map(|f| f.display().to_string()).collect();
                format!("{point} (in {})", folders.join(" and "))
            })
            .collect();
        if !doubled.is_empty() {
            let line = listed("doubled", &doubled);
            notices.push(format!("{line}; the first of each was taken"));
        }
        Ok(Self {
            manifest,
            records,
            notices,
        })
    }
}

/// `missing: 2 points: 3, 7`
fn listed(what: &str, points: &[String]) -> String {
    let count = points.len();
    let plural = if count == 1 { "point" } else { "points" };
    let mut list = points[..count.min(LISTED)].join(", ");
    if count > LISTED {
        list += &format!(" and {} more", count - LISTED);
    }
    format!("{what}: {count} {plural}: {list}")
}

/// The configurations by mean validation loss, the best first; what has none comes last.
fn configurations(records: &BTreeMap<usize, Record>) -> Vec<Configuration> {
    let mut configurations: Vec<Configuration> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for record in records.values() {
        let options = Recipe {
            seed: 0,
            ..record.options.clone()
        };
        let place = *places.entry(format!("{options:?}")).or_insert_with(|| {
            configurations.push(Configuration {
                options,
                val: Vec::new(),
                train: Vec::new(),
                test: Vec::new(),
                diverged: 0,
                best: None,
            });
            configurations.len() - 1
        });
        let configuration = &mut configurations[place];
        configuration.diverged += usize::from(record.status == Status::Diverged);
        configuration.train.extend(record.train_loss);
        configuration.test.extend(record.test_loss);
        if let Some(val) = record.val_loss {
            configuration.val.push(val);
            if configuration.best.is_none_or(|(best, _)| val < best) {
                configuration.best = Some((val, record.point));
            }
        }
    }
    let rank = |c: &Configuration| mean(&c.val).unwrap_or(f64::INFINITY);
    configurations.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
    configurations
}

fn table(merged: &Merged) -> String {
    let swept = swept(&merged.manifest.points);
    let columns: Vec<_> = swept.iter().filter(|field| field.name != "seed").collect();
    let seeded = columns.len() < swept.len();
    let mut table = Table::new();
    table.load_style(NOTHING);
    let mut header: Vec<&str> = columns.iter().map(|field| field.name).collect();
    // Without several seeds, a row is a model.
    header.extend(match seeded {
        true => &[
            "val",
            "std",
            "train",
            "test",
            "seeds",
            "diverged",
            "best point",
        ][..],
        false => &["val", "train", "test", "diverged", "point"],
    });
    table.set_header(header);
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), loss);
    for configuration in configurations(&merged.records) {
        let Configuration {
            options,
            val,
            train,
            test,
            diverged,
            best,
        } = &configuration;
        let mut row: Vec<String> = columns
            .iter()
            .map(|field| (field.get)(options).to_string())
            .collect();
        row.push(shown(mean(val)));
        if seeded {
            row.push(shown(deviation(val)));
        }
        row.extend([shown(mean(train)), shown(mean(test))]);
        if seeded {
            row.push(val.len().to_string());
        }
        row.push(diverged.to_string());
        row.push(best.map_or("-".to_owned(), |(_, point)| point.to_string()));
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// What is drawn for each swept option. Over the seeds only if nothing else was swept: a seed is no
/// quantity.
fn axes(merged: &Merged) -> Vec<Axis> {
    let mut swept = swept(&merged.manifest.points);
    if swept.len() > 1 {
        swept.retain(|field| field.name != "seed");
    }
    let axis = |field: &&Field| {
        let name = field.name;
        let others: Vec<&Field> = (swept.iter().copied())
            .filter(|other| other.name != name)
            .collect();
        // Models are compared with those that differ from them in this option, or in the seed alone.
        let mut series: BTreeMap<Vec<Value>, Vec<(Value, f64)>> = BTreeMap::new();
        for record in merged.records.values() {
            let Some(loss) = record.val_loss else {
                continue;
            };
            let of_others = others.iter().map(|other| (other.get)(&record.options));
            let models = series.entry(of_others.collect()).or_default();
            models.push(((field.get)(&record.options), loss));
        }
        let text = |values: Vec<Value>| {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            values.join(", ")
        };
        let log = merged.manifest.log.iter().any(|log| log == name);
        let drawn = (merged.manifest.grid)
            .get(&field.option())
            .is_some_and(|text| text.contains(".."));
        let others = others.iter().map(|other| other.name).collect();
        let series = series.into_iter().map(|(values, models)| Series {
            label: text(values),
            models,
        });
        Axis::new(name, log, drawn, others, series.collect())
    };
    swept.iter().map(axis).collect()
}

/// A row for each model, in the order of the points.
fn csv(path: &Path, records: &[&Record]) -> Result<(), Error> {
    write_atomic(path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        let numbers = || {
            let is_number = |value| matches!(value, Value::Whole(_) | Value::Real(_));
            let recipe = Recipe::default();
            FIELDS
                .iter()
                .filter(move |field| is_number((field.get)(&recipe)))
        };
        let results = [
            "train_loss",
            "val_loss",
            "test_loss",
            "seconds",
            "status",
            "diverged",
            "backend",
            "adapter",
            "schedule",
        ];
        let header = once("point").chain(numbers().map(|field| field.name));
        writer.write_record(header.chain(results))?;
        for record in records {
            let number = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
            let status = match record.status {
                Status::Done => "done",
                Status::Diverged => "diverged",
            };
            let options = numbers().map(|field| (field.get)(&record.options).to_string());
            let results = [
                number(record.train_loss),
                number(record.val_loss),
                number(record.test_loss),
                record.seconds.to_string(),
                status.to_owned(),
                record.diverged.clone().unwrap_or_default(),
                record.backend.clone(),
                record.adapter.clone(),
                record.schedule.clone().unwrap_or_default(),
            ];
            let row = once(record.point.to_string()).chain(options);
            writer.write_record(row.chain(results))?;
        }
        writer.flush()
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let points: Vec<String> = (0..25).map(|i| i.to_string()).collect();
        assert_eq!(listed("missing", &points[3..4]), "missing: 1 point: 3");
        let line = listed("missing", &points);
        assert!(line.ends_with("18, 19 and 5 more"), "{line}");
    }
}
