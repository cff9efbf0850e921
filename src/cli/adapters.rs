//! `gpu-makemore adapters`: what was found on every API, and what `auto` would take; with `--probe`,
//! what each driver really does.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::backend::{Api, DeviceError, Schedule};
use crate::cli::args::{AdaptersArgs, DeviceArgs};
use crate::cli::device::Device;
use crate::cli::error::{Error, install_hint};
use crate::cli::report::Output;
use crate::cli::tunings::Tunings;
use crate::gpu::adapter::{Choice, Found, api_name, enumerate};
use crate::gpu::device::Gpu;
use crate::gpu::probe::{Answers, Probe, steps_of_a_dispatch};
use crate::gpu::tuning::WorkSplit;
use crate::model::dims::Dims;
use crate::text::one_line;

/// Prints the table.
///
/// # Errors
///
/// With `--probe`: an adapter cannot be opened, or no schedule can be used on it.
pub async fn run(args: &AdaptersArgs) -> Result<(), Error> {
    let mut out = Output::new();
    let found = enumerate(Api::Auto).await;
    if found.is_empty() {
        out.line("No GPU adapter was found on any API.")?;
        out.line(&format!("To get one: {}.", install_hint()))?;
    } else {
        for line in table(&found).to_string().lines() {
            out.line(line.trim_end())?;
        }
        out.line("")?;
        if found.iter().all(Found::is_software) {
            out.line("All of them are software adapters: they compute on the processor, slower than --backend cpu.")?;
            out.line(&format!("To get a hardware one: {}.", install_hint()))?;
        }
    }
    let taken = |who: &str, device: &Device| match device.choice() {
        Choice::Gpu { found, why } => format!("{who} takes {found}: {}", device.reason(why)),
        Choice::Cpu { why } => format!("{who} takes the CPU: {}", device.reason(why)),
    };
    out.line(&taken("--backend auto", &Device::automatic().await?))?;
    let device = Device::choose(&DeviceArgs::default()).await?;
    if !device.asked().is_empty() {
        out.line(&taken("a command without options", &device))?;
    }
    if args.tuning {
        for line in tunings(&Tunings::of_user()) {
            out.line(&line)?;
        }
    }
    if args.probe {
        probe_all(&found, &mut out).await?;
    }
    Ok(())
}

/// What was measured on this machine, as a table.
fn tunings(tunings: &Tunings) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (all, ignored) = tunings.all();
    let folder = tunings.folder().map(|folder| folder.display().to_string());
    let Some(folder) = folder else {
        lines.push("The system names no cache folder: nothing is remembered.".to_owned());
        return lines;
    };
    if all.is_empty() {
        lines.push(
            "No layout was measured on this machine yet: a run on a GPU that is long enough does it."
                .to_owned(),
        );
    } else {
        lines.push(format!("Measured, and remembered in {folder}:"));
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header([
            "adapter", "batch", "hidden", "block", "embd", "vocab", "us/step", "usual", "timed",
            "layout",
        ]);
        for found in all {
            let of = &found.meeting;
            let dims = of.dims();
            table.add_row([
                format!("{}, {}", of.adapter, of.backend),
                dims.batch.to_string(),
                dims.hidden.to_string(),
                dims.block.to_string(),
                dims.embd.to_string(),
                dims.vocab.to_string(),
                format!("{:.1}", found.us_per_step),
                format!("{:.1}", found.usual_us_per_step),
                format!("{}/{}", found.timed, found.candidates),
                found.tuning.clone(),
            ]);
            for (tuning, reason) in &found.wrong {
                lines.push(format!("{}: {tuning} is not used: {reason}", of.adapter));
            }
        }
        lines.extend(
            table
                .to_string()
                .lines()
                .map(|line| line.trim_end().to_owned()),
        );
    }
    lines.extend(ignored);
    lines
}

/// Probes one adapter after another. The first failure is kept for the end: the others are probed
/// all the same. That a driver cannot run one of the two schedules is no failure, for `auto` takes
/// the other.
async fn probe_all(found: &[Found], out: &mut Output) -> Result<(), Error> {
    let mut failed = None;
    for found in found {
        out.line("")?;
        out.line(&format!("{found}, driver {}", found.driver()))?;
        if !found.computes() {
            out.line("  it has no compute shaders: no kernel can run on it")?;
            continue;
        }
        match probe(found).await {
            Ok((lines, usable)) => {
                for line in lines {
                    out.line(&line)?;
                }
                failed = failed.or(usable.err().map(Error::from));
            }
            Err(error) => {
                let error = Error::from(error);
                out.line(&format!("  FAILED: {}", one_line(&error.to_string())))?;
                failed = failed.or(Some(error));
            }
        }
    }
    match failed {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// The lines about one adapter, and whether a schedule can be used.
async fn probe(found: &Found) -> Result<(Vec<String>, Result<(), DeviceError>), DeviceError> {
    let split = WorkSplit::of(found, &Dims::LECTURE);
    let probe = Probe::new(&Gpu::open(found).await?, split).await?;
    let (answers, took) = probe.ask_timed().await?;
    let mut lines = lines(found, &answers);
    lines.push(format!(
        "  probed in {:.1} ms, after {:.0} ms of compiling",
        took.again.as_secs_f64() * 1e3,
        took.first.saturating_sub(took.again).as_secs_f64() * 1e3
    ));
    let usable = answers.check(Schedule::Staged, &found.info.name);
    Ok((lines, usable))
}

/// What was found, and a verdict for each schedule.
fn lines(found: &Found, answers: &Answers) -> Vec<String> {
    let line = |what: &str, text: &str| format!("  {what:<17} {text}");
    let mut lines: Vec<String> = (answers.findings().into_iter())
        .map(|finding| {
            let mark = if finding.refuses.is_some() {
                "WRONG: "
            } else {
                ""
            };
            line(finding.what, &format!("{mark}{}", finding.measured))
        })
        .collect();
    let staged = match answers.refuses(Schedule::Staged) {
        None => "good".to_owned(),
        Some(found) => format!("cannot be used here: {found}"),
    };
    let resident = match (
        answers.refuses(Schedule::Resident),
        steps_of_a_dispatch(found, answers),
    ) {
        (Some(found), _) => format!("cannot be used here: {found}"),
        (None, Err(error)) => format!("cannot be used here: {}", Error::from(error)),
        (None, Ok(steps)) => format!("good, {steps} steps of the lecture per dispatch"),
    };
    lines.push(line("staged", &staged));
    lines.push(line("resident", &resident));
    lines
}

fn table(found: &[Found]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "#",
        "backend",
        "adapter",
        "type",
        "driver",
        "buffer",
        "workgroup",
        "threads",
        "bindings",
    ]);
    for (place, f) in found.iter().enumerate() {
        let limits = f.adapter.limits();
        let compute = |text: String| {
            if f.computes() {
                text
            } else {
                "no compute".to_owned()
            }
        };
        table.add_row([
            (place + 1).to_string(),
            api_name(f.info.backend).to_owned(),
            f.info.name.clone(),
            f.kind().to_owned(),
            f.driver(),
            compute(format!(
                "{} MiB",
                limits.max_storage_buffer_binding_size >> 20
            )),
            compute(format!(
                "{} KiB",
                limits.max_compute_workgroup_storage_size >> 10
            )),
            compute(limits.max_compute_invocations_per_workgroup.to_string()),
            compute(limits.max_storage_buffers_per_shader_stage.to_string()),
        ]);
    }
    table
}
