//! The resident schedule on every adapter that the tests know.

mod common;

use std::process::ExitCode;

use common::adapters::{self, Check, OnEach, Outcome, mistake, mistake_name};
use common::{
    Inputs, SIZES, Tolerance, bits, compare, f64s, gradients_of_one_step, inputs, lecture_steps,
    part,
};
use gpu_makemore::backend::{Backend, DeviceError};
use gpu_makemore::cpu::CpuBackend;
use gpu_makemore::gpu::adapter::Found;
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::kernels::Kernels;
use gpu_makemore::gpu::plan::Plan;
use gpu_makemore::gpu::probe::Answers;
use gpu_makemore::gpu::resident::Resident;
use gpu_makemore::gpu::tuning::WorkSplit;
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::params::Params;
use gpu_makemore::model::statistics::Statistics;
use gpu_makemore::model::steps::Steps;
use libtest_mimic::{Completion, Failed};
use pollster::FutureExt as _;

/// What is asked of every adapter.
const CHECKS: [Check; 5] = [
    ("a_step_longer_than_the_drivers_loops_is_refused", too_long),
    ("all_gradients_equal_the_f64_twin", gradients),
    ("evaluation_equals_the_cpu", evaluation),
    ("the_same_seed_gives_the_same_bits", same_bits),
    ("two_thousand_real_steps_equal_the_cpu", two_thousand_steps),
];

fn main() -> ExitCode {
    // Each of them compiles the whole kernel anew, which takes seconds.
    let mistakes = MISTAKES
        .iter()
        .map(|mistaken| mistake(mistaken.0, mistaken.1, |found| caught(found, mistaken)).long());
    let of_subgroups = SUBGROUP_MISTAKES.iter().map(|mistaken| {
        let name = mistake_name(mistaken.0, mistaken.1);
        OnEach::ignorable(name, |found| caught_in_subgroups(found, mistaken)).long()
    });
    let others = [
        OnEach::new("a_diverged_run_shows_in_the_loss", divergence).long(),
        OnEach::new("a_dispatch_that_the_driver_cuts_off_is_an_error", cut_off).long(),
        OnEach::new("chunks_and_dispatches_do_not_change_the_result", chunks).long(),
        OnEach::new("all_gradients_at_every_size_and_split", all_gradients).long(),
        OnEach::new("the_kernel_without_a_mistake_passes", no_mistake).long(),
        OnEach::new("models_side_by_side_are_each_as_if_alone", side_by_side).long(),
    ];
    let checks = CHECKS.iter().map(OnEach::from).chain(others);
    adapters::run(checks.chain(mistakes).chain(of_subgroups), Vec::new())
}

/// Rounds of loops that every driver does.
const ROUNDS: usize = 50_000;

/// How work is shared out on this adapter, and how it is on others: what runs there should not run
/// there for the first time.
fn splits(found: &Found, dims: &Dims) -> Vec<WorkSplit> {
    let hardware = WorkSplit::hardware(dims, &found.adapter.limits());
    let mut splits = vec![WorkSplit::of(found, dims), WorkSplit::software(), hardware];
    splits.dedup();
    splits
}

fn open(
    found: &Found,
    dims: Dims,
    split: WorkSplit,
    params: &[Params<f32>],
    kernels: &Kernels,
) -> Result<Resident, Failed> {
    let plan = Plan::new(dims, params.len(), split, ROUNDS);
    Ok(Resident::with(Gpu::open(found).block_on()?, found, plan, params, kernels).block_on()?)
}

/// The loss and the seven gradients of one step.
fn check_gradients(found: &Found, dims: Dims, split: WorkSplit, kernels: &Kernels) -> Outcome {
    let inputs = inputs(&dims, 11);
    let mut device = open(
        found,
        dims,
        split,
        std::slice::from_ref(&inputs.params),
        kernels,
    )?;
    gradients_of_one_step(&mut device, &inputs, &format!("{split:?}"))
}

/// At the sizes that compile within seconds, with the split of this adapter.
fn gradients(found: &Found) -> Outcome {
    let characters = Dims {
        vocab: 300,
        hidden: 20,
        batch: 17,
        ..Dims::LECTURE
    };
    let split = WorkSplit::of(found, &characters);
    check_gradients(found, characters, split, &Kernels::default())?;
    for (name, dims) in SIZES {
        if ["lecture", "odd", "long"].contains(&name) {
            let split = WorkSplit::of(found, &dims);
            check_gradients(found, dims, split, &Kernels::default())?;
        }
    }
    Ok(())
}

