//! The command line, and nothing else: names, ranges, defaults and help.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::backend::Api;
use crate::backend::Schedule;
use crate::cli::data::{self, Source};
use crate::cli::sweep::values::{self, Shard, Values};
use crate::data::{Encoding, Reading, Split, is_delimiter};
use crate::gpu::adapter::Pick;
use crate::gpu::tuning::Tuning;
use crate::gradcheck::explain::Topic;
use crate::gradcheck::step::Checked;
use crate::model::dims::Dims;
use crate::model::recipe::{
    self, Recipe, SIZES, Value, default_checkpoint_every, default_decay_at, default_log_every,
    rate, tenth,
};
use crate::sample::LONGEST;

/// Columns of the help at most. Where stdout is no terminal clap assumes 100, and a pager in a terminal
/// of 80 would then break lines inside words.
const HELP_WIDTH: usize = 80;

/// Models that `sweep` trains at once: a dispatch has no more workgroups in one direction.
const WIDTH: RangeInclusive<usize> = 1..=65_535;

/// What `--version` tells, for a report of a fault; `-V` tells the first of these lines without the name.
/// build.rs knows the other two.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nwgpu ",
    env!("GPU_MAKEMORE_WGPU"),
    "\nbuilt for ",
    env!("GPU_MAKEMORE_TARGET"),
);

/// Trains the character model of the lecture "makemore, part 4: becoming a backprop ninja" with
/// hand-written GPU kernels, forward and backward.
#[derive(Debug, Parser)]
#[command(
    version,
    long_version = LONG_VERSION,
    arg_required_else_help = true,
    max_term_width = HELP_WIDTH
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses the arguments of this process.
    ///
    /// # Errors
    ///
    /// They are no command, or ask for help.
    pub fn of_process() -> Result<Self, clap::Error> {
        Self::of(std::env::args_os())
    }

    /// Parses arguments, the first of which is the program's name.
    ///
    /// # Errors
    ///
    /// They are no command, or ask for help.
    pub fn of(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = args.into_iter().collect();
        let matches = Self::definition().try_get_matches_from(&words)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let Command::Sweep(args) = &mut cli.command {
            args.words = words[1..].to_vec();
        }
        // A default may stand for "as it was"; only clap knows which values are such.
        if let (Command::Train(args), Some((_, matches))) = (&mut cli.command, matches.subcommand())
        {
            let given = |id: &&clap::Id| {
                matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
            };
            args.given = matches
                .ids()
                .filter(given)
                .map(ToString::to_string)
                .collect();
        }
        Ok(cli)
    }

    /// The commands and options, with the ranges of the sizes in their help.
    pub(crate) fn definition() -> clap::Command {
        let with_range = |command: clap::Command, (id, range): (&str, RangeInclusive<usize>)| {
            command.mut_arg(id, |arg| {
                let help = arg.get_help().cloned().unwrap_or_default();
                let (min, max) = range.into_inner();
                arg.help(format!("{help} [{min} to {max}]"))
            })
        };
        let with_sizes = |command| SIZES.into_iter().fold(command, with_range);
        ["train", "sweep", "gradcheck"]
            .into_iter()
            .fold(Self::command(), |cli, name| {
                cli.mut_subcommand(name, with_sizes)
            })
            .mut_subcommand("sweep", |sweep| with_range(sweep, ("width", WIDTH)))
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model, evaluate it and print some invented names
    Train(TrainArgs),
    /// Put runs side by side: options, losses and curves
    Compare(CompareArgs),
    /// Train many models at once: every combination of the values that options list
    Sweep(Box<SweepArgs>),
    /// Loss of a trained model over a data set
    Eval(EvalArgs),
    /// Invent names with a trained model
    Sample(SampleArgs),
    /// Tell what a model or a run is, and draw its embeddings, its activations and its ratios
    Show(ShowArgs),
    /// Compare every gradient with the reference, as the lecture's `cmp` does
    Gradcheck(GradcheckArgs),
    /// Write the backward pass yourself: exercises in WGSL, checked without a GPU
    Learn(LearnArgs),
    /// List the GPUs that were found and which one `auto` would take
    Adapters(AdaptersArgs),
    /// Write the kernels into a folder, to be changed there and used with --shaders
    Shaders(ShadersArgs),
    /// Serve the page on this machine: the same engine in a browser, without a network
    Page(PageArgs),
    /// Print the completions for a shell
    Completions(CompletionsArgs),
    /// Write the man pages into a folder
    Man(ManArgs),
}

/// How the layout of a step is found on a GPU.
#[derive(Args, Clone, Debug)]
pub struct TuningArgs {
    /// Measure on a GPU which layout of a step is the fastest
    #[arg(
        long,
        value_enum,
        default_value_t = TuneMode::Auto,
        env = "GPU_MAKEMORE_TUNE",
        hide_env_values = true
    )]
    pub tune: TuneMode,
    /// Seconds that this may take [0.01 to 3600]
    #[arg(long, default_value = "0.3", value_name = "SECONDS", value_parser = budget, allow_negative_numbers = true)]
    pub tune_budget: Duration,
    /// The layout of a step, by the name that another run has shown: the same bits on the same GPU
    #[arg(long, value_name = "NAME", conflicts_with = "tune_budget")]
    pub tuning: Option<Tuning>,
}

