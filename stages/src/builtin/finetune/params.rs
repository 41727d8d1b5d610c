//! The parameters of `finetune`. Every default is that of the published recipe or neutral.

use crate::stage::params::{Default, ParamKind, ParamSpec};
use crate::train::params::{
    ADAM_BETA1, MAX_GRAD_NORM, PRECISION, RATE, SCHEDULE, adam_beta2, adam_epsilon, learning_rate,
    seed, warmup_ratio, weight_decay,
};

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "epochs",
        ParamKind::int(0, 100_000),
        Default::Int(4),
        "passes over the training examples; 0: the checkpoint as it is, with its own head",
    ),
    ParamSpec::new(
        "batch_size",
        ParamKind::int(1, 1_000_000),
        Default::Int(32),
        "examples of one optimiser step",
    ),
    ParamSpec::new(
        "micro_batch",
        ParamKind::WordOrInt { words: &["auto"], min: 1, max: 1_000_000 },
        Default::Text("auto"),
        "examples that go through the network at once; their gradients are added up to those of \
         the whole batch; `auto` keeps the activations within 4 GiB, or less where that is not \
         free",
    ),
    learning_rate(2e-5),
    SCHEDULE,
    ParamSpec::new(
        "schedule_epochs",
        ParamKind::int(1, 100_000),
        Default::Null,
        "the schedule's length; `epochs` where not given; where given, a run with more `epochs` \
         goes on from one with fewer",
    ),
    warmup_ratio(0.0, "share of the schedule's steps in which the learning rate rises from 0"),
    ParamSpec::new(
        "layer_decay",
        ParamKind::float(0.01, 1.0),
        Default::Float(1.0),
        "what the learning rate is multiplied by for every layer below the head; 1: not at all",
    ),
    ParamSpec::new(
        "freeze",
        ParamKind::WordOrInt { words: &["none", "embeddings"], min: 1, max: 1_000 },
        Default::Text("none"),
        "what is not trained: the embeddings, or they and that many of the lowest layers",
    ),
    weight_decay(0.0),
    ParamSpec::new(
        "label_smoothing",
        RATE,
        Default::Float(0.0),
        "share of each target that is spread over all classes",
    ),
    ParamSpec::new(
        "class_weights",
        ParamKind::WordOrFloatList { words: &["none", "balanced"], min: 0.0, max: 1e6 },
        Default::Text("none"),
        "weights of the classes in the loss: in the order of the labels, or `balanced` by how \
         many training examples each has",
    ),
    ParamSpec::new(
        "r_drop",
        ParamKind::float(0.0, 100.0),
        Default::Float(0.0),
        "weight of R-Drop's term, which draws two passes with different dropout to each other; \
         0 is one pass",
    ),
    ADAM_BETA1,
    adam_beta2(0.999),
    adam_epsilon(1e-8),
    MAX_GRAD_NORM,
    ParamSpec::new(
        "dropout",
        RATE,
        Default::Null,
        "dropout of hidden states; the model's own where not given",
    ),
    ParamSpec::new(
        "attention_dropout",
        RATE,
        Default::Null,
        "dropout of attention probabilities; the model's own if not given",
    ),
    ParamSpec::new(
        "classifier_dropout",
        RATE,
        Default::Null,
        "dropout in the head; the model's own where not given",
    ),
    ParamSpec::new(
        "pooling",
        ParamKind::Choice(&["auto", "first", "mean"]),
        Default::Text("auto"),
        "what of the last layer enters the head: the first token, the mean over all, or as the \
         checkpoint has it; `transformers` knows only the first token",
    ),
    seed("of the new head, the order of examples, and dropout"),
    ParamSpec::new(
        "keep",
        ParamKind::Choice(&["last", "best"]),
        Default::Text("last"),
        "which epoch's model is the result",
    ),
    ParamSpec::new(
        "metric",
        ParamKind::Choice(&["loss", "accuracy", "precision", "recall", "f1"]),
        Default::Text("f1"),
        "by which validation figure `keep: best` and `patience` choose",
    ),
    ParamSpec::new(
        "patience",
        ParamKind::int(1, 100_000),
        Default::Null,
        "training ends early after so many epochs without a better figure",
    ),
    ParamSpec::new(
        "threshold",
        ParamKind::Choice(&["none", "f1", "accuracy"]),
        Default::Text("none"),
        "for two labels: the probability of the last one from which on it is predicted, chosen \
         for this figure on the validation examples and kept in the model folder; `none` is the \
         likelier label",
    ),
    ParamSpec::new(
        "init",
        ParamKind::Choice(&["pretrained", "random", "auto"]),
        Default::Text("pretrained"),
        "the checkpoint's weights, or random ones by its config.json alone; `auto`: random only \
         where the folder holds no weights",
    ),
    ParamSpec::new(
        "head",
        ParamKind::Choice(&["auto", "new"]),
        Default::Text("auto"),
        "the checkpoint's own classification head where it has one that fits, or a new one",
    ),
    PRECISION,
];
