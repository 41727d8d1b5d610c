//! `predict`: class probabilities for token files, with a model that `finetune` made or with a
//! checkpoint that brings a head of its own.

#[cfg(feature = "model")]
pub mod deciding;
#[cfg(feature = "model")]
pub mod inference;

use crate::data::prediction::{ANSWER, PREDICTIONS, VALID};
use crate::stage::error::StageError;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};
use crate::train::params::PRECISION;

/// The stage.
pub struct Predict;

impl Stage for Predict {
    fn name(&self) -> &'static str {
        "predict"
    }

    fn version(&self) -> u32 {
        4
    }

    fn summary(&self) -> &'static str {
        "classifies examples with a fine-tuned model"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        const INPUTS: &[InputSpec] = &[
            InputSpec::required("model", Kind::Folder, "a model folder with a classification head"),
            InputSpec::optional(
                "test",
                Kind::File,
                "token file to classify; `answer` is about this one",
            ),
            InputSpec::optional("valid", Kind::File, "token file to classify as well, for `score`"),
        ];
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        const OUTPUTS: &[OutputSpec] = &[PREDICTIONS, ANSWER, VALID];
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        const PARAMS: &[ParamSpec] = &[
            ParamSpec::new(
                "batch_size",
                ParamKind::int(1, 1_000_000),
                Default::Int(32),
                "examples that go through the network at once",
            ),
            ParamSpec::new(
                "label_map",
                ParamKind::TextMap,
                Default::EmptyMap,
                "the model's label names to those of the data, for instance \
                      `irony: SARCASM`",
            ),
            ParamSpec::new(
                "threshold",
                ParamKind::WordOrFloat { words: &["auto", "none"], min: 0.0, max: 1.0 },
                Default::Text("auto"),
                "for two labels: the last one is predicted if its probability is greater; \
                      `auto` is what the model folder carries, `none` the likelier label",
            ),
            PRECISION,
        ];
        PARAMS
    }

    fn check(&self, _: &Params, wired: &[&str]) -> Result<(), CheckError> {
        if wired.iter().any(|name| ["test", "valid"].contains(name)) {
            return Ok(());
        }
        let message = "one of the inputs `test` and `valid` must be given".to_owned();
        Err(CheckError { name: None, message })
    }

    #[cfg(feature = "model")]
    fn run(&self, context: &Context) -> Result<(), StageError> {
        context.in_pool(|| inference::run(context))
    }

    #[cfg(not(feature = "model"))]
    fn run(&self, _: &Context) -> Result<(), StageError> {
        Err(crate::builtin::without_model(self.name()))
    }
}
