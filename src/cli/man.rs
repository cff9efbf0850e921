//! `gpu-makemore man DIR`: a man page for the program and for each command, made from their help.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap_mangen::Man;

use crate::VERSION;
use crate::cli::args::{Cli, ManArgs};
use crate::cli::error::{Error, Failure};
use crate::cli::files::{FileError, exists, write_atomic};
use crate::cli::report::Output;
use crate::text::excerpt;

/// What a page of any version begins with, by which a later version knows that it may replace it.
const MARK: &str = ".\\\" Made by `gpu-makemore man`";

/// Why there are no man pages.
#[derive(Debug, thiserror::Error)]
pub enum ManError {
    /// A file with the name of a page.
    #[error(
        "{} is there already and is no page that this program made; nothing was written: choose another folder, or \
         remove the file",
        .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The path of the folder names something else.
    #[error("{} is not a folder; give the path of one for the man pages", .path.display())]
    NotAFolder {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Failure for ManError {}

/// Runs the command.
///
/// # Errors
///
/// A file that is no page of this program has the name of one, or something cannot be written.
pub fn run(args: &ManArgs) -> Result<(), Error> {
    let pages = pages();
    write(&args.folder, &pages)?;
    let folder = excerpt(args.folder.display(), usize::MAX);
    let mut out = Output::new();
    out.line(&format!("{} man pages are in {folder}", pages.len()))?;
    out.line(&format!("next      man -l {folder}/{}", pages[0].0))?;
    Ok(())
}

/// The pages, by the names of their files; the program's own is the first.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut program = Cli::definition()
        .disable_help_subcommand(true) // `help train` is what `man gpu-makemore-train` shows
        .long_version(None::<&str>); // a page is the same for every target
    program.build();
    let mut commands = vec![program];
    let mut pages = Vec::new();
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().cloned());
        let man = Man::new(command);
        let mut page = Vec::new();
        man.render(&mut page).expect("a vector takes all bytes");
        let page = String::from_utf8_lossy(&page);
        // clap_mangen leaves out an empty date, and what follows would take its place.
        let (before, title) = page.split_once(".TH ").expect("a page has a title");
        let (_, after) = title.split_once('\n').expect("a title is a line");
        let file = man.get_filename();
        let name = file.trim_end_matches(".1");
        let page = format!(
            "{MARK}, version {VERSION}\n{before}.TH \"{name}\" 1 \"\" \"gpu-makemore {VERSION}\" \"User Commands\"\n\
             {after}"
        );
        pages.push((file, page.into_bytes()));
    }
    pages
}

/// Writes the pages where the folder has none, or has those of this program; all of them or none.
fn write(folder: &Path, pages: &[(String, Vec<u8>)]) -> Result<(), ManError> {
    let not_a_folder = || ManError::NotAFolder {
        path: folder.into(),
    };
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => return Err(not_a_folder()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(not_a_folder()),
        _ => {}
    }
    for (name, _) in pages {
        let path = folder.join(name);
        match fs::read(&path) {
            Ok(bytes) if bytes.starts_with(MARK.as_bytes()) => {}
            Ok(_) => return Err(ManError::Foreign { path }),
            // A link that leads nowhere is there too.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !exists(&path)? => {}
            Err(e) => return Err(FileError::at("read", &path)(e).into()),
        }
    }
    fs::create_dir_all(folder).map_err(FileError::at("create the folder", folder))?;
    for (name, page) in pages {
        write_atomic(&folder.join(name), |w| w.write_all(page))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages();
        assert_eq!(pages[0].0, "gpu-makemore.1");
        for name in ["train", "sweep-report", "learn-check", "man"] {
            let name = format!("gpu-makemore-{name}.1");
            assert!(pages.iter().any(|(page, _)| *page == name), "{name}");
        }
    }
}
