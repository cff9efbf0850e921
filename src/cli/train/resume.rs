//! `train --resume`: the options of the run that is continued, and what must not have changed.

use std::path::Path;

use clap::ValueEnum;

use crate::backend::Api;
use crate::backend::BackendInfo;
use crate::backend::Schedule;
use crate::checkpoint::{Checkpoint, Config, Training as Record};
use crate::cli::args::{DeviceArgs, TrainArgs};
use crate::cli::error::Error;
use crate::cli::model_file;
use crate::cli::report::{RunDir, RunDirError};
use crate::data::Dataset;
use crate::rng::TorchGenerator;

use super::error::TrainError;
use crate::model::recipe::{FIELDS, Recipe};
use crate::training::curve::LossCurve;
use crate::training::log::LossLog;
use crate::training::{Snapshot, State};

/// A run that is continued.
pub(crate) struct Resumed {
    pub(crate) run_dir: RunDir,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) record: Record,
    /// Its options.
    pub(crate) args: TrainArgs,
}

impl Resumed {
    /// Opens the run that `path` names, by its folder or its last checkpoint, and takes its options from its last checkpoint. Of those that are
    /// given only such are taken as make no difference to the model.
    ///
    /// # Errors
    ///
    /// There is no such run, it is damaged, or another option was given.
    pub(crate) fn open(path: &Path, given: &TrainArgs) -> Result<Self, Error> {
        let folder = RunDir::of_run(path)?;
        let run_dir = RunDir::go_on(folder)?;
        let checkpoint = model_file::load(run_dir.file(RunDir::LAST))?;
        let Some(training) = checkpoint.training.clone() else {
            let path = folder.to_path_buf();
            return Err(RunDirError::NoRun { path }.into());
        };
        let begun = options(&checkpoint.config, &training);
        let changed = |option: &str, new: String, old: String| TrainError::Changed {
            option: option.to_owned(),
            new,
            old,
            folder: folder.to_path_buf(),
        };
        let (new, old) = (given.recipe(), begun.recipe());
        for field in FIELDS {
            let (option, new, old) = (field.option(), (field.get)(&new), (field.get)(&old));
            if given.has(&option) && new != old {
                return Err(changed(&option, new.to_string(), old.to_string()).into());
            }
        }
        for (option, value, auto) in RUNS_ON {
            let (new, old) = (value(given), value(&begun));
            // With `auto`, the run is asked for what it has already.
            if given.has(option) && new != old && auto != Some(new.as_str()) {
                return Err(changed(option, new, old).into());
            }
        }
        let args = TrainArgs {
            log_every: match given.has("--log-every") {
                true => given.log_every,
                false => Some(training.log_every),
            },
            checkpoint_every: match given.has("--checkpoint-every") {
                true => given.checkpoint_every,
                false => Some(training.checkpoint_every),
            },
            profile: given.profile,
            resume: given.resume.clone(),
            ..begun
        };
        Ok(Self {
            run_dir,
            checkpoint,
            record: training,
            args,
        })
    }

    /// Where the run stands.
    ///
    /// # Errors
    ///
    /// The data are others than before: the steps that are left would not be the same.
    pub(crate) fn state(&self, dataset: &Dataset) -> Result<State, Error> {
        if dataset.sha256() != self.record.data_sha256 {
            return Err(TrainError::OtherData {
                data: dataset.label.clone(),
                folder: self.run_dir.path().to_path_buf(),
            }
            .into());
        }
        let (record, done) = (&self.record, self.checkpoint.config.recipe.steps);
        let generator = TorchGenerator::from_words_ahead(&record.generator);
        // A checkpoint with another number of sums is refused when it is loaded.
        let curve = LossCurve::from_sums(done, record.steps, record.losses.clone());
        let since = (record.metrics.sum, record.metrics.count);
        Ok(State {
            now: Snapshot {
                params: self.checkpoint.params.clone(),
                steps: done,
                generator: generator.ok_or_else(|| self.no_run())?,
            },
            log: LossLog::from_step(self.args.log_every(), done, since),
            curve: curve.ok_or_else(|| self.no_run())?,
        })
    }

    fn no_run(&self) -> Error {
        let path = self.run_dir.path().to_path_buf();
        RunDirError::NoRun { path }.into()
    }

    /// Where the run continues, and what is not as it was when it began: that may change bits, but
    /// nothing that matters.
    pub(crate) fn lines(&self, info: &BackendInfo) -> Vec<String> {
        let (done, all) = (self.checkpoint.config.recipe.steps, self.record.steps);
        let mut lines = vec![format!("resumed     after {done} of {all} steps")];
        let now = crate::VERSION.to_owned();
        for (name, old, new) in [
            ("adapter", &self.record.adapter, &info.adapter),
            ("driver", &self.record.driver, &info.driver),
            ("version", &self.checkpoint.config.version, &now),
        ] {
            if old != new {
                lines.push(format!(
                    "note        the {name} was {old} when the run began and is {new} now: the \
                     model may differ in its last digits from that of an uninterrupted run"
                ));
            }
        }
        lines
    }
}

/// An option that says what a run is on, its value, and the value that leaves it open.
type RunsOn = (&'static str, fn(&TrainArgs) -> String, Option<&'static str>);

/// The options beside the recipe that may change the last bits of a model.
const RUNS_ON: [RunsOn; 3] = [
    (
        "--backend",
        |a| {
            let name = a.device.backend.to_possible_value();
            name.map_or(String::new(), |name| name.get_name().to_owned())
        },
        Some("auto"),
    ),
    (
        "--adapter",
        |a| a.device.adapter.clone().unwrap_or("not given".to_owned()),
        None,
    ),
    ("--schedule", |a| a.schedule.to_string(), Some("auto")),
];

/// The options with which a run was begun; API and schedule as they were chosen then.
fn options(config: &Config, training: &Record) -> TrainArgs {
    let chosen = |name: &str| Schedule::from_str(name, false).ok();
    let schedule = training.schedule.as_deref().and_then(chosen);
    TrainArgs {
        device: DeviceArgs {
            // What this version does not know, it finds no adapter for.
            backend: Api::from_str(&config.backend, false).unwrap_or(Api::Auto),
            adapter: training.adapter_option.clone(),
        },
        schedule: schedule.unwrap_or(Schedule::Auto),
        log_every: Some(training.log_every),
        checkpoint_every: Some(training.checkpoint_every),
        ..TrainArgs::of_recipe(&Recipe {
            steps: training.steps,
            ..config.recipe.clone()
        })
    }
}
