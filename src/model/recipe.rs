//! The recipe of a model: every choice that shapes it, once.
//!
//! The command line, the metadata of a checkpoint, the comparison before a run is continued, the points of
//! a sweep with its tables, and `summary.json` all follow from [`Recipe`] and its [`FIELDS`].

use std::cmp::Ordering;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::dims::{Dims, DimsError};
use super::steps::LearningRate;

/// Declares the recipe and the list of its fields. The kind of a field says which [`Value`] it is.
macro_rules! recipe {
    ($(
        #[doc = $about:literal]
        $(#[serde($($serde:tt)*)])?
        $name:ident: $type:ty = $kind:ident, $default:expr;
    )*) => {
        /// Every choice that shapes a model. What it runs on adds rounding errors and is recorded apart.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct Recipe {
            $(#[doc = $about] $(#[serde($($serde)*)])? pub $name: $type,)*
        }

        impl Default for Recipe {
            /// The lecture's.
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// The fields of a [`Recipe`] in their order.
        pub const FIELDS: &[Field] = &[$(Field {
            name: stringify!($name),
            about: $about.trim_ascii(),
            get: |recipe| Value::$kind(recipe.$name.clone()),
            set: |recipe, value| {
                if let Value::$kind(value) = value {
                    recipe.$name = value;
                }
            },
        },)*];
    };
}

recipe! {
    /// Characters of context that predict the next one.
    block_size: u64 = Whole, 3;
    /// Examples in a minibatch.
    batch_size: u64 = Whole, 32;
    /// Length of an embedding vector.
    n_embd: u64 = Whole, 10;
    /// Units of the hidden layer.
    n_hidden: u64 = Whole, 200;
    /// Training steps.
    steps: u64 = Whole, 200_000;
    /// Learning rate of the first steps.
    lr: f64 = Real, 0.1;
    /// Learning rate from step `lr_decay_at` on.
    lr_final: f64 = Real, 0.01;
    /// The first step with `lr_final`.
    lr_decay_at: u64 = Whole, 100_000;
    /// Seed of the initial values and the minibatches.
    seed: u64 = Whole, 2_147_483_647;
    /// What the model is trained on: the name of a data set or of a file.
    data: String = Text, "names".to_owned();
    /// The column of the data that is read, if it has columns.
    column: Option<String> = Optional, None;
    /// Whether the cleaning rules are applied to the data.
    clean: bool = Switch, false;
    /// What separates the columns of the data, if that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delimiter: Option<String> = Optional, None;
    /// Whether the first line of a table of data does not name its columns.
    #[serde(default, skip_serializing_if = "is_off")]
    no_header: bool = Switch, false;
    /// Whether each line of the data is a word, whatever it looks like.
    #[serde(default, skip_serializing_if = "is_off")]
    as_text: bool = Switch, false;
    /// The encoding of the data, if that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<String> = Optional, None;
    /// Whether lines of the data that cannot be read are left out.
    #[serde(default, skip_serializing_if = "is_off")]
    skip_bad_lines: bool = Switch, false;
    /// Whether the words are brought to lower case.
    #[serde(default, skip_serializing_if = "is_off")]
    lowercase: bool = Switch, false;
    /// The model whose parameters are the initial values, if those are not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init_from: Option<String> = Optional, None;
    /// A checksum of those parameters ([`Params::sha256`](crate::model::params::Params::sha256)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init_sha256: Option<String> = Optional, None;
}

/// Files leave out a switch that was added later, unless it is on: those of the versions before have none.
pub(crate) fn is_off(switch: &bool) -> bool {
    !switch
}

/// A field of a [`Recipe`].
pub struct Field {
    /// Its name, as Rust, JSON and CSV have it; as an option it has hyphens ([`Field::option`]).
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its value.
    pub get: fn(&Recipe) -> Value,
    /// Sets it; a value of another kind changes nothing.
    pub set: fn(&mut Recipe, Value),
}

impl Field {
    /// The range of a whole number.
    pub fn range(&self) -> Option<RangeInclusive<u64>> {
        if let Some((_, range)) = SIZES.iter().find(|(name, _)| *name == self.name) {
            return Some(*range.start() as u64..=*range.end() as u64);
        }
        match self.name {
            "steps" => Some(1..=u64::MAX),
            "lr_decay_at" | "seed" => Some(0..=u64::MAX),
            _ => None,
        }
    }

    /// A value from text.
    ///
    /// # Errors
    ///
    /// What the text must be.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        Ok(match (self.get)(&Recipe::default()) {
            Value::Whole(_) => Value::Whole(whole(self.range().unwrap_or(0..=u64::MAX))(text)?),
            Value::Real(_) => Value::Real(rate(text)?),
            Value::Text(_) => Value::Text(text.to_owned()),
            Value::Optional(_) => Value::Optional(Some(text.to_owned())),
            Value::Switch(_) => Value::Switch(match text {
                "true" => true,
                "false" => false,
                _ => return Err("must be true or false".to_owned()),
            }),
        })
    }

    /// The field of a name.
    pub fn of(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// The option of the command line that sets it: `--n-hidden`.
    pub fn option(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}

/// The value of a field.
#[derive(Clone, Debug)]
pub enum Value {
    /// A size, a number of steps or a seed. Whole numbers stay whole: as floats, neighbouring seeds above
    /// 2^53 would be equal.
    Whole(u64),
    /// A learning rate.
    Real(f64),
    /// The name of something that is always there.
    Text(String),
    /// A text, if there is one.
    Optional(Option<String>),
    /// On or off.
    Switch(bool),
}

impl Value {
    /// The nearest float, to place a number on an axis; what is no number has no place there.
    pub fn to_f64(&self) -> f64 {
        match self {
            Self::Whole(value) => *value as f64,
            Self::Real(value) => *value,
            Self::Text(_) | Self::Optional(_) | Self::Switch(_) => f64::NAN,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Optional(a), Self::Optional(b)) => a.cmp(b),
            (Self::Switch(a), Self::Switch(b)) => a.cmp(b),
            (a, b) => a.to_f64().total_cmp(&b.to_f64()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

/// As a person would write it.
impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) if value.fract() == 0.0 && value.abs() < 1e15 => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value:?}"),
            Self::Text(text) | Self::Optional(Some(text)) => f.write_str(text),
            Self::Optional(None) => f.write_str("not given"),
            Self::Switch(on) => write!(f, "{on}"),
        }
    }
}

