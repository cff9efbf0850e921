//! `gradcheck` itself: it passes the kernels as they are, on every adapter, and fails each of the
//! ways in which they could be wrong. What a check is worth shows when something is broken.

#[path = "../common/mod.rs"]
mod common;
mod cpu;
mod kernels;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use common::SIZES;
use common::adapters::{self, Check, OnEach, Outcome, mistake};
use cpu::MISTAKES;
use gpu_makemore::backend::DeviceError;
use gpu_makemore::cli::gradcheck::exercise;
use gpu_makemore::cli::gradcheck::file;
use gpu_makemore::cli::gradcheck::verdict;
use gpu_makemore::cli::report;
use gpu_makemore::gpu::adapter::Found;
use gpu_makemore::gpu::chunked::in_training_step;
use gpu_makemore::gradcheck::against;
use gpu_makemore::gradcheck::engine::Engine;
use gpu_makemore::gradcheck::mistakes::{self, By};
use gpu_makemore::gradcheck::step::{Checked, Code};
use gpu_makemore::gradcheck::{GradcheckError, Inputs, Row, check, check_chunked};
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::tensors::LectureTensor;
use kernels::{is_caught, is_long, no_mistake};
use libtest_mimic::{Failed, Trial};
use pollster::FutureExt as _;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const CHECKS: [Check; 5] = [
    ("the_check_passes", |found| {
        passes(&Engine::on(found), &[("odd", ODD)])
    }),
    ("the_files_of_pytorch_agree", |found| {
        fixtures_agree(&Engine::on(found))
    }),
    ("the_exercises_pass", |found| {
        exercises_pass(&Engine::on(found))
    }),
    ("the_schedule_says_which_steps_are_checked", schedules),
    ("the_kernels_without_a_mistake_pass", no_mistake),
];

fn main() -> ExitCode {
    let mut cpu = vec![
        Trial::test("cpu::the_check_passes_at_every_size", || {
            passes(&Engine::Cpu, &every_size())
        }),
        Trial::test("cpu::the_files_of_pytorch_agree", || {
            fixtures_agree(&Engine::Cpu)
        }),
        Trial::test("cpu::the_exercises_pass", || exercises_pass(&Engine::Cpu)),
        Trial::test("cpu::each_wrong_tensor_of_a_file_is_named", wrong_tensors),
        Trial::test("command::codes", codes_from_outside),
        Trial::test("command::against", against_from_outside),
        Trial::test("command::against_under_other_names", other_names),
        Trial::test("command::against_another_format", other_formats),
        Trial::test("command::explain", explain_from_outside),
    ];
    cpu.extend(MISTAKES.iter().map(cpu::Mistake::test));
    let mistakes = mistakes::MISTAKES.iter().map(|one| {
        let test = mistake(one.file, one.name, |found: &Found| is_caught(one, found));
        if is_long(one) { test.long() } else { test }
    });
    // Each size compiles the resident kernel anew.
    let sizes = OnEach::new("the_check_passes_at_every_size", |found| {
        passes(&Engine::on(found), &every_size())
    });
    let exercises = OnEach::new("a_mistake_fails_the_exercises_on_it", exercises_fail);
    let checks = CHECKS.iter().map(OnEach::from);
    let checks = checks.chain([sizes.long(), exercises.long()]);
    adapters::run(checks.chain(mistakes), cpu)
}

// ---------------------------------------------------------------------------- it passes what is right

/// What `gradcheck` checks by default.
pub(crate) fn default_inputs() -> Result<Inputs, Failed> {
    let sizes = Dims {
        hidden: 64,
        ..Dims::LECTURE
    };
    Ok(Inputs::of_names(sizes, 2147483647)?)
}

/// The default inputs with 100 added to every logit. No gradient changes, because softmax does not depend on
/// a constant; but exp(100) overflows f32.
pub(crate) fn large_logits() -> Result<Inputs, Failed> {
    let mut inputs = default_inputs()?;
    inputs.params.b2.iter_mut().for_each(|b| *b += 100.0);
    Ok(inputs)
}

/// Where f32 has few digits left, and right kernels must pass all the same: batches of two and three,
/// one input a unit, and sums of thousands of terms.
const EXTREMES: [(&str, Dims); 5] = [
    ("batch of two", extreme(2, 3, 10, 64)),
    ("batch of three", extreme(3, 16, 1, 200)),
    ("one input", extreme(8, 1, 1, 7)),
    ("large batch", extreme(4096, 2, 10, 7)),
    ("many inputs", extreme(200, 8, 128, 64)),
];

