//! How a step is laid out on a device: the description from which [`Layout`](super::layout::Layout) and
//! [`Plan`](super::plan::Plan) are built.
//!
//! A [`Tuning`] decides in which order sums are added up, so it is part of what a run is: the same tuning on the
//! same device gives the same bits. It has a name of one word, by which it is printed, stored and asked for:
//!
//! ```
//! use gpu_makemore::gpu::tuning::Tuning;
//!
//! let name = "resident:workers=64,slices=2";
//! let tuning: Tuning = name.parse()?;
//! assert_eq!(tuning.to_string(), name);
//! # Ok::<(), gpu_makemore::gpu::tuning::TuningError>(())
//! ```

use std::fmt;
use std::str::FromStr;

use wgpu::{Features, Limits};

use super::adapter::Found;
use crate::backend::Schedule;
use crate::model::dims::Dims;

/// Rows of a tile: `TILE_ROWS` of the resident kernel.
pub(super) const TILE_ROWS: usize = 8;
/// Steps of a resident dispatch at most.
pub(super) const MAX_STEPS: usize = 4096;
/// Invocations of a workgroup of the staged schedule, except where it adds up columns ([`Cuts::adders`]).
pub(super) const WORKGROUP: usize = 64;
/// Values that a number in a name may have at most: more is a slip.
const MOST: usize = 1 << 24;

/// A way to lay a step out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tuning {
    /// One launch per operation.
    Staged(Cuts),
    /// Many steps in one launch.
    Resident(WorkSplit),
}

/// How the staged schedule cuts its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cuts {
    /// Sums are cut into slices until a launch has this many invocations.
    pub invocations: usize,
    /// Invocations of a workgroup that adds up columns. Its work is loads: many in flight hide the latency,
    /// and neighbouring invocations load neighbouring columns.
    pub adders: usize,
    /// Parts into which the long sums of the products are cut at most; 1 leaves them whole. Another launch
    /// adds the parts up.
    pub parts: usize,
    /// Invocations that load rows for each other in the products: 1 if each loads what it needs, 64 if
    /// they do so through workgroup memory, else the size of a subgroup.
    pub lanes: usize,
}

/// How invocations of the staged schedule's products come by the rows that they multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each loads all of them.
    Alone,
    /// Each loads some, and hands them out through workgroup memory.
    Workgroup,
    /// Each loads some, and hands them out by subgroup operations.
    Subgroup,
}

/// How the resident schedule shares the work of a step out among the invocations of its workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkSplit {
    /// Invocations of the workgroup.
    pub workers: usize,
    /// Invocations that exchange loaded values by subgroup operations: all of them if the workgroup is one
    /// subgroup, else 1.
    pub lanes: usize,
    /// Slices of the sums over all hidden units.
    pub slices: usize,
    /// Slices of the sums over all examples in batch norm.
    pub row_slices: usize,
    /// Invocations that share a row of logits.
    pub row_workers: usize,
    /// Steps of a dispatch at most. A driver that stops long loops allows fewer.
    pub steps: usize,
}

impl Cuts {
    /// The most invocations that add up columns: `partial` of shaders/staged/batchnorm.wgsl has room for them.
    pub(super) const MOST_ADDERS: usize = 256;
    /// The most parts of a sum.
    pub(super) const MOST_PARTS: usize = 16;
    /// From this many values of `h` on, the long sums of the products are cut into parts on a GPU. With
    /// slices, a workgroup has a few tiles with all of their terms, and hundreds of workgroups load the same
    /// rows and columns: for the logits of 4,096 rows with 2,048 units 184 MB. In parts, a workgroup has 64
    /// tiles, and it is 48 MB. (Counted, not measured: there was no GPU. On lavapipe with the layout of a GPU,
    /// the launches with long sums took 651 ms with slices and 352 ms in parts. With whole sums, as software
    /// adapters have them, they took 521 ms; with minibatches of names, which have a third of the rows, as
    /// long as in parts.) Smaller products gain less, and adding up the parts costs additional launches.
    const IN_PARTS: usize = 1 << 20;
    /// Invocations that keep any GPU busy. On a software adapter slices only add work: with two slices
    /// everywhere a step of the lecture on lavapipe took 760 us instead of 500 (one thread).
    const ENOUGH: usize = 1 << 16;

    /// Whole sums: what suits a software adapter.
    pub const WHOLE: Self = Self {
        invocations: 1,
        adders: WORKGROUP,
        parts: 1,
        lanes: 1,
    };

