//! What surrounds a learner's text: declarations before it, the kernel that calls it, the numbers that it is
//! given, and the values that are wanted.

use std::fmt::Write as _;

use super::inputs::{Numbers, numbers};
use super::list::{Asked, Exercise};
use crate::gradcheck::compare::Tolerance;
use crate::model::dims::{Dims, Token};
use crate::model::tensors::LectureTensor;
use crate::reference::batchnorm::EPSILON;
use crate::reference::extras::{OnehotLinear, RepeatKv};
use crate::rng::TorchGenerator;

/// Invocations of a workgroup of the kernels that call a function.
const WORKGROUP: usize = 64;

/// An exercise, ready to be run with some text in it.
#[derive(Clone, Debug)]
pub struct Task {
    /// WGSL before the learner's text.
    pub before: String,
    /// WGSL after it.
    pub after: String,
    /// The entry point, alone in a list, as modules have it.
    pub entry: &'static [&'static str; 1],
    /// What the text has to define: `fn dprobs(row: u32, col: u32) -> f32`.
    pub signature: String,
    /// Words of the buffers, by their bindings.
    pub buffers: Vec<Vec<u32>>,
    /// The binding of the result.
    pub result: usize,
    /// The binding where accesses beyond the end of a tensor are reported: four words for each invocation.
    pub report: Option<usize>,
    /// The accessors, as a report numbers them from 1: name, and name and size of each index.
    pub accessors: Vec<(String, Vec<Index>)>,
    /// Workgroups.
    pub groups: [u32; 3],
    /// The indices of the result.
    pub shape: Vec<Index>,
    /// Its name.
    pub wanted: String,
    /// Its values.
    pub want: Vec<f64>,
    /// What is allowed them.
    pub tolerance: Tolerance,
}

