//! `gpu-makemore completions SHELL`: what a shell needs to complete commands, options and their values.

use clap_complete::generate;

use crate::cli::args::{Cli, CompletionsArgs};
use crate::cli::error::Error;
use crate::cli::report::Output;

/// Prints the completions.
///
/// # Errors
///
/// stdout cannot be written.
pub fn run(args: &CompletionsArgs) -> Result<(), Error> {
    let mut command = Cli::definition();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    // For bash, clap_complete spells a name that has a hyphen in two ways, so that nothing is completed behind a
    // command (https://github.com/clap-rs/clap/issues/6421). Where it does not, this changes nothing.
    let script = String::from_utf8_lossy(&script).replace("gpu__subcmd__makemore", "gpu__makemore");
    Output::new().line(script.trim_end())?;
    Ok(())
}
