//! What the probe finds out about every adapter that the tests know, and what follows from it.
//!
//! That wrong answers are noticed is shown by probes that are wrong themselves: a kernel that does
//! what a bad driver would do.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use common::adapters::{self, Check, OnEach, Outcome, mistake, mistake_name};
use common::inputs;
use gpu_makemore::backend::{Backend, DeviceError, Schedule};
use gpu_makemore::cli::error::Error;
use gpu_makemore::engine::{Opened, Scheduled, open_with};
use gpu_makemore::gpu::adapter::Found;
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::probe::{Answers, Probe};
use gpu_makemore::gpu::shader::{Module, ProbeModules};
use gpu_makemore::gpu::tuning::WorkSplit;
use gpu_makemore::model::dims::Dims;
use libtest_mimic::{Completion, Failed};
use pollster::FutureExt as _;

/// What is asked of every adapter.
const CHECKS: [Check; 4] = [
    ("the_driver_can_run_both_schedules", good),
    ("the_probe_takes_milliseconds", milliseconds),
    ("a_wrong_answer_refuses_its_schedule_alone", refused),
    (
        "a_driver_with_short_loops_gets_the_staged_schedule",
        short_loops,
    ),
];

fn main() -> ExitCode {
    let mistakes = WRONG.iter().map(|wrong| {
        let noticed = |found: &Found| {
            splits(found)
                .into_iter()
                .try_for_each(|split| noticed(found, split, wrong))
        };
        mistake(wrong.1.0, wrong.0, noticed)
    });
    let of_workgroups = [(&UNSEEN, false), (&WRONG_LANE, true)].map(|(wrong, subgroups)| {
        let name = mistake_name(wrong.1.0, wrong.0);
        OnEach::ignorable(name, move |found| noticed_with(found, subgroups, wrong))
    });
    let checks = CHECKS.iter().map(OnEach::from);
    adapters::run(checks.chain(mistakes).chain(of_workgroups), Vec::new())
}

fn ask(found: &Found, split: WorkSplit, modules: &ProbeModules) -> Result<Answers, Failed> {
    Ok(Probe::with(&Gpu::open(found).block_on()?, split, modules)
        .block_on()?
        .ask()
        .block_on()?)
}

/// How the resident kernel's work is shared out here, and on adapters that have no subgroups.
fn splits(found: &Found) -> Vec<WorkSplit> {
    let mut splits = vec![WorkSplit::of(found, &Dims::LECTURE), WorkSplit::software()];
    splits.dedup();
    splits
}

fn good(found: &Found) -> Outcome {
    for split in splits(found) {
        let answers = ask(found, split, &ProbeModules::new(split.lanes > 1))?;
        if let Some(wrong) = answers.refuses(Schedule::Resident) {
            return Err(wrong.into());
        }
    }
    Ok(())
}

/// Four milliseconds on lavapipe; more than ten times that would be felt at every start. A machine
/// that is busy with other things gets more tries.
fn milliseconds(found: &Found) -> Outcome {
    let split = WorkSplit::of(found, &Dims::LECTURE);
    let gpu = Gpu::open(found).block_on()?;
    let mut best = Duration::MAX;
    for _ in 0..50 {
        let (_, took) = Probe::new(&gpu, split).block_on()?.ask_timed().block_on()?;
        best = best.min(took.again);
        if best <= Duration::from_millis(50) {
            return Ok(());
        }
    }
    Err(format!("the probe takes {best:?}").into())
}

