//! The kernels of `gradcheck --exercise extras` on every adapter that the tests know; their twins
//! against PyTorch; and the check itself against kernels with a mistake.

mod common;

use std::process::ExitCode;

use common::adapters::{self, Check, OnEach, Outcome, mistake};
use common::{Fixture, Tolerance, compare};
use gpu_makemore::gpu::adapter::Found;
use gpu_makemore::gpu::extras::Extras;
use gpu_makemore::gpu::shader::{Module, extras_modules};
use gpu_makemore::gradcheck::engine::Engine;
use gpu_makemore::gradcheck::extras::{self, ExtraRow, Inputs};
use gpu_makemore::reference::extras::{OnehotLinear, RepeatKv};
use libtest_mimic::Trial;
use pollster::FutureExt as _;

const CHECKS: [Check; 3] = [
    ("the_exercise_agrees", exercise),
    ("odd_sizes_equal_the_f64_twin", odd_sizes),
    ("the_same_inputs_give_the_same_bits", same_bits),
];

fn main() -> ExitCode {
    let twin = vec![
        Trial::test("the_one_hot_linear_equals_pytorch", onehot_linear_fixture),
        Trial::test("repeat_kv_equals_pytorch", repeat_kv_fixture),
        Trial::test("the_exercise_agrees_on_the_cpu", || {
            all_agree(&extras::run(&Engine::Cpu, 1).block_on()?)
        }),
        Trial::test("odd_sizes_equal_the_f64_twin_on_the_cpu", || {
            for sizes in ODD {
                let inputs = Inputs::new(sizes, 2);
                all_agree(&inputs.rows(&inputs.twin(|v| v))?)?;
            }
            Ok(())
        }),
    ];
    let mistakes = MISTAKES.iter().map(|mistaken| {
        mistake(mistaken.file, mistaken.name, |found| {
            shows_in_its_rows_alone(found, mistaken)
        })
    });
    adapters::run(CHECKS.iter().map(OnEach::from).chain(mistakes), twin)
}

/// Sizes around the edges of workgroups: one of everything, less than 64 invocations, one more.
const ODD: [(OnehotLinear, RepeatKv); 5] = [
    (onehot(1, 1, 1), repeat_kv(1, 1, 1, 1, 1)),
    (onehot(16, 20, 7), repeat_kv(2, 3, 2, 5, 3)),
    (onehot(65, 3, 1), repeat_kv(1, 65, 1, 1, 2)),
    (onehot(2, 257, 33), repeat_kv(3, 1, 7, 9, 1)),
    (onehot(300, 2, 129), repeat_kv(1, 2, 3, 67, 11)),
];

const fn onehot(rows: usize, classes: usize, cols: usize) -> OnehotLinear {
    OnehotLinear {
        rows,
        classes,
        cols,
    }
}

const fn repeat_kv(
    batch: usize,
    seq: usize,
    kv_heads: usize,
    head_dim: usize,
    copies: usize,
) -> RepeatKv {
    RepeatKv {
        batch,
        seq,
        kv_heads,
        head_dim,
        copies,
    }
}

/// A row by its name and its loss, for messages and comparisons.
fn label(row: &ExtraRow) -> String {
    format!("{} of {}", row.name, row.loss.unwrap_or("forward"))
}

fn all_agree(rows: &[ExtraRow]) -> Outcome {
    for row in rows {
        if row.shape.iter().product::<usize>() <= row.comparison.worst.index {
            return Err(format!("{}: {:?} is not its shape", label(row), row.shape).into());
        }
    }
    match rows.iter().find(|row| !row.comparison.pass) {
        Some(row) => Err(format!("{}: {:?}", label(row), row.comparison).into()),
        None => Ok(()),
    }
}

fn onehot_linear_fixture() -> Outcome {
    let fixture = Fixture::open("extras.safetensors");
    let value = |name: &str| fixture.f64(&format!("onehot_linear.{name}"));
    let shape = |name: &str| fixture.shape(&format!("onehot_linear.{name}"));
    let sizes = onehot(shape("ix")[0], shape("w")[0], shape("w")[1]);
    let ix: Vec<u32> = fixture
        .tokens("onehot_linear.ix")
        .into_iter()
        .map(u32::from)
        .collect();
    for (name, got) in [
        ("y", sizes.forward(&ix, &value("w"))),
        ("dw", sizes.backward_weight(&ix, &value("dy"))),
        ("dx", sizes.backward_input(&value("dy"), &value("w"))),
    ] {
        compare(name, &got, &value(name), Tolerance::F64)?;
    }
    Ok(())
}

fn repeat_kv_fixture() -> Outcome {
    let fixture = Fixture::open("extras.safetensors");
    let value = |name: &str| fixture.f64(&format!("repeat_kv.{name}"));
    let shape = |name: &str| fixture.shape(&format!("repeat_kv.{name}"));
    let [batch, seq, kv_heads, head_dim] = shape("x")[..] else {
        return Err("x has four sizes".into());
    };
    let copies = shape("y")[2] / kv_heads;
    let sizes = repeat_kv(batch, seq, kv_heads, head_dim, copies);
    compare(
        "y",
        &sizes.forward(&value("x")),
        &value("y"),
        Tolerance::F64,
    )?;
    compare(
        "dx",
        &sizes.backward(&value("dy")),
        &value("dx"),
        Tolerance::F64,
    )?;
    Ok(())
}

fn exercise(found: &Found) -> Outcome {
    let engine = Engine::on(found);
    let rows = extras::run(&engine, 1).block_on()?;
    if rows.len() != 8 {
        return Err(format!("{} rows", rows.len()).into());
    }
    all_agree(&rows)
}

