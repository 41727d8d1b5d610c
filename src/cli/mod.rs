//! What the user typed. Each subcommand has a file; what they share is in [`project`].

mod cache;
mod carry_out;
#[cfg(feature = "model")]
mod classify;
mod diff;
mod doctor;
pub mod early_error;
pub mod error;
pub mod exit;
mod explain;
mod graph;
mod init;
mod job;
mod linked;
mod log;
pub mod options;
pub mod project;
mod pull;
mod push;
mod remote;
mod report;
pub mod resources;
mod restore;
mod run;
pub mod select;
mod shell;
mod show;
mod stage;
mod stages;
mod status;
mod submit;
mod sweep;
mod verify;
mod watch;
pub mod watching;
mod why_row;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Color, Globals};
use crate::console::{Console, When};
use crate::files::file_error::FileError;

/// Wrong usage, for a program that asked for JSON; a person gets the parser's own words.
pub fn print_usage_error(message: &str) {
    let console = Console::new(When::Never, false, false);
    // If nobody can be told, there is nobody to tell that.
    let _ = console.data(&early_error::usage_json(message));
}

/// A declarative build tool for fine-tuned text classifiers.
///
/// One YAML file declares the stages; `pipe run` runs those whose result is not in the store
/// yet, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "pipe", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented pipeline for data of your own
    Init(init::InitOptions),
    /// Run the stages that are not up to date
    Run(run::RunOptions),
    /// Run the pipeline with many combinations of values, and compare what comes of them
    Sweep(sweep::SweepOptions),
    /// Run, and run again whenever the pipeline or a source changes
    Watch(run::RunOptions),
    /// Say what is up to date, and why the rest is not
    Status(status::StatusOptions),
    /// Say why a stage would run, field by field
    Explain(explain::ExplainOptions),
    /// Draw the graph of stages
    Graph(graph::GraphOptions),
    /// List the runs: when, what ran, how long, what came out
    Log(log::LogOptions),
    /// Compare two runs: parameters, inputs, metrics
    Diff(diff::DiffOptions),
    /// Write a page about a run, or about several, that any browser shows
    Report(report::ReportOptions),
    /// Put back what an earlier run had published
    Restore(restore::RestoreOptions),
    /// Upload the results of the pipeline as it stands to a remote
    Push(push::PushOptions),
    /// Download the results of the pipeline as it stands from a remote
    Pull(pull::PullOptions),
    /// Run a stage again in a corner and compare what comes out
    Verify(verify::VerifyOptions),
    /// Look into the store, check it, tidy it up
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Show an artifact in readable form
    Show(show::ShowOptions),
    /// Trace one answer back: source, tokens, probabilities, and which results disagree
    WhyRow(why_row::WhyRowOptions),
    /// Classify texts with a finished model
    #[cfg(feature = "model")]
    Classify(classify::ClassifyOptions),
    /// List the built-in stages, or one with its parameters
    Stages(stages::StagesOptions),
    /// Look at the machine, the pipeline, the store and the network
    Doctor(doctor::DoctorOptions),
    /// Print the JSON Schema of `pipeline.yaml`, for editors
    Schema,
    /// Print a script that completes commands and options in a shell
    Completions(shell::CompletionsOptions),
    /// Print the manual page, or write those of all commands
    Man(shell::ManOptions),
    /// Run one built-in stage as its manifest says
    #[command(hide = true)]
    Stage { manifest: PathBuf },
    /// Run one stage on a node of a cluster
    #[command(hide = true)]
    Job(job::JobOptions),
    /// End the stages' processes when the engine dies
    #[command(hide = true)]
    Guard,
}

impl Cli {
    /// The console as the options want it.
    pub fn console(&self) -> Console {
        let color = match self.globals.color {
            Color::Auto => When::Auto,
            Color::Always => When::Always,
            Color::Never => When::Never,
        };
        Console::new(color, self.globals.quiet, self.globals.verbose)
    }

    /// Whether the end is to be told as JSON as well, if it is an error.
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Command::Run(options) => options.carry_out.json,
            Command::Sweep(options) => options.carry_out.json,
            Command::Status(options) => options.json,
            Command::Explain(options) => options.json,
            Command::Watch(options) => options.carry_out.json,
            Command::Push(options) => options.json,
            Command::Pull(options) => options.json,
            _ => false,
        }
    }

    /// Does what was asked.
    pub fn execute(self, console: &Console) -> Result<Exit, Error> {
        if let Some(folder) = &self.globals.directory {
            std::env::set_current_dir(folder)
                .map_err(|error| Error::Folder(FileError::at("opening", folder)(error)))?;
        }
        let globals = &self.globals;
        match self.command {
            Command::Init(options) => init::execute(&options, globals, console),
            Command::Run(options) => run::execute(&options, globals, console),
            Command::Watch(options) => watch::execute(&options, globals, console),
            Command::Sweep(options) => sweep::execute(&options, globals, console),
            Command::Status(options) => status::execute(&options, globals, console),
            Command::Explain(options) => explain::execute(&options, globals, console),
            Command::Graph(options) => graph::execute(&options, globals, console),
            Command::Log(options) => log::execute(&options, globals, console),
            Command::Diff(options) => diff::execute(&options, globals, console),
            Command::Report(options) => report::execute(&options, globals, console),
            Command::Restore(options) => restore::execute(&options, globals, console),
            Command::Push(options) => push::execute(&options, globals, console),
            Command::Pull(options) => pull::execute(&options, globals, console),
            Command::Verify(options) => verify::execute(&options, globals, console),
            Command::Cache(command) => cache::execute(&command, globals, console),
            Command::Show(options) => show::execute(&options, globals, console),
            Command::WhyRow(options) => why_row::execute(&options, globals, console),
            #[cfg(feature = "model")]
            Command::Classify(options) => classify::execute(&options, globals, console),
            Command::Stages(options) => stages::execute(&options, console),
            Command::Doctor(options) => doctor::execute(&options, globals, console),
            Command::Schema => shell::print_schema(console),
            Command::Completions(options) => shell::completions(&options, console),
            Command::Man(options) => shell::man(&options, console),
            Command::Stage { manifest } => Ok(stage::execute(&manifest)),
            Command::Job(options) => job::execute(&options),
            Command::Guard => {
                crate::executor::guard::watch(std::io::stdin());
                Ok(Exit::Done)
            }
        }
    }
}
