//! What crosses between the page and the exercises. The TypeScript types of the page are made from these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tsify::Tsify;

use crate::floats::Floats;

/// The exercises, in their order.
#[derive(Serialize, Tsify)]
pub struct Lessons(pub Vec<Lesson>);

/// An exercise as it is handed out.
#[derive(Serialize, Tsify)]
pub struct Lesson {
    /// Its number, from 1.
    pub number: usize,
    /// The function that is asked for.
    pub name: String,
    /// Its file's name.
    pub file: String,
    /// What the learner begins with.
    pub text: String,
    /// The forward line.
    pub subject: String,
    /// What it belongs to: `exercise 1 of the lecture`.
    pub part: String,
    /// What the function may read, as one writes it: `dprobs(row, col)`.
    pub accessors: Vec<String>,
    /// The sizes that it may name.
    pub constants: Vec<String>,
    /// Whether the training with the learner's own gradients needs it.
    pub trains: bool,
    /// How many hints there are.
    pub hints: usize,
}

/// What helps with an exercise.
#[derive(Serialize, Tsify)]
pub struct Help {
    /// In their order: the shapes, the scalar case, the line in words, and for some the derivation.
    pub hints: Vec<String>,
    /// The solution.
    pub solution: String,
    /// The answer to the question in the heading.
    pub question: Option<String>,
}

/// Where exercises are checked.
#[derive(Serialize, Tsify)]
pub struct Place {
    /// The device, for people, if there is one beside the interpreter.
    pub device: Option<String>,
    /// Why, and what would bring another.
    pub why: String,
}

/// The verdict on a learner's text.
#[derive(Serialize, Tsify)]
pub struct Checked {
    /// `untouched`, `right`, `wrong`, `refused` or `failed`.
    pub verdict: String,
    /// What the program prints of it.
    pub lines: Vec<String>,
    /// Line in the text, from 1, if the verdict is about a place in it.
    pub line: Option<u32>,
    /// Column in it, in UTF-8 bytes, from 1.
    pub column: Option<u32>,
    /// What is wrong at that place.
    pub message: Option<String>,
    /// The name of the typical mistake that was made.
    pub mistake: Option<String>,
    /// The values, if it gave any.
    pub values: Option<Compared>,
    /// What computed them, one after another.
    pub by: Vec<String>,
    /// Microseconds that a launch takes on the device.
    pub micros: Option<f64>,
    /// The plain way to write this kernel and its time, where the exercise is about a faster one.
    pub plain: Option<Plain>,
}

/// The plain way to write a kernel.
#[derive(Serialize, Tsify)]
pub struct Plain {
    /// In a few words.
    pub name: String,
    /// Microseconds that a launch takes.
    pub micros: f64,
}

/// A learner's values beside the reference's.
#[derive(Serialize, Tsify)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// The names of its indices: `["row", "col"]`.
    pub axes: Vec<String>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The learner's.
    #[tsify(type = "Float32Array")]
    pub mine: Floats,
    /// The reference's.
    #[tsify(type = "Float32Array")]
    pub reference: Floats,
    /// The one less the other.
    #[tsify(type = "Float32Array")]
    pub difference: Floats,
}

/// Texts of exercises, by their names.
#[derive(Deserialize, Tsify)]
pub struct Texts(#[tsify(type = "Record<string, string>")] pub BTreeMap<String, String>);

/// Where the training with a learner's gradients stands.
#[derive(Serialize, Tsify)]
pub struct OwnProgress {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole.
    pub steps: u64,
    /// New lines of its log.
    pub lines: Vec<String>,
    /// Steps that a point of the curves stands for.
    pub bucket: u64,
    /// Mean log10 losses by the learner's gradients.
    pub mine: Vec<f64>,
    /// By the reference's.
    pub reference: Vec<f64>,
    /// The largest difference of two losses so far.
    pub apart: f32,
    /// Why it stopped early.
    pub ended: Option<String>,
    /// Whether it has ended.
    pub finished: bool,
}