/// An index of a tensor: its name and how many values it has.
pub type Index = (&'static str, usize);

impl Task {
    /// The task of an exercise.
    pub fn of(exercise: &Exercise) -> Self {
        let name = exercise.name;
        match exercise.asked {
            Asked::Gradient(tensor) => gradient(name, tensor),
            Asked::LossOfRow => loss_of_row(name),
            Asked::DlogitsFused => dlogits(name),
            Asked::BnvarFused => bnvar(name),
            Asked::HpreactFused => hpreact(name),
            Asked::DhprebnFused => dhprebn(name),
            Asked::OnehotWeight => onehot(name, true),
            Asked::OnehotInput => onehot(name, false),
            Asked::RepeatKv => repeat_kv(name, false),
            Asked::RepeatKvGradient => repeat_kv(name, true),
            Asked::RowSum => row_sum(false),
            Asked::RowSumByWorkgroup => row_sum(true),
            Asked::Matmul | Asked::MatmulInTiles => matmul(),
            Asked::GatherDc => gather(),
            Asked::ManySteps => many_steps(),
        }
    }

    /// Whether the kernel may write a buffer.
    pub fn writes(&self, binding: usize) -> bool {
        binding == self.result || Some(binding) == self.report
    }

    /// The whole module with a text in it.
    pub fn module(&self, text: &str) -> String {
        // The text may end in a comment.
        format!("{}{}\n{}", self.before, text, self.after)
    }

    /// Lines before the text.
    pub fn lines_before(&self) -> u32 {
        self.before.matches('\n').count() as u32
    }

    /// The sizes and rates that the text may name.
    pub fn constants(&self) -> impl Iterator<Item = &str> {
        let lines = self.before.lines();
        lines.filter_map(|line| Some(line.strip_prefix("const ")?.split_once(':')?.0))
    }

    /// What the text may read, as it is written: `dprobs(row, col)`.
    pub fn given(&self) -> impl Iterator<Item = String> {
        let others = self
            .accessors
            .iter()
            .filter(|(name, _)| *name != self.wanted);
        others.map(|(name, indices)| {
            let indices: Vec<&str> = indices.iter().map(|(index, _)| *index).collect();
            format!("{name}({})", indices.join(", "))
        })
    }

    /// `counts_sum_inv(17)`: an element of the result.
    pub fn element(&self, mut flat: usize) -> String {
        let mut indices = vec![0; self.shape.len()];
        for (index, (_, size)) in indices.iter_mut().zip(&self.shape).rev() {
            *index = flat % size;
            flat /= size;
        }
        let indices: Vec<String> = indices.iter().map(usize::to_string).collect();
        format!("{}({})", self.wanted, indices.join(", "))
    }
}

/// What a function may read.
#[derive(Default)]
struct Given {
    constants: Vec<(&'static str, usize)>,
    /// All floats, one tensor after another; an accessor for each.
    floats: Vec<f32>,
    /// All `u32` values, one tensor after another.
    integers: Vec<u32>,
    accessors: Vec<(String, Vec<Index>, bool, usize)>,
}

impl Given {
    /// The lecture's sizes.
    fn lecture(dims: &Dims) -> Self {
        let constants = vec![
            ("N", dims.batch),
            ("VOCAB", dims.vocab),
            ("HIDDEN", dims.hidden),
            ("EMBD", dims.embd),
            ("BLOCK", dims.block),
            ("FAN_IN", dims.fan_in()),
        ];
        Self {
            constants,
            ..Self::default()
        }
    }

    /// A tensor under a name.
    fn floats(&mut self, name: &str, indices: &[Index], values: &[f32]) {
        let place = self.floats.len();
        self.floats.extend(values);
        self.accessors
            .push((name.to_owned(), indices.to_vec(), true, place));
    }

    /// Whole numbers under a name.
    fn integers(&mut self, name: &str, indices: &[Index], values: impl Iterator<Item = u32>) {
        let place = self.integers.len();
        self.integers.extend(values);
        self.accessors
            .push((name.to_owned(), indices.to_vec(), false, place));
    }

    /// Targets and contexts.
    fn minibatch(&mut self, Numbers { dims, x, y, .. }: &Numbers) {
        let words = |tokens: &[Token]| tokens.iter().map(|&t| u32::from(t)).collect::<Vec<_>>();
        let (row, t) = (("row", dims.batch), ("t", dims.block));
        self.integers("Yb", &[row], words(y).into_iter());
        self.integers("X", &[row, t], words(x).into_iter());
    }

    /// The task to compute `want`, of this shape, by the function `name`.
    fn task(self, name: &str, shape: &[Index], want: Vec<f64>, tolerance: Tolerance) -> Task {
        let mut before = String::new();
        for (name, value) in &self.constants {
            let _ = writeln!(before, "const {name}: u32 = {value}u;");
        }
        before.push_str(
            "@group(0) @binding(0) var<storage, read> given_floats: array<f32>;\n\
             @group(0) @binding(1) var<storage, read> given_integers: array<u32>;\n\
             @group(0) @binding(2) var<storage, read_write> given_result: array<f32>;\n\
             @group(0) @binding(3) var<storage, read_write> given_report: array<vec4<u32>>;\n\
             var<private> given_outside: vec4<u32>;\n",
        );
        for (number, (accessor, indices, is_float, place)) in self.accessors.iter().enumerate() {
            if accessor == name {
                continue; // it is asked for
            }
            let names: Vec<&str> = indices.iter().map(|(name, _)| *name).collect();
            let beyond: Vec<String> = indices
                .iter()
                .map(|(name, size)| format!("{name} >= {size}u"))
                .collect();
            let flat = flat(indices);
            let (ty, from) = match is_float {
                true => ("f32", "given_floats"),
                false => ("u32", "given_integers"),
            };
            let mut report: Vec<&str> = names.clone();
            report.resize(3, "0u");
            let _ = writeln!(
                before,
                "fn {accessor}({}) -> {ty} {{ if {} {{ given_outside = vec4<u32>({}u, {}); return {ty}(0); }} \
                 return {from}[{place}u + {flat}]; }}",
                parameters(indices),
                beyond.join(" || "),
                number + 1,
                report.join(", "),
            );
        }
        let sizes: Vec<usize> = shape.iter().map(|(_, size)| *size).collect();
        let count: usize = sizes.iter().product();
        // Each index from the number of the element, the last one fastest.
        let arguments: Vec<String> = (0..sizes.len())
            .map(|i| {
                let inner: usize = sizes[i + 1..].iter().product();
                format!("i / {inner}u % {}u", sizes[i])
            })
            .collect();
        let after = format!(
            "@compute @workgroup_size({WORKGROUP})\n\
             fn given_kernel(@builtin(global_invocation_id) id: vec3<u32>) {{\n    \
             let i = id.x;\n    \
             if i >= {count}u {{ return; }}\n    \
             given_result[i] = {name}({});\n    \
             given_report[i] = given_outside;\n\
             }}\n",
            arguments.join(", ")
        );
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        // A buffer of no words cannot be bound.
        let or_one = |mut words: Vec<u32>| {
            words.resize(words.len().max(1), 0);
            words
        };
        Task {
            before,
            after,
            entry: &["given_kernel"],
            signature: format!("fn {name}({}) -> f32", parameters(shape)),
            buffers: vec![
                or_one(bits(&self.floats)),
                or_one(self.integers),
                vec![0; count],
                vec![0; 4 * count],
            ],
            result: 2,
            report: Some(3),
            accessors: self
                .accessors
                .into_iter()
                .map(|(name, indices, ..)| (name, indices))
                .collect(),
            groups: [count.div_ceil(WORKGROUP) as u32, 1, 1],
            shape: shape.to_vec(),
            wanted: name.to_owned(),
            want,
            tolerance,
        }
    }
}

/// `row: u32, col: u32`
fn parameters(indices: &[Index]) -> String {
    let all: Vec<String> = indices
        .iter()
        .map(|(name, _)| format!("{name}: u32"))
        .collect();
    all.join(", ")
}

/// The place of an element in its tensor, row-major.
fn flat(indices: &[Index]) -> String {
    let mut text = String::new();
    for (i, (name, size)) in indices.iter().enumerate() {
        text = match i {
            0 => (*name).to_owned(),
            _ => format!("({text}) * {size}u + {name}"),
        };
    }
    text
}

/// The indices of a tensor, by the names that the exercises use.
fn indices(tensor: LectureTensor, dims: &Dims) -> Vec<Index> {
    let Dims {
        vocab,
        block,
        embd,
        hidden,
        batch,
    } = *dims;
    let (row, col, unit) = (("row", batch), ("col", vocab), ("unit", hidden));
    match tensor {
        LectureTensor::Logprobs
        | LectureTensor::Probs
        | LectureTensor::Counts
        | LectureTensor::NormLogits
        | LectureTensor::Logits => vec![row, col],
        LectureTensor::CountsSumInv | LectureTensor::CountsSum | LectureTensor::LogitMaxes => {
            vec![row]
        }
        LectureTensor::H
        | LectureTensor::Hpreact
        | LectureTensor::Bnraw
        | LectureTensor::Bndiff2
        | LectureTensor::Bndiff
        | LectureTensor::Hprebn => vec![row, unit],
        LectureTensor::Bngain
        | LectureTensor::Bnbias
        | LectureTensor::BnvarInv
        | LectureTensor::Bnvar
        | LectureTensor::Bnmeani
        | LectureTensor::B1 => vec![unit],
        LectureTensor::W2 => vec![unit, col],
        LectureTensor::B2 => vec![col],
        LectureTensor::Embcat => vec![row, ("i", block * embd)],
        LectureTensor::W1 => vec![("i", block * embd), unit],
        LectureTensor::Emb => vec![row, ("t", block), ("e", embd)],
        LectureTensor::C => vec![("token", vocab), ("e", embd)],
    }
}

fn gradient(name: &str, tensor: LectureTensor) -> Task {
    let numbers = numbers();
    let dims = &numbers.dims;
    let mut given = Given::lecture(dims);
    given.minibatch(numbers);
    for other in LectureTensor::ALL {
        let indices = indices(other, dims);
        given.floats(other.name(), &indices, &numbers.values[other]);
    }
    let before = numbers.order.iter().copied();
    for other in before.take_while(|&other| other != tensor) {
        let (name, indices) = (format!("d{}", other.name()), indices(other, dims));
        given.floats(&name, &indices, &numbers.grads[other]);
    }
    let want = numbers.wanted[tensor].clone();
    given.task(name, &indices(tensor, dims), want, Tolerance::F32)
}

/// Some tensors of the lecture by their values.
fn values(numbers: &Numbers, tensors: &[LectureTensor]) -> Given {
    let mut given = Given::lecture(&numbers.dims);
    for &tensor in tensors {
        let indices = indices(tensor, &numbers.dims);
        given.floats(tensor.name(), &indices, &numbers.values[tensor]);
    }
    given
}

fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// What is added to the logits, so that their exponentials overflow where the maximum is not subtracted.
const LARGE: f32 = 100.0;

/// Targets, and logits that have `LARGE` added; the same logits in `f64`.
fn large_logits(numbers: &Numbers) -> (Given, Vec<f64>) {
    let logits: Vec<f32> = numbers.values[LectureTensor::Logits]
        .iter()
        .map(|v| v + LARGE)
        .collect();
    let mut given = Given::lecture(&numbers.dims);
    given.minibatch(numbers);
    given.floats(
        "logits",
        &indices(LectureTensor::Logits, &numbers.dims),
        &logits,
    );
    (given, f64s(&logits))
}

/// The logarithm of the sum of exponentials.
fn log_sum(row: &[f64]) -> f64 {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + row.iter().map(|v| (v - max).exp()).sum::<f64>().ln()
}

fn loss_of_row(name: &str) -> Task {
    let numbers = numbers();
    let (given, logits) = large_logits(numbers);
    let rows = logits.chunks_exact(numbers.dims.vocab).zip(&numbers.y);
    let want = rows
        .map(|(row, &y)| log_sum(row) - row[usize::from(y)])
        .collect();
    given.task(name, &[("row", numbers.dims.batch)], want, Tolerance::F32)
}

fn dlogits(name: &str) -> Task {
    let numbers = numbers();
    let (given, logits) = large_logits(numbers);
    let n = numbers.dims.batch as f64;
    let rows = logits.chunks_exact(numbers.dims.vocab).zip(&numbers.y);
    let want = rows
        .flat_map(|(row, &y)| {
            let log_sum = log_sum(row);
            let prob = move |(col, v): (usize, &f64)| {
                let target = f64::from(u8::from(col == usize::from(y)));
                ((v - log_sum).exp() - target) / n
            };
            row.iter().enumerate().map(prob).collect::<Vec<_>>()
        })
        .collect();
    let shape = indices(LectureTensor::Logits, &numbers.dims);
    given.task(name, &shape, want, Tolerance::F32)
}

/// Mean and variance (with n-1) of each column.
fn moments(hprebn: &[f64], dims: &Dims) -> Vec<(f64, f64)> {
    let n = dims.batch as f64;
    let column = |unit| hprebn.iter().skip(unit).step_by(dims.hidden);
    (0..dims.hidden)
        .map(|unit| {
            let mean = column(unit).sum::<f64>() / n;
            let squares: f64 = column(unit).map(|v| (v - mean).powi(2)).sum();
            (mean, squares / (n - 1.0))
        })
        .collect()
}

fn bnvar(name: &str) -> Task {
    let numbers = numbers();
    let hprebn = f64s(&numbers.values[LectureTensor::Hprebn]);
    let want = moments(&hprebn, &numbers.dims).into_iter();
    let want = want.map(|(_, var)| var).collect();
    let given = values(numbers, &[LectureTensor::Hprebn]);
    given.task(name, &[("unit", numbers.dims.hidden)], want, Tolerance::F32)
}

fn hpreact(name: &str) -> Task {
    let numbers = numbers();
    let tensors = [
        LectureTensor::Hprebn,
        LectureTensor::Bngain,
        LectureTensor::Bnbias,
    ];
    let [hprebn, gain, bias] = tensors.map(|tensor| f64s(&numbers.values[tensor]));
    let moments = moments(&hprebn, &numbers.dims);
    let value = |(i, v): (usize, &f64)| {
        let unit = i % numbers.dims.hidden;
        let (mean, var) = moments[unit];
        gain[unit] * (v - mean) / (var + EPSILON).sqrt() + bias[unit]
    };
    let want = hprebn.iter().enumerate().map(value).collect();
    let shape = indices(LectureTensor::Hpreact, &numbers.dims);
    values(numbers, &tensors).task(name, &shape, want, Tolerance::F32)
}

fn dhprebn(name: &str) -> Task {
    let numbers = numbers();
    let Dims { hidden, batch, .. } = numbers.dims;
    let tensors = [
        LectureTensor::Hprebn,
        LectureTensor::Bnraw,
        LectureTensor::BnvarInv,
        LectureTensor::Bngain,
    ];
    let mut given = values(numbers, &tensors);
    let shape = indices(LectureTensor::Hprebn, &numbers.dims);
    let d = &numbers.grads[LectureTensor::Hpreact];
    given.floats("dhpreact", &shape, d);
    let [_, bnraw, var_inv, gain] = tensors.map(|tensor| f64s(&numbers.values[tensor]));
    let (d, n) = (f64s(d), batch as f64);
    let sum = |unit: usize, f: &dyn Fn(usize) -> f64| -> f64 {
        (0..batch).map(|row| f(row * hidden + unit)).sum()
    };
    let sums: Vec<(f64, f64)> = (0..hidden)
        .map(|unit| (sum(unit, &|i| d[i]), sum(unit, &|i| d[i] * bnraw[i])))
        .collect();
    let value = |i: usize| {
        let unit = i % hidden;
        let (sum, with_bnraw) = sums[unit];
        gain[unit] * var_inv[unit] / n * (n * d[i] - sum - n / (n - 1.0) * bnraw[i] * with_bnraw)
    };
    let want = (0..d.len()).map(value).collect();
    given.task(name, &shape, want, Tolerance::F32)
}

/// Numbers of the normal distribution.
fn random(count: usize) -> Vec<f32> {
    TorchGenerator::manual_seed(count as u64).randn(count)
}

fn onehot(name: &str, weight: bool) -> Task {
    let layer = OnehotLinear {
        rows: 40,
        classes: 12,
        cols: 10,
    };
    let OnehotLinear {
        rows,
        classes,
        cols,
    } = layer;
    let mut ix = vec![0; rows];
    TorchGenerator::manual_seed(1).randint_into(classes as u32, &mut ix);
    let (dy, w) = (random(rows * cols), random(classes * cols));
    let mut given = Given {
        constants: vec![("ROWS", rows), ("CLASSES", classes), ("COLS", cols)],
        ..Given::default()
    };
    let (r, k, col) = (("r", rows), ("k", classes), ("col", cols));
    given.integers("ix", &[r], ix.iter().copied());
    given.floats("dy", &[r, col], &dy);
    given.floats("w", &[k, col], &w);
    let (dy, w) = (f64s(&dy), f64s(&w));
    match weight {
        true => {
            let want = layer.backward_weight(&ix, &dy);
            given.task(name, &[k, col], want, Tolerance::F32)
        }
        false => {
            let want = layer.backward_input(&dy, &w);
            given.task(name, &[r, k], want, Tolerance::F32)
        }
    }
}

fn repeat_kv(name: &str, gradient: bool) -> Task {
    let shape = RepeatKv {
        batch: 1,
        seq: 3,
        kv_heads: 4,
        head_dim: 8,
        copies: 3,
    };
    let heads = shape.heads();
    let mut given = Given {
        constants: vec![
            ("HEADS", heads),
            ("COPIES", shape.copies),
            ("HEAD_DIM", shape.head_dim),
        ],
        ..Given::default()
    };
    let d = ("d", shape.head_dim);
    let of_head = [("head", heads), d];
    let of_copy = [("copy_head", heads * shape.copies), d];
    let (from, to, from_name) = match gradient {
        true => (of_copy, of_head, "dy"),
        false => (of_head, of_copy, "kv"),
    };
    let values = random(from[0].1 * shape.head_dim);
    given.floats(from_name, &from, &values);
    let values = f64s(&values);
    let want = match gradient {
        true => shape.backward(&values),
        false => shape.forward(&values),
    };
    given.task(name, &to, want, Tolerance::F32)
}

/// A kernel of the learner's own: constants, input buffers as `name: type` with their words, and the result.
fn kernel(
    entry: &'static [&'static str; 1],
    constants: &[(&str, String)],
    inputs: Vec<(&str, Vec<u32>)>,
    groups: [u32; 3],
    (shape, want): (&[Index], Vec<f64>),
) -> Task {
    let mut before = String::new();
    for (name, value) in constants {
        let ty = if value.contains('.') { "f32" } else { "u32" };
        let _ = writeln!(before, "const {name}: {ty} = {value};");
    }
    let result = inputs.len();
    let mut buffers = Vec::new();
    for (binding, (declared, words)) in inputs.into_iter().enumerate() {
        let _ = writeln!(
            before,
            "@group(0) @binding({binding}) var<storage, read> {declared};"
        );
        buffers.push(words);
    }
    let _ = writeln!(
        before,
        "@group(0) @binding({result}) var<storage, read_write> result: array<f32>;"
    );
    buffers.push(vec![0; want.len()]);
    Task {
        before,
        after: String::new(),
        entry,
        signature: format!("@compute fn {}", entry[0]),
        buffers,
        result,
        report: None,
        accessors: Vec::new(),
        groups,
        shape: shape.to_vec(),
        wanted: "result".to_owned(),
        want,
        tolerance: Tolerance::F32,
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn size(name: &'static str, value: usize) -> (&'static str, String) {
    (name, format!("{value}u"))
}

fn row_sum(by_workgroup: bool) -> Task {
    // No multiples of 64, so that the last rows and columns are something to think of.
    let (rows, cols) = (100, 150);
    let x = random(rows * cols);
    let want = f64s(&x);
    let want = want
        .chunks_exact(cols)
        .map(|row| row.iter().sum())
        .collect();
    let groups = if by_workgroup {
        rows
    } else {
        rows.div_ceil(WORKGROUP)
    };
    kernel(
        &["row_sum"],
        &[size("ROWS", rows), size("COLS", cols)],
        vec![("x: array<f32>", bits(&x))],
        [groups as u32, 1, 1],
        (&[("row", rows)], want),
    )
}

fn matmul() -> Task {
    let (rows, inner, cols) = (20, 37, 27);
    let (a, b) = (random(rows * inner), random(inner * cols));
    let (a64, b64) = (f64s(&a), f64s(&b));
    let element = |i: usize| {
        let (row, col) = (i / cols, i % cols);
        (0..inner)
            .map(|k| a64[row * inner + k] * b64[k * cols + col])
            .sum()
    };
    let want = (0..rows * cols).map(element).collect();
    kernel(
        &["matmul"],
        &[size("ROWS", rows), size("INNER", inner), size("COLS", cols)],
        vec![("a: array<f32>", bits(&a)), ("b: array<f32>", bits(&b))],
        [cols.div_ceil(8) as u32, rows.div_ceil(8) as u32, 1],
        (&[("row", rows), ("col", cols)], want),
    )
}

fn gather() -> Task {
    let numbers = numbers();
    let Dims {
        vocab,
        block,
        embd,
        batch,
        ..
    } = numbers.dims;
    let demb = &numbers.grads[LectureTensor::Emb];
    let mut want = vec![0.0; vocab * embd];
    for (&token, demb) in numbers.x.iter().zip(f64s(demb).chunks_exact(embd)) {
        let row = &mut want[usize::from(token) * embd..][..embd];
        row.iter_mut().zip(demb).for_each(|(sum, d)| *sum += d);
    }
    let tokens = numbers.x.iter().map(|&token| u32::from(token)).collect();
    kernel(
        &["dC"],
        &[
            size("N", batch),
            size("BLOCK", block),
            size("EMBD", embd),
            size("VOCAB", vocab),
        ],
        vec![("x: array<u32>", tokens), ("demb: array<f32>", bits(demb))],
        [(vocab * embd).div_ceil(WORKGROUP) as u32, 1, 1],
        (&[("token", vocab), ("e", embd)], want),
    )
}

fn many_steps() -> Task {
    let (count, steps, lr) = (100, 20, 0.1f32);
    let start = random(count);
    let mut want = f64s(&start);
    for _ in 0..steps {
        let mean = want.iter().sum::<f64>() / count as f64;
        for w in &mut want {
            *w -= f64::from(lr) * (*w - mean);
        }
    }
    kernel(
        &["many_steps"],
        &[
            size("W", count),
            size("STEPS", steps),
            ("LR", lr.to_string()),
        ],
        vec![("start: array<f32>", bits(&start))],
        [1, 1, 1],
        (&[("i", count)], want),
    )
}
