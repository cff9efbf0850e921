//! Times the ways in which a step can be laid out on the adapters of this machine, beside the usual one that the
//! program takes without a measurement, and beside what a search takes:
//!
//! ```sh
//! cargo run --release --example tune
//! ```
//!
//! The candidates are those of the search (src/gpu/tuning.rs). Each is first held against the CPU for a few steps.
//! Then all are timed in turn, round after round, so that whatever makes the machine slow for a while slows all of
//! them. A table follows, the fastest first, and then what `--searches` N searches took, which `train` does within
//! `--budget` seconds where a device, driver and size meet for the first time. `--phases` times the phases of the
//! resident kernel instead: a driver times a launch, and the whole training is one, so each phase is done twice in a
//! kernel of its own, in turn with the kernel as it is. The difference is the phase.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use gpu_makemore::backend::{Api, Backend, Schedule};
use gpu_makemore::cli::environment;
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::data::{self, Dataset, Format, Source};
use gpu_makemore::engine::tune::{Tune, candidates};
use gpu_makemore::engine::{How, open_with};
use gpu_makemore::gpu::adapter::{Found, enumerate};
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::kernels::Kernels;
use gpu_makemore::gpu::layout::Layout;
use gpu_makemore::gpu::plan::Plan;
use gpu_makemore::gpu::probe::Answers;
use gpu_makemore::gpu::resident::Resident;
use gpu_makemore::gpu::shader::ProbeModules;
use gpu_makemore::gpu::staged::Staged;
use gpu_makemore::gpu::tuning::{Cuts, Tuning, WorkSplit};
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::params::Params;
use gpu_makemore::model::steps::Steps;
use gpu_makemore::rng::{PythonRandom, TorchGenerator};
use gpu_makemore::{model::steps::LearningRate, training::Stream};
use pollster::FutureExt as _;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;

type Error = Box<dyn std::error::Error>;

/// Times the ways to lay a step out on the adapters of this machine.
#[derive(Parser)]
struct Args {
    /// Examples in a minibatch
    #[arg(long, default_value_t = Dims::LECTURE.batch)]
    batch_size: usize,
    /// Characters of context; with 8, hardly any two examples have the same
    #[arg(long, default_value_t = Dims::LECTURE.block)]
    block_size: usize,
    /// Units of the hidden layer
    #[arg(long, default_value_t = Dims::LECTURE.hidden)]
    n_hidden: usize,
    /// Tokens of the vocabulary; beyond the lecture's 27, the names with their letters spread over more characters
    #[arg(long, default_value_t = Dims::LECTURE.vocab)]
    vocab_size: usize,
    /// Models that the resident schedule trains at once
    #[arg(long, default_values_t = [1], value_delimiter = ',')]
    models: Vec<usize>,
    /// Only adapters with this in their line: a part of a name, or "(gl,"
    #[arg(long, default_value = "")]
    gpu: String,
    /// How long each way is timed, in chunks of 50 ms
    #[arg(long, default_value_t = 500)]
    milliseconds: u64,
    /// What each phase of the resident kernel costs in the usual layout, and the barriers between them, instead of the
    /// layouts
    #[arg(long)]
    phases: bool,
    /// Only the first N layouts of each schedule; the usual one is the first
    #[arg(long, value_name = "N")]
    first: Option<usize>,
    /// Searches whose choice is held against the table
    #[arg(long, default_value_t = 1, value_name = "N")]
    searches: usize,
    /// Seconds of a search
    #[arg(long, default_value_t = 0.3, value_name = "SECONDS")]
    budget: f64,
}

/// Steps that are held against the CPU.
const FIRST: usize = 3;
/// A call of `train` takes about this long, as in the trainer.
const CHUNK: Duration = Duration::from_millis(50);

/// Steps as they are trained.
struct Training<'a> {
    names: &'a Dataset,
    dims: Dims,
    /// The first losses, by the CPU.
    losses: Vec<f32>,
}

impl<'a> Training<'a> {
    fn new(names: &'a Dataset, dims: Dims) -> Result<Self, Error> {
        let mut training = Self {
            names,
            dims,
            losses: Vec::new(),
        };
        let (params, steps) = training.steps(FIRST);
        let mut losses = Vec::new();
        CpuBackend::new(dims, params)
            .train(&steps, &mut losses)
            .block_on()?;
        training.losses = losses;
        Ok(training)
    }

    /// Initial values, and some steps.
    fn steps(&self, count: usize) -> (Params<f32>, Steps) {
        let mut generator = TorchGenerator::manual_seed(2_147_483_647);
        let params = Params::init(&self.dims, &mut generator);
        let rate = LearningRate {
            lr: 0.01,
            lr_final: 0.01,
            decay_at: 0,
        };
        let mut stream = Stream::new(&self.names.train, generator, rate, self.dims.batch);
        (params, stream.take(count))
    }

