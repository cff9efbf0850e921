//! The points of a sweep: what each of its models is trained with.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::error::SweepError;
use super::short;
use super::values::{Value, Values};
use crate::cli::args::{SweepArgs, TrainArgs, tenth};
use crate::rng::TorchGenerator;

/// The most points of a sweep: `sweep.json` lists each.
pub const MAX_POINTS: usize = 100_000;
/// The ranges count as exhausted after this many draws in a row without a new point.
const MAX_REPEATS: usize = 1000;

/// What one model is trained with, under the names of `train`'s options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Point {
    pub block_size: u64,
    pub batch_size: u64,
    pub n_embd: u64,
    pub n_hidden: u64,
    pub steps: u64,
    pub lr: f64,
    pub lr_final: f64,
    pub lr_decay_at: u64,
    pub seed: u64,
}

/// The value of an option. Whole numbers stay whole: as floats, neighbouring seeds above 2^53 would be
/// the same.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// A size, a number of steps or a seed.
    Whole(u64),
    /// A learning rate.
    Real(f64),
}

impl Number {
    /// The nearest float, to place it on an axis.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Real(value) => value,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            (a, b) => a.to_f64().total_cmp(&b.to_f64()),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

/// As a person would write it.
impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) => f.write_str(&short(*value)),
        }
    }
}