/// At every size, and with the splits of other adapters.
fn all_gradients(found: &Found) -> Outcome {
    for (name, dims) in SIZES {
        if name == "tiny" {
            continue; // cancels to rounding errors, see tests/reference.rs
        }
        let small = name == "lecture" || name == "odd";
        let splits = splits(found, &dims);
        // The other splits take long to compile at the larger sizes.
        for &split in if small { &splits[..] } else { &splits[..1] } {
            check_gradients(found, dims, split, &Kernels::default())?;
        }
    }
    Ok(())
}

/// An operation, a mistake in it, and how it is made.
type Mistake = (&'static str, &'static str, &'static str, &'static str);

/// Ways in which the kernel could be wrong that the staged kernels could not: all that it does by
/// itself. (A formula is wrong in both at once, and tests/gradcheck has those.)
#[rustfmt::skip]
static MISTAKES: [Mistake; 23] = [
    ("embedding", "a phase does not wait for embcat", "embed(worker);\n        phase_ends();", "embed(worker);"),
    ("linear", "a phase does not wait for hprebn", "\n        first_layer(group, lane);\n        phase_ends();", "\n        first_layer(group, lane);"),
    ("batchnorm", "a phase does not wait for the mean's parts", "sum_hprebn(worker);\n        phase_ends();", "sum_hprebn(worker);"),
    ("batchnorm", "a phase does not wait for the variance's parts", "sum_bndiff2(worker);\n        phase_ends();", "sum_bndiff2(worker);"),
    ("batchnorm_tanh", "a phase does not wait for h", "normalize(worker);\n        phase_ends();", "normalize(worker);"),
    ("linear", "a phase does not wait for the slices of logits", "second_layer(group, lane);\n        phase_ends();\n        add", "second_layer(group, lane);\n        add"),
    ("linear", "a phase does not wait for logits", "add_slices(worker);\n        phase_ends();", "add_slices(worker);"),
    ("softmax_cross_entropy", "a phase does not wait for dlogits", "loss(worker);\n        phase_ends();", "loss(worker);"),
    ("linear_tanh", "a phase does not wait for dhpreact", "through_second_layer(group, lane);\n        phase_ends();", "through_second_layer(group, lane);"),
    ("batchnorm", "a phase does not wait for the parts of dbngain", "sum_dhpreact(worker);\n        phase_ends();", "sum_dhpreact(worker);"),
    ("batchnorm", "a part of a column forgotten", "total += load(", "total = load("),
    ("batchnorm", "a row of a slice forgotten", "min(first + SLICE_ROWS, BATCH)", "min(first + SLICE_ROWS, BATCH - 1u)"),
    ("softmax_cross_entropy", "the loss of each part of a row", "if i % ROW_WORKERS == 0u {", "if i % ROW_WORKERS == 1u {"),
    ("linear", "a phase does not wait for dembcat", "through_first_layer(group, lane);\n        phase_ends();", "through_first_layer(group, lane);"),
    ("linear", "only the first slice of logits", "sum += load(logits(), row_of_slice(s, row), v4);", "sum = select(sum, sum + load(logits(), row_of_slice(s, row), v4), s == 0u);"),
    ("linear", "only the first slice of dembcat", "sum += load(dembcat(), row_of_slice(s, row), col4);", "sum += select(vec4<f32>(), load(dembcat(), row_of_slice(s, row), col4), s == 0u);"),
    ("softmax_cross_entropy", "padding counted in the softmax", "columns(v4) < vec4<u32>(VOCAB)", "columns(v4) < vec4<u32>(VOCAB + 3u)"),
    ("linear", "the first four inputs taken for the next four", "eight_rows(x_at + k, x.row4, lane)", "eight_rows(x_at + max(k, 1u), x.row4, lane)"),
    ("linear", "W not transposed", "let right = transpose(rows_of_model(W_at + k, W.row4));", "let right = rows_of_model(W_at + k, W.row4);"),
    ("linear", "the last four examples left out of dW", "r < BATCH_TILES * TILE_ROWS;", "r + 4u < BATCH_TILES * TILE_ROWS;"),
    ("linear", "db2 of another column", "db2 += load(dlogits(), r, col4);", "db2 += load(dlogits(), r, 0u);"),
    ("embedding", "a token's first use left out", "var u = uses_before(token);", "var u = uses_before(token) + 1u;"),
    ("batchnorm_sgd", "the update of bngain forgotten", "update(bngain(), 0u, j, lr,", "update(bngain(), 0u, j, 0.0 * lr,"),
];

