//! WGSL from its parts: plain concatenation, with the way back from a line of the whole to its file.

use std::borrow::Cow;

/// A file under `shaders/`.
#[derive(Clone, Debug)]
pub struct Part {
    /// Path under `shaders/`.
    pub file: &'static str,
    /// Its text.
    pub text: Cow<'static, str>,
}

macro_rules! part {
    ($file:literal) => {
        Part {
            file: $file,
            text: Cow::Borrowed(include_str!(concat!("../../shaders/", $file))),
        }
    };
}

/// Several parts as one module. The order of declarations in a WGSL module has no meaning.
#[derive(Clone, Debug)]
pub struct Source {
    parts: Vec<Part>,
}

impl Source {
    /// A module of the given parts; the last one names it.
    pub fn new(parts: impl Into<Vec<Part>>) -> Self {
        Self {
            parts: parts.into(),
        }
    }

    /// Name of the module: its last part's file.
    pub fn name(&self) -> &'static str {
        self.parts.last().map_or("empty", |p| p.file)
    }

    /// Its parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The module's text.
    pub fn text(&self) -> String {
        self.parts.iter().map(|p| p.text.as_ref()).collect()
    }

    /// The module with `from` replaced by `to` in one of its files, for tests that break a kernel
    /// on purpose. `None` if `from` does not stand there exactly once: whoever edits a kernel is
    /// told that a test has lost its grip on it.
    pub fn replaced(&self, file: &str, from: &str, to: &str) -> Option<Source> {
        let mut source = self.clone();
        let part = source.parts.iter_mut().find(|p| p.file == file)?;
        if part.text.matches(from).count() != 1 {
            return None;
        }
        part.text = part.text.replace(from, to).into();
        Some(source)
    }

    /// File and line (from 1) of a line (from 1) of the text.
    pub fn locate(&self, line: u32) -> (&'static str, u32) {
        let mut first = 1;
        for part in &self.parts {
            let lines = part.text.lines().count() as u32;
            if line < first + lines {
                return (part.file, line - first + 1);
            }
            first += lines;
        }
        (self.name(), line)
    }
}

const SHAPE: Part = part!("shape.wgsl");
const TANH: Part = part!("tanh.wgsl");
const TARGETS: Part = part!("staged/targets.wgsl");

/// A module with the entry points that are taken from it.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its text.
    pub source: Source,
    /// Names of its entry points.
    pub entry_points: &'static [&'static str],
}

/// The modules of the staged schedule, one an operation: its formulas and the launches that use
/// them.
pub fn staged_modules() -> Vec<Module> {
    vec![
        Module {
            source: Source::new([
                SHAPE,
                part!("embedding.wgsl"),
                TARGETS,
                part!("staged/embedding.wgsl"),
            ]),
            entry_points: &["embedding_forward_kernel", "embedding_backward_kernel"],
        },
        Module {
            source: Source::new([
                SHAPE,
                part!("linear.wgsl"),
                TANH,
                part!("staged/linear.wgsl"),
            ]),
            entry_points: &[
                "linear_forward_kernel",
                "linear_backward_kernel",
                "linear_tanh_backward_kernel",
            ],
        },
        Module {
            source: Source::new([SHAPE, part!("staged/parts.wgsl")]),
            entry_points: &[
                "linear_forward_sum_kernel",
                "linear_backward_input_sum_kernel",
                "linear_backward_weight_sum_kernel",
            ],
        },
        Module {
            source: Source::new([
                SHAPE,
                part!("batchnorm.wgsl"),
                TANH,
                part!("staged/batchnorm.wgsl"),
            ]),
            entry_points: &[
                "batchnorm_tanh_forward_kernel",
                "batchnorm_tanh_inference_kernel",
                "batchnorm_backward_kernel",
            ],
        },
        Module {
            source: Source::new([
                SHAPE,
                part!("softmax_cross_entropy.wgsl"),
                TARGETS,
                part!("staged/softmax_cross_entropy.wgsl"),
            ]),
            entry_points: &["softmax_cross_entropy_kernel"],
        },
        Module {
            source: Source::new([SHAPE, part!("sgd.wgsl"), part!("staged/sgd.wgsl")]),
            entry_points: &["sgd_kernel"],
        },
    ]
}

/// The modules of the chunked pass, beside those of the staged schedule, which it uses too.
pub fn chunked_modules() -> Vec<Module> {
    let mut modules = staged_modules();
    modules.extend([
        Module {
            source: Source::new([SHAPE, TANH, part!("chunked/tanh.wgsl")]),
            entry_points: &["tanh_forward_kernel", "tanh_backward_kernel"],
        },
        Module {
            source: Source::new([
                SHAPE,
                part!("batchnorm.wgsl"),
                part!("chunked/batchnorm.wgsl"),
            ]),
            entry_points: &[
                "bnmeani_kernel",
                "bndiff_kernel",
                "bndiff2_kernel",
                "bnvar_kernel",
                "bnvar_inv_kernel",
                "bnraw_kernel",
                "hpreact_kernel",
                "dbngain_kernel",
                "dbnbias_kernel",
                "dbnraw_kernel",
                "dbnvar_inv_kernel",
                "dbnvar_kernel",
                "dbndiff2_kernel",
                "dbndiff_kernel",
                "dbnmeani_kernel",
                "dhprebn_kernel",
            ],
        },
        Module {
            source: Source::new([
                SHAPE,
                part!("softmax_cross_entropy.wgsl"),
                part!("chunked/softmax_cross_entropy.wgsl"),
            ]),
            entry_points: &[
                "logit_maxes_kernel",
                "norm_logits_kernel",
                "counts_kernel",
                "counts_sum_kernel",
                "counts_sum_inv_kernel",
                "probs_kernel",
                "logprobs_kernel",
                "dlogprobs_kernel",
                "dprobs_kernel",
                "dcounts_sum_inv_kernel",
                "dcounts_sum_kernel",
                "dcounts_kernel",
                "dnorm_logits_kernel",
                "dlogit_maxes_kernel",
                "dlogits_kernel",
            ],
        },
    ]);
    modules
}

