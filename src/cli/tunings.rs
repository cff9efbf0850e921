//! What searches for a layout have found on this machine, kept in the user's cache folder: a file for each
//! adapter, driver, size and version of the program that have met.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use sha2::{Digest as _, Sha256};

use crate::backend::Schedule;
use crate::cli::args::{TuneMode, TuningArgs};
use crate::cli::error::Usage;
use crate::cli::files::{FileError, read_text, write_atomic};
use crate::engine::remembered::{Meeting, Remembered};
use crate::engine::tune::{Tune, Tuned};
use crate::gpu::adapter::Found;
use crate::gpu::kernels::Kernels;
use crate::gpu::tuning::Tuning;
use crate::model::dims::Dims;

/// A file is smaller than this.
const MOST: u64 = 1 << 16;

/// The name of the file of what was found about a meeting.
fn file(meeting: &Meeting) -> String {
    let mut name = String::new();
    for byte in &Sha256::digest(meeting.key())[..12] {
        // Writing into a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name + ".json"
}

/// The folder of what is remembered.
pub struct Tunings {
    folder: Option<PathBuf>,
}

impl Tunings {
    /// That of the user; none, if the system does not tell where their cache is.
    pub fn of_user() -> Self {
        let folder = etcetera::choose_base_strategy().ok();
        Self {
            folder: folder.map(|base| base.cache_dir().join("gpu-makemore").join("tunings")),
        }
    }

    /// That of the user, unless they want nothing of it: `GPU_MAKEMORE_TUNE=off` stands for `--tune off` where
    /// a command does not have that option.
    pub fn wanted() -> Self {
        match env::var_os("GPU_MAKEMORE_TUNE").is_some_and(|mode| mode == "off") {
            true => Self { folder: None },
            false => Self::of_user(),
        }
    }

    /// Where it is.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// What a search about this has found, if there was one; or why its file is ignored.
    pub fn load(
        &self,
        meeting: &Meeting,
        found: &Found,
    ) -> Result<Option<(Tuning, Remembered)>, String> {
        let loaded = self.file(meeting)?;
        if let Some((tuning, _)) = &loaded {
            // A driver may have lost a feature and kept its version.
            (tuning.check(found))
                .map_err(|error| format!("what is remembered is ignored: {error}"))?;
        }
        Ok(loaded)
    }

    /// What the file about this says.
    fn file(&self, meeting: &Meeting) -> Result<Option<(Tuning, Remembered)>, String> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let path = folder.join(file(meeting));
        if !path.exists() {
            return Ok(None);
        }
        read(&path, |text| Remembered::read_about(meeting, text)).map(Some)
    }

    /// Remembers what a search found. Where there is no cache folder, nothing is.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, found: &Remembered) -> Result<(), FileError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
        write_atomic(&folder.join(file(&found.meeting)), |w| {
            serde_json::to_writer_pretty(&mut *w, found)?;
            w.write_all(b"\n")
        })
    }

    /// All that is remembered, in the order of adapters and sizes, and why files are ignored.
    pub fn all(&self) -> (Vec<Remembered>, Vec<String>) {
        let (mut all, mut ignored) = (Vec::new(), Vec::new());
        let files = self
            .folder
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok());
        for path in files.flatten().flatten().map(|entry| entry.path()) {
            match read(&path, Remembered::read) {
                Ok((_, found)) => all.push(found),
                Err(reason) => ignored.push(reason),
            }
        }
        all.sort_by_key(|found| {
            let Meeting {
                adapter, backend, ..
            } = &found.meeting;
            let dims = found.meeting.dims();
            let sizes = [dims.vocab, dims.block, dims.embd, dims.hidden, dims.batch];
            (adapter.clone(), backend.clone(), sizes)
        });
        ignored.sort();
        (all, ignored)
    }
}

/// The layout that a file names, and the whole of it, by `of_text`; or why it is ignored.
fn read(
    path: &Path,
    of_text: impl FnOnce(&str) -> Result<(Tuning, Remembered), String>,
) -> Result<(Tuning, Remembered), String> {
    let text = read_text(path, MOST).map_err(|error| error.to_string());
    let read = text.and_then(|text| of_text(&text));
    read.map_err(|reason| format!("{} is ignored: {reason}", path.display()))
}

/// What asks for a search with more time.
pub const AGAIN: &str = "--tune again --tune-budget 30";

/// Refuses a `--tuning` that contradicts `--schedule`, or that the adapter cannot run.
///
/// # Errors
///
/// It is such a one.
pub fn needs_suited(tuning: Tuning, schedule: Schedule, found: &Found) -> Result<(), Usage> {
    if ![Schedule::Auto, tuning.schedule()].contains(&schedule) {
        return Err(Usage(format!(
            "--tuning {tuning} cannot be combined with --schedule {schedule}"
        )));
    }
    (tuning.check(found)).map_err(|error| Usage(format!("--tuning: {error}")))
}

/// How a run finds the layout of its steps, and what to tell of it.
pub struct Asked {
    /// How.
    pub tune: Tune,
    /// Why it is this one, if that is not for the engine to tell.
    pub why: Option<String>,
    /// What the user should know.
    pub note: Option<String>,
    /// What a search would be about.
    meeting: Option<Meeting>,
}

impl Asked {
    /// Of a run that has nothing to lay out.
    pub const NOTHING: Self = Self {
        tune: Tune::Fixed,
        why: None,
        note: None,
        meeting: None,
    };