/// Mistakes in what only a subgroup does.
#[rustfmt::skip]
static SUBGROUP_MISTAKES: [Mistake; 3] = [
    ("linear", "a row from the wrong lane", "subgroupBroadcast(mine, 5u)", "subgroupBroadcast(mine, 4u)"),
    ("linear", "the same row for all lanes", "scratch[at + lane % 8u * row4]", "scratch[at + 0u * lane * row4]"),
    ("linear", "the halves of a pair swapped", "+ lane % 2u]", "+ 1u - lane % 2u]"),
];

const WITH_MISTAKES: Dims = Dims {
    vocab: 11,
    block: 3,
    embd: 4,
    hidden: 60,
    batch: 21,
};

/// Two ways to share the work out. With one slice, the first invocations to run need what the last
/// ones to run have made: that shows a missing barrier on a driver that runs them in order.
fn with_slices(slices: usize) -> WorkSplit {
    WorkSplit {
        slices,
        row_slices: slices,
        row_workers: slices,
        ..WorkSplit::software()
    }
}

fn no_mistake(found: &Found) -> Outcome {
    for slices in [2, 1] {
        let split = with_slices(slices);
        check_gradients(found, WITH_MISTAKES, split, &Kernels::default())?;
    }
    Ok(())
}

/// The kernel with a mistake in one of its files.
fn mistaken(file: &str, from: &str, to: &str) -> Result<Kernels, String> {
    let mistaken = Kernels::default().replaced(file, from, to);
    mistaken.ok_or_else(|| format!("{from:?} is not in {file} once"))
}

fn caught(found: &Found, &(_, _, from, to): &Mistake) -> Outcome {
    let wrong = mistaken("resident/train.wgsl", from, to)?;
    // Each takes seconds to compile: first the one that is likelier to show the mistake.
    let slices = match from.contains("phase_ends") {
        true => [1, 2],
        false => [2, 1],
    };
    for slices in slices {
        let split = with_slices(slices);
        if let Err(error) = check_gradients(found, WITH_MISTAKES, split, &wrong) {
            return is_a_difference(error);
        }
    }
    Err("not noticed".into())
}

/// What failed was the comparison, and not something before it.
fn is_a_difference(error: Failed) -> Outcome {
    match error.message() {
        Some(message) if message.contains(", expected ") => Ok(()),
        _ => Err(error),
    }
}

fn caught_in_subgroups(found: &Found, &(_, _, from, to): &Mistake) -> Result<Completion, Failed> {
    let split = WorkSplit::of(found, &WITH_MISTAKES);
    if split.lanes == 1 {
        return Ok(Completion::ignored_with("no subgroups on this adapter"));
    }
    let wrong = mistaken("resident/subgroup.wgsl", from, to)?;
    match check_gradients(found, WITH_MISTAKES, split, &wrong) {
        Ok(()) => Err("not noticed".into()),
        Err(error) => is_a_difference(error).map(|()| Completion::Completed),
    }
}

/// Loop iterations that an invocation can do in one dispatch, those of nested loops included.
fn loop_rounds(gpu: &Gpu) -> Result<usize, Failed> {
    let loops = Answers::of(gpu, WorkSplit::software()).block_on()?.loops;
    let rounds = loops.rounds().ok_or_else(|| loops.to_string())?;
    Ok(rounds as usize)
}

/// A step that is longer than the driver's loops is refused before it is tried.
fn too_long(found: &Found) -> Outcome {
    let rounds = loop_rounds(&Gpu::open(found).block_on()?)?;
    let dims = Dims::LECTURE.with_batch(4096);
    let params = inputs(&dims, 1).params;
    match Resident::new(found, dims, &params).block_on() {
        Err(DeviceError::Loops { available, .. }) if available < rounds => Ok(()),
        Err(error) => Err(error.into()),
        // A driver that goes on for longer must do the step, and all of it.
        Ok(mut device) => {
            let Inputs { x, y, .. } = inputs(&dims, 1);
            let steps = Steps {
                first: 0,
                x,
                y,
                lr: vec![0.1],
            };
            Ok(device.train(&steps, &mut Vec::new()).block_on()?)
        }
    }
}

fn divergence(found: &Found) -> Outcome {
    let (params, mut steps) = lecture_steps(20)?;
    steps.lr.fill(1e30);
    let mut device = Resident::new(found, Dims::LECTURE, &params).block_on()?;
    let mut losses = Vec::new();
    device.train(&steps, &mut losses).block_on()?;
    if losses.iter().all(|l| l.is_finite())
        && device.params().block_on()?.first_non_finite().is_none()
    {
        return Err("a learning rate of 1e30 left every loss and parameter finite".into());
    }
    Ok(())
}

