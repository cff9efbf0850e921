//! The choices that the page offers, and the recipe that they make.

use std::collections::BTreeMap;

use gpu_makemore::Recipe;
use gpu_makemore::model::recipe::{FIELDS, Field, Value, default_decay_at, tenth};
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::messages::{Setting, Settings};

/// The numbers of the recipe, with their ranges and the lecture's values.
///
/// # Errors
///
/// They cannot be handed over.
#[wasm_bindgen]
pub fn settings() -> Result<Ts<Settings>, JsError> {
    let lecture = Recipe::default();
    let setting = |field: &Field| {
        let default = (field.get)(&lecture);
        let (min, max) = match default {
            Value::Whole(_) => {
                let range = field.range()?;
                (*range.start() as f64, *range.end() as f64)
            }
            Value::Real(_) => (0.0, 3e38), // as `rate` says
            _ => return None,
        };
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
        let value = field.parse(text);
        (field.set)(
            &mut recipe,
            value.map_err(|e| format!("{name}={text}: {e}"))?,
        );
    }
    if !given.contains_key("lr_final") {
        recipe.lr_final = tenth(recipe.lr);
    }
    if !given.contains_key("lr_decay_at") {
        recipe.lr_decay_at = default_decay_at(recipe.steps);
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