    /// What the options ask for, on an adapter, for `steps` steps of a model of these sizes. `begun` is how
    /// a run that continues on the device was laid out.
    ///
    /// # Errors
    ///
    /// `--tuning` names a layout that contradicts `--schedule`, or that the adapter cannot run.
    pub fn new(
        args: &TuningArgs,
        found: &Found,
        dims: &Dims,
        schedule: Schedule,
        steps: u64,
        kernels: &Kernels,
        begun: Option<Tune>,
    ) -> Result<Self, Usage> {
        if let Some(tuning) = args.tuning {
            needs_suited(tuning, schedule, found)?;
            if args.tune == TuneMode::Again {
                let text = format!("--tuning {tuning} cannot be combined with --tune again");
                return Err(Usage(text));
            }
            return Ok(Self {
                tune: Tune::Given(tuning),
                ..Self::NOTHING
            });
        }
        if let (Some(tune), TuneMode::Auto | TuneMode::Off) = (begun, args.tune) {
            return Ok(Self {
                tune,
                why: Some("as the run was begun".to_owned()),
                ..Self::NOTHING
            });
        }
        // Changed kernels may suit another layout, and a search could not tell whether they are right.
        if args.tune == TuneMode::Off || kernels.are_changed() {
            return Ok(Self::NOTHING);
        }
        let meeting = Meeting::new(found, dims, schedule);
        let mut note = None;
        if args.tune == TuneMode::Auto {
            match Tunings::of_user().load(&meeting, found) {
                Ok(Some((tuning, remembered))) => {
                    return Ok(Self {
                        tune: Tune::Given(tuning),
                        why: Some(remembered.why(AGAIN)),
                        ..Self::NOTHING
                    });
                }
                Ok(None) => {}
                Err(reason) => note = Some(reason),
            }
        }
        Ok(Self {
            tune: Tune::Search {
                budget: args.tune_budget,
                steps: match args.tune {
                    TuneMode::Again => u64::MAX,
                    TuneMode::Auto | TuneMode::Off => steps,
                },
            },
            why: None,
            note,
            meeting: Some(meeting),
        })
    }

    /// Remembers what a search found, if there was one; or tells why it cannot be remembered.
    pub fn remember(&self, tuned: Option<&Tuned>) -> Option<String> {
        let (meeting, tuned) = (self.meeting.clone()?, tuned?);
        let found = Remembered::new(meeting, tuned);
        let error = Tunings::of_user().save(&found).err()?;
        Some(format!("{error}: the next run will measure again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered() -> Remembered {
        Remembered {
            meeting: Meeting {
                version: crate::VERSION.to_owned(),
                backend: "vulkan".to_owned(),
                adapter: "Some GPU".to_owned(),
                driver: "1.0".to_owned(),
                schedule: "auto".to_owned(),
                vocab: 27,
                block: 3,
                embd: 10,
                hidden: 200,
                batch: 32,
            },
            tuning: "resident:workers=64".to_owned(),
            us_per_step: 12.5,
            usual: "resident:workers=256".to_owned(),
            usual_us_per_step: 25.0,
            timed: 7,
            candidates: 30,
            wrong: Vec::new(),
        }
    }

    #[test]
    fn what_is_saved_is_found_again_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let tunings = Tunings {
            folder: Some(dir.path().join("cache/tunings")),
        };
        let saved = remembered();
        assert_eq!(tunings.file(&saved.meeting), Ok(None));
        tunings.save(&saved).unwrap();
        let (tuning, found) = tunings.file(&saved.meeting).unwrap().unwrap();
        assert_eq!(
            (tuning.to_string(), found),
            (saved.tuning.clone(), saved.clone())
        );
        assert_eq!(tunings.all(), (vec![saved.clone()], Vec::new()));
        // Each part of the meeting counts.
        let of = &saved.meeting;
        for other in [
            Meeting {
                version: "0".to_owned(),
                ..of.clone()
            },
            Meeting {
                backend: "gl".to_owned(),
                ..of.clone()
            },
            Meeting {
                adapter: "Another".to_owned(),
                ..of.clone()
            },
            Meeting {
                driver: "1.1".to_owned(),
                ..of.clone()
            },
            Meeting {
                schedule: "staged".to_owned(),
                ..of.clone()
            },
            Meeting {
                vocab: 28,
                ..of.clone()
            },
            Meeting {
                block: 4,
                ..of.clone()
            },
            Meeting {
                embd: 11,
                ..of.clone()
            },
            Meeting {
                hidden: 201,
                ..of.clone()
            },
            Meeting {
                batch: 33,
                ..of.clone()
            },
        ] {
            assert_eq!(tunings.file(&other), Ok(None), "{other:?}");
        }
    }

    #[test]
    fn a_damaged_or_foreign_file_is_ignored_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let tunings = Tunings {
            folder: Some(dir.path().to_owned()),
        };
        let saved = remembered();
        let path = dir.path().join(file(&saved.meeting));
        let mut renamed = saved.clone();
        renamed.meeting.hidden = 300;
        let mut unknown = saved.clone();
        unknown.tuning = "clever:workers=1".to_owned();
        let json = |found: &Remembered| serde_json::to_string(found).unwrap();
        for (text, reason) in [
            (String::new(), "it cannot be read"),
            (json(&saved)[..40].to_owned(), "it cannot be read"),
            ("{\"other\": 1}".to_owned(), "it cannot be read"),
            (json(&renamed), "it is about something else"),
            (json(&unknown), "'clever:workers=1' is no tuning"),
            ("x".repeat(1 << 17), "it is too long"),
        ] {
            fs::write(&path, text).unwrap();
            let error = tunings.file(&saved.meeting).unwrap_err();
            assert!(error.contains(reason), "{error}");
            assert!(error.contains(&*path.to_string_lossy()), "{error}");
        }
        let (all, ignored) = tunings.all();
        assert_eq!((all.len(), ignored.len()), (0, 1));
    }
}