impl TuningArgs {
    /// The option that is given, if one is.
    pub fn given(&self) -> Option<String> {
        match (&self.tuning, self.tune) {
            (Some(tuning), _) => Some(format!("--tuning {tuning}")),
            (None, TuneMode::Again) => Some("--tune again".to_owned()),
            (None, TuneMode::Auto | TuneMode::Off) => None,
        }
    }
}

/// `--tune`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TuneMode {
    /// Once for each device and size, if the run is long enough, and remember it
    Auto,
    /// Take what suits the kind of device
    Off,
    /// Measure, whatever is remembered
    Again,
}

/// How words are read from a file.
#[derive(Args, Clone, Debug)]
pub struct ReadingArgs {
    /// Column of a table to read, or member of JSON objects: its name, or its number from 1
    #[arg(long, value_name = "NAME|N")]
    pub column: Option<String>,
    /// What separates the columns: a character, or tab [default: detected]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub delimiter: Option<char>,
    /// The first line of a table is data, not the names of the columns [default: detected]
    #[arg(long)]
    pub no_header: bool,
    /// Each line is a word, even if the file looks like a table or JSON
    #[arg(long, conflicts_with_all = ["column", "delimiter", "no_header"])]
    pub as_text: bool,
    /// Encoding of the file, like windows-1252 or shift_jis [default: UTF-8, or by its byte order mark]
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<Encoding>,
    /// Leave out lines that cannot be read, and count them
    #[arg(long)]
    pub skip_bad_lines: bool,
    /// Bring the words to lower case
    #[arg(long)]
    pub lowercase: bool,
    /// Clean the words: the part before '/', 'X, Y' as 'Y X', romanised to ASCII, lower case, no ()'"
    #[arg(long)]
    pub clean: bool,
}

impl From<ReadingArgs> for Reading {
    fn from(args: ReadingArgs) -> Self {
        Self {
            column: args.column,
            delimiter: args.delimiter,
            no_header: args.no_header,
            as_text: args.as_text,
            encoding: args.encoding,
            skip_bad_lines: args.skip_bad_lines,
            lowercase: args.lowercase,
            clean: args.clean,
        }
    }
}

impl From<Reading> for ReadingArgs {
    fn from(reading: Reading) -> Self {
        Self {
            column: reading.column,
            delimiter: reading.delimiter,
            no_header: reading.no_header,
            as_text: reading.as_text,
            encoding: reading.encoding,
            skip_bad_lines: reading.skip_bad_lines,
            lowercase: reading.lowercase,
            clean: reading.clean,
        }
    }
}

/// What to run on.
#[derive(Args, Clone, Debug, Default)]
pub struct DeviceArgs {
    /// API to use; auto takes a hardware GPU if there is one, else the CPU [default: WGPU_BACKEND, or auto]
    #[arg(long, value_enum)]
    pub backend: Option<Api>,
    /// Adapter to use: its number, as `adapters` lists them, or a part of its name or driver; name:TEXT and
    /// driver:TEXT look at one of the two [default: WGPU_ADAPTER_NAME, or the best]
    #[arg(long, value_name = "N|TEXT", value_parser = adapter)]
    pub adapter: Option<String>,
}