impl Recipe {
    /// The sizes, with a vocabulary of `vocab` characters.
    ///
    /// # Errors
    ///
    /// One is out of range.
    pub fn dims(&self, vocab: usize) -> Result<Dims, DimsError> {
        self.unchecked_dims(vocab).validate()
    }

    /// The sizes, not checked against their ranges.
    pub fn unchecked_dims(&self, vocab: usize) -> Dims {
        Dims {
            vocab,
            block: self.block_size as usize,
            embd: self.n_embd as usize,
            hidden: self.n_hidden as usize,
            batch: self.batch_size as usize,
        }
    }

    /// The learning rate of each step.
    pub fn learning_rate(&self) -> LearningRate {
        LearningRate {
            lr: self.lr,
            lr_final: self.lr_final,
            decay_at: self.lr_decay_at,
        }
    }

    /// The first field in which it differs from another recipe.
    pub fn difference(&self, other: &Self) -> Option<&'static Field> {
        FIELDS
            .iter()
            .find(|field| (field.get)(self) != (field.get)(other))
    }
}

/// The sizes among the fields, and the ranges that [`Dims`] allows them.
pub const SIZES: [(&str, RangeInclusive<usize>); 4] = [
    ("batch_size", Dims::BATCH),
    ("block_size", Dims::BLOCK),
    ("n_embd", Dims::EMBD),
    ("n_hidden", Dims::HIDDEN),
];

