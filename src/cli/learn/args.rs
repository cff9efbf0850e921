//! The options of `learn`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::args::DeviceArgs;

/// `learn`
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct LearnArgs {
    /// Folder to write the exercises into; what is there stays as it is
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: Option<LearnCommand>,
}

/// What to do with the exercises.
#[derive(Clone, Debug, Subcommand)]
pub enum LearnCommand {
    /// Check exercises; without a name all of them, and tell of the next one in full
    Check(CheckArgs),
    /// Train the model with your own gradients: exercise 4 of the lecture
    Train(TrainArgs),
    /// Find the line: a mistake is made in one of the program's own kernels
    Hunt(HuntArgs),
    /// Check on every save, and go on to the next exercise
    Watch(DirArgs),
    /// Print a hint; they come in steps
    Hint(HintArgs),
    /// Print the solution
    Solution(NameArgs),
    /// List the exercises and how each stands
    List(DirArgs),
    /// Put learners side by side: their folders, and which exercises are done in each
    Report(ReportArgs),
}

/// The folder of the exercises.
#[derive(Args, Clone, Debug)]
pub struct DirArgs {
    /// Folder with the exercises
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
}

/// `learn check`
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Exercises, by name or number
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: DirArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `learn train`
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: DirArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// Steps [default: 2000 on a GPU, 20 without]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=20_000))]
    pub steps: Option<u64>,
    /// The picture with both curves
    #[arg(long, default_value = "learn.png", value_name = "FILE")]
    pub out: PathBuf,
}

/// `learn solution`
#[derive(Args, Clone, Debug)]
pub struct NameArgs {
    /// The exercise, by name or number
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `learn hint`
#[derive(Args, Clone, Debug)]
pub struct HintArgs {
    /// The exercise, by name or number
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Which hint: the shapes, one element, the line in words, the derivation
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub step: usize,
}

/// `learn report`
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// Folders with exercises, one for each learner
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `learn hunt`
#[derive(Args, Clone, Debug)]
pub struct HuntArgs {
    /// The mistake [default: one at random]
    #[arg(value_name = "N")]
    pub number: Option<usize>,
    /// Your guess: the line of the mistake
    #[arg(long, value_name = "FILE:LINE", requires = "number")]
    pub line: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// The picture with both curves
    #[arg(long, default_value = "hunt.png", value_name = "FILE")]
    pub out: PathBuf,
}
