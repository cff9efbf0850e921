//! What there is to say of a model: as lines, and as JSON.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::activations;
use super::model::Shown;
use crate::model::dims::Dims;
use crate::model::moments::Moments;
use crate::model::params::Tensor;
use crate::model::plane::Axes;
use crate::model::recipe::{FIELDS, Recipe, Value, tenth};
use crate::text::listed;

/// All of it; what is not known is `None`.
#[derive(Serialize)]
pub struct Facts {
    /// The file.
    pub model: String,
    /// When it was written, in local time.
    written: Option<String>,
    sizes: Sizes,
    parameters: usize,
    /// The characters, the end mark first.
    vocabulary: Option<String>,
    made: Option<Made>,
    data: Data,
    /// What was chosen otherwise than in the lecture, as options of `train`.
    unlike_the_lecture: Option<Vec<String>>,
    /// What was chosen, with the steps that are done.
    recipe: Option<Recipe>,
    losses: Option<Losses>,
    tensors: Vec<OfTensor>,
    embeddings: Axes,
    activations: Option<activations::Facts>,
    /// Steps whose ratios were recorded.
    recorded_ratios: usize,
    /// The pictures that were written.
    pub pictures: Vec<String>,
    /// Those that were not, and why.
    pub left_out: Vec<LeftOut>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Sizes {
    vocab: usize,
    block: usize,
    embd: usize,
    hidden: usize,
}

#[derive(Serialize)]
struct Made {
    steps_done: u64,
    /// Of the whole run, if that is known.
    steps: Option<u64>,
    backend: String,
    adapter: Option<String>,
    driver: Option<String>,
    schedule: Option<String>,
    version: String,
}

#[derive(Serialize)]
struct Data {
    /// The name of a data set or of a file.
    name: Option<String>,
    sha256: Option<String>,
    /// Training examples of the words that were found.
    train_examples: Option<usize>,
    /// Why none were found.
    missing: Option<String>,
}

#[derive(Serialize)]
struct Losses {
    train: Option<f64>,
    val: Option<f64>,
    test: Option<f64>,
    /// The lowest validation loss at a checkpoint.
    best_val: Option<f64>,
    best_step: Option<u64>,
}

#[derive(Serialize)]
struct OfTensor {
    name: &'static str,
    shape: Vec<usize>,
    #[serde(flatten)]
    values: Moments,
}

/// A picture that was not written.
#[derive(Serialize)]
pub struct LeftOut {
    /// Its names.
    pub pictures: &'static [&'static str],
    /// Why.
    pub why: String,
}

impl Facts {
    /// The facts of a model, without pictures.
    pub fn of(shown: &Shown, embeddings: Axes, activations: Option<activations::Facts>) -> Self {
        let Dims {
            vocab,
            block,
            embd,
            hidden,
            ..
        } = shown.dims;
        let config = shown.config.as_ref();
        let (record, summary) = (shown.record.as_ref(), shown.summary.as_ref());
        let steps = record.map(|record| record.steps);
        let steps = steps.or(summary.map(|summary| summary.recipe.steps));
        let made = config.map(|config| {
            let known =
                |of_summary: fn(&crate::cli::report::Summary) -> String,
                 of_record: fn(&crate::checkpoint::Training) -> String| {
                    summary.map(of_summary).or(record.map(of_record))
                };
            Made {
                steps_done: config.recipe.steps,
                steps,
                backend: config.backend.clone(),
                adapter: known(|s| s.adapter.clone(), |r| r.adapter.clone()),
                driver: known(|s| s.driver.clone(), |r| r.driver.clone()),
                schedule: match summary {
                    Some(summary) => summary.schedule.clone(),
                    None => record.and_then(|record| record.schedule.clone()),
                },
                version: config.version.clone(),
            }
        });
        let best = record.and_then(|record| record.best);
        // The validation loss in a record is that of the model beside it.
        let of_file = record.filter(|_| summary.is_none() && shown.is_checkpoint());
        let losses = Losses {
            train: summary.and_then(|summary| summary.train_loss),
            val: (summary.and_then(|summary| summary.val_loss))
                .or(of_file.and_then(|record| record.val_loss)),
            test: summary.and_then(|summary| summary.test_loss),
            best_val: best.map(|best| best.val_loss),
            best_step: best.map(|best| best.step),
        };
        let none = losses.val.is_none() && losses.train.is_none() && best.is_none();
        let whole = |config: &crate::checkpoint::Config| Recipe {
            steps: steps.unwrap_or(config.recipe.steps),
            ..config.recipe.clone()
        };
        Self {
            model: shown.file.display().to_string(),
            written: written(shown),
            sizes: Sizes {
                vocab,
                block,
                embd,
                hidden,
            },
            parameters: shown.dims.parameter_count(),
            vocabulary: (shown.vocabulary.as_ref()).map(|vocab| vocab.chars().collect()),
            made,
            data: Data {
                name: match config {
                    Some(config) => Some(config.recipe.data.clone()),
                    None => shown.words.as_ref().ok().map(|words| words.label.clone()),
                },
                sha256: config.and_then(|config| config.data_sha256.clone()),
                train_examples: shown.words.as_ref().ok().map(|words| words.train.len()),
                missing: shown.words.as_ref().err().cloned(),
            },
            unlike_the_lecture: config.map(|config| unlike_the_lecture(&whole(config))),
            recipe: config.map(|config| config.recipe.clone()),
            losses: (!none).then_some(losses),
            tensors: Tensor::ALL
                .map(|tensor| OfTensor {
                    name: tensor.name(),
                    shape: tensor.shape(&shown.dims),
                    values: Moments::of(shown.params.get(tensor)),
                })
                .into(),
            embeddings,
            activations,
            recorded_ratios: shown.ratios.len(),
            pictures: Vec::new(),
            left_out: Vec::new(),
            notes: shown.notes.clone(),
        }
    }

