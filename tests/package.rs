//! What `cargo package` puts into the archive, and what `Cargo.toml` says of it.
//!
//! `.ci/package` builds and tests the archive itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};
use std::process::Command;

use serde_json::Value;

/// What stands at the top of the archive; the first ones are cargo's own.
const TOP: [&str; 14] = [
    ".cargo_vcs_info.json",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "build.rs",
    "data",
    "examples",
    "exercises",
    "shaders",
    "src",
];
/// Bytes of all files at most, before compression.
const MOST: u64 = 4 << 20;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cargo(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(args).current_dir(root()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The files of the archive.
fn packed() -> BTreeSet<String> {
    let list = cargo(&["package", "--list", "--allow-dirty", "-p", "gpu-makemore"]);
    list.lines().map(|line| line.replace('\\', "/")).collect()
}

/// The files below a folder of the repository.
fn below(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(root()).unwrap();
                files.push(path.to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    files
}

#[test]
fn the_archive_has_what_the_program_is_made_of() {
    let packed = packed();
    for folder in ["src", "shaders", "exercises", "data"] {
        let files = below(folder);
        assert!(!files.is_empty(), "{folder}");
        for file in files {
            assert!(packed.contains(&file), "{file} is not packed");
        }
    }
    for file in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "build.rs",
    ] {
        assert!(packed.contains(file), "{file} is not packed");
    }
}

#[test]
fn the_archive_has_nothing_else_and_is_small() {
    let mut bytes = 0;
    for file in packed() {
        let top = file.split('/').next().unwrap();
        assert!(
            TOP.contains(&top),
            "{file} is packed; see `include` in Cargo.toml"
        );
        // Cargo makes some of them as it packs.
        bytes += fs::metadata(root().join(&file)).map_or(0, |found| found.len());
    }
    assert!(bytes < MOST, "{bytes} bytes");
}

/// A text that is built in has to be in the archive, or it builds nowhere but here.
#[test]
fn what_the_source_includes_is_packed() {
    let packed = packed();
    let mut seen = 0;
    for source in below("src") {
        let text = fs::read_to_string(root().join(&source)).unwrap();
        let folder = Path::new(&source).parent().unwrap();
        for after in text
            .split("include_str!(")
            .chain(text.split("include_bytes!("))
        {
            // `"../../data/names.txt"`, or `concat!("../../exercises/", …)`, of which the folder counts.
            let Some((_, quoted)) = after
                .split_once('"')
                .filter(|(before, _)| before.is_empty() || *before == "concat!(")
            else {
                continue;
            };
            let path = plain(&folder.join(quoted.split('"').next().unwrap()));
            let is_it = |file: &String| *file == path || file.starts_with(&format!("{path}/"));
            assert!(
                packed.iter().any(is_it),
                "{source} includes {path}, which is not packed"
            );
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

/// A path without `..`.
fn plain(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            part => parts.push(part.as_os_str().to_str().unwrap()),
        }
    }
    parts.join("/")
}

#[test]
fn the_metadata_is_complete() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours = |package: &&Value| package["name"] == "gpu-makemore";
    let package = packages.iter().find(ours).unwrap();
    for field in [
        "description",
        "license",
        "readme",
        "repository",
        "documentation",
        "rust_version",
    ] {
        let text = package[field].as_str();
        assert!(text.is_some_and(|text| !text.is_empty()), "{field}");
    }
    for (field, most) in [("keywords", 5), ("categories", 5)] {
        let count = package[field].as_array().unwrap().len();
        assert!((1..=most).contains(&count), "{field}: {count}");
    }
    // The features are part of what a release promises; README and docs name them.
    let features: Vec<&String> = package["features"].as_object().unwrap().keys().collect();
    assert_eq!(features, ["cli", "default", "faults", "page"]);
}

/// tests/run builds the files that need a feature with it, by their `required-features`, and the others without: a
/// test that needs one in another file would never run.
#[test]
fn what_needs_a_feature_is_a_file_of_its_own() {
    // In two parts, since this file is one of those that are read.
    let [without, with] = [concat!("not(fea", "ture = "), concat!("fea", "ture = \"")];
    let files = below("tests");
    let files: Vec<_> = files.iter().filter(|file| file.ends_with(".rs")).collect();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let needs = text.replace(without, "").contains(with);
        assert!(!needs, "{file} has a test that needs a feature");
    }
}

/// No dependency of any platform asks for a newer compiler than the package promises, so that
/// `cargo +VERSION install` is not refused. `.ci/rust-version` builds with that compiler.
#[test]
fn no_dependency_needs_a_newer_compiler() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--locked", "--format-version", "1"])).unwrap();
    let version =
        |text: &str| -> Vec<u32> { text.split('.').map(|part| part.parse().unwrap()).collect() };
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let packages = metadata["packages"].as_array().unwrap();
    let mut seen = 0;
    for package in packages {
        if let Some(needed) = package["rust_version"].as_str() {
            seen += 1;
            let (name, needed) = (&package["name"], version(needed));
            assert!(
                needed <= ours || needed[..2] == ours[..2],
                "{name} needs {needed:?}"
            );
        }
    }
    assert!(seen > 50, "{seen}");
}

/// The release notes have the version that is being made, in the form that the release looks for.
#[test]
fn the_changelog_has_this_version() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let mut headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    let newest = headings.next().unwrap().split(' ').next().unwrap();
    assert_eq!(newest, env!("CARGO_PKG_VERSION"));
}
