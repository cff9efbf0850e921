//! What the probe measured, and what follows from it: no device is needed for that.

use std::fmt;

use crate::backend::{DeviceError, Schedule};

/// Bytes of workgroup memory that the staged kernels use: `partial` of
/// `shaders/staged/linear.wgsl`. The resident kernel needs less.
const MEMORY_USED: u32 = 576 * 16;
/// The largest error that our tanh may have: 4.5e-7 of its own, and that of a division.
const TANH_ERROR: f64 = 2e-6;
/// WGSL allows exp an error of 3 + 2|x| ULP. This many times as much still passes.
const EXP_SLACK: f64 = 4.0;

/// Iterations of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loops {
    /// Asked for.
    pub asked: u32,
    /// Counted by the loop itself.
    pub done: u32,
}

impl Loops {
    /// Iterations that a dispatch can have, if the answer makes sense.
    pub fn rounds(&self) -> Option<u32> {
        (1..=self.asked).contains(&self.done).then_some(self.done)
    }
}

impl fmt::Display for Loops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, done } = self;
        match self.rounds() {
            None => write!(f, "a loop of {asked} iterations was reported as {done}"),
            Some(_) if done == asked => write!(f, "all {asked} iterations were done"),
            Some(_) => write!(
                f,
                "stopped after {done} of {asked} iterations, with no error"
            ),
        }
    }
}

/// Counters, all of which should reach the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// That number.
    pub asked: u32,
    /// What each reached.
    pub done: Vec<u32>,
}

impl Counters {
    /// How many did not reach it.
    fn short(&self) -> usize {
        self.done.iter().filter(|&&done| done != self.asked).count()
    }

    fn measured(&self, what: &str) -> String {
        let (of, asked) = (self.done.len(), self.asked);
        match self.done.iter().find(|&&done| done != asked) {
            None => format!("{of} of {of} {what} counted to {asked}"),
            Some(done) => format!(
                "{} of {of} {what} did not count to {asked}; one stopped at {done}",
                self.short()
            ),
        }
    }
}

/// What workgroup memory held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The size that the driver reports.
    pub bytes: u32,
    /// Bytes from its beginning that kept what was written to them.
    pub right: u32,
}

/// What the formulas made of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// The value.
    pub x: f32,
    /// Its tanh, by our formula.
    pub tanh: f32,
    /// By the built-in function, which no kernel uses.
    pub builtin_tanh: f32,
    /// Its exponential.
    pub exp: f32,
    /// It as a parameter, after an update.
    pub parameter: f32,
    /// One as a parameter, after an update with ten times it as the gradient.
    pub gradient: f32,
    /// The larger of it and 0.25.
    pub max: f32,
    /// The smaller.
    pub min: f32,
    /// It between 0.25 and 0.5.
    pub clamp: f32,
    /// Half of it.
    pub half: f32,
}

impl Edge {
    /// From what the kernel wrote for `x`, in its order.
    pub(super) fn new(x: f32, results: &[f32]) -> Self {
        Self {
            x,
            tanh: results[0],
            builtin_tanh: results[1],
            exp: results[2],
            parameter: results[3],
            gradient: results[4],
            max: results[5],
            min: results[6],
            clamp: results[7],
            half: results[8],
        }
    }

    fn tanh_error(&self, tanh: f32) -> f64 {
        (f64::from(tanh) - f64::from(self.x).tanh()).abs()
    }

    /// The error of exp. A result that is flushed to zero has none.
    fn exp_error(&self) -> f64 {
        let error = (f64::from(self.exp) - f64::from(self.x).exp()).abs();
        match error <= f64::from(f32::MIN_POSITIVE) {
            true => 0.0,
            false => error,
        }
    }

    /// One ULP of the exact exp.
    fn exp_ulp(&self) -> f64 {
        f64::from(self.x).exp() * f64::from(f32::EPSILON)
    }

    fn exp_is_right(&self) -> bool {
        let allowed = EXP_SLACK * (3.0 + 2.0 * f64::from(self.x).abs());
        self.exp_error() <= allowed * self.exp_ulp()
    }
}

/// What was asked and measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// Rounds of a loop.
    pub loops: Loops,
    /// A chain of launches, each with what the one before wrote.
    pub launches: Counters,
    /// Values at the edges.
    pub edges: Vec<Edge>,
    /// Workgroup memory.
    pub memory: Memory,
    /// The invocations of the resident kernel's workgroup, which wait for each other.
    pub counters: Counters,
    /// Whether that workgroup is one subgroup.
    pub subgroup: bool,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was asked.
    pub what: &'static str,
    /// What was measured.
    pub measured: String,
    /// The schedule that cannot be used then. If it is the staged one, neither can be: the resident
    /// schedule evaluates with the staged kernels.
    pub refuses: Option<Schedule>,
}