    /// What suits a GPU, for a model of these sizes.
    pub fn hardware(dims: &Dims) -> Self {
        Self {
            invocations: Self::ENOUGH,
            adders: Self::MOST_ADDERS,
            ..Self::WHOLE
        }
        .with_parts(dims.batch * dims.hidden >= Self::IN_PARTS)
    }

    /// What suits an adapter without a measurement, in products whose invocations each load what they need.
    pub fn of(found: &Found, dims: &Dims) -> Self {
        if found.is_software() {
            Self::WHOLE
        } else {
            Self::hardware(dims).within(&found.adapter.limits())
        }
    }

    /// What training takes without a measurement. On software adapters rows are handed out in subgroups, which
    /// adds the same terms in the same order and changes no bit. (Measured on lavapipe, Mesa 22.3.6, steps with
    /// the one and the other in turn, on a machine that did other work: 1.03 to 1.4 times as fast at four sizes,
    /// 21.9 ms instead of 33.5 with 1,024 examples and 1,024 hidden units.) But whoever changes a kernel, one of
    /// `changed` under `shaders/`, finds it in use.
    pub fn usual(found: &Found, dims: &Dims, changed: &[&str]) -> Self {
        let is_changed = |file: &str| changed.contains(&file);
        let subgroup = Self::subgroup(found);
        let lanes = if is_changed("staged/through_subgroup.wgsl") {
            subgroup
        } else if is_changed("staged/through_workgroup.wgsl")
            || is_changed("staged/shared_linear.wgsl")
        {
            Some(WORKGROUP)
        } else {
            subgroup.filter(|_| found.is_software() && changed.is_empty())
        };
        Self {
            lanes: lanes.unwrap_or(1),
            ..Self::of(found, dims)
        }
    }

    /// The size of an adapter's subgroups if rows can be handed out in them.
    fn subgroup(found: &Found) -> Option<usize> {
        WorkSplit::subgroup_size(found).filter(|&size| size < WORKGROUP)
    }

    /// These cuts, with the long sums of the products in parts or whole.
    pub fn with_parts(self, in_parts: bool) -> Self {
        Self {
            parts: if in_parts { Self::MOST_PARTS } else { 1 },
            ..self
        }
    }

    /// These cuts, with `adders` reduced to 64 where an adapter's workgroups are smaller. Every WebGPU
    /// device has 256 invocations; some GLES devices have fewer.
    pub fn within(self, limits: &Limits) -> Self {
        let fits = self.adders <= most_invocations(limits);
        Self {
            adders: if fits { self.adders } else { WORKGROUP },
            ..self
        }
    }

    /// How the products come by their rows.
    pub fn sharing(&self) -> Sharing {
        match self.lanes {
            1 => Sharing::Alone,
            WORKGROUP => Sharing::Workgroup,
            _ => Sharing::Subgroup,
        }
    }

    /// Whether the long sums of the products are cut into parts.
    pub fn in_parts(&self) -> bool {
        self.parts > 1
    }

    /// Those worth trying on a device with these limits, after the usual one, whatever the sizes of a model.
    /// `subgroup` is the size of its subgroups, if it has such as the kernels can use.
    pub fn candidates(usual: Self, limits: &Limits, subgroup: Option<usize>) -> Vec<Self> {
        let mut all = vec![usual];
        // These are had soonest: all other kernels are the usual ones.
        let adders = [Self::MOST_ADDERS, WORKGROUP];
        all.extend(adders.map(|adders| Self { adders, ..usual }.within(limits)));
        let lanes = subgroup.into_iter().chain([WORKGROUP, 1]);
        for lanes in lanes.filter(|&lanes| lanes != usual.lanes) {
            all.extend(
                [usual.in_parts(), !usual.in_parts()]
                    .map(|in_parts| Self { lanes, ..usual }.with_parts(in_parts)),
            );
        }
        for in_parts in [usual.in_parts(), !usual.in_parts()] {
            for adders in [usual.adders, WORKGROUP, Self::MOST_ADDERS] {
                for invocations in [usual.invocations, 1, 1 << 14, 1 << 16, 1 << 18] {
                    let cuts = Self {
                        invocations,
                        adders,
                        ..usual
                    };
                    all.push(cuts.with_parts(in_parts).within(limits));
                }
            }
        }
        distinct(all)
    }

