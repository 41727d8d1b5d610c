//! `finetune`: trains a classifier on token files, starting from a pretrained encoder or from
//! random weights. The defaults are the published recipe for fine-tuning BERT on small data sets.

pub mod choices;
#[cfg(feature = "model")]
mod decision;
#[cfg(feature = "model")]
mod epochs;
#[cfg(feature = "model")]
mod examples;
#[cfg(feature = "model")]
mod fit;
#[cfg(feature = "model")]
mod metrics;
pub mod params;
#[cfg(feature = "model")]
mod setup;
#[cfg(feature = "model")]
mod states;
#[cfg(feature = "model")]
mod task_params;

use self::choices::HeadChoice;
use self::params::{FinetuneParams, Length, PARAMS};
use crate::stage::error::StageError;
use crate::stage::params::Params;
use crate::stage::{
    CheckError, Context, Continuation, InputSpec, Kind, OutputSpec, Stage, StageSpec,
};
use crate::train::params::ScheduleParams;
use crate::train::schedule::Decay;

/// The stage.
pub struct Finetune;

const SPEC: StageSpec = StageSpec {
    name: "finetune",
    version: 5,
    summary: "trains a classifier, starting from a pretrained encoder",
    inputs: &[
        InputSpec::required("model", Kind::Folder, "the encoder: a Hugging Face model folder"),
        InputSpec::required("train", Kind::File, "token file to train on"),
        InputSpec::optional("valid", Kind::File, "token file to evaluate on after each epoch"),
    ],
    outputs: &[
        OutputSpec::new(
            "model",
            "model",
            Kind::Folder,
            "the classifier as a Hugging Face model folder",
        ),
        OutputSpec::new(
            "metrics",
            "metrics.jsonl",
            Kind::File,
            "losses and scores, one line per epoch",
        ),
    ],
    params: PARAMS,
    headline: &[
        "train_loss",
        "valid_loss",
        "valid_accuracy",
        "valid_f1",
        "valid_micro_f1",
        "valid_macro_f1",
        "valid_pearson",
        "valid_rmse",
        "train_seconds",
        "tokens_per_second",
    ],
};

impl Stage for Finetune {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let problem = |name, message: String| Err(CheckError { name: Some(name), message });
        let params = FinetuneParams::of(params);
        for (name, wanted, why) in params.needs_valid() {
            if wanted && !wired.contains(&"valid") {
                return problem(name, format!("`{name}` needs the input `valid` {why}"));
            }
        }
        if params.head == HeadChoice::New && !params.label_map.is_empty() {
            let message = "`label_map` is for the checkpoint's head, which `head: new` replaces";
            return problem("label_map", message.to_owned());
        }
        let Length { epochs, schedule_epochs } = params.length;
        if let Some(length) = schedule_epochs.filter(|length| *length < epochs)
            && params.training.schedule.decay == Decay::Linear
        {
            let message = format!(
                "a linear schedule of {length} epochs is at a learning rate of 0 before epoch \
                 {epochs}"
            );
            return problem("schedule_epochs", message);
        }
        Ok(())
    }

    fn continuation(&self, params: &Params) -> Continuation {
        Length::of(params).continuation(&ScheduleParams::of(params))
    }

    fn shrinks(&self, params: &Params) -> bool {
        FinetuneParams::of(params).micro_batch.is_none()
    }

    #[cfg(feature = "model")]
    fn run(&self, context: &Context) -> Result<(), StageError> {
        fit::run(context)
    }

    #[cfg(not(feature = "model"))]
    fn run(&self, _: &Context) -> Result<(), StageError> {
        Err(StageError::without_model(self.name()))
    }
}
