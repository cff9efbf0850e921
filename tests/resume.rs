//! Runs that are interrupted, killed, or meet a disk that fails, and go on: nothing is lost, and the
//! model is bit for bit that of a run that nobody disturbed.
//!
//! Faults inside the writing of a file are made by a program that this test is itself: started with
//! `FAULT` in the environment, it runs the command line as `gpu-makemore` does and is killed, fails or
//! waits at the point that the variable names.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::adapters::{self, Check, Outcome, long_test};
use gpu_makemore::cli::args::{Cli, Command as Asked};
use gpu_makemore::cli::environment;
use gpu_makemore::cli::faults::{Point, at_each_point};
use gpu_makemore::cli::model_file;
use gpu_makemore::cli::train;
use gpu_makemore::gpu::adapter::{Found, api_name};
use gpu_makemore::rng::TorchGenerator;
use libtest_mimic::{Completion, Failed, Trial};
use pollster::FutureExt as _;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

/// What is asked of every adapter.
const CHECKS: [Check; 3] = [
    ("staged_goes_on", |found| goes_on_from(found, "staged")),
    ("resident_goes_on", |found| goes_on_from(found, "resident")),
    ("goes_on_elsewhere", goes_on_elsewhere),
];

fn main() -> ExitCode {
    if let Ok(spec) = std::env::var(FAULT) {
        // SAFETY: no thread has been started yet.
        unsafe { environment::silence_device_select() };
        return with_fault(&spec);
    }
    type Test = (&'static str, fn() -> Outcome);
    let others: [Test; 13] = [
        ("killed_at_any_moment", || killed_at_any_moment(20)),
        ("ctrl_c", ctrl_c),
        ("a_second_ctrl_c", second_ctrl_c),
        ("two_runs_on_one_folder", two_runs),
        ("changed_options_are_refused", changed_options),
        ("harmless_options_are_taken", harmless_options),
        ("changed_data_are_refused", changed_data),
        ("moved_data_are_taken", moved_data),
        ("another_end", another_end),
        ("cut_short_between_two_checkpoints", cut_short),
        ("what_cannot_go_on_is_refused", refusals),
        ("a_file_names_a_run", named_by_file),
        (
            "the_best_checkpoint_can_take_the_place_of_the_last",
            from_best,
        ),
    ];
    let mut others: Vec<Trial> = others
        .into_iter()
        .map(|(name, test)| Trial::test(name, test))
        .collect();
    // Where there is no file on which nothing fits, these have nothing to write to.
    let full: [Test; 2] = [
        ("a_failure_before_the_first_step", before_the_first_step),
        ("a_failure_to_print_after_the_end", after_the_end),
    ];
    others.extend(full.map(|(name, test)| {
        Trial::ignorable_test(name, move || {
            if !Path::new("/dev/full").exists() {
                return Ok(Completion::ignored_with("there is no /dev/full here"));
            }
            test().map(|()| Completion::Completed)
        })
    }));
    others.push(long_test("cpu_goes_on_from_every_step", || {
        let every: Vec<usize> = (0..=STEPS).collect();
        goes_on(&["--backend", "cpu"], &every)
    }));
    others.push(long_test("a_write_that_fails", failed_writes));
    others.push(long_test(
        "killed_inside_each_step_of_saving",
        killed_while_saving,
    ));
    others.push(long_test("killed_at_any_moment_200_times", || {
        killed_at_any_moment(200)
    }));
    adapters::run(&CHECKS, others)
}

// ------------------------------------------------------------------------------- faults on demand

/// `ACTION POINT FILE N`: what happens when the N-th writing of FILE reaches POINT.
const FAULT: &str = "GPU_MAKEMORE_TEST_FAULT";

static SPEC: OnceLock<(String, String, String, usize)> = OnceLock::new();
static SEEN: AtomicUsize = AtomicUsize::new(0);

/// This test as the program, with a fault.
fn with_fault(spec: &str) -> ExitCode {
    let parts: Vec<&str> = spec.split(' ').collect();
    let [action, point, file, n] = parts[..] else {
        panic!("{spec}");
    };
    let owned = |text: &str| text.to_owned();
    let spec = (owned(action), owned(point), owned(file), n.parse().unwrap());
    SPEC.set(spec).unwrap();
    at_each_point(fault);
    let result = match Cli::of_process().unwrap().command {
        Asked::Train(args) => train::run(&args).block_on(),
        other => panic!("{other:?}"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn fault(path: &Path, point: Point) -> io::Result<()> {
    let (action, at, file, n) = SPEC.get().unwrap();
    if path.file_name() != Some(OsStr::new(file)) {
        return Ok(());
    }
    // Every writing begins with this one.
    let begun = usize::from(point == Point::Created);
    let seen = SEEN.fetch_add(begun, Ordering::Relaxed) + begun;
    if format!("{point:?}") != *at {
        return Ok(());
    }
    match action.as_str() {
        // A copy of the folder as it is at that moment, each time.
        "copy" => {
            let folder = path.parent().unwrap();
            let name = folder.file_name().unwrap().to_str().unwrap();
            copy(
                folder,
                &folder.with_file_name(format!("{name}-{}", seen - 1)),
            );
        }
        _ if seen != *n => {}
        "kill" => {
            #[cfg(unix)]
            signal_hook::low_level::raise(signal_hook::consts::SIGKILL).unwrap();
            std::process::abort();
        }
        "full" => return Err(io::Error::from_raw_os_error(28)), // ENOSPC
        "refuse" => return Err(io::ErrorKind::PermissionDenied.into()),
        "wait" => thread::sleep(Duration::from_secs(30)),
        "mute" => mute(),
        other => panic!("{other}"),
    }
    Ok(())
}

/// From now on nothing can be written to stdout.
#[cfg(unix)]
fn mute() {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    // SAFETY: descriptor 1 is stdout's, whose owner in `std` does not close it either.
    drop(unsafe { OwnedFd::from_raw_fd(1) });
    // It takes the lowest number that is free.
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    assert_eq!(full.as_raw_fd(), 1);
    std::mem::forget(full);
}

#[cfg(not(unix))]
fn mute() {}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

// -------------------------------------------------------------------------------------- helpers

/// Steps of the small run, whose learning rate changes in the middle.
const STEPS: usize = 40;
/// The files that show how a run went; `summary.json` has times in it.
const RESULTS: [&str; 4] = [
    "model.safetensors",
    "metrics.jsonl",
    "loss.png",
    "best.safetensors",
];

struct Place(TempDir);

impl Place {
    /// In memory where there is such a file system: a disk takes its time over each checkpoint.
    fn new() -> Self {
        match tempfile::tempdir_in("/dev/shm") {
            Ok(folder) => Self::at(folder),
            Err(_) => Self::on_disk(),
        }
    }

    fn on_disk() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(folder: TempDir) -> Self {
        let place = Self(folder);
        let words: Vec<&str> = include_str!("../data/names.txt")
            .lines()
            .step_by(100)
            .collect();
        fs::write(place.path("words.txt"), words.join("\n")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env("GPU_MAKEMORE_TUNE", "off")
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .args(args);
        command
    }

    fn program(&self, args: &[&str]) -> Command {
        self.command(Path::new(env!("CARGO_BIN_EXE_gpu-makemore")), args)
    }

    /// The program with a fault.
    fn faulty(&self, fault: &str, args: &[&str]) -> Command {
        let mut command = self.command(&std::env::current_exe().unwrap(), args);
        command.env(FAULT, fault);
        command
    }

    /// Goes on with the run in a folder, to its end.
    fn resume(&self, folder: &str) -> Outcome {
        let output = self.program(&["train", "--resume", folder]).output()?;
        succeeded(&output).map_err(|e| format!("{folder}: {}", e.message().unwrap_or("")).into())
    }

    /// Continues a run to its end. If it has a summary, it is finished already, and `--resume` must say so.
    fn to_its_end(&self, folder: &str) -> Outcome {
        if !self.path(folder).join("summary.json").exists() {
            return self.resume(folder);
        }
        let parts = ["is finished: nothing left"];
        self.refuse(&["train", "--resume", folder], 1, &parts)
    }

    fn refuse(&self, args: &[&str], code: i32, parts: &[&str]) -> Outcome {
        refused(&self.program(args).output()?, code, parts)
    }

    /// Compares all that a run leaves.
    fn same(&self, folder: &str, whole: &str) -> Outcome {
        for file in RESULTS {
            let [a, b] = [folder, whole].map(|folder| self.content(folder, file));
            if a? != b? {
                return Err(format!("{folder}/{file} is not {whole}/{file}").into());
            }
        }
        let names = self.names(folder);
        if names != self.names(whole) {
            return Err(format!("{folder}: {names:?}").into());
        }
        Ok(())
    }

    /// A file, but for the time that the run took.
    fn content(&self, folder: &str, file: &str) -> Result<Vec<u8>, Failed> {
        let path = self.path(folder).join(file);
        if file == "best.safetensors" {
            let c = model_file::load(path)?;
            let values = (c.config, c.params, c.bnmean, c.bnvar);
            return Ok(format!("{values:?}").into_bytes());
        }
        fs::read(&path).map_err(|e| format!("{}: {e}", path.display()).into())
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// `train` of a small model over [`STEPS`] steps, saved at each `every`.
fn small<'a>(out: &'a str, every: &'a str) -> Vec<&'a str> {
    sized(out, every, "40", "16")
}

fn sized<'a>(out: &'a str, every: &'a str, steps: &'a str, hidden: &'a str) -> Vec<&'a str> {
    let mut args = vec!["train", "--data", "words.txt", "--n-hidden", hidden];
    args.extend(["--steps", steps, "--log-every", "7", "--backend", "cpu"]);
    args.extend([
        "--eval-every",
        "5",
        "--checkpoint-every",
        every,
        "--out",
        out,
    ]);
    args
}

fn succeeded(output: &Output) -> Outcome {
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) if stderr.is_empty() => Ok(()),
        code => Err(format!("code {code:?}: {stderr}").into()),
    }
}

fn refused(output: &Output, code: i32, parts: &[&str]) -> Outcome {
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(code) {
        return Err(format!("code {:?}: {stderr}", output.status.code()).into());
    }
    match parts.iter().find(|part| !stderr.contains(**part)) {
        Some(part) => Err(format!("no {part:?} in {stderr}").into()),
        None => Ok(()),
    }
}

/// Waits for a file.
fn wait_for(path: &Path) -> Outcome {
    wait_until(&path.display().to_string(), || Ok(path.exists()))
}

/// Waits for something, for a minute.
fn wait_until(what: &str, done: impl Fn() -> Result<bool, Failed>) -> Outcome {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > Duration::from_secs(60) {
            return Err(format!("waited a minute for {what}").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

// ---------------------------------------------------------------------------------- every step

/// On an adapter: before, at and behind the change of the learning rate.
fn goes_on_from(found: &Found, schedule: &str) -> Outcome {
    let api = api_name(found.info.backend);
    let adapter = &found.info.name;
    let options = [
        "--backend",
        api,
        "--adapter",
        adapter,
        "--schedule",
        schedule,
    ];
    goes_on(&options, &[1, 20, 33])
}

/// A run leaves a copy of its folder after each step. Those after `from` go on, and must come to the
/// same end.
fn goes_on(options: &[&str], from: &[usize]) -> Outcome {
    let place = Place::new();
    let mut args = small("whole", "1");
    args.retain(|arg| !["--backend", "cpu"].contains(arg));
    args.extend(options);
    let fault = "copy Done last.safetensors 0";
    succeeded(&place.faulty(fault, &args).output()?)?;
    for step in from {
        let folder = format!("whole-{step}");
        let last = model_file::load(place.path(&folder).join("last.safetensors"))?;
        if last.config.recipe.steps != *step as u64 {
            return Err(format!("{folder} is after {} steps", last.config.recipe.steps).into());
        }
        place.resume(&folder)?;
        place.same(&folder, "whole")?;
    }
    Ok(())
}

// --------------------------------------------------------------------------------------- kills

/// SIGKILL at each point of the writing of each file, at its first and at a later time.
fn killed_while_saving() -> Outcome {
    let place = Place::new();
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    let mut cases = 0;
    for (file, times) in [
        ("last.safetensors", &[1, 2, 4, 6][..]),
        ("best.safetensors", &[1, 2]),
        ("model.safetensors", &[1]),
        ("loss.png", &[1]),
        ("summary.json", &[1]),
    ] {
        for (point, n) in Point::ALL
            .iter()
            .flat_map(|point| times.iter().map(move |n| (point, n)))
        {
            let case = format!("kill {point:?} {file} {n}");
            let out = case.replace(' ', "-");
            let output = place.faulty(&case, &small(&out, "8")).output()?;
            if output.status.code().is_some() {
                return Err(format!("{case}: not killed, but {output:?}").into());
            }
            let first = file == "last.safetensors" && *n == 1;
            goes_on_or_begins(&place, &out, first && *point < Point::Renamed)
                .map_err(|e| format!("{case}: {}", e.message().unwrap_or("")))?;
            cases += 1;
        }
    }
    eprintln!("{cases} kills");
    Ok(())
}

/// A folder in which a run was killed goes on and comes to the same end. If it was killed before it
/// had saved anything, it begins once more, in the same folder.
fn goes_on_or_begins(place: &Place, out: &str, nothing_saved: bool) -> Outcome {
    let last = place.path(out).join("last.safetensors");
    if last.exists() == nothing_saved {
        return Err(format!("last.safetensors is there: {}", last.exists()).into());
    }
    if nothing_saved {
        let parts = ["has no run to continue", "start one with train --out"];
        place.refuse(&["train", "--resume", out], 1, &parts)?;
        succeeded(&place.program(&small(out, "8")).output()?)?;
        // What was left half written is hidden, and nobody's harm.
        for name in place.names(out) {
            if name.starts_with(".gpu-makemore-") {
                fs::remove_file(place.path(out).join(name))?;
            }
        }
    } else {
        model_file::load(&last)?;
        place.to_its_end(out)?;
    }
    place.same(out, "whole")
}

/// SIGKILL at moments that nobody chose, at least this many times; the same run is killed again and
/// again until it is through.
fn killed_at_any_moment(at_least: usize) -> Outcome {
    let place = Place::on_disk();
    let begun = Instant::now();
    succeeded(
        &place
            .program(&sized("whole", "50", "3000", "64"))
            .output()?,
    )?;
    let mut whole = begun.elapsed();
    // A generator of its own, so that a failure's moments can be had again.
    let mut rng = TorchGenerator::seed_from_u64(1);
    let (mut kills, mut before, mut runs, mut resumed) = (0, 0, 0, 0);
    while kills < at_least {
        let out = format!("run-{runs}");
        runs += 1;
        loop {
            let last = place.path(&out).join("last.safetensors");
            let goes_on = last.exists();
            let mut child = match goes_on {
                true => place.program(&["train", "--resume", &out]),
                false => place.program(&sized(&out, "50", "3000", "64")),
            };
            let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
            resumed += usize::from(goes_on);
            let begun = Instant::now();
            let moment = whole.mul_f64(rng.random());
            let mut running = true;
            while running && begun.elapsed() < moment {
                thread::sleep(Duration::from_micros(100));
                running = child.try_wait()?.is_none();
            }
            if !running {
                // The machine has become faster, or this one had not much left to do.
                whole = whole.min(begun.elapsed() * 2);
            }
            child.kill()?;
            let output = child.wait_with_output()?;
            if !running {
                succeeded(&output).map_err(|e| format!("{out}: {}", e.message().unwrap_or("")))?;
                break;
            }
            kills += 1;
            // Whatever has its name is whole.
            for file in ["last.safetensors", "best.safetensors", "model.safetensors"] {
                let path = place.path(&out).join(file);
                if path.exists() {
                    model_file::load(&path)?;
                }
            }
            if !last.exists() {
                before += 1;
                // The machine has become slower: leave more runs the time to save something.
                whole += whole / 10;
            }
            if place.path(&out).join("summary.json").exists() {
                break; // it was through
            }
        }
        // A run that was killed before it had saved anything began again in the same folder.
        for name in place.names(&out) {
            if name.starts_with('.') {
                fs::remove_file(place.path(&out).join(name))?;
            }
        }
        place.same(&out, "whole")?;
        fs::remove_dir_all(place.path(&out))?;
    }
    eprintln!("{kills} kills in {runs} runs, {before} before a checkpoint; {resumed} went on");
    match resumed >= at_least / 2 {
        true => Ok(()),
        false => Err(format!("only {resumed} runs went on").into()),
    }
}

// -------------------------------------------------------------------------------- failing disks

/// A disk that is full, and a file system that refuses, at each point of the writing of each file.
fn failed_writes() -> Outcome {
    let place = Place::new();
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    for (action, reason) in [
        ("full", "No space left on device"),
        ("refuse", "permission denied"),
    ] {
        for file in [
            "last.safetensors",
            "best.safetensors",
            "model.safetensors",
            "loss.png",
            "summary.json",
        ] {
            for point in Point::ALL {
                let case = format!("{action} {point:?} {file} 2");
                // Written once only, those at the end.
                let case = match file {
                    "last.safetensors" | "best.safetensors" => case,
                    _ => case.replace(" 2", " 1"),
                };
                let out = case.replace(' ', "-");
                let output = place.faulty(&case, &small(&out, "8")).output()?;
                let parts = [&format!("cannot write {out}/{file}"), reason];
                let problem = |e: Failed| format!("{case}: {}", e.message().unwrap_or(""));
                refused(&output, 1, &parts).map_err(problem)?;
                model_file::load(place.path(&out).join("last.safetensors"))?;
                let hidden = place.names(&out);
                if let Some(name) = hidden.iter().find(|name| name.starts_with('.')) {
                    return Err(format!("{case}: {name} is left").into());
                }
                place.to_its_end(&out).map_err(problem)?;
                place.same(&out, "whole").map_err(problem)?;
            }
        }
    }
    Ok(())
}

// ------------------------------------------------------------------------------------- signals

#[cfg(unix)]
fn signal(child: &Child, name: &str) -> Outcome {
    let mut kill = Command::new("kill");
    kill.args(["-s", name, &child.id().to_string()]);
    match kill.status()?.success() {
        true => Ok(()),
        false => Err("kill failed".into()),
    }
}

#[cfg(not(unix))]
fn signal(_: &Child, _: &str) -> Outcome {
    Err("there are no signals here".into())
}

/// Whether a signal is among those of a line of Linux's account of a process.
#[cfg(target_os = "linux")]
fn has_signal(child: &Child, line: &str, number: i32) -> Result<bool, Failed> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let bits = status.lines().find_map(|l| l.strip_prefix(line));
    let bits = u64::from_str_radix(bits.ok_or("no such line")?.trim(), 16)?;
    Ok(bits >> (number - 1) & 1 == 1)
}

/// Waits until the program handles a signal, for before that it would die of it, or has ended.
#[cfg(target_os = "linux")]
fn wait_for_handler(child: &Child, number: i32) -> Outcome {
    wait_until("the handler", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        Ok(status.contains("State:\tZ") || has_signal(child, "SigCgt:", number)?)
    })
}

#[cfg(not(target_os = "linux"))]
fn wait_for_handler(_: &Child, _: i32) -> Outcome {
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Waits until the program has taken notice of a signal: two that wait for it would be one.
#[cfg(target_os = "linux")]
fn wait_until_taken(child: &Child, number: i32) -> Outcome {
    wait_until("the signal's arrival", || {
        Ok(!has_signal(child, "SigPnd:", number)? && !has_signal(child, "ShdPnd:", number)?)
    })
}

#[cfg(not(target_os = "linux"))]
fn wait_until_taken(_: &Child, _: i32) -> Outcome {
    thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Ctrl-C, and what schedulers send: the chunk is finished, all is saved, and the run goes on.
fn ctrl_c() -> Outcome {
    let place = Place::new();
    succeeded(
        &place
            .program(&sized("whole", "1000000", "60000", "16"))
            .output()?,
    )?;
    for (name, number, wait) in [("INT", 2, 50), ("TERM", 15, 100), ("INT", 2, 0)] {
        let code = 128 + number;
        // On a busy machine the signal may come before the first step or after the last one; then
        // there is another run.
        let mut tries = 0..20;
        let (out, output) = loop {
            let attempt = tries.next().ok_or("20 runs, and none was interrupted")?;
            let out = format!("{name}-{wait}-{attempt}");
            let child = place
                .program(&sized(&out, "1000000", "60000", "16"))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            wait_for(&place.path(&out).join("metrics.jsonl"))?;
            wait_for_handler(&child, number)?;
            thread::sleep(Duration::from_millis(20 + wait));
            signal(&child, name)?;
            let output = child.wait_with_output()?;
            let not_begun = String::from_utf8_lossy(&output.stderr).contains("after 0 of");
            if output.status.code() != Some(0) && !not_begun {
                break (out, output);
            }
        };
        let how = format!("of 60000 steps; continue with: gpu-makemore train --resume {out}\n");
        refused(&output, code, &["interrupted after ", &how])?;
        let last = model_file::load(place.path(&out).join("last.safetensors"))?;
        let steps = last.config.recipe.steps;
        let message = String::from_utf8_lossy(&output.stderr);
        if !(1..60_000).contains(&steps) || !message.contains(&format!("after {steps} of")) {
            return Err(format!("{steps}: {message}").into());
        }
        place.resume(&out)?;
        // The checkpoints are others, and so may the best be. But the validation loss of the moment is
        // no row: an undisturbed run has none there.
        for file in ["model.safetensors", "metrics.jsonl", "loss.png"] {
            if place.content(&out, file)? != place.content("whole", file)? {
                return Err(format!("{out}/{file} is not the same").into());
            }
        }
    }
    Ok(())
}

/// The second one does not wait for anything.
fn second_ctrl_c() -> Outcome {
    let place = Place::new();
    // The disk takes half a minute.
    let child = place
        .faulty("wait Written last.safetensors 2", &small("out", "8"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    wait_for(&place.path("out").join("best.safetensors"))?;
    wait_for_handler(&child, 2)?;
    let begun = Instant::now();
    signal(&child, "INT")?;
    wait_until_taken(&child, 2)?;
    signal(&child, "INT")?;
    let output = child.wait_with_output()?;
    if output.status.code() != Some(130) || begun.elapsed() > Duration::from_secs(10) {
        return Err(format!("{:?}: {output:?}", begun.elapsed()).into());
    }
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    place.resume("out")?;
    place.same("out", "whole")
}

// ------------------------------------------------------------------------------------ refusals

fn two_runs() -> Outcome {
    let place = Place::new();
    let args = sized("out", "1000000", "1000000000", "16");
    let mut first = place.program(&args).stdout(Stdio::null()).spawn()?;
    wait_for(&place.path("out").join("metrics.jsonl"))?;
    let both = || -> Outcome {
        let parts = ["another process is training in out", "--out"];
        place.refuse(&["train", "--resume", "out"], 1, &parts)?;
        let parts = ["out already holds a run"];
        place.refuse(&small("out", "8"), 1, &parts)
    };
    let result = both();
    first.kill()?;
    first.wait()?;
    result?;
    // A lock dies with its process.
    let args = ["train", "--resume", "out", "--lr", "0.2"];
    place.refuse(&args, 2, &["--lr 0.2", "0.1"])
}

/// A folder with a run that was stopped after 16 of its steps, as it was then.
fn stopped(place: &Place, out: &str) -> Outcome {
    let fault = "kill Done last.safetensors 3";
    let output = place.faulty(fault, &small(out, "8")).output()?;
    match output.status.code() {
        None => Ok(()),
        code => Err(format!("{code:?}").into()),
    }
}

fn changed_options() -> Outcome {
    let place = Place::new();
    stopped(&place, "out")?;
    let before = fs::read(place.path("out/last.safetensors"))?;
    for (option, new, old) in [
        ("--batch-size", "33", "32"),
        ("--block-size", "4", "3"),
        ("--n-embd", "11", "10"),
        ("--n-hidden", "17", "16"),
        ("--lr", "0.2", "0.1"),
        ("--lr-final", "0.1", "0.01"),
        ("--lr-decay-at", "21", "20"),
        ("--seed", "1", "2147483647"),
    ] {
        let given = format!("{option} {new}");
        let args = ["train", "--resume", "out"]
            .into_iter()
            .chain(given.split_whitespace());
        let args: Vec<&str> = args.collect();
        let parts = [option, "cannot be combined with --resume out", old, "leave"];
        place.refuse(&args, 2, &parts)?;
    }
    let args = ["train", "--resume", "out", "--out", "other"];
    place.refuse(&args, 2, &["--resume", "--out"])?;
    match before == fs::read(place.path("out/last.safetensors"))? {
        true => Ok(()),
        false => Err("a refusal changed the checkpoint".into()),
    }
}

/// Options with their old values, `auto`, and those that make no difference to the model.
fn harmless_options() -> Outcome {
    let place = Place::new();
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    stopped(&place, "same")?;
    let mut args = small("same", "8");
    args.truncate(args.len() - 2);
    args.extend(["--resume", "same", "--lr-decay-at", "20", "--lr", "0.1"]);
    args.extend(["--schedule", "auto"]);
    succeeded(&place.program(&args).output()?)?;
    place.same("same", "whole")?;

    stopped(&place, "log")?;
    let mut args = vec!["train", "--resume", "log", "--log-every", "10"];
    args.extend(["--checkpoint-every", "3", "--backend", "auto"]);
    succeeded(&place.program(&args).output()?)?;
    let rows = fs::read_to_string(place.path("log/metrics.jsonl"))?;
    let rows: Vec<serde_json::Value> = rows
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    let steps_with = |field: &str| -> Vec<u64> {
        let rows = rows.iter().filter(|row| !row[field].is_null());
        rows.map(|row| row["step"].as_u64().unwrap()).collect()
    };
    let steps = steps_with("loss");
    if steps != [0, 7, 14, 20, 30] {
        return Err(format!("rows at {steps:?}").into());
    }
    let checkpoints = steps_with("val_loss");
    let expected = [
        5, 8, 10, 15, 16, 18, 20, 21, 24, 25, 27, 30, 33, 35, 36, 39, 40,
    ];
    if checkpoints != expected {
        return Err(format!("checkpoints at {checkpoints:?}").into());
    }
    let model = |folder| fs::read(place.path(folder).join("model.safetensors"));
    match model("log")? == model("whole")? {
        true => Ok(()),
        false => Err("not the same model".into()),
    }
}

fn changed_data() -> Outcome {
    let place = Place::new();
    stopped(&place, "out")?;
    let words = fs::read_to_string(place.path("words.txt"))?;
    // The same number of examples, the same letters, another order.
    let mut lines: Vec<&str> = words.lines().collect();
    lines.reverse();
    fs::write(place.path("words.txt"), lines.join("\n"))?;
    let other = "not the words that the run in out was begun with (SHA-256 ";
    let resume = ["train", "--resume", "out"];
    place.refuse(&resume, 1, &["words.txt: these are", other, "--data PATH"])?;
    fs::remove_file(place.path("words.txt"))?;
    place.refuse(&resume, 1, &["words.txt: no such file", "--data PATH"])?;
    let given = |data| [&resume[..], &["--data", data]].concat();
    place.refuse(&given("names"), 1, &["names: these are", other])?;
    place.refuse(&given("none"), 1, &["none: no such file"])?;
    let parts = ["names: has no columns", "--data PATH"];
    place.refuse(
        &[&given("names")[..], &["--column", "x"]].concat(),
        1,
        &parts,
    )?;
    fs::write(place.path("words.txt"), words)?;
    place.resume("out")
}

/// The words decide, wherever they are, and in whatever kind of file.
fn moved_data() -> Outcome {
    let place = Place::new();
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    let words = fs::read_to_string(place.path("words.txt"))?;
    fs::create_dir(place.path("else"))?;

    // From another folder, where a file of that name has other words.
    stopped(&place, "out")?;
    fs::write(
        place.path("else/words.txt"),
        words.replacen("emma", "emmy", 1),
    )?;
    let mut command = place.program(&["train", "--resume", "../out"]);
    succeeded(&command.current_dir(place.path("else")).output()?)?;
    place.same("out", "whole")?;

    // As another kind of file; where that is stays known.
    let csv = words.lines().map(|word| format!("1,{word}\n"));
    fs::write(
        place.path("else/new.csv"),
        format!("id,word\n{}", csv.collect::<String>()),
    )?;
    stopped(&place, "moved")?;
    fs::remove_file(place.path("words.txt"))?;
    let args = "train --resume moved --data else/new.csv --column word";
    let args: Vec<&str> = args.split(' ').collect();
    let fault = "kill Done last.safetensors 1";
    let output = place.faulty(fault, &args).output()?;
    if output.status.code().is_some() {
        return Err(format!("{output:?}").into());
    }
    let last = model_file::load(place.path("moved/last.safetensors"))?;
    let training = last.training.ok_or("no record")?;
    if training.data_path.as_deref() != Some("../else/new.csv") {
        return Err(format!("{:?}", training.data_path).into());
    }
    succeeded(
        &place
            .program(&["train", "--resume", "moved", "--column", "word"])
            .output()?,
    )?;
    place.same("moved", "whole")?;
    // A finished model knows its words too.
    let model = model_file::load(place.path("moved/model.safetensors"))?;
    match model.config.data_sha256 == Some(training.data_sha256) {
        true => Ok(()),
        false => Err("model.safetensors has another checksum".into()),
    }
}

/// An end that is put off, or brought forward, is that of a run that was to have it from the start. The
/// learning rate falls where it did.
fn another_end() -> Outcome {
    let place = Place::new();
    let whole = |out: &str, steps: &str| {
        let args = [&sized(out, "8", steps, "16")[..], &["--lr-decay-at", "20"]].concat();
        succeeded(&place.program(&args).output()?)
    };
    let resume = |out, steps| {
        let args = ["train", "--resume", out, "--steps", steps];
        succeeded(&place.program(&args).output()?)
    };
    whole("short", "16")?;
    whole("40", "40")?;
    whole("80", "80")?;
    // Finished, and again; interrupted; cut short where it stands, between two checkpoints or at one.
    whole("finished", "40")?;
    resume("finished", "72")?;
    resume("finished", "80")?;
    place.same("finished", "80")?;
    stopped(&place, "interrupted")?;
    resume("interrupted", "80")?;
    place.same("interrupted", "80")?;
    stopped(&place, "here")?;
    resume("here", "16")?;
    place.same("here", "short")?;
    // On the way to another end, killed; the end before is kept until then.
    whole("killed", "40")?;
    let args = ["train", "--resume", "killed", "--steps", "80"];
    let output = place
        .faulty("kill Done last.safetensors 2", &args)
        .output()?;
    if output.status.code().is_some() {
        return Err(format!("{output:?}").into());
    }
    let model = |out| fs::read(place.path(out).join("model.safetensors"));
    if model("killed")? != model("40")? {
        return Err("the finished model is gone".into());
    }
    place.resume("killed")?;
    place.same("killed", "80")?;
    // Where no checkpoint would have been: the row of the end before stays.
    whole("odd", "37")?;
    resume("odd", "80")?;
    let rows = |out| fs::read_to_string(place.path(out).join("metrics.jsonl"));
    let odd: Vec<String> = rows("odd")?.lines().map(str::to_owned).collect();
    let others = |row: &&String| !row.starts_with("{\"step\":37,\"val_loss\"");
    let left: Vec<&str> = odd.iter().filter(others).map(String::as_str).collect();
    if left != rows("80")?.lines().collect::<Vec<_>>() || left.len() + 1 != odd.len() {
        return Err(format!("{odd:?}").into());
    }
    match model("odd")? == model("80")? {
        true => Ok(()),
        false => Err("not the same model".into()),
    }
}

/// Interrupted between two checkpoints, a run that is cut short there has the row that its end has.
fn cut_short() -> Outcome {
    let place = Place::new();
    let args = sized("long", "1000000", "100000000", "16");
    let child = place
        .program(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    wait_for(&place.path("long/metrics.jsonl"))?;
    wait_for_handler(&child, 2)?;
    thread::sleep(Duration::from_millis(50));
    signal(&child, "INT")?;
    child.wait_with_output()?;
    let last = model_file::load(place.path("long/last.safetensors"))?;
    let done = last.config.recipe.steps.to_string();
    let resume = ["train", "--resume", "long", "--steps", &done];
    succeeded(&place.program(&resume).output()?)?;
    let whole = sized("whole", "1000000", &done, "16");
    let decay = ["--lr-decay-at", "50000000"];
    succeeded(&place.program(&[&whole[..], &decay].concat()).output()?)?;
    // The picture of a long run has fewer points.
    for file in ["model.safetensors", "metrics.jsonl", "best.safetensors"] {
        if place.content("long", file)? != place.content("whole", file)? {
            return Err(format!("{file} is not the same").into());
        }
    }
    Ok(())
}

/// Begun on the CPU, a run goes on on an adapter, and stays there.
fn goes_on_elsewhere(found: &Found) -> Outcome {
    let place = Place::new();
    stopped(&place, "out")?;
    let api = api_name(found.info.backend);
    let adapter = found.info.name.as_str();
    let mut args = vec!["train", "--resume", "out", "--backend", api];
    args.extend(["--adapter", adapter, "--schedule", "staged"]);
    let fault = "kill Done last.safetensors 1";
    let output = place.faulty(fault, &args).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let note = format!("the backend was cpu and is {api}, ");
    for part in [
        note.as_str(),
        "the schedule was none and is staged",
        "bits may differ",
    ] {
        if output.status.code().is_some() || !printed.contains(part) {
            return Err(format!("no {part:?} in {output:?}").into());
        }
    }
    let output = place.program(&["train", "--resume", "out"]).output()?;
    succeeded(&output)?;
    if String::from_utf8_lossy(&output.stdout).contains("bits may differ") {
        return Err("it was on this adapter already".into());
    }
    let summary = fs::read(place.path("out/summary.json"))?;
    let summary: serde_json::Value = serde_json::from_slice(&summary)?;
    if summary["backend"] != api || summary["schedule"] != "staged" {
        return Err(summary.to_string().into());
    }
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    let whole = fs::read(place.path("whole/summary.json"))?;
    let whole: serde_json::Value = serde_json::from_slice(&whole)?;
    let [a, b] = [&summary, &whole].map(|s| s["train_loss"].as_f64().unwrap_or(f64::NAN));
    match (a - b).abs() < 1e-4 {
        true => Ok(()),
        false => Err(format!("{a} instead of {b}").into()),
    }
}

fn refusals() -> Outcome {
    let place = Place::new();
    let resume = |folder| ["train", "--resume", folder];
    place.refuse(&resume("none"), 1, &["none has no run to continue"])?;
    let parts = ["words.txt is a file, but no last.safetensors"];
    place.refuse(&resume("words.txt"), 1, &parts)?;
    succeeded(&place.program(&small("done", "8")).output()?)?;
    let parts = ["the run in done is finished: nothing left to continue; --steps N"];
    for name in ["done", "done/last.safetensors"] {
        place.refuse(&resume(name), 1, &parts)?;
    }
    place.refuse(
        &[&resume("done")[..], &["--steps", "40"]].concat(),
        1,
        &parts,
    )?;
    let parts = ["--steps 39 with --resume done", "40 steps already"];
    place.refuse(
        &[&resume("done")[..], &["--steps", "39"]].concat(),
        2,
        &parts,
    )?;
    fs::remove_file(place.path("done/last.safetensors"))?;
    place.refuse(
        &resume("done"),
        1,
        &["done is finished, and its last.safetensors is gone"],
    )?;

    stopped(&place, "out")?;
    let last = place.path("out/last.safetensors");
    let bytes = fs::read(&last)?;
    for checkpoint in ["eval", "sample"] {
        let args = [checkpoint, "--checkpoint", "out"];
        place.refuse(&args, 1, &["the run in out is not finished", "--resume"])?;
    }
    // The last checkpoint is a model all the same.
    let file = ["eval", "--checkpoint", "out/last.safetensors"];
    succeeded(&place.program(&file).output()?)?;
    // A finished model is no run.
    fs::copy(place.path("done/model.safetensors"), &last)?;
    place.refuse(&resume("out"), 1, &["out has no run to continue"])?;
    // A damaged one is left as it is.
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&last, &damaged)?;
    place.refuse(&resume("out"), 1, &["out/last.safetensors", "altered"])?;
    if fs::read(&last)? != damaged {
        return Err("it was written to".into());
    }
    fs::write(&last, bytes)?;
    place.resume("out")
}

/// A run that fails before its first step leaves nothing, but one that was to go on stays.
fn before_the_first_step() -> Outcome {
    let place = Place::new();
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    let output = place
        .faulty("kill Done last.safetensors 1", &small("out", "8"))
        .output()?;
    if output.status.code().is_some() {
        return Err(format!("{output:?}").into());
    }
    for (args, stays) in [
        (vec!["train", "--resume", "out"], true),
        (small("new", "8"), false),
    ] {
        // Nothing can be printed there.
        let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
        let output = place.program(&args).stdout(full).output()?;
        refused(&output, 1, &["cannot write to standard output"])?;
        let folder = if stays { "out" } else { "new" };
        if place.path(folder).exists() != stays {
            return Err(format!("{folder} exists: {}", !stays).into());
        }
    }
    place.resume("out")?;
    place.same("out", "whole")
}

/// When every file is written, a failure to print changes nothing: the run is not said to be one that
/// can be continued. Before that, it is, and can.
fn after_the_end() -> Outcome {
    let place = Place::new();
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    let output = place
        .faulty("mute Done summary.json 1", &small("out", "8"))
        .output()?;
    let message = "error: cannot write to standard output: No space left on device (os error 28); \
                   the run is finished all the same, and the model is in out/model.safetensors\n";
    refused(&output, 1, &[message])?;
    place.same("out", "whole")?;
    let parts = ["the run in out is finished"];
    place.refuse(&["train", "--resume", "out"], 1, &parts)?;
    // With one more step that is printed, the failure comes after the third checkpoint.
    let fault = "mute Done last.safetensors 4";
    let output = place.faulty(fault, &small("early", "8")).output()?;
    let how = "after 24 steps: continue with: gpu-makemore train --resume early";
    refused(&output, 1, &[how])?;
    place.resume("early")?;
    place.same("early", "whole")
}

/// As well as by its folder.
fn named_by_file() -> Outcome {
    let place = Place::new();
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    stopped(&place, "out")?;
    let args = ["train", "--resume", "out/best.safetensors"];
    place.refuse(&args, 1, &["out/best.safetensors is a file, but no last"])?;
    place.resume("out/last.safetensors")?;
    place.same("out", "whole")?;
    // From within the folder, where its path has no folder's name.
    stopped(&place, "here")?;
    let words = fs::read(place.path("words.txt"))?;
    fs::write(place.path("here/words.txt"), words)?;
    let mut command = place.program(&["train", "--resume", "last.safetensors"]);
    succeeded(&command.current_dir(place.path("here")).output()?)?;
    fs::remove_file(place.path("here/words.txt"))?;
    place.same("here", "whole")
}

/// If the last checkpoint is lost, the best one has all that it takes too.
fn from_best() -> Outcome {
    let place = Place::new();
    succeeded(&place.program(&small("whole", "8")).output()?)?;
    stopped(&place, "out")?;
    fs::remove_file(place.path("out/last.safetensors"))?;
    fs::copy(
        place.path("out/best.safetensors"),
        place.path("out/last.safetensors"),
    )?;
    place.resume("out")?;
    place.same("out", "whole")
}
