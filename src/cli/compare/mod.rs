//! `gpu-makemore compare`: runs side by side, with what differs in their options, how they ended, and their
//! curves in one picture.

mod run;

use std::path::{Path, PathBuf};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::checkpoint::Best;
use crate::cli::args::CompareArgs;
use crate::cli::error::{Error, Usage};
use crate::cli::report::{CurveOfRun, Output, compare_png};
use crate::model::recipe::{FIELDS, Value};
use run::{Device, INTERVALS, Run, State};

/// The most runs: more would have colours too much alike, and a table too wide.
const MOST: usize = 20;

/// Digits that are shown of a checksum.
const SHORT: usize = 12;

/// Runs the command.
///
/// # Errors
///
/// A path names no run, a file of one is damaged, or the picture cannot be written.
pub fn run(args: &CompareArgs) -> Result<(), Error> {
    let given = args.runs.len();
    if !(2..=MOST).contains(&given) {
        let one = match given {
            1 => "; `eval` gives the losses of one",
            _ => "",
        };
        return Err(Usage(format!(
            "compare: {given} runs were given, and it takes 2 to {MOST}{one}"
        ))
        .into());
    }
    let runs: Vec<Run> = (args.runs.iter())
        .map(|path| Run::load(path))
        .collect::<Result<_, _>>()?;
    let names = names(&runs)?;
    let curves: Vec<CurveOfRun<'_>> = runs
        .iter()
        .zip(&names)
        .map(|(run, name)| CurveOfRun {
            name,
            points: &run.points,
            validation: &run.validation,
        })
        .collect();
    compare_png(&args.out, &curves)?;
    let rows = differences(&runs);
    let mut out = Output::new();
    if args.json {
        let report = Report::new(&runs, &names, &rows, &args.out);
        out.json(&report)?;
        return Ok(());
    }
    for line in table(&runs, &names, &rows).lines() {
        out.line(line.trim_end())?;
    }
    for line in notes(&runs, &names, &rows) {
        out.line(&line)?;
    }
    out.line(&format!("the curves are in {}", args.out.display()))?;
    Ok(())
}

/// The name of each run: that of its folder, or the whole path where several folders share a name.
fn names(runs: &[Run]) -> Result<Vec<String>, Error> {
    // A folder that was read a moment ago; if it is gone by now, the path as given has to do.
    let real = |run: &Run| run.folder.canonicalize().unwrap_or(run.folder.clone());
    let paths: Vec<PathBuf> = runs.iter().map(real).collect();
    for (i, path) in paths.iter().enumerate() {
        if paths[..i].contains(path) {
            let folder = runs[i].folder.display();
            return Err(Usage(format!("compare: {folder} was given twice")).into());
        }
    }
    let short = |path: &PathBuf| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let all: Vec<String> = paths.iter().map(short).collect();
    let name = |(run, name): (&Run, &String)| match all.iter().filter(|n| *n == name).count() {
        1 => name.clone(),
        _ => run.folder.display().to_string(),
    };
    Ok(runs.iter().zip(&all).map(name).collect())
}

/// An option with its value in each run, if the runs differ in it.
struct Row {
    /// The name of the field in files: `n_hidden`.
    field: &'static str,
    /// What the table shows.
    label: String,
    values: Vec<String>,
}

