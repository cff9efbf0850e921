//! What crosses between the page and the trainer. The TypeScript types of the page are made from these.

use serde::{Deserialize, Serialize};
use tsify::Tsify;

use crate::floats::Floats;

/// A choice that the page offers: a field of the recipe.
#[derive(Serialize, Tsify)]
pub struct Setting {
    /// The field's name, as in links, files and the command line's options.
    pub name: String,
    /// The option of the command line.
    pub option: String,
    /// What it is, in a few words.
    pub about: String,
    /// The lecture's value, as text.
    pub default: String,
    /// Whether it is a whole number; otherwise a real one.
    pub whole: bool,
    /// The least value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

/// All settings.
#[derive(Serialize, Tsify)]
pub struct Settings(pub Vec<Setting>);

/// What a session is opened with.
#[derive(Deserialize, Tsify)]
pub struct Setup {
    /// Fields of the recipe by their names, as texts; what is left out is as in the lecture.
    #[tsify(type = "Record<string, string>")]
    pub fields: std::collections::BTreeMap<String, String>,
    /// `auto`, `webgpu` or `cpu`.
    pub backend: String,
    /// How the layout of a step is found on a GPU: `auto`, which is meant where nothing is said, `off` or `again`.
    #[tsify(optional)]
    pub tune: Option<String>,
    /// The words, unless `data` among the fields names a data set of the program.
    #[tsify(optional)]
    pub file: Option<Words>,
}

/// Words that are the visitor's own: a file that was dropped, or pasted text.
#[derive(Deserialize, Tsify)]
pub struct Words {
    /// Its name.
    pub name: String,
    /// Its bytes.
    #[tsify(type = "Uint8Array")]
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// What a session is about.
#[derive(Serialize, Tsify)]
#[tsify(hashmap_as_object)]
pub struct About {
    /// The lines with which the program begins a training.
    pub lines: Vec<String>,
    /// `cpu` or `webgpu`.
    pub backend: String,
    /// The device, for people.
    pub device: String,
    /// Why this device, and what would bring another.
    pub why: String,
    /// How steps are launched on a GPU.
    pub schedule: Option<String>,
    /// Words, of all three parts.
    pub words: usize,
    /// The vocabulary; the first character marks the end of a word.
    pub vocab: Vec<String>,
    /// Steps done.
    pub step: u64,
    /// Steps of the whole training.
    pub steps: u64,
    /// The recipe's fields, as texts.
    #[tsify(type = "Record<string, string>")]
    pub fields: std::collections::BTreeMap<String, String>,
    /// The curve so far.
    pub curve: Curve,
}

/// The loss curve: mean log10 of the losses of each `bucket` steps.
#[derive(Serialize, Tsify)]
pub struct Curve {
    /// Steps that a point stands for.
    pub bucket: u64,
    /// The full buckets.
    pub points: Vec<f64>,
}

/// A validation loss.
#[derive(Clone, Serialize, Deserialize, Tsify)]
pub struct ValidationPoint {
    /// Steps done.
    pub step: u64,
    /// Mean loss, in nats.
    pub val_loss: f64,
}

/// What some steps brought.
#[derive(Serialize, Tsify)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// The loss of the last of them.
    pub loss: f32,
    /// Steps in this call, and the seconds that they took.
    pub count: usize,
    /// See `count`.
    pub seconds: f64,
    /// New lines of the log.
    pub lines: Vec<String>,
    /// A validation loss that was due.
    pub validation: Option<ValidationPoint>,
    /// The curve, where it has new points since the last call.
    pub curve: Option<Curve>,
    /// Whether all steps are done.
    pub finished: bool,
}

/// The end of a training.
#[derive(Serialize, Tsify)]
pub struct Finished {
    /// Losses over the three parts, in nats.
    pub train: f64,
    /// See `train`.
    pub val: f64,
    /// See `train`.
    pub test: f64,
    /// The lines with which the program ends: losses and names.
    pub lines: Vec<String>,
    /// Invented names.
    pub names: Vec<Name>,
}

/// An invented name.
#[derive(Serialize, Tsify)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Whether the data have it.
    pub known: bool,
}

/// Invented names.
#[derive(Serialize, Tsify)]
pub struct Names(pub Vec<Name>);

/// How likely each character is behind a prefix.
#[derive(Serialize, Tsify)]
pub struct Next {
    /// Probabilities, in the order of the vocabulary.
    pub probabilities: Vec<f32>,
}

/// One step under the lens: values, gradients and references of the lecture's tensors.
#[derive(Serialize, Tsify)]
pub struct Inspection {
    /// The step whose minibatch it is: the next one of the training.
    pub step: u64,
    /// The loss of the minibatch.
    pub loss: f64,
    /// The minibatch: the context of each example and the character that follows it.
    pub examples: Vec<Example>,
    /// The 26 tensors, in the order of the backward pass.
    pub tensors: Vec<TensorView>,
    /// Rows of the comparison that do not fit.
    pub wrong: usize,
    /// What computed it.
    pub by: Vec<String>,
}

/// An example of a minibatch.
#[derive(Serialize, Tsify)]
pub struct Example {
    /// The characters before.
    pub context: String,
    /// The character that follows.
    pub target: String,
}