/// `train`
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// names, municipalities, or a file with one word a line, a table or JSON; - is standard input
    #[arg(
        long,
        default_value = "names",
        value_name = "names|municipalities|FILE"
    )]
    pub data: Source,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// How a GPU's steps are launched; auto takes what is faster for the sizes
    #[arg(long, value_enum, default_value_t = Schedule::Auto)]
    pub schedule: Schedule,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tuning: TuningArgs,
    /// Kernels to use in place of the program's own: the files in DIR, which `shaders` writes; not on the CPU
    #[arg(long, value_name = "DIR")]
    pub shaders: Option<PathBuf>,
    /// Steps of gradient descent [1 or more]
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = whole(1), allow_negative_numbers = true)]
    pub steps: u64,
    /// Examples in a minibatch
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = size(Dims::BATCH), allow_negative_numbers = true)]
    pub batch_size: u64,
    /// Characters of context that predict the next one
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = size(Dims::BLOCK), allow_negative_numbers = true)]
    pub block_size: u64,
    /// Length of a character's embedding vector
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = size(Dims::EMBD), allow_negative_numbers = true)]
    pub n_embd: u64,
    /// Units of the hidden layer
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = size(Dims::HIDDEN), allow_negative_numbers = true)]
    pub n_hidden: u64,
    /// Learning rate [0 to 3e38]
    #[arg(long, default_value_t = 0.1, value_name = "RATE", value_parser = rate, allow_negative_numbers = true)]
    pub lr: f64,
    /// Learning rate from step --lr-decay-at on [0 to 3e38] [default: a tenth of --lr]
    #[arg(long, value_name = "RATE", value_parser = rate, allow_negative_numbers = true)]
    pub lr_final: Option<f64>,
    /// First step with --lr-final [0 or more] [default: half of --steps]
    #[arg(long, value_name = "STEP", value_parser = whole(0), allow_negative_numbers = true)]
    pub lr_decay_at: Option<u64>,
    /// Seed of the initial values and the minibatches: torch.Generator().manual_seed(SEED)
    #[arg(
        long,
        default_value_t = 2_147_483_647,
        value_name = "SEED",
        value_parser = whole(0),
        allow_negative_numbers = true
    )]
    pub seed: u64,
    /// Print the loss and write a row of metrics every N steps [1 or more] [default: a twentieth of --steps]
    #[arg(long, value_name = "N", value_parser = whole(1), allow_negative_numbers = true)]
    pub log_every: Option<u64>,
    /// Folder for the model and its records [default: runs/ and the date and time]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Measure the validation loss, and save all that --resume needs, every N steps [1 or more]
    /// [default: a tenth of --steps]
    #[arg(long, value_name = "N", value_parser = whole(1), allow_negative_numbers = true)]
    pub checkpoint_every: Option<u64>,
    /// Measure the validation loss every N steps too; changes no bit of the training [1 or more]
    /// [default: at checkpoints alone]
    #[arg(long, value_name = "N", value_parser = every, allow_negative_numbers = true)]
    pub eval_every: Option<NonZeroU64>,
    /// Write the curves for TensorBoard too, into the folder of the run
    #[arg(long)]
    pub tensorboard: bool,
    /// Record how large gradients and updates are beside the parameters, every N steps [1 or more];
    /// `show` draws it; the model stays the same
    #[arg(long, value_name = "N", value_parser = every, allow_negative_numbers = true)]
    pub ratios_every: Option<NonZeroU64>,
    /// Continue a run, with its options, from any folder; with --steps N, to another end: the run's folder,
    /// or its last.safetensors
    #[arg(long, value_name = "PATH", conflicts_with = "out")]
    pub resume: Option<PathBuf>,
    /// Start from a model's parameters: a run's folder, a model.safetensors, or any safetensors file with
    /// the lecture's tensors; sizes follow from it
    #[arg(long, value_name = "PATH", conflicts_with = "resume")]
    pub init_from: Option<PathBuf>,
    /// A checksum of those parameters.
    #[arg(skip)]
    pub init_sha256: Option<String>,
    /// Measure where a GPU's time goes, by kernel; the run is slower, the model the same
    #[arg(long)]
    pub profile: bool,
    /// The options that were on the command line, by the names of these fields.
    #[arg(skip)]
    pub given: Vec<String>,
}

impl TrainArgs {
    /// `train` without any options.
    pub fn defaults() -> Self {
        match Cli::parse_from(["gpu-makemore", "train"]).command {
            Command::Train(args) => args,
            _ => unreachable!("`train` was parsed"),
        }
    }

    /// The options that ask for a recipe, and for nothing else.
    pub fn of_recipe(recipe: &Recipe) -> Self {
        Self {
            data: recipe.data.parse().unwrap_or_else(|never| match never {}),
            reading: Reading::from(recipe).into(),
            block_size: recipe.block_size,
            batch_size: recipe.batch_size,
            n_embd: recipe.n_embd,
            n_hidden: recipe.n_hidden,
            steps: recipe.steps,
            lr: recipe.lr,
            lr_final: Some(recipe.lr_final),
            lr_decay_at: Some(recipe.lr_decay_at),
            seed: recipe.seed,
            init_from: recipe.init_from.as_ref().map(PathBuf::from),
            init_sha256: recipe.init_sha256.clone(),
            ..Self::defaults()
        }
    }

    /// The recipe that the options ask for.
    pub fn recipe(&self) -> Recipe {
        let mut recipe = Recipe {
            block_size: self.block_size,
            batch_size: self.batch_size,
            n_embd: self.n_embd,
            n_hidden: self.n_hidden,
            steps: self.steps,
            lr: self.lr,
            lr_final: self.lr_final(),
            lr_decay_at: self.lr_decay_at.unwrap_or(default_decay_at(self.steps)),
            seed: self.seed,
            data: self.data.to_string(),
            init_from: (self.init_from.as_ref()).map(|path| path.display().to_string()),
            init_sha256: self.init_sha256.clone(),
            ..Recipe::default()
        };
        Reading::from(self.reading.clone()).record(&mut recipe);
        recipe
    }

    /// How the data is read.
    pub fn data_options(&self) -> data::Options {
        data::Options {
            source: self.data.clone(),
            reading: self.reading.clone().into(),
            block: self.block_size as usize,
        }
    }

    /// Learning rate from step `--lr-decay-at` on.
    pub fn lr_final(&self) -> f64 {
        self.lr_final.unwrap_or_else(|| tenth(self.lr))
    }

    /// Steps between two rows of metrics.
    pub fn log_every(&self) -> u64 {
        self.log_every.unwrap_or(default_log_every(self.steps))
    }

    /// Steps between two checkpoints.
    pub fn checkpoint_every(&self) -> u64 {
        self.checkpoint_every
            .unwrap_or(default_checkpoint_every(self.steps))
    }

