//! How a session finds the layout of its steps on a GPU, and what the browser remembers of that.

use std::time::Duration;

use gpu_makemore::DeviceError;
use gpu_makemore::backend::Schedule;
use gpu_makemore::engine::How;
use gpu_makemore::engine::remembered::{Meeting, Remembered};
use gpu_makemore::engine::tune::{Tune, Tuned};
use gpu_makemore::gpu::adapter::Found;
use gpu_makemore::gpu::kernels::Kernels;
use gpu_makemore::gpu::tuning::Tuning;
use gpu_makemore::model::dims::Dims;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TUNINGS: &str = r"
/** What the browser remembers of the layouts that were measured: texts by their keys. */
export interface Tunings {
  load(key: string): Promise<string | undefined>;
  save(key: string, text: string): Promise<void>;
}
";

#[wasm_bindgen]
extern "C" {
    /// What the browser remembers.
    #[wasm_bindgen(typescript_type = "Tunings")]
    pub type Tunings;

    #[wasm_bindgen(method, catch)]
    async fn load(this: &Tunings, key: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch)]
    async fn save(this: &Tunings, key: &str, text: &str) -> Result<(), JsValue>;
}

/// What a search may take where nobody asked for it.
const BUDGET: Duration = Duration::from_millis(300);
/// What it may take where somebody did: they wait for it.
const AGAIN: Duration = Duration::from_secs(3);
/// What asks for another search, with more time.
const ASK_AGAIN: &str = "'measure again'";

/// The program's `--tune`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What is remembered, or else a search.
    Auto,
    /// What suits the kind of the adapter.
    Off,
    /// A search, whatever is remembered.
    Again,
}

impl Mode {
    /// By its name; `auto`, if none is given.
    ///
    /// # Errors
    ///
    /// There is no such mode.
    pub fn of(name: Option<&str>) -> Result<Self, String> {
        match name {
            None | Some("auto") => Ok(Self::Auto),
            Some("off") => Ok(Self::Off),
            Some("again") => Ok(Self::Again),
            Some(other) => Err(format!("tune={other}: auto, off or again is wanted")),
        }
    }
}

/// What a session wishes.
pub struct Wish {
    /// How.
    pub mode: Mode,
    /// How a run that continues on the adapter was laid out; or why that cannot be taken.
    pub begun: Result<Option<Tune>, String>,
    /// What the browser remembers, if it remembers anything.
    pub tunings: Option<Tunings>,
}

/// How a session finds its layout, and what to tell of it.
pub struct Asked {
    tune: Tune,
    /// Why it is this one, if that is not for the engine to tell.
    pub why: Option<String>,
    /// What the visitor should know.
    pub notes: Vec<String>,
    /// What a search would be about.
    meeting: Option<Meeting>,
}

impl Asked {
    /// Of a session that has nothing to lay out, or has it laid out as usual.
    pub const NOTHING: Self = Self {
        tune: Tune::Fixed,
        why: None,
        notes: Vec::new(),
        meeting: None,
    };

    /// On an adapter, for `steps` steps of a model of these sizes.
    pub async fn new(wish: &Wish, found: &Found, dims: &Dims, steps: u64) -> Self {
        let mut notes = Vec::new();
        match (&wish.begun, wish.mode) {
            (Ok(Some(tune)), Mode::Auto | Mode::Off) => {
                return Self {
                    tune: *tune,
                    why: Some("as the run was begun".to_owned()),
                    ..Self::NOTHING
                };
            }
            (Err(reason), _) => notes.push(format!("the run's layout is ignored: {reason}")),
            (Ok(_), _) => {}
        }
        let meeting = Meeting::new(found, dims, Schedule::Auto);
        if let (Mode::Auto, Some(tunings)) = (wish.mode, &wish.tunings) {
            match recall(tunings, &meeting, found).await {
                Ok(Some((tuning, remembered))) => {
                    return Self {
                        tune: Tune::Given(tuning),
                        why: Some(remembered.why(ASK_AGAIN)),
                        notes,
                        meeting: None,
                    };
                }
                Ok(None) => {}
                Err(reason) => notes.push(format!(
                    "the layout that this browser remembers is ignored: {reason}"
                )),
            }
        }
        Self {
            notes,
            ..Self::anew(wish.mode, meeting, steps)
        }
    }

    /// Without anything that was measured before.
    fn anew(mode: Mode, meeting: Meeting, steps: u64) -> Self {
        let (budget, steps) = match mode {
            Mode::Off => return Self::NOTHING,
            Mode::Auto => (BUDGET, steps),
            Mode::Again => (AGAIN, u64::MAX),
        };
        Self {
            tune: Tune::Search { budget, steps },
            meeting: Some(meeting),
            ..Self::NOTHING
        }
    }

    /// After a layout failed that was measured or taken before: another adapter may have the same name, since
    /// browsers tell little of adapters. `None` if there was no such layout.
    pub fn instead(
        &self,
        error: &DeviceError,
        wish: &Wish,
        found: &Found,
        dims: &Dims,
        steps: u64,
    ) -> Option<Self> {
        let Tune::Given(tuning) = self.tune else {
            return None;
        };
        let note = format!("the layout {tuning} cannot be used here: {error}");
        let notes = self.notes.iter().cloned().chain([note]).collect();
        let meeting = Meeting::new(found, dims, Schedule::Auto);
        Some(Self {
            notes,
            ..Self::anew(wish.mode, meeting, steps)
        })
    }

    /// What the engine is asked for.
    pub fn how(&self) -> How {
        How {
            schedule: Schedule::Auto,
            kernels: Kernels::default(),
            tune: self.tune,
        }
    }

    /// Has the browser remember what a search found, if there was one. A browser that remembers nothing measures
    /// again the next time, and that is no fault.
    pub async fn remember(&self, tuned: Option<&Tuned>, tunings: Option<&Tunings>) {
        let (Some(meeting), Some(tuned), Some(tunings)) = (&self.meeting, tuned, tunings) else {
            return;
        };
        let text = Remembered::new(meeting.clone(), tuned).text();
        let _ = tunings.save(&meeting.key(), &text).await;
    }
}

/// What the browser remembers about a meeting; or why that cannot be taken. A browser that keeps nothing here has
/// nothing.
async fn recall(
    tunings: &Tunings,
    meeting: &Meeting,
    found: &Found,
) -> Result<Option<(Tuning, Remembered)>, String> {
    let kept = tunings.load(&meeting.key()).await.ok();
    let Some(text) = kept.and_then(|kept| kept.as_string()) else {
        return Ok(None);
    };
    let (tuning, remembered) = Remembered::read_about(meeting, &text)?;
    tuning.check(found).map_err(|error| error.to_string())?;
    Ok(Some((tuning, remembered)))
}