    /// As lines for the terminal.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Lines(Vec::new());
        let written = self
            .written
            .as_ref()
            .map(|time| format!("; written {time}"));
        lines.add(
            "model",
            format!("{}{}", self.model, written.unwrap_or_default()),
        );
        let Sizes {
            vocab,
            block,
            embd,
            hidden,
        } = self.sizes;
        lines.add(
            "sizes",
            format!(
                "vocab {vocab}, block {block}, embd {embd}, hidden {hidden}: {} parameters",
                self.parameters
            ),
        );
        if let Some(vocabulary) = &self.vocabulary {
            let chars: Vec<char> = vocabulary.chars().collect();
            lines.add(
                "vocabulary",
                format!("{vocab}: {}", listed(chars.into_iter())),
            );
        }
        self.data_lines(&mut lines);
        self.making_lines(&mut lines);
        for note in &self.notes {
            lines.add("note", note.clone());
        }
        if let Some(found) = &self.activations {
            lines.add(
                "tanh",
                format!(
                    "mean {:+.2}, std {:.2}, {:.2} % saturated (|h| > {}) over {} training examples; dead units: {}",
                    found.mean,
                    found.std,
                    100.0 * found.saturated,
                    found.threshold,
                    found.examples,
                    found.dead_units
                ),
            );
        }
        let numbers = ["mean", "std", "min", "max"]
            .map(|name| format!("{name:>10}"))
            .concat();
        lines.add("tensor", format!("{:<16}{numbers}", "shape"));
        for OfTensor {
            name,
            shape,
            values,
        } in &self.tensors
        {
            let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
            let shape = format!("({})", shape.join(", "));
            let Moments {
                mean,
                std,
                min,
                max,
            } = values;
            let numbers = [mean, std, min, max].map(|value| match value.is_finite() {
                true if value.abs() < 1e3 => format!("{value:>+10.4}"),
                true => format!("{value:>+10.2e}"),
                false => format!("{:>10}", "-"), // of a single value
            });
            lines.add(name, format!("{shape:<16}{}", numbers.concat()));
        }
        for picture in &self.pictures {
            lines.add("picture", picture.clone());
        }
        for LeftOut { pictures, why } in &self.left_out {
            lines.add("left out", format!("{}: {why}", pictures.join(" and ")));
        }
        lines.0
    }

    fn data_lines(&self, lines: &mut Lines) {
        let Data {
            name,
            sha256,
            train_examples,
            missing,
        } = &self.data;
        let checksum =
            |sha256: &String| format!("; checksum {}", sha256.get(..16).unwrap_or(sha256));
        let name = name.as_deref().unwrap_or("unknown");
        let checksum = sha256.as_ref().map(checksum).unwrap_or_default();
        lines.add("data", format!("{name}{checksum}"));
        if let Some(examples) = train_examples {
            lines.add("", format!("at hand: {examples} examples to train"));
        }
        if let Some(missing) = missing {
            lines.add("", format!("not at hand: {missing}"));
        }
    }

    fn making_lines(&self, lines: &mut Lines) {
        if let (Some(made), Some(recipe)) = (&self.made, &self.recipe) {
            let on = [&made.adapter, &made.driver, &made.schedule]
                .into_iter()
                .flatten();
            let on: Vec<&str> = on.map(String::as_str).collect();
            let on = match on.is_empty() {
                true => String::new(),
                false => format!(" ({})", on.join("; ")),
            };
            let of = match made.steps {
                Some(steps) if steps != made.steps_done => format!(" of {steps}"),
                _ => String::new(),
            };
            lines.add(
                "made",
                format!(
                    "{}{of} steps with --backend {}{on}; version {}",
                    made.steps_done, made.backend, made.version
                ),
            );
            lines.add(
                "training",
                format!(
                    "{} examples a step; learning rate {:?}, from step {} on {:?}; seed {}",
                    recipe.batch_size, recipe.lr, recipe.lr_decay_at, recipe.lr_final, recipe.seed
                ),
            );
            let unlike = self.unlike_the_lecture.as_deref().unwrap_or_default();
            lines.add(
                "choices",
                match unlike.is_empty() {
                    true => "the lecture's".to_owned(),
                    false => format!("the lecture's, but for {}", unlike.join(" ")),
                },
            );
        } else {
            lines.add("made", "elsewhere".to_owned());
        }
        if let Some(losses) = &self.losses {
            let named = [
                ("train", losses.train),
                ("val", losses.val),
                ("test", losses.test),
            ];
            let named = named
                .into_iter()
                .filter_map(|(name, loss)| Some((name, loss?)));
            let mut texts: Vec<String> = named
                .map(|(name, loss)| format!("{name} {loss:.4}"))
                .collect();
            if let Some((loss, step)) = losses.best_val.zip(losses.best_step) {
                texts.push(format!("lowest val {loss:.4} after {step} steps"));
            }
            lines.add("losses", texts.join(", "));
        }
    }
}

