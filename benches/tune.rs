//! Times the ways in which a step can be laid out on the adapters of this machine, beside the one that the
//! program takes:
//!
//! ```sh
//! cargo run --release --example tune
//! ```
//!
//! The resident schedule shares a step out among the invocations of a workgroup (`WorkSplit::hardware` in
//! `src/gpu/plan.rs`); the staged one cuts long sums until there are invocations enough (`ENOUGH`,
//! `ADDERS` and `IN_PARTS` of `Layout` in `src/gpu/layout.rs`). Whoever has a GPU that the constants there
//! do not suit sees it here. Each layout is first held against the CPU for a few steps. It is printed as it
//! is timed; a table of all of them follows, the fastest first.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use gpu_makemore::backend::{Api, Backend};
use gpu_makemore::cli::environment;
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::data::{self, Dataset};
use gpu_makemore::gpu::adapter::{Found, enumerate};
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::kernels::Kernels;
use gpu_makemore::gpu::layout::Layout;
use gpu_makemore::gpu::plan::{Plan, WorkSplit};
use gpu_makemore::gpu::probe::Answers;
use gpu_makemore::gpu::resident::Resident;
use gpu_makemore::gpu::staged::{Staged, step_of};
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::params::Params;
use gpu_makemore::model::steps::Steps;
use gpu_makemore::rng::TorchGenerator;
use gpu_makemore::{model::steps::LearningRate, training::Stream};
use pollster::FutureExt as _;

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
    /// Models that the resident schedule trains at once
    #[arg(long, default_values_t = [1], value_delimiter = ',')]
    models: Vec<usize>,
    /// Only adapters with this in their name
    #[arg(long, default_value = "")]
    gpu: String,
    /// How long each way is timed
    #[arg(long, default_value_t = 500)]
    milliseconds: u64,
    /// Only the first N layouts of each schedule; the program's own is the first
    #[arg(long, value_name = "N")]
    first: Option<usize>,
}

/// Steps that are held against the CPU.
const FIRST: usize = 3;
/// A call of `train` takes about so long, as in the trainer.
const CHUNK: Duration = Duration::from_millis(50);

/// Steps as they are trained.
struct Training<'a> {
    names: &'a Dataset,
    dims: Dims,
    time: Duration,
    /// The first losses, by the CPU.
    losses: Vec<f32>,
}

