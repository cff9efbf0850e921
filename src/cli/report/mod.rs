//! What a run leaves behind and what the user sees of it: the run's folder, `metrics.jsonl`,
//! `summary.json`, `profile.json`, `loss.png`, TensorBoard's event files and the progress bar.

pub mod canvas;
pub mod heatmap;
pub mod metrics;
pub mod output;
pub mod plot;
pub mod profile;
pub mod progress;
pub mod run_dir;
pub mod summary;
pub mod tensorboard;

pub use canvas::PlotError;
pub use heatmap::{colour_png, grey_png};
pub use metrics::Metrics;
pub use output::{Output, OutputError};
pub use plot::{CurveOfRun, compare_png, loss_png};
pub use profile::ProfileReport;
pub use progress::Progress;
pub use run_dir::{RunDir, RunDirError};
pub use summary::Summary;
