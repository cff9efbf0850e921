//! `gpu-makemore show`: what a model is, in lines and in pictures.

mod activations;
mod facts;
mod model;
mod pictures;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::args::ShowArgs;
use crate::cli::error::Error;
use crate::cli::files::FileError;
use crate::cli::report::Output;
use crate::model::plane::Plane;
use activations::Activations;
use facts::{Facts, LeftOut};
use model::Shown;

const EMBEDDINGS: &str = "embeddings.png";
const HISTOGRAM: &str = "tanh-histogram.png";
const SATURATION: &str = "tanh-saturation.png";
const RATIOS: &str = "ratios.png";

/// Says what a model is, and draws it.
pub async fn run(args: &ShowArgs) -> Result<(), Error> {
    let shown = Shown::load(args).await?;
    let activations = match (&shown.words, &shown.stats) {
        (Ok(words), Some(stats)) => {
            let activations = Activations::of(shown.dims, &shown.params, stats, &words.train);
            let found = activations.facts();
            Some((activations, found))
        }
        _ => None,
    };
    let plane = Plane::of(&shown.params.c, shown.dims.embd);
    let found = activations.as_ref().map(|(_, found)| *found);
    let mut facts = Facts::of(&shown, plane.axes, found);
    let place = Place::of(args, &shown)?;
    let mut draw = |name: &str, picture: &dyn Fn(&Path) -> Result<(), _>| -> Result<(), Error> {
        let path = place.file(name);
        picture(&path)?;
        facts.pictures.push(path.display().to_string());
        Ok(())
    };
    let (labels, what) = match &shown.vocabulary {
        Some(vocabulary) => (pictures::labels(vocabulary.chars()), "characters"),
        None => (
            (0..shown.dims.vocab).map(|row| row.to_string()).collect(),
            "rows of C",
        ),
    };
    let what = format!("{} {what}", labels.len());
    draw(EMBEDDINGS, &|path| {
        pictures::embeddings(path, &plane, &labels, &what)
    })?;
    if let Some((activations, found)) = &activations {
        draw(HISTOGRAM, &|path| {
            pictures::histogram(path, activations, found)
        })?;
        draw(SATURATION, &|path| pictures::saturation(path, activations))?;
    }
    if !shown.ratios.is_empty() {
        draw(RATIOS, &|path| pictures::ratios(path, &shown.ratios))?;
    }
    if let Err(why) = &shown.words {
        facts.left_out.push(LeftOut {
            pictures: &[HISTOGRAM, SATURATION],
            why: why.clone(),
        });
    }
    if shown.ratios.is_empty() {
        let why = match shown.run {
            Some(_) => "the run has no record of them; `train --ratios-every N` makes one",
            None => "their record is in the folder of a run; `train --ratios-every N` makes one",
        };
        facts.left_out.push(LeftOut {
            pictures: &[RATIOS],
            why: why.to_owned(),
        });
    }
    let mut out = Output::new();
    if args.json {
        out.json(&facts)?;
    } else {
        for line in facts.lines() {
            out.line(&line)?;
        }
    }
    Ok(())
}

/// Where the pictures go: into `--out`, or beside the model. There, those of a single file have its name in
/// front, so that two models do not share their pictures, and no other picture is lost.
struct Place {
    folder: PathBuf,
    prefix: String,
}

impl Place {
    fn of(args: &ShowArgs, shown: &Shown) -> Result<Self, FileError> {
        if let Some(out) = &args.out {
            fs::create_dir_all(out).map_err(FileError::at("create the folder", out))?;
        }
        let beside = || match shown.file.parent() {
            Some(folder) => folder.to_path_buf(),
            None => PathBuf::new(),
        };
        let stem = shown.file.file_stem().unwrap_or_default();
        Ok(Self {
            folder: args.out.clone().unwrap_or_else(beside),
            prefix: match args.out.is_some() || args.path.is_dir() {
                true => String::new(),
                false => format!("{}-", stem.to_string_lossy()),
            },
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}{name}", self.prefix))
    }
}
