//! `summary.json`: what a run was and how it ended.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::files::{FileError, write_atomic};
use crate::gpu::kernels::Changed;
use crate::model::recipe::Recipe;

/// The content of `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean loss over the training set after the last step, in nats; `None` for an empty set.
    pub train_loss: Option<f64>,
    /// Mean loss over the validation set.
    pub val_loss: Option<f64>,
    /// Mean loss over the test set.
    pub test_loss: Option<f64>,
    /// Time that the steps took, without the checkpoints, and without what is in `setup_seconds`.
    pub seconds: f64,
    /// Steps per second.
    pub steps_per_second: f64,
    /// Time until the steps ran at that speed, since the run was begun or continued: to open the
    /// device and compile the kernels. Some drivers compile a kernel at its first launch, so the first
    /// step, by itself, counts among the set-up, less the time that such a step takes later.
    pub setup_seconds: f64,
    /// Time that the checkpoints and the evaluations between them took, since the run was begun or went on.
    pub checkpoint_seconds: f64,
    /// What did the work: a GPU API or the CPU.
    pub backend: String,
    /// The name of the GPU, or `CPU`.
    pub adapter: String,
    /// The driver and its version; on the CPU the instruction set that the program uses, as
    /// `x86_64 AVX-512`. As with a driver, another one may give other bits.
    pub driver: String,
    /// How the steps were launched: `staged` or `resident`; `None` without a GPU.
    pub schedule: Option<String>,
    /// The layout of a step on that GPU, as `--tuning` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<String>,
    /// The kernels, if they were not the program's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shaders: Option<Changed>,
    /// What shaped the model, as fields of their own.
    #[serde(flatten)]
    pub recipe: Recipe,
    /// Characters in the vocabulary.
    pub vocab_size: usize,
    /// Number of trained values.
    pub parameters: usize,
    /// The version of the program.
    pub version: String,
}

impl Summary {
    /// Reads a summary.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no summary.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let read = || Ok(serde_json::from_slice(&fs::read(path)?)?);
        read().map_err(FileError::at("read", path))
    }

    /// The steps of the run whose summary is in a file; `None` if there is none that can be read.
    pub fn steps(path: &Path) -> Option<u64> {
        let text = fs::read(path).ok()?;
        let summary: serde_json::Value = serde_json::from_slice(&text).ok()?;
        summary["steps"].as_u64()
    }

    /// Writes the summary as indented JSON; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        write_atomic(path, |w| {
            serde_json::to_writer_pretty(&mut *w, self)?;
            w.write_all(b"\n")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_flat_json() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        let summary = Summary {
            train_loss: Some(2.0674),
            val_loss: Some(2.1065),
            test_loss: None,
            seconds: 12.5,
            steps_per_second: 16_000.0,
            setup_seconds: 1.5,
            checkpoint_seconds: 0.25,
            backend: "vulkan".to_owned(),
            adapter: "Some GPU".to_owned(),
            driver: "Some driver 1.0".to_owned(),
            schedule: None,
            tuning: None,
            shaders: None,
            recipe: Recipe::default(),
            vocab_size: 27,
            parameters: 12_297,
            version: "0.1.0".to_owned(),
        };
        summary.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\n  \"train_loss\": 2.0674,\n"), "{text}");
        assert!(text.contains("\n  \"parameters\": 12297,\n"), "{text}");
        assert!(text.ends_with("\n}\n"), "{text}");
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
        assert_eq!(Summary::load(&path).unwrap(), summary);
        assert_eq!(Summary::steps(&path), Some(200_000));
        assert_eq!(Summary::steps(dir.path()), None);
    }
}
