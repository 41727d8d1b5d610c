//! The binary: parses the command line, does what it says, and turns the end into a status.

use std::process::ExitCode;

use clap::Parser;
use pipe::cli::Cli;
use pipe::exit::Exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = cli.console();
    match cli.execute(&console) {
        Ok(exit) => exit.into(),
        Err(error) => {
            console.error(&error);
            Exit::of_error(&error).into()
        }
    }
}
