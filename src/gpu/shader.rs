//! WGSL modules, concatenated from files; a line of a module can be traced back to its file.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::tuning::Sharing;
use crate::backend::{DeviceError, ShaderError};
use crate::text::without_drawing;

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

/// A module made of several files. The order of declarations in a WGSL module does not matter.
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
    /// on purpose. `None` unless `from` occurs there exactly once, so that a test fails when a kernel has
    /// changed under it.
    pub fn replaced(&self, file: &str, from: &str, to: &str) -> Option<Source> {
        let mut source = self.clone();
        let part = source.parts.iter_mut().find(|p| p.file == file)?;
        if part.text.matches(from).count() != 1 {
            return None;
        }
        part.text = part.text.replace(from, to).into();
        Some(source)
    }

    /// The module with another text for one of its files; `None` if it has no such file.
    pub fn with_file(&self, file: &str, text: &str) -> Option<Source> {
        let mut source = self.clone();
        let part = source.parts.iter_mut().find(|p| p.file == file)?;
        // The next file begins on a line of its own.
        part.text = format!("{}\n", text.strip_suffix('\n').unwrap_or(text)).into();
        Some(source)
    }

    /// The module's text without its comments to the end of a line.
    fn code(&self) -> String {
        let text = self.text();
        let lines = text.lines().map(|line| line.split("//").next());
        lines.flat_map(|code| [code.unwrap_or(""), "\n"]).collect()
    }

    /// The binding numbers of the module's variables.
    pub fn bindings(&self) -> Bindings {
        Bindings {
            file: self.name(),
            numbers: self.code().split(';').filter_map(binding).collect(),
        }
    }

    /// Names of the constants that a pipeline of the module can set.
    pub fn overrides(&self) -> HashSet<String> {
        let code = self.code();
        let declared = code.split("override ").skip(1).filter_map(|rest| {
            let end = rest.find([':', '=', ';'])?;
            Some(rest[..end].trim().to_owned())
        });
        declared.collect()
    }

    /// A compiler's message about a place, line and column (from 1), of the text.
    pub(super) fn error(&self, (line, column): (u32, u32), message: &str) -> ShaderError {
        let (file, line) = self.locate(line);
        let part = self.parts.iter().find(|part| part.file == file);
        let excerpt = part.and_then(|part| part.text.lines().nth(line as usize - 1));
        ShaderError {
            file,
            line,
            column,
            message: without_drawing(message),
            excerpt: excerpt.unwrap_or_default().to_owned(),
        }
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

/// Name and number of the variable that `@group(0) @binding(number) var<space> name: type` declares.
fn binding(declaration: &str) -> Option<(String, u32)> {
    let (_, rest) = declaration.split_once("@binding(")?;
    let (number, rest) = rest.split_once(')')?;
    let (_, rest) = rest.split_once('>')?;
    let (name, _) = rest.split_once(':')?;
    Some((name.trim().to_owned(), number.trim().parse().ok()?))
}

/// The binding numbers of a module's variables, by the names that launches use too.
#[derive(Clone, Debug)]
pub struct Bindings {
    /// The module's file.
    file: &'static str,
    numbers: HashMap<String, u32>,
}

impl Bindings {
    /// The number of a variable that `kernel` needs.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Shader`]: the module declares no such variable, because the shader was changed.
    pub fn number(&self, name: &str, kernel: &str) -> Result<u32, DeviceError> {
        let number = self.numbers.get(name).copied();
        number.ok_or_else(|| {
            let error = ShaderError {
                file: self.file,
                line: 1,
                column: 1,
                message: format!(
                    "no binding is named '{name}', which the launch of {kernel} needs"
                ),
                excerpt: String::new(),
            };
            error.into()
        })
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

impl Module {
    /// What is wrong if a shader was changed and has a function less that is launched.
    pub(super) fn lacks_entry_point(&self) -> Option<ShaderError> {
        let code = self.source.code();
        let names = code.split("fn ").skip(1).filter_map(|rest| {
            let (name, _) = rest.split_once('(')?;
            Some(name.trim())
        });
        let there: Vec<&str> = names.collect();
        let mut entry_points = self.entry_points.iter();
        let name = entry_points.find(|name| !there.contains(name))?;
        // The file that has it in the program.
        let declares = |own: &Part| {
            let mut parts = self.source.parts.iter();
            parts.any(|part| part.file == own.file) && own.text.contains(&format!("fn {name}("))
        };
        let own = files().into_iter().find(declares);
        Some(ShaderError {
            file: own.map_or(self.source.name(), |own| own.file),
            line: 1,
            column: 1,
            message: format!("no function is named '{name}', which the program launches"),
            excerpt: String::new(),
        })
    }
}

/// The entry points of the linear layers.
const LINEAR: [&str; 3] = [
    "linear_forward_kernel",
    "linear_backward_kernel",
    "linear_tanh_backward_kernel",
];

/// The module of the linear layers in which invocations load rows for each other, through workgroup memory or by
/// subgroup operations.
pub fn shared_linear_module(subgroup: bool) -> Module {
    Module {
        source: Source::new([
            SHAPE,
            part!("linear.wgsl"),
            TANH,
            part!("staged/tiles.wgsl"),
            if subgroup {
                part!("staged/through_subgroup.wgsl")
            } else {
                part!("staged/through_workgroup.wgsl")
            },
            part!("staged/shared_linear.wgsl"),
        ]),
        entry_points: &LINEAR,
    }
}

/// The modules of the staged schedule whose products come by their rows like this.
pub fn staged_modules_of(sharing: Sharing) -> Vec<Module> {
    let mut modules = staged_modules();
    if sharing != Sharing::Alone {
        for module in modules
            .iter_mut()
            .filter(|module| module.entry_points == LINEAR)
        {
            *module = shared_linear_module(sharing == Sharing::Subgroup);
        }
    }
    modules
}

/// The modules of the staged schedule, one for each operation: its formulas and the entry points that use
/// them. Each invocation of a product loads what it needs.
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
                part!("staged/tiles.wgsl"),
                part!("staged/linear.wgsl"),
            ]),
            entry_points: &LINEAR,
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

/// The modules of the chunked pass, which include those of the staged schedule.
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

/// The files of the kernels that train and that are checked, each once: formulas first, then what uses them.
pub fn files() -> Vec<Part> {
    let modules = chunked_modules().into_iter();
    let modules = modules.chain([false, true].map(shared_linear_module));
    let modules = modules.chain([false, true].map(resident_module));
    let mut files: Vec<Part> = Vec::new();
    for part in modules.flat_map(|module| module.source.parts) {
        if files.iter().all(|known| known.file != part.file) {
            files.push(part);
        }
    }
    files.sort_by_key(|part| part.file.contains('/')); // stable
    files
}

/// The modules of the probe, one for each property that it measures.
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
    use wgpu::naga;
    use wgpu::naga::front::wgsl;
    use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

    use super::*;
    use crate::gpu::chunked::CHUNKED;
    use crate::gpu::launch::Launch;
    use crate::gpu::staged::{EVALUATE, STEP, STEP_IN_PARTS};

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
    fn a_mistake_is_told_with_its_file_line_and_column() {
        let source = resident_module(false).source;
        let files = files();
        let tanh = files.iter().find(|part| part.file == "tanh.wgsl").unwrap();
        let text = tanh.text.replace("(1.0 - h * h)", "(1.0 - g * h)");
        let broken = source.with_file("tanh.wgsl", text.trim_end()).unwrap();
        assert!(source.with_file("no.wgsl", "").is_none());
        let whole = broken.text();
        let parsed = wgsl::parse_str(&whole).unwrap_err();
        let place = parsed.location(&whole).unwrap();
        let place = (place.line_number, place.line_position);
        let error = broken.error(place, &parsed.emit_to_string(&whole));
        let line = 1 + text.lines().position(|l| l.contains("g * h")).unwrap();
        let shown = error.to_string();
        let says = "no definition in scope for identifier: `g`; unknown identifier";
        let want = format!("tanh.wgsl:{line}:19: {says}");
        let mut lines = shown.lines();
        assert_eq!(lines.next(), Some(&*want), "{shown}");
        let (excerpt, caret) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(excerpt.find("g * h"), caret.find('^'), "{shown}");
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

    fn naga_module(source: &Source) -> naga::Module {
        let text = source.text();
        wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)))
    }

    fn all_modules() -> Vec<Module> {
        let mut modules = chunked_modules();
        modules.extend(extras_modules());
        for subgroup in [false, true] {
            let ProbeModules {
                loops,
                launches,
                arithmetic,
                memory,
                counters,
            } = ProbeModules::new(subgroup);
            modules.extend([loops, launches, arithmetic, memory, counters]);
            modules.push(resident_module(subgroup));
        }
        modules
    }

    #[test]
    fn an_entry_point_that_a_shader_no_longer_has_is_named() {
        for module in all_modules() {
            assert_eq!(module.lacks_entry_point(), None, "{}", module.source.name());
        }
        let mut module = resident_module(false);
        let source =
            module
                .source
                .replaced("resident/workgroup.wgsl", "fn train_kernel(", "fn train(");
        module.source = source.unwrap();
        let error = module.lacks_entry_point().unwrap().to_string();
        let want = "resident/workgroup.wgsl:1:1: no function is named 'train_kernel', which the program launches";
        assert_eq!(error, want);
    }

    #[test]
    fn bindings_are_those_that_naga_finds() {
        for Module { source, .. } in all_modules() {
            let module = naga_module(&source);
            let variables = module.global_variables.iter();
            let want: HashMap<String, u32> = variables
                .filter_map(|(_, v)| Some((v.name.clone()?, v.binding?.binding)))
                .collect();
            assert_eq!(source.bindings().numbers, want, "{}", source.name());
        }
    }

    #[test]
    fn overrides_are_those_that_naga_finds() {
        for Module { source, .. } in all_modules() {
            let module = naga_module(&source);
            let overrides = module.overrides.iter();
            let want: HashSet<String> = overrides.filter_map(|(_, o)| o.name.clone()).collect();
            assert_eq!(source.overrides(), want, "{}", source.name());
        }
    }

    #[test]
    fn a_binding_that_a_shader_no_longer_has_is_named() {
        let source = Source::new([Part {
            file: "a.wgsl",
            text: "// @group(0) @binding(7) var<storage> x: array<u32>;\n@binding( 3 ) @group(0)\n\
                   var<storage, read_write> y : array<u32>;\n"
                .into(),
        }]);
        let bindings = source.bindings();
        assert_eq!(bindings.number("y", "f").unwrap(), 3);
        let error = bindings.number("x", "f").unwrap_err().to_string();
        let want = "a.wgsl:1:1: no binding is named 'x', which the launch of f needs";
        assert_eq!(error, want);
    }

    /// Each launch binds what its kernel uses, and nothing else.
    #[test]
    fn the_tables_bind_what_the_kernels_use() {
        let modules = chunked_modules();
        let tables: [&[Launch]; 4] = [&STEP, &STEP_IN_PARTS, &EVALUATE, &CHUNKED];
        for launch in tables.into_iter().flatten() {
            let of_launch = |m: &&Module| m.entry_points.contains(&launch.kernel);
            let module = naga_module(&modules.iter().find(of_launch).unwrap().source);
            let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
            let info = validator.validate(&module).unwrap();
            let mut entries = module.entry_points.iter();
            let entry = entries.position(|e| e.name == launch.kernel).unwrap();
            let entry = info.get_entry_point(entry);
            let bound = module.global_variables.iter();
            let bound =
                bound.filter(|(handle, v)| v.binding.is_some() && !entry[*handle].is_empty());
            let mut used: Vec<&str> = bound.filter_map(|(_, v)| v.name.as_deref()).collect();
            used.retain(|&name| name != "shape");
            let mut named: Vec<&str> = launch.binds.iter().map(|&(name, _)| name).collect();
            used.sort_unstable();
            named.sort_unstable();
            assert_eq!(named, used, "{}", launch.kernel);
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
