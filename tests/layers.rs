//! The modules are layers: each uses only those below it, and no files use each other in a circle.
//!
//! Read off the source: the paths in `use` items, and others that begin with `crate::` or `super::`. Unit
//! tests may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The layers from the ground up, as in the tour of src/lib.rs.
const LAYERS: [&str; 18] = [
    "clock",
    "text",
    "cores",
    "rng",
    "interpreter",
    "model",
    "data",
    "backend",
    "reference",
    "cpu",
    "gpu",
    "engine",
    "training",
    "checkpoint",
    "sample",
    "gradcheck",
    "exercises",
    "cli",
];

/// The modules by their paths, `gpu/staged`, with those that each uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_arrow_points_down() {
    let uses = uses_of_the_program();
    let layer = |module: &str| {
        let room = module.split('/').next().unwrap();
        let layer = LAYERS.iter().position(|&layer| layer == room);
        layer.unwrap_or_else(|| panic!("src/{room} is no layer: give it a place in LAYERS"))
    };
    let up = arrows(&uses).filter(|(from, to)| layer(to) > layer(from));
    let up: Vec<String> = up.map(|(from, to)| format!("{from} -> {to}")).collect();
    assert!(up.is_empty(), "these arrows run up: {up:#?}");
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let circle = circle(&uses_of_the_program());
    assert!(circle.is_empty(), "in a circle: {circle:#?}");
}

/// A check that finds no arrow would pass, too.
#[test]
fn the_arrows_are_found() {
    let uses = uses_of_the_program();
    for (from, to) in [
        ("gpu/staged", "backend"),
        ("training", "model/steps"),
        ("cli/train", "training"),
        ("cli/train", "cli/train/keeper"),
    ] {
        let found = uses[from].iter().any(|used| used.starts_with(to));
        assert!(found, "{from} -> {to}: {:#?}", uses[from]);
    }
    let arrows = |pairs: &[(&str, &[&str])]| -> Uses {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let pairs = pairs.iter();
        pairs
            .map(|(from, to)| ((*from).to_owned(), owned(to)))
            .collect()
    };
    assert!(circle(&arrows(&[("a", &["b"]), ("b", &["c"]), ("c", &[])])).is_empty());
    let of_two = circle(&arrows(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]));
    assert_eq!(of_two, ["b", "c"]);
}

fn arrows(uses: &Uses) -> impl Iterator<Item = (&String, &String)> {
    uses.iter()
        .flat_map(|(from, to)| to.iter().map(move |to| (from, to)))
}

/// Takes away what uses nothing that is left, until only circles and what leads into them are left, and then
/// what nothing that is left uses.
fn circle(uses: &Uses) -> Vec<String> {
    let mut left: BTreeSet<&String> = uses.keys().collect();
    loop {
        let used = |module: &String| {
            let mut arrows = arrows(uses);
            arrows.any(|(from, to)| to == module && left.contains(from))
        };
        let stays =
            |module: &&String| uses[*module].iter().any(|to| left.contains(to)) && used(module);
        let next: BTreeSet<&String> = left.iter().copied().filter(stays).collect();
        if next.len() == left.len() {
            return left.into_iter().cloned().collect();
        }
        left = next;
    }
}

fn uses_of_the_program() -> Uses {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    read(&root, "", &mut sources);
    let tree = Tree {
        exported: exported(&sources),
        modules: sources.keys().cloned().collect(),
    };
    let uses = |(module, source): (&String, &String)| {
        let used = paths(source).filter_map(|path| tree.resolve(module, &path));
        let used = used.filter(|used| used != module).collect();
        (module.clone(), used)
    };
    sources.iter().map(uses).collect()
}

/// The text of each module under `folder`, without comments and unit tests.
fn read(folder: &Path, path: &str, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let join = |name: &str| match path {
            "" => name.to_owned(),
            _ => format!("{path}/{name}"),
        };
        if entry.file_type().unwrap().is_dir() {
            read(&entry.path(), &join(&name), sources);
            continue;
        }
        let module = match name.strip_suffix(".rs") {
            Some("lib" | "main") if path.is_empty() => continue,
            Some("tests") | None => continue,
            Some("mod") => path.to_owned(),
            Some(name) => join(name),
        };
        let text = fs::read_to_string(entry.path()).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        sources.insert(module, lines.collect::<Vec<_>>().join("\n"));
    }
}

