//! The codes that compute gradients, and the layouts of their steps.

use crate::gpu::tuning::Tuning;

/// The code that computes a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The lecture's pass: one operation per line of the notebook.
    Chunked,
    /// The step of `--backend cpu`, by distinct contexts and tokens.
    Cpu,
    /// The staged schedule, every sum in one launch.
    Staged,
    /// The staged schedule with its long sums cut into parts.
    InParts,
    /// The resident schedule.
    Resident,
}

impl Code {
    /// The code that runs a layout.
    pub fn of(tuning: &Tuning) -> Self {
        match tuning {
            Tuning::Resident(_) => Code::Resident,
            Tuning::Staged(cuts) if cuts.in_parts() => Code::InParts,
            Tuning::Staged(_) => Code::Staged,
        }
    }

    /// The code that shows what a file under `shaders/` computes. Formulas are in all of them; the staged
    /// schedule runs at every size.
    pub fn of_file(file: &str) -> Self {
        match file.split_once('/') {
            Some(("chunked", _)) => Code::Chunked,
            Some(("resident", _)) => Code::Resident,
            Some(("staged", "parts.wgsl")) => Code::InParts,
            _ => Code::Staged,
        }
    }

    /// As the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Code::Chunked => "chunked",
            Code::Cpu => "cpu",
            Code::Staged => "staged",
            Code::InParts => "parts",
            Code::Resident => "resident",
        }
    }

    /// What it is, for the lines above the table.
    pub fn about(self) -> &'static str {
        match self {
            Code::Chunked => "one operation per line of the notebook, for what no step stores",
            Code::Cpu => "the training step of --backend cpu",
            Code::Staged => "the training step, one launch per operation",
            Code::InParts => "the same for large models: long sums are cut into parts",
            Code::Resident => "the training step, many steps in one launch",
        }
    }
}

/// Layouts of a step that are checked in place of the usual ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layouts {
    /// The one that `train` takes, if it is another than the usual one.
    pub trained: Option<Tuning>,
    /// Those that it takes where it is asked for a schedule.
    pub of_schedules: Vec<Tuning>,
}

impl Layouts {
    /// That of a training.
    pub fn of(tuning: Tuning) -> Self {
        Self {
            trained: Some(tuning),
            of_schedules: Vec::new(),
        }
    }

    /// The one that is checked by a code, if it is another than the usual one.
    pub fn of_code(&self, code: Code) -> Option<Tuning> {
        let mut all = self.trained.iter().chain(&self.of_schedules);
        all.find(|tuning| Code::of(tuning) == code).copied()
    }
}