const fn extreme(batch: usize, block: usize, embd: usize, hidden: usize) -> Dims {
    Dims {
        vocab: 27,
        block,
        embd,
        hidden,
        batch,
    }
}

/// Sizes of which none is a multiple of another.
const ODD: Dims = SIZES[1].1;

fn every_size() -> Vec<(&'static str, Dims)> {
    SIZES.into_iter().chain(EXTREMES).collect()
}

/// At the sizes that the command has by default, and at these.
fn passes(engine: &Engine, sizes: &[(&str, Dims)]) -> Outcome {
    let mut all = vec![default_inputs()?];
    for &(_, dims) in sizes {
        let common::Inputs { params, x, y } = common::inputs(&dims, 13);
        all.push(Inputs { dims, params, x, y });
    }
    for inputs in all {
        let codes = engine.codes(&inputs, Checked::All).block_on()?;
        let checked = check(engine, &inputs, &codes).block_on()?;
        // What is left out is larger than the driver's loops allow, which no other code minds.
        for (code, why) in &checked.left_out {
            if *code != Code::Resident
                || !matches!(why, GradcheckError::Device(DeviceError::Loops { .. }))
            {
                return Err(format!("{}: {} left out: {why}", inputs.dims, code.name()).into());
            }
        }
        for rows in [
            checked.rows,
            check_chunked(engine, &inputs).block_on()?.rows,
        ] {
            verdict(&rows).map_err(|e| format!("{}: {e}", inputs.dims))?;
        }
    }
    Ok(())
}

/// `--schedule`: each code gives the gradients that it stores, and the chunked pass all others.
fn schedules(found: &Found) -> Outcome {
    let (engine, inputs) = (Engine::on(found), default_inputs()?);
    let trained = engine.trained(&inputs).block_on()?;
    for (asked, codes) in [
        (Checked::Auto, &[trained][..]),
        (Checked::Staged, &[Code::Staged, Code::InParts]),
        (Checked::Resident, &[Code::Resident]),
    ] {
        let rows = check(&engine, &inputs, &engine.codes(&inputs, asked).block_on()?)
            .block_on()?
            .rows;
        let (first, others) = rows.split_at(LectureTensor::ALL.len());
        // All 26 in their order, and then what the further codes store.
        if !first.iter().map(|row| row.chunk).eq(LectureTensor::ALL) {
            return Err(format!("{asked:?}: not the 26 gradients").into());
        }
        for (i, &code) in codes.iter().enumerate() {
            let rows = if i == 0 { first } else { others };
            let stored = rows.iter().filter(|row| row.by == code);
            let stored: Vec<LectureTensor> = stored.map(|row| row.chunk).collect();
            let wanted = |chunk: &LectureTensor| match code {
                // The kernel keeps a step's activations to itself.
                Code::Resident => chunk.is_parameter(),
                _ => in_training_step(*chunk),
            };
            let wanted: Vec<LectureTensor> =
                LectureTensor::ALL.into_iter().filter(wanted).collect();
            if stored != wanted {
                return Err(format!("{asked:?}: {} has {stored:?}", code.name()).into());
            }
        }
        let known = |row: &Row| row.by == Code::Chunked || codes.contains(&row.by);
        if !rows.iter().all(known) {
            return Err(format!("{asked:?}: rows by a code that was not asked for").into());
        }
    }
    Ok(())
}

// --------------------------------------------------------------------------------------- --exercise

/// All of them, and the pictures of the second.
fn exercises_pass(engine: &Engine) -> Outcome {
    let inputs = default_inputs()?;
    let mut out = report::Output::to_nobody();
    let folder = tempfile::tempdir()?;
    exercise::one(engine, &inputs, false, &mut out).block_on()?;
    exercise::two(engine, &inputs, folder.path(), false, &mut out).block_on()?;
    exercise::three(engine, &inputs, false, &mut out).block_on()?;
    exercise::four(engine, &inputs, 1, &mut out).block_on()?;
    exercise::extras(engine, 1, false, &mut out).block_on()?;
    for (name, size) in [
        ("dlogits.png", (27 * 18, 32 * 18)),
        ("dlogits-colour.png", (678, 670)),
    ] {
        let file = std::io::BufReader::new(fs::File::open(folder.path().join(name))?);
        let reader = png::Decoder::new(file).read_info()?;
        if reader.info().size() != size {
            return Err(format!("{name}: {:?}", reader.info().size()).into());
        }
    }
    Ok(())
}

