//! The built-in stages, one folder each, and how a stage's process runs one of them.

pub mod audit;
pub mod baseline;
#[cfg(feature = "model")]
pub mod classify;
pub mod clean;
pub mod ensemble;
#[cfg(feature = "model")]
pub mod export;
pub mod finetune;
pub mod ingest;
#[cfg(feature = "model")]
mod model_output;
#[cfg(feature = "model")]
mod open_device;
pub mod predict;
pub mod pretrain;
pub mod score;
pub mod split;
#[cfg(feature = "model")]
mod token_input;
pub mod tokenize;
pub mod train_tokenizer;

use std::path::Path;

use crate::stage::error::StageError;
use crate::stage::event::Events;
use crate::stage::manifest::Manifest;
use crate::stage::{Context, Stage};

/// Every built-in stage, in the order in which a pipeline uses them.
pub fn all() -> &'static [&'static dyn Stage] {
    &[
        &ingest::Ingest,
        &split::Split,
        &tokenize::Tokenize,
        &train_tokenizer::TrainTokenizer,
        &pretrain::Pretrain,
        &finetune::Finetune,
        &predict::Predict,
        &baseline::Baseline,
        &ensemble::Ensemble,
        &score::Score,
        &audit::Audit,
        &clean::Clean,
    ]
}

/// The built-in with this name.
pub fn find(name: &str) -> Option<&'static dyn Stage> {
    all().iter().copied().find(|stage| stage.name() == name)
}

/// The headline metrics of all stages among those that exist, in the order of the stages. Macro F1
/// and its like are shown only where there is no figure of a positive label.
pub fn headline(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let names = all().iter().flat_map(|stage| stage.headline()).copied();
    names
        .filter(|name| has(name) && !(name.contains("macro_") && has(&name.replace("macro_", ""))))
        .collect()
}

/// The names of a built-in's outputs that are files of
/// [`Prediction`](crate::data::prediction::Prediction)s.
pub fn predictions_of(builtin: &str) -> &'static [&'static str] {
    match builtin {
        "predict" | "ensemble" | "baseline" => &["predictions", "valid"],
        _ => &[],
    }
}

/// Reads a manifest and runs its stage.
pub fn run_manifest(path: &Path, events: &Events) -> Result<(), StageError> {
    run(&Manifest::read(path)?, events)
}

/// Runs the stage that a manifest describes, on a thread pool of the manifest's size.
///
/// # Errors
/// No built-in has this name, the version differs, or the stage fails.
pub fn run(manifest: &Manifest, events: &Events) -> Result<(), StageError> {
    let stage = find(&manifest.uses)
        .ok_or_else(|| StageError::NoSuchStage { name: manifest.uses.clone() })?;
    if stage.version() != manifest.version {
        return Err(StageError::OtherVersion {
            name: manifest.uses.clone(),
            wanted: manifest.version,
            found: stage.version(),
        });
    }
    let threads = manifest.threads;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| StageError::Unavailable {
        what: format!("a pool of {threads} threads"),
        problem: error.to_string(),
    })?;
    pool.install(|| stage.run(&Context { manifest, events }))
}
