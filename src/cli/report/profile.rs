//! The table of `train --profile`, and `profile.json`.

use std::path::Path;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::backend::profile::{Basis, Kernel, Profile};
use crate::cli::files::{FileError, write_atomic};

/// A profile beside the time of the run that it was taken of; serialized, the content of
/// `profile.json`. Times are in seconds.
#[derive(Debug, Serialize)]
pub struct ProfileReport<'a> {
    /// Whether the times are the device's own; if not, submissions were timed on the host.
    timestamps: bool,
    /// Training steps done.
    steps: u64,
    /// Contexts of a step, on average, where each is computed once; else null.
    rows_a_step: Option<f64>,
    /// Time of the training loop.
    seconds: f64,
    /// Time of all kernels.
    device_seconds: f64,
    /// The rest.
    host_seconds: f64,
    /// How often the host handed a chunk of steps to the device.
    submissions: u64,
    /// Time from handing over a chunk to its end, of all chunks.
    submission_seconds: f64,
    /// One object a kernel.
    kernels: Vec<KernelRecord>,
    #[serde(skip)]
    profile: &'a Profile,
}

#[derive(Debug, Serialize)]
struct KernelRecord {
    kernel: &'static str,
    /// The weight of the linear layer, where the kernel is launched for both.
    weight: Option<&'static str>,
    calls: u64,
    /// Calls for which the device gave no usable time. The fields below leave them out.
    untimed_calls: u64,
    seconds: f64,
    /// Floating-point operations, and the rate per second.
    flops: Option<f64>,
    flops_per_second: Option<f64>,
    /// Bytes of the tensors that the kernel binds, and the rate per second.
    bytes: Option<f64>,
    bytes_per_second: Option<f64>,
}

impl KernelRecord {
    fn of(kernel: &Kernel) -> Self {
        Self {
            kernel: kernel.name,
            weight: kernel.weight,
            calls: kernel.calls,
            untimed_calls: kernel.untimed,
            seconds: kernel.seconds,
            flops: kernel.work.flops,
            flops_per_second: kernel.flops_a_second(),
            bytes: kernel.work.bytes,
            bytes_per_second: kernel.bytes_a_second(),
        }
    }
}

impl<'a> ProfileReport<'a> {
    /// The report of a profile of a training loop that took `seconds`.
    pub fn new(profile: &'a Profile, seconds: f64) -> Self {
        let device_seconds = profile.whole_step().seconds;
        let submissions = profile.submissions();
        Self {
            timestamps: profile.basis() == Basis::Timestamps,
            steps: profile.steps,
            rows_a_step: profile.rows_a_step(),
            seconds,
            device_seconds,
            host_seconds: (seconds - device_seconds).max(0.0),
            submissions: submissions.calls,
            submission_seconds: submissions.seconds,
            kernels: profile.rows().iter().map(KernelRecord::of).collect(),
            profile,
        }
    }