    /// Holds the first steps of a layout against the CPU. `train` gives the losses of one model.
    fn check(&self, train: &mut Train<'_>) -> Result<(), Error> {
        let (_, steps) = self.steps(FIRST);
        for (i, (got, want)) in train(&steps)?.iter().zip(&self.losses).enumerate() {
            let close = (got - want).abs() <= 1e-4;
            if !close {
                return Err(format!("the loss of step {i} is {got}, and {want} on the CPU").into());
            }
        }
        Ok(())
    }
}

/// Trains some steps, and gives the losses.
type Train<'a> = dyn FnMut(&Steps) -> Result<Vec<f32>, Error> + 'a;

/// A device on which layouts are made ready.
struct Device<'a> {
    gpu: Gpu,
    found: &'a Found,
    training: &'a Training<'a>,
}

impl<'a> Device<'a> {
    fn open(found: &'a Found, training: &'a Training<'a>) -> Result<Self, Error> {
        let gpu = Gpu::open(found).block_on()?;
        // As in a search.
        gpu.keep_compiled(true);
        Ok(Self {
            gpu,
            found,
            training,
        })
    }

    fn resident(
        &self,
        split: WorkSplit,
        models: usize,
        kernels: &Kernels,
    ) -> Result<Box<Train<'a>>, Error> {
        let answers = Answers::of(&self.gpu, split).block_on()?;
        let dims = self.training.dims;
        let plan = Plan::for_driver(self.found, dims, models, split, answers.loops.done)?;
        let (params, _) = self.training.steps(0);
        let params = vec![params; models];
        let resident = Resident::with(self.gpu.clone(), self.found, plan, &params, kernels);
        let mut resident = resident.block_on()?;
        Ok(Box::new(move |steps| {
            let mut losses = vec![Vec::new(); models];
            let of_all = vec![steps; models];
            resident.train_all(&of_all, &mut losses).block_on()?;
            Ok(losses.swap_remove(models - 1))
        }))
    }

    fn staged(&self, cuts: Cuts) -> Result<Box<Train<'a>>, Error> {
        let (params, _) = self.training.steps(0);
        let layout = Layout::new(self.training.dims, cuts);
        let kernels = Kernels::default();
        let staged = Staged::on(self.gpu.clone(), self.found, layout, &params, &kernels);
        let mut staged = staged.block_on()?;
        Ok(Box::new(move |steps| {
            let mut losses = Vec::new();
            staged.train(steps, &mut losses).block_on()?;
            Ok(losses)
        }))
    }

    /// A layout that is ready and right.
    fn ready(&self, tuning: Tuning, models: usize) -> Result<Ready<'a>, Error> {
        let opening = Instant::now();
        let mut train = match tuning {
            Tuning::Resident(split) => self.resident(split, models, &Kernels::default())?,
            Tuning::Staged(cuts) => self.staged(cuts)?,
        };
        self.training.check(&mut *train)?;
        self.timed(tuning, train, opening.elapsed())
    }

    /// What was made ready, with a chunk of steps to time it.
    fn timed(
        &self,
        tuning: Tuning,
        mut train: Box<Train<'a>>,
        after: Duration,
    ) -> Result<Ready<'a>, Error> {
        let (_, few) = self.training.steps(FIRST);
        let start = Instant::now();
        train(&few)?;
        let one = start.elapsed().as_secs_f64() / FIRST as f64;
        let count = (CHUNK.as_secs_f64() / one).clamp(1.0, 4096.0) as usize;
        let (_, steps) = self.training.steps(count);
        Ok(Ready {
            tuning,
            after,
            train,
            steps,
            times: Vec::new(),
        })
    }
}

/// A layout that can be timed.
struct Ready<'a> {
    tuning: Tuning,
    /// How long it took until it was ready.
    after: Duration,
    train: Box<Train<'a>>,
    /// A chunk.
    steps: Steps,
    /// Seconds per step, of each round.
    times: Vec<f64>,
}

impl Ready<'_> {
    fn time(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        (self.train)(&self.steps)?;
        let time = start.elapsed().as_secs_f64() / self.steps.len() as f64;
        self.times.push(time);
        Ok(())
    }

    /// The first quartile of the rounds, in seconds per step: what disturbs a round only makes it slower.
    fn quartile(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        times[times.len() / 4]
    }
}

