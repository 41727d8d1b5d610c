//! What a card says.

use serde_json::Value;
use stages::data::task::Task;
use stages::model::config::{DecisionThreshold, TextWindows};

use crate::pipeline::Input;
use crate::report::data::Evaluation;

/// What a card says.
#[derive(Debug)]
pub struct ModelCard {
    /// That of the repository: ASCII letters, digits, `.`, `_` and `-`.
    pub name: String,
    pub model: CardModel,
    /// `None` for a folder of which there is no record.
    pub made: Option<Made>,
    /// Of the predictions of this model, scored ones first.
    pub scored: Vec<Scored>,
}

/// An evaluation of predictions of the model.
#[derive(Debug)]
pub struct Scored {
    pub evaluation: Evaluation,
    /// The files that the texts come from.
    pub data: Vec<Source>,
}

/// What the model's `config.json` says.
#[derive(Clone, Debug)]
pub struct CardModel {
    pub task: Task,
    /// The name of each class; of a regression one that means nothing.
    pub labels: Vec<String>,
    /// Of two labels.
    pub threshold: Option<DecisionThreshold>,
    /// Of each label, where a text may have several; empty if all are 0.5.
    pub thresholds: Vec<f64>,
    pub windows: Option<TextWindows>,
}

/// How the model was made.
#[derive(Debug)]
pub struct Made {
    /// The stage that trained it: `finetune version 5`.
    pub stage: String,
    /// The version of `pipe`.
    pub pipe: String,
    /// The day, in UTC.
    pub day: String,
    pub seconds: f64,
    pub device: Option<String>,
    /// `None` if it is not known.
    pub start: Option<Start>,
    /// The files that its examples come from.
    pub data: Vec<Source>,
    /// The settings of the stages between the data and the model.
    pub settings: Vec<Setting>,
}

/// What a model was before it was trained.
#[derive(Debug)]
pub enum Start {
    /// A model with weights. If a stage made that, what that stage started from.
    Model(Source),
    /// Random weights, in the shape of a model if there is one.
    Random(Option<Source>),
}

/// Something that the pipeline did not make.
#[derive(Debug)]
pub struct Source {
    /// A path, a URL, or a name on the hub, if the pipeline still names the same bytes.
    pub origin: Option<Input>,
    /// `blake3:` and hexadecimal digits.
    pub digest: String,
}

/// A parameter that matters for using the model, or for making it again.
#[derive(Debug)]
pub struct Setting {
    /// `finetune.epochs`
    pub key: String,
    /// The built-in that has it.
    pub builtin: String,
    pub value: Value,
    /// Whether it is the value that the built-in has by itself.
    pub is_default: bool,
    /// Whether only an earlier training, such as `pretrain`, had to do with this stage.
    pub is_earlier: bool,
}
