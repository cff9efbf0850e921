//! A run as its folder tells of it, finished or not.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checkpoint::{Best, Checkpoint, Training as Record};
use crate::cli::error::{Error, Failure};
use crate::cli::files::{FileError, exists};
use crate::cli::model_file;
use crate::cli::report::RunDir;
use crate::cli::report::Summary;
use crate::cli::report::metrics::{self, DamagedLine, Line};
use crate::model::recipe::Recipe;
use crate::training::curve::LossCurve;
use crate::training::log::Validation;

/// Why a path names no run that can be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// There is nothing of that name.
    #[error("there is no run {}: no such folder or file", .path.display())]
    Missing {
        /// The path asked for.
        path: PathBuf,
    },
    /// The folder or the file is something else.
    #[error(
        "{} is no run: it has neither {} nor {}; give the folder of a run, or a checkpoint in it",
        .path.display(), RunDir::SUMMARY, RunDir::LAST
    )]
    NoRun {
        /// The path asked for.
        path: PathBuf,
    },
    /// The folder has a sweep, whose models have no curves.
    #[error("{} is a sweep; compare its models with: gpu-makemore sweep report {}", .path.display(), .path.display())]
    Sweep {
        /// The path asked for.
        path: PathBuf,
    },
    /// The metrics are shorter than when the last checkpoint was saved.
    #[error(
        "{} is damaged: it has {bytes} bytes, and had {then} at the last checkpoint",
        .path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// Its length at the last checkpoint.
        then: u64,
    },
}

impl Failure for CompareError {}

/// The options that say after how many steps something is done again.
pub(super) const INTERVALS: [&str; 4] = [
    "log_every",
    "checkpoint_every",
    "eval_every",
    "ratios_every",
];

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It has its summary.
    Finished,
    /// It was interrupted, or is being trained.
    Unfinished,
    /// Its losses were no longer finite, or far above the untrained model's.
    Diverged,
}

/// What a run runs on, and how fast.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Device {
    pub backend: Option<String>,
    pub adapter: Option<String>,
    pub driver: Option<String>,
    pub schedule: Option<String>,
    pub version: String,
    pub steps_per_second: Option<f64>,
}

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    /// The folder.
    pub folder: PathBuf,
    pub state: State,
    /// Steps done: those of the last checkpoint if it is not finished.
    pub done: u64,
    /// Its recipe, with the steps of the whole run.
    pub recipe: Recipe,
    /// Its [`INTERVALS`]; unknown without a last checkpoint.
    pub intervals: Option<[Option<u64>; INTERVALS.len()]>,
    /// A checksum of the words.
    pub words: Option<String>,
    /// Mean losses over the training, validation and test sets in the end.
    pub losses: [Option<f64>; 3],
    pub best: Option<Best>,
    pub device: Device,
    /// Steps that a point of the curve stands for, if it is not made of the rows of metrics.
    pub bucket: Option<u64>,
    /// The curve of the training loss: the step in the middle, and log10 of the loss.
    pub points: Vec<(usize, f64)>,
    pub validation: Vec<Validation>,
}