/// A mistake in a fused formula fails the exercise about that formula, and the training run.
fn exercises_fail(found: &Found) -> Outcome {
    let inputs = default_inputs()?;
    let mut out = report::Output::to_nobody();
    let folder = tempfile::tempdir()?;
    let softmax = mistakes::mistake(
        "no 1 at the target",
        "softmax_cross_entropy.wgsl",
        "examples * prob - followed",
        "examples * prob - 0.9 * followed",
        By::Gradcheck,
        LectureTensor::Logits,
    );
    let engine = softmax.engine(found)?;
    if exercise::two(&engine, &inputs, folder.path(), false, &mut out)
        .block_on()
        .is_ok()
    {
        return Err("exercise 2 passed a wrong gradient of softmax".into());
    }
    let batchnorm = mistakes::mistake(
        "n for n - 1",
        "batchnorm.wgsl",
        "n / (n - 1.0) * bnraw",
        "bnraw",
        By::Gradcheck,
        LectureTensor::Hprebn,
    );
    let engine = batchnorm.engine(found)?;
    if exercise::three(&engine, &inputs, false, &mut out)
        .block_on()
        .is_ok()
    {
        return Err("exercise 3 passed a wrong gradient of batch norm".into());
    }
    // Whichever schedule trains, this formula is in it.
    if exercise::four(&engine, &inputs, 1, &mut out)
        .block_on()
        .is_ok()
    {
        return Err("exercise 4 passed a wrong gradient of batch norm".into());
    }
    Ok(())
}

// ---------------------------------------------------------------------------------- --against a file

/// A file of PyTorch's, written by tests/fixtures/make.py: F64, all values and all gradients.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/step_{name}.safetensors"))
}

/// All four of them.
fn fixtures_agree(engine: &Engine) -> Outcome {
    for name in ["lecture", "odd", "long", "tiny"] {
        let given = file::load(&fixture(name))?;
        let rows = against::check(engine, &given).block_on()?;
        verdict(&rows).map_err(|e| format!("{name}: {e}"))?;
        let notes = (given.notes.absent.len(), given.notes.ignored.as_slice());
        if rows.len() != 45 || notes != (0, &["loss".to_owned()]) {
            return Err(format!("{name}: {} tensors, {:?}", rows.len(), given.notes).into());
        }
    }
    Ok(())
}

/// A file like `lecture`, but for some tensors that are left out or changed.
fn altered(path: &Path, mut change: impl FnMut(&str, &mut Vec<f64>) -> bool) -> Result<(), Failed> {
    let bytes = fs::read(fixture("lecture"))?;
    let mut tensors = Vec::new();
    for (name, tensor) in SafeTensors::deserialize(&bytes)?.tensors() {
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        let mut data = tensor.data().to_vec();
        if dtype == safetensors::Dtype::F64 {
            let mut values = bytemuck::pod_collect_to_vec(&data);
            if !change(&name, &mut values) {
                continue;
            }
            data = bytemuck::cast_slice(&values).to_vec();
        }
        tensors.push((name, dtype, shape, data));
    }
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| Ok((name, TensorView::new(*dtype, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, Failed>>()?;
    Ok(safetensors::serialize_to_file(views, None, path)?)
}

/// One percent off in one element, for each value and each gradient in turn.
fn wrong_tensors() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("wrong.safetensors");
    let all = against::check(&Engine::Cpu, &file::load(&fixture("lecture"))?).block_on()?;
    for row in all {
        altered(&path, |name, values| {
            if name == row.label {
                let largest = |a: &&mut f64, b: &&mut f64| a.abs().total_cmp(&b.abs());
                match row.chunk {
                    // Zero, but for rounding.
                    LectureTensor::LogitMaxes | LectureTensor::B1 if name.starts_with("d.") => {
                        values[5] += 1e-4
                    }
                    _ => values.iter_mut().max_by(largest).map_or((), |v| *v *= 1.01),
                }
            }
            true
        })?;
        let rows = against::check(&Engine::Cpu, &file::load(&path)?).block_on()?;
        let error = verdict(&rows).err().map(|e| e.to_string());
        let expected = format!(
            "gradcheck: 1 of 45 tensors differ from the reference; the first is {}",
            row.label
        );
        if error.as_deref() != Some(&expected) {
            return Err(format!("{}: {error:?}", row.label).into());
        }
    }
    Ok(())
}

// ------------------------------------------------------------------------------------- from outside

fn run(args: &[&str]) -> Result<(Output, String, String), Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"))
        .env("GPU_MAKEMORE_TUNE", "off")
        .arg("gradcheck")
        .args(args)
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Ok((output, stdout, stderr))
}

/// Fails with what was seen unless it is what was expected.
fn expect(condition: bool, seen: &str) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(format!("not as expected: {seen}").into())
    }
}

