//! What `pipe export` writes of a model folder, and what a program that reads it has to know.

use std::path::{Path, PathBuf};

use crate::builtin::predict::deciding::Deciding;
use crate::builtin::predict::params::PredictParams;
use crate::data::task::Task;
use crate::model::config::{DecisionThreshold, ModelConfig, TextWindows, WindowPooling};
use crate::model::head::CheckpointHead;
use crate::onnx::file::{Files, LARGEST, files};
use crate::onnx::{self, Storage};
use crate::stage::error::StageError;
use crate::stage::params::Params;
use crate::text::tokenizer_files;

/// The graph of a classifier.
pub struct OnnxFile {
    pub files: Files,
    /// What the graph does not do, but `predict` does.
    pub notes: Vec<String>,
}

/// The graph of the classifier in `folder`, whose `config.json` is `config`. `predict` are the
/// parameters of the stage with this name, and `data` is the name of the file for what the graph has no
/// room for.
pub fn onnx_file(
    folder: &Path,
    config: &ModelConfig,
    predict: &Params,
    storage: Storage,
    data: &str,
) -> Result<OnnxFile, StageError> {
    let predict = PredictParams::of(predict);
    let deciding = Deciding::new(folder, config, &predict)?;
    let own = CheckpointHead::required(folder, config)?.labels;
    let graph = onnx::model(folder, config, own.len(), storage)?;
    let notes = [
        decision(&deciding),
        windows(config.head.windows, predict.window_pooling.pooling(config)),
        (deciding.labels != own).then(|| {
            "`label_map` of `predict` gives the labels other names; `config.json` has the model's \
             own"
            .to_owned()
        }),
        (!folder.join("tokenizer.json").is_file()).then(|| {
            "the model has no `tokenizer.json`, which transformers.js reads; `AutoTokenizer` of \
             transformers makes one from the files that are there"
                .to_owned()
        }),
    ];
    let files = files(graph, LARGEST, data);
    Ok(OnnxFile { files, notes: notes.into_iter().flatten().collect() })
}

/// The files of a model folder that go with a graph: what a tokenizer is made from, and the names of
/// the labels.
pub fn companions(folder: &Path) -> Vec<PathBuf> {
    let config = [folder.join("config.json")];
    config.into_iter().filter(|file| file.is_file()).chain(tokenizer_files(folder)).collect()
}

/// How labels are decided, if it is not by the largest logit, or by the signs of those of several
/// labels.
fn decision(deciding: &Deciding) -> Option<String> {
    const FOLD: &str = "the graph gives logits, so whoever reads them has to know; `fold: true` of \
                        `finetune` moves thresholds into the head, and then nobody has to";
    if deciding.task == Task::Multi {
        let each = deciding.labels.iter().zip(&deciding.thresholds);
        let moved: Vec<String> = each
            .filter(|(_, threshold)| **threshold != 0.5)
            .map(|(label, threshold)| format!("`{label}` above {threshold:.4}"))
            .collect();
        let listed = moved.join(", ");
        return (!moved.is_empty()).then(|| format!("a text has the label {listed}: {FOLD}"));
    }
    let DecisionThreshold { value, class } = deciding.threshold?;
    let label = deciding.labels.get(class).filter(|_| value != 0.5)?;
    Some(format!(
        "the model decides for `{label}` if its probability is above {value:.4}, not if its logit is \
         the larger one: {FOLD}"
    ))
}

fn windows(windows: Option<TextWindows>, pooling: WindowPooling) -> Option<String> {
    let TextWindows { length, stride, .. } = windows?;
    let pooled = match pooling {
        WindowPooling::Mean => "their mean",
        WindowPooling::Max => "the largest of each label",
    };
    Some(format!(
        "the model reads long texts in windows of {length} tokens that share {stride}: the graph \
         computes one window, and the logits of a text are {pooled}"
    ))
}