    /// Whether an option, such as `--log-every`, was on the command line.
    pub fn has(&self, option: &str) -> bool {
        let name = option.trim_start_matches('-').replace('-', "_");
        self.given.contains(&name)
    }
}

/// `sweep`
#[derive(Args, Clone, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "VALUES is one of:
  0.05,0.1,0.2      each of these values
  0.05,0.1,0.2:log  each of them, on a logarithmic axis in the report
  0.01..0.3         a range to draw from, both ends included; needs --random N
  0.01..0.3:log     the same, drawn evenly in the logarithm

After an interruption, the same command continues the sweep. docs/sweep.md has examples, also for many \
machines."
)]
pub struct SweepArgs {
    /// What to do instead of training.
    #[command(subcommand)]
    pub command: Option<SweepCommand>,
    /// names, municipalities, or a file with one word a line, a table or JSON; - is standard input
    #[arg(
        long,
        default_value = "names",
        value_name = "names|municipalities|FILE"
    )]
    pub data: Source,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// How a GPU's steps are launched; auto trains many models in a launch unless they are large
    #[arg(long, value_enum, default_value_t = Schedule::Auto)]
    pub schedule: Schedule,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tuning: TuningArgs,
    /// Kernels to use in place of the program's own: the files in DIR, which `shaders` writes; not on the CPU
    #[arg(long, value_name = "DIR")]
    pub shaders: Option<PathBuf>,
    /// How many seeds (8: the seeds 1 to 8) or which (1,2,3) [default: the seed of `train`]
    #[arg(long, value_name = "N|LIST", value_parser = seeds, allow_negative_numbers = true)]
    pub seeds: Option<Values>,
    /// Learning rates [0 to 3e38]
    #[arg(long, value_name = "VALUES", value_parser = listed(rate, Value::Real), allow_negative_numbers = true)]
    pub lr: Option<Values>,
    /// Learning rates from step --lr-decay-at on [0 to 3e38] [default: a tenth of each model's --lr]
    #[arg(long, value_name = "VALUES", value_parser = listed(rate, Value::Real), allow_negative_numbers = true)]
    pub lr_final: Option<Values>,
    /// First step with --lr-final, for all models [0 or more] [default: half of --steps]
    #[arg(long, value_name = "STEP", value_parser = whole(0), allow_negative_numbers = true)]
    pub lr_decay_at: Option<u64>,
    /// Units of the hidden layer
    #[arg(long, value_name = "VALUES", value_parser = listed(size(Dims::HIDDEN), Value::Whole), allow_negative_numbers = true)]
    pub n_hidden: Option<Values>,
    /// Lengths of a character's embedding vector
    #[arg(long, value_name = "VALUES", value_parser = listed(size(Dims::EMBD), Value::Whole), allow_negative_numbers = true)]
    pub n_embd: Option<Values>,
    /// Characters of context
    #[arg(long, value_name = "VALUES", value_parser = listed(size(Dims::BLOCK), Value::Whole), allow_negative_numbers = true)]
    pub block_size: Option<Values>,
    /// Examples in a minibatch
    #[arg(long, value_name = "VALUES", value_parser = listed(size(Dims::BATCH), Value::Whole), allow_negative_numbers = true)]
    pub batch_size: Option<Values>,
    /// Steps of gradient descent [1 or more]
    #[arg(long, value_name = "VALUES", value_parser = listed(whole(1), Value::Whole), allow_negative_numbers = true)]
    pub steps: Option<Values>,
    /// Draw N times from the ranges [1 or more]; each draw is combined with everything that is listed
    #[arg(long, value_name = "N", value_parser = whole(1), allow_negative_numbers = true)]
    pub random: Option<u64>,
    /// Seed of those draws, which are the same on every machine
    #[arg(long, default_value_t = 1, value_name = "SEED", value_parser = whole(0), allow_negative_numbers = true)]
    pub sweep_seed: u64,
    /// Train only part I of N, to share the sweep among machines: every N-th point
    #[arg(long, value_name = "I/N", value_parser = Shard::parse, allow_negative_numbers = true)]
    pub shard: Option<Shard>,
    /// Models at once [default: measured on a GPU; one a core on the CPU]
    #[arg(long, value_name = "N", value_parser = size(WIDTH), allow_negative_numbers = true)]
    pub width: Option<u64>,
    /// Keep the K models with the lowest validation loss [0 or more]
    #[arg(long, default_value_t = 3, value_name = "K", value_parser = whole(0), allow_negative_numbers = true)]
    pub keep: u64,
    /// Folder for the results [default: a name in runs/ that is the same for the same sweep]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The command line behind the program's name, to be repeated after an interruption.
    #[arg(skip)]
    pub words: Vec<OsString>,
}

