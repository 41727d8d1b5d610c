//! `pretrain`: masked language modelling on plain texts, from random weights with a tokenizer of
//! `train-tokenizer`, or from a checkpoint of BERT, RoBERTa or MPNet. What it writes, `finetune`
//! begins from.

#[cfg(feature = "model")]
mod evaluation;
#[cfg(feature = "model")]
mod masking;
mod params;
#[cfg(feature = "model")]
mod setup;
#[cfg(feature = "model")]
mod texts;
#[cfg(feature = "model")]
mod training;

#[cfg(feature = "model")]
pub use masking::{MaskRules, Vocabulary, WordPart};
#[cfg(feature = "model")]
pub use texts::{MaskedLoss, MaskedPart};

use crate::stage::error::StageError;
use crate::stage::params::{ParamSpec, Params};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// The stage.
pub struct Pretrain;

impl Stage for Pretrain {
    fn name(&self) -> &'static str {
        "pretrain"
    }

    fn version(&self) -> u32 {
        3
    }

    fn summary(&self) -> &'static str {
        "trains an encoder on texts without labels, by masked language modelling"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        const INPUTS: &[InputSpec] = &[
            InputSpec::optional(
                "model",
                Kind::Folder,
                "the encoder to go on from: a Hugging Face model folder",
            ),
            InputSpec::optional(
                "tokenizer",
                Kind::Folder,
                "without `model`: a tokenizer's folder, for a new RoBERTa",
            ),
            InputSpec::required(
                "text",
                Kind::File,
                "texts: one a line, or JSON lines with a field `text`",
            ),
            InputSpec::optional(
                "valid",
                Kind::File,
                "texts to evaluate on, in place of a share of `text`",
            ),
        ];
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        const OUTPUTS: &[OutputSpec] = &[
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
                "losses and perplexity, a line for each evaluation",
            ),
        ];
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        params::PARAMS
    }

    fn headline(&self) -> &'static [&'static str] {
        &["train_loss", "valid_loss", "valid_perplexity"]
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let problem = |name, message: String| Err(CheckError { name: Some(name), message });
        let from_checkpoint = wired.contains(&"model");
        if from_checkpoint == wired.contains(&"tokenizer") {
            let message = "give either `model`, to go on from it, or `tokenizer`, for a new model";
            return problem("model", message.to_owned());
        }
        for name in params::SHAPE {
            if from_checkpoint && params.optional_int(name).is_some() {
                return problem(name, format!("`{name}` is that of the `model` which is given"));
            }
        }
        if !from_checkpoint && params.text("init") == "pretrained" {
            return problem("init", "there is no `model` with pretrained weights".to_owned());
        }
        let (hidden, heads) = params::width(params);
        if hidden % heads != 0 {
            let message = format!("`hidden` {hidden} is not a multiple of `heads` {heads}");
            return problem("heads", message);
        }
        if params.float("mask_keep") + params.float("mask_random") > 1.0 {
            let message = "`mask_keep` and `mask_random` together are more than all".to_owned();
            return problem("mask_random", message);
        }
        Ok(())
    }

    fn shrinks(&self, _: &Params) -> bool {
        true
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
