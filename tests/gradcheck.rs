//! `gradcheck` itself: it passes the kernels as they are, on every adapter, and fails each of the
//! ways in which they could be wrong. What a check is worth shows when something is broken.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use common::SIZES;
use common::adapters::{self, Check, OnEach, Outcome, mistake};
use gpu_makemore::chunks::Chunk;
use gpu_makemore::dims::Dims;
use gpu_makemore::gpu::adapter::Found;
use gpu_makemore::gpu::shader::{Module, chunked_modules};
use gpu_makemore::gradcheck::against::{self, Given};
use gpu_makemore::gradcheck::engine::Engine;
use gpu_makemore::gradcheck::exercise;
use gpu_makemore::gradcheck::{Inputs, Row, check, check_chunked, verdict};
use gpu_makemore::report;
use libtest_mimic::{Failed, Trial};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const CHECKS: [Check; 5] = [
    ("the_check_passes_at_every_size", |found| {
        passes_at_every_size(&kernels(found, chunked_modules()))
    }),
    ("the_files_of_pytorch_agree", |found| {
        fixtures_agree(&kernels(found, chunked_modules()))
    }),
    ("the_exercises_pass", |found| {
        exercises_pass(&kernels(found, chunked_modules()))
    }),
    ("a_mistake_fails_the_exercises_on_it", exercises_fail),
    ("the_kernels_without_a_mistake_pass", no_mistake),
];

fn main() -> ExitCode {
    let cpu = vec![
        Trial::test("cpu::the_check_passes_at_every_size", || {
            passes_at_every_size(&Engine::Cpu)
        }),
        Trial::test("cpu::the_files_of_pytorch_agree", || {
            fixtures_agree(&Engine::Cpu)
        }),
        Trial::test("cpu::the_exercises_pass", || exercises_pass(&Engine::Cpu)),
        Trial::test("cpu::each_wrong_tensor_of_a_file_is_named", wrong_tensors),
        Trial::test("command::against", against_from_outside),
        Trial::test("command::explain", explain_from_outside),
    ];
    let mistakes = MUTATIONS.iter().map(|mutation| {
        let caught = |found: &Found| mutation.is_caught(found);
        mistake(mutation.file, mutation.name, caught)
    });
    adapters::run(CHECKS.iter().map(OnEach::from).chain(mistakes), cpu)
}

fn kernels(found: &Found, modules: Vec<Module>) -> Engine {
    Engine::Gpu(Box::new(found.clone()), modules)
}

// ---------------------------------------------------------------------------- it passes what is right

/// What `gradcheck` checks by default.
fn default_inputs() -> Result<Inputs, Failed> {
    let sizes = Dims {
        hidden: 64,
        ..Dims::LECTURE
    };
    Ok(Inputs::of_names(sizes, 2147483647)?)
}

