//! `pipe report [RUN…]`: writes one HTML file about one run or several.

#[cfg(feature = "model")]
mod weights;

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::{Project, locate};
use crate::console::Console;
use crate::console::view::json_line;
use crate::files::file_error::FileError;
use crate::files::scratch::{write_beside, write_new_beside};
use crate::pipeline::{Overrides, Pipeline};
use crate::plan::reason::origin;
use crate::report::seal::{is_sealed, sealed};
use crate::report::{Subject, markdown::markdown, page::page, report};
use crate::results::run_diff::diff;
use crate::results::run_log::find::{find, ids, read};
use crate::results::run_log::{LoggedRun, RunLogError};
use crate::store::Store;
use crate::text::figures::{bytes, count};

#[derive(Debug, Args)]
pub struct ReportOptions {
    /// The runs: ids of `pipe log` or their beginnings, `last`, or `last~1`. Default: `last`
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// Report the last N runs
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "runs")]
    number: Option<NonZeroUsize>,
    /// The file to write; `-` prints it
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Overwrite the file even if `pipe report` did not write it, or it was edited since
    #[arg(long)]
    force: bool,
    /// Do not compute which tokens led the model to its mistakes
    #[arg(long)]
    no_weights: bool,
    /// Print the figures as Markdown, and write no file
    #[arg(long, conflicts_with_all = ["out", "json"])]
    markdown: bool,
    /// Print the report's data as one JSON object, and write no file
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

pub fn execute(
    options: &ReportOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let (root, store) = locate(globals)?;
    let runs = runs(options, &store, console)?;
    // The log does not tell where inputs come from; the current pipeline does, if it is valid.
    let load = |run: &LoggedRun| {
        let overrides = Overrides { set: run.set.clone(), profile: run.profile.clone() };
        Project::load_for_results(globals, &overrides).ok().map(|project| project.pipeline)
    };
    let pipelines: Vec<Option<Pipeline>> = runs.iter().map(load).collect();
    let subjects: Vec<Subject> = runs
        .iter()
        .zip(&pipelines)
        .map(|(run, pipeline)| Subject { run, pipeline: pipeline.as_ref() })
        .collect();
    let difference = match &runs[..] {
        [from, to] => {
            let origin = |stage: &str, input: &str| {
                pipelines[1].as_ref()?.stage(stage)?.inputs.get(input).map(origin)
            };
            Some(diff(from, to, &store, &origin))
        }
        _ => None,
    };
    let project = root.file_name().map_or_else(String::new, |it| it.display().to_string());
    #[cfg_attr(not(feature = "model"), expect(unused_mut))]
    let mut report = report(&project, &subjects, difference, &store);
    if options.markdown {
        console.data(&markdown(&report))?;
        return Ok(Exit::Done);
    }
    #[cfg(feature = "model")]
    if let ([run], [logged], false) = (&mut report.runs[..], &runs[..], options.no_weights) {
        weights::weigh(run, logged, &store);
    }
    if options.json {
        console.json(&json_line(&report))?;
        return Ok(Exit::Done);
    }
    let text = sealed(&page(&report));
    if options.out == Path::new("-") {
        console.bytes(text.as_bytes())?;
        return Ok(Exit::Done);
    }
    write(&options.out, &text, options.force)?;
    let (size, of) = (bytes(text.len() as u64), count(runs.len(), "run"));
    console.note(&format!("wrote `{}`: {of}, {size}", options.out.display()));
    Ok(Exit::Done)
}

/// The runs that the options name, without duplicates.
fn runs(
    options: &ReportOptions,
    store: &Store,
    console: &Console,
) -> Result<Vec<LoggedRun>, Error> {
    let Some(number) = options.number else {
        if options.runs.is_empty() {
            return Ok(vec![find(store, "last")?]);
        }
        let mut runs: Vec<LoggedRun> = Vec::new();
        for name in &options.runs {
            let run = find(store, name)?;
            if runs.iter().all(|it| it.id != run.id) {
                runs.push(run);
            }
        }
        return Ok(runs);
    };
    let ids = ids(store)?;
    let mut runs = Vec::new();
    for id in &ids[ids.len().saturating_sub(number.get())..] {
        match read(store, id) {
            Ok(run) => runs.push(run),
            // A damaged file must not hide the other runs.
            Err(error @ RunLogError::Damaged { .. }) => console.warning(&error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    if runs.is_empty() { Err(RunLogError::Empty.into()) } else { Ok(runs) }
}

/// Writes a temporary file beside `path`, then renames it. What `pipe report` did not write stays,
/// unless `overwrite` is set.
fn write(path: &Path, page: &str, overwrite: bool) -> Result<(), Error> {
    let at = || FileError::at("writing", path);
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(write_new_beside(path, page.as_bytes())?);
        }
        Err(error) => return Err(at()(error).into()),
        Ok(_) => {}
    }
    // A symbolic link stays; its target is replaced.
    let target = path.canonicalize().map_err(at())?;
    if !target.is_file() {
        return Err(
            FileError::found("writing", path, "something other than a file is there").into()
        );
    }
    let is_ours = || fs::read_to_string(&target).is_ok_and(|text| is_sealed(&text));
    if !overwrite && !is_ours() {
        return Err(Error::NotOurs { path: path.to_owned(), command: "pipe report" });
    }
    Ok(write_beside(&target, page.as_bytes())?)
}
