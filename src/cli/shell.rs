//! Prints what is generated from the command line and the tables of stages: shell completions,
//! manual pages, and the schema of `pipeline.yaml`.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::console::Console;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch;
use crate::pipeline::schema::schema;

#[derive(Debug, Args)]
pub struct CompletionsOptions {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManOptions {
    /// Write one page per command into this folder. Default: print the page of `pipe`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite files in the folder even if they are no manual pages of these commands
    #[arg(long, requires = "out")]
    force: bool,
}

/// Prints the script that completes the command line of `pipe`.
pub fn completions(
    options: &CompletionsOptions,
    mut pipe: Command,
    console: &Console,
) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut pipe, "pipe", &mut script);
    console.bytes(&script)?;
    Ok(Exit::Done)
}

/// Prints the manual page of `pipe`, or writes one page per command.
pub fn man(options: &ManOptions, mut pipe: Command, console: &Console) -> Result<Exit, Error> {
    pipe.build();
    let Some(folder) = &options.out else {
        console.bytes(&page(pipe)?)?;
        return Ok(Exit::Done);
    };
    disk::create_folders(folder).map_err(FileError::at("making", folder))?;
    let mut commands = vec![("pipe".to_owned(), pipe)];
    while let Some((name, command)) = commands.pop() {
        for inner in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            if inner.get_name() != "help" {
                commands.push((format!("{name}-{}", inner.get_name()), inner.clone()));
            }
        }
        let file = folder.join(format!("{name}.1"));
        let title = format!(".TH {name} 1");
        let is_ours = |text: String| text.lines().any(|line| line.starts_with(&title));
        let is_page = || fs::read_to_string(&file).is_ok_and(is_ours);
        if !options.force && file.symlink_metadata().is_ok() && !is_page() {
            return Err(Error::NotOurs { path: file, command: "pipe man" });
        }
        scratch::write_beside(&file, &page(command)?)?;
    }
    console.note(&format!("wrote the manual pages into {}", folder.display()));
    Ok(Exit::Done)
}

fn page(command: Command) -> Result<Vec<u8>, Error> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

pub fn print_schema(console: &Console) -> Result<Exit, Error> {
    // Names, words and numbers always serialize.
    let text = serde_json::to_string_pretty(&schema(stages::all())).unwrap_or_default();
    console.json(&(text + "\n"))?;
    Ok(Exit::Done)
}
