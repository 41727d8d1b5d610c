//! `finetune`: trains a classifier on token files, starting from a pretrained encoder or from
//! random weights. The defaults are the published recipe of BERT fine-tuning on small sets.

#[cfg(feature = "model")]
mod setup;
#[cfg(feature = "model")]
mod training;

use crate::error::StageError;
use crate::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// The stage.
pub struct Finetune;

impl Stage for Finetune {
    fn name(&self) -> &'static str {
        "finetune"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "trains a classifier, starting from a pretrained encoder"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        const INPUTS: &[InputSpec] = &[
            InputSpec {
                name: "model",
                required: true,
                kind: Kind::Folder,
                many: false,
                doc: "the encoder: a Hugging Face model folder",
            },
            InputSpec {
                name: "train",
                required: true,
                kind: Kind::File,
                many: false,
                doc: "token file to train on",
            },
            InputSpec {
                name: "valid",
                required: false,
                kind: Kind::File,
                many: false,
                doc: "token file to evaluate on after each epoch",
            },
        ];
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        const OUTPUTS: &[OutputSpec] = &[
            OutputSpec {
                name: "model",
                file: "model",
                kind: Kind::Folder,
                given: None,
                doc: "the classifier as a Hugging Face model folder",
            },
            OutputSpec {
                name: "metrics",
                file: "metrics.jsonl",
                kind: Kind::File,
                given: None,
                doc: "losses and scores, a line for each epoch",
            },
        ];
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        PARAMS
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
        if params.text("keep") == "best" && !wired.contains(&"valid") {
            return Err(CheckError {
                name: Some("keep"),
                message: "`keep: best` needs the input `valid` to tell which epoch is best"
                    .to_owned(),
            });
        }
        Ok(())
    }

    #[cfg(feature = "model")]
    fn run(&self, context: &Context) -> Result<(), StageError> {
        training::run(context)
    }

    #[cfg(not(feature = "model"))]
    fn run(&self, _: &Context) -> Result<(), StageError> {
        Err(crate::without_model(self.name()))
    }
}

const fn rate(name: &'static str, doc: &'static str) -> ParamSpec {
    ParamSpec { name, kind: ParamKind::Float { min: 0.0, max: 0.99 }, default: Default::Null, doc }
}

const PARAMS: &[ParamSpec] = &[
    ParamSpec {
        name: "epochs",
        kind: ParamKind::Int { min: 1, max: 100_000 },
        default: Default::Int(4),
        doc: "passes over the training examples",
    },
    ParamSpec {
        name: "batch_size",
        kind: ParamKind::Int { min: 1, max: 1_000_000 },
        default: Default::Int(32),
        doc: "examples of one optimiser step",
    },
    ParamSpec {
        name: "micro_batch",
        kind: ParamKind::WordOrInt { words: &["auto"], min: 1, max: 1_000_000 },
        default: Default::Text("auto"),
        doc: "examples that go through the network at once; their gradients are added up to \
              those of the whole batch; `auto` keeps the activations within 4 GiB",
    },
    ParamSpec {
        name: "learning_rate",
        kind: ParamKind::Float { min: 0.0, max: 10.0 },
        default: Default::Float(2e-5),
        doc: "highest learning rate",
    },
    ParamSpec {
        name: "schedule",
        kind: ParamKind::Choice(&["linear", "constant"]),
        default: Default::Text("linear"),
        doc: "how the learning rate goes on after warm-up: down to 0 at the last step, or level",
    },
    ParamSpec {
        name: "warmup_ratio",
        kind: ParamKind::Float { min: 0.0, max: 1.0 },
        default: Default::Float(0.0),
        doc: "share of all steps in which the learning rate rises from 0",
    },
    ParamSpec {
        name: "weight_decay",
        kind: ParamKind::Float { min: 0.0, max: 1.0 },
        default: Default::Float(0.0),
        doc: "decoupled weight decay; biases and layer norms are spared",
    },
    ParamSpec {
        name: "adam_beta1",
        kind: ParamKind::Float { min: 0.0, max: 0.999_999 },
        default: Default::Float(0.9),
        doc: "decay of AdamW's first moment",
    },
    ParamSpec {
        name: "adam_beta2",
        kind: ParamKind::Float { min: 0.0, max: 0.999_999 },
        default: Default::Float(0.999),
        doc: "decay of AdamW's second moment",
    },
    ParamSpec {
        name: "adam_epsilon",
        kind: ParamKind::Float { min: 0.0, max: 1.0 },
        default: Default::Float(1e-8),
        doc: "added to AdamW's denominator",
    },
    ParamSpec {
        name: "max_grad_norm",
        kind: ParamKind::Float { min: 0.0, max: 1e9 },
        default: Default::Float(1.0),
        doc: "gradients with a larger norm are scaled down to it; 0 turns this off",
    },
    rate("dropout", "dropout of hidden states; the model's own where not given"),
    rate("attention_dropout", "dropout of attention probabilities; the model's own if not given"),
    rate("classifier_dropout", "dropout in the head; the model's own where not given"),
    ParamSpec {
        name: "seed",
        kind: ParamKind::Int { min: 0, max: i64::MAX },
        default: Default::Int(42),
        doc: "of the new head, the order of examples, and dropout",
    },
    ParamSpec {
        name: "keep",
        kind: ParamKind::Choice(&["last", "best"]),
        default: Default::Text("last"),
        doc: "which epoch's model is the result",
    },
    ParamSpec {
        name: "metric",
        kind: ParamKind::Choice(&["loss", "accuracy", "precision", "recall", "f1"]),
        default: Default::Text("f1"),
        doc: "by which validation figure `keep: best` chooses",
    },
    ParamSpec {
        name: "init",
        kind: ParamKind::Choice(&["pretrained", "random", "auto"]),
        default: Default::Text("pretrained"),
        doc: "the checkpoint's weights, or random ones by its config.json alone; `auto`: random \
              only where the folder holds no weights",
    },
    ParamSpec {
        name: "head",
        kind: ParamKind::Choice(&["auto", "new"]),
        default: Default::Text("auto"),
        doc: "the checkpoint's own classification head where it has one that fits, or a new one",
    },
    ParamSpec {
        name: "precision",
        kind: ParamKind::Choice(&["f32"]),
        default: Default::Text("f32"),
        doc: "of the arithmetic",
    },
];
