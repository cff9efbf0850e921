//! Mistakes in the CPU's training step, one at a time, that `gradcheck` has to find.
//!
//! The step is Rust, so a copy of the program is built with all mistakes in it, each behind a question:
//! `if crate::mistake(7) { the mistake } else { what stands there }`. A variable of the environment says
//! which of them is made. One build serves them all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use libtest_mimic::{Failed, Trial};

use crate::common::adapters::{Outcome, long_test};

/// A mistake in the CPU's step.
pub struct Mistake {
    /// The operation it concerns, and what is wrong.
    name: &'static str,
    /// The file under `src/cpu/by_token/`.
    file: &'static str,
    /// An expression there.
    from: &'static str,
    /// The one in its place.
    to: &'static str,
    /// Examples of the minibatch. More than 32 contexts go through other code than a few do, and from
    /// 512 examples on, several cores share a step.
    batch: usize,
}

const fn mistake(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mistake {
    Mistake {
        name,
        file,
        from,
        to,
        batch: 32,
    }
}

const fn in_many(
    batch: usize,
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mistake {
    let mistake = mistake(name, file, from, to);
    Mistake { batch, ..mistake }
}

#[rustfmt::skip]
pub static MISTAKES: [Mistake; 22] = [
    mistake("embedding::an_example_counted_once_in_the_mean", "tokens.rs",
        "mean[l] += uses * embedding[l]", "mean[l] += embedding[l]"),
    mistake("embedding::the_mean_not_taken_off", "tokens.rs",
        "values[l] -= mean[l]", "values[l] -= R::zero()"),
    mistake("embedding::dC_set_and_not_added_to", "shared.rs",
        "sum + dembedding[l]", "dembedding[l]"),
    mistake("linear::the_bias_forgotten", "shared.rs",
        "*sum += b2[vs.start + i]", "*sum += R::zero()"),
    mistake("linear::dW1_doubled", "panel/mod.rs",
        "sgd_update::<R, FMA>(w1, lr, products[l])", "sgd_update::<R, FMA>(w1, lr + lr, products[l])"),
    mistake("linear::W2_not_updated", "panel/one_block.rs",
        "sgd_update::<R, FMA>(w2, lr, sums[l])", "w2"),
    mistake("linear::only_half_of_dlogits_in_dW2", "panel/mod.rs",
        "acts.len().min(CONTEXT_BLOCK)", "acts.len().min(CONTEXT_BLOCK / 2)"),
    mistake("batchnorm::n_for_n_minus_1_in_the_variance", "panel/mod.rs",
        "batchnorm_variance(sum, n)", "batchnorm_variance(sum, n + R::one())"),
    mistake("batchnorm::equal_contexts_counted_once_in_the_variance", "panel/mod.rs",
        "mul_add::<R, FMA>(uses * bndiff[l], bndiff[l], sum[l])",
        "mul_add::<R, FMA>(bndiff[l], bndiff[l], sum[l])"),
    mistake("batchnorm::the_gain_forgotten", "panel/mod.rs",
        "bngain * bnvar_inv[l]", "bnvar_inv[l]"),
    mistake("batchnorm::the_mean_term_dropped", "panel/mod.rs",
        "scale[l] * (dbnbias[l] / n)", "R::zero()"),
    mistake("batchnorm::n_for_n_minus_1_in_the_fused_gradient", "panel/mod.rs",
        "bnvar_inv[l] * dbngain[l] / (n - R::one())", "bnvar_inv[l] * dbngain[l] / n"),
    mistake("batchnorm::the_means_taken_off_once_for_equal_contexts", "panel/one_block.rs",
        "mul_add::<R, FMA>(-uses, shared, scale[half][l] * d[l])",
        "mul_add::<R, FMA>(-R::one(), shared, scale[half][l] * d[l])"),
    mistake("batchnorm::dbngain_in_the_place_of_dbnbias", "panel/mod.rs",
        "sgd::update::<R, FMA>(&mut self.bnbias.0, lr, &self.dbnbias.0)",
        "sgd::update::<R, FMA>(&mut self.bnbias.0, lr, &self.dbngain.0)"),
    mistake("tanh::not_derived", "panel/mod.rs",
        "tanh_backward(d[l], h[l])", "d[l]"),
    mistake("softmax::equal_contexts_counted_once", "shared.rs",
        "*uses / (*scale * n)", "(if *uses > R::zero() { R::one() } else { R::zero() }) / (*scale * n)"),
    mistake("softmax::nothing_taken_off_at_the_target", "shared.rs",
        "logits_t[token][lane] -= R::one() / n", "logits_t[token][lane] -= R::zero()"),
    mistake("softmax::db2_of_probs", "shared.rs",
        "db2[token][lane % LANES] -= R::one() / n", "db2[token][lane % LANES] -= R::zero()"),
    in_many(128, "linear::dW2_of_the_last_contexts_alone", "panel/many_blocks.rs",
        "dw2 + sums[l]", "sums[l]"),
    in_many(128, "batchnorm::a_token_counted_once", "panel/many_blocks.rs",
        "-(uses * shift[l])", "-shift[l]"),
    in_many(128, "batchnorm::bndiff_of_equal_contexts_counted_once", "panel/many_blocks.rs",
        "each(bndiff, |bndiff, _| uses * bndiff)", "each(bndiff, |bndiff, _| bndiff)"),
    in_many(1024, "softmax::db2_of_the_last_contexts_alone", "shared.rs",
        "*sum += *term", "*sum = *term"),
];

/// Says which mistake is made; none, if it is not set.
const VARIABLE: &str = "GPU_MAKEMORE_MISTAKE";

/// What is added to the copy.
const QUESTION: &str = "
pub(crate) fn mistake(number: usize) -> bool {
    static MADE: std::sync::LazyLock<Option<usize>> = std::sync::LazyLock::new(|| {
        std::env::var(\"GPU_MAKEMORE_MISTAKE\").ok()?.parse().ok()
    });
    *MADE == Some(number)
}
";

/// The copy, once it is built; or why it could not be.
static PROGRAM: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| build().map_err(|e| e.message().unwrap_or_default().to_owned()));

impl Mistake {
    pub fn test(&'static self) -> Trial {
        let number = MISTAKES.iter().position(|m| m.name == self.name);
        long_test(format!("cpu::mistake::{}", self.name), move || {
            self.is_caught(number.ok_or("not in the list")?)
        })
    }

    /// The check passes without the mistake, and with it finds the CPU's step wrong and nothing else.
    fn is_caught(&self, number: usize) -> Outcome {
        if let Some(rows) = self.wrong_rows(None)?.first() {
            return Err(format!("without a mistake, {rows} is wrong").into());
        }
        let wrong = self.wrong_rows(Some(number))?;
        if wrong.is_empty() {
            return Err("not noticed".into());
        }
        match wrong.iter().find(|row| !row.ends_with(" by cpu")) {
            None => Ok(()),
            Some(row) => Err(format!("{row} is wrong too").into()),
        }
    }

    /// The rows that `gradcheck` finds wrong, as `W2 by cpu`.
    fn wrong_rows(&self, number: Option<usize>) -> Result<Vec<String>, Failed> {
        let batch = self.batch.to_string();
        let args = [
            "gradcheck",
            "--backend",
            "cpu",
            "--json",
            "--batch-size",
            &batch,
        ];
        let mut command = Command::new(PROGRAM.as_ref()?);
        command.args(args).env_remove(VARIABLE);
        if let Some(number) = number {
            command.env(VARIABLE, number.to_string());
        }
        let output = command.output()?;
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let rows = json["tensors"].as_array().ok_or("no tensors")?;
        let wrong: Vec<String> = rows
            .iter()
            .filter(|row| row["pass"] != true)
            .map(|row| {
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                format!("{} by {}", text("name"), text("by"))
            })
            .collect();
        // The exit code is what a script sees of it.
        if output.status.code() != Some(i32::from(!wrong.is_empty())) {
            return Err(format!("{:?} with {wrong:?}", output.status).into());
        }
        Ok(wrong)
    }
}

/// Builds the copy beside the program under test, with the dependencies that are built already.
fn build() -> Result<PathBuf, Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = tempfile::tempdir()?;
    write_copy(root, copy.path())?;
    // target/PROFILE/gpu-makemore
    let program = Path::new(env!("CARGO_BIN_EXE_gpu-makemore"));
    let folder = program.parent().ok_or("a program without a folder")?;
    let target = folder.parent().ok_or("a profile without a folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--offline",
            "--bin",
            "with-mistakes",
            "--profile",
            profile,
        ])
        // Code of one build runs all of them: its own speed does not matter.
        .args([
            "--config",
            &format!("profile.{profile}.package.gpu-makemore.opt-level=0"),
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(copy.path())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let name = format!("with-mistakes{}", std::env::consts::EXE_SUFFIX);
    Ok(folder.join(name))
}

/// The package with the mistakes in its sources, and a program of another name.
fn write_copy(root: &Path, copy: &Path) -> Outcome {
    copy_folder(
        root,
        copy,
        &["src", "shaders", "data", "benches", "examples", "exercises"],
    )?;
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock"))?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    // The tests and the page are not copied, so nothing may be told of them.
    let mut tables: Vec<&str> = manifest.split("\n[[").collect();
    tables.retain(|table| !table.starts_with("test]]"));
    let manifest = tables.join("\n[[");
    let lines = manifest
        .lines()
        .filter(|line| !line.starts_with("members ="));
    let manifest = lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace(
            "name = \"gpu-makemore\"\npath",
            "name = \"with-mistakes\"\npath",
        )
        .replace("default-run = \"gpu-makemore\"\n", "");
    fs::write(copy.join("Cargo.toml"), manifest)?;

    let lib = copy.join("src/lib.rs");
    let text = fs::read_to_string(&lib)?;
    fs::write(&lib, text + QUESTION)?;
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    for (number, Mistake { file, from, to, .. }) in MISTAKES.iter().enumerate() {
        let path = copy.join("src/cpu/by_token").join(file);
        let text = match files.get(file) {
            Some(text) => text.clone(),
            None => fs::read_to_string(&path)?,
        };
        if text.matches(from).count() != 1 {
            return Err(format!("{from:?} is not in {file} once").into());
        }
        let question = format!("(if crate::mistake({number}) {{ {to} }} else {{ {from} }})");
        files.insert(file, text.replace(from, &question));
    }
    for (file, text) in files {
        fs::write(copy.join("src/cpu/by_token").join(file), text)?;
    }
    Ok(())
}

fn copy_folder(root: &Path, copy: &Path, folders: &[&str]) -> Outcome {
    for folder in folders {
        let mut open = vec![PathBuf::from(folder)];
        while let Some(folder) = open.pop() {
            fs::create_dir_all(copy.join(&folder))?;
            for entry in fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    open.push(path);
                } else {
                    fs::copy(entry.path(), copy.join(&path))?;
                }
            }
        }
    }
    Ok(())
}