    fn fields(&mut self) -> [(&'static str, &mut usize); 4] {
        [
            ("invocations", &mut self.invocations),
            ("adders", &mut self.adders),
            ("parts", &mut self.parts),
            ("lanes", &mut self.lanes),
        ]
    }

    /// What keeps the kernels from working with these numbers.
    fn fault(&self) -> Option<String> {
        let powers = |value: usize, range: std::ops::RangeInclusive<usize>| {
            value.is_power_of_two() && range.contains(&value)
        };
        if !powers(self.adders, WORKGROUP..=Self::MOST_ADDERS) {
            return Some("adders is 64, 128 or 256".to_owned());
        }
        if !powers(self.parts, 1..=Self::MOST_PARTS) {
            return Some("parts is 1, 2, 4, 8 or 16".to_owned());
        }
        if self.lanes != 1 && !powers(self.lanes, 8..=WORKGROUP) {
            return Some("lanes is 1, the size of a subgroup from 8 on, or 64".to_owned());
        }
        None
    }
}

impl WorkSplit {
    /// A workgroup of one invocation, from which names start.
    const ONE: Self = Self {
        workers: 1,
        lanes: 1,
        slices: 1,
        row_slices: 1,
        row_workers: 1,
        steps: MAX_STEPS,
    };

    /// On a GPU: many invocations, each with work in every phase.
    pub fn hardware(dims: &Dims, limits: &Limits) -> Self {
        Self::with_workers(dims, most_invocations(limits).clamp(1, 256))
    }

    /// The split of [`WorkSplit::hardware`] for a given number of invocations.
    pub fn with_workers(dims: &Dims, workers: usize) -> Self {
        let rows = dims.batch.div_ceil(TILE_ROWS);
        let tiles = rows * dims.vocab.max(dims.fan_in()).div_ceil(4);
        Self {
            workers,
            slices: (workers / tiles).max(1),
            // With more than eight, adding up the slices would take longer than computing one.
            row_slices: (workers / dims.hidden.div_ceil(4)).clamp(1, 8),
            row_workers: (workers / dims.batch).clamp(1, dims.vocab.div_ceil(4)),
            ..Self::ONE
        }
    }

    /// The size of an adapter's subgroups if its driver guarantees one that the kernel can use.
    fn subgroup_size(found: &Found) -> Option<usize> {
        let needed = Features::SUBGROUP | Features::SUBGROUP_BARRIER;
        let size = found.info.subgroup_min_size;
        let known = size == found.info.subgroup_max_size && (8..=64).contains(&size);
        (known && found.adapter.features().contains(needed)).then_some(size as usize)
    }

    /// One subgroup, whose invocations load for each other, where an adapter has such subgroups.
    pub fn subgroup(found: &Found) -> Option<Self> {
        let size = Self::subgroup_size(found)?;
        Some(Self {
            workers: size,
            lanes: size,
            ..Self::ONE
        })
    }

    /// On other software adapters: few invocations, since each costs time at every barrier. (Measured
    /// on lavapipe, Mesa 22.3.6, a step of the lecture with 64 and 256: 619 and 664 us; on llvmpipe:
    /// 650 and 770.)
    pub fn software() -> Self {
        Self {
            workers: 32,
            ..Self::ONE
        }
    }

    /// What suits an adapter without a measurement.
    pub fn of(found: &Found, dims: &Dims) -> Self {
        if found.is_software() {
            Self::subgroup(found).unwrap_or(Self::software())
        } else {
            Self::hardware(dims, &found.adapter.limits())
        }
    }

    /// Those worth trying on a device with these limits, after the usual one.
    pub fn candidates(usual: Self, limits: &Limits, dims: &Dims) -> Vec<Self> {
        let most = most_invocations(limits);
        let mut all = vec![usual];
        for workers in [64, 32, 128, 256, 512, 1024] {
            if workers > most {
                continue;
            }
            let cut = Self::with_workers(dims, workers);
            let whole = Self {
                workers,
                ..Self::ONE
            };
            all.extend([
                cut,
                whole,
                Self { slices: 1, ..cut },
                Self {
                    slices: 2 * cut.slices,
                    ..cut
                },
                Self {
                    row_slices: 1,
                    ..cut
                },
                Self {
                    row_workers: 1,
                    ..cut
                },
            ]);
        }
        distinct(all)
    }

    /// Whether its workgroup is one subgroup, whose invocations load for each other.
    pub fn in_subgroups(&self) -> bool {
        self.lanes > 1
    }

