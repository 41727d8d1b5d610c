//! `predict`: class probabilities for token files, with a model from `finetune` or a checkpoint that
//! has a classification head.

#[cfg(feature = "model")]
pub mod deciding;
#[cfg(feature = "model")]
pub mod inference;
pub mod params;

use self::params::PARAMS;
use crate::data::prediction::{ANSWER, PREDICTIONS, VALID};
use crate::stage::error::StageError;
use crate::stage::params::Params;
use crate::stage::{CheckError, Context, InputSpec, Kind, Stage, StageSpec};

/// The stage.
pub struct Predict;

const SPEC: StageSpec = StageSpec {
    name: "predict",
    version: 5,
    summary: "classifies examples with a fine-tuned model",
    inputs: &[
        InputSpec::required("model", Kind::Folder, "a model folder with a classification head"),
        InputSpec::optional(
            "test",
            Kind::File,
            "token file to classify; `answer` holds its labels",
        ),
        InputSpec::optional("valid", Kind::File, "token file to classify too, for `score`"),
    ],
    outputs: &[PREDICTIONS, ANSWER, VALID],
    params: PARAMS,
    headline: &[],
};

impl Stage for Predict {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, _: &Params, wired: &[&str]) -> Result<(), CheckError> {
        if wired.iter().any(|name| ["test", "valid"].contains(name)) {
            return Ok(());
        }
        let message = "give at least one of the inputs `test` and `valid`".to_owned();
        Err(CheckError { name: None, message })
    }

    #[cfg(feature = "model")]
    fn run(&self, context: &Context) -> Result<(), StageError> {
        inference::run(context)
    }

    #[cfg(not(feature = "model"))]
    fn run(&self, _: &Context) -> Result<(), StageError> {
        Err(StageError::without_model(self.name()))
    }
}
