//! `train --resume`: the options of the run that is continued, and what must not have changed.

use std::path::Path;

use clap::ValueEnum;

use crate::backend::Api;
use crate::backend::BackendInfo;
use crate::backend::Schedule;
use crate::checkpoint::packed;
use crate::checkpoint::{Checkpoint, Config, Training as Record};
use crate::cli::args::{DeviceArgs, TrainArgs, pick};
use crate::cli::data::{self, Source};
use crate::cli::error::Error;
use crate::cli::model_file;
use crate::cli::report::{RunDir, RunDirError, Summary};
use crate::cli::trained::{self, vocabulary};
use crate::data::{Dataset, Reading};
use crate::engine::tune::Tune;
use crate::gpu::adapter::{Found, Pick};
use crate::gpu::kernels::Kernels;

use super::error::TrainError;
use crate::model::recipe::{FIELDS, Recipe};
use crate::training::State;

/// The fields that say where the words come from. The words themselves decide, wherever they are now.
const OF_WORDS: [&str; 9] = [
    "data",
    "column",
    "clean",
    "delimiter",
    "no_header",
    "as_text",
    "encoding",
    "skip_bad_lines",
    "lowercase",
];

/// A run that is continued.
pub(crate) struct Resumed {
    pub(crate) run_dir: RunDir,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) record: Record,
    /// Its options.
    pub(crate) args: TrainArgs,
    /// Where its words may be found: the places to look at, in their order.
    places: Vec<data::Options>,
}

impl Resumed {
    /// Opens the run that `path` names, by its folder or its last checkpoint, and takes its options from
    /// its last checkpoint. Of those that are given only such are taken as leave the model the same, but
    /// for rounding.
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
        let mut begun = options(&checkpoint.config, &training);
        let done = checkpoint.config.recipe.steps;
        if given.has("--steps") {
            begun.steps = given.steps;
        }
        let steps = begun.steps;
        if steps < done {
            let folder = folder.to_path_buf();
            return Err(TrainError::Behind {
                steps,
                done,
                folder,
            }
            .into());
        }
        // A summary of fewer steps is that of the run before it was to go further.
        if steps == done && Summary::steps(&run_dir.file(RunDir::SUMMARY)) == Some(done) {
            let path = folder.to_path_buf();
            return Err(RunDirError::Finished { path, steps }.into());
        }
        let (new, old) = (given.recipe(), begun.recipe());
        for field in FIELDS {
            let (option, new, old) = (field.option(), (field.get)(&new), (field.get)(&old));
            if given.has(&option) && new != old && !OF_WORDS.contains(&field.name) {
                return Err(TrainError::Changed {
                    option,
                    new: new.to_string(),
                    old: old.to_string(),
                    folder: folder.to_path_buf(),
                }
                .into());
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
            eval_every: given.eval_every.or(begun.eval_every),
            tensorboard: given.tensorboard || begun.tensorboard,
            ratios_every: given.ratios_every.or(begun.ratios_every),
            profile: given.profile,
            shaders: given.shaders.clone(),
            resume: given.resume.clone(),
            ..runs_on(given, begun)
        };
        Ok(Self {
            places: places(given, &args, folder, training.data_path.as_deref()),
            run_dir,
            checkpoint,
            record: training,
            args,
        })
    }

    /// Its words, and where they were found.
    ///
    /// # Errors
    ///
    /// They are not there, or are others than before: the steps that are left would not be the same.
    pub(crate) fn dataset(&self) -> Result<(Dataset, Source), Error> {
        let folder = || self.run_dir.path().to_path_buf();
        let mut first: Option<TrainError> = None;
        // The vocabulary of a model that it started from may have characters that the words lack.
        let vocabulary = match self.args.init_from {
            Some(_) => Some(vocabulary(&self.checkpoint.config)?),
            None => None,
        };
        for options in &self.places {
            let loaded = match &vocabulary {
                Some(vocabulary) => data::load_with_vocabulary(options, vocabulary),
                None => data::load(options),
            };
            let error = match loaded {
                Ok(dataset) => {
                    let now = dataset.sha256();
                    if now == self.record.data_sha256 {
                        return Ok((dataset, options.source.clone()));
                    }
                    TrainError::OtherData {
                        data: dataset.label,
                        folder: folder(),
                        now,
                        then: self.record.data_sha256.clone(),
                    }
                }
                Err(error) => TrainError::NoData {
                    error,
                    folder: folder(),
                },
            };
            // A file with other words says more than one that is not there.
            match first {
                None | Some(TrainError::NoData { .. }) => first = Some(error),
                Some(_) => {}
            }
        }
        Err(first.map_or_else(|| self.no_run(), Error::from))
    }

    /// Where the run stands.
    ///
    /// # Errors
    ///
    /// The checkpoint has not all that it takes to continue.
    pub(crate) fn state(&self) -> Result<State, Error> {
        let state = packed::state(&self.checkpoint, self.args.log_every(), self.args.steps);
        state.ok_or_else(|| self.no_run())
    }

