//! `pipe cache`: lists and prints what is in the store. Cleaning up and checking have files of their
//! own.

mod gc;
mod verify;

use std::collections::BTreeMap;
use std::fs::File;

use clap::{Args, Subcommand};
use stages::Kind;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::linked::check_intact;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::Project;
use crate::cli::show::{self, ShowOptions};
use crate::console::Console;
use crate::files::digest::Content;
use crate::files::file_error::FileError;
use crate::store::record::Record;
use crate::text::figures::{age, bytes};
use crate::text::terminal::{fit, table};

#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List all artifacts
    Ls {
        /// Print one JSON object per artifact
        #[arg(long)]
        json: bool,
    },
    /// Show an artifact in readable form, as `pipe show` does, or its record
    Show(CacheShowOptions),
    /// Print the bytes of an artifact. For a folder: its listing, or one file as
    /// `stage:output/FILE`
    Cat(Target),
    /// Show how much space each output takes
    Du(gc::DuOptions),
    /// Read the whole store and report what is damaged
    Verify(verify::VerifyOptions),
    Gc(gc::GcOptions),
}

#[derive(Debug, Args)]
pub struct Target {
    /// `stage:output`, `stage:output/FILE`, or the beginning of a key or digest
    target: String,
    #[command(flatten)]
    overrides: OverrideOptions,
}

#[derive(Debug, Args)]
pub struct CacheShowOptions {
    #[command(flatten)]
    show: ShowOptions,
    /// Print the record as JSON: the stage's inputs, parameters and outputs, and where it ran
    #[arg(long, conflicts_with = "rows")]
    record: bool,
}

pub fn execute(
    command: &CacheCommand,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    match command {
        CacheCommand::Du(options) => return gc::du(options, globals, console),
        CacheCommand::Verify(options) => return verify::execute(options, globals, console),
        CacheCommand::Gc(options) => return gc::execute(options, globals, console),
        CacheCommand::Ls { json } => {
            let project =
                Project::load_for_results(globals, &OverrideOptions::default().overrides())?;
            let mut records = project.store.records();
            records.sort_by(|a, b| (&b.when, &a.stage, a.key).cmp(&(&a.when, &b.stage, b.key)));
            match json {
                true => console.json(&listing_json(&records))?,
                false => console.data(&listing(&records))?,
            }
        }
        CacheCommand::Show(options) if !options.record => {
            return show::execute(&options.show, globals, console);
        }
        CacheCommand::Show(CacheShowOptions { show, .. }) => {
            let project = Project::load_for_results(globals, &show.overrides.overrides())?;
            let (record, _) = project.find(&show.artifact, console)?;
            // A record always serializes.
            console.json(&(serde_json::to_string_pretty(&record).unwrap_or_default() + "\n"))?;
        }
        CacheCommand::Cat(target) => {
            let project = Project::load_for_results(globals, &target.overrides.overrides())?;
            let (name, inner) = file_in_folder(&target.target);
            let (record, output) = project.find(name, console)?;
            let (_, artifact) = record.output(output, name)?;
            let content = match inner {
                None => artifact.content,
                Some(inner) => file_of(&project, artifact.content, name, inner)?,
            };
            let object = project.store.object(content);
            check_intact(&project.store, content)?;
            let mut file = File::open(&object).map_err(FileError::at("reading", &object))?;
            console.stream(&mut file)?;
        }
    }
    Ok(Exit::Done)
}

/// Splits `finetune:model/config.json` into the artifact and a file in it.
fn file_in_folder(target: &str) -> (&str, Option<&str>) {
    let output = target.find(':').map_or(target.len(), |colon| colon + 1);
    match target[output..].split_once('/') {
        Some((_, inner)) if !inner.is_empty() => {
            (&target[..target.len() - inner.len() - 1], Some(inner))
        }
        Some(_) => (&target[..target.len() - 1], None),
        None => (target, None),
    }
}

fn file_of(project: &Project, folder: Content, name: &str, inner: &str) -> Result<Content, Error> {
    let files = match folder.kind {
        Kind::File => BTreeMap::new(),
        Kind::Folder => {
            let object = project.store.object(folder);
            let tree = project.store.tree(folder);
            tree.ok_or_else(|| FileError::found("reading", &object, "it is damaged"))?.files
        }
    };
    match files.get(inner) {
        Some(file) => Ok(file.content()),
        None => Err(Error::NoSuchFile {
            artifact: name.to_owned(),
            file: inner.to_owned(),
            known: files.into_keys().collect(),
        }),
    }
}

/// How many columns a name gets. Variants have long names; the digest identifies them too.
const NAME_WIDTH: usize = 44;

fn listing(records: &[Record]) -> String {
    let mut rows = Vec::new();
    for record in records {
        for (output, artifact) in &record.outputs {
            let kind = if artifact.content.kind == Kind::Folder { "/" } else { "" };
            rows.push(vec![
                fit(&format!("{}:{output}{kind}", record.stage), NAME_WIDTH),
                artifact.content.digest.short(),
                format!("{:>8}", bytes(artifact.bytes)),
                format!("{} ago", age(&record.when)),
            ]);
        }
    }
    table(rows)
}

fn listing_json(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        for (output, artifact) in &record.outputs {
            let line = serde_json::json!({
                "stage": record.stage,
                "output": output,
                "content": artifact.content,
                "bytes": artifact.bytes,
                "key": record.key,
                "when": record.when,
            });
            text.push_str(&line.to_string());
            text.push('\n');
        }
    }
    text
}
