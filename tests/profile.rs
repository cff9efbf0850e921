//! `train --profile` on every adapter that the tests know.

mod common;

use std::process::{Command, ExitCode};
use std::time::Instant;

use common::adapters::{self, OnEach, Outcome};
use common::{bits, lecture_steps};
use gpu_makemore::backend::Backend;
use gpu_makemore::backend::profile::{Basis, Profile};
use gpu_makemore::engine::Engine;
use gpu_makemore::gpu::adapter::{Found, api_name};
use gpu_makemore::gpu::device::Gpu;
use gpu_makemore::gpu::kernels::Kernels;
use gpu_makemore::gpu::layout::Layout;
use gpu_makemore::gpu::plan::Plan;
use gpu_makemore::gpu::resident::Resident;
use gpu_makemore::gpu::staged::{STEP, Staged};
use gpu_makemore::gpu::timestamps::Profiler;
use gpu_makemore::gpu::tuning::WorkSplit;
use gpu_makemore::model::dims::Dims;
use gpu_makemore::model::params::Params;
use gpu_makemore::model::steps::Steps;
use libtest_mimic::{Completion, Failed};
use pollster::FutureExt as _;
use serde_json::Value;
use tempfile::TempDir;
use wgpu::Features;

fn main() -> ExitCode {
    let train = OnEach::new(
        "train_prints_where_the_time_went_and_trains_the_same_model",
        train,
    );
    let without = OnEach::ignorable(
        "train_says_that_there_are_no_timestamps",
        train_without_timestamps,
    );
    let staged = OnEach::new("every_launch_of_the_staged_schedule_is_timed", staged);
    // Thousands of dispatches: more than one submission has timestamps for.
    let resident = OnEach::new("every_dispatch_of_the_resident_schedule_is_timed", resident);
    let untimed = OnEach::new(
        "without_timestamps_submissions_are_timed",
        without_timestamps,
    );
    // tests/readme.rs runs `train --profile` too.
    let checks = [
        train.long(),
        without,
        staged.long(),
        resident.long(),
        untimed.long(),
    ];
    adapters::run(checks, Vec::new())
}

/// What steps leave: the losses and the parameters, bit for bit.
fn run(device: &mut impl Backend, steps: &Steps) -> Result<(Vec<u32>, Vec<u32>), Failed> {
    let mut losses = Vec::new();
    device.train(steps, &mut losses).block_on()?;
    let losses = losses.into_iter().map(f32::to_bits).collect();
    Ok((losses, bits(&device.params().block_on()?)))
}

/// Does the same steps as they are and profiled: the results must be the same. Gives the profile and
/// the time that the host saw, in seconds.
fn profiled(
    device: &mut impl Backend,
    params: &Params<f32>,
    steps: &Steps,
) -> Result<(Profile, f64), Failed> {
    let plain = run(device, steps)?;
    if device.profile().is_some() {
        return Err("a profile that nobody asked for".into());
    }
    device.set_params(params).block_on()?;
    device.start_profile().block_on()?;
    let start = Instant::now();
    let measured = run(device, steps)?;
    let seconds = start.elapsed().as_secs_f64();
    if plain != measured {
        return Err("the profile changed the results".into());
    }
    let profile = device.profile().ok_or("no profile")?;
    if profile.steps != steps.len() as u64 {
        return Err(format!("{} of {} steps", profile.steps, steps.len()).into());
    }
    Ok((profile.clone(), seconds))
}

/// Every row has this many calls and a time, and all of them together are no longer than it took.
fn check_times(profile: &Profile, calls: usize, seconds: f64) -> Outcome {
    for row in profile.rows() {
        let name = row.name;
        if (row.calls, row.untimed) != (calls as u64, 0) {
            return Err(format!("{name}: {row:?}, expected {calls} calls").into());
        }
        if row.seconds <= 0.0 {
            return Err(format!("{name} took no time: {row:?}").into());
        }
    }
    let (device, submitted) = (profile.whole_step().seconds, profile.submissions().seconds);
    if device > submitted || submitted > seconds {
        let times = format!("{device} s in kernels, {submitted} s in submissions, {seconds} s");
        return Err(times.into());
    }
    Ok(())
}

