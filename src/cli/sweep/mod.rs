//! `gpu-makemore sweep`: many models by one command.
//!
//! ```text
//! options ── values, points   what is tried: a numbered list of points
//!         ── manifest         sweep.json says what the sweep is, before anything is trained
//!         ── work             trains: a model per core, or many in a dispatch
//!         ── results          results.jsonl gets a line when a model ends
//!         ── report, plot     the results, from one folder or from many
//! ```
//!
//! Machines do not talk to each other: each trains its own share of the points (`--shard`), and the report
//! reads all folders.

pub mod error;
pub mod manifest;
mod numbers;
pub mod plot;
pub mod points;
pub mod report;
pub mod results;
pub mod values;
pub mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::iter::once;
use std::path::{Path, PathBuf};

use crate::backend::Schedule;
use crate::checkpoint::Checkpoint;
use crate::cli::args::{SweepArgs, SweepCommand};
use crate::cli::data;
use crate::cli::device::Device;
use crate::cli::error::Error;
use crate::cli::files::{FileError, remove_leftovers};
use crate::cli::interrupt::Interrupt;
use crate::cli::model_file;
use crate::cli::report::{Progress, RunDir};
use crate::cli::shaders::Shaders;
use crate::data::Dataset;
use crate::engine::How;
use crate::engine::tune::Tune;
use crate::gpu::adapter::Choice;
use crate::model::recipe::{FIELDS, Field, Recipe, tenth};
pub use error::SweepError;
use manifest::Manifest;
use numbers::loss;
use points::Grid;
use results::{Record, Results, Status};
use values::Shard;
use work::{End, Event, Finished, Job};

/// Folder of the models that are kept, in the sweep's.
const MODELS: &str = "models";

/// Runs the command.
pub async fn run(args: &SweepArgs) -> Result<(), Error> {
    if let Some(SweepCommand::Report(args)) = &args.command {
        return report::run(args);
    }
    let grid = Grid::new(args)?;
    let points = grid.points()?;
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let device = Device::choose(&args.device).await?;
    if let Some(option) = args.tuning.given() {
        device.needs_gpu(&option)?;
    }
    if args.schedule != Schedule::Auto {
        device.needs_gpu(&format!("--schedule {}", args.schedule))?;
    }
    let shaders = device.shaders(args.shaders.as_deref())?;
    let datasets = load(args, &points)?;
    let Some(dataset) = datasets.values().next() else {
        return Err(SweepError::EmptyGrid.into());
    };
    let manifest = Manifest {
        version: crate::VERSION.to_owned(),
        data: dataset.label.clone(),
        clean: dataset.notes.cleaned,
        data_sha256: dataset.sha256(),
        shaders: shaders.kernels().record(),
        grid: grid.texts(),
        log: grid.log(),
        shard: shard.to_string(),
        total: points.len(),
        points,
    };
    let how = How {
        schedule: args.schedule,
        kernels: shaders.kernels().clone(),
        tune: Tune::Fixed,
    };
    if let (Choice::Gpu { found, .. }, true) = (device.choice(), how.kernels.are_changed()) {
        // Before there is a folder, for the first of the sizes.
        let recipe = &manifest.points[0];
        let dims = recipe.dims(dataset.vocab.len())?;
        let tried = work::try_out(found, dims, recipe.seed, how.clone()).await;
        tried.map_err(|error| shaders.explain(error))?;
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| default_out(&manifest, shard));
    let mut sweep = Sweep::open(&out, manifest, args.keep as usize)?;
    let todo: Vec<usize> = (0..sweep.manifest.total)
        .filter(|&point| shard.has(point) && !sweep.ended.contains(&point))
        .collect();
    let steps = todo.iter().map(|&point| sweep.manifest.points[point].steps);
    let steps = steps.fold(0, u64::saturating_add);
    let interrupt = Interrupt::listen()?;
    let mut progress = Progress::of_sweep(todo.len(), steps, sweep.best());
    for line in set_up(&sweep, &device, dataset, &grid, shard, todo.len(), &shaders) {
        progress.line(&line)?;
    }

    let points = sweep.manifest.points.clone();
    let mut jobs = Vec::new();
    for &point in &todo {
        let recipe = points[point].clone();
        let dataset = &datasets[&recipe.block_size];
        jobs.push(Job {
            point,
            dims: recipe.dims(dataset.vocab.len())?,
            recipe,
            dataset,
        });
    }
    let width = args.width.map(|width| width as usize);
    let count = jobs.len();
    let own = (0..sweep.manifest.total).filter(|&point| shard.has(point));
    let own = own.count();
    let mut sink = |event| -> Result<(), Error> {
        match event {
            Event::Steps(steps) => progress.steps(steps),
            Event::Note(text) => progress.line(&text)?,
            Event::Ended(finished) => {
                let record = sweep.add(*finished)?;
                let ended = progress.ended(sweep.best());
                progress.line(&sweep.line(&record, ended, count))?;
            }
        }
        let ended = sweep.ended.len();
        match interrupt.exit_code() {
            Some(exit_code) if ended < own => Err(SweepError::Interrupted {
                ended,
                total: own,
                command: command(&args.words),
                exit_code,
            }
            .into()),
            _ => Ok(()),
        }
    };
    let worked = match device.choice() {
        Choice::Cpu { .. } => work::on_cpu(&jobs, width, &mut sink),
        Choice::Gpu { found, .. } => {
            let mut worked = Ok(());
            for jobs in by_size(jobs) {
                worked = work::on_gpu(&jobs, found, &how, &args.tuning, width, &mut sink).await;
                if worked.is_err() {
                    break;
                }
            }
            worked
        }
    };
    progress.finish();
    worked.map_err(|error| shaders.explain(error))?;
    for line in sweep.summary() {
        progress.line(&line)?;
    }
    Ok(())
}