/// What differs in the options of the runs, and in what they run on.
fn differences(runs: &[Run]) -> Vec<Row> {
    let of_recipe = FIELDS.iter().map(|field| Row {
        field: field.name,
        label: field.option(),
        values: (runs.iter())
            .map(|run| match (field.get)(&run.recipe) {
                // A diverged run records only the steps of its last good model.
                _ if field.name == "steps" && run.state == State::Diverged => "unknown".to_owned(),
                Value::Optional(Some(text)) if field.name.ends_with("sha256") => short(&text),
                value => value.to_string(),
            })
            .collect(),
    });
    let of_intervals = INTERVALS.into_iter().enumerate().map(|(i, field)| Row {
        field,
        label: format!("--{}", field.replace('_', "-")),
        values: (runs.iter())
            .map(|run| match run.intervals {
                Some(intervals) => or(intervals[i], "not given"),
                None => "unknown".to_owned(),
            })
            .collect(),
    });
    type Get = fn(&Run) -> String;
    let others: [(&'static str, &str, Get); 5] = [
        ("data_sha256", "words (SHA-256)", |run| {
            run.words.as_deref().map_or("unknown".to_owned(), short)
        }),
        ("backend", "--backend", |run| {
            or(run.device.backend.as_ref(), "unknown")
        }),
        ("schedule", "--schedule", |run| {
            or(run.device.schedule.as_ref(), "none")
        }),
        ("driver", "driver", |run| {
            or(run.device.driver.as_ref(), "unknown")
        }),
        ("version", "version", |run| run.device.version.clone()),
    ];
    let others = others.into_iter().map(|(field, label, get)| Row {
        field,
        label: label.to_owned(),
        values: runs.iter().map(get).collect(),
    });
    // A value that a run does not record does not count as a difference.
    let differs = |row: &Row| {
        let mut known = row.values.iter().filter(|value| *value != "unknown");
        let first = known.next();
        known.any(|value| Some(value) != first)
    };
    of_recipe
        .chain(of_intervals)
        .chain(others)
        .filter(differs)
        .collect()
}

fn or(value: Option<impl ToString>, otherwise: &str) -> String {
    value.map_or_else(|| otherwise.to_owned(), |value| value.to_string())
}

fn short(sha256: &str) -> String {
    sha256.chars().take(SHORT).collect()
}

/// A column for each run, a row for each option in which they differ, and below, how they ended.
fn table(runs: &[Run], names: &[String], rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(std::iter::once("").chain(names.iter().map(String::as_str)));
    let mut add = |label: &str, values: Vec<String>| {
        table.add_row(std::iter::once(label.to_owned()).chain(values));
    };
    for row in rows {
        add(&row.label, row.values.clone());
    }
    let of = |get: &dyn Fn(&Run) -> Option<String>| -> Vec<String> {
        runs.iter().map(|run| or(get(run), "-")).collect()
    };
    let loss = |loss: f64| format!("{loss:.4}");
    add("steps done", of(&|run| Some(run.done.to_string())));
    for (i, label) in ["train", "val", "test"].into_iter().enumerate() {
        add(label, of(&|run| run.losses[i].map(loss)));
    }
    add(
        "lowest val",
        of(&|run| run.best.map(|best| loss(best.val_loss))),
    );
    add(
        "at step",
        of(&|run| run.best.map(|best| best.step.to_string())),
    );
    add(
        "steps/s",
        of(&|run| {
            run.device
                .steps_per_second
                .map(|speed| format!("{speed:.0}"))
        }),
    );
    add("device", of(&|run| run.device.adapter.clone()));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// What the table does not tell.
fn notes(runs: &[Run], names: &[String], rows: &[Row]) -> Vec<String> {
    let mut notes = Vec::new();
    if rows.is_empty() {
        notes.push("the options are the same".to_owned());
    }
    for (run, name) in runs.iter().zip(names) {
        let (done, all) = (run.done, run.recipe.steps);
        notes.extend(match run.state {
            State::Finished => None,
            State::Unfinished => Some(format!("{name}: not finished at step {done} of {all}")),
            State::Diverged => Some(format!(
                "{name}: diverged; its last good model is of step {done}"
            )),
        });
        if run.bucket.is_none() {
            notes.push(format!(
                "{name}: last.safetensors is gone, so its curve has the rows of metrics.jsonl alone"
            ));
        }
    }
    notes
}

/// `--json`
#[derive(Serialize)]
struct Report<'a> {
    runs: Vec<RunReport<'a>>,
    /// The options in which they differ, by the names of the fields.
    differences: Vec<&'static str>,
    picture: String,
}

#[derive(Serialize)]
struct RunReport<'a> {
    name: &'a str,
    folder: String,
    state: State,
    steps_done: u64,
    options: Map<String, Json>,
    data_sha256: Option<&'a str>,
    train_loss: Option<f64>,
    val_loss: Option<f64>,
    test_loss: Option<f64>,
    best: Option<Best>,
    #[serde(flatten)]
    device: &'a Device,
}

impl<'a> Report<'a> {
    fn new(runs: &'a [Run], names: &'a [String], rows: &[Row], picture: &Path) -> Self {
        let of_run = |(run, name): (&'a Run, &'a String)| {
            let mut options = match serde_json::to_value(&run.recipe) {
                Ok(Json::Object(options)) => options,
                _ => Map::new(), // a recipe is an object
            };
            let intervals = run.intervals.unwrap_or_default();
            for (i, field) in INTERVALS.into_iter().enumerate() {
                options.insert(field.to_owned(), intervals[i].into());
            }
            let [train_loss, val_loss, test_loss] = run.losses;
            RunReport {
                name,
                folder: run.folder.display().to_string(),
                state: run.state,
                steps_done: run.done,
                options,
                data_sha256: run.words.as_deref(),
                train_loss,
                val_loss,
                test_loss,
                best: run.best,
                device: &run.device,
            }
        };
        Self {
            runs: runs.iter().zip(names).map(of_run).collect(),
            differences: rows.iter().map(|row| row.field).collect(),
            picture: picture.display().to_string(),
        }
    }
}