impl<'a> Training<'a> {
    fn new(names: &'a Dataset, dims: Dims, time: Duration) -> Result<Self, Error> {
        let mut training = Self {
            names,
            dims,
            time,
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

    /// The least time of a step, after the first ones have been found right. `train` gives the losses of
    /// one model.
    fn time(
        &self,
        mut train: impl FnMut(&Steps) -> Result<Vec<f32>, Error>,
    ) -> Result<Duration, Error> {
        let (_, steps) = self.steps(FIRST);
        for (i, (got, want)) in train(&steps)?.iter().zip(&self.losses).enumerate() {
            let close = (got - want).abs() <= 1e-4;
            if !close {
                return Err(format!("the loss of step {i} is {got}, and {want} on the CPU").into());
            }
        }
        let mut timed = |steps: &Steps| -> Result<Duration, Error> {
            let start = Instant::now();
            train(steps)?;
            Ok(start.elapsed() / steps.len() as u32)
        };
        let one = timed(&steps)?;
        let count = (CHUNK.as_secs_f64() / one.as_secs_f64()).clamp(1.0, 4096.0) as usize;
        let (_, steps) = self.steps(count);
        let (start, mut least) = (Instant::now(), one);
        while start.elapsed() < self.time {
            least = least.min(timed(&steps)?);
        }
        Ok(least)
    }
}

/// Invocations of a workgroup that are tried.
const WORKERS: [usize; 6] = [32, 64, 128, 256, 512, 1024];

/// The program's own way, and others.
fn splits(found: &Found, dims: &Dims) -> Vec<WorkSplit> {
    let own = WorkSplit::of(found, dims);
    let limits = found.adapter.limits();
    let most = limits
        .max_compute_invocations_per_workgroup
        .min(limits.max_compute_workgroup_size_x) as usize;
    let mut splits = vec![own];
    for workers in WORKERS.into_iter().filter(|&workers| workers <= most) {
        let split = WorkSplit::with_workers(dims, workers);
        splits.extend([
            split,
            WorkSplit { slices: 1, ..split },
            WorkSplit {
                slices: 2 * split.slices,
                ..split
            },
            WorkSplit {
                row_slices: 1,
                ..split
            },
            WorkSplit {
                row_workers: 1,
                ..split
            },
        ]);
    }
    distinct(splits, |split| *split)
}

/// The first of those that have the same key.
fn distinct<T, K: PartialEq>(all: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = Vec::new();
    let is_new = |item: &T| {
        let key = key(item);
        let is_new = !seen.contains(&key);
        seen.push(key);
        is_new
    };
    all.into_iter().filter(is_new).collect()
}

fn time_resident(
    training: &Training<'_>,
    found: &Found,
    split: WorkSplit,
    models: usize,
) -> Result<Duration, Error> {
    let gpu = Gpu::open(found).block_on()?;
    let answers = Answers::of(&gpu, split).block_on()?;
    let plan = Plan::for_driver(found, training.dims, models, split, answers.loops.done)?;
    let (params, _) = training.steps(0);
    let mut resident =
        Resident::with(gpu, found, plan, &vec![params; models], &Kernels::default()).block_on()?;
    training.time(|steps| {
        let mut losses = vec![Vec::new(); models];
        resident
            .train_all(&vec![steps; models], &mut losses)
            .block_on()?;
        Ok(losses.swap_remove(models - 1))
    })
}

/// The program's own layout, and others; those that cut every sum of a step as another one does are left
/// out.
fn layouts(found: &Found, dims: Dims) -> Vec<Layout> {
    let own = Layout::of(found, dims);
    let mut layouts = vec![own.clone()];
    for in_parts in [false, true] {
        for adders in [64, own.adders.max(256)] {
            for enough in [1, 1 << 14, 1 << 15, 1 << 16, 1 << 17, 1 << 18] {
                layouts.push(Layout {
                    in_parts,
                    adders,
                    enough,
                    ..own.clone()
                });
            }
        }
    }
    distinct(layouts, |layout| {
        let table = step_of(layout).iter();
        let cuts = table.map(|launch| layout.cut_of(launch.invocations, dims.batch));
        (layout.in_parts, layout.adders, cuts.collect::<Vec<_>>())
    })
}

fn time_staged(training: &Training<'_>, found: &Found, layout: &Layout) -> Result<Duration, Error> {
    let (params, _) = training.steps(0);
    let mut staged =
        Staged::with_layout(found, layout.clone(), &params, &Kernels::default()).block_on()?;
    training.time(|steps| {
        let mut losses = Vec::new();
        staged.train(steps, &mut losses).block_on()?;
        Ok(losses)
    })
}

/// The columns behind those of the layouts: the time of a step, and how many times the program's own that
/// is.
const LAST: [&str; 2] = ["us per step", "times ours"];

/// A table of times; the first layout is the program's own.
struct Times {
    header: Vec<&'static str>,
    /// Layouts so far.
    tried: usize,
    /// The time of the program's own layout, if it can be had.
    own: Option<Duration>,
    rows: Vec<(Duration, Vec<String>)>,
}

impl Times {
    /// Prints what the table is about, and on stderr the heads of the columns, for the rows that come
    /// one by one.
    fn new(about: &str, header: &[&'static str]) -> io::Result<Self> {
        let header: Vec<&str> = ["layout"]
            .iter()
            .chain(header)
            .chain(&LAST)
            .copied()
            .collect();
        writeln!(io::stdout(), "{about}")?;
        let heads: Vec<String> = header.iter().map(|&head| head.to_owned()).collect();
        eprintln!("{}", aligned(&header, &heads));
        Ok(Self {
            header,
            tried: 0,
            own: None,
            rows: Vec::new(),
        })
    }

    /// A layout with its sizes, or why it cannot be had.
    fn add(&mut self, sizes: &[String], time: Result<Duration, Error>) {
        let is_own = self.tried == 0;
        self.tried += 1;
        let mut cells = vec![if is_own { "ours" } else { "tried" }.to_owned()];
        cells.extend_from_slice(sizes);
        match time {
            Ok(time) => {
                if is_own {
                    self.own = Some(time);
                }
                cells.extend(self.last(time));
                eprintln!("{}", aligned(&self.header, &cells));
                self.rows.push((time, cells));
            }
            Err(error) => eprintln!("{}  {error}", aligned(&self.header, &cells)),
        }
    }

    /// The cells of the last columns.
    fn last(&self, time: Duration) -> [String; 2] {
        let ratio = |own: Duration| format!("{:.2}", time.as_secs_f64() / own.as_secs_f64());
        let ratio = self.own.map_or("-".to_owned(), ratio);
        [format!("{:.1}", micros(time)), ratio]
    }

    /// Prints the table, the fastest layout first.
    fn print(mut self) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(&self.header);
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        self.rows.sort();
        for (_, cells) in self.rows {
            table.add_row(cells);
        }
        writeln!(io::stdout(), "{table}\n")
    }
}

/// Cells below the heads of their columns.
fn aligned(header: &[&str], cells: &[String]) -> String {
    let cells = header.iter().zip(cells).map(|(head, cell)| {
        let width = head.len().max(6);
        format!("{cell:>width$}")
    });
    cells.collect::<Vec<_>>().join("  ")
}

fn micros(time: Duration) -> f64 {
    1e6 * time.as_secs_f64()
}

fn main() -> Result<(), Error> {
    // SAFETY: no thread has been started yet.
    unsafe { environment::silence_device_select() };
    let args = Args::parse();
    let dims = Dims {
        batch: args.batch_size,
        block: args.block_size,
        hidden: args.n_hidden,
        ..Dims::LECTURE
    };
    let names = data::load(&data::Options {
        block: dims.block,
        ..data::Options::default()
    })?;
    let training = Training::new(&names, dims, Duration::from_millis(args.milliseconds))?;
    let first = args.first.unwrap_or(usize::MAX);
    for found in enumerate(Api::Auto).block_on() {
        if !found.computes() || !found.info.name.contains(&args.gpu) {
            continue;
        }
        for &models in &args.models {
            let mut times = Times::new(
                &format!(
                    "{found}, resident, {models} at once; {dims}; least time of several chunks"
                ),
                &["workers", "lanes", "slices", "row slices", "row workers"],
            )?;
            for split in splits(&found, &dims).into_iter().take(first) {
                let WorkSplit {
                    workers,
                    lanes,
                    slices,
                    row_slices,
                    row_workers,
                } = split;
                let sizes = [workers, lanes, slices, row_slices, row_workers];
                let sizes = sizes.map(|size| size.to_string());
                times.add(&sizes, time_resident(&training, &found, split, models));
            }
            times.print()?;
        }
        let mut times = Times::new(
            &format!("{found}, staged; {dims}; least time of several chunks"),
            &["enough", "adders", "in parts"],
        )?;
        for layout in layouts(&found, dims).iter().take(first) {
            let sizes = [
                layout.enough.to_string(),
                layout.adders.to_string(),
                layout.in_parts.to_string(),
            ];
            times.add(&sizes, time_staged(&training, &found, layout));
        }
        times.print()?;
    }
    Ok(())
}
