//! The choices that the page offers, and the recipe that they make.

use std::collections::BTreeMap;

use gpu_makemore::Recipe;
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::recipe::{FIELDS, Field, Value, tenth};
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::messages::{Setting, Settings};

/// The largest learning rate: above it f32 has no number. As for the program's `--lr`.
const LARGEST_RATE: f64 = 3e38;
/// The largest whole number that JavaScript tells from its neighbours.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_991.0;

/// The range of a number.
fn range(field: &Field) -> Option<(f64, f64)> {
    let sizes =
        |range: std::ops::RangeInclusive<usize>| (*range.start() as f64, *range.end() as f64);
    Some(match field.name {
        "block_size" => sizes(Dims::BLOCK),
        "batch_size" => sizes(Dims::BATCH),
        "n_embd" => sizes(Dims::EMBD),
        "n_hidden" => sizes(Dims::HIDDEN),
        "steps" => (1.0, LARGEST_WHOLE),
        "lr_decay_at" | "seed" => (0.0, LARGEST_WHOLE),
        "lr" | "lr_final" => (0.0, LARGEST_RATE),
        _ => return None,
    })
}

/// The numbers of the recipe, with their ranges and the lecture's values.
///
/// # Errors
///
/// They cannot be handed over.
#[wasm_bindgen]
pub fn settings() -> Result<Ts<Settings>, JsError> {
    let lecture = Recipe::default();
    let setting = |field: &Field| {
        let (min, max) = range(field)?;
        let default = (field.get)(&lecture);
        Some(Setting {
            name: field.name.to_owned(),
            option: field.option(),
            about: field.about.trim_end_matches('.').to_owned(),
            whole: matches!(default, Value::Whole(_)),
            default: default.to_string(),
            min,
            max,
        })
    };
    Ok(Settings(FIELDS.iter().filter_map(setting).collect()).into_ts()?)
}

/// The recipe of these fields. What is left out follows from the others as on the command line: the second
/// learning rate is a tenth of the first, and begins after half of the steps.
///
/// # Errors
///
/// A field that does not exist, or a value that it cannot have.
pub fn recipe(given: &BTreeMap<String, String>) -> Result<Recipe, String> {
    let mut recipe = Recipe::default();
    for (name, text) in given {
        let field = Field::of(name).filter(offered).ok_or_else(|| {
            let names: Vec<_> = FIELDS.iter().filter(offered).map(|f| f.name).collect();
            format!(
                "{name}: no such setting; the settings are {}",
                names.join(", ")
            )
        })?;
        (field.set)(&mut recipe, value(field, text)?);
    }
    if !given.contains_key("lr_final") {
        recipe.lr_final = tenth(recipe.lr);
    }
    if !given.contains_key("lr_decay_at") {
        recipe.lr_decay_at = recipe.steps / 2;
    }
    Ok(recipe)
}

/// Whether the page has it: models from elsewhere are opened, not named.
fn offered(field: &&Field) -> bool {
    !matches!(field.name, "init_from" | "init_sha256")
}

/// The fields of a recipe as texts.
pub fn fields(recipe: &Recipe) -> BTreeMap<String, String> {
    let given = FIELDS
        .iter()
        .map(|field| (field.name, (field.get)(recipe)))
        .filter(|(_, value)| !matches!(value, Value::Optional(None) | Value::Switch(false)));
    given
        .map(|(name, value)| (name.to_owned(), value.to_string()))
        .collect()
}

fn value(field: &Field, text: &str) -> Result<Value, String> {
    let name = field.name;
    let within = |number: f64| match range(field) {
        Some((min, max)) if !(min..=max).contains(&number) => {
            Err(format!("{name}={text}: from {min} to {max} is wanted"))
        }
        _ => Ok(()),
    };
    Ok(match (field.get)(&Recipe::default()) {
        Value::Whole(_) => {
            let number: u64 = text
                .parse()
                .map_err(|_| format!("{name}={text}: a whole number is wanted"))?;
            within(number as f64)?;
            Value::Whole(number)
        }
        Value::Real(_) => {
            let number: f64 = text
                .parse()
                .map_err(|_| format!("{name}={text}: a number is wanted"))?;
            within(number)?;
            Value::Real(number)
        }
        Value::Text(_) => Value::Text(text.to_owned()),
        Value::Optional(_) => Value::Optional(Some(text.to_owned())),
        Value::Switch(_) => Value::Switch(match text {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(format!("{name}={text}: true or false is wanted")),
        }),
    })
}
