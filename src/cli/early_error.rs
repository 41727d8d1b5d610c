//! An error that ends the program, printed as text and, with `--json`, as one JSON object.

use std::path::Path;

use serde::Serialize;

use crate::cli::error::Error;
use crate::console::Console;
use crate::pipeline::{Location, PipelineError, Problem};
use crate::run::event::RunEvent;

/// The JSON object, one line.
#[derive(Serialize)]
struct EarlyError<'a> {
    event: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The pipeline's file and the line in it, if the error is about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Every problem of the pipeline. `message`, `hint` and `line` are those of the first.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    problems: &'a [Problem],
    /// The last lines of the log of a stage that failed.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    last_lines: &'a [String],
}

impl Error {
    /// Prints the error and its hint on standard error and, if `as_json`, one JSON object on
    /// standard output.
    pub fn print(&self, console: &Console, as_json: bool) {
        if as_json {
            // If standard output is closed, standard error still has the message.
            let _ = console.json(&json(self));
        }
        match self {
            // Each problem carries its own `error:` and shows its line.
            Error::Pipeline(invalid @ PipelineError::Invalid { .. }) => {
                console.problems(&invalid.to_string());
            }
            Error::StageFailed(finished) => {
                console.run_view(false).show(&RunEvent::StageFinished(finished.clone()));
            }
            _ => console.error(&self.to_string(), self.hint().as_deref()),
        }
    }
}

fn json(error: &Error) -> String {
    let (message, hint, none): (_, _, &[Problem]) = (error.to_string(), error.hint(), &[]);
    let (event, last_lines) = ("error", &[][..]);
    let plain =
        |file, line| EarlyError { event, message, hint, file, line, problems: none, last_lines };
    line(&match error {
        Error::Pipeline(PipelineError::Invalid { file, problems, .. }) => {
            let first = problems.first();
            let at = first.and_then(|problem| match problem.location {
                Location::File { line, .. } => Some(line),
                Location::Argument { .. } => None,
            });
            EarlyError {
                message: first.map(|problem| problem.message.clone()).unwrap_or_default(),
                hint: first.and_then(|problem| problem.help.clone()),
                problems,
                ..plain(Some(file), at)
            }
        }
        Error::Pipeline(PipelineError::Read { file, .. }) => plain(Some(file), None),
        Error::Plan { file, error } => plain(Some(file), Some(error.line())),
        Error::StageFailed(finished) => {
            EarlyError { last_lines: &finished.last_lines, ..plain(None, None) }
        }
        _ => plain(None, None),
    })
}

/// A usage error as JSON; `message` is the text of the command-line parser.
pub fn usage_json(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    line(&EarlyError {
        event: "error",
        message: first.strip_prefix("error: ").unwrap_or(first).to_owned(),
        hint: lines.find_map(|line| line.strip_prefix("tip: ")).map(str::to_owned),
        file: None,
        line: None,
        problems: &[],
        last_lines: &[],
    })
}

fn line(error: &EarlyError) -> String {
    // Texts and numbers always serialize.
    serde_json::to_string(error).unwrap_or_default() + "\n"
}
