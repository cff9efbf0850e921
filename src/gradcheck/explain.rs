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
//! A `forward:` or `backward:` that needs several lines goes on below its first word. A block about
//! several tensors has as many of each as names, in the same order, and one text for all.

use crate::chunks::Chunk;
use crate::gpu::shader::chunked_modules;

/// What stands beside the kernel of one tensor's gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The tensor's name.
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
        [
            &[format!("{} (shaders/{})", self.name, self.file)],
            &blank,
            labelled("forward:", &self.forward).as_slice(),
            &blank,
            &self.text,
            &blank,
            &labelled("backward:", &self.backward),
        ]
        .concat()
    }
}

/// The block of one tensor. There is one for each of the 26; a test sees to it.
pub fn explain(chunk: Chunk) -> Option<Explanation> {
    all().into_iter().find(|e| e.name == chunk.name())
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
    fn each_of_the_26_tensors_has_exactly_one_block() {
        let all = all();
        for chunk in Chunk::ALL {
            let name = chunk.name();
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
        assert_eq!(all.len(), Chunk::ALL.len());
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
