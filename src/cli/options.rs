//! Options that several commands share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::pipeline::Overrides;

/// The heading of the global options in `--help`, below a subcommand's own options.
const GLOBAL: &str = "Global options";

/// Options that every subcommand accepts.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The pipeline file. Default: `pipeline.yaml` here or in the nearest folder above
    #[arg(short, long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Change to this folder first
    #[arg(short = 'C', long, global = true, help_heading = GLOBAL, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// The store's folder. Default: the variable `PIPE_CACHE`, relative to the pipeline's folder,
    /// or `cache` beside the pipeline
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Print errors and warnings only
    #[arg(short, long, global = true, help_heading = GLOBAL, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more, such as the stages that are up to date
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub verbose: bool,
    /// When to use colors
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// Overrides of the pipeline's variables and parameters.
#[derive(Clone, Debug, Default, Args)]
pub struct OverrideOptions {
    /// Set a variable (`model=DIR`) or a stage's parameter (`finetune.epochs=2`)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Apply one of the pipeline's profiles
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

impl OverrideOptions {
    pub fn overrides(&self) -> Overrides {
        Overrides { set: self.set.clone(), profile: self.profile.clone() }
    }
}

/// Splits `KEY=VALUE` at the first `=`. A variant's name holds `=` itself, so
/// `finetune@seed=1.epochs=2` is split after the parameter's name.
pub fn key_and_value(text: &str) -> Result<(String, String), String> {
    let at_equals = || text.match_indices('=').map(|(at, _)| text.split_at(at));
    let for_variant = at_equals().find(|(key, _)| {
        let name = key.rsplit_once('.').filter(|(stage, _)| stage.contains('@'));
        name.is_some_and(|(_, name)| {
            name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && name.chars().all(|other| other.is_ascii_alphanumeric() || "_-".contains(other))
        })
    });
    let first = at_equals().next();
    let is_for_variant = first.is_some_and(|(key, _)| key.contains('@'));
    let split = for_variant.filter(|_| is_for_variant).or(first);
    let (key, value) = split.ok_or("expected `KEY=VALUE`")?;
    let value = &value[1..];
    if key.is_empty() {
        return Err("there is no key before `=`".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}
