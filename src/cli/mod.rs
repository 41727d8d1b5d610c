//! The command line. Each subcommand has a file of its own; [`project`] and [`options`] hold what
//! they share.

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
#[cfg(feature = "model")]
mod export;
mod gate;
mod graph;
mod init;
mod init_data;
mod job;
mod linked;
mod log;
mod mistyped;
pub mod options;
pub mod project;
mod pull;
mod push;
mod race;
mod remote;
mod report;
pub mod resources;
mod restore;
mod review;
mod run;
pub mod select;
#[cfg(feature = "serve")]
mod serve;
mod settled;
mod shell;
mod show;
mod stage;
mod stages;
mod status;
mod submit;
mod sweep;
mod verify;
mod watch;
mod why_row;

use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Color, Globals};
use crate::console::{Console, When};
use crate::files::file_error::FileError;
use crate::files::threads;

/// A declarative build tool for fine-tuned text classifiers.
///
/// One YAML file declares the stages; `pipe run` runs those whose results are not in the store
/// yet, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "pipe", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
    /// Whether the subcommand prints JSON, and so does an error that ends the program.
    #[arg(skip)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented pipeline for your own data
    Init(init::InitOptions),
    /// Run the stages that are not up to date
    Run(run::RunCommand),
    /// Run the pipeline with many combinations of values and compare the results
    Sweep(sweep::SweepOptions),
    /// Run, then rerun whenever the pipeline or a source changes
    Watch(run::RunOptions),
    /// Show which stages are up to date, and why the others are not
    Status(status::StatusOptions),
    /// Explain why a stage would run, field by field
    Explain(explain::ExplainOptions),
    /// Draw the graph of stages
    Graph(graph::GraphOptions),
    /// List past runs: when, which stages ran, how long they took, and their metrics
    Log(log::LogOptions),
    /// Compare two runs: parameters, inputs and metrics
    Diff(diff::DiffOptions),
    /// Decide whether a run is worse than an earlier one, as an exit status
    Gate(gate::GateOptions),
    /// Write an HTML report about one run or several
    Report(report::ReportOptions),
    /// Restore the files that an earlier run published
    Restore(restore::RestoreOptions),
    /// Upload the results of the current pipeline to a remote
    Push(push::PushOptions),
    /// Download the results of the current pipeline from a remote
    Pull(pull::PullOptions),
    /// Rerun a stage in a scratch folder and compare the results
    Verify(verify::VerifyOptions),
    /// List, check and clean up the store
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Show an artifact in readable form
    Show(show::ShowOptions),
    /// Trace a prediction back to its source and tokens, and list the results that disagree
    WhyRow(why_row::WhyRowOptions),
    /// Decide on the examples that `audit` found, one key for each
    Review(review::ReviewOptions),
    /// Classify texts with a trained model
    #[cfg(feature = "model")]
    Classify(classify::ClassifyOptions),
    /// Classify texts over HTTP with a trained model
    #[cfg(feature = "serve")]
    Serve(serve::ServeOptions),
    /// Write a trained model in a format that other programs read
    #[cfg(feature = "model")]
    Export(export::ExportOptions),
    /// List the built-in stages, or describe one with its parameters
    Stages(stages::StagesOptions),
    /// Check the machine, the pipeline, the store and the network
    Doctor(doctor::DoctorOptions),
    /// Print the JSON Schema of `pipeline.yaml`, for editors
    Schema,
    /// Print a script that completes commands and options in your shell
    Completions(shell::CompletionsOptions),
    /// Print the manual page, or write one for each command
    Man(shell::ManOptions),
    /// Run one built-in stage from its manifest
    #[command(hide = true)]
    Stage { manifest: PathBuf },
    /// Run one stage on a cluster node
    #[command(hide = true)]
    Job(job::JobOptions),
    /// Start the processes of stages, and end them when the engine dies
    #[command(hide = true)]
    Guard,
}

/// Ends the program with a usage error. It repeats the arguments, which may hold control characters.
fn end_with_usage(error: &clap::Error, console: &Console) -> ! {
    let text = error.to_string();
    if text.chars().any(|character| character.is_control() && character != '\n') {
        console.problems(text.trim_end());
        std::process::exit(error.exit_code());
    }
    error.exit()
}

