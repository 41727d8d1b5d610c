//! The built-in stages, a folder each.

pub mod baseline;
#[cfg(feature = "model")]
pub mod classify;
pub mod ensemble;
pub mod finetune;
pub mod ingest;
pub mod predict;
pub mod pretrain;
pub mod score;
pub mod split;
pub mod tokenize;
pub mod train_tokenizer;

use std::path::Path;

use crate::stage::error::StageError;
use crate::stage::event::Events;
use crate::stage::manifest::Manifest;
use crate::stage::{Context, Stage};

/// Every built-in stage, in the order of a pipeline.
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
    ]
}

/// What `pretrain`, `finetune` and `predict` say in a build without the model.
#[cfg(not(feature = "model"))]
fn without_model(stage: &str) -> StageError {
    StageError::Unavailable {
        what: format!("stage `{stage}`"),
        problem: "this binary was built without the feature `model`".to_owned(),
    }
}

/// The built-in of that name.
pub fn find(name: &str) -> Option<&'static dyn Stage> {
    all().iter().copied().find(|stage| stage.name() == name)
}

/// The outputs of a built-in that are files of [`Prediction`](crate::data::prediction::Prediction), by name.
pub fn predictions_of(builtin: &str) -> &'static [&'static str] {
    match builtin {
        "predict" | "ensemble" | "baseline" => &["predictions", "valid"],
        _ => &[],
    }
}

/// Runs the stage that a manifest describes.
pub fn run_manifest(path: &Path, events: &Events) -> Result<(), StageError> {
    let manifest = Manifest::read(path)?;
    let stage = find(&manifest.uses)
        .ok_or_else(|| StageError::NoSuchStage { name: manifest.uses.clone() })?;
    if stage.version() != manifest.version {
        return Err(StageError::OtherVersion {
            name: manifest.uses.clone(),
            wanted: manifest.version,
            found: stage.version(),
        });
    }
    if manifest.threads > 0 {
        // Where a pool is there already, in a test's process, its size changes no result.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(manifest.threads).build_global();
    }
    stage.run(&Context { manifest: &manifest, events })
}