impl SweepArgs {
    /// The options that can be swept, by the names of the recipe's fields, with what was given of them.
    pub fn swept(&self) -> [(&'static str, &Option<Values>); 8] {
        [
            ("block_size", &self.block_size),
            ("batch_size", &self.batch_size),
            ("n_embd", &self.n_embd),
            ("n_hidden", &self.n_hidden),
            ("steps", &self.steps),
            ("lr", &self.lr),
            ("lr_final", &self.lr_final),
            ("seed", &self.seeds),
        ]
    }
}

/// `sweep` with another command behind it.
#[derive(Clone, Debug, Subcommand)]
pub enum SweepCommand {
    /// Print the results of a sweep, from all the folders that it is spread over
    Report(ReportArgs),
}

/// `sweep report`
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// Folders of the sweep
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// Draw validation loss against each swept option
    #[arg(long, value_name = "FILE")]
    pub png: Option<PathBuf>,
    /// Write a row for each model
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

/// `compare`
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// The runs, 2 to 20: their folders, or checkpoints in them
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// The picture with the curves of all of them
    #[arg(long, default_value = "compare.png", value_name = "FILE")]
    pub out: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `eval`
#[derive(Args, Clone, Debug)]
pub struct EvalArgs {
    /// The model: a model.safetensors, or the folder of a run
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// train, val, test or all (the three together) [default: each of the three]
    #[arg(long, value_name = "SPLIT")]
    pub split: Option<Split>,
    /// names, municipalities, or a file, - for standard input [default: what the model was trained on]
    #[arg(long, value_name = "names|municipalities|FILE")]
    pub data: Option<Source>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
}

/// `sample`
#[derive(Args, Clone, Debug)]
pub struct SampleArgs {
    /// The model: a model.safetensors, or the folder of a run
    #[arg(long, value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// Words for --new and --json [default: what the model was trained on], or those of a model from
    /// elsewhere, which give it its vocabulary
    #[arg(long, value_name = "names|municipalities|FILE")]
    pub data: Option<Source>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
    /// How many names [1 or more]
    #[arg(short = 'n', default_value_t = 20, value_name = "N", value_parser = whole(1), allow_negative_numbers = true)]
    pub count: u64,
    /// Text that every name begins with
    #[arg(
        long,
        default_value = "",
        value_name = "TEXT",
        hide_default_value = true
    )]
    pub prefix: String,
    /// Below 1: likelier names; above 1: stranger ones; 0: always the likeliest character [0 to 3e38]
    #[arg(long, default_value_t = 1.0, value_name = "T", value_parser = rate, allow_negative_numbers = true)]
    pub temperature: f64,
    /// Seed of the draws: torch.Generator().manual_seed(SEED)
    #[arg(
        long,
        default_value_t = 2_147_483_657,
        value_name = "SEED",
        value_parser = whole(0),
        allow_negative_numbers = true
    )]
    pub seed: u64,
    /// Draw each character from the K likeliest, the end mark among them [1 or more]
    #[arg(long, value_name = "K", value_parser = whole(1), allow_negative_numbers = true)]
    pub top_k: Option<u64>,
    /// Let no name end before it has N characters; 1: no empty names [0 to 1000]
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = size(0..=LONGEST), allow_negative_numbers = true)]
    pub min_len: u64,
    /// End a name when it has N characters [1 to 1000] [default: 1000 behind --prefix]
    #[arg(long, value_name = "N", value_parser = size(1..=LONGEST), allow_negative_numbers = true)]
    pub max_len: Option<u64>,
    /// Print no name twice; with this and --new, 10000 draws without a name to print are a failure
    #[arg(long)]
    pub unique: bool,
    /// Leave out the words of the training split, which the model was trained on
    #[arg(long)]
    pub new: bool,
    /// Print an object a line: the name, its probability in the model (of all characters and the end, at
    /// temperature 1, whatever the options), and whether it is a training word (null if they are not at hand)
    #[arg(long)]
    pub json: bool,
}

/// `show`
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The model: the folder of a run, one of its files, or any safetensors file with the lecture's tensors
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Words for the activations [default: what the model was trained on], or those of a model from
    /// elsewhere, which give it its vocabulary
    #[arg(long, value_name = "names|municipalities|FILE")]
    pub data: Option<Source>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
    /// Folder for the pictures [default: that of the model]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gradcheck`
