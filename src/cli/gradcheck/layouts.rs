//! The layouts that are checked: those that `train` would take.

use crate::backend::Schedule;
use crate::cli::args::GradcheckArgs;
use crate::cli::device::Device;
use crate::cli::error::Error;
use crate::cli::tunings::{AGAIN, Tunings, needs_suited};
use crate::engine::remembered::Meeting;
use crate::gpu::adapter::Choice;
use crate::gpu::kernels::Kernels;
use crate::gpu::tuning::Tuning;
use crate::gradcheck::engine::Engine;
use crate::gradcheck::step::{Checked, Code, Layouts};
use crate::model::dims::Dims;

/// The layouts of the steps that are checked, and why it is these.
pub struct Asked {
    /// Those that are not the usual ones.
    pub layouts: Layouts,
    /// Why, for each of them.
    why: Vec<(Tuning, String)>,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Asked {
    /// What the options ask for, or what is remembered of a device and a model of these sizes.
    ///
    /// # Errors
    ///
    /// `--tuning` names a layout that contradicts `--schedule`, or that the device cannot run.
    pub fn new(
        args: &GradcheckArgs,
        device: &Device,
        kernels: &Kernels,
        dims: &Dims,
    ) -> Result<Self, Error> {
        let mut asked = Self {
            layouts: Layouts::default(),
            why: Vec::new(),
            notes: Vec::new(),
        };
        if let Some(tuning) = args.tuning {
            let schedule = match args.schedule {
                Checked::Auto | Checked::All => Schedule::Auto,
                Checked::Staged => Schedule::Staged,
                Checked::Resident => Schedule::Resident,
            };
            device.needs_gpu(&format!("--tuning {tuning}"))?;
            if let Choice::Gpu { found, .. } = device.choice() {
                needs_suited(tuning, schedule, found)?;
            }
            asked.layouts = Layouts::of(tuning);
            asked.why.push((tuning, "as asked for".to_owned()));
            return Ok(asked);
        }
        // A training with changed kernels takes the usual layout.
        let (Choice::Gpu { found, .. }, false) = (device.choice(), kernels.are_changed()) else {
            return Ok(asked);
        };
        let tunings = Tunings::wanted();
        for schedule in [Schedule::Auto, Schedule::Staged, Schedule::Resident] {
            match tunings.load(&Meeting::new(found, dims, schedule), found) {
                Ok(Some((tuning, remembered))) => {
                    asked.why.push((tuning, remembered.why(AGAIN)));
                    match schedule {
                        Schedule::Auto => asked.layouts.trained = Some(tuning),
                        _ => asked.layouts.of_schedules.push(tuning),
                    }
                }
                Ok(None) => {}
                Err(reason) => asked.notes.push(reason),
            }
        }
        Ok(asked)
    }

    /// Which layout each code of an engine is checked with, and why.
    pub fn lines(&self, engine: &Engine, codes: &[Code], dims: &Dims) -> Vec<String> {
        let line = |&code: &Code| {
            let tuning = engine.layout(code, dims)?;
            let known = self.why.iter().find(|(known, _)| *known == tuning);
            let why = known.map_or("the usual one", |(_, why)| why);
            Some(format!("tuning    {tuning}; {why}"))
        };
        let notes = self.notes.iter().map(|note| format!("note      {note}"));
        codes.iter().filter_map(line).chain(notes).collect()
    }
}