/// The modules, and what they export of others.
struct Tree {
    modules: BTreeSet<String>,
    /// The module behind a name that another one exports: `("gpu", "Staged")` to `gpu/staged`.
    exported: BTreeMap<(String, String), String>,
}

impl Tree {
    /// The module that a path leads to; none for other crates.
    fn resolve(&self, from: &str, path: &str) -> Option<String> {
        let mut parts = path.split("::").peekable();
        let mut at: Vec<&str> = match parts.peek()? {
            &"crate" => Vec::new(),
            _ => from.split('/').collect(),
        };
        match parts.peek()? {
            &"crate" | &"self" => {
                parts.next();
            }
            &"super" => {
                while parts.next_if_eq(&"super").is_some() {
                    at.pop();
                }
            }
            child => {
                let child = format!("{from}/{child}");
                self.modules.get(&child)?;
            }
        }
        for part in parts {
            let module = at.join("/");
            let inner = [&at[..], &[part]].concat().join("/");
            if self.modules.contains(&inner) {
                at.push(part);
            } else {
                let exported = self.exported.get(&(module.clone(), part.to_owned()));
                return Some(exported.cloned().unwrap_or(module)).filter(|m| !m.is_empty());
            }
        }
        Some(at.join("/")).filter(|module| !module.is_empty())
    }
}

/// What each module exports from its own children: no use of them.
fn exported(sources: &BTreeMap<String, String>) -> BTreeMap<(String, String), String> {
    let mut exported = BTreeMap::new();
    for (module, source) in sources {
        for path in items(source)
            .filter(|item| item.exports)
            .flat_map(|item| item.paths)
        {
            if let Some((child, name)) = path.rsplit_once("::") {
                let child = format!("{module}/{}", child.replace("::", "/"));
                if sources.contains_key(&child) {
                    exported.insert((module.clone(), name.to_owned()), child);
                }
            }
        }
    }
    exported
}

/// All paths that a source uses.
fn paths(source: &str) -> impl Iterator<Item = String> {
    let items = items(source).filter(|item| !item.exports);
    let in_items: Vec<String> = items.flat_map(|item| item.paths).collect();
    // Others, within expressions and types.
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let others = source.split(|c| !is_path(c)).filter_map(|word| {
        let word = word.trim_end_matches(':');
        let begins = word.starts_with("crate::") || word.starts_with("super::");
        begins.then(|| word.to_owned())
    });
    let others: Vec<String> = others.collect();
    in_items.into_iter().chain(others)
}

/// A `use` item.
struct Item {
    /// Whether it is a `pub use` of the module's own children.
    exports: bool,
    /// Each path of its tree.
    paths: Vec<String>,
}

fn items(source: &str) -> impl Iterator<Item = Item> {
    // Not those within functions and inner modules, which are indented.
    let starts = source.match_indices("use ").filter(|(at, _)| {
        let line = source[..*at].rsplit('\n').next().unwrap();
        line.is_empty() || (line.starts_with("pub") && line.ends_with(' '))
    });
    starts.map(|(at, _)| {
        let tree = source[at + 4..].split(';').next().unwrap();
        let tree: String = tree.split_whitespace().collect();
        let public =
            source[..at].trim_end_matches(' ').ends_with(['b', ')']) && source[..at].ends_with(' ');
        Item {
            exports: public && !tree.starts_with("crate::"),
            paths: expand(&tree),
        }
    })
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.to_owned()];
    };
    let rest = rest.strip_suffix('}').unwrap_or(rest);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in rest.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    parts.retain(|part| !part.is_empty());
    let paths = parts
        .iter()
        .flat_map(|part| expand(&format!("{prefix}{part}")));
    paths.collect()
}
