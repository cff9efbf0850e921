//! `gpu-makemore gradcheck --explain TENSOR`: the derivation of one gradient, as it stands beside
//! the kernel that computes it.
//!
//! The text is written once, in the WGSL files, as blocks of lines that begin with `//:`:
//!
//! ```text
//! //: bnvar
//! //: forward:  bnvar_inv = (bnvar + 1e-5)**-0.5
//! //: The derivative of x**-0.5 is -0.5 * x**-1.5.
//! //: backward: dbnvar = (-0.5 * (bnvar + 1e-5)**-1.5) * dbnvar_inv
//! ```
//!
//! A `forward:` or `backward:` that needs several lines continues below its first word. A block about
//! several tensors has as many of each as names, in the same order, and one text for all. `exercise 2`
//! and `exercise 3` are the fused formulas. A tensor's neighbours in the graph are read off the forward
//! lines.

use std::str::FromStr;

use crate::gpu::shader::chunked_modules;
use crate::model::dims::Dims;
use crate::model::tensors::LectureTensor;

/// The blocks of the fused formulas, which are the lecture's exercises 2 and 3.
pub const SOFTMAX: &str = "exercise 2";
/// Batch norm's.
pub const BATCHNORM: &str = "exercise 3";
/// The block about where backpropagation begins.
const LOSS: &str = "loss";

/// What stands beside the kernel of one tensor's gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The tensor's name, or [`SOFTMAX`] or [`BATCHNORM`].
    pub name: String,
    /// Path of the kernel's formulas under `shaders/`.
    pub file: &'static str,
    /// The notebook's lines that use the tensor.
    pub forward: Vec<String>,
    /// The derivation.
    pub text: Vec<String>,
    /// The notebook's lines that compute its gradient.
    pub backward: Vec<String>,
}

impl Explanation {
    /// As it is printed.
    pub fn lines(&self) -> Vec<String> {
        let labelled = |label: &str, lines: &[String]| -> Vec<String> {
            let labels = std::iter::once(label).chain(std::iter::repeat(""));
            let lines = labels.zip(lines);
            lines.map(|(label, l)| format!("{label:10}{l}")).collect()
        };
        let blank = [String::new()];
        let mut lines = vec![format!("{} (shaders/{})", self.name, self.file)];
        lines.extend(self.place_in_the_graph());
        lines.extend(
            [
                &blank[..],
                &labelled("forward:", &self.forward),
                &blank,
                &self.text,
                &blank,
                &labelled("backward:", &self.backward),
            ]
            .concat(),
        );
        lines
    }

    /// Shape and neighbours of a tensor; nothing of a fused formula, which has many.
    fn place_in_the_graph(&self) -> Vec<String> {
        let shape = match self.name.parse::<LectureTensor>() {
            Ok(chunk) => format!("{} = {} in the lecture", axes(chunk), sizes(chunk)),
            Err(_) if self.name == LOSS => "one number".to_owned(),
            Err(_) => return Vec::new(),
        };
        let list = |names: Vec<String>, none: &str| {
            if names.is_empty() {
                none.to_owned()
            } else {
                names.join(", ")
            }
        };
        vec![
            String::new(),
            format!("shape:    {shape}"),
            format!(
                "from:     {}",
                list(self.sources(), "nothing: it is a parameter")
            ),
            format!("used by:  {}", list(self.users(), "nothing: it is the end")),
        ]
    }

    /// The tensors that are computed from this one: what its lines of the forward pass assign.
    fn users(&self) -> Vec<String> {
        let assigned = self
            .forward
            .iter()
            .filter_map(|line| line.split_once(" = "));
        assigned
            .map(|(name, _)| name.trim().to_owned())
            .filter(|name| *name != self.name)
            .collect()
    }

    /// The tensors that this one is computed from.
    fn sources(&self) -> Vec<String> {
        all()
            .into_iter()
            .filter(|other| !is_exercise(&other.name) && other.users().contains(&self.name))
            .map(|other| other.name)
            .collect()
    }
}