/// An option of a point: its name, and its value.
pub type Field = (&'static str, fn(&Point) -> Number);

/// The options that can be swept, those that fix the model's size first.
pub const FIELDS: [Field; 8] = [
    ("block_size", |p| Number::Whole(p.block_size)),
    ("batch_size", |p| Number::Whole(p.batch_size)),
    ("n_embd", |p| Number::Whole(p.n_embd)),
    ("n_hidden", |p| Number::Whole(p.n_hidden)),
    ("steps", |p| Number::Whole(p.steps)),
    ("lr", |p| Number::Real(p.lr)),
    ("lr_final", |p| Number::Real(p.lr_final)),
    ("seed", |p| Number::Whole(p.seed)),
];

impl Point {
    /// The options with which `train` trains this model.
    pub fn train_args(&self, sweep: &SweepArgs) -> TrainArgs {
        TrainArgs {
            profile: false,
            data: sweep.data.clone(),
            columns: sweep.columns.clone(),
            device: sweep.device.clone(),
            schedule: sweep.schedule,
            steps: self.steps,
            batch_size: self.batch_size,
            block_size: self.block_size,
            n_embd: self.n_embd,
            n_hidden: self.n_hidden,
            lr: self.lr,
            lr_final: Some(self.lr_final),
            lr_decay_at: Some(self.lr_decay_at),
            seed: self.seed,
            log_every: Some(u64::MAX),
            out: None,
            checkpoint_every: None,
            resume: None,
            given: Vec::new(),
        }
    }

    /// The same with another seed counts as the same configuration.
    pub fn without_seed(&self) -> Self {
        Self {
            seed: 0,
            ..self.clone()
        }
    }
}

/// What is swept, with `train`'s default where an option is left out.
pub struct Grid {
    block_size: Values<u64>,
    batch_size: Values<u64>,
    n_embd: Values<u64>,
    n_hidden: Values<u64>,
    steps: Values<u64>,
    lr: Values<f64>,
    /// A tenth of each point's `lr` if there is none.
    lr_final: Option<Values<f64>>,
    seeds: Values<u64>,
    lr_decay_at: Option<u64>,
    random: Option<u64>,
    sweep_seed: u64,
}

fn or<T: Value>(values: &Option<Values<T>>, default: T) -> Values<T> {
    values.clone().unwrap_or(Values::List {
        values: vec![default],
        log: false,
    })
}

impl Grid {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// Nothing is swept, or ranges and `--random` do not go together.
    pub fn new(args: &SweepArgs) -> Result<Self, SweepError> {
        let given = [
            args.block_size.is_some(),
            args.batch_size.is_some(),
            args.n_embd.is_some(),
            args.n_hidden.is_some(),
            args.steps.is_some(),
            args.lr.is_some(),
            args.lr_final.is_some(),
            args.seeds.is_some(),
        ];
        if !given.contains(&true) {
            return Err(SweepError::EmptyGrid);
        }
        let default = TrainArgs::defaults();
        let grid = Self {
            block_size: or(&args.block_size, default.block_size),
            batch_size: or(&args.batch_size, default.batch_size),
            n_embd: or(&args.n_embd, default.n_embd),
            n_hidden: or(&args.n_hidden, default.n_hidden),
            steps: or(&args.steps, default.steps),
            lr: or(&args.lr, default.lr),
            lr_final: args.lr_final.clone(),
            seeds: or(&args.seeds, default.seed),
            lr_decay_at: args.lr_decay_at,
            random: args.random,
            sweep_seed: args.sweep_seed,
        };
        let range = grid.options().into_iter().find(|option| option.is_range);
        match (range, args.random) {
            (Some(option), None) => Err(SweepError::RangeInGrid {
                option: option.name,
            }),
            (None, Some(_)) => Err(SweepError::NothingToDraw),
            _ => Ok(grid),
        }
    }

    /// Each option as text.
    fn options(&self) -> [GridOption; 8] {
        [
            GridOption::new("--block-size", "block_size", &self.block_size),
            GridOption::new("--batch-size", "batch_size", &self.batch_size),
            GridOption::new("--n-embd", "n_embd", &self.n_embd),
            GridOption::new("--n-hidden", "n_hidden", &self.n_hidden),
            GridOption::new("--steps", "steps", &self.steps),
            GridOption::new("--lr", "lr", &self.lr),
            self.lr_final_option(),
            GridOption::new("--seeds", "seed", &self.seeds),
        ]
    }

    fn lr_final_option(&self) -> GridOption {
        let option = |values| GridOption::new("--lr-final", "lr_final", values);
        match (&self.lr_final, &self.lr) {
            (Some(given), _) => option(given),
            // With a single `--lr`, it reads as if it had been given.
            (None, Values::List { values, .. }) if let [lr] = values[..] => {
                option(&or(&None, tenth(lr)))
            }
            (None, _) => GridOption {
                text: "a tenth of --lr".to_owned(),
                ..option(&or(&None, 0.0))
            },
        }
    }

    /// The whole grid as text, by option, for the manifest.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let mut texts: BTreeMap<String, String> = self
            .options()
            .into_iter()
            .map(|option| (option.name.to_owned(), option.text))
            .collect();
        let decay = self.lr_decay_at;
        texts.insert(
            "--lr-decay-at".to_owned(),
            decay.map_or("half of --steps".to_owned(), |step| step.to_string()),
        );
        if let Some(draws) = self.random {
            texts.insert("--random".to_owned(), draws.to_string());
            texts.insert("--sweep-seed".to_owned(), self.sweep_seed.to_string());
        }
        texts
    }

    /// The names of the options with a logarithmic axis.
    pub fn log(&self) -> Vec<String> {
        self.options()
            .into_iter()
            .filter(|option| option.log)
            .map(|option| option.field.to_owned())
            .collect()
    }

    /// `2 draws x 3 n_hidden x 8 seeds`: all that there is more than one of.
    pub fn shape(&self) -> String {
        let mut parts: Vec<String> = self
            .random
            .map(|draws| format!("{draws} draws"))
            .into_iter()
            .collect();
        for option in self.options() {
            if option.len > 1 {
                let what = if option.field == "seed" {
                    "seeds"
                } else {
                    option.field
                };
                parts.push(format!("{} {what}", option.len));
            }
        }
        if parts.is_empty() {
            return "a single point".to_owned();
        }
        parts.join(" x ")
    }

    /// Every point, numbered by its place. The sizes change slowest and the seeds fastest.
    ///
    /// # Errors
    ///
    /// There would be too many, or the ranges are too small for so many different draws.
    pub fn points(&self) -> Result<Vec<Point>, SweepError> {
        let listed = |option: &GridOption| option.len as u128;
        let in_a_draw: u128 = self.options().iter().map(listed).product();
        let points = in_a_draw.saturating_mul(self.random.unwrap_or(1).into());
        if points > MAX_POINTS as u128 {
            return Err(SweepError::TooManyPoints {
                points,
                max: MAX_POINTS,
            });
        }
        let Some(asked) = self.random else {
            return Ok(self.draw(&mut TorchGenerator::manual_seed(self.sweep_seed)));
        };
        // Every draw is combined with the same lists, so two draws are equal if their first points are.
        let mut points: Vec<Point> = Vec::new();
        // As text, since floats have no hash. Comparing each with each took most of a second for 20,000.
        let mut firsts: HashSet<String> = HashSet::new();
        let mut generator = TorchGenerator::manual_seed(self.sweep_seed);
        let mut repeats = 0;
        while (firsts.len() as u64) < asked {
            let drawn = self.draw(&mut generator);
            if !firsts.insert(format!("{:?}", drawn[0])) {
                repeats += 1;
                if repeats == MAX_REPEATS {
                    let found = firsts.len();
                    return Err(SweepError::TooFewDraws { asked, found });
                }
                continue;
            }
            repeats = 0;
            points.extend(drawn);
        }
        Ok(points)
    }

    /// The product of what is listed, with one value of each range. The generator is asked in the
    /// same order every time.
    fn draw(&self, generator: &mut TorchGenerator) -> Vec<Point> {
        let block_sizes = self.block_size.choices(generator);
        let batch_sizes = self.batch_size.choices(generator);
        let n_embds = self.n_embd.choices(generator);
        let n_hiddens = self.n_hidden.choices(generator);
        let steps = self.steps.choices(generator);
        let lrs = self.lr.choices(generator);
        let lr_finals = (self.lr_final.as_ref()).map(|values| values.choices(generator));
        let seeds = self.seeds.choices(generator);
        let mut points = vec![Point {
            block_size: 0,
            batch_size: 0,
            n_embd: 0,
            n_hidden: 0,
            steps: 0,
            lr: 0.0,
            lr_final: 0.0,
            lr_decay_at: 0,
            seed: 0,
        }];
        cross(&mut points, &block_sizes, |p, v| p.block_size = v);
        cross(&mut points, &batch_sizes, |p, v| p.batch_size = v);
        cross(&mut points, &n_embds, |p, v| p.n_embd = v);
        cross(&mut points, &n_hiddens, |p, v| p.n_hidden = v);
        cross(&mut points, &steps, |p, v| {
            p.steps = v;
            p.lr_decay_at = self.lr_decay_at.unwrap_or(v / 2);
        });
        cross(&mut points, &lrs, |p, v| {
            p.lr = v;
            p.lr_final = tenth(v);
        });
        if let Some(lr_finals) = lr_finals {
            cross(&mut points, &lr_finals, |p, v| p.lr_final = v);
        }
        cross(&mut points, &seeds, |p, v| p.seed = v);
        points
    }
}

/// Each point with each value.
fn cross<T: Copy>(points: &mut Vec<Point>, values: &[T], set: impl Fn(&mut Point, T)) {
    *points = points
        .iter()
        .flat_map(|point| values.iter().map(move |&value| (point.clone(), value)))
        .map(|(mut point, value)| {
            set(&mut point, value);
            point
        })
        .collect();
}

/// An option of the grid, without its type.
struct GridOption {
    name: &'static str,
    field: &'static str,
    text: String,
    /// Values in each draw.
    len: usize,
    log: bool,
    is_range: bool,
}

impl GridOption {
    fn new<T: Value>(name: &'static str, field: &'static str, values: &Values<T>) -> Self {
        Self {
            name,
            field,
            text: values.text(),
            len: match values {
                Values::List { values, .. } => values.len(),
                Values::Range { .. } => 1,
            },
            log: values.log(),
            is_range: values.is_range(),
        }
    }
}
