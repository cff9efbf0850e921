//! The command line: options, files, signals, threads and what the terminal shows. Everything below this
//! room can run in another program.

pub mod adapters;
pub mod args;
pub mod compare;
pub mod completions;
pub mod data;
pub mod device;
mod drive;
pub mod environment;
pub mod error;
pub mod eval;
pub mod faults;
pub mod files;
pub mod gradcheck;
mod interrupt;
pub mod learn;
pub mod man;
pub mod model_file;
pub mod page;
pub mod report;
pub mod sample;
pub mod shaders;
pub mod show;
pub mod sweep;
pub mod train;
pub mod trained;
pub mod tunings;
pub mod wait;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::text::{excerpt, one_line};
use args::{Cli, Command};
use wait::block_on;

/// Parses the arguments of this process, runs the command, and prints its error.
pub fn main() -> ExitCode {
    // SAFETY: no thread has been started yet.
    unsafe { environment::silence_device_select() };
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let result = block_on(async {
        match &cli.command {
            Command::Train(args) => train::run(args).await,
            Command::Compare(args) => compare::run(args),
            Command::Sweep(args) => sweep::run(args).await,
            Command::Eval(args) => eval::run(args).await,
            Command::Sample(args) => sample::run(args).await,
            Command::Show(args) => show::run(args).await,
            Command::Gradcheck(args) => gradcheck::run(args).await,
            Command::Learn(args) => learn::run(args).await,
            Command::Adapters(args) => adapters::run(args).await,
            Command::Shaders(args) => shaders::run(args),
            Command::Page(args) => page::run(args),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if !error.is_error() => fail(&error.to_string(), error.exit_code()),
        Err(error) => {
            let code = fail(&format!("error: {error}"), error.exit_code());
            for line in error.below() {
                let _ = writeln!(io::stderr(), "{}", excerpt(line, usize::MAX));
            }
            code
        }
    }
}

/// Prints the error as one line, whatever a path or a driver put into it.
fn fail(message: &str, code: u8) -> ExitCode {
    // Not `eprintln!`, which panics when whoever read stderr is gone; the exit code still tells.
    let _ = writeln!(io::stderr(), "{}", one_line(message));
    ExitCode::from(code)
}

/// Help and version as clap prints them; an error as one line, with clap's tip if it has one.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to tell if this cannot be printed.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 2 } else { 0 })
        }
        _ => {
            // clap's paragraphs: the error, tips, the usage. The last is what --help is for.
            let text = error.to_string();
            let mut parts = text.split("\n\n").map(str::trim);
            let mut message = parts.next().unwrap_or_default().to_owned();
            for tip in parts.filter(|part| part.starts_with("tip: ")) {
                message = format!("{message}; {tip}");
            }
            fail(&format!("{message}; see --help"), 2)
        }
    }
}