fn against_from_outside() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("mine.safetensors");
    let file = path.to_str().ok_or("a path that is no text")?;
    let cpu = ["--backend", "cpu", "--against", file];

    // Two gradients of a student, one of them wrong.
    altered(&path, |name, values| {
        if name == "d.hprebn" {
            values.iter_mut().for_each(|v| *v *= 2.0);
        }
        !name.starts_with("d.") && LectureTensor::ALL.iter().all(|c| c.name() != name)
            || ["C", "W1", "b1", "W2", "b2", "bngain", "bnbias"].contains(&name)
            || ["d.logits", "d.hprebn"].contains(&name)
    })?;
    let (output, stdout, stderr) = run(&cpu)?;
    expect(output.status.code() == Some(1), &stderr)?;
    expect(
        stderr
            == "error: gradcheck: 1 of 2 tensors differ from the reference; the first is d.hprebn\n",
        &stderr,
    )?;
    let lines: Vec<&str> = stdout.lines().collect();
    let starts = |text: &str| lines.iter().filter(|l| l.starts_with(text)).count() == 1;
    expect(starts("d.logits"), &stdout)?;
    expect(starts("d.hprebn"), &stdout)?;
    expect(starts("absent: emb, embcat, hprebn,"), &stdout)?;
    expect(starts("ignored: loss"), &stdout)?;
    // It ends with the command that explains what is wrong, and that command works.
    let last = lines.last().copied().unwrap_or_default();
    expect(
        last.ends_with(": gpu-makemore gradcheck --explain hprebn"),
        &stdout,
    )?;
    let (output, _, stderr) = run(&["--explain", "hprebn"])?;
    expect(output.status.success(), &stderr)?;
    // The wrong tensor shows both values; the other needs --verbose for that.
    let shown = |text: &str| text.lines().filter(|l| l.contains(", expected ")).count();
    expect(shown(&stdout) == 1, &stdout)?;
    let (_, stdout, _) = run(&[&cpu[..], &["--verbose"]].concat())?;
    expect(shown(&stdout) == 2, &stdout)?;

    let (output, stdout, _) = run(&[&cpu[..], &["--json"]].concat())?;
    expect(output.status.code() == Some(1), &stdout)?;
    let json: serde_json::Value = serde_json::from_str(&stdout)?;
    expect(json["pass"] == false, &stdout)?;
    let row = &json["tensors"][1];
    expect(
        row["name"] == "d.hprebn" && row["tensor"] == "hprebn",
        &stdout,
    )?;
    // Twice as large, so every element is wrong that is not tiny; of the other gradient, none.
    expect(row["shape"] == serde_json::json!([32, 64]), &stdout)?;
    let beyond = row["beyond"].as_u64().unwrap_or_default();
    expect((1500..=2048).contains(&beyond), &stdout)?;
    expect(json["tensors"][0]["beyond"] == 0, &stdout)?;
    expect(json["absent"][0] == "emb", &stdout)?;

    // All right.
    altered(&path, |_, _| true)?;
    let (output, stdout, stderr) = run(&cpu)?;
    expect(output.status.code() == Some(0), &stderr)?;
    expect(stdout.contains("45 of 45 tensors agree"), &stdout)?;

    // A file that cannot be checked fails, and sizes beside a file are wrong usage.
    altered(&path, |name, _| name != "W2")?;
    let (output, _, stderr) = run(&cpu)?;
    expect(output.status.code() == Some(1), &stderr)?;
    expect(stderr.contains("it lacks W2"), &stderr)?;
    let (output, _, stderr) = run(&[&cpu[..], &["--n-hidden", "64"]].concat())?;
    expect(output.status.code() == Some(2), &stderr)
}