/// The data for each context length of the points.
fn load(args: &SweepArgs, points: &[Recipe]) -> Result<BTreeMap<u64, Dataset>, Error> {
    let blocks: BTreeSet<u64> = points.iter().map(|point| point.block_size).collect();
    let mut datasets = BTreeMap::new();
    for block in blocks {
        let dataset = data::load(&data::Options {
            source: args.data.clone(),
            reading: args.reading.clone().into(),
            block: block as usize,
        })?;
        datasets.insert(block, dataset);
    }
    Ok(datasets)
}

/// The same folder for the same command, so that it continues its own sweep.
fn default_out(manifest: &Manifest, shard: Shard) -> PathBuf {
    let mut name = format!("sweep-{}", manifest.fingerprint());
    if shard != Shard::WHOLE {
        name = format!("{name}-{}-of-{}", shard.index, shard.of);
    }
    Path::new("runs").join(name)
}

/// Jobs that can share a dispatch: of one size, with the same number of steps.
fn by_size(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut groups: Vec<Vec<Job>> = Vec::new();
    for job in jobs {
        let fits = |group: &&mut Vec<Job>| {
            let first = &group[0];
            first.dims == job.dims && first.recipe.steps == job.recipe.steps
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

/// The command with these arguments, for a shell.
fn command(words: &[OsString]) -> String {
    let words = words.iter().map(|word| quoted(word));
    let words: Vec<String> = once("gpu-makemore".to_owned()).chain(words).collect();
    words.join(" ")
}

/// A word as a shell has to be given it.
fn quoted(word: &OsStr) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=.,:/@%".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Some(text) if !text.contains(char::is_control) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        // What no line can show: bash, zsh and ksh read it like this.
        _ => format!("$'{}'", word.as_encoded_bytes().escape_ascii()),
    }
}

/// The names and values of the options that differ between points: `lr 0.1 seed 3`.
fn named(point: &Recipe, swept: &[&Field]) -> String {
    let parts: Vec<String> = swept
        .iter()
        .map(|field| format!("{} {}", field.name, (field.get)(point)))
        .collect();
    parts.join("  ")
}

/// The options that have several values among the points; without those that follow another one at every
/// point, and so say nothing of their own.
pub fn swept(points: &[Recipe]) -> Vec<&'static Field> {
    let follows = |field: &Field| match field.name {
        "lr_final" => points.iter().all(|point| point.lr_final == tenth(point.lr)),
        "lr_decay_at" => true, // is given for all models, or is half of their steps
        _ => false,
    };
    let differs = |field: &Field| {
        let value = |point: &Recipe| (field.get)(point);
        points.iter().any(|point| value(point) != value(&points[0]))
    };
    FIELDS
        .iter()
        .filter(|field| !follows(field) && differs(field))
        .collect()
}

/// A sweep's folder while it runs.
struct Sweep {
    folder: RunDir,
    manifest: Manifest,
    /// The options that differ between its points: found once, since there may be 100,000 points.
    swept: Vec<&'static Field>,
    results: Results,
    /// Points that have ended, now or before.
    ended: BTreeSet<usize>,
    /// How many of them diverged.
    diverged: usize,
    /// Validation losses of the best models and their points, the best first; `keep` at most.
    kept: Vec<(f64, usize)>,
    /// The best of all, whether it is kept or not.
    best: Option<(f64, usize)>,
    keep: usize,
    /// Whether an incomplete last line was removed from the results.
    torn: bool,
    /// Points found in the results.
    before: usize,
}