impl Answers {
    /// What was measured, line by line.
    pub fn findings(&self) -> Vec<Finding> {
        let refuses = |schedule, wrong: bool| wrong.then_some(schedule);
        let invocations = match self.subgroup {
            true => "invocations, one subgroup,",
            false => "invocations",
        };
        let tanh = self.tanh();
        let exp = self.exp();
        let kept = self.not_finite();
        let measured = |(measured, _): &(String, bool)| measured.clone();
        vec![
            Finding {
                what: "loops",
                measured: self.loops.to_string(),
                refuses: refuses(Schedule::Resident, self.loops.rounds().is_none()),
            },
            Finding {
                what: "counters",
                measured: self.counters.measured(invocations),
                refuses: refuses(Schedule::Resident, self.counters.short() > 0),
            },
            Finding {
                what: "launches",
                measured: self.launches.measured("invocations of a chain of launches"),
                refuses: refuses(Schedule::Staged, self.launches.short() > 0),
            },
            Finding {
                what: "workgroup memory",
                measured: match self.memory {
                    Memory { bytes, right } if right >= bytes => {
                        format!("all {bytes} bytes hold what is written to them")
                    }
                    Memory { bytes, right } => {
                        format!("only the first {right} of {bytes} bytes hold what is written")
                    }
                },
                refuses: refuses(
                    Schedule::Staged,
                    self.memory.right < MEMORY_USED.min(self.memory.bytes),
                ),
            },
            Finding {
                what: "tanh",
                measured: measured(&tanh),
                refuses: refuses(Schedule::Staged, !tanh.1),
            },
            Finding {
                what: "built-in tanh",
                measured: self.builtin_tanh(),
                refuses: None,
            },
            Finding {
                what: "exp",
                measured: measured(&exp),
                refuses: refuses(Schedule::Staged, !exp.1),
            },
            Finding {
                what: "NaN and infinity",
                measured: measured(&kept),
                refuses: refuses(Schedule::Staged, !kept.1),
            },
            Finding {
                what: "min, max, clamp",
                measured: self.dropping(),
                refuses: None,
            },
            Finding {
                what: "subnormals",
                measured: self.subnormals(),
                refuses: None,
            },
        ]
    }

    /// Refuses a schedule that relies on something that is not so.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Driver`], with the schedule that is left.
    pub fn check(&self, schedule: Schedule, adapter: &str) -> Result<(), DeviceError> {
        let Some(found) = self.refuses(schedule) else {
            return Ok(());
        };
        let instead = match self.refuses(Schedule::Staged) {
            None => Some(Schedule::Staged),
            Some(_) => None,
        };
        Err(DeviceError::Driver {
            adapter: adapter.to_owned(),
            schedule,
            found,
            instead,
        })
    }

    /// Why a schedule cannot be used, if it cannot.
    pub fn refuses(&self, schedule: Schedule) -> Option<String> {
        let wrong: Vec<String> = (self.findings().into_iter())
            .filter(|f| f.refuses == Some(Schedule::Staged) || f.refuses == Some(schedule))
            .map(|f| format!("{}: {}", f.what, f.measured))
            .collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }

    fn finite(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(|edge| edge.x.is_finite())
    }

    fn tanh(&self) -> (String, bool) {
        let right = |edge: &Edge| edge.tanh_error(edge.tanh) <= TANH_ERROR;
        let wrong = self.finite().find(|edge| !right(edge));
        match wrong {
            Some(edge) => (format!("{:e} at {:e}", edge.tanh, edge.x), false),
            None => {
                let errors = self.finite().map(|edge| edge.tanh_error(edge.tanh));
                let worst = errors.fold(0.0, f64::max);
                (format!("off by {worst:.1e} at most"), true)
            }
        }
    }

    fn builtin_tanh(&self) -> String {
        let nan = self.finite().filter(|edge| edge.builtin_tanh.is_nan());
        let nan: Vec<String> = nan.map(|edge| format!("{:e}", edge.x)).collect();
        let errors = self.finite().map(|edge| edge.tanh_error(edge.builtin_tanh));
        let worst = errors.fold(0.0, f64::max); // which leaves NaN out
        let nan = match nan.is_empty() {
            true => String::new(),
            false => format!(", NaN at {}", nan.join(", ")),
        };
        format!("off by {worst:.1e} at most{nan}; no kernel uses it")
    }