/// The same with 100 added to every logit. No gradient changes, for softmax does not see it; but
/// exp(100) is more than f32 holds.
fn large_logits() -> Result<Inputs, Failed> {
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

fn passes_at_every_size(engine: &Engine) -> Outcome {
    let mut all = vec![default_inputs()?];
    for (_, dims) in SIZES.into_iter().chain(EXTREMES) {
        let common::Inputs { params, x, y } = common::inputs(&dims, 13);
        all.push(Inputs { dims, params, x, y });
    }
    for inputs in all {
        for rows in [check(engine, &inputs)?, check_chunked(engine, &inputs)?] {
            verdict(&rows).map_err(|e| format!("{}: {e}", inputs.dims))?;
        }
    }
    Ok(())
}

// ---------------------------------------------------------------------------- it fails what is wrong

/// A mistake in a kernel, and how it shows.
struct Mutation {
    name: &'static str,
    /// The file under `shaders/`.
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// What is run.
    by: By,
    /// The first tensor that is wrong, in the order of the backward pass.
    first: Chunk,
}

/// What finds a mutation.
#[derive(Clone, Copy, Debug)]
enum By {
    /// `gradcheck`: of two kernels for one gradient, this sees the training step's.
    Gradcheck,
    /// `gradcheck --exercise 1`: this sees the chunked one.
    Exercise1,
    /// `gradcheck --against` with a file whose logits are around 100.
    LargeLogits,
}

const fn mutation(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    by: By,
    first: Chunk,
) -> Mutation {
    Mutation {
        name,
        file,
        from,
        to,
        by,
        first,
    }
}

/// One mistake at a time. A tensor may not vanish from a kernel altogether, for then its binding
/// would too, and the driver and not the check would complain: hence `0.0 *`.
///
/// Where a kernel serves both layers, the second is the first to be wrong: so no mistake shows in
/// embcat, W1 or b1 first. A mistake in the forward pass shows in dprobs, the first gradient that
/// depends on a value. Mistakes in the slices of a sum are in tests/gpu.rs, for a software driver
/// runs the kernels without slices. And two mistakes no check could find: the sign of dlogit_maxes
/// and the place where it is added to dlogits, because it is zero.
#[rustfmt::skip]
static MUTATIONS: [Mutation; 34] = [
    // The forward pass.
    mutation("n for n-1 in the variance", "batchnorm.wgsl",
        "return sum_bndiff2 / (n - 1.0);", "return sum_bndiff2 / n;",
        By::Gradcheck, Chunk::Probs),
    mutation("tokens unpacked from the wrong end", "embedding.wgsl",
        "(8u * (position % 4u))", "(24u - 8u * (position % 4u))",
        By::Gradcheck, Chunk::Probs),
    mutation("the bias forgotten", "staged/linear.wgsl",
        "s0 = b[tile.col];", "s0 = 0.0 * b[tile.col];",
        By::Gradcheck, Chunk::Probs),
    mutation("the row maximum not subtracted", "chunked/softmax_cross_entropy.wgsl",
        "logits[i] - logit_maxes[", "logits[i] - 0.0 * logit_maxes[",
        By::Gradcheck, Chunk::CountsSumInv),
    mutation("the row maximum not subtracted in the training step", "staged/softmax_cross_entropy.wgsl",
        "exp(logits[row_start + i] - logit_max)", "exp(logits[row_start + i])",
        By::LargeLogits, Chunk::Logits),
    // Backward through softmax and cross-entropy.
    mutation("dlogprobs without its minus", "chunked/softmax_cross_entropy.wgsl",
        "-1.0 / f32(shape.examples)", "1.0 / f32(shape.examples)",
        By::Gradcheck, Chunk::Logprobs),
    mutation("dlogprobs of another example's target", "chunked/softmax_cross_entropy.wgsl",
        "let y = (Y[row / 4u] >> (8u * (row % 4u))) & 0xffu;", "let y = Y[row / 4u] & 0xffu;",
        By::Gradcheck, Chunk::Logprobs),
    mutation("p for 1 over p", "chunked/softmax_cross_entropy.wgsl",
        "(1.0 / probs[i]) * dlogprobs[i]", "probs[i] * dlogprobs[i]",
        By::Gradcheck, Chunk::Probs),
    mutation("a broadcast not summed", "chunked/softmax_cross_entropy.wgsl",
        "sum += counts[i] * dprobs[i];", "sum = counts[i] * dprobs[i];",
        By::Gradcheck, Chunk::CountsSumInv),
    mutation("1 over x for 1 over x squared", "chunked/softmax_cross_entropy.wgsl",
        "-1.0 / (counts_sum[row] * counts_sum[row])", "-1.0 / counts_sum[row]",
        By::Gradcheck, Chunk::CountsSum),
    mutation("the second use of counts forgotten", "chunked/softmax_cross_entropy.wgsl",
        "* dprobs[i] + dcounts_sum[row]", "* dprobs[i] + 0.0 * dcounts_sum[row]",
        By::Gradcheck, Chunk::Counts),
    mutation("rows and columns swapped", "chunked/softmax_cross_entropy.wgsl",
        "let row = i / pitch(shape.vocab);\n        dcounts[i]",
        "let row = i % pitch(shape.vocab);\n        dcounts[i]",
        By::Gradcheck, Chunk::Counts),
    mutation("exp derived to 1", "chunked/softmax_cross_entropy.wgsl",
        "dnorm_logits[i] = counts[i] * dcounts[i];", "dnorm_logits[i] = 0.0 * counts[i] + dcounts[i];",
        By::Gradcheck, Chunk::NormLogits),
    mutation("a maximum used once and not by its row", "chunked/softmax_cross_entropy.wgsl",
        "sum += -dnorm_logits[", "sum = -dnorm_logits[",
        By::Gradcheck, Chunk::LogitMaxes),
    mutation("the mean not taken", "softmax_cross_entropy.wgsl",
        "(examples * prob - followed) / n", "examples * prob - followed",
        By::Gradcheck, Chunk::Logits),
    mutation("nothing taken off at the target", "softmax_cross_entropy.wgsl",
        "examples * prob - followed", "examples * prob - 0.0 * followed",
        By::Gradcheck, Chunk::Logits),
    mutation("a pad taken for a logit", "staged/softmax_cross_entropy.wgsl",
        "columns(i) < vec4<u32>(shape.vocab)", "columns(i) <= vec4<u32>(shape.vocab)",
        By::Gradcheck, Chunk::Logits),
    // Linear layers and tanh.
    mutation("W2 for its transpose", "staged/linear.wgsl",
        "let right = transpose(\n            mat4x4<f32>(W[w], W[w + terms], W[w + 2u * terms], W[w + 3u * terms]),\n        );",
        "let right = mat4x4<f32>(W[w], W[w + terms], W[w + 2u * terms], W[w + 3u * terms]);",
        By::Gradcheck, Chunk::H),
    mutation("h for its transpose", "staged/linear.wgsl",
        "columns_of_four(xs + upper)", "columns_of_four(upper * shape.rows + rows)",
        By::Gradcheck, Chunk::W2),
    mutation("the bias of the last row alone", "staged/linear.wgsl",
        "bias += (right[0]", "bias = (right[0]",
        By::Gradcheck, Chunk::B2),
    mutation("1-h for 1-h**2", "tanh.wgsl",
        "(1.0 - h * h) * dh", "(1.0 - h) * dh",
        By::Gradcheck, Chunk::Hpreact),
    // Batch norm, in one go.
    mutation("dbngain and dbnbias swapped", "staged/batchnorm.wgsl",
        "dbngain[j] = sum_dhpreact_bnraw;\n        dbnbias[j] = sum_dhpreact;",
        "dbngain[j] = sum_dhpreact;\n        dbnbias[j] = sum_dhpreact_bnraw;",
        By::Gradcheck, Chunk::Bngain),
    mutation("the mean term dropped", "batchnorm.wgsl",
        "(n * dhpreact - sum_dhpreact - n", "(n * dhpreact - n",
        By::Gradcheck, Chunk::Hprebn),
    mutation("n for n-1 in the fused gradient", "batchnorm.wgsl",
        "- n / (n - 1.0) * bnraw", "- bnraw",
        By::Gradcheck, Chunk::Hprebn),
    // Batch norm, line by line.
    mutation("the gain of another unit", "chunked/batchnorm.wgsl",
        "dbnraw[i] = bngain[i % pitch(shape.hidden)]", "dbnraw[i] = bngain[i / pitch(shape.hidden)]",
        By::Gradcheck, Chunk::Bnraw),
    mutation("-0.5 as an exponent for -1.5", "chunked/batchnorm.wgsl",
        "-0.5 / (x * sqrt(x))", "-0.5 / sqrt(x)",
        By::Gradcheck, Chunk::Bnvar),
    mutation("n for n-1 in dbndiff2", "chunked/batchnorm.wgsl",
        "1.0 / (f32(shape.examples) - 1.0)", "1.0 / f32(shape.examples)",
        By::Gradcheck, Chunk::Bndiff2),
    mutation("a square derived to x", "chunked/batchnorm.wgsl",
        "(2.0 * bndiff[i])", "bndiff[i]",
        By::Gradcheck, Chunk::Bndiff),
    mutation("dbnmeani without its minus", "chunked/batchnorm.wgsl",
        "sum += -dbndiff[", "sum += dbndiff[",
        By::Gradcheck, Chunk::Bnmeani),
    mutation("the mean term dropped in chunks", "chunked/batchnorm.wgsl",
        "1.0 / f32(shape.examples) * dbnmeani", "0.0 * dbnmeani",
        By::Exercise1, Chunk::Hprebn),
    mutation("dbnbias of the last row alone", "chunked/batchnorm.wgsl",
        "sum += dhpreact[", "sum = dhpreact[",
        By::Exercise1, Chunk::Bnbias),
    // The embedding.
    mutation("dC doubled", "staged/embedding.wgsl",
        "dC[i] = sum;", "dC[i] = 2.0 * sum;",
        By::Gradcheck, Chunk::C),
    mutation("dC set and not added to", "staged/embedding.wgsl",
        "sum += dembcat[", "sum = dembcat[",
        By::Gradcheck, Chunk::C),
    mutation("the first use of each token forgotten", "staged/embedding.wgsl",
        "var u = uses[first + token] + lane / elements;", "var u = uses[first + token] + 1u;",
        By::Gradcheck, Chunk::C),
];

impl By {
    fn rows(self, engine: &Engine) -> Result<Vec<Row>, Failed> {
        Ok(match self {
            By::Gradcheck => check(engine, &default_inputs()?)?,
            By::Exercise1 => check_chunked(engine, &default_inputs()?)?,
            By::LargeLogits => check(engine, &large_logits()?)?,
        })
    }
}

impl Mutation {
    /// The kernels with the mistake in them.
    fn modules(&self) -> Result<Vec<Module>, Failed> {
        let mut modules = chunked_modules();
        let mut replaced = 0;
        for module in &mut modules {
            if module.source.parts().iter().any(|p| p.file == self.file) {
                module.source = module
                    .source
                    .replaced(self.file, self.from, self.to)
                    .ok_or_else(|| {
                        format!("{:?} is not in shaders/{} once", self.from, self.file)
                    })?;
                replaced += 1;
            }
        }
        if replaced == 0 {
            return Err(format!("no module has shaders/{}", self.file).into());
        }
        Ok(modules)
    }

    fn is_caught(&self, found: &Found) -> Outcome {
        let rows = self.by.rows(&kernels(found, self.modules()?))?;
        let first = rows.iter().find(|row| !row.comparison.pass);
        if first.map(|row| row.chunk) != Some(self.first) {
            let first = first.map_or("nothing", |row| row.chunk.name());
            let expected = self.first.name();
            return Err(format!("{:?} names {first}, expected {expected}", self.by).into());
        }
        Ok(())
    }
}

/// Without a mistake, each of the three ways to find one finds none.
fn no_mistake(found: &Found) -> Outcome {
    for by in [By::Gradcheck, By::Exercise1, By::LargeLogits] {
        verdict(&by.rows(&kernels(found, chunked_modules()))?)?;
    }
    Ok(())
}

// --------------------------------------------------------------------------------------- --exercise

/// All of them, and the pictures of the second.
fn exercises_pass(engine: &Engine) -> Outcome {
    let inputs = default_inputs()?;
    let mut out = report::Output::to_nobody();
    let folder = tempfile::tempdir()?;
    exercise::one(engine, &inputs, &mut out)?;
    exercise::two(engine, &inputs, folder.path(), &mut out)?;
    exercise::three(engine, &inputs, &mut out)?;
    exercise::four(engine, &inputs, 1, &mut out)?;
    exercise::extras(engine, 1, &mut out)?;
    for (name, size) in [
        ("dlogits.png", (27 * 18, 32 * 18)),
        ("dlogits-colour.png", (554, 650)),
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
    let softmax = mutation(
        "no 1 at the target",
        "softmax_cross_entropy.wgsl",
        "examples * prob - followed",
        "examples * prob - 0.9 * followed",
        By::Gradcheck,
        Chunk::Logits,
    );
    let engine = kernels(found, softmax.modules()?);
    if exercise::two(&engine, &inputs, folder.path(), &mut out).is_ok() {
        return Err("exercise 2 passed a wrong gradient of softmax".into());
    }
    if exercise::four(&engine, &inputs, 1, &mut out).is_ok() {
        return Err("exercise 4 passed a wrong gradient of softmax".into());
    }
    let batchnorm = mutation(
        "n for n - 1",
        "batchnorm.wgsl",
        "n / (n - 1.0) * bnraw",
        "bnraw",
        By::Gradcheck,
        Chunk::Hprebn,
    );
    let engine = kernels(found, batchnorm.modules()?);
    if exercise::three(&engine, &inputs, &mut out).is_ok() {
        return Err("exercise 3 passed a wrong gradient of batch norm".into());
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
        let given = Given::load(&fixture(name))?;
        let rows = against::check(engine, &given)?;
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
    let all = against::check(&Engine::Cpu, &Given::load(&fixture("lecture"))?)?;
    for row in all {
        altered(&path, |name, values| {
            if name == row.label {
                let largest = |a: &&mut f64, b: &&mut f64| a.abs().total_cmp(&b.abs());
                match row.chunk {
                    // Zero, but for rounding.
                    Chunk::LogitMaxes | Chunk::B1 if name.starts_with("d.") => values[5] += 1e-4,
                    _ => values.iter_mut().max_by(largest).map_or((), |v| *v *= 1.01),
                }
            }
            true
        })?;
        let rows = against::check(&Engine::Cpu, &Given::load(&path)?)?;
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
        !name.starts_with("d.") && Chunk::ALL.iter().all(|c| c.name() != name)
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

    let (output, stdout, _) = run(&[&cpu[..], &["--json"]].concat())?;
    expect(output.status.code() == Some(1), &stdout)?;
    let json: serde_json::Value = serde_json::from_str(&stdout)?;
    expect(json["pass"] == false, &stdout)?;
    expect(json["tensors"][1]["name"] == "d.hprebn", &stdout)?;
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

fn explain_from_outside() -> Outcome {
    for chunk in Chunk::ALL {
        let (output, stdout, stderr) = run(&["--explain", chunk.name()])?;
        expect(output.status.success(), &stderr)?;
        let starts = |text: &str| stdout.lines().any(|l| l.starts_with(text));
        expect(starts("forward:  "), &stdout)?;
        let backward = format!("backward: d{} = ", chunk.name());
        expect(starts(&backward), &stdout)?;
    }
    let (output, _, stderr) = run(&["--explain", "nonsense"])?;
    expect(output.status.code() == Some(2), &stderr)?;
    expect(stderr.contains("the tensors are logprobs, probs,"), &stderr)
}