/// `lecture` with other names for its tensors.
fn renamed(path: &Path, rename: impl Fn(&str) -> String) -> Outcome {
    let bytes = fs::read(fixture("lecture"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let tensors = file.iter().map(|(name, tensor)| (rename(name), tensor));
    Ok(safetensors::serialize_to_file(tensors, None, path)?)
}

/// A wrong gradient is found under each name that one may have, and under a name that is not read the file
/// does not pass.
fn other_names() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("mine.safetensors");
    let cpu = ["--backend", "cpu", "--against"];
    let cpu = [&cpu[..], &[path.to_str().ok_or("a path that is no text")?]].concat();
    let gradient = |name: &str| name.strip_prefix("d.").map(str::to_owned);
    let as_notebook = |name: &str| match (name, gradient(name)) {
        ("X" | "Y", _) => format!("{name}b"),
        (_, Some(of)) => format!("d{of}"),
        _ => name.to_owned(),
    };
    let as_pytorch = |name: &str| match gradient(name) {
        Some(of) => format!("{of}.grad"),
        None => name.to_owned(),
    };
    let names: [&dyn Fn(&str) -> String; 2] = [&as_notebook, &as_pytorch];
    for name in names {
        renamed(&path, name)?;
        let (output, stdout, stderr) = run(&cpu)?;
        expect(output.status.code() == Some(0), &stderr)?;
        expect(stdout.contains("45 of 45 tensors agree"), &stdout)?;
        // The gradient of h under the name of that of hpreact, which has the same shape.
        renamed(&path, |old| match old {
            "d.hpreact" => "d.h without a name".to_owned(),
            "d.h" => name("d.hpreact"),
            _ => name(old),
        })?;
        let (output, stdout, stderr) = run(&cpu)?;
        expect(output.status.code() == Some(1), &stdout)?;
        let first = format!("the first is {}\n", name("d.hpreact"));
        expect(stderr.ends_with(&first), &stderr)?;
        expect(stdout.ends_with("--explain hpreact\n"), &stdout)?;
    }
    // All values are right, but no gradient is looked at.
    renamed(&path, |name| match gradient(name) {
        Some(of) => format!("grad_{of}"),
        None => name.to_owned(),
    })?;
    let (output, stdout, stderr) = run(&cpu)?;
    expect(output.status.code() == Some(1), &stdout)?;
    expect(stderr.contains("'grad_C', 'grad_W1', "), &stderr)?;
    expect(stderr.contains("d.logits, dlogits or logits.grad"), &stderr)
}

/// What PyTorch and NumPy write by themselves is named, with the lines that convert it.
fn other_formats() -> Outcome {
    for (name, what, lines) in [
        (
            "other.pt",
            "a PyTorch file (torch.save)",
            ["mine = torch.load(\"", "`safetensors.torch.save_file({"],
        ),
        (
            "other.npz",
            "a NumPy archive (np.savez)",
            [
                "mine = dict(numpy.load(\"",
                "`safetensors.numpy.save_file(mine, ",
            ],
        ),
        (
            "other.npy",
            "a NumPy array (np.save)",
            [
                "mine = {\"other\": numpy.load(\"",
                "`safetensors.numpy.save_file(mine, ",
            ],
        ),
        (
            "other.pkl",
            "a Python pickle",
            [
                "mine = pickle.load(open(\"",
                "`safetensors.torch.save_file({",
            ],
        ),
    ] {
        let path = fixture("lecture").with_file_name(name);
        let path = path.to_str().ok_or("a path that is no text")?;
        let (output, stdout, stderr) = run(&["--backend", "cpu", "--against", path])?;
        expect(output.status.code() == Some(1), &stdout)?;
        expect(stderr.contains(&format!("{name}: it is {what}, ")), &stderr)?;
        expect(lines.iter().all(|line| stderr.contains(line)), &stderr)?;
        expect(stderr.contains("/other.safetensors\")`"), &stderr)?;
        expect(stderr.lines().count() == 1, &stderr)?;
    }
    Ok(())
}

/// The table says which code computed each tensor, and `--schedule` chooses it.
fn codes_from_outside() -> Outcome {
    let (output, stdout, stderr) = run(&["--backend", "cpu"])?;
    expect(output.status.success(), &stderr)?;
    let by = |name: &str| {
        let line = stdout.lines().find(|l| l.split(' ').next() == Some(name));
        line.and_then(|line| line.split_whitespace().nth(5))
            .map(str::to_owned)
    };
    for (tensor, code) in [
        ("C", "cpu"),
        ("W1", "cpu"),
        ("bndiff", "chunked"),
        ("h", "chunked"),
    ] {
        expect(by(tensor).as_deref() == Some(code), &stdout)?;
    }
    expect(stdout.contains("26 of 26 tensors agree"), &stdout)?;
    let wide = stdout
        .lines()
        .filter(|line| !line.starts_with("why "))
        .find(|l| l.len() > 80);
    expect(wide.is_none(), &stdout)?;
    // b1 is zero but for rounding: no distance in ULP is told of it.
    let (_, stdout, _) = run(&["--backend", "cpu", "--verbose"])?;
    let b1 = stdout.lines().skip_while(|l| !l.starts_with("b1 ")).take(2);
    let b1: Vec<&str> = b1.collect();
    expect(
        b1[0].ends_with("ok: zero") && !b1[1].contains("ULP"),
        &stdout,
    )?;
    for schedule in ["staged", "resident"] {
        let (output, _, stderr) = run(&["--backend", "cpu", "--schedule", schedule])?;
        expect(output.status.code() == Some(2), &stderr)?;
        expect(stderr.contains("is about GPUs"), &stderr)?;
    }
    for exercise in ["1", "2", "3", "4", "extras"] {
        let folder = tempfile::tempdir()?;
        let out = folder.path().to_str().ok_or("a path that is no text")?;
        let args = ["--backend", "cpu", "--exercise", exercise, "--out", out];
        let (output, stdout, stderr) = run(&args)?;
        expect(output.status.success(), &stderr)?;
        let last = stdout.lines().last().unwrap_or_default();
        expect(
            last.ends_with(": passed") && last.contains(exercise),
            &stdout,
        )?;
    }
    Ok(())
}

fn explain_from_outside() -> Outcome {
    for chunk in LectureTensor::ALL {
        let (output, stdout, stderr) = run(&["--explain", chunk.name()])?;
        expect(output.status.success(), &stderr)?;
        let starts = |text: &str| stdout.lines().any(|l| l.starts_with(text));
        for label in ["shape:    (", "from:     ", "used by:  ", "forward:  "] {
            expect(starts(label), &stdout)?;
        }
        let backward = format!("backward: d{} = ", chunk.name());
        expect(starts(&backward), &stdout)?;
        let gradient = format!("d{}", chunk.name());
        let (_, of_gradient, stderr) = run(&["--explain", &gradient])?;
        expect(of_gradient == stdout, &stderr)?;
    }
    let (output, stdout, stderr) = run(&["--explain", "loss"])?;
    expect(
        output.status.success() && stdout.contains("dloss = 1.0"),
        &stderr,
    )?;
    for (exercise, backward) in [("2", "backward: dlogits = "), ("3", "backward: dhprebn = ")] {
        let (output, stdout, stderr) = run(&["--explain", "--exercise", exercise])?;
        expect(output.status.success(), &stderr)?;
        expect(stdout.contains(backward), &stdout)?;
    }
    // Without a name, or with one that there is not, the names are listed.
    let (output, stdout, stderr) = run(&["--explain"])?;
    expect(output.status.success(), &stderr)?;
    let listed = |name: &str| stdout.split_whitespace().any(|word| word == name);
    expect(LectureTensor::ALL.iter().all(|c| listed(c.name())), &stdout)?;
    let (output, _, stderr) = run(&["--explain", "nonsense"])?;
    expect(output.status.code() == Some(2), &stderr)?;
    expect(
        stderr.contains("the tensors are loss, logprobs, probs,"),
        &stderr,
    )?;
    for args in [
        &["--explain", "h", "--exercise", "2"][..],
        &["--explain", "--exercise", "1"],
        &["--explain", "--exercise", "4"],
        &["--explain", "h", "--json"],
        &["--explain", "h", "--backend", "cpu"],
    ] {
        let (output, _, stderr) = run(args)?;
        expect(output.status.code() == Some(2), &stderr)?;
    }
    Ok(())
}
