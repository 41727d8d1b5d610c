//! The parameters of `finetune`. Every default is that of the published recipe or neutral.

use crate::params::{Default, ParamKind, ParamSpec};

const fn spec(
    name: &'static str,
    kind: ParamKind,
    default: Default,
    doc: &'static str,
) -> ParamSpec {
    ParamSpec { name, kind, default, doc }
}

const fn int(min: i64, max: i64) -> ParamKind {
    ParamKind::Int { min, max }
}

const fn float(min: f64, max: f64) -> ParamKind {
    ParamKind::Float { min, max }
}

const RATE: ParamKind = float(0.0, 0.99);

pub const PARAMS: &[ParamSpec] = &[
    spec(
        "epochs",
        int(0, 100_000),
        Default::Int(4),
        "passes over the training examples; 0: the checkpoint as it is, with its own head",
    ),
    spec("batch_size", int(1, 1_000_000), Default::Int(32), "examples of one optimiser step"),
    spec(
        "micro_batch",
        ParamKind::WordOrInt { words: &["auto"], min: 1, max: 1_000_000 },
        Default::Text("auto"),
        "examples that go through the network at once; their gradients are added up to those of \
         the whole batch; `auto` keeps the activations within 4 GiB, or less where that is not \
         free",
    ),
    spec("learning_rate", float(0.0, 10.0), Default::Float(2e-5), "highest learning rate"),
    spec(
        "schedule",
        ParamKind::Choice(&["linear", "constant"]),
        Default::Text("linear"),
        "how the learning rate goes on after warm-up: down to 0 at the last step, or level",
    ),
    spec(
        "schedule_epochs",
        int(1, 100_000),
        Default::Null,
        "the schedule's length; `epochs` where not given; where given, a run with more `epochs` \
         goes on from one with fewer",
    ),
    spec(
        "warmup_ratio",
        float(0.0, 1.0),
        Default::Float(0.0),
        "share of the schedule's steps in which the learning rate rises from 0",
    ),
    spec(
        "layer_decay",
        float(0.01, 1.0),
        Default::Float(1.0),
        "what the learning rate is multiplied by for every layer below the head; 1: not at all",
    ),
    spec(
        "freeze",
        ParamKind::WordOrInt { words: &["none", "embeddings"], min: 1, max: 1_000 },
        Default::Text("none"),
        "what is not trained: the embeddings, or they and that many of the lowest layers",
    ),
    spec(
        "weight_decay",
        float(0.0, 1.0),
        Default::Float(0.0),
        "decoupled weight decay; biases and layer norms are spared",
    ),
    spec(
        "label_smoothing",
        RATE,
        Default::Float(0.0),
        "share of each target that is spread over all classes",
    ),
    spec(
        "class_weights",
        ParamKind::WordOrFloatList { words: &["none", "balanced"], min: 0.0, max: 1e6 },
        Default::Text("none"),
        "weights of the classes in the loss: in the order of the labels, or `balanced` by how \
         many training examples each has",
    ),
    spec(
        "r_drop",
        float(0.0, 100.0),
        Default::Float(0.0),
        "weight of R-Drop's term, which draws two passes with different dropout to each other; \
         0 is one pass",
    ),
    spec("adam_beta1", float(0.0, 0.999_999), Default::Float(0.9), "decay of the first moment"),
    spec("adam_beta2", float(0.0, 0.999_999), Default::Float(0.999), "decay of the second moment"),
    spec("adam_epsilon", float(0.0, 1.0), Default::Float(1e-8), "added to AdamW's denominator"),
    spec(
        "max_grad_norm",
        float(0.0, 1e9),
        Default::Float(1.0),
        "gradients with a larger norm are scaled down to it; 0 turns this off",
    ),
    spec(
        "dropout",
        RATE,
        Default::Null,
        "dropout of hidden states; the model's own where not given",
    ),
    spec(
        "attention_dropout",
        RATE,
        Default::Null,
        "dropout of attention probabilities; the model's own if not given",
    ),
    spec(
        "classifier_dropout",
        RATE,
        Default::Null,
        "dropout in the head; the model's own where not given",
    ),
    spec(
        "pooling",
        ParamKind::Choice(&["auto", "first", "mean"]),
        Default::Text("auto"),
        "what of the last layer enters the head: the first token, the mean over all, or as the \
         checkpoint has it; `transformers` knows only the first token",
    ),
    spec(
        "seed",
        int(0, i64::MAX),
        Default::Int(42),
        "of the new head, the order of examples, and dropout",
    ),
    spec(
        "keep",
        ParamKind::Choice(&["last", "best"]),
        Default::Text("last"),
        "which epoch's model is the result",
    ),
    spec(
        "metric",
        ParamKind::Choice(&["loss", "accuracy", "precision", "recall", "f1"]),
        Default::Text("f1"),
        "by which validation figure `keep: best` and `patience` choose",
    ),
    spec(
        "patience",
        int(1, 100_000),
        Default::Null,
        "training ends early after so many epochs without a better figure",
    ),
    spec(
        "threshold",
        ParamKind::Choice(&["none", "f1", "accuracy"]),
        Default::Text("none"),
        "for two labels: the probability of the last one from which on it is predicted, chosen \
         for this figure on the validation examples and kept in the model folder; `none` is the \
         likelier label",
    ),
    spec(
        "init",
        ParamKind::Choice(&["pretrained", "random", "auto"]),
        Default::Text("pretrained"),
        "the checkpoint's weights, or random ones by its config.json alone; `auto`: random only \
         where the folder holds no weights",
    ),
    spec(
        "head",
        ParamKind::Choice(&["auto", "new"]),
        Default::Text("auto"),
        "the checkpoint's own classification head where it has one that fits, or a new one",
    ),
    spec(
        "precision",
        ParamKind::Choice(&["f32", "bf16"]),
        Default::Text("f32"),
        "of the factors of matrix products; all else is f32; bf16 is for GPUs, and slow on the CPU",
    ),
];