/// A tensor with its gradient.
#[derive(Serialize, Tsify)]
pub struct TensorView {
    /// The lecture's name.
    pub name: String,
    /// Shape, row-major; `[32, 200]`.
    pub shape: Vec<usize>,
    /// Values on the device.
    #[tsify(type = "Float32Array")]
    pub values: Floats,
    /// Gradients on the device.
    #[tsify(type = "Float32Array")]
    pub grads: Floats,
    /// The f64 reference's gradients, rounded to f32.
    #[tsify(type = "Float32Array")]
    pub reference: Floats,
    /// The lecture's line of the comparison.
    pub row: Row,
}

/// The derivations of all tensors of a step.
#[derive(Serialize, Tsify)]
pub struct Derivations(pub Vec<Derivation>);

/// What there is to say of a tensor, whatever its values are.
#[derive(Serialize, Tsify)]
pub struct Derivation {
    /// The lecture's name.
    pub name: String,
    /// The names of its sizes: `(batch, hidden)`.
    pub axes: String,
    /// Whether it has a row for each example.
    pub per_example: bool,
    /// Whether its columns are the characters of the vocabulary.
    pub of_characters: bool,
    /// Lines of the forward pass that use it.
    pub forward: Vec<String>,
    /// The derivation.
    pub why: Vec<String>,
    /// Lines that compute its gradient.
    pub backward: Vec<String>,
    /// The file with the kernel's formulas, under `shaders/`.
    pub file: String,
    /// The kernels.
    pub wgsl: String,
    /// The reference's lines, in src/reference/chunked.rs.
    pub twin: String,
}

/// The lecture's two extra kernels, held against their reference.
#[derive(Serialize, Tsify)]
pub struct Extras(pub Vec<Extra>);

/// A result of an extra kernel.
#[derive(Serialize, Tsify)]
pub struct Extra {
    /// Operation and tensor.
    pub name: String,
    /// The largest difference.
    pub maxdiff: f64,
    /// Within its tolerance.
    pub pass: bool,
}

/// A row of the `cmp` table.
#[derive(Serialize, Tsify)]
pub struct Row {
    /// All values equal as f32.
    pub exact: bool,
    /// Within `torch.allclose`.
    pub approximate: bool,
    /// The largest difference.
    pub maxdiff: f64,
    /// What is allowed at the worst element.
    pub allowed: f64,
    /// The index of the worst element, with both values.
    pub worst: usize,
    /// See `worst`.
    pub got: f64,
    /// See `worst`.
    pub want: f64,
    /// Within its tolerance.
    pub pass: bool,
    /// The code that computed the gradient.
    pub by: String,
    /// Zero for every minibatch, but for rounding.
    pub zero: bool,
}

/// The mistakes that can be made on purpose.
#[derive(Serialize, Tsify)]
pub struct Mistakes(pub Vec<Mistake>);

/// A known mistake in a kernel.
#[derive(Serialize, Tsify)]
pub struct Mistake {
    /// What is wrong, in a few words: its name too.
    pub name: String,
    /// The file under `shaders/`.
    pub file: String,
    /// The right text.
    pub from: String,
    /// The text in its place.
    pub to: String,
    /// The first tensor that is wrong, in the order of the backward pass.
    pub first: String,
    /// Whether it is in a kernel that trains; otherwise only in the line-by-line pass.
    pub trains: bool,
}

/// The files of the kernels.
#[derive(Serialize, Tsify)]
pub struct Sources(pub Vec<SourceFile>);

/// A file under `shaders/`.
#[derive(Serialize, Tsify)]
pub struct SourceFile {
    /// Its path.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Whether it is in a kernel that trains; otherwise only in the line-by-line pass.
    pub trains: bool,
}

/// What the compiler found in an edited file, and in those that use it. Empty: nothing.
#[derive(Serialize, Tsify)]
pub struct SourceErrors(pub Vec<SourceError>);

/// A place that the compiler does not take.
#[derive(Serialize, Tsify)]
pub struct SourceError {
    /// The file, which may be another one that uses what was edited.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in the line, in UTF-8 bytes, from 1.
    pub column: u32,
    /// The compiler's words.
    pub message: String,
}

/// Where a trial of a mistake stands.
#[derive(Serialize, Tsify)]
pub struct TrialProgress {
    /// Steps that the broken training has done.
    pub step: u64,
    /// Steps of the whole.
    pub steps: u64,
    /// New lines of the broken training's log.
    pub lines: Vec<String>,
    /// Steps that a point of the curves stands for.
    pub bucket: u64,
    /// Mean log10 losses with the mistake.
    pub broken: Vec<f64>,
    /// Without it.
    pub right: Vec<f64>,
    /// Why the broken training stopped early.
    pub ended: Option<String>,
    /// Whether both have ended.
    pub finished: bool,
}

/// What a guess at a planted mistake is worth.
#[derive(Serialize, Tsify)]
pub struct Judged {
    /// Whether it is the line.
    pub found: bool,
    /// What to say of it.
    pub told: String,
    /// The mistake, once it is found or told.
    pub mistake: Option<Mistake>,
    /// Its first line in its file, from 1, once it is found or told.
    pub line: Option<usize>,
}