impl Sweep {
    /// Creates the folder, or continues the sweep in it, with more points if there are more now.
    fn open(out: &Path, mut manifest: Manifest, keep: usize) -> Result<Self, Error> {
        let folder = RunDir::create(Some(out))?;
        match Manifest::load(out)? {
            None => {}
            Some(old) => {
                let other = |difference| SweepError::OtherSweep {
                    path: out.to_path_buf(),
                    difference,
                };
                manifest.extend(&old).map_err(other)?;
                if old.shard != manifest.shard {
                    let (old, new) = (&old.shard, &manifest.shard);
                    return Err(other(format!("--shard is {old} there and {new} now")).into());
                }
            }
        }
        // Its lock comes first: another process may be at work on fewer points.
        let (results, found) = Results::open(out, &manifest)?;
        manifest.save(out)?;
        // No other process writes here now, so temporary files are what a killed one left.
        for folder in [out.to_path_buf(), out.join(MODELS)] {
            if folder.is_dir() {
                remove_leftovers(&folder)?;
            }
        }
        let mut sweep = Self {
            folder,
            swept: swept(&manifest.points),
            manifest,
            results,
            ended: BTreeSet::new(),
            diverged: 0,
            kept: Vec::new(),
            best: None,
            keep,
            torn: found.torn,
            before: found.records.len(),
        };
        for record in &found.records {
            sweep.count(record);
        }
        sweep.remove_others()?;
        Ok(sweep)
    }

    fn model(&self, point: usize) -> PathBuf {
        let name = format!("{point}.safetensors");
        self.folder.file(MODELS).join(name)
    }

    fn best(&self) -> Option<f64> {
        self.best.map(|(loss, _)| loss)
    }

    /// Counts a result. Returns the point whose model is no longer among the best.
    fn count(&mut self, record: &Record) -> Option<usize> {
        self.ended.insert(record.point);
        self.diverged += usize::from(record.status == Status::Diverged);
        let loss = record.val_loss?;
        if self.best.is_none_or(|(best, _)| loss < best) {
            self.best = Some((loss, record.point));
        }
        let at = self.kept.partition_point(|&(kept, _)| kept <= loss);
        self.kept.insert(at, (loss, record.point));
        if self.kept.len() <= self.keep {
            return None;
        }
        self.kept.pop().map(|(_, point)| point)
    }

    /// Removes models that are not among the best: an interruption, or a smaller `--keep`, leaves some.
    fn remove_others(&self) -> Result<(), Error> {
        let folder = self.folder.file(MODELS);
        let kept: BTreeSet<usize> = self.kept.iter().map(|&(_, point)| point).collect();
        let Ok(entries) = fs::read_dir(&folder) else {
            return Ok(()); // nothing was kept so far
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let point = name
                .to_str()
                .and_then(|name| name.strip_suffix(".safetensors")?.parse::<usize>().ok());
            // Files with other names are the user's.
            let Some(point) = point else { continue };
            if !kept.contains(&point) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Records how a model ended, and keeps the model if it is among the best.
    fn add(&mut self, finished: Finished) -> Result<Record, Error> {
        let mut record = Record {
            point: finished.point,
            options: self.manifest.points[finished.point].clone(),
            train_loss: None,
            val_loss: None,
            test_loss: None,
            seconds: finished.seconds,
            status: Status::Diverged,
            diverged: None,
            backend: finished.info.backend.to_owned(),
            adapter: finished.info.adapter,
            schedule: finished.info.schedule.map(str::to_owned),
            tuning: finished.info.tuning,
        };
        match finished.end {
            End::Diverged(what) => record.diverged = Some(what),
            // The last step can ruin a model whose last loss was still finite.
            End::Done(_, losses) if losses.iter().any(|loss| !loss.is_finite()) => {
                let steps = record.options.steps;
                record.diverged =
                    Some(format!("the final loss is not finite, after {steps} steps"));
            }
            End::Done(checkpoint, losses) => {
                record.status = Status::Done;
                [record.train_loss, record.val_loss, record.test_loss] = losses.map(Some);
                self.save_if_good(&checkpoint, finished.point, losses[1])?;
            }
        }
        // The model is saved before its line is written, and the model that it replaces is removed
        // after that. So at any moment the best models of all recorded ones are on the disk.
        self.results.append(&record)?;
        if let Some(point) = self.count(&record).filter(|&point| point != record.point) {
            remove(&self.model(point))?;
        }
        Ok(record)
    }

    fn save_if_good(&self, checkpoint: &Checkpoint, point: usize, loss: f64) -> Result<(), Error> {
        let worse = self.kept.iter().filter(|&&(kept, _)| kept <= loss).count();
        if worse >= self.keep {
            return Ok(());
        }
        let folder = self.folder.file(MODELS);
        fs::create_dir_all(&folder).map_err(FileError::at("create the folder", &folder))?;
        model_file::save(checkpoint, self.model(point))?;
        Ok(())
    }

    /// The line of a model that has ended.
    fn line(&self, record: &Record, ended: usize, of: usize) -> String {
        let width = of.to_string().len();
        let what = match (&record.diverged, record.train_loss, record.val_loss) {
            (Some(what), ..) => format!("diverged: {what}"),
            (_, Some(train), Some(val)) => format!("train {}  val {}", loss(train), loss(val)),
            _ => "no loss".to_owned(),
        };
        format!(
            "{ended:width$}/{of}  {what}  {}",
            named(&record.options, &self.swept)
        )
    }

    /// The last lines.
    fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((best, point)) = self.best {
            let options = named(&self.manifest.points[point], &self.swept);
            lines.push(format!(
                "best        val {}: point {point}  {options}",
                loss(best)
            ));
        }
        if self.diverged > 0 {
            lines.push(format!(
                "diverged    {} of {}",
                self.diverged,
                self.ended.len()
            ));
        }
        if !self.kept.is_empty() {
            let models: Vec<String> = self
                .kept
                .iter()
                .map(|&(_, point)| self.model(point).display().to_string())
                .collect();
            lines.push(format!("models      {}", models.join(" ")));
        }
        lines.push(format!(
            "report      gpu-makemore sweep report {}",
            self.folder.path().display()
        ));
        lines
    }
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::at("remove", path)(e)),
        _ => Ok(()),
    }
}