    /// How the run lays its steps out where it continues on the same device. A layout that cannot be taken is
    /// told by [`Resumed::lines`].
    pub(crate) fn tune(&self, found: &Found, schedule: Schedule) -> Option<Tune> {
        packed::tune(&self.checkpoint, found, schedule).unwrap_or(None)
    }

    /// Refuses other kernels than the run was begun with: the steps that are left would not be the same.
    ///
    /// # Errors
    ///
    /// They are others.
    pub(crate) fn has_kernels(&self, kernels: &Kernels) -> Result<(), TrainError> {
        let (now, then) = (kernels.record(), self.record.shaders.clone());
        match now == then {
            true => Ok(()),
            false => Err(TrainError::OtherKernels {
                now,
                then,
                folder: self.run_dir.path().to_path_buf(),
            }),
        }
    }

    fn no_run(&self) -> Error {
        let path = self.run_dir.path().to_path_buf();
        RunDirError::NoRun { path }.into()
    }

    /// Where the run continues, and what it runs on that is not as it was: that may change bits, but
    /// nothing that matters.
    pub(crate) fn lines(&self, info: &BackendInfo) -> Vec<String> {
        let (done, all) = (self.checkpoint.config.recipe.steps, self.args.steps);
        let mut lines = vec![format!("resumed     after {done} of {all} steps")];
        let (then, record) = (&self.checkpoint.config, &self.record);
        let schedule = |name: Option<&str>| name.unwrap_or("none").to_owned();
        let tuning = schedule;
        let changed: Vec<String> = [
            ("backend", then.backend.clone(), info.backend.to_owned()),
            ("adapter", record.adapter.clone(), info.adapter.clone()),
            ("driver", record.driver.clone(), info.driver.clone()),
            (
                "schedule",
                schedule(record.schedule.as_deref()),
                schedule(info.schedule),
            ),
            (
                "tuning",
                // Runs that were begun before there were names have none to compare.
                tuning(record.tuning.as_deref().or(info.tuning.as_deref())),
                tuning(info.tuning.as_deref()),
            ),
            ("version", then.version.clone(), crate::VERSION.to_owned()),
        ]
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| format!("the {name} was {old} and is {new}"))
        .collect();
        if !changed.is_empty() {
            lines.push(format!(
                "note        {} now: the model's bits may differ from those of a run that had the \
                 same throughout",
                changed.join(", ")
            ));
        }
        lines
    }
}

/// The options of the run with what is given of `--backend`, `--adapter` and `--schedule`. `auto` stands
/// for what the run had.
fn runs_on(given: &TrainArgs, begun: TrainArgs) -> TrainArgs {
    let adapter = given.device.adapter.as_deref();
    let numbered = adapter.is_some_and(|text| matches!(pick(text), Ok(Pick::Number(_))));
    let backend = match given.device.backend {
        None | Some(Api::Auto) => match begun.device.backend {
            // A number says which API; and for a run of the CPU, a GPU of this name, if there is one.
            begun if numbered || adapter.is_some() && begun == Some(Api::Cpu) => None,
            begun => begun,
        },
        given => given,
    };
    // Another API has other adapters, and perhaps another schedule that is the faster one.
    let same = backend == begun.device.backend;
    TrainArgs {
        device: DeviceArgs {
            backend,
            adapter: (given.device.adapter.clone()).or(begun.device.adapter.filter(|_| same)),
        },
        schedule: match given.schedule {
            Schedule::Auto if same => begun.schedule,
            schedule => schedule,
        },
        tuning: given.tuning.clone(),
        ..begun
    }
}

/// Where the words may be: where they are said to be, or else at the path they were read from, as seen
/// from the current folder, and then as seen from the run's own.
fn places(
    given: &TrainArgs,
    begun: &TrainArgs,
    folder: &Path,
    data_path: Option<&str>,
) -> Vec<data::Options> {
    let mut options = begun.data_options();
    let mut recipe = begun.recipe();
    Reading::from(given.reading.clone()).record(&mut recipe);
    options.reading = Reading::from(&recipe);
    if given.has("--data") {
        options.source = given.data.clone();
        return vec![options];
    }
    trained::places(options, data_path.map(|path| (folder, path)))
}

/// The options with which a run was begun; API and schedule as they were chosen then.
fn options(config: &Config, training: &Record) -> TrainArgs {
    let chosen = |name: &str| Schedule::from_str(name, false).ok();
    let schedule = training.schedule.as_deref().and_then(chosen);
    TrainArgs {
        device: DeviceArgs {
            // What this version does not know, it finds no adapter for.
            backend: Some(Api::from_str(&config.backend, false).unwrap_or(Api::Auto)),
            adapter: training.adapter_option.clone(),
        },
        schedule: schedule.unwrap_or(Schedule::Auto),
        log_every: Some(training.log_every),
        checkpoint_every: Some(training.checkpoint_every),
        eval_every: training.eval_every,
        tensorboard: training.tensorboard,
        ratios_every: training.ratios_every,
        ..TrainArgs::of_recipe(&Recipe {
            steps: training.steps,
            ..config.recipe.clone()
        })
    }
}