/// Times all of them in turn, in rounds that each have another order: one core may be slower than another.
fn rounds(all: &mut [Ready<'_>], each: Duration) -> Result<(), Error> {
    let mut random = PythonRandom::seed_from_u64(0);
    let (start, mut round) = (Instant::now(), 0);
    while round == 0 || start.elapsed() < each * all.len() as u32 {
        let mut order: Vec<&mut Ready<'_>> = all.iter_mut().collect();
        order.shuffle(&mut random);
        for ready in order {
            ready.time()?;
        }
        round += 1;
    }
    Ok(())
}

/// The file of the resident kernel, and the calls between which its phases end.
const KERNEL: &str = "resident/train.wgsl";
const BARRIER: &str = "phase_ends();";

/// The kernel with a call made twice wherever a step makes it, and how often that is.
fn twice(text: &str, call: &str) -> (String, usize) {
    let (mut changed, mut times, mut is_step) = (String::new(), 0, false);
    for line in text.lines() {
        is_step = is_step && line.trim() != "done += 1u;" || line.trim().starts_with("let lr = ");
        changed += line;
        if is_step && line.trim() == call {
            changed += call;
            times += 1;
        }
        changed.push('\n');
    }
    (changed, times)
}

/// The calls of a step, each once, in their order.
fn calls(text: &str) -> Vec<&str> {
    let mut calls: Vec<&str> = Vec::new();
    for call in text.lines().map(str::trim) {
        let is_call = call.ends_with(");") && !call.starts_with("let ");
        if is_call && !calls.contains(&call) && twice(text, call).1 > 0 {
            calls.push(call);
        }
    }
    calls
}

/// Times each phase of the resident kernel.
fn phases(device: &Device<'_>, split: WorkSplit, each: Duration) -> Result<Table, Error> {
    let files = Kernels::default().files();
    let own = files.iter().find(|part| part.file == KERNEL);
    let own: &str = &own.ok_or("the program has no resident kernel")?.text;
    let calls = calls(own);
    let mut all = Vec::new();
    let doubled = calls.iter().map(|call| twice(own, call).0);
    for text in std::iter::once(own.to_owned()).chain(doubled) {
        let kernels = Kernels::default().with_file(KERNEL, &text);
        let kernels = kernels.ok_or("no kernel is made of the file")?;
        let train = device.resident(split, 1, &kernels)?;
        all.push(device.timed(Tuning::Resident(split), train, Duration::ZERO)?);
    }
    rounds(&mut all, each)?;
    let whole = all[0].quartile();
    let (mut table, mut sum) = (columns(["phase", "us", "of a step"]), 0.0);
    let mut row = |name: String, time: f64| {
        let [time, share] = [1e6 * time, 100.0 * time / whole];
        table.add_row([name, format!("{time:.1}"), format!("{share:.0} %")]);
    };
    for (call, ready) in calls.iter().zip(&all[1..]) {
        let time = ready.quartile() - whole;
        sum += time;
        let name = match *call {
            BARRIER => format!("{} barriers", twice(own, call).1),
            _ => call.split('(').next().unwrap_or(call).to_owned(),
        };
        row(name, time);
    }
    row("together".to_owned(), sum);
    row("a step, measured".to_owned(), whole);
    Ok(table)
}

/// A table whose columns of numbers are aligned.
fn columns<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The columns: a layout, the seconds until it was ready, the time of a step, and how many times the usual
/// one's that is.
const HEADER: [&str; 4] = ["layout", "ready s", "us per step", "times usual"];

/// A table of times.
struct Times {
    /// Seconds per step of a layout, and its row.
    rows: Vec<(f64, [String; HEADER.len()])>,
}

impl Times {
    fn new(all: &[Ready<'_>], usual: Tuning) -> Self {
        let of_usual = all.iter().find(|ready| ready.tuning == usual);
        let of_usual = of_usual.map(Ready::quartile);
        let row = |ready: &Ready<'_>| {
            let time = ready.quartile();
            let ratio = of_usual.map_or("-".to_owned(), |usual| format!("{:.2}", time / usual));
            let after = format!("{:.2}", ready.after.as_secs_f64());
            let micros = format!("{:.1}", 1e6 * time);
            (time, [ready.tuning.to_string(), after, micros, ratio])
        };
        let mut rows: Vec<_> = all.iter().map(row).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { rows }
    }

    /// The time of a layout.
    fn of(&self, tuning: Tuning) -> Option<f64> {
        let name = tuning.to_string();
        let row = self.rows.iter().find(|(_, cells)| cells[0] == name);
        row.map(|(time, _)| *time)
    }

    /// Prints the table, the fastest layout first.
    fn print(&self) -> io::Result<()> {
        let mut table = columns(HEADER);
        for (_, cells) in &self.rows {
            table.add_row(cells);
        }
        writeln!(io::stdout(), "{table}\n")
    }
}

/// What a search takes, and how that compares with the fastest of all layouts.
fn search(
    training: &Training<'_>,
    found: &Found,
    schedule: Schedule,
    budget: Duration,
    times: &Times,
) -> Result<String, Error> {
    let (params, _) = training.steps(0);
    let how = How {
        schedule,
        kernels: Kernels::default(),
        tune: Tune::Search {
            budget,
            steps: u64::MAX,
        },
    };
    let opened = open_with(found, training.dims, &params, how, &ProbeModules::new).block_on()?;
    let Some(tuned) = opened.tuned else {
        return Ok("no search".to_owned());
    };
    let best = times.rows.first().map(|(time, _)| *time);
    let ratio = match (times.of(tuned.chosen), best) {
        (Some(time), Some(best)) => format!("{:.3} times the best", time / best),
        _ => "not timed before".to_owned(),
    };
    Ok(format!(
        "{}, {ratio}; {} of {} timed in {:.2} s",
        tuned.chosen,
        tuned.times.len(),
        tuned.candidates,
        tuned.took.as_secs_f64()
    ))
}

/// The names. For another vocabulary than theirs, each letter becomes one of several characters, in turn.
fn names(dims: Dims) -> Result<Dataset, Error> {
    let options = data::Options {
        block: dims.block,
        ..data::Options::default()
    };
    if dims.vocab == Dims::LECTURE.vocab {
        return Ok(data::load(&options)?);
    }
    let characters = dims.vocab as u32 - 1;
    let mut text = String::new();
    for (i, word) in include_str!("../data/names.txt").lines().enumerate() {
        for (j, letter) in word.bytes().enumerate() {
            let letter = u32::from(letter - b'a') + 26 * (i + j) as u32;
            text.extend(char::from_u32(0x4e00 + letter % characters));
        }
        text.push('\n');
    }
    let bytes = text.as_bytes();
    let source = Source::Bytes {
        name: "spread names",
        bytes,
        format: Format::Detect,
    };
    let names = data::load(&data::Options { source, ..options })?;
    let vocab = names.vocab.len();
    if vocab != dims.vocab {
        return Err(format!(
            "the words have {vocab} tokens, not --vocab-size {}",
            dims.vocab
        )
        .into());
    }
    Ok(names)
}

fn main() -> Result<(), Error> {
    // SAFETY: no thread has been started yet.
    unsafe { environment::silence_device_select() };
    let args = Args::parse();
    let dims = Dims {
        batch: args.batch_size,
        block: args.block_size,
        hidden: args.n_hidden,
        vocab: args.vocab_size,
        ..Dims::LECTURE
    };
    let names = names(dims)?;
    let training = Training::new(&names, dims)?;
    let first = args.first.unwrap_or(usize::MAX);
    for found in enumerate(Api::Auto).block_on() {
        if !found.computes() || !found.to_string().contains(&args.gpu) {
            continue;
        }
        if args.phases {
            let split = WorkSplit::of(&found, &dims);
            let each = Duration::from_millis(args.milliseconds);
            let table = phases(&Device::open(&found, &training)?, split, each)?;
            let tuning = Tuning::Resident(split);
            writeln!(io::stdout(), "{found}, {tuning}; {dims}\n{table}\n")?;
            continue;
        }
        for schedule in [Schedule::Resident, Schedule::Staged] {
            let usual = match schedule {
                Schedule::Staged => Tuning::Staged(Cuts::usual(&found, &dims, &[])),
                _ => Tuning::Resident(WorkSplit::of(&found, &dims)),
            };
            let candidates = candidates(&found, &dims, schedule, usual);
            for &models in &args.models {
                if schedule == Schedule::Staged && models > 1 {
                    continue;
                }
                writeln!(
                    io::stdout(),
                    "{found}, {schedule}, models at once {models}; {dims}; first quartiles of rounds\n\
                     the usual layout is {usual}"
                )?;
                let device = Device::open(&found, &training)?;
                let mut all = Vec::new();
                for &tuning in candidates.iter().take(first) {
                    match device.ready(tuning, models) {
                        Ok(ready) => {
                            let after = ready.after.as_secs_f64();
                            eprintln!("  {tuning}: ready after {after:.2} s");
                            all.push(ready);
                        }
                        Err(error) => eprintln!("  {tuning}: {error}"),
                    }
                }
                if !all.is_empty() {
                    rounds(&mut all, Duration::from_millis(args.milliseconds))?;
                }
                let times = Times::new(&all, usual);
                times.print()?;
                drop((all, device));
                for i in 0..if models == 1 { args.searches } else { 0 } {
                    let budget = Duration::from_secs_f64(args.budget);
                    let taken = search(&training, &found, schedule, budget, &times)
                        .unwrap_or_else(|error| error.to_string());
                    writeln!(io::stdout(), "search {}: {taken}", i + 1)?;
                }
                writeln!(io::stdout())?;
            }
        }
    }
    Ok(())
}