fn models(count: usize) -> &'static str {
    if count == 1 { "model" } else { "models" }
}

/// The lines that are printed before the first model.
fn set_up(
    sweep: &Sweep,
    device: &Device,
    dataset: &Dataset,
    grid: &Grid,
    shard: Shard,
    todo: usize,
    shaders: &Shaders,
) -> Vec<String> {
    let total = sweep.manifest.total;
    let mut lines = vec![
        format!("device      {}", device.name()),
        format!("why         {}", device.why()),
    ];
    lines.extend(shaders.line().map(|line| format!("shaders     {line}")));
    lines.push(format!("data        {}", dataset.label));
    let notes = dataset.notes.to_string();
    lines.extend((!notes.is_empty()).then(|| format!("            {notes}")));
    let sweep_line = format!("sweep       {total} {}: {}", models(total), grid.shape());
    lines.push(sweep_line);
    if shard != Shard::WHOLE {
        let own = (0..total).filter(|&point| shard.has(point)).count();
        lines.push(format!("shard       {shard}: {own} of them"));
    }
    if sweep.torn {
        lines.push(
            "results     the last line was cut off by an interruption: its model is trained again"
                .to_owned(),
        );
    }
    if sweep.before > 0 || todo == 0 {
        lines.push(format!("done        {} before, {todo} to do", sweep.before));
    }
    lines.push(format!("output      {}", sweep.folder.path().display()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};

    /// A sweep over `seeds` seeds, in a folder.
    fn sweep(folder: &Path, seeds: usize) -> Sweep {
        let command = format!("gpu-makemore sweep --seeds {seeds}");
        let cli = Cli::of(command.split(' ').map(Into::into)).unwrap();
        let Command::Sweep(args) = cli.command else {
            panic!("sweep");
        };
        let grid = Grid::new(&args).unwrap();
        let points = grid.points().unwrap();
        let manifest = Manifest {
            version: crate::VERSION.to_owned(),
            data: "names".to_owned(),
            clean: false,
            data_sha256: String::new(),
            shaders: None,
            grid: grid.texts(),
            log: grid.log(),
            shard: Shard::WHOLE.to_string(),
            total: points.len(),
            points,
        };
        Sweep::open(&folder.join(seeds.to_string()), manifest, 3).unwrap()
    }

    fn record(sweep: &Sweep, point: usize) -> Record {
        Record {
            point,
            options: sweep.manifest.points[point].clone(),
            train_loss: Some(2.0),
            val_loss: Some(2.0),
            test_loss: Some(2.0),
            seconds: 1.0,
            status: Status::Done,
            diverged: None,
            backend: "cpu".to_owned(),
            adapter: "CPU".to_owned(),
            schedule: None,
            tuning: None,
        }
    }

    /// What differs between the points is found once, and not for the line of each model: there may be
    /// 100,000 of both.
    #[test]
    fn the_line_of_a_model_needs_no_look_at_the_other_points() {
        let folder = tempfile::tempdir().unwrap();
        let mut sweep = sweep(folder.path(), 100);
        let record = record(&sweep, 99);
        let line = sweep.line(&record, 1, 100);
        assert!(line.contains("seed 100"), "{line}");
        sweep.manifest.points.clear();
        assert_eq!(sweep.line(&record, 1, 100), line);
    }

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let words = [
            "sweep",
            "--lr",
            "0.03,0.1:log",
            "--out",
            "my runs/it's",
            "a\nb",
            "",
        ];
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let want = r"gpu-makemore sweep --lr 0.03,0.1:log --out 'my runs/it'\''s' $'a\nb' ''";
        assert_eq!(command(&words), want);
    }
}