    fn fields(&mut self) -> [(&'static str, &mut usize); 6] {
        [
            ("workers", &mut self.workers),
            ("lanes", &mut self.lanes),
            ("slices", &mut self.slices),
            ("row-slices", &mut self.row_slices),
            ("row-workers", &mut self.row_workers),
            ("steps", &mut self.steps),
        ]
    }

    /// What keeps the kernel from working with these numbers.
    fn fault(&self) -> Option<String> {
        let Self { workers, lanes, .. } = *self;
        if lanes != 1 && lanes != workers {
            return Some(format!("lanes is 1 or as many as workers, {workers}"));
        }
        (self.steps > MAX_STEPS).then(|| format!("steps is {MAX_STEPS} at most"))
    }
}

impl Tuning {
    /// Those of a schedule that are worth trying on an adapter, the usual one first.
    pub fn candidates(found: &Found, dims: &Dims, schedule: Schedule) -> Vec<Self> {
        let limits = found.adapter.limits();
        match schedule {
            Schedule::Staged => {
                let subgroup = Cuts::subgroup(found);
                let all = Cuts::candidates(Cuts::usual(found, dims, &[]), &limits, subgroup);
                all.into_iter().map(Self::Staged).collect()
            }
            Schedule::Resident | Schedule::Auto => {
                let all = WorkSplit::candidates(WorkSplit::of(found, dims), &limits, dims);
                let subgroup = WorkSplit::subgroup(found);
                let at = subgroup.filter(|split| !all.contains(split)).into_iter();
                let all = all[..1]
                    .iter()
                    .copied()
                    .chain(at)
                    .chain(all[1..].iter().copied());
                all.map(Self::Resident).collect()
            }
        }
    }
}

/// Invocations that a workgroup can have in one dimension.
fn most_invocations(limits: &Limits) -> usize {
    let most = limits
        .max_compute_invocations_per_workgroup
        .min(limits.max_compute_workgroup_size_x);
    most as usize
}

/// Each of them once, in their order.
fn distinct<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for item in all {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

impl Tuning {
    /// The schedule that it is for.
    pub fn schedule(&self) -> Schedule {
        match self {
            Self::Staged(_) => Schedule::Staged,
            Self::Resident(_) => Schedule::Resident,
        }
    }

    /// Its numbers by their names, and what each is where a name leaves it out.
    fn fields(&mut self) -> Vec<(&'static str, &mut usize, usize)> {
        fn with<'a, const N: usize>(
            fields: [(&'static str, &'a mut usize); N],
            mut default: [(&'static str, &mut usize); N],
        ) -> Vec<(&'static str, &'a mut usize, usize)> {
            let mut defaults = default.iter_mut().map(|(_, value)| **value);
            fields
                .into_iter()
                .map(|(name, value)| (name, value, defaults.next().unwrap_or(1)))
                .collect()
        }
        match self {
            Self::Staged(cuts) => with(cuts.fields(), { Cuts::WHOLE }.fields()),
            Self::Resident(split) => with(split.fields(), { WorkSplit::ONE }.fields()),
        }
    }

    /// Whether an adapter can run it.
    ///
    /// # Errors
    ///
    /// Its workgroup is to be one subgroup, and the adapter's subgroups have another size, or none that its
    /// driver guarantees.
    pub fn check(&self, found: &Found) -> Result<(), Unsuited> {
        let lanes = match self {
            Self::Resident(split) if split.in_subgroups() => Some(split.lanes),
            Self::Staged(cuts) if cuts.sharing() == Sharing::Subgroup => Some(cuts.lanes),
            _ => None,
        };
        match lanes {
            Some(lanes) => {
                let own = WorkSplit::subgroup_size(found);
                if own == Some(lanes) {
                    return Ok(());
                }
                let own = match own {
                    Some(size) => format!("those of {} have {size}", found.info.name),
                    None => format!("{} guarantees none of one size", found.info.name),
                };
                Err(Unsuited {
                    tuning: *self,
                    needs: format!("subgroups of {lanes} invocations, and {own}"),
                })
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Tuning {
    /// The first number always, others where they are not what they are when left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.schedule())?;
        let mut copy = *self;
        let fields = copy.fields();
        let told = fields
            .iter()
            .enumerate()
            .filter(|(i, (_, value, default))| *i == 0 || **value != *default);
        for (i, (_, (name, value, _))) in told.enumerate() {
            let mark = if i == 0 { ':' } else { ',' };
            write!(f, "{mark}{name}={value}")?;
        }
        Ok(())
    }
}

/// An adapter cannot run a layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tuning} needs {needs}")]
pub struct Unsuited {
    tuning: Tuning,
    needs: String,
}

/// A name that is no tuning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is no tuning: {fault}")]
pub struct TuningError {
    name: String,
    fault: String,
}

impl TuningError {
    fn new(name: &str, fault: impl Into<String>) -> Self {
        let (name, fault) = (name.to_owned(), fault.into());
        Self { name, fault }
    }
}

impl FromStr for Tuning {
    type Err = TuningError;

    fn from_str(name: &str) -> Result<Self, TuningError> {
        let error = |fault: String| TuningError::new(name, fault);
        let (schedule, numbers) = name.split_once(':').unwrap_or((name, ""));
        let mut tuning = match schedule {
            "staged" => Self::Staged(Cuts::WHOLE),
            "resident" => Self::Resident(WorkSplit::ONE),
            _ => {
                let form = "it begins with staged: or resident:, as `gpu-makemore adapters --tuning` shows them";
                return Err(error(form.to_owned()));
            }
        };
        let mut given: Vec<&str> = Vec::new();
        for part in numbers.split(',').filter(|part| !part.is_empty()) {
            let (key, text) = part
                .split_once('=')
                .ok_or_else(|| error(format!("{part} has no value; write {part}=NUMBER")))?;
            let mut fields = tuning.fields();
            let names = fields.iter().map(|(name, ..)| *name).collect::<Vec<_>>();
            let Some((known, value, _)) = fields.iter_mut().find(|(name, ..)| *name == key) else {
                let fault = format!("{schedule} has no {key}, only {}", names.join(", "));
                return Err(error(fault));
            };
            if given.contains(known) {
                return Err(error(format!("{key} is given twice")));
            }
            **value = match text.parse() {
                Ok(number @ 1..=MOST) => number,
                _ => {
                    return Err(error(format!(
                        "{key}={text} is not a number from 1 to {MOST}"
                    )));
                }
            };
            given.push(known);
        }
        let first = tuning.fields()[0].0;
        if !given.contains(&first) {
            return Err(error(format!("{first} is missing")));
        }
        let fault = match &tuning {
            Self::Staged(cuts) => cuts.fault(),
            Self::Resident(split) => split.fault(),
        };
        match fault {
            None => Ok(tuning),
            Some(fault) => Err(error(fault)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_not_usual_and_can_be_read_back() {
        let dims = Dims::LECTURE;
        let limits = Limits::default();
        for (tuning, name) in [
            (Tuning::Staged(Cuts::WHOLE), "staged:invocations=1"),
            (
                Tuning::Staged(Cuts::hardware(&dims).with_parts(true)),
                "staged:invocations=65536,adders=256,parts=16",
            ),
            (
                Tuning::Staged(Cuts {
                    lanes: 8,
                    ..Cuts::WHOLE
                }),
                "staged:invocations=1,lanes=8",
            ),
            (
                Tuning::Resident(WorkSplit::software()),
                "resident:workers=32",
            ),
            (
                Tuning::Resident(WorkSplit::hardware(&dims, &limits)),
                "resident:workers=256,slices=8,row-slices=5,row-workers=7",
            ),
            (
                Tuning::Resident(WorkSplit {
                    workers: 8,
                    lanes: 8,
                    steps: 16,
                    ..WorkSplit::ONE
                }),
                "resident:workers=8,lanes=8,steps=16",
            ),
        ] {
            assert_eq!(tuning.to_string(), name);
            assert_eq!(name.parse(), Ok(tuning));
        }
    }

    #[test]
    fn a_wrong_name_is_told_what_is_wrong_in_it() {
        for (name, fault) in [
            ("", "begins with staged: or resident:"),
            ("fast:workers=1", "begins with staged: or resident:"),
            ("resident", "workers is missing"),
            ("resident:slices=2", "workers is missing"),
            ("resident:workers", "workers=NUMBER"),
            ("resident:workers=0", "not a number from 1 to"),
            ("resident:workers=99999999999999999999", "not a number"),
            ("resident:workers=64,workers=32", "given twice"),
            (
                "resident:workers=64,adders=64",
                "has no adders, only workers, lanes",
            ),
            (
                "resident:workers=64,lanes=8",
                "lanes is 1 or as many as workers, 64",
            ),
            ("resident:workers=64,steps=5000", "steps is 4096 at most"),
            ("staged:invocations=1,adders=96", "adders is 64, 128 or 256"),
            (
                "staged:invocations=1,lanes=7",
                "lanes is 1, the size of a subgroup from 8 on, or 64",
            ),
            ("staged:invocations=1,parts=3", "parts is 1, 2, 4, 8 or 16"),
        ] {
            let error = name.parse::<Tuning>().unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
            assert!(error.contains(&format!("'{name}'")), "{error}");
        }
    }
}