/// Lines with a name in front.
struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, name: &str, text: String) {
        self.0.push(format!("{name:<12}{text}"));
    }
}

/// When the file was written, in local time.
fn written(shown: &Shown) -> Option<String> {
    let changed: SystemTime = std::fs::metadata(&shown.file).ok()?.modified().ok()?;
    let local = Timestamp::try_from(changed)
        .ok()?
        .to_zoned(TimeZone::system());
    Some(local.strftime("%Y-%m-%d %H:%M").to_string())
}

/// What a recipe has otherwise than the lecture, as options. A choice that follows from another one, such as a
/// tenth of another rate, is none.
fn unlike_the_lecture(recipe: &Recipe) -> Vec<String> {
    let lecture = Recipe {
        lr_final: tenth(recipe.lr),
        lr_decay_at: recipe.steps / 2,
        init_sha256: recipe.init_sha256.clone(),
        ..Recipe::default()
    };
    let differs = FIELDS.iter().filter_map(|field| {
        let value = (field.get)(recipe);
        (value != (field.get)(&lecture)).then(|| match value {
            Value::Switch(_) => field.option(), // off in the lecture
            value => format!("{} {value}", field.option()),
        })
    });
    differs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_those_that_do_not_follow_from_others() {
        assert_eq!(unlike_the_lecture(&Recipe::default()), [""; 0]);
        let recipe = Recipe {
            steps: 50_000,
            lr_decay_at: 25_000,
            lr: 0.2,
            lr_final: 0.02,
            clean: true,
            data: "towns.csv".to_owned(),
            column: Some("name".to_owned()),
            ..Recipe::default()
        };
        assert_eq!(
            unlike_the_lecture(&recipe),
            [
                "--steps 50000",
                "--lr 0.2",
                "--data towns.csv",
                "--column name",
                "--clean"
            ]
        );
        let recipe = Recipe {
            lr_decay_at: 0,
            lr_final: 0.1,
            ..Recipe::default()
        };
        assert_eq!(
            unlike_the_lecture(&recipe),
            ["--lr-final 0.1", "--lr-decay-at 0"]
        );
    }
}
