//! The built-in stages of `pipe`, each a function from files and parameters to files.
//!
//! A stage is a [`Stage`]: data that a pipeline is checked against, and [`Stage::run`], which
//! sees its [`Manifest`] and nothing else. [`run_manifest`] is what the binary's hidden `stage`
//! subcommand calls in a process of its own.
//!
//! | stage | reads | writes |
//! |---|---|---|
//! | [`ingest`] | JSONL, CSV or TSV | checked examples as JSONL, and a report |
//! | [`split`] | examples | training and validation examples |
//! | [`tokenize`] | examples, a model's tokenizer | token ids in safetensors |
//! | [`train_tokenizer`] | texts | a byte-level BPE tokenizer |
//! | [`pretrain`] | texts, a tokenizer or an encoder | an encoder as a model folder, metrics |
//! | [`finetune`] | token ids, an encoder | a Hugging Face model folder, metrics |
//! | [`predict`] | token ids, a model | class probabilities, `answer.txt` |
//! | [`baseline`] | examples | predictions of a model of n-grams, `answer.txt` |
//! | [`ensemble`] | several predictions | one, as `predict` writes it |
//! | [`score`] | predictions | precision, recall, F1 with intervals |
//!
//! Without the feature `model`, `pretrain`, `finetune` and `predict` can be planned but not run.

pub mod baseline;
#[cfg(feature = "model")]
pub mod classify;
pub mod corpus;
pub mod ensemble;
pub mod error;
pub mod event;
pub mod example;
pub mod finetune;
pub mod ingest;
pub mod labels;
pub mod lines;
pub mod manifest;
pub mod model;
pub mod nearest;
pub mod output;
pub mod params;
pub mod predict;
pub mod prediction;
pub mod pretrain;
pub mod progress;
pub mod random;
pub mod score;
pub mod split;
pub mod stage;
pub mod tensors;
pub mod text;
pub mod tokenize;
#[cfg(feature = "model")]
pub mod train;
pub mod train_tokenizer;
mod training;

use std::path::Path;

pub use error::StageError;
pub use event::{Event, Events};
pub use manifest::Manifest;
pub use params::{ParamKind, ParamSpec, Params};
pub use stage::{Context, Continuation, InputSpec, Kind, OutputSpec, Stage};

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

/// The outputs of a built-in that are files of [`prediction::Prediction`], by name.
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