/// Evaluation is the staged schedule's, with this one's parameters.
fn evaluation(found: &Found) -> Outcome {
    let (params, steps) = lecture_steps(20)?;
    let mut device = Resident::new(found, Dims::LECTURE, &params).block_on()?;
    let Inputs { x, y, .. } = inputs(&Dims::LECTURE.with_batch(999), 9);
    for _ in 0..2 {
        device.train(&steps, &mut Vec::new()).block_on()?;
        let mut cpu = CpuBackend::new(Dims::LECTURE, device.params().block_on()?);
        let (got, want) = (
            device.calibrate(&x).block_on()?,
            cpu.calibrate(&x).block_on()?,
        );
        let both = |s: &Statistics| f64s(&[s.bnmean.as_slice(), &s.bnvar].concat());
        compare("bnmean, bnvar", &both(&got), &both(&want), Tolerance::F32)?;
        let (got, want) = (
            device.evaluate(&got, &x, &y).block_on()?,
            cpu.evaluate(&want, &x, &y).block_on()?,
        );
        compare("loss", &[got], &[want], Tolerance::F32)?;
    }
    Ok(())
}

/// What a run leaves: its losses and parameters, bit for bit.
fn run(device: &mut Resident, steps: &Steps) -> Result<(Vec<f32>, Vec<u32>), Failed> {
    let mut losses = Vec::new();
    device.train(steps, &mut losses).block_on()?;
    Ok((losses, bits(&device.params().block_on()?)))
}

fn same_bits(found: &Found) -> Outcome {
    let (params, steps) = lecture_steps(100)?;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let mut device = Resident::new(found, Dims::LECTURE, &params).block_on()?;
        runs.push(run(&mut device, &steps)?);
    }
    if runs[0] != runs[1] || runs[0] != runs[2] {
        return Err("three runs of the same steps gave different parameters".into());
    }
    if runs[0].1 == bits(&params) {
        return Err("the parameters did not move".into());
    }
    Ok(())
}

/// What a model comes to whose steps are handed over one by one: no submission overlaps another.
fn one_by_one(device: &mut Resident, steps: &Steps) -> Result<(Vec<f32>, Vec<u32>), Failed> {
    let mut losses = Vec::new();
    for i in 0..steps.len() {
        device
            .train(&part(steps, i..i + 1), &mut losses)
            .block_on()?;
    }
    Ok((losses, bits(&device.params().block_on()?)))
}

fn chunks(found: &Found) -> Outcome {
    let (params, steps) = lecture_steps(50)?;
    let dims = Dims::LECTURE;
    // The same steps in another order, for a second model.
    let mut other = steps.clone();
    other.x.rotate_left(21 * dims.batch * dims.block);
    other.y.rotate_left(21 * dims.batch);
    let mut device = Resident::new(found, dims, &params).block_on()?;
    let want = one_by_one(&mut device, &steps)?;
    device.set_params(&params).block_on()?;
    let want_other = one_by_one(&mut device, &other)?;
    if want == want_other {
        return Err("two models that are to differ came to the same".into());
    }
    device.set_params(&params).block_on()?;
    let mut losses = Vec::new();
    for range in [0..1, 1..20, 20..50] {
        device.train(&part(&steps, range), &mut losses).block_on()?;
    }
    if want != (losses, bits(&device.params().block_on()?)) {
        return Err("50 steps one by one and in three chunks gave different bits".into());
    }
    // Submissions that overlap, the last one shorter than the others, with two models in each.
    let of_two = [params.clone(), params.clone()];
    let mut two =
        Resident::several(Gpu::open(found).block_on()?, found, dims, &of_two).block_on()?;
    for most in [1, 7, 16, 50] {
        two.set_most(most);
        let mut losses = [Vec::new(), Vec::new()];
        for model in 0..2 {
            two.write_params(model, &params);
        }
        two.train_all(&[&steps, &other], &mut losses).block_on()?;
        let [first, second] = losses;
        if want != (first, bits(&two.read_params(0).block_on()?))
            || want_other != (second, bits(&two.read_params(1).block_on()?))
        {
            return Err(format!("50 steps in submissions of {most} gave different bits").into());
        }
    }
    // Room for one step in a dispatch.
    let split = WorkSplit::of(found, &dims);
    let plan = Plan::new(dims, 1, split, 1);
    let gpu = Gpu::open(found).block_on()?;
    let mut single = Resident::with(
        gpu,
        found,
        plan,
        std::slice::from_ref(&params),
        &Kernels::default(),
    )
    .block_on()?;
    if want != run(&mut single, &steps)? {
        return Err("50 steps in dispatches of one gave different bits".into());
    }
    Ok(())
}