#[derive(Args, Clone, Debug)]
pub struct GradcheckArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// Seed of the initial values and the minibatch: torch.Generator().manual_seed(SEED)
    #[arg(long, default_value_t = 2_147_483_647, value_name = "SEED", value_parser = whole(0), allow_negative_numbers = true)]
    pub seed: u64,
    /// Examples in the minibatch
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = size(Dims::BATCH), allow_negative_numbers = true)]
    pub batch_size: u64,
    /// Characters of context
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = size(Dims::BLOCK), allow_negative_numbers = true)]
    pub block_size: u64,
    /// Length of a character's embedding vector
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = size(Dims::EMBD), allow_negative_numbers = true)]
    pub n_embd: u64,
    /// Units of the hidden layer
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = size(Dims::HIDDEN), allow_negative_numbers = true)]
    pub n_hidden: u64,
    /// Check a model at its parameters, not at initial values: what `train --init-from` takes
    #[arg(
        long,
        value_name = "PATH",
        conflicts_with_all = ["block_size", "n_embd", "n_hidden", "exercise", "against", "explain"]
    )]
    pub init_from: Option<PathBuf>,
    /// Words of the minibatch for --init-from [default: what the model was trained on]
    #[arg(long, value_name = "names|municipalities|FILE", requires = "init_from")]
    pub data: Option<Source>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: ReadingArgs,
    /// Which of a GPU's training steps to check; the CPU has one
    #[arg(
        long,
        value_enum,
        default_value_t = Checked::All,
        conflicts_with_all = ["exercise", "against"]
    )]
    pub schedule: Checked,
    /// The layout to check, by the name that a run has shown [default: the one that train would take]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["exercise", "against"])]
    pub tuning: Option<Tuning>,
    /// Kernels to use in place of the program's own: the files in DIR, which `shaders` writes; not on the CPU
    #[arg(long, value_name = "DIR", conflicts_with = "explain")]
    pub shaders: Option<PathBuf>,
    /// Do one of the lecture's exercises, or the extra kernels
    #[arg(long, value_enum, value_name = "N", conflicts_with = "json")]
    pub exercise: Option<Exercise>,
    /// Folder for the pictures of exercise 2
    #[arg(long, default_value = "runs/gradcheck", value_name = "DIR")]
    pub out: PathBuf,
    /// Check a file instead: X, Y, the seven parameters, and values and gradients (d.NAME, dNAME or
    /// NAME.grad) of yours
    #[arg(
        long,
        value_name = "FILE.safetensors",
        conflicts_with_all = ["seed", "batch_size", "block_size", "n_embd", "n_hidden", "exercise", "out"]
    )]
    pub against: Option<PathBuf>,
    /// Print how the gradient of a tensor (bnvar, dlogits) is derived, or of --exercise 2 or 3; without
    /// either, list what can be explained
    #[arg(
        long,
        value_name = "TENSOR",
        num_args = 0..=1,
        conflicts_with_all = [
            "backend", "adapter", "seed", "batch_size", "block_size", "n_embd", "n_hidden", "schedule",
            "tuning", "out", "against", "json", "verbose"
        ]
    )]
    pub explain: Option<Option<Topic>>,
    /// Print the distance in ULP and the worst element of every tensor, not only of wrong ones
    #[arg(long, conflicts_with = "json")]
    pub verbose: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `gradcheck --exercise`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Exercise {
    /// Backward through every line of the notebook
    #[value(name = "1")]
    One,
    /// The gradient of softmax and cross-entropy in one formula
    #[value(name = "2")]
    Two,
    /// The gradient of batch norm in one formula
    #[value(name = "3")]
    Three,
    /// A short training run with the gradients written by hand
    #[value(name = "4")]
    Four,
    /// The one-hot linear layer and repeat_kv
    Extras,
}

/// `shaders`
#[derive(Args, Clone, Debug)]
pub struct ShadersArgs {
    /// Folder to write them into; a file there that differs is kept, and is an error
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// `adapters`
#[derive(Args, Clone, Debug)]
pub struct AdaptersArgs {
    /// Measure what each driver really does, and which schedules can be used with it
    #[arg(long)]
    pub probe: bool,
    /// Show the layouts that were measured on this machine, and how fast they are
    #[arg(long)]
    pub tuning: bool,
}

/// `page`
#[derive(Args, Clone, Debug)]
pub struct PageArgs {
    /// Port on 127.0.0.1 [default: 8027; a free one where that is taken]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Open the page in the browser
    #[arg(long)]
    pub open: bool,
}

/// `completions`
#[derive(Args, Clone, Debug)]
#[command(after_help = "Where shells look for them:
  bash        ~/.local/share/bash-completion/completions/gpu-makemore
  zsh         _gpu-makemore in a folder of $fpath
  fish        ~/.config/fish/completions/gpu-makemore.fish
  powershell  a line of $PROFILE:
              gpu-makemore completions powershell | Out-String | Invoke-Expression
  elvish      a line of rc.elv:
              eval (gpu-makemore completions elvish | slurp)")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `man`
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// Folder to write them into, like ~/.local/share/man/man1; a file there that is no page of this program
    /// is kept, and is an error
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

// Negative numbers are let through to the parsers below, for the message to say what is allowed:
// clap would take `-1` for an unknown option.

/// A size within its range.
fn size(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<u64, String> + Clone {
    recipe::whole(*range.start() as u64..=*range.end() as u64)
}

/// A whole number from `min` on.
fn whole(min: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    recipe::whole(min..=u64::MAX)
}

/// A time in seconds.
fn budget(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be a number from 0.01 to 3600".to_owned()),
    }
}

/// A number of steps after which something is done again.
fn every(text: &str) -> Result<NonZeroU64, String> {
    whole(1)(text).map(|steps| NonZeroU64::MIN.saturating_add(steps - 1))
}

/// A list or a range of numbers.
fn listed<T>(
    one: impl Fn(&str) -> Result<T, String> + Clone,
    value: fn(T) -> Value,
) -> impl Fn(&str) -> Result<Values, String> + Clone {
    move |text| Values::parse(text, |text| one(text).map(value))
}

/// A character that separates columns.
fn delimiter(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    match (text, chars.next(), chars.next()) {
        ("tab" | "\\t", ..) => Ok('\t'),
        (_, Some(one), None) if is_delimiter(one) => Ok(one),
        _ => Err("must be one character, like ';', or tab; no quotation mark".to_owned()),
    }
}

fn seeds(text: &str) -> Result<Values, String> {
    let one = |text: &str| whole(0)(text).map(Value::Whole);
    values::seeds(text, recipe::whole(1..=100_000), one)
}

/// What `--adapter` asks for.
///
/// # Errors
///
/// It asks for nothing.
pub fn pick(text: &str) -> Result<Pick, String> {
    let (field, rest) = text.split_once(':').unwrap_or(("", text));
    let (pick, text): (fn(String) -> Pick, _) = match field {
        "name" => (Pick::Name, rest),
        "driver" => (Pick::Driver, rest),
        _ => (Pick::Text, text),
    };
    if text.trim().is_empty() {
        return Err("must be a number, or a part of a name or driver, from `adapters`".to_owned());
    }
    if field.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse() {
            Ok(number) if number > 0 => Ok(Pick::Number(number)),
            _ => Err("must be a number from `adapters`, where the first is 1".to_owned()),
        };
    }
    Ok(pick(text.to_owned()))
}

