//! What the compiler does not tell the program about its own build, and the page where the program has it.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if has("CLI") {
        version();
    }
    if has("PAGE") {
        page();
    }
}

/// For `gpu-makemore --version`: the target, and the version of wgpu.
fn version() {
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=GPU_MAKEMORE_TARGET={target}");
    // No crate tells its version to those that use it. The lock file does, which every package has; a build that
    // is told to ignore it (`cargo install` without --locked) may have a newer patch of wgpu.
    let lock = root().join("Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let lock = fs::read_to_string(lock).unwrap_or_default();
    let after = lock.split("name = \"wgpu\"\nversion = \"").nth(1);
    let version = after.and_then(|after| after.split('"').next());
    let version = version.unwrap_or("of an unknown version");
    println!("cargo::rustc-env=GPU_MAKEMORE_WGPU={version}");
}

/// The files of the page, as a table for src/cli/page: `&[("main.js", include_bytes!("…/main.js")), …]`.
fn page() {
    println!("cargo::rerun-if-env-changed=GPU_MAKEMORE_PAGE");
    let given = env::var_os("GPU_MAKEMORE_PAGE").map(PathBuf::from);
    let folder = root().join(given.unwrap_or_else(|| Path::new("web").join("dist")));
    println!("cargo::rerun-if-changed={}", folder.display());
    if !folder.join("index.html").is_file() {
        println!(
            "cargo::error=the feature `page` builds the page in, and {} has no index.html: run web/build first, in \
             a clone of the repository, or name a folder that has the page in GPU_MAKEMORE_PAGE",
            folder.display()
        );
        exit(1);
    }
    let mut files = Vec::new();
    list(&folder, "", &mut files);
    files.sort();
    let mut table = String::from("&[\n");
    for name in files {
        let path = folder.join(&name);
        println!("cargo::rerun-if-changed={}", path.display());
        let _ = writeln!(table, "    ({name:?}, include_bytes!({path:?})),");
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("page.rs"), table).expect("OUT_DIR can be written");
}

/// The files below a folder, by their addresses: `views/step.js`.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    let entries = fs::read_dir(folder).expect("the folder of the page can be read");
    for entry in entries.map(|entry| entry.expect("the folder of the page can be read")) {
        let name = entry
            .file_name()
            .into_string()
            .expect("a file name of the page is text");
        let name = format!("{prefix}{name}");
        match entry.path().is_dir() {
            true => list(&entry.path(), &format!("{name}/"), files),
            false => files.push(name),
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"))
}