impl Cli {
    /// Parses the command line. `--help`, `--version` and usage errors end the program here; a usage
    /// error is also printed as JSON if the arguments contain `--json`.
    pub fn from_arguments() -> Cli {
        let parsed = Cli::command().try_get_matches().and_then(|matches| {
            let cli = Cli::from_arg_matches(&matches)?;
            Ok(Cli { json: wants_json(&matches), ..cli })
        });
        parsed.unwrap_or_else(|mut error| {
            let console = Console::new(When::Never, false, false);
            if !error.use_stderr() {
                if let Err(problem) = console.help(&error) {
                    console.error(&Error::Output(problem).to_string(), None);
                    std::process::exit(Exit::Failed.code().into());
                }
                std::process::exit(error.exit_code());
            }
            let arguments = std::env::args_os().skip(1);
            let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
            mistyped::suggest(&mut error, &Cli::command(), arguments);
            let mut options = std::env::args_os().take_while(|argument| argument != "--");
            if options.any(|argument| argument == "--json") {
                // If standard output is closed, standard error still has the message.
                let _ = console.json(&early_error::usage_json(&error.to_string()));
            }
            end_with_usage(&error, &console)
        })
    }

    /// The console with the color and verbosity of the options.
    pub fn console(&self) -> Console {
        let color = match self.globals.color {
            Color::Auto => When::Auto,
            Color::Always => When::Always,
            Color::Never => When::Never,
        };
        Console::new(color, self.globals.quiet, self.globals.verbose)
    }

    /// Whether an error that ends the program is also printed as JSON.
    pub fn wants_json(&self) -> bool {
        self.json
    }

    /// Runs the subcommand.
    pub fn execute(self, console: &Console) -> Result<Exit, Error> {
        if let Some(folder) = &self.globals.directory {
            std::env::set_current_dir(folder)
                .map_err(|error| Error::Folder(FileError::at("opening", folder)(error)))?;
        }
        let globals = &self.globals;
        if !matches!(self.command, Command::Guard | Command::Stage { .. }) {
            threads::start_pool()?;
        }
        match self.command {
            Command::Init(options) => init::execute(&options, globals, console),
            Command::Run(command) => command.execute(globals, console),
            Command::Watch(options) => watch::execute(&options, globals, console),
            Command::Sweep(options) => sweep::execute(&options, globals, console),
            Command::Status(options) => status::execute(&options, globals, console),
            Command::Explain(options) => explain::execute(&options, globals, console),
            Command::Graph(options) => graph::execute(&options, globals, console),
            Command::Log(options) => log::execute(&options, globals, console),
            Command::Diff(options) => diff::execute(&options, globals, console),
            Command::Gate(options) => gate::execute(&options, globals, console),
            Command::Report(options) => report::execute(&options, globals, console),
            Command::Restore(options) => restore::execute(&options, globals, console),
            Command::Push(options) => push::execute(&options, globals, console),
            Command::Pull(options) => pull::execute(&options, globals, console),
            Command::Verify(options) => verify::execute(&options, globals, console),
            Command::Cache(command) => cache::execute(&command, globals, console),
            Command::Show(options) => show::execute(&options, globals, console),
            Command::WhyRow(options) => why_row::execute(&options, globals, console),
            Command::Review(options) => review::execute(&options, globals, console),
            #[cfg(feature = "model")]
            Command::Classify(options) => classify::execute(&options, globals, console),
            #[cfg(feature = "serve")]
            Command::Serve(options) => serve::execute(&options, globals, console),
            #[cfg(feature = "model")]
            Command::Export(options) => export::execute(&options, globals, console),
            Command::Stages(options) => stages::execute(&options, console),
            Command::Doctor(options) => doctor::execute(&options, globals, console),
            Command::Schema => shell::print_schema(console),
            Command::Completions(options) => shell::completions(&options, Cli::command(), console),
            Command::Man(options) => shell::man(&options, Cli::command(), console),
            Command::Stage { manifest } => Ok(stage::execute(&manifest)),
            Command::Job(options) => job::execute(&options),
            Command::Guard => {
                let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
                crate::executor::guard::serve(socket);
                Ok(Exit::Done)
            }
        }
    }
}

/// Whether the subcommand, whichever it is, was given `--json`.
fn wants_json(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some((_, inner)) => wants_json(inner),
        None => matches!(matches.try_get_one::<bool>("json"), Ok(Some(true))),
    }
}
