//! `train --resume`: the options of the run that goes on, and what must not have changed.

use std::path::Path;

use clap::ValueEnum;

use crate::backend::Api;
use crate::backend::BackendInfo;
use crate::backend::Schedule;
use crate::checkpoint::{Checkpoint, Config, Training};
use crate::cli::args::{ColumnArgs, DeviceArgs, TrainArgs};
use crate::cli::error::Error;
use crate::cli::report::{RunDir, RunDirError};
use crate::data::Dataset;
use crate::rng::TorchGenerator;
use crate::training::curve::LossCurve;

use crate::training::Snapshot;

/// A run that goes on.
pub(crate) struct Resumed {
    pub(crate) run_dir: RunDir,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) training: Training,
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
        let checkpoint = Checkpoint::load(run_dir.file(RunDir::LAST))?;
        let Some(training) = checkpoint.training.clone() else {
            let path = folder.to_path_buf();
            return Err(RunDirError::NoRun { path }.into());
        };
        let begun = options(&checkpoint.config, &training);
        // With these, `auto` asks for what the run has already.
        let open = |option: &str| match option {
            "--backend" => given.device.backend == Api::Auto,
            "--schedule" => given.schedule == Schedule::Auto,
            _ => false,
        };
        for (option, value) in FIXED {
            let (new, old) = (value(given), value(&begun));
            if given.has(option) && new != old && !open(option) {
                let folder = folder.to_path_buf();
                return Err(Error::Changed {
                    option,
                    new,
                    old,
                    folder,
                });
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
            training,
            args,
        })
    }

    /// The model, and the generator of the steps that are left.
    ///
    /// # Errors
    ///
    /// The data are others than before: those steps would not be the same.
    pub(crate) fn start(&self, dataset: &Dataset) -> Result<Snapshot, Error> {
        if dataset.sha256() != self.training.data_sha256 {
            return Err(Error::OtherData {
                data: dataset.label.clone(),
                folder: self.run_dir.path().to_path_buf(),
            });
        }
        let generator = TorchGenerator::from_words_ahead(&self.training.generator);
        Ok(Snapshot {
            params: self.checkpoint.params.clone(),
            steps: self.checkpoint.config.steps,
            generator: generator.ok_or_else(|| self.no_run())?,
        })
    }

    /// The curve of the losses so far.
    ///
    /// # Errors
    ///
    /// The checkpoint has another number of sums; it is refused before, when it is loaded.
    pub(crate) fn curve(&self) -> Result<LossCurve, Error> {
        let Training { steps, losses, .. } = &self.training;
        let done = self.checkpoint.config.steps;
        let curve = LossCurve::from_sums(done, *steps, losses.clone());
        curve.ok_or_else(|| self.no_run())
    }

    fn no_run(&self) -> Error {
        let path = self.run_dir.path().to_path_buf();
        RunDirError::NoRun { path }.into()
    }

    /// Where the run goes on, and what is not as it was when it began: that may change bits, but
    /// nothing that matters.
    pub(crate) fn lines(&self, info: &BackendInfo) -> Vec<String> {
        let (done, all) = (self.checkpoint.config.steps, self.training.steps);
        let mut lines = vec![format!("resumed     after {done} of {all} steps")];
        let now = crate::VERSION.to_owned();
        for (name, old, new) in [
            ("adapter", &self.training.adapter, &info.adapter),
            ("driver", &self.training.driver, &info.driver),
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

/// An option that decides what the model becomes, and its value.
type Fixed = (&'static str, fn(&TrainArgs) -> String);

/// All of them.
const FIXED: [Fixed; 15] = [
    ("--data", |a| a.data.to_string()),
    ("--column", |a| {
        a.columns.column.clone().unwrap_or("not given".to_owned())
    }),
    ("--clean", |a| a.columns.clean.to_string()),
    ("--backend", |a| {
        let name = a.device.backend.to_possible_value();
        name.map_or(String::new(), |name| name.get_name().to_owned())
    }),
    ("--adapter", |a| {
        a.device.adapter.clone().unwrap_or("not given".to_owned())
    }),
    ("--schedule", |a| a.schedule.to_string()),
    ("--steps", |a| a.steps.to_string()),
    ("--batch-size", |a| a.batch_size.to_string()),
    ("--block-size", |a| a.block_size.to_string()),
    ("--n-embd", |a| a.n_embd.to_string()),
    ("--n-hidden", |a| a.n_hidden.to_string()),
    ("--lr", |a| format!("{:?}", a.lr)),
    ("--lr-final", |a| format!("{:?}", a.lr_final())),
    ("--lr-decay-at", |a| {
        a.lr_decay_at.map_or("half".to_owned(), |at| at.to_string())
    }),
    ("--seed", |a| a.seed.to_string()),
];

/// The options with which a run was begun; API and schedule as they were chosen then.
fn options(config: &Config, training: &Training) -> TrainArgs {
    let chosen = |name: &str| Schedule::from_str(name, false).ok();
    TrainArgs {
        data: config.data.parse().unwrap_or_else(|never| match never {}),
        columns: ColumnArgs {
            column: config.column.clone(),
            clean: config.clean,
        },
        device: DeviceArgs {
            // What this version does not know, it finds no adapter for.
            backend: Api::from_str(&config.backend, false).unwrap_or(Api::Auto),
            adapter: training.adapter_option.clone(),
        },
        schedule: training
            .schedule
            .as_deref()
            .and_then(chosen)
            .unwrap_or(Schedule::Auto),
        steps: training.steps,
        batch_size: config.batch_size as u64,
        block_size: config.block_size as u64,
        n_embd: config.n_embd as u64,
        n_hidden: config.n_hidden as u64,
        lr: config.lr,
        lr_final: Some(config.lr_final),
        lr_decay_at: Some(config.lr_decay_at),
        seed: config.seed,
        log_every: Some(training.log_every),
        checkpoint_every: Some(training.checkpoint_every),
        out: None,
        resume: None,
        profile: false,
        given: Vec::new(),
    }
}