/// The text itself, which is kept in checkpoints.
fn adapter(text: &str) -> Result<String, String> {
    pick(text).map(|_| text.to_owned())
}

/// `learn`
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
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
    /// Check exercises; without a name, check all of them and say which is next
    Check(LearnCheckArgs),
    /// Train the model with your own gradients: exercise 4 of the lecture
    Train(LearnTrainArgs),
    /// Find the planted mistake: one line of the program's own kernels is changed
    Hunt(LearnHuntArgs),
    /// Check on every save, and go on to the next exercise
    Watch(LearnDirArgs),
    /// Print a hint: each says a little more than the one before
    Hint(LearnHintArgs),
    /// Print the solution
    Solution(LearnNameArgs),
    /// List the exercises, with the verdict on each
    List(LearnDirArgs),
    /// Compare learners: a row for each folder, a mark for each exercise
    Report(LearnReportArgs),
}

/// The folder of the exercises.
#[derive(Args, Clone, Debug)]
pub struct LearnDirArgs {
    /// Folder with the exercises
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
}

/// `learn check`
#[derive(Args, Clone, Debug)]
pub struct LearnCheckArgs {
    /// Exercises, by name or number
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: LearnDirArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `learn train`
#[derive(Args, Clone, Debug)]
pub struct LearnTrainArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: LearnDirArgs,
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
pub struct LearnNameArgs {
    /// The exercise, by name or number
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `learn hint`
#[derive(Args, Clone, Debug)]
pub struct LearnHintArgs {
    /// The exercise, by name or number
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Which hint: 1 the shapes, 2 one element, 3 the line in words, 4 the derivation, where there is one
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub step: usize,
}

/// `learn report`
#[derive(Args, Clone, Debug)]
pub struct LearnReportArgs {
    /// Folders with exercises, one for each learner
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `learn hunt`
#[derive(Args, Clone, Debug)]
pub struct LearnHuntArgs {
    /// Number of the mistake [default: one at random]
    #[arg(value_name = "N")]
    pub number: Option<usize>,
    /// Your guess: the line of the mistake
    #[arg(long, value_name = "FILE:LINE", requires = "number")]
    pub line: Option<String>,
    /// Give up: print the line, as it should be and as it is
    #[arg(long, requires = "number", conflicts_with = "line")]
    pub give_up: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// The picture with both curves
    #[arg(long, default_value = "hunt.png", value_name = "FILE")]
    pub out: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn a_tenth_has_the_same_digits() {
        assert_eq!(tenth(0.1).to_bits(), 0.01_f64.to_bits());
        for (rate, lower) in [(0.7, 0.07), (3.0, 0.3), (1e-300, 1e-301), (0.0, 0.0)] {
            assert_eq!(tenth(rate), lower);
        }
        assert_eq!(tenth(3e38), 3e37);
    }

    /// Each range in the help is the one that is checked, and every command that has a size shows it.
    #[test]
    fn the_help_tells_the_ranges_that_are_checked() {
        for name in ["train", "sweep", "gradcheck"] {
            let cli = Cli::definition();
            let command = cli.find_subcommand(name).unwrap();
            let width = (name == "sweep").then_some(("width", WIDTH));
            for (id, range) in SIZES.into_iter().chain(width) {
                let arg = command.get_arguments().find(|arg| arg.get_id() == id);
                let help = arg.unwrap().get_help().unwrap().to_string();
                let (min, max) = range.into_inner();
                assert!(help.ends_with(&format!("[{min} to {max}]")), "{help}");
                let option = format!("--{}", id.replace('_', "-"));
                for (value, allowed) in [
                    (min.wrapping_sub(1), false),
                    (min, true),
                    (max, true),
                    (max + 1, false),
                ] {
                    let value = value.to_string();
                    let given = ["gpu-makemore", name, &option, &value].map(OsString::from);
                    assert_eq!(Cli::of(given).is_ok(), allowed, "{option} {value}");
                }
            }
        }
    }