    /// The kernels take exp of numbers that are zero or less.
    fn exp(&self) -> (String, bool) {
        let used = || self.finite().filter(|edge| edge.x <= 0.0);
        match used().find(|edge| !edge.exp_is_right()) {
            Some(edge) => (format!("{:e} at {:e}", edge.exp, edge.x), false),
            None => {
                // Where an ULP is none, exp has been found to be zero.
                let ulps = used().map(|edge| edge.exp_error() / edge.exp_ulp());
                let worst = ulps.fold(0.0, f64::max);
                (format!("off by {worst:.0} ULP at most from 0 down"), true)
            }
        }
    }

    /// What is not finite has to reach the host, which looks for it in the parameters.
    fn not_finite(&self) -> (String, bool) {
        let lost = |edge: &&Edge| {
            let parameter = !edge.x.is_finite() && edge.parameter.is_finite();
            // Ten times the largest number is infinite too.
            let gradient = !(10.0 * edge.x).is_finite() && edge.gradient.is_finite();
            parameter || gradient
        };
        match self.edges.iter().find(lost) {
            None => ("stay so through an update".to_owned(), true),
            Some(edge) => {
                let message = format!("{} is finite after an update", edge.x);
                (
                    format!("{message}: a run that diverged would not be seen"),
                    false,
                )
            }
        }
    }

    fn dropping(&self) -> String {
        let Some(edge) = self.edges.iter().find(|edge| edge.x.is_nan()) else {
            return "not asked".to_owned();
        };
        let results = [("min", edge.min), ("max", edge.max), ("clamp", edge.clamp)];
        let dropping = results.iter().filter(|(_, result)| !result.is_nan());
        let names: Vec<&str> = dropping.map(|(name, _)| *name).collect();
        match names.is_empty() {
            true => "keep a NaN".to_owned(),
            false => format!(
                "{} drop{} a NaN; no check relies on them",
                names.join(", "),
                if names.len() == 1 { "s" } else { "" }
            ),
        }
    }