impl Run {
    /// Reads the run that `path` names by its folder or by a checkpoint in it.
    ///
    /// # Errors
    ///
    /// There is no run, or one of its files is damaged.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let folder = folder_of(path)?;
        let file = |name: &str| folder.join(name);
        let last = optional(&file(RunDir::LAST), load_checkpoint)?;
        let summary = optional(&file(RunDir::SUMMARY), |path| Ok(Summary::load(path)?))?;
        let lines = optional(&file(RunDir::METRICS), load_lines)?.unwrap_or_default();
        let mut run = match (last, summary) {
            (Some(last), summary) => Self::of_checkpoint(folder, last, summary)?,
            (None, Some(summary)) => Self::of_summary(folder, summary, &lines),
            (None, None) => match optional(&file(RunDir::LAST_GOOD), load_checkpoint)? {
                Some(good) => Self::diverged(folder, good, &lines),
                None if exists(&file(SWEEP))? => {
                    return Err(CompareError::Sweep { path: path.into() }.into());
                }
                None => return Err(CompareError::NoRun { path: path.into() }.into()),
            },
        };
        let validation = |line: &Line| match line {
            Line::Validation(row) => Some(*row),
            Line::Step(_) | Line::Ratios(_) => None,
        };
        run.validation = lines.iter().filter_map(validation).collect();
        Ok(run)
    }

    fn of_checkpoint(
        folder: PathBuf,
        last: Checkpoint,
        summary: Option<Summary>,
    ) -> Result<Self, Error> {
        let done = last.config.recipe.steps;
        let Some(record) = last.training else {
            return Err(CompareError::NoRun { path: folder }.into());
        };
        let path = folder.join(RunDir::METRICS);
        let bytes = fs::metadata(&path).map_err(FileError::at("read", &path))?;
        let (bytes, then) = (bytes.len(), record.metrics.bytes);
        if bytes < then {
            return Err(CompareError::Short { path, bytes, then }.into());
        }
        // Once a run is extended, the summary is still that of its earlier end.
        let summary = summary.filter(|summary| summary.recipe.steps == record.steps);
        let curve =
            LossCurve::from_sums(done, record.steps, record.bucket(), record.losses.clone());
        let intervals = [
            Some(record.log_every),
            Some(record.checkpoint_every),
            record.eval_every.map(Into::into),
            record.ratios_every.map(Into::into),
        ];
        Ok(Self {
            folder,
            state: match summary {
                Some(_) => State::Finished,
                None => State::Unfinished,
            },
            done,
            recipe: Recipe {
                steps: record.steps,
                ..last.config.recipe
            },
            intervals: Some(intervals),
            words: last.config.data_sha256,
            losses: summary.as_ref().map_or([None; 3], losses),
            best: record.best,
            device: match &summary {
                Some(summary) => device(summary),
                None => Device {
                    backend: Some(last.config.backend),
                    steps_per_second: speed(&record, done),
                    adapter: Some(record.adapter),
                    driver: Some(record.driver),
                    schedule: record.schedule,
                    version: last.config.version,
                },
            },
            bucket: curve.as_ref().map(LossCurve::bucket),
            points: curve.map(|curve| curve.points()).unwrap_or_default(),
            validation: Vec::new(),
        })
    }

    /// A finished run whose last checkpoint somebody has removed.
    fn of_summary(folder: PathBuf, summary: Summary, lines: &[Line]) -> Self {
        Self {
            folder,
            state: State::Finished,
            done: summary.recipe.steps,
            intervals: None,
            words: None,
            losses: losses(&summary),
            best: None,
            device: device(&summary),
            recipe: summary.recipe,
            bucket: None,
            points: of_rows(lines),
            validation: Vec::new(),
        }
    }

    /// A diverged run, of which the last good model is left.
    fn diverged(folder: PathBuf, good: Checkpoint, lines: &[Line]) -> Self {
        Self {
            folder,
            state: State::Diverged,
            done: good.config.recipe.steps,
            intervals: None,
            words: good.config.data_sha256,
            losses: [None; 3],
            best: None,
            device: Device {
                backend: Some(good.config.backend),
                version: good.config.version,
                ..Device::default()
            },
            recipe: good.config.recipe,
            bucket: None,
            points: of_rows(lines),
            validation: Vec::new(),
        }
    }
}

/// What makes a folder that of a sweep.
const SWEEP: &str = "sweep.json";

/// The folder of the run that a path names.
fn folder_of(path: &Path) -> Result<PathBuf, Error> {
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    if !exists(path)? {
        return Err(CompareError::Missing { path: path.into() }.into());
    }
    let checkpoints = [RunDir::LAST, RunDir::BEST, RunDir::MODEL, RunDir::LAST_GOOD];
    match path.parent() {
        Some(folder) if checkpoints.iter().any(|name| path.ends_with(name)) => {
            Ok(match folder.as_os_str().is_empty() {
                true => PathBuf::from("."),
                false => folder.to_path_buf(),
            })
        }
        _ => Err(CompareError::NoRun { path: path.into() }.into()),
    }
}

/// What `load` makes of a file, if it is there.
fn optional<T>(
    path: &Path,
    load: impl FnOnce(&Path) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    match exists(path)? {
        true => load(path).map(Some),
        false => Ok(None),
    }
}

fn load_checkpoint(path: &Path) -> Result<Checkpoint, Error> {
    Ok(model_file::load(path)?)
}

/// The lines of the metrics. One at the end without its line feed is being written, or was when the run was
/// killed: `--resume` takes it away.
fn load_lines(path: &Path) -> Result<Vec<Line>, Error> {
    let lines = metrics::lines(path)?.into_iter();
    let whole = lines.filter(|line| !matches!(line, Err(DamagedLine { torn: true, .. })));
    Ok(whole.collect::<Result<_, _>>()?)
}

/// The curve as the rows of metrics have it: means over `--log-every` steps.
fn of_rows(lines: &[Line]) -> Vec<(usize, f64)> {
    let point = |line: &Line| match line {
        Line::Step(row) => Some((row.step as usize, row.loss_mean.log10())),
        Line::Validation(_) | Line::Ratios(_) => None,
    };
    lines.iter().filter_map(point).collect()
}

fn losses(summary: &Summary) -> [Option<f64>; 3] {
    [summary.train_loss, summary.val_loss, summary.test_loss]
}

fn device(summary: &Summary) -> Device {
    Device {
        backend: Some(summary.backend.clone()),
        adapter: Some(summary.adapter.clone()),
        driver: Some(summary.driver.clone()),
        schedule: summary.schedule.clone(),
        version: summary.version.clone(),
        steps_per_second: Some(summary.steps_per_second),
    }
}

fn speed(record: &Record, done: u64) -> Option<f64> {
    (done > 0 && record.seconds > 0.0).then(|| done as f64 / record.seconds)
}
