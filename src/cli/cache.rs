//! `pipe cache`: what is in the store.

use std::fs::File;

use clap::{Args, Subcommand};
use stages::Kind;

use crate::cli::project::Project;
use crate::cli::{Globals, OverrideOptions};
use crate::console::Console;
use crate::console::text::{age, bytes, table};
use crate::error::Error;
use crate::exit::Exit;
use crate::file_error::FileError;
use crate::record::Record;

#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List all artifacts
    Ls {
        /// Print one JSON object an artifact
        #[arg(long)]
        json: bool,
    },
    /// Print the record behind an artifact, as JSON
    Show(Target),
    /// Print an artifact's bytes; of a folder, the listing
    Cat(Target),
}

#[derive(Debug, Args)]
pub struct Target {
    /// `stage:output`, or the beginning of a key or a digest
    target: String,
    #[command(flatten)]
    overrides: OverrideOptions,
}

pub fn execute(
    command: &CacheCommand,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    match command {
        CacheCommand::Ls { json } => {
            let project = Project::load(globals, &OverrideOptions::default().overrides())?;
            let mut records = project.store.records();
            records.sort_by(|a, b| (&b.when, &a.stage, a.key).cmp(&(&a.when, &b.stage, b.key)));
            console.data(&if *json { listing_json(&records) } else { listing(&records) })?;
        }
        CacheCommand::Show(target) => {
            let project = Project::load(globals, &target.overrides.overrides())?;
            let (record, _) = project.find(&target.target, console)?;
            // A record always serializes.
            console.data(&(serde_json::to_string_pretty(&record).unwrap_or_default() + "\n"))?;
        }
        CacheCommand::Cat(target) => {
            let project = Project::load(globals, &target.overrides.overrides())?;
            let (record, output) = project.find(&target.target, console)?;
            let (_, artifact) = record.output(output, &target.target)?;
            let object = project.store.object(artifact.content);
            let mut file = File::open(&object).map_err(FileError::at("reading", &object))?;
            console.stream(&mut file)?;
        }
    }
    Ok(Exit::Done)
}

fn listing(records: &[Record]) -> String {
    let mut rows = Vec::new();
    for record in records {
        for (output, artifact) in &record.outputs {
            let kind = if artifact.content.kind == Kind::Folder { "/" } else { "" };
            rows.push(vec![
                format!("{}:{output}{kind}", record.stage),
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