/// A tensor's shape by the names of its sizes: `(batch, hidden)`.
pub fn axes(chunk: LectureTensor) -> String {
    // Sizes that tell each other apart, products included.
    let dims = Dims {
        vocab: 2,
        block: 3,
        embd: 5,
        hidden: 7,
        batch: 11,
    };
    let name = |size: usize| match size {
        2 => "vocab",
        3 => "block",
        5 => "embd",
        7 => "hidden",
        11 => "batch",
        15 => "block * embd",
        _ => "1",
    };
    tuple(
        chunk
            .shape(&dims)
            .into_iter()
            .map(|size| name(size).to_owned()),
    )
}

/// A tensor's shape in the lecture: `(32, 200)`.
fn sizes(chunk: LectureTensor) -> String {
    tuple(
        chunk
            .shape(&Dims::LECTURE)
            .into_iter()
            .map(|size| size.to_string()),
    )
}

fn tuple(sizes: impl Iterator<Item = String>) -> String {
    format!("({})", sizes.collect::<Vec<_>>().join(", "))
}

/// `--explain TENSOR`: something that has a block.
#[derive(Clone, Debug)]
pub struct Topic(Explanation);

impl Topic {
    /// Its block.
    pub fn explanation(&self) -> &Explanation {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = String;

    /// A tensor by its name, or by that of its gradient: `logits`, `dlogits` or `d.logits`.
    fn from_str(text: &str) -> Result<Self, String> {
        let gradient = || text.strip_prefix("d.").or(text.strip_prefix('d'));
        let found = find(text).or_else(|| gradient().and_then(find));
        found
            .filter(|explanation| !is_exercise(&explanation.name))
            .map(Topic)
            .ok_or_else(|| format!("no such tensor; the tensors are {}", tensors().join(", ")))
    }
}

/// The block of a tensor or of a fused formula.
pub fn find(name: &str) -> Option<Explanation> {
    all().into_iter().find(|e| e.name == name)
}

/// The kernels of a tensor's gradient. In the line-by-line pass they follow its block, up to the next one; the
/// formulas of the linear layers and the embedding are used in the kernels of the staged schedule. Empty for a
/// name without a block.
pub fn wgsl(name: &str) -> String {
    let of_name = |line: &str| {
        let names = line.strip_prefix("//: ").unwrap_or_default();
        names.split(", ").any(|other| other == name)
    };
    let modules = chunked_modules();
    let parts = || modules.iter().flat_map(|module| module.source.parts());
    let Some(part) = parts().find(|part| part.text.lines().any(of_name)) else {
        return String::new();
    };
    let staged = format!("staged/{}", part.file);
    if let Some(staged) = parts().find(|part| part.file == staged) {
        return staged.text.trim().to_owned();
    }
    let lines = part.text.lines().skip_while(|line| !of_name(line));
    let code = lines.skip_while(|line| line.starts_with("//:"));
    let code: Vec<&str> = code.take_while(|line| !line.starts_with("//:")).collect();
    code.join("\n").trim().to_owned()
}

/// The lines of the reference that compute a tensor's gradient, under the notebook's line that they quote.
/// Empty for what has no such line.
pub fn twin(name: &str) -> String {
    const QUOTE: &str = "    // ";
    let source = include_str!("../reference/chunked.rs");
    let gradient = format!("d{name}");
    // Each gradient is computed from those before it, so the first quote that names one assigns it.
    let assigns = |line: &&str| {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        line.starts_with(QUOTE) && words.any(|word| word == gradient)
    };
    let mut code = source.lines().skip_while(|line| !assigns(line)).peekable();
    let mut found = Vec::new();
    // The quotes, of which there may be several, and what stands below them.
    while let Some(line) = code.next_if(|line| line.starts_with(QUOTE)) {
        found.push(line);
    }
    found.extend(code.take_while(|line| !line.starts_with(QUOTE) && *line != "}"));
    let lines = found
        .iter()
        .map(|line| line.strip_prefix("    ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// What there is to explain, as it is printed.
pub fn contents() -> Vec<String> {
    let mut lines = vec![
        "gpu-makemore gradcheck --explain TENSOR prints how the gradient of one of these is derived:"
            .to_owned(),
        String::new(),
    ];
    let tensors = tensors();
    lines.extend(
        tensors
            .chunks(7)
            .map(|names| format!("  {}", names.join("  "))),
    );
    lines.push(String::new());
    lines.push(
        "gpu-makemore gradcheck --explain --exercise 2: softmax and cross-entropy in one formula"
            .to_owned(),
    );
    lines.push(
        "gpu-makemore gradcheck --explain --exercise 3: batch norm in one formula".to_owned(),
    );
    lines
}

/// The names of the tensors that have a block, in the order of the backward pass.
fn tensors() -> Vec<&'static str> {
    [LOSS]
        .into_iter()
        .chain(LectureTensor::ALL.map(LectureTensor::name))
        .collect()
}

fn is_exercise(name: &str) -> bool {
    [SOFTMAX, BATCHNORM].contains(&name)
}

/// Every block of every kernel.
fn all() -> Vec<Explanation> {
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for module in chunked_modules() {
        for part in module.source.parts() {
            // Several modules share a part.
            if !seen.contains(&part.file) {
                seen.push(part.file);
                found.extend(parse(part.file, &part.text));
            }
        }
    }
    found
}

/// Which part of a block a line belongs to.
#[derive(Clone, Copy)]
enum Section {
    Forward,
    Text,
    Backward,
}

/// The blocks of one file, one entry a tensor.
fn parse(file: &'static str, source: &str) -> Vec<Explanation> {
    let mut found = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    // An empty line behind the last one ends a block that the file ends with.
    for line in source.lines().chain([""]) {
        match line.strip_prefix("//:") {
            Some(line) => block.push(line.strip_prefix(' ').unwrap_or(line)),
            None => found.extend(parse_block(file, &std::mem::take(&mut block))),
        }
    }
    found
}

fn parse_block(file: &'static str, block: &[&str]) -> Vec<Explanation> {
    let Some((names, lines)) = block.split_first() else {
        return Vec::new();
    };
    let (mut forward, mut text, mut backward) = (Vec::new(), Vec::new(), Vec::new());
    let mut section = Section::Text;
    for line in lines {
        if let Some(first) = line.strip_prefix("forward:  ") {
            section = Section::Forward;
            forward.push(vec![first.to_owned()]);
            continue;
        }
        if let Some(first) = line.strip_prefix("backward: ") {
            section = Section::Backward;
            backward.push(vec![first.to_owned()]);
            continue;
        }
        let more = match section {
            Section::Forward => forward.last_mut(),
            Section::Backward => backward.last_mut(),
            Section::Text => None,
        };
        // As wide as `forward:  `.
        match (line.strip_prefix("          "), more) {
            (Some(line), Some(formula)) => formula.push(line.to_owned()),
            _ => {
                section = Section::Text;
                text.push((*line).to_owned());
            }
        }
    }
    let names = names.split(", ");
    names
        .zip(forward.into_iter().zip(backward))
        .map(|(name, (forward, backward))| Explanation {
            name: name.to_owned(),
            file,
            forward,
            text: text.clone(),
            backward,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tensor_has_exactly_one_block() {
        let all = all();
        for name in tensors() {
            let blocks: Vec<_> = all.iter().filter(|e| e.name == name).collect();
            assert_eq!(blocks.len(), 1, "{name}");
            let Explanation {
                forward,
                text,
                backward,
                ..
            } = blocks[0];
            assert!(
                forward.iter().all(|line| line.contains(name)),
                "{name}: {forward:?}"
            );
            assert!(
                backward[0].starts_with(&format!("d{name} = ")),
                "{name}: {backward:?}"
            );
            assert!(!text.is_empty(), "{name}");
        }
        assert_eq!(all.len(), tensors().len() + 2);
    }

    #[test]
    fn each_tensor_has_its_kernel_and_its_twin() {
        for name in LectureTensor::ALL.map(LectureTensor::name) {
            let (wgsl, twin) = (wgsl(name), twin(name));
            // One kernel computes dW and db of a layer, another name for dembcat is demb.
            let gradient = match name {
                "W1" | "W2" => "dW".to_owned(),
                "b1" | "b2" => "db".to_owned(),
                "h" | "embcat" => "dx".to_owned(),
                "hpreact" => "* dh".to_owned(), // a formula, to be stored as dhpreact
                "emb" => "dembcat".to_owned(),
                name => format!("d{name}"),
            };
            assert!(
                wgsl.contains("fn ") && wgsl.contains(&gradient),
                "{name}: {wgsl}"
            );
            let first = twin.lines().next().unwrap_or_default();
            assert!(first.contains(&format!("d{name}")), "{name}: {twin}");
            assert!(twin.contains("LectureTensor::"), "{name}: {twin}");
            assert!(twin.lines().count() < 40, "{name}: {twin}");
        }
        assert!(wgsl("bnvar").contains("fn dbnvar_kernel"));
        assert!(twin("bnvar").starts_with("// dbnvar = (-0.5"));
        assert_eq!(
            (wgsl("nothing"), twin("nothing")),
            (String::new(), String::new())
        );
    }

    #[test]
    fn the_fused_formulas_have_a_block_each() {
        for (name, start) in [(SOFTMAX, "dlogits = "), (BATCHNORM, "dhprebn = ")] {
            let block = find(name).unwrap();
            assert!(block.backward[0].starts_with(start), "{:?}", block.backward);
            assert!(
                block.text.len() > 5 && !block.forward.is_empty(),
                "{block:?}"
            );
            assert_eq!(block.lines()[1], "");
            // It is reached by its exercise, and is no tensor.
            assert!(name.parse::<Topic>().is_err());
        }
    }

    #[test]
    fn a_tensor_is_found_by_its_name_and_by_its_gradients() {
        for (text, name) in [
            ("logits", "logits"),
            ("dlogits", "logits"),
            ("d.logits", "logits"),
            ("loss", "loss"),
            ("dC", "C"),
        ] {
            assert_eq!(text.parse::<Topic>().unwrap().0.name, name);
        }
        let error = "ddlogits".parse::<Topic>().unwrap_err();
        assert!(error.contains("loss, logprobs, probs,"), "{error}");
    }

    #[test]
    fn shapes_and_neighbours_are_those_of_the_notebook() {
        for (name, shape, sources, users) in [
            (
                "bndiff",
                "(batch, hidden) = (32, 200)",
                "hprebn, bnmeani",
                "bndiff2, bnraw",
            ),
            (
                "counts",
                "(batch, vocab) = (32, 27)",
                "norm_logits",
                "probs, counts_sum",
            ),
            (
                "embcat",
                "(batch, block * embd) = (32, 30)",
                "emb",
                "hprebn",
            ),
            ("emb", "(batch, block, embd) = (32, 3, 10)", "C", "embcat"),
            (
                "W1",
                "(block * embd, hidden) = (30, 200)",
                "nothing: it is a parameter",
                "hprebn",
            ),
            ("loss", "one number", "logprobs", "nothing: it is the end"),
        ] {
            let lines = find(name).unwrap().lines();
            assert!(
                lines[2].starts_with(&format!("shape:    {shape}")),
                "{}",
                lines[2]
            );
            let mut found: Vec<_> = lines[3][10..].split(", ").collect();
            let mut wanted: Vec<_> = sources.split(", ").collect();
            found.sort_unstable();
            wanted.sort_unstable();
            assert_eq!((&lines[3][..10], found), ("from:     ", wanted), "{name}");
            assert_eq!(lines[4], format!("used by:  {users}"), "{name}");
        }
    }

    #[test]
    fn every_line_fits_a_terminal() {
        for line in all().iter().flat_map(Explanation::lines).chain(contents()) {
            assert!(line.len() <= 100, "{} characters: {line}", line.len());
        }
    }

    #[test]
    fn a_block_about_two_tensors_is_one_text_for_both() {
        let source = "fn f() {}\n//: a, b\n//: forward:  y = a + b\n//: forward:  z = a\n\
                      //:           z += b\n//: Why.\n//:   dx = 1\n//: backward: da = dy\n\
                      //: backward: db = dz\n//:           db += 1\n";
        let [a, b] = parse("f.wgsl", source).try_into().unwrap();
        assert_eq!((a.name.as_str(), b.name.as_str()), ("a", "b"));
        assert_eq!(a.forward, ["y = a + b"]);
        assert_eq!(b.forward, ["z = a", "z += b"]);
        assert_eq!(a.text, ["Why.", "  dx = 1"]);
        assert_eq!(a.text, b.text);
        assert_eq!(a.backward, ["da = dy"]);
        assert_eq!(
            b.lines(),
            [
                "b (shaders/f.wgsl)",
                "",
                "forward:  z = a",
                "          z += b",
                "",
                "Why.",
                "  dx = 1",
                "",
                "backward: db = dz",
                "          db += 1",
            ]
        );
    }
}