/// A file of the probe, the text in it that is changed, and what it becomes.
type Change = (&'static str, &'static str, &'static str);

/// The probe with one change, in whichever module has the file.
fn changed(subgroup: bool, (file, from, to): Change) -> Result<ProbeModules, String> {
    let mut modules = ProbeModules::new(subgroup);
    let ProbeModules {
        loops,
        launches,
        arithmetic,
        memory,
        counters,
    } = &mut modules;
    let mut found = false;
    for Module { source, .. } in [loops, launches, arithmetic, memory, counters] {
        if let Some(replaced) = source.replaced(file, from, to) {
            *source = replaced;
            found = true;
        }
    }
    match found {
        true => Ok(modules),
        false => Err(format!("{from:?} does not stand once in {file}")),
    }
}

/// What a bad driver does, the change that makes it, in which line of the probe it is to be found, and
/// whether the staged schedule cannot be used either.
type Wrong = (&'static str, Change, &'static str, bool);

#[rustfmt::skip]
static WRONG: [Wrong; 18] = [
    ("a loop is never entered", ("probe/loops.wgsl", "i < asked", "i > asked"), "loops: ", false),
    ("more rounds than there are", ("probe/loops.wgsl", "rounds += 1u", "rounds += 8u"), "loops: ", false),
    ("a launch does nothing", ("probe/launches.wgsl", "before[last - id.x] + 1u", "before[last - id.x]"), "launches: ", true),
    ("a workgroup does nothing", ("probe/launches.wgsl", "    after[id.x] =", "    if id.x / 64u == 3u { return; }\n    after[id.x] ="), "launches: ", true),
    ("tanh is NaN for large numbers", ("tanh.wgsl", "clamp(hpreact, vec4<f32>(-7.905311), vec4<f32>(7.905311))", "hpreact"), "tanh: ", true),
    ("tanh is off by a thousandth", ("tanh.wgsl", "x * p / q", "1.001 * x * p / q"), "tanh: ", true),
    ("exp is off by a thousandth", ("probe/arithmetic.wgsl", "exp(x)", "1.001 * exp(x)"), "exp: ", true),
    ("exp is another function", ("probe/arithmetic.wgsl", "exp(x)", "exp2(x)"), "exp: ", true),
    ("exp of the lowest number is not zero", ("probe/arithmetic.wgsl", "exp(x)", "exp(max(x, -50.0))"), "exp: ", true),
    ("a parameter that is NaN becomes zero", ("probe/arithmetic.wgsl", "sgd_update(vec4<f32>(x), 0.5, vec4<f32>(1.0)).x", "max(sgd_update(vec4<f32>(x), 0.5, vec4<f32>(1.0)).x, 0.0)"), "NaN and infinity: ", true),
    ("what overflows becomes the largest number", ("probe/arithmetic.wgsl", "sgd_update(vec4<f32>(1.0), 10.0, vec4<f32>(x)).x", "clamp(sgd_update(vec4<f32>(1.0), 10.0, vec4<f32>(x)).x, -3.4e38, 3.4e38)"), "NaN and infinity: ", true),
    ("workgroup memory ends after a kilobyte", ("probe/memory.wgsl", "            memory[i] =", "            memory[i % 256u] ="), "workgroup memory: ", true),
    ("one word of workgroup memory is stuck", ("probe/memory.wgsl", "            memory[i] = pattern(i, turn);", "            memory[i] = select(pattern(i, turn), 7u, i == 1000u);"), "workgroup memory: ", true),
    ("the second write to workgroup memory is lost", ("probe/memory.wgsl", "            memory[i] = pattern(i, turn);", "            memory[i] = pattern(i, 0u);"), "workgroup memory: ", true),
    ("a counter does not arrive", ("probe/counters.wgsl", "counted[worker] = done;", "if worker != 3u { counted[worker] = done; }"), "counters: ", false),
    ("all counters are one short", ("probe/counters.wgsl", "counted[worker] = done;", "counted[worker] = done - 1u;"), "counters: ", false),
    ("all invocations have the same number", ("probe/counters.wgsl", "scratch[worker] = mine;", "scratch[0u * worker] = mine;"), "counters: ", false),
    ("no result is written", ("probe/arithmetic.wgsl", "    let x = values[i];", "    if i > 0u { return; }\n    let x = values[i];"), "tanh: ", true),
];

/// Barriers matter only to a workgroup of several invocations at a time.
static UNSEEN: Wrong = (
    "no barrier",
    (
        "probe/counters.wgsl",
        "scratch[worker] = mine;\n        phase_ends();",
        "scratch[worker] = mine;",
    ),
    "counters: ",
    false,
);

/// Only a subgroup has lanes.
static WRONG_LANE: Wrong = (
    "a value of another lane",
    (
        "probe/subgroup.wgsl",
        "subgroupBroadcast(mine, 7u)",
        "subgroupBroadcast(mine, 6u)",
    ),
    "counters: ",
    false,
);

fn noticed(found: &Found, split: WorkSplit, &(_, change, line, both): &Wrong) -> Outcome {
    let answers = ask(found, split, &changed(split.lanes > 1, change)?)?;
    let told = |schedule| answers.refuses(schedule).unwrap_or_default();
    let (staged, resident) = (told(Schedule::Staged), told(Schedule::Resident));
    if !resident.contains(line) || staged.contains(line) != both {
        return Err(format!("{split:?}: {staged:?}, {resident:?}").into());
    }
    Ok(())
}

/// Whether the probe notices a mistake that can only be made with subgroups, or only without them.
fn noticed_with(found: &Found, subgroups: bool, wrong: &Wrong) -> Result<Completion, Failed> {
    let mut splits = splits(found);
    splits.retain(|split| (split.lanes > 1) == subgroups);
    for split in &splits {
        noticed(found, *split, wrong)?;
    }
    Ok(match splits.is_empty() {
        true => Completion::ignored_with("no subgroups on this adapter"),
        false => Completion::Completed,
    })
}

/// Opens the lecture's model with a driver that is bad in one way.
fn open(found: &Found, asked: Schedule, change: Change) -> Result<Opened<Scheduled>, DeviceError> {
    let dims = Dims::LECTURE;
    let params = inputs(&dims, 1).params;
    let modules = |subgroup| match changed(subgroup, change) {
        Ok(modules) => modules,
        Err(error) => panic!("{error}"),
    };
    open_with(found, dims, &params, asked, &modules).block_on()
}

/// The error's text, if it is the one about drivers.
fn refusal(opened: Result<Opened<Scheduled>, DeviceError>) -> Result<String, Failed> {
    match opened {
        Err(error @ DeviceError::Driver { .. }) => Ok(Error::from(error).to_string()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("a schedule was opened that the driver cannot run".into()),
    }
}

fn holds(text: &str, parts: &[&str]) -> Outcome {
    match parts.iter().find(|part| !text.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("{part:?} is not in {text:?}").into()),
    }
}

fn refused(found: &Found) -> Outcome {
    let counter = WRONG.iter().find(|w| w.0 == "a counter does not arrive");
    let counter = counter.ok_or("no such change")?.1;
    let text = refusal(open(found, Schedule::Resident, counter))?;
    let parts = [
        "resident schedule",
        "counters: 1 of",
        "or use --schedule staged",
    ];
    holds(&text, &parts)?;
    let opened = open(found, Schedule::Auto, counter)?;
    if opened.backend.info().schedule != Some("staged") {
        return Err("auto did not take the schedule that is left".into());
    }
    holds(&opened.why, &["the resident one cannot be used: counters"])?;
    open(found, Schedule::Staged, counter)?;

    let exp = ("probe/arithmetic.wgsl", "exp(x)", "1.001 * exp(x)");
    for asked in [Schedule::Auto, Schedule::Staged, Schedule::Resident] {
        let text = refusal(open(found, asked, exp))?;
        holds(&text, &["exp: ", "update the driver, or use --backend cpu"])?;
    }
    // Whether a driver is to blame or whoever changed a shader, the program cannot know: it says both,
    // and how to find out.
    let tanh = WRONG.iter().find(|w| w.1.0 == "tanh.wgsl");
    let text = refusal(open(found, Schedule::Auto, tanh.ok_or("no such change")?.1))?;
    let parts = [
        "tanh: ",
        "either the driver is wrong or a shader was changed",
        "`git diff shaders`",
        "undo the change",
        "update the driver",
    ];
    holds(&text, &parts)
}

/// A step of the lecture goes round loops more often than that.
fn short_loops(found: &Found) -> Outcome {
    let short = ("probe/loops.wgsl", "i < asked", "i < min(asked, 300u)");
    match open(found, Schedule::Resident, short) {
        Err(error @ DeviceError::Loops { .. }) => {
            let text = Error::from(error).to_string();
            holds(&text, &["stops at 263", "--schedule staged"])?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("the resident schedule was opened".into()),
    }
    let opened = open(found, Schedule::Auto, short)?;
    match opened.backend.info().schedule {
        Some("staged") => Ok(()),
        other => Err(format!("auto took {other:?}").into()),
    }
}