    /// Writes `profile.json`; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        write_atomic(path, |w| {
            serde_json::to_writer_pretty(&mut *w, self)?;
            w.write_all(b"\n")
        })
    }

    /// The table with what it is about and what came beside it, in lines of at most 80 characters.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            String::new(),
            self.heading(),
            "GFLOP/s: operations of the formulas; GB/s: each tensor of a launch once.".to_owned(),
            String::new(),
        ];
        let table = self.table().to_string();
        lines.extend(table.lines().map(|line| line.trim_end().to_owned()));
        lines.push(String::new());
        lines.extend(self.notes());
        lines.extend(self.times());
        lines
    }

    /// What the times are: timestamps, or what else and why.
    fn heading(&self) -> String {
        let instead = "the host timed each submission.";
        match self.profile.basis() {
            Basis::Timestamps => {
                "GPU time by the device's timestamps, with a pass for each launch.".to_owned()
            }
            Basis::NoTimestamps => format!("This adapter has no timestamps: {instead}"),
            Basis::Unusable => format!("This adapter's timestamps make no sense: {instead}"),
            Basis::TooLong => {
                format!("This adapter's clock is ahead of the host's: {instead}")
            }
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["kernel", "calls", "us/call", "share", "GFLOP/s", "GB/s"]);
        let whole = self.profile.whole_step();
        for kernel in self.profile.rows().iter().chain([&whole]) {
            table.add_row([
                match kernel.weight {
                    Some(weight) => format!("{} ({weight})", kernel.name),
                    None => kernel.name.to_owned(),
                },
                kernel.calls.to_string(),
                number(kernel.seconds_a_call().map(|s| s * 1e6)),
                share(kernel.seconds, whole.seconds),
                number(kernel.flops_a_second().map(|f| f * 1e-9)),
                number(kernel.bytes_a_second().map(|b| b * 1e-9)),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// What a reader has to know of the device's clock, if anything.
    fn notes(&self) -> Vec<String> {
        let rows = self.profile.rows();
        let sum = |of: fn(&Kernel) -> u64| rows.iter().map(of).sum::<u64>();
        let (calls, untimed, instant) = (sum(|k| k.calls), sum(|k| k.untimed), sum(|k| k.instant));
        let mut notes = Vec::new();
        if let Some(rows) = self.profile.rows_a_step() {
            notes.push(format!(
                "each context of a step computed once: {rows:.1} of them, on average"
            ));
        }
        if untimed > 0 {
            notes.push(format!(
                "{untimed} of {calls} calls left out: timestamps that ran backwards or were zero"
            ));
        }
        if let (Some(tick), true) = (self.profile.tick, instant > 0) {
            notes.push(format!(
                "{instant} of {calls} calls shorter than a tick of the clock, {:.0} ns",
                tick * 1e9
            ));
        }
        notes
    }

    /// The device's part of the time, and the host's.
    fn times(&self) -> Vec<String> {
        let line = |what: &str, seconds: f64, why: &str| {
            let share = share(seconds, self.seconds);
            format!("  {what:<18} {seconds:9.3} s  {share:>6}  {why}")
        };
        let mut lines = vec![format!("{} steps in {:.3} s:", self.steps, self.seconds)];
        if self.timestamps {
            let driver = (self.submission_seconds - self.device_seconds).max(0.0);
            lines.extend([
                line("in the kernels", self.device_seconds, ""),
                line("on the host", self.host_seconds, "of which"),
                line(
                    "  in submissions",
                    driver,
                    "the driver, and a pass a launch",
                ),
                line(
                    "  around them",
                    self.host_seconds - driver,
                    "recording, uploads, checks",
                ),
            ]);
        } else {
            lines.extend([
                line(
                    "in submissions",
                    self.device_seconds,
                    "the kernels and the driver",
                ),
                line(
                    "on the host",
                    self.host_seconds,
                    "recording, uploads, checks",
                ),
            ]);
        }
        lines
            .iter()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }
}

/// A number with one or two decimals, or a dash if there is none.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.1}"),
    }
}

/// A part of a whole in per cent.
fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 {
        format!("{:.1}%", 100.0 * part / whole)
    } else {
        "-".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::profile::Work;

    fn kernels() -> Vec<Kernel> {
        let work = |flops, bytes| Work { flops, bytes };
        vec![
            Kernel::new("copies", None, work(None, Some(3000.0))),
            Kernel::new(
                "batchnorm_backward_kernel",
                Some("W2"),
                work(Some(5e6), Some(1e6)),
            ),
        ]
    }

    /// 200,000 steps of 3 us and 1 ms, in a submission of 210 s.
    fn profile() -> Profile {
        let mut profile = Profile::new(Some(1e-9), kernels());
        let calls = [(0, 1, [5, 3005]), (1, 1, [3005, 1_003_005])];
        let calls = (0..200_000).flat_map(|_| calls);
        profile.add(200_000, Duration::from_secs(210), calls);
        profile
    }

    #[test]
    fn the_table_is_as_a_reader_sees_it() {
        let want = "
GPU time by the device's timestamps, with a pass for each launch.
GFLOP/s: operations of the formulas; GB/s: each tensor of a launch once.

 kernel                           calls  us/call   share  GFLOP/s  GB/s
 copies                          200000     3.00    0.3%        -  1.00
 batchnorm_backward_kernel (W2)  200000   1000.0   99.7%     5.00  1.00
 whole step                      200000   1003.0  100.0%     4.99  1.00

200000 steps in 250.750 s:
  in the kernels       200.600 s   80.0%
  on the host           50.150 s   20.0%  of which
    in submissions       9.400 s    3.7%  the driver, and a pass a launch
    around them         40.750 s   16.3%  recording, uploads, checks";
        let profile = profile();
        let lines = ProfileReport::new(&profile, 250.75).lines();
        assert_eq!(lines.join("\n"), want);
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn without_timestamps_the_report_says_so_and_has_the_submissions() {
        let mut profile = Profile::new(None, kernels());
        profile.add(1000, Duration::from_secs(2), []);
        let want = "
This adapter has no timestamps: the host timed each submission.
GFLOP/s: operations of the formulas; GB/s: each tensor of a launch once.

 kernel      calls    us/call   share  GFLOP/s  GB/s
 submission      1  2000000.0  100.0%     2.50  0.50
 whole step   1000     2000.0  100.0%     2.50  0.50

1000 steps in 2.500 s:
  in submissions         2.000 s   80.0%  the kernels and the driver
  on the host            0.500 s   20.0%  recording, uploads, checks";
        assert_eq!(ProfileReport::new(&profile, 2.5).lines().join("\n"), want);
    }

    #[test]
    fn what_is_wrong_with_a_clock_is_said() {
        let text = |took, calls: &[[u64; 2]]| {
            let mut profile = Profile::new(Some(2e-6), kernels());
            let calls = calls.iter().map(|&ticks| (1, 1, ticks));
            profile.add(1, Duration::from_secs(took), calls);
            ProfileReport::new(&profile, took as f64).lines().join("\n")
        };
        let lost = text(1, &[[1, 9], [9, 1], [0, 5], [7, 7]]);
        let parts = [
            "2 of 4 calls left out: timestamps that ran backwards or were zero",
            "1 of 4 calls shorter than a tick of the clock, 2000 ns",
            "in the kernels",
        ];
        for part in parts {
            assert!(lost.contains(part), "no {part:?} in {lost}");
        }
        let none = text(1, &[[9, 1]]);
        assert!(none.contains("timestamps make no sense: the host timed each submission"));
        let ahead = text(1, &[[1, 1_000_000]]);
        assert!(ahead.contains("clock is ahead of the host's: the host timed each submission"));
        for text in [none, ahead] {
            assert!(text.contains("\n submission "), "{text}");
            assert!(!text.contains("in the kernels"), "{text}");
        }
    }

    #[test]
    fn the_file_has_one_flat_object_a_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profile.json");
        let profile = profile();
        ProfileReport::new(&profile, 250.75).save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("\n}\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["timestamps"], true);
        assert_eq!(json["steps"], 200_000);
        let host = json["host_seconds"].as_f64().unwrap();
        assert!((host - 50.15).abs() < 1e-6, "{host}");
        let kernels = json["kernels"].as_array().unwrap();
        assert_eq!(kernels.len(), 2);
        assert_eq!(kernels[0]["flops"], serde_json::Value::Null);
        assert_eq!(kernels[1]["kernel"], "batchnorm_backward_kernel");
        assert_eq!(kernels[1]["weight"], "W2");
        assert_eq!(kernels[1]["calls"], 200_000);
        for field in kernels.iter().flat_map(|k| k.as_object().unwrap().values()) {
            assert!(!field.is_object() && !field.is_array(), "{field}");
        }
    }
}