    fn subnormals(&self) -> String {
        let mut small = self.finite().filter(|edge| edge.x.is_subnormal());
        match small.next() {
            Some(edge) if edge.half == edge.x / 2.0 => "are kept".to_owned(),
            Some(edge) if edge.half == 0.0 => "become zero; no kernel needs them".to_owned(),
            Some(edge) => format!(
                "half of {:e} is {:e}; no kernel needs them",
                edge.x, edge.half
            ),
            None => "not asked".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::shader::staged_modules;

    /// What a driver answers that is right in everything.
    fn right() -> Answers {
        let edge = |&x: &f32| {
            Edge::new(
                x,
                &[
                    x.tanh(),
                    x.tanh(),
                    x.exp(),
                    x - 0.5,
                    1.0 - 10.0 * x,
                    if x.is_nan() { x } else { x.max(0.25) },
                    if x.is_nan() { x } else { x.min(0.25) },
                    x.clamp(0.25, 0.5),
                    x * 0.5,
                ],
            )
        };
        Answers {
            loops: Loops {
                asked: 1000,
                done: 1000,
            },
            launches: Counters {
                asked: 16,
                done: vec![16; 256],
            },
            edges: super::super::VALUES.iter().map(edge).collect(),
            memory: Memory {
                bytes: 32768,
                right: 32768,
            },
            counters: Counters {
                asked: 64,
                done: vec![64; 32],
            },
            subgroup: false,
        }
    }

    fn changed(change: impl FnOnce(&mut Answers)) -> Answers {
        let mut answers = right();
        change(&mut answers);
        answers
    }

    /// The answer for a value.
    fn at(answers: &mut Answers, x: f32) -> &mut Edge {
        let same = |edge: &&mut Edge| edge.x.to_bits() == x.to_bits();
        answers.edges.iter_mut().find(same).unwrap()
    }

    #[test]
    fn right_answers_refuse_nothing() {
        for schedule in [Schedule::Staged, Schedule::Resident] {
            assert_eq!(right().refuses(schedule), None);
        }
    }

    #[test]
    fn a_wrong_answer_refuses_the_schedules_that_rely_on_it() {
        let both = [
            ("launches", changed(|a| a.launches.done[255] = 15)),
            ("workgroup memory", changed(|a| a.memory.right = 9212)),
            ("tanh", changed(|a| at(a, 9.0).tanh = 1.0001)),
            ("tanh", changed(|a| at(a, f32::MAX).tanh = f32::NAN)),
            ("exp", changed(|a| at(a, 0.0).exp = 1.000_01)),
            ("exp", changed(|a| at(a, -f32::MAX).exp = f32::NAN)),
            ("exp", changed(|a| at(a, -f32::MAX).exp = 1e-30)),
            ("exp", changed(|a| at(a, -44.0).exp = 7.79e-20)),
            (
                "NaN and infinity",
                changed(|a| at(a, f32::NAN).parameter = 0.0),
            ),
            (
                "NaN and infinity",
                changed(|a| at(a, f32::NAN).gradient = 1.0),
            ),
            (
                "NaN and infinity",
                changed(|a| at(a, f32::INFINITY).parameter = f32::MAX),
            ),
            (
                "NaN and infinity",
                changed(|a| at(a, f32::MAX).gradient = -f32::MAX),
            ),
        ];
        for (what, answers) in both {
            for schedule in [Schedule::Staged, Schedule::Resident] {
                let text = answers.refuses(schedule).unwrap_or_default();
                assert!(text.starts_with(&format!("{what}: ")), "{what}: {text:?}");
            }
        }
        let resident = [
            ("loops", changed(|a| a.loops.done = 0)),
            ("loops", changed(|a| a.loops.done = 1001)),
            ("counters", changed(|a| a.counters.done[31] = 63)),
            ("counters", changed(|a| a.counters.done[0] = 65)),
        ];
        for (what, answers) in resident {
            let text = answers.refuses(Schedule::Resident).unwrap_or_default();
            assert!(text.starts_with(&format!("{what}: ")), "{what}: {text:?}");
            assert_eq!(answers.refuses(Schedule::Staged), None);
        }
    }

    #[test]
    fn what_no_kernel_relies_on_refuses_nothing() {
        let harmless = [
            changed(|a| at(a, 89.0).builtin_tanh = f32::NAN),
            changed(|a| at(a, 89.0).exp = f32::NAN),
            changed(|a| at(a, -87.0).exp = 1.65e-38),
            changed(|a| at(a, -89.0).exp = 0.0),
            changed(|a| at(a, f32::NAN).tanh = -1.0),
            changed(|a| at(a, f32::NAN).max = 0.25),
            changed(|a| at(a, f32::NAN).clamp = 0.25),
            changed(|a| at(a, super::super::SUBNORMAL).half = 0.0),
            changed(|a| a.memory.right = MEMORY_USED),
            changed(|a| a.loops.done = 999),
        ];
        for answers in harmless {
            for schedule in [Schedule::Staged, Schedule::Resident] {
                assert_eq!(answers.refuses(schedule), None);
            }
        }
    }

    #[test]
    fn a_finding_tells_what_was_measured() {
        let text = |answers: &Answers, what: &str| {
            let findings = answers.findings();
            let found = findings.into_iter().find(|f| f.what == what);
            found.map(|f| f.measured).unwrap_or_default()
        };
        let answers = changed(|a| {
            a.loops.done = 655;
            a.counters.done[4] = 7;
            a.memory.right = 4096;
            at(a, -44.0).builtin_tanh = f32::NAN;
            at(a, f32::NAN).min = 0.25;
        });
        for (what, part) in [
            (
                "loops",
                "stopped after 655 of 1000 iterations, with no error",
            ),
            (
                "counters",
                "1 of 32 invocations did not count to 64; one stopped at 7",
            ),
            (
                "launches",
                "256 of 256 invocations of a chain of launches counted to 16",
            ),
            ("workgroup memory", "only the first 4096 of 32768 bytes"),
            ("built-in tanh", "NaN at -4.4e1"),
            ("min, max, clamp", "min drops a NaN"),
            ("subnormals", "are kept"),
        ] {
            let text = text(&answers, what);
            assert!(text.contains(part), "{what}: {text:?}");
        }
    }

    /// The number above is that of the shaders.
    #[test]
    fn the_staged_kernels_use_no_more_workgroup_memory_than_is_asked_for() {
        let mut largest = 0;
        for module in staged_modules() {
            let text = module.source.text();
            for declared in text.split("var<workgroup> partial: array<").skip(1) {
                let array = declared.split_once(">;").unwrap().0;
                let (of, count) = array.rsplit_once(", ").unwrap();
                let bytes = match of {
                    "f32" => 4,
                    "vec4<f32>" => 16,
                    other => panic!("{other}"),
                };
                largest = largest.max(bytes * count.parse::<u32>().unwrap());
            }
        }
        assert_eq!(largest, MEMORY_USED);
    }
}
