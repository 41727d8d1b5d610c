//! The problems of a pipeline file, as messages for people and as data for programs: all at once,
//! in the order of their lines, each with its location and what to do about it.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::marks::{Origin, Span};
use super::model::Overrides;
use super::yaml::YamlNode;
use crate::text::suggest::{self, quoted};
use crate::text::terminal::{columns, fit, printable};
use crate::text::variants::family;

/// Why a pipeline could not be loaded.
#[derive(Debug, thiserror::Error, Serialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum PipelineError {
    #[error("reading {}: {source}", file.display())]
    Read {
        file: PathBuf,
        #[serde(serialize_with = "io_error_as_text")]
        source: io::Error,
    },
    #[error("{}", Rendered { file, problems })]
    Invalid {
        file: PathBuf,
        /// Never empty. Sorted by line, those of the command line first.
        problems: Vec<Problem>,
        /// The local files and folders that the pipeline reads, as far as it could be understood. A
        /// source that does not exist is a problem that changes when the source does.
        #[serde(skip)]
        sources: BTreeSet<PathBuf>,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// A sentence without a final period.
    pub message: String,
    pub location: Location,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Related facts: where a variable got its value, where a conflicting entry is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Location {
    /// Line and column count from 1; column and width are in characters. A width of 0 means that
    /// the extent is unknown. `text` is the line, or empty if the line is very long.
    File { line: usize, column: usize, width: usize, text: String },
    /// An argument as typed: `--set finetune.epochs=x`.
    Argument { argument: String },
}

impl Problem {
    pub(super) fn stage(&mut self, name: &str) -> &mut Problem {
        self.stage = Some(name.to_owned());
        self
    }

    pub(super) fn parameter(&mut self, name: &str) -> &mut Problem {
        self.parameter = Some(name.to_owned());
        self
    }

    pub(super) fn note(&mut self, text: String) -> &mut Problem {
        self.notes.push(text);
        self
    }

    pub(super) fn help(&mut self, text: String) -> &mut Problem {
        self.help = Some(text);
        self
    }

    /// Hides the text of the line or the value of the argument, which may hold a secret.
    pub(super) fn hide_text(&mut self) -> &mut Problem {
        match &mut self.location {
            Location::File { text, .. } => text.clear(),
            Location::Argument { argument } => {
                let end = argument.find('=').map_or(argument.len(), |equals| equals + 1);
                argument.replace_range(end.., "…");
            }
        }
        self
    }

    /// Offers "did you mean …" if a known name is near.
    pub(super) fn nearest<'a>(
        &mut self,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> &mut Problem {
        if let Some(near) = suggest::nearest(name, known) {
            self.help = Some(format!("did you mean `{near}`?"));
        }
        self
    }

    /// As [`Problem::nearest`]; lists all known names if none is near.
    pub(super) fn nearest_or_all(&mut self, name: &str, known: &[&str]) -> &mut Problem {
        self.nearest(name, known.iter().copied());
        if self.help.is_none() && !known.is_empty() && known.len() <= 20 {
            self.help = Some(format!("known: {}", quoted(known)));
        }
        self
    }
}

/// Collects problems, and turns the origin of a value into a location.
pub(super) struct Problems<'a> {
    text: &'a str,
    lines: OnceCell<Vec<&'a str>>,
    overrides: &'a Overrides,
    /// The axes as typed after `pipe sweep`.
    axes: &'a [String],
    /// Whether it is a problem that a source is missing.
    pub(super) sources_needed: bool,
    found: Vec<Problem>,
    /// See [`PipelineError::Invalid`].
    sources: BTreeSet<PathBuf>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(text: &'a str, overrides: &'a Overrides, axes: &'a [String]) -> Problems<'a> {
        let (lines, found, sources) = (OnceCell::new(), Vec::new(), BTreeSet::new());
        Problems { text, lines, overrides, axes, sources_needed: true, found, sources }
    }

    /// Makes empty collections of problems with the same text, for other threads.
    pub(super) fn fresh(&self) -> impl Fn() -> Problems<'a> + Sync + use<'a> {
        let Problems { text, overrides, axes, sources_needed, .. } = *self;
        move || Problems { sources_needed, ..Problems::new(text, overrides, axes) }
    }

    /// Adds the problems and sources that another thread has found.
    pub(super) fn extend(&mut self, other: Problems) {
        self.found.extend(other.found);
        self.sources.extend(other.sources);
    }

    /// A line of the file, from 1.
    fn line(&self, number: usize) -> Option<&'a str> {
        // In YAML a `\r` alone ends a line as well.
        let split = || self.text.lines().flat_map(|line| line.split('\r')).collect();
        self.lines.get_or_init(split).get(number.checked_sub(1)?).copied()
    }

    /// Adds a problem with the value or key at `origin`. The caller adds the stage, notes and help.
    pub(super) fn at(&mut self, origin: Origin, message: String) -> &mut Problem {
        let location = self.location(origin);
        let (notes, help) = (Vec::new(), None);
        self.found.push(Problem { message, location, stage: None, parameter: None, notes, help });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// Adds a problem with a value, with a note for each variable that went into it.
    pub(super) fn with(&mut self, node: &YamlNode, message: String) -> &mut Problem {
        let notes: Vec<String> = node
            .via
            .iter()
            .map(|via| {
                format!("`${{{}}}` is {}, {}", via.variable, via.value, self.describe(via.origin))
            })
            .collect();
        let problem = self.at(node.origin, message);
        problem.notes = notes;
        problem
    }

    /// The place of `origin` in words: "at line 4", "from `--set model=x`".
    pub(super) fn describe(&self, origin: Origin) -> String {
        match self.location(origin) {
            Location::File { line, .. } => format!("at line {line}"),
            Location::Argument { argument } => format!("from `{argument}`"),
        }
    }

    /// Notes a file or folder that the pipeline reads, whether or not it exists.
    pub(super) fn note_source(&mut self, path: &Path) {
        self.sources.insert(path.to_owned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The number of problems so far.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn into_error(mut self, file: &Path) -> PipelineError {
        self.found.sort_by_key(|problem| match &problem.location {
            Location::File { line, column, .. } => (*line, *column),
            Location::Argument { .. } => (0, 0),
        });
        // A problem that all variants of a stage share is reported once.
        let mut seen = BTreeSet::new();
        self.found.retain(|problem| {
            let message = match &problem.stage {
                Some(stage) => problem.message.replace(stage.as_str(), family(stage)),
                None => problem.message.clone(),
            };
            seen.insert((format!("{:?}", problem.location), message))
        });
        let (file, problems, sources) = (file.to_owned(), self.found, self.sources);
        PipelineError::Invalid { file, problems, sources }
    }

    fn location(&self, origin: Origin) -> Location {
        match origin {
            Origin::File(Span { line, column, width }) => {
                // A long line helps nobody, and every problem in it has a copy.
                let text = self.line(line).filter(|text| text.len() <= LONGEST_LINE);
                let text = text.map(|text| text.trim_end().to_owned()).unwrap_or_default();
                Location::File { line, column, width, text }
            }
            Origin::Set(index) => {
                let argument = self.overrides.set.get(index);
                let argument = argument.map(|(key, value)| format!("--set {key}={value}"));
                Location::Argument { argument: argument.unwrap_or_default() }
            }
            Origin::Axis(index) => {
                let argument = self.axes.get(index).cloned().unwrap_or_default();
                Location::Argument { argument }
            }
            Origin::Profile => {
                let profile = self.overrides.profile.as_deref().unwrap_or_default();
                Location::Argument { argument: format!("--profile {profile}") }
            }
        }
    }
}

/// The problems of a file, formatted as rustc formats errors, without colours.
struct Rendered<'a> {
    file: &'a Path,
    problems: &'a [Problem],
}

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(MOST_SHOWN).enumerate() {
            if index > 0 {
                writeln!(out, "\n")?;
            }
            write_problem(out, self.file, problem)?;
        }
        match self.problems.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(out, "\n\nerror: {more} more problems are not shown"),
        }
    }
}