/// What the times must be based on.
fn basis(found: &Found) -> Basis {
    if found.adapter.features().contains(Features::TIMESTAMP_QUERY) {
        Basis::Timestamps
    } else {
        Basis::NoTimestamps
    }
}

/// The basis is right, and this many chunks were submitted.
fn check_basis(profile: &Profile, basis: Basis, submissions: usize) -> Outcome {
    let got = (profile.basis(), profile.submissions().calls);
    if got != (basis, submissions as u64) {
        return Err(format!("{got:?}, expected {basis:?} and {submissions} submissions").into());
    }
    Ok(())
}

/// Submissions at which a run of steps is not cut any finer.
const SUBMISSIONS: usize = 8;

/// More steps than the timestamps of that many submissions have room for.
fn staged(found: &Found) -> Outcome {
    let room = Profiler::MAX_PASSES / STEP.len();
    let (params, steps) = lecture_steps(SUBMISSIONS * room + 20)?;
    let mut device = Staged::new(found, Dims::LECTURE, &params).block_on()?;
    let (profile, seconds) = profiled(&mut device, &params, &steps)?;
    if basis(found) == Basis::NoTimestamps {
        return check_times(&profile, SUBMISSIONS, seconds);
    }
    check_basis(&profile, Basis::Timestamps, SUBMISSIONS + 1)?;
    let kernels = profile.rows().iter().map(|row| row.name);
    if !kernels.eq(STEP.iter().map(|launch| launch.kernel)) {
        return Err(format!("not the kernels of a step: {:?}", profile.rows()).into());
    }
    check_times(&profile, steps.len(), seconds)
}

/// Dispatches of one step and of many; of the former more than the timestamps of as many submissions
/// have room for.
fn resident(found: &Found) -> Outcome {
    let dims = Dims {
        hidden: 20,
        ..Dims::LECTURE
    };
    let (_, steps) = lecture_steps(SUBMISSIONS * Profiler::MAX_PASSES + 100)?;
    let params = common::inputs(&dims, 5).params;
    let split = WorkSplit::of(found, &dims);
    let many = match basis(found) {
        Basis::Timestamps => SUBMISSIONS + 1,
        _ => SUBMISSIONS,
    };
    for (rounds, dispatches, submissions) in [(1, steps.len(), many), (usize::MAX, 1, 1)] {
        let plan = Plan::new(dims, 1, split, rounds);
        let params = std::slice::from_ref(&params);
        let mut device = Resident::with(
            Gpu::open(found).block_on()?,
            found,
            plan,
            params,
            &Kernels::default(),
        )
        .block_on()?;
        // Long dispatches must stay within what the driver does, see src/gpu/probe/mod.rs.
        let steps = match rounds {
            1 => steps.clone(),
            _ => common::part(&steps, 0..20),
        };
        let (profile, seconds) = profiled(&mut device, &params[0], &steps)?;
        check_basis(&profile, basis(found), submissions)?;
        let calls = match basis(found) {
            Basis::Timestamps => dispatches,
            _ => submissions,
        };
        check_times(&profile, calls, seconds)?;
        let done = profile.whole_step().work.flops.ok_or("no operations")?;
        let per_step = profile.submissions().per_step.flops.ok_or("none a step")?;
        if done != per_step * steps.len() as f64 {
            return Err(format!("{done} operations, {per_step} a step").into());
        }
    }
    Ok(())
}

/// The device is opened as if the adapter had no timestamps: to use any would be a fault.
fn without_timestamps(found: &Found) -> Outcome {
    let dims = Dims::LECTURE;
    let (params, steps) = lecture_steps(30)?;
    let open = || Gpu::open_without(found, Features::TIMESTAMP_QUERY).block_on();
    let split = WorkSplit::of(found, &dims);
    let plan = Plan::new(dims, 1, split, 50_000);
    let of_one = std::slice::from_ref(&params);
    let layout = Layout::of(found, dims);
    let mut staged = Staged::on(open()?, found, layout, &params, &Kernels::default()).block_on()?;
    let mut resident =
        Resident::with(open()?, found, plan, of_one, &Kernels::default()).block_on()?;
    staged.set_most(10);
    resident.set_most(10);
    let devices = [Engine::from(staged), Engine::from(resident)];
    for mut device in devices {
        let (profile, seconds) = profiled(&mut device, &params, &steps)?;
        check_basis(&profile, Basis::NoTimestamps, 3)?;
        check_times(&profile, 3, seconds)?;
    }
    Ok(())
}

