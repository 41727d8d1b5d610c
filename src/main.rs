//! The binary: parses the command line, runs the command, and turns its outcome into an exit status.

use std::process::ExitCode;

use pipe::cli::Cli;
use pipe::cli::exit::Exit;
use pipe::executor::signals;

fn main() -> ExitCode {
    signals::reset();
    stages::model::accelerator::ask_no_desktop();
    let cli = Cli::from_arguments();
    let (console, wants_json) = (cli.console(), cli.wants_json());
    let exit = cli.execute(&console).unwrap_or_else(|error| {
        error.print(&console, wants_json);
        Exit::of_error(&error)
    });
    stages::model::accelerator::keep_kernels();
    exit.into()
}