    /// A range that a help text names, as in `Steps [1 or more]`, is the one that is checked.
    #[test]
    fn the_ranges_in_the_texts_are_checked() {
        let mut seen = 0;
        for name in ["train", "sweep", "sample"] {
            let cli = Cli::definition();
            let command = cli.find_subcommand(name).unwrap();
            for arg in command.get_arguments() {
                let help = arg.get_help().cloned().unwrap_or_default().to_string();
                let brackets = help.split('[').filter_map(|part| part.split_once(']'));
                let named = brackets.filter_map(|(range, _)| {
                    Some(match range.split_once(' ')? {
                        ("0", "or more") => (vec!["0"], vec!["-1", "0.5"]),
                        ("1", "or more") => (vec!["1"], vec!["0", "-1", "0.5"]),
                        ("0", "to 1000") => (vec!["0", "1000"], vec!["-1", "1001", "0.5"]),
                        ("1", "to 1000") => (vec!["1", "1000"], vec!["0", "1001", "0.5"]),
                        ("0", "to 3e38") => (vec!["0", "3e38"], vec!["-1", "4e38", "nan"]),
                        _ => return None, // a default, or a size: see above
                    })
                });
                for (allowed, refused) in named {
                    let option = match arg.get_long() {
                        Some(long) => format!("--{long}"),
                        None => format!("-{}", arg.get_short().unwrap()),
                    };
                    let parsed = |value: &str| {
                        // `sample` needs a model; the others have all they need.
                        let mut words = vec!["gpu-makemore", name, &option, value];
                        if name == "sample" {
                            words.extend(["--checkpoint", "x"]);
                        }
                        Cli::of(words.into_iter().map(OsString::from)).is_ok()
                    };
                    seen += 1;
                    assert!(allowed.iter().all(|value| parsed(value)), "{name} {option}");
                    assert!(
                        !refused.iter().any(|value| parsed(value)),
                        "{name} {option}"
                    );
                }
            }
        }
        assert_eq!(seen, 19);
    }

    #[test]
    fn an_adapter_is_asked_for_by_number_or_text() {
        let of = |text: &str| text.to_owned();
        for (text, expected) in [
            ("1", Pick::Number(1)),
            ("007", Pick::Number(7)),
            ("4090", Pick::Number(4090)),
            ("name:4090", Pick::Name(of("4090"))),
            ("driver:535", Pick::Driver(of("535"))),
            ("driver:a:b", Pick::Driver(of("a:b"))),
            ("RTX 4090", Pick::Text(of("RTX 4090"))),
            ("0x1", Pick::Text(of("0x1"))),
            ("-1", Pick::Text(of("-1"))),
            ("a:b", Pick::Text(of("a:b"))),
            ("name", Pick::Text(of("name"))),
        ] {
            assert_eq!(pick(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            " ",
            "name:",
            "driver: ",
            "0",
            "00",
            "99999999999999999999",
        ] {
            assert!(
                pick(text).unwrap_err().starts_with("must be a number"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_defaults_are_the_lectures() {
        let cli = Cli::of(["gpu-makemore", "train"].map(OsString::from)).unwrap();
        let Command::Train(args) = cli.command else {
            panic!("train");
        };
        assert_eq!(
            (args.steps, args.batch_size, args.seed),
            (200_000, 32, 2_147_483_647)
        );
        assert_eq!(
            (args.lr, args.lr_final(), args.log_every()),
            (0.1, 0.01, 10_000)
        );
        assert_eq!((args.block_size, args.n_embd, args.n_hidden), (3, 10, 200));
    }
}

// The engine's own enums know nothing of a command line: their names and help stand here.
macro_rules! values {
    ($type:ty { $($variant:ident => $name:literal, $help:literal;)* }) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$variant),*]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self {
                    $(Self::$variant => PossibleValue::new($name).help($help),)*
                    #[allow(unreachable_patterns)] // of most of them, every value can be asked for
                    _ => return None,
                })
            }
        }
    };
}

values!(Api {
    Auto => "auto", "A hardware GPU if there is one, else the CPU";
    Vulkan => "vulkan", "Vulkan: Linux, Windows, Android";
    Metal => "metal", "Metal: macOS";
    Dx12 => "dx12", "Direct3D 12: Windows";
    Gl => "gl", "OpenGL ES 3.1 or OpenGL 4.3";
    Cpu => "cpu", "This program's CPU twin of the kernels";
});

values!(Schedule {
    Auto => "auto", "The faster one, by size; by a short measurement where it is close";
    Staged => "staged", "One launch per operation: for large models";
    Resident => "resident", "One workgroup keeps the model and runs many steps per launch: for small models";
});

values!(Checked {
    Auto => "auto", "The one that `train` would take";
    Staged => "staged", "One launch per operation, with whole sums and with sums in parts";
    Resident => "resident", "Many steps in one launch";
    All => "all", "All that fit the adapter";
});
