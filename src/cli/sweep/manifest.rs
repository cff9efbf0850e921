//! `sweep.json`: what the sweep is, written before the first model is trained.
//!
//! It holds what determines the models, not how they are run: a sweep may continue with another
//! `--backend`, `--width` or `--keep`, and each result says what it was trained on.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::SweepError;
use crate::cli::error::Error;
use crate::cli::files::{FileError, write_atomic};
use crate::gpu::kernels::Changed;
use crate::model::recipe::Recipe;
use crate::text::hex;

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the program: another one may give other bits.
    pub version: String,
    /// The data, as the user named it.
    pub data: String,
    /// Whether the words were cleaned.
    pub clean: bool,
    /// A checksum of the vocabulary and of all words in their order.
    pub data_sha256: String,
    /// The kernels, if they are not the program's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shaders: Option<Changed>,
    /// Every option of the grid as text.
    pub grid: BTreeMap<String, String>,
    /// Options with a logarithmic axis.
    pub log: Vec<String>,
    /// Which part of the points this folder has: `1/1` is all.
    pub shard: String,
    /// How many points the whole sweep has.
    pub total: usize,
    /// All of them; a point's number is its place, from 0.
    pub points: Vec<Recipe>,
}

impl Manifest {
    /// The file's name.
    pub const FILE: &str = "sweep.json";

    /// Twelve digits that tell sweeps apart, for the name of a folder.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(format!(
            "{} {} {:?}",
            self.version, self.data_sha256, self.grid
        ));
        if let Some(shaders) = &self.shaders {
            digest.update(&shaders.sha256);
        }
        hex(&digest.finalize())[..12].to_owned()
    }

    /// The manifest of a folder, if it has one.
    ///
    /// # Errors
    ///
    /// It cannot be read or is no manifest.
    pub fn load(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(Self::FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(FileError::at("read", &path)(e).into()),
        };
        let damaged = |reason: String| SweepError::Damaged {
            path: path.clone(),
            reason,
        };
        let manifest: Self = serde_json::from_str(&text)
            .map_err(|e| damaged(format!("is not a sweep's manifest ({e})")))?;
        if manifest.points.len() != manifest.total {
            let count = manifest.points.len();
            let reason = format!("lists {count} points, not {}", manifest.total);
            return Err(damaged(reason).into());
        }
        Ok(Some(manifest))
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), FileError> {
        write_atomic(&folder.join(Self::FILE), |w| {
            serde_json::to_writer_pretty(&mut *w, self)?;
            w.write_all(b"\n")
        })
    }

    /// Takes the points of the sweep that is in the folder already: those come first and keep their
    /// numbers, and what is new follows.
    ///
    /// # Errors
    ///
    /// The first thing in which the two differ: a sweep can be given more points, and nothing else.
    pub fn extend(&mut self, old: &Self) -> Result<(), String> {
        // As text, since floats have no hash.
        let key = |point: &Recipe| format!("{point:?}");
        let before: HashSet<String> = old.points.iter().map(key).collect();
        let (known, new): (Vec<Recipe>, Vec<Recipe>) = self
            .points
            .drain(..)
            .partition(|point| before.contains(&key(point)));
        let all = known.len() == old.points.len();
        self.points = [old.points.clone(), new].concat();
        self.total = self.points.len();
        let grid = |manifest: &Self| match all {
            true => BTreeMap::new(), // options that only add points
            false => manifest.grid.clone(),
        };
        let [old, now] = [old, &*self].map(|manifest| Self {
            grid: grid(manifest),
            points: Vec::new(),
            total: 0,
            ..manifest.clone()
        });
        match old.difference(&now, "there", "now") {
            Some(difference) => Err(difference),
            None if all => Ok(()),
            None => Err("some of its points are not among these".to_owned()),
        }
    }

    /// The first thing, apart from the shard, in which `self` is not like `other`.
    pub fn difference(&self, other: &Self, here: &str, there: &str) -> Option<String> {
        let differ = |name: &str, a: &str, b: &str| {
            (a != b).then(|| format!("{name} is {a} {here} and {b} {there}"))
        };
        let none = "not given".to_owned();
        let text = |manifest: &Self, option| manifest.grid.get(option).unwrap_or(&none).clone();
        differ("--data", &self.data, &other.data)
            .or_else(|| {
                let [a, b] = [self.clean, other.clean].map(|clean| clean.to_string());
                differ("--clean", &a, &b)
            })
            .or_else(|| {
                let options = self.grid.keys().chain(other.grid.keys());
                options
                    .filter_map(|name| differ(name, &text(self, name), &text(other, name)))
                    .next()
            })
            .or_else(|| {
                let [a, b] = [self, other].map(|manifest| match &manifest.shaders {
                    None => "not given".to_owned(),
                    Some(Changed { files, sha256 }) => {
                        let digits = sha256.get(..12).unwrap_or(sha256);
                        format!("another {} (SHA-256 {digits})", files.join(", "))
                    }
                });
                differ("--shaders", &a, &b)
            })
            .or_else(|| differ("the program's version", &self.version, &other.version))
            .or_else(|| {
                let changed = self.data_sha256 != other.data_sha256;
                changed.then(|| format!("the words of {} have changed", self.data))
            })
            .or_else(|| {
                let [a, b] = [self, other].map(|manifest| manifest.total.to_string());
                differ("the number of points", &a, &b)
            })
            .or_else(|| {
                let pairs = self.points.iter().zip(&other.points).enumerate();
                pairs
                    .filter_map(|(i, (a, b))| {
                        let field = a.difference(b)?;
                        let name = format!("{} of point {i}", field.name);
                        let [a, b] = [a, b].map(|point| (field.get)(point).to_string());
                        differ(&name, &a, &b)
                    })
                    .next()
            })
    }
}
