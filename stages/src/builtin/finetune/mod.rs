//! `finetune`: trains a classifier on token files, starting from a pretrained encoder or from
//! random weights. The defaults are the published recipe of BERT fine-tuning on small sets.

#[cfg(feature = "model")]
mod metrics;
mod params;
#[cfg(feature = "model")]
mod setup;
#[cfg(feature = "model")]
mod training;

use crate::stage::error::StageError;
use crate::stage::params::{ParamSpec, Params};
use crate::stage::{CheckError, Context, Continuation, InputSpec, Kind, OutputSpec, Stage};

/// The stage.
pub struct Finetune;

impl Stage for Finetune {
    fn name(&self) -> &'static str {
        "finetune"
    }

    fn version(&self) -> u32 {
        4
    }

    fn summary(&self) -> &'static str {
        "trains a classifier, starting from a pretrained encoder"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        const INPUTS: &[InputSpec] = &[
            InputSpec::required("model", Kind::Folder, "the encoder: a Hugging Face model folder"),
            InputSpec::required("train", Kind::File, "token file to train on"),
            InputSpec::optional("valid", Kind::File, "token file to evaluate on after each epoch"),
        ];
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        const OUTPUTS: &[OutputSpec] = &[
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
                "losses and scores, a line for each epoch",
            ),
        ];
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        params::PARAMS
    }

    fn headline(&self) -> &'static [&'static str] {
        &[
            "train_loss",
            "valid_loss",
            "valid_accuracy",
            "valid_f1",
            "train_seconds",
            "tokens_per_second",
        ]
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let problem = |name, message: String| Err(CheckError { name: Some(name), message });
        let wanted = [
            ("keep", params.text("keep") == "best", "to tell which epoch is best"),
            ("patience", params.optional_int("patience").is_some(), "to tell when to end"),
            ("threshold", params.text("threshold") != "none", "to choose a threshold"),
        ];
        for (name, wanted, why) in wanted {
            if wanted && !wired.contains(&"valid") {
                return problem(name, format!("`{name}` needs the input `valid` {why}"));
            }
        }
        let (epochs, length) = (params.int("epochs"), params.optional_int("schedule_epochs"));
        if let Some(length) = length.filter(|length| *length < epochs)
            && params.text("schedule") == "linear"
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
        let parameter = "epochs";
        let level = params.text("schedule") == "constant" && params.float("warmup_ratio") == 0.0;
        if level || params.optional_int("schedule_epochs").is_some() {
            return Continuation::By(parameter);
        }
        let why = match params.text("schedule") {
            "constant" => "the warm-up takes a share of all epochs; give `schedule_epochs`",
            _ => {
                "the learning rate falls to 0 over all epochs; give `schedule_epochs`, or \
                 `schedule: constant`"
            }
        };
        Continuation::Not { parameter, why }
    }

    fn shrinks(&self, params: &Params) -> bool {
        params.optional_int("micro_batch").is_none()
    }

    #[cfg(feature = "model")]
    fn run(&self, context: &Context) -> Result<(), StageError> {
        context.in_pool(|| training::run(context))
    }

    #[cfg(not(feature = "model"))]
    fn run(&self, _: &Context) -> Result<(), StageError> {
        Err(crate::builtin::without_model(self.name()))
    }
}