/// Dispatches that are longer than this driver goes round loops: wherever it leaves them, in the
/// midst of the dispatch or in the very last loop of its last step, the chunk is refused.
fn cut_off(found: &Found) -> Outcome {
    let gpu = Gpu::open(found).block_on()?;
    let rounds = loop_rounds(&gpu)?;
    let (params, steps) = lecture_steps(1200)?;
    let dims = Dims::LECTURE;
    let split = WorkSplit::of(found, &dims);
    let open = |rounds| {
        let plan = Plan::new(dims, 1, split, rounds);
        let params = std::slice::from_ref(&params);
        Resident::with(gpu.clone(), found, plan, params, &Kernels::default()).block_on()
    };
    let mut safe = open(rounds)?;
    let mut long = open(usize::MAX)?;
    // Whether that many steps in one dispatch are done; if so, they must be right.
    let mut done = |count: usize| -> Result<bool, Failed> {
        let steps = part(&steps, 0..count);
        long.set_params(&params).block_on()?;
        safe.set_params(&params).block_on()?;
        match long.train(&steps, &mut Vec::new()).block_on() {
            Ok(()) => {
                safe.train(&steps, &mut Vec::new()).block_on()?;
                let same = bits(&long.params().block_on()?) == bits(&safe.params().block_on()?);
                if !same {
                    return Err(format!("{count} steps were accepted, and are wrong").into());
                }
                Ok(true)
            }
            Err(error) if error.to_string().contains("did") => Ok(false),
            Err(error) => Err(error.into()),
        }
    };
    if done(1200)? {
        eprintln!("{found}: no end of loops in sight, {rounds} rounds tried");
        return Ok(());
    }
    let (mut good, mut bad) = (1, 1200);
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if done(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    eprintln!("{found}: {rounds} rounds; {good} steps of the lecture in a dispatch, not {bad}");
    for count in bad..bad + 8 {
        if done(count)? {
            return Err(format!("{bad} steps are too many, yet {count} were done").into());
        }
    }
    Ok(())
}

/// More models than any machine here has cores, and so many steps that their words are packed in
/// several goes.
fn side_by_side(found: &Found) -> Outcome {
    const MODELS: usize = 130;
    const STEPS: usize = 20;
    let dims = Dims {
        hidden: 12,
        batch: 6,
        ..Dims::LECTURE
    };
    let runs: Vec<(Params<f32>, Steps)> = (0..MODELS)
        .map(|model| {
            let params = inputs(&dims, model as u64).params;
            let Inputs { x, y, .. } = inputs(&dims.with_batch(6 * STEPS), model as u64);
            let steps = Steps {
                first: 0,
                x,
                y,
                lr: (0..STEPS).map(|i| 0.01 * (model + i) as f32).collect(),
            };
            (params, steps)
        })
        .collect();
    let split = WorkSplit::of(found, &dims);
    let params: Vec<_> = runs.iter().map(|(params, _)| params.clone()).collect();
    let steps: Vec<_> = runs.iter().map(|(_, steps)| steps).collect();
    let mut together = open(found, dims, split, &params, &Kernels::default())?;
    let mut alone = open(found, dims, split, &params[..1], &Kernels::default())?;
    let mut want = Vec::new();
    for (params, steps) in &runs {
        alone.set_params(params).block_on()?;
        want.push(run(&mut alone, steps)?);
    }
    // All of them, then some of them in a few submissions.
    for (models, most) in [(MODELS, STEPS), (MODELS - 3, 9)] {
        together.set_most(most);
        for (model, params) in params.iter().enumerate() {
            together.write_params(model, params);
        }
        let mut losses = vec![Vec::new(); models];
        together
            .train_all(&steps[..models], &mut losses)
            .block_on()?;
        for (model, losses) in losses.into_iter().enumerate() {
            if want[model] != (losses, bits(&together.read_params(model).block_on()?)) {
                return Err(format!("model {model} of {models} is not what it is alone").into());
            }
        }
        for (model, params) in params.iter().enumerate().skip(models) {
            if bits(&together.read_params(model).block_on()?) != bits(params) {
                return Err(format!("model {model} changed, and had no steps").into());
            }
        }
    }
    Ok(())
}

fn two_thousand_steps(found: &Found) -> Outcome {
    common::two_thousand_steps(|params| Resident::new(found, Dims::LECTURE, params).block_on())
}