/// How many problems are shown to people, and how much of one message, in columns.
const MOST_SHOWN: usize = 100;
const LONGEST_MESSAGE: usize = 2000;

/// The longest line, in bytes, that is shown with a problem in it.
const LONGEST_LINE: usize = 1000;

fn write_problem(out: &mut fmt::Formatter, file: &Path, problem: &Problem) -> fmt::Result {
    write!(out, "error: {}", fit(&printable(&problem.message), LONGEST_MESSAGE))?;
    match &problem.location {
        Location::File { line, column, width, text } => {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            write!(out, "\n{margin}--> {}:{line}:{column}", file.display())?;
            if !text.is_empty() {
                write!(out, "\n{margin} |\n{number} | {}", printable(text))?;
                let part = |from: usize, count: usize| {
                    let part: String = text.chars().skip(from).take(count).collect();
                    columns(&printable(&part))
                };
                let before = column.saturating_sub(1);
                let carets = "^".repeat(part(before, *width).max(1));
                let indent = " ".repeat(part(0, before));
                write!(out, "\n{margin} | {indent}{carets}")?;
            }
        }
        Location::Argument { argument } => {
            write!(out, "\n --> {}", fit(&printable(argument), LONGEST_MESSAGE))?
        }
    }
    for note in &problem.notes {
        write!(out, "\nnote: {}", printable(note))?;
    }
    if let Some(help) = &problem.help {
        write!(out, "\nhelp: {}", printable(help))?;
    }
    Ok(())
}

fn io_error_as_text<S: serde::Serializer>(error: &io::Error, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(error)
}