/// The module of the resident schedule: the formulas of all operations and one kernel, for a
/// workgroup or for a subgroup.
pub fn resident_module(subgroup: bool) -> Module {
    let invocations = if subgroup {
        part!("resident/subgroup.wgsl")
    } else {
        part!("resident/workgroup.wgsl")
    };
    Module {
        source: Source::new([
            invocations,
            part!("embedding.wgsl"),
            part!("linear.wgsl"),
            part!("batchnorm.wgsl"),
            part!("tanh.wgsl"),
            part!("softmax_cross_entropy.wgsl"),
            part!("sgd.wgsl"),
            part!("resident/train.wgsl"),
        ]),
        entry_points: &["train_kernel"],
    }
}

/// The modules that find out what a driver really does: one for each question.
#[derive(Clone, Debug)]
pub struct ProbeModules {
    /// How long a loop may run.
    pub loops: Module,
    /// Whether a launch sees what the one before it wrote.
    pub launches: Module,
    /// Values at the edges.
    pub arithmetic: Module,
    /// Workgroup memory.
    pub memory: Module,
    /// Barriers and counters of the resident kernel.
    pub counters: Module,
}

impl ProbeModules {
    /// The modules, with the counters of a workgroup or of a subgroup.
    pub fn new(subgroup: bool) -> Self {
        let invocations = if subgroup {
            part!("probe/subgroup.wgsl")
        } else {
            part!("probe/workgroup.wgsl")
        };
        let module = |source: Source, entry_points| Module {
            source,
            entry_points,
        };
        Self {
            loops: module(
                Source::new([part!("probe/loops.wgsl")]),
                &["loop_rounds_kernel"],
            ),
            launches: module(
                Source::new([part!("probe/launches.wgsl")]),
                &["launches_kernel"],
            ),
            arithmetic: module(
                Source::new([TANH, part!("sgd.wgsl"), part!("probe/arithmetic.wgsl")]),
                &["arithmetic_kernel"],
            ),
            memory: module(
                Source::new([part!("probe/memory.wgsl")]),
                &["workgroup_memory_kernel"],
            ),
            counters: module(
                Source::new([invocations, part!("probe/counters.wgsl")]),
                &["counters_kernel"],
            ),
        }
    }
}

/// The modules of `gradcheck --exercise extras`.
pub fn extras_modules() -> Vec<Module> {
    vec![
        Module {
            source: Source::new([SHAPE, part!("extras/onehot_linear.wgsl")]),
            entry_points: &[
                "onehot_linear_forward_kernel",
                "onehot_linear_backward_weight_kernel",
                "onehot_linear_backward_input_kernel",
            ],
        },
        Module {
            source: Source::new([SHAPE, part!("extras/repeat_kv.wgsl")]),
            entry_points: &["repeat_kv_forward_kernel", "repeat_kv_backward_kernel"],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_whole_is_found_in_its_file() {
        let source = Source::new([
            Part {
                file: "a.wgsl",
                text: "1\n2\n3\n".into(),
            },
            Part {
                file: "b.wgsl",
                text: "1\n2\n".into(),
            },
        ]);
        assert_eq!(source.locate(1), ("a.wgsl", 1));
        assert_eq!(source.locate(3), ("a.wgsl", 3));
        assert_eq!(source.locate(4), ("b.wgsl", 1));
        assert_eq!(source.locate(5), ("b.wgsl", 2));
    }

    #[test]
    fn a_replacement_finds_its_text_exactly_once() {
        let source = Source::new([Part {
            file: "a.wgsl",
            text: "x + y; y + x; z\n".into(),
        }]);
        let replaced = source.replaced("a.wgsl", "x + y", "x - y");
        assert_eq!(
            replaced.map(|s| s.text()).as_deref(),
            Some("x - y; y + x; z\n")
        );
        for (file, from) in [("b.wgsl", "z"), ("a.wgsl", "w"), ("a.wgsl", "y")] {
            assert!(
                source.replaced(file, from, "").is_none(),
                "{from:?} in {file}"
            );
        }
    }

    #[test]
    fn every_part_ends_its_last_line() {
        for Module { source, .. } in chunked_modules().into_iter().chain(extras_modules()) {
            assert!(
                source.parts.iter().all(|p| p.text.ends_with('\n')),
                "{}",
                source.name()
            );
        }
    }
}