/// A folder to run the program in, with a small data set.
fn place() -> Result<TempDir, Failed> {
    let place = tempfile::tempdir()?;
    let words: Vec<String> = (0..200).map(|i| format!("{:b}", 1000 + 7 * i)).collect();
    std::fs::write(place.path().join("words.txt"), words.join("\n"))?;
    Ok(place)
}

/// A short training run into the folder `out`.
fn train_command(found: &Found, place: &TempDir, out: &str, schedule: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-makemore"));
    command.env("GPU_MAKEMORE_TUNE", "off");
    command
        .current_dir(place.path())
        .args(["train", "--out", out]);
    command.args(["--backend", api_name(found.info.backend)]);
    command.args(["--adapter", &found.info.name, "--schedule", schedule]);
    command.args(["--data", "words.txt", "--steps", "40"]);
    command
}

/// What it prints.
fn printed(command: &mut Command) -> Result<String, Failed> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn check_parts<'a>(text: &str, parts: impl IntoIterator<Item = &'a str>) -> Outcome {
    match parts.into_iter().find(|part| !text.contains(part)) {
        None => Ok(()),
        Some(part) => Err(format!("no {part:?} in {text}").into()),
    }
}

/// The program itself, on each schedule: the table, the file, and the model's bytes.
fn train(found: &Found) -> Outcome {
    for (schedule, rows) in [("staged", STEP.len()), ("resident", 1)] {
        let place = place()?;
        let file = |name: &str| std::fs::read(place.path().join(name));
        let plain = printed(&mut train_command(found, &place, "plain", schedule))?;
        let mut profiled = train_command(found, &place, "profiled", schedule);
        let text = printed(profiled.arg("--profile"))?;
        if file("plain/model.safetensors")? != file("profiled/model.safetensors")? {
            return Err(format!("{schedule}: another model with --profile").into());
        }
        if plain.contains("GFLOP/s") || file("plain/profile.json").is_ok() {
            return Err(format!("a profile that nobody asked for: {plain}").into());
        }
        let json: Value = serde_json::from_slice(&file("profiled/profile.json")?)?;
        let kernels = json["kernels"].as_array().ok_or("no kernels")?;
        let names = kernels.iter().filter_map(|k| k["kernel"].as_str());
        check_parts(&text, names)?;
        check_parts(
            &text,
            [
                "us/call",
                "share  GFLOP/s  GB/s",
                "whole step",
                "on the host",
            ],
        )?;
        if basis(found) == Basis::Timestamps {
            check_parts(&text, ["by the device's timestamps"])?;
            if kernels.len() != rows {
                return Err(format!("{schedule}: not {rows} kernels: {json}").into());
            }
        } else {
            check_parts(&text, [NO_TIMESTAMPS])?;
        }
    }
    Ok(())
}

/// What the program says where there are none.
const NO_TIMESTAMPS: &str = "This adapter has no timestamps: the host timed each submission.";

/// `train --profile` on a driver without timestamps: Mesa's can be told to have none.
fn train_without_timestamps(found: &Found) -> Result<Completion, Failed> {
    if api_name(found.info.backend) != "gl" || !found.driver().contains("Mesa") {
        let why = "only Mesa's OpenGL can be started without timestamps";
        return Ok(Completion::ignored_with(why));
    }
    let place = place()?;
    let mut command = train_command(found, &place, "out", "staged");
    command.env("MESA_EXTENSION_OVERRIDE", "-GL_ARB_timer_query");
    let text = printed(command.arg("--profile"))?;
    check_parts(
        &text,
        [NO_TIMESTAMPS, " submission ", "whole step", "on the host"],
    )?;
    Ok(Completion::Completed)
}