/// Reads a whole number within a range.
pub fn whole(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| match text.parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(format!(
            "must be a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// Reads a learning rate. It is checked as f32, in which the program computes with it: 1e300 would be infinite
/// there.
///
/// # Errors
///
/// What the text must be.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate >= 0.0 && (rate as f32).is_finite() => Ok(rate),
        _ => Err("must be a number from 0 to 3e38, like 0.1".to_owned()),
    }
}

/// `lr_decay_at` of a run of `steps` steps, unless it is chosen.
pub fn default_decay_at(steps: u64) -> u64 {
    steps / 2
}

/// Steps between two rows of metrics in a run of `steps` steps, unless they are chosen: twenty rows.
pub fn default_log_every(steps: u64) -> u64 {
    steps.div_ceil(20).max(1)
}

/// Steps between two checkpoints in a run of `steps` steps, unless they are chosen: ten checkpoints.
pub fn default_checkpoint_every(steps: u64) -> u64 {
    steps.div_ceil(10).max(1)
}

/// A tenth of a rate, as a person would write it: the same digits with the point one place further left.
/// (0.7 / 10.0 is 0.06999999999999999.)
pub fn tenth(rate: f64) -> f64 {
    format!("{rate}e-1").parse().unwrap_or(rate / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_lectures_recipe() {
        let recipe = Recipe::default();
        assert_eq!(recipe.dims(27).unwrap(), Dims::LECTURE);
        assert_eq!(recipe.lr_final, tenth(recipe.lr));
        assert_eq!(2 * recipe.lr_decay_at, recipe.steps);
    }

    /// Of the default recipe, files have the first twelve fields, as they always had; of another, all.
    #[test]
    fn the_fields_are_those_of_the_files() {
        let names = |recipe: &Recipe| -> Vec<String> {
            let text = serde_json::to_string(recipe).unwrap();
            assert_eq!(&serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
            let fields: serde_json::Map<_, _> = serde_json::from_str(&text).unwrap();
            fields.keys().cloned().collect()
        };
        let mut all: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        let mut first = all[..12].to_vec();
        first.sort_unstable();
        assert_eq!(names(&Recipe::default()), first);
        let mut other = Recipe::default();
        for field in FIELDS {
            let value = match (field.get)(&other) {
                Value::Optional(_) => Value::Optional(Some("x".to_owned())),
                Value::Switch(_) => Value::Switch(true),
                value => value,
            };
            (field.set)(&mut other, value);
        }
        all.sort_unstable();
        assert_eq!(names(&other), all);
        assert_eq!(Field::of("n_hidden").unwrap().option(), "--n-hidden");
        // Recipes without them are written as they were before there were any.
        let usual = serde_json::to_string(&Recipe::default()).unwrap();
        assert!(!usual.contains("init"), "{usual}");
        let read: Recipe = serde_json::from_str(&usual).unwrap();
        assert_eq!(read, Recipe::default());
    }

    #[test]
    fn every_field_can_be_set_and_makes_a_difference() {
        for field in FIELDS {
            let (whole, mut recipe) = (Recipe::default(), Recipe::default());
            let other = match (field.get)(&whole) {
                Value::Whole(value) => Value::Whole(value + 1),
                Value::Real(value) => Value::Real(value + 1.0),
                Value::Text(text) => Value::Text(text + "x"),
                Value::Optional(_) => Value::Optional(Some("name".to_owned())),
                Value::Switch(on) => Value::Switch(!on),
            };
            (field.set)(&mut recipe, other.clone());
            assert_eq!((field.get)(&recipe), other);
            assert_eq!(whole.difference(&recipe).unwrap().name, field.name);
        }
        assert!(Recipe::default().difference(&Recipe::default()).is_none());
    }

    #[test]
    fn whole_numbers_above_2_to_the_53_differ() {
        let [a, b] = [0, 1].map(|i| Value::Whole((1 << 60) + i));
        assert!(a < b && a.to_f64() == b.to_f64());
        assert_eq!(Value::Real(0.1).to_string(), "0.1");
        assert_eq!(Value::Real(2.0).to_string(), "2");
    }

    #[test]
    fn a_tenth_has_the_same_digits() {
        assert_eq!(tenth(0.7), 0.07);
        assert_eq!(tenth(0.001), 0.0001);
    }
}
