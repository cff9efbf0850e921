//! The files of the page, in the program.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::text::hex;

/// Addresses and contents, as build.rs found them in web/dist.
#[cfg(feature = "page")]
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));
/// What the tests of a program without the page have in its place.
#[cfg(not(feature = "page"))]
static FILES: &[(&str, &[u8])] = &[("index.html", b"<html></html>")];

/// A file that can be asked for.
pub(super) struct File {
    pub(super) bytes: &'static [u8],
    pub(super) content_type: &'static str,
    /// Its checksum, by which a browser knows whether the file that it kept is this one.
    pub(super) etag: String,
}

/// The files by their addresses, `/` among them. An address that is not in here has no file, whatever it says.
pub(super) struct Files(BTreeMap<String, File>);

impl Files {
    /// Those that were built in.
    pub(super) fn built_in() -> Self {
        Self::of(FILES)
    }

    fn of(files: &[(&'static str, &'static [u8])]) -> Self {
        let file = |&(name, bytes): &(&'static str, &'static [u8])| {
            let address = match name {
                "index.html" => "/".to_owned(),
                name => format!("/{name}"),
            };
            let file = File {
                bytes,
                content_type: content_type(name),
                etag: format!("\"{}\"", &hex(&Sha256::digest(bytes))[..32]),
            };
            (address, file)
        };
        Self(files.iter().map(file).collect())
    }

    /// The file with this address.
    pub(super) fn get(&self, path: &str) -> Option<&File> {
        self.0.get(if path == "/index.html" { "/" } else { path })
    }
}

/// What a browser takes a file for. It compiles WebAssembly as it arrives only under its own type, and runs no
/// module under a wrong one.
fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_addresses_types_and_checksums_of_their_own() {
        let files = Files::of(&[
            ("index.html", b"page"),
            ("engine.wasm", b"\0asm"),
            ("views/step.js", b"step"),
        ]);
        for (path, bytes, content_type) in [
            ("/", &b"page"[..], "text/html; charset=utf-8"),
            ("/index.html", b"page", "text/html; charset=utf-8"),
            ("/engine.wasm", b"\0asm", "application/wasm"),
            ("/views/step.js", b"step", "text/javascript; charset=utf-8"),
        ] {
            let file = files.get(path).unwrap();
            assert_eq!((file.bytes, file.content_type), (bytes, content_type));
        }
        let etag = |path| &files.get(path).unwrap().etag;
        assert_ne!(etag("/"), etag("/engine.wasm"));
        assert_eq!(etag("/").len(), 34);
        for path in [
            "",
            "index.html",
            "/views",
            "/views/",
            "/../Cargo.toml",
            "//index.html",
        ] {
            assert!(files.get(path).is_none(), "{path}");
        }
    }
}