fn odd_sizes(found: &Found) -> Outcome {
    let device = Extras::new(found, &extras_modules()).block_on()?;
    for sizes in ODD {
        let inputs = Inputs::new(sizes, 2);
        all_agree(&inputs.rows(&inputs.kernels(&device).block_on()?)?)
            .map_err(|e| format!("{sizes:?}: {}", e.message().unwrap_or_default()))?;
    }
    Ok(())
}

fn same_bits(found: &Found) -> Outcome {
    let inputs = Inputs::new(extras::SIZES, 3);
    let bits = || -> Result<Vec<Vec<u32>>, gpu_makemore::backend::DeviceError> {
        let tensors = inputs
            .kernels(&Extras::new(found, &extras_modules()).block_on()?)
            .block_on()?;
        Ok(tensors
            .map(|t| t.into_iter().map(f32::to_bits).collect())
            .into())
    };
    let first = bits()?;
    if first != bits()? || first != bits()? {
        return Err("three runs gave different bits".into());
    }
    Ok(())
}

/// The kernels with one piece of text replaced.
fn mutated(file: &str, from: &str, to: &str) -> Result<Vec<Module>, String> {
    let mut modules = extras_modules();
    for module in &mut modules {
        if let Some(source) = module.source.replaced(file, from, to) {
            module.source = source;
            return Ok(modules);
        }
    }
    Err(format!("{from:?} does not stand in {file} exactly once"))
}

const ONEHOT: &str = "extras/onehot_linear.wgsl";
const REPEAT: &str = "extras/repeat_kv.wgsl";

/// A mistake that one makes, alone in its file.
struct Mistake {
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The rows that have to tell of it.
    wrong: &'static [&'static str],
}

static MISTAKES: [Mistake; 10] = [
    Mistake {
        name: "W read as if it were transposed",
        file: ONEHOT,
        from: "W[ix[r] * sizes.cols + c]",
        to: "W[c * sizes.classes + ix[r]]",
        wrong: &["onehot_linear.y of forward"],
    },
    Mistake {
        name: "the last element left out",
        file: ONEHOT,
        from: "if i >= sizes.rows * sizes.cols {",
        to: "if i + 1u >= sizes.rows * sizes.cols {",
        wrong: &["onehot_linear.y of forward"],
    },
    Mistake {
        name: "the last use for all of them",
        file: ONEHOT,
        from: "sum += dy[r * sizes.cols + c];",
        to: "sum = dy[r * sizes.cols + c];",
        wrong: &[
            "onehot_linear.dw of y.sum()",
            "onehot_linear.dw of (y * v).sum()",
        ],
    },
    Mistake {
        name: "the last row left out",
        file: ONEHOT,
        from: "r < sizes.rows; r++",
        to: "r + 1u < sizes.rows; r++",
        wrong: &[
            "onehot_linear.dw of y.sum()",
            "onehot_linear.dw of (y * v).sum()",
        ],
    },
    // Another column of dy: only a dy that is not all ones can tell.
    Mistake {
        name: "another column of dy",
        file: ONEHOT,
        from: "sum += dy[r * sizes.cols + c];",
        to: "sum += dy[r * sizes.cols];",
        wrong: &["onehot_linear.dw of (y * v).sum()"],
    },
    Mistake {
        name: "W for its transpose",
        file: ONEHOT,
        from: "dy[r * sizes.cols + c] * W[k * sizes.cols + c]",
        to: "dy[r * sizes.cols + c] * W[c * sizes.classes + k]",
        wrong: &[
            "onehot_linear.dx of y.sum()",
            "onehot_linear.dx of (y * v).sum()",
        ],
    },
    Mistake {
        name: "the last column left out",
        file: ONEHOT,
        from: "c < sizes.cols; c++",
        to: "c + 1u < sizes.cols; c++",
        wrong: &[
            "onehot_linear.dx of y.sum()",
            "onehot_linear.dx of (y * v).sum()",
        ],
    },
    Mistake {
        name: "0 1 0 1 for 0 0 1 1",
        file: REPEAT,
        from: "let head = i / (sizes.copies * sizes.head_dim);",
        to: "let head = i / sizes.head_dim % sizes.heads;",
        wrong: &["repeat_kv.y of forward"],
    },
    Mistake {
        name: "copies and heads swapped",
        file: REPEAT,
        from: "(head * sizes.copies + copy)",
        to: "(copy * sizes.heads + head)",
        wrong: &["repeat_kv.dx of (y * v).sum()"],
    },
    Mistake {
        name: "a copy forgotten",
        file: REPEAT,
        from: "var copy = 0u;",
        to: "var copy = 1u;",
        wrong: &["repeat_kv.dx of y.sum()", "repeat_kv.dx of (y * v).sum()"],
    },
];

fn shows_in_its_rows_alone(found: &Found, mistake: &Mistake) -> Outcome {
    let inputs = Inputs::new(extras::SIZES, 1);
    let modules = mutated(mistake.file, mistake.from, mistake.to)?;
    let device = Extras::new(found, &modules).block_on()?;
    let rows = inputs.rows(&inputs.kernels(&device).block_on()?)?;
    let failed = rows.iter().filter(|row| !row.comparison.pass);
    let failed: Vec<String> = failed.map(label).collect();
    match failed == mistake.wrong {
        true => Ok(()),
        false => Err(format!("{failed:?} failed, expected {:?}", mistake.wrong).into()),
    }
}
