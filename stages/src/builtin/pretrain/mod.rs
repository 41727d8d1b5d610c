//! `pretrain`: masked language modelling on plain texts. It starts from random weights and a
//! tokenizer of `train-tokenizer`, or from a checkpoint of BERT, RoBERTa or MPNet. `finetune` starts
//! from its output.

#[cfg(feature = "model")]
mod evaluation;
#[cfg(feature = "model")]
mod fit;
#[cfg(feature = "model")]
mod masking;
pub mod params;
#[cfg(feature = "model")]
mod setup;
#[cfg(feature = "model")]
mod steps;
#[cfg(feature = "model")]
mod texts;

#[cfg(feature = "model")]
pub use self::masking::{Vocabulary, WordPart};
#[cfg(feature = "model")]
pub use self::texts::{MaskedLoss, MaskedPart};

use self::params::{PARAMS, PretrainParams, SHAPE, Shape};

use crate::stage::error::StageError;
use crate::stage::params::Params;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};
use crate::train::params::Init;

/// The stage.
pub struct Pretrain;

const SPEC: StageSpec = StageSpec {
    name: "pretrain",
    version: 3,
    summary: "trains an encoder on texts without labels, by masked language modelling",
    inputs: &[
        InputSpec::optional(
            "model",
            Kind::Folder,
            "the encoder to continue from: a Hugging Face model folder",
        ),
        InputSpec::optional(
            "tokenizer",
            Kind::Folder,
            "instead of `model`: a tokenizer's folder, for a new RoBERTa",
        ),
        InputSpec::required(
            "text",
            Kind::File,
            "texts: one per line, or JSON lines with a field `text`",
        ),
        InputSpec::optional(
            "valid",
            Kind::File,
            "texts to evaluate on, instead of a share of `text`",
        ),
    ],
    outputs: &[
        OutputSpec::new(
            "model",
            "model",
            Kind::Folder,
            "encoder, output layer and tokenizer as a Hugging Face model folder",
        ),
        OutputSpec::new(
            "metrics",
            "metrics.jsonl",
            Kind::File,
            "losses and perplexity, one line per evaluation",
        ),
    ],
    params: PARAMS,
    headline: &["train_loss", "valid_loss", "valid_perplexity"],
};

impl Stage for Pretrain {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let problem = |name, message: String| Err(CheckError { name: Some(name), message });
        let from_checkpoint = wired.contains(&"model");
        if from_checkpoint == wired.contains(&"tokenizer") {
            let message =
                "give either `model`, to continue from it, or `tokenizer`, for a new model";
            return problem("model", message.to_owned());
        }
        for name in SHAPE {
            if from_checkpoint && params.optional_int(name).is_some() {
                return problem(
                    name,
                    format!("`{name}` is that of the `model`: give one of the two"),
                );
            }
        }
        let params = PretrainParams::of(params);
        if !from_checkpoint && params.training.init == Init::Pretrained {
            return problem("init", "there is no `model` with pretrained weights".to_owned());
        }
        let Shape { hidden, heads, .. } = params.shape.of_new_model();
        if hidden % heads != 0 {
            let message = format!("`hidden` {hidden} is not a multiple of `heads` {heads}");
            return problem("heads", message);
        }
        if params.masking.keep + params.masking.random > 1.0 {
            let message = "`mask_keep` and `mask_random` add up to more than 1".to_owned();
            return problem("mask_random", message);
        }
        Ok(())
    }

    fn shrinks(&self, _: &Params) -> bool {
        true
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
