//! The binary: parses the command line, does what it says, and turns the end into a status.

use std::process::ExitCode;

use clap::Parser;
use pipe::cli::Cli;
use pipe::cli::exit::Exit;

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
            pipe::cli::print_usage_error(&error.to_string());
        }
        error.exit()
    });
    let (console, wants_json) = (cli.console(), cli.wants_json());
    match cli.execute(&console) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error.print(&console, wants_json);
            Exit::of_error(&error).into()
        }
    }
}
