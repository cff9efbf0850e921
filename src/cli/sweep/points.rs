//! The points of a sweep: the recipe of each of its models.

use std::collections::{BTreeMap, HashSet};

use rand::Rng;

use super::error::SweepError;
use super::values::Values;
use crate::cli::args::SweepArgs;
use crate::data::Reading;
use crate::model::recipe::{Field, Recipe, tenth};
use crate::rng::TorchGenerator;

/// The most points of a sweep: `sweep.json` lists each.
pub const MAX_POINTS: usize = 100_000;
/// The ranges count as exhausted after this many draws in a row without a new point.
const MAX_REPEATS: usize = 1000;

/// What is swept.
pub struct Grid {
    /// What all models have in common, and the values of options that are left out.
    base: Recipe,
    options: Vec<Swept>,
    lr_decay_at: Option<u64>,
    random: Option<u64>,
    sweep_seed: u64,
}

/// An option of the grid.
struct Swept {
    field: &'static Field,
    /// What was given; without it each model has its default.
    given: Option<Values>,
}

impl Swept {
    /// As the user knows it.
    fn option(&self) -> String {
        match self.field.name {
            "seed" => "--seeds".to_owned(),
            _ => self.field.option(),
        }
    }

    /// Its values in each draw, or how many there are.
    fn len(&self) -> usize {
        match &self.given {
            Some(Values::List { values, .. }) => values.len(),
            Some(Values::Range { .. }) | None => 1,
        }
    }
}

impl Grid {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// Nothing is swept, or ranges and `--random` do not go together.
    pub fn new(args: &SweepArgs) -> Result<Self, SweepError> {
        let options: Vec<Swept> = args
            .swept()
            .into_iter()
            .filter_map(|(name, given)| {
                let (field, given) = (Field::of(name)?, given.clone());
                Some(Swept { field, given })
            })
            .collect();
        if options.iter().all(|option| option.given.is_none()) {
            return Err(SweepError::EmptyGrid);
        }
        let is_range =
            |option: &&Swept| (option.given.as_ref()).is_some_and(|values| values.is_range());
        match (options.iter().find(is_range), args.random) {
            (Some(option), None) => Err(SweepError::RangeInGrid {
                option: option.option(),
            }),
            (None, Some(_)) => Err(SweepError::NothingToDraw),
            _ => Ok(Self {
                base: {
                    let data = args.data.to_string();
                    let mut base = Recipe {
                        data,
                        ..Recipe::default()
                    };
                    Reading::from(args.reading.clone()).record(&mut base);
                    base
                },
                options,
                lr_decay_at: args.lr_decay_at,
                random: args.random,
                sweep_seed: args.sweep_seed,
            }),
        }
    }

    /// The values of an option as text.
    fn text(&self, option: &Swept) -> String {
        let given_of = |name: &str| {
            let option = self.options.iter().find(|option| option.field.name == name);
            option.and_then(|option| option.given.as_ref())
        };
        match (&option.given, option.field.name) {
            (Some(values), _) => values.text(),
            // It follows `--lr`; with a single value of that, it reads as if it had been given.
            (None, "lr_final") => match given_of("lr") {
                None => tenth(self.base.lr).to_string(),
                Some(Values::List { values, .. }) if values.len() == 1 => {
                    tenth(values[0].to_f64()).to_string()
                }
                Some(_) => "a tenth of --lr".to_owned(),
            },
            (None, _) => (option.field.get)(&self.base).to_string(),
        }
    }

    /// The whole grid as text, by option, for the manifest.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let options = self.options.iter();
        let mut texts: BTreeMap<String, String> = options
            .map(|option| (option.option(), self.text(option)))
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
        let log = |option: &&Swept| (option.given.as_ref()).is_some_and(|values| values.log());
        let options = self.options.iter().filter(log);
        options.map(|option| option.field.name.to_owned()).collect()
    }

    /// `2 draws x 3 n_hidden x 8 seeds`: all that there is more than one of.
    pub fn shape(&self) -> String {
        let mut parts: Vec<String> = self
            .random
            .map(|draws| format!("{draws} draws"))
            .into_iter()
            .collect();
        for option in self.options.iter().filter(|option| option.len() > 1) {
            let what = match option.field.name {
                "seed" => "seeds",
                name => name,
            };
            parts.push(format!("{} {what}", option.len()));
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
    /// There would be too many, or the ranges have too few values for that number of different draws.
    pub fn points(&self) -> Result<Vec<Recipe>, SweepError> {
        let lens = self.options.iter().map(|option| option.len() as u128);
        let in_a_draw: u128 = lens.product();
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
        let mut points: Vec<Recipe> = Vec::new();
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

    /// The product of what is listed, with one value of each range. The generator is asked in the order of
    /// the options every time.
    fn draw(&self, rng: &mut impl Rng) -> Vec<Recipe> {
        let mut points = vec![Recipe {
            lr_decay_at: self.lr_decay_at.unwrap_or(self.base.lr_decay_at),
            ..self.base.clone()
        }];
        for Swept { field, given } in &self.options {
            let Some(values) = given else { continue };
            let values = values.choices(rng);
            let with = |point: &Recipe, value| {
                let mut point = point.clone();
                (field.set)(&mut point, value);
                // What follows another option, unless it is given itself.
                match field.name {
                    "steps" => point.lr_decay_at = self.lr_decay_at.unwrap_or(point.steps / 2),
                    "lr" => point.lr_final = tenth(point.lr),
                    _ => {}
                }
                point
            };
            points = points
                .iter()
                .flat_map(|point| values.iter().map(|value| with(point, value.clone())))
                .collect();
        }
        points
    }
}
