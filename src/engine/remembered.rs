//! What a search for a layout has found, as it is kept for later runs: the program keeps it in files, the page in
//! the browser's storage.

use serde::{Deserialize, Serialize};

use super::tune::Tuned;
use crate::backend::Schedule;
use crate::gpu::adapter::{Found, api_name};
use crate::gpu::tuning::Tuning;
use crate::model::dims::Dims;

/// What a search was about: with the same of all of these, what it found holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// The version of the program.
    pub version: String,
    /// The API.
    pub backend: String,
    /// The adapter's own name. Browsers may keep it to themselves: then it is empty.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// The schedules that were in question.
    pub schedule: String,
    /// Characters.
    pub vocab: usize,
    /// Characters of context.
    pub block: usize,
    /// Length of an embedding.
    pub embd: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Examples of a minibatch.
    pub batch: usize,
}

impl Meeting {
    /// That of an adapter with a model of these sizes.
    pub fn new(found: &Found, dims: &Dims, schedule: Schedule) -> Self {
        Self {
            version: crate::VERSION.to_owned(),
            backend: api_name(found.info.backend).to_owned(),
            adapter: found.info.name.clone(),
            driver: found.driver(),
            schedule: schedule.to_string(),
            vocab: dims.vocab,
            block: dims.block,
            embd: dims.embd,
            hidden: dims.hidden,
            batch: dims.batch,
        }
    }

    /// The sizes, for people.
    pub fn dims(&self) -> Dims {
        Dims {
            vocab: self.vocab,
            block: self.block,
            embd: self.embd,
            hidden: self.hidden,
            batch: self.batch,
        }
    }

    /// The key under which what was found is kept: each part of the meeting is in it.
    pub fn key(&self) -> String {
        // Texts and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// What it was about.
    #[serde(flatten)]
    pub meeting: Meeting,
    /// The name of the layout that was chosen.
    pub tuning: String,
    /// Microseconds per step with it.
    pub us_per_step: f64,
    /// The layout that would have been taken without a search.
    pub usual: String,
    /// Microseconds per step with that.
    pub usual_us_per_step: f64,
    /// How many layouts were timed.
    pub timed: usize,
    /// How many there are.
    pub candidates: usize,
    /// Layouts whose results were wrong, and how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<(String, String)>,
}

impl Remembered {
    /// What a search found.
    pub fn new(meeting: Meeting, tuned: &Tuned) -> Self {
        let time = |tuning: Tuning| {
            let found = tuned.times.iter().find(|(other, _)| *other == tuning);
            found.map_or(f64::NAN, |(_, time)| (1e8 * time).round() / 100.0)
        };
        let usual = tuned
            .times
            .first()
            .map_or(tuned.chosen, |(first, _)| *first);
        Self {
            meeting,
            tuning: tuned.chosen.to_string(),
            us_per_step: time(tuned.chosen),
            usual: usual.to_string(),
            usual_us_per_step: time(usual),
            timed: tuned.times.len(),
            candidates: tuned.candidates,
            wrong: (tuned.wrong.iter())
                .map(|(tuning, how)| (tuning.to_string(), how.clone()))
                .collect(),
        }
    }

    /// As the text that is kept.
    pub fn text(&self) -> String {
        // Texts and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What was kept as text, and the layout that it names.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn read(text: &str) -> Result<(Tuning, Self), String> {
        let found: Self =
            serde_json::from_str(text).map_err(|error| format!("it cannot be read: {error}"))?;
        let tuning = found.tuning.parse();
        let tuning = tuning.map_err(|error| format!("{error}"))?;
        Ok((tuning, found))
    }

    /// As [`Remembered::read`] does, if it is about this meeting.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn read_about(meeting: &Meeting, text: &str) -> Result<(Tuning, Self), String> {
        let (tuning, found) = Self::read(text)?;
        match found.meeting == *meeting {
            true => Ok((tuning, found)),
            false => Err("it is about something else than its name says".to_owned()),
        }
    }

    /// Why a run takes this layout. `again` asks for another search, with more time.
    pub fn why(&self, again: &str) -> String {
        let why = format!("measured before: {:.0} us per step", self.us_per_step);
        match self.timed {
            1 => format!(
                "{why}; {again} would try the other {} layouts",
                self.candidates.saturating_sub(1)
            ),
            timed => format!(
                "{why}, the usual layout {:.0}; {timed} of {} were timed",
                self.usual_us_per_step, self.candidates
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gpu::tuning::WorkSplit;

    fn meeting() -> Meeting {
        Meeting {
            version: crate::VERSION.to_owned(),
            backend: "webgpu".to_owned(),
            adapter: String::new(),
            driver: String::new(),
            schedule: "auto".to_owned(),
            vocab: 27,
            block: 3,
            embd: 10,
            hidden: 200,
            batch: 32,
        }
    }

    #[test]
    fn what_a_search_found_is_read_as_it_was_written() {
        let [usual, chosen] = [32, 64]
            .map(|workers| Tuning::Resident(WorkSplit::with_workers(&Dims::LECTURE, workers)));
        let tuned = Tuned {
            times: vec![(usual, 250e-6), (chosen, 125.5e-6)],
            chosen,
            wrong: vec![(usual, "the loss is 7".to_owned())],
            candidates: 30,
            took: Duration::from_millis(300),
        };
        let found = Remembered::new(meeting(), &tuned);
        assert_eq!((found.us_per_step, found.usual_us_per_step), (125.5, 250.0));
        let text = found.text();
        let read = Remembered::read_about(&meeting(), &text);
        assert_eq!(read, Ok((chosen, found.clone())));
        let other = Meeting {
            hidden: 300,
            ..meeting()
        };
        assert_ne!(other.key(), meeting().key());
        let error = Remembered::read_about(&other, &text).unwrap_err();
        assert!(error.contains("about something else"), "{error}");
        assert_eq!(
            found.why("again"),
            "measured before: 126 us per step, the usual layout 250; 2 of 30 were timed"
        );
        let alone = Remembered { timed: 1, ..found };
        assert_eq!(
            alone.why("'measure again'"),
            "measured before: 126 us per step; 'measure again' would try the other 29 layouts"
        );
    }
}
