//! The parameters of `finetune`: their table, and their values as a typed struct. Every default is
//! the published recipe's or neutral.

use std::collections::BTreeMap;

use super::choices::{
    Calibration, ClassWeightsWord, FreezeWord, HeadChoice, Keep, Metric, PoolingChoice,
    ThresholdChoice,
};
use crate::data::classification::POSITIVE;
use crate::model::config::WindowPooling;
use crate::stage::Continuation;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::train::params::{
    ADAM_BETA1, MAX_GRAD_NORM, PRECISION, RATE, SCHEDULE, ScheduleParams, TrainingParams,
    adam_beta2, adam_epsilon, attention_dropout, dropout, init, learning_rate, seed, warmup_ratio,
    weight_decay,
};
use crate::train::schedule::Decay;

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "epochs",
        ParamKind::int(0, 100_000),
        Default::Int(4),
        "passes over the training examples; 0: the checkpoint unchanged, with its own head",
    ),
    ParamSpec::new(
        "batch_size",
        ParamKind::int(1, 1_000_000),
        Default::Int(32),
        "examples per optimiser step",
    ),
    ParamSpec::new(
        "micro_batch",
        ParamKind::WordOrInt { words: &["auto"], min: 1, max: 1_000_000 },
        Default::Text("auto"),
        "examples that go through the network at once; their gradients are summed over the whole \
         batch; `auto` keeps the activations within 4 GiB, or less if less memory is free",
    ),
    learning_rate(2e-5),
    SCHEDULE,
    ParamSpec::new(
        "schedule_epochs",
        ParamKind::int(1, 100_000),
        Default::Null,
        "length of the schedule; if given, a run with more `epochs` continues one with fewer; \
         null: `epochs`",
    ),
    warmup_ratio(0.0, "share of the schedule's steps over which the learning rate rises from 0"),
    ParamSpec::new(
        "layer_decay",
        ParamKind::float(0.01, 1.0),
        Default::Float(1.0),
        "factor on the learning rate for each layer below the head; 1: no decay",
    ),
    ParamSpec::new(
        "freeze",
        ParamKind::WordOrInt { words: FreezeWord::WORDS, min: 1, max: 1_000 },
        Default::Text("none"),
        "parameters that are not trained: the embeddings, or the embeddings and this many of the \
         lowest layers, or `all` but the head, for which the encoder runs once and without dropout",
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
        ParamKind::WordOrFloatList { words: ClassWeightsWord::WORDS, min: 0.0, max: 1e6 },
        Default::Text("none"),
        "weights of the classes in the loss, in the order of the labels; `balanced`: by the number \
         of training examples of each class",
    ),
    ParamSpec::new(
        "pos_weight",
        ParamKind::WordOrFloatList { words: ClassWeightsWord::WORDS, min: 0.0, max: 1e6 },
        Default::Text("none"),
        "where a text may have several labels: the weight in the loss of the rows that have a label, in the \
         order of the labels; `balanced`: the rows without the label divided by those with it",
    )
    .late(),
    ParamSpec::new(
        "r_drop",
        ParamKind::float(0.0, 100.0),
        Default::Float(0.0),
        "weight of R-Drop's term, which pulls two passes with different dropout together; 0: a \
         single pass",
    ),
    ADAM_BETA1,
    adam_beta2(0.999),
    adam_epsilon(1e-8),
    MAX_GRAD_NORM,
    dropout("dropout of hidden states; null: the model's own rate"),
    attention_dropout("dropout of attention probabilities; null: the model's own rate"),
    ParamSpec::new(
        "classifier_dropout",
        RATE,
        Default::Null,
        "dropout in the head; null: the model's own rate",
    ),
    ParamSpec::new(
        "pooling",
        ParamKind::Choice(PoolingChoice::WORDS),
        Default::Text("auto"),
        "what the head reads from the last layer: `first` the first token, `mean` the mean over \
         all tokens, `auto` as the checkpoint does; `transformers` only supports the first token",
    ),
    ParamSpec::new(
        "window_pooling",
        ParamKind::Choice(WindowPooling::WORDS),
        Default::Text("mean"),
        "how the logits of a text's windows (`window_stride` of `tokenize`) become those of the text when \
         it is validated with: their `mean`, or the largest of each class; `predict` follows",
    )
    .late(),
    seed("seed of the new head, the order of examples, and dropout"),
    POSITIVE,
    ParamSpec::new(
        "keep",
        ParamKind::Choice(Keep::WORDS),
        Default::Text("last"),
        "the epoch whose model becomes the result",
    ),
    ParamSpec::new(
        "metric",
        ParamKind::Choice(Metric::WORDS),
        Default::Text("f1"),
        "the validation metric that `keep: best` and `patience` compare; for precision, recall and F1 \
         see `positive`. With several labels a text they are micro averages; the last four are of numbers",
    ),
    ParamSpec::new(
        "patience",
        ParamKind::int(1, 100_000),
        Default::Null,
        "ends the training after this many epochs without a better metric; null: never early",
    ),
    ParamSpec::new(
        "threshold",
        ParamKind::Choice(ThresholdChoice::WORDS),
        Default::Text("none"),
        "for two labels: predict the last label if its probability exceeds a threshold, which is \
         chosen to maximise this metric on the validation examples and saved in the model folder \
         (`f1` is that of the `positive` label); `none` predicts the likelier label. Where a text may \
         have several labels, each has a threshold; `none` is 0.5",
    ),
    ParamSpec::new(
        "calibrate",
        ParamKind::Choice(Calibration::WORDS),
        Default::Text("none"),
        "`temperature` divides the logits by the number for which the loss of the validation examples is \
         least (Guo 2017), by dividing the head's last layer; this changes probabilities, not which label is likeliest",
    )
    .late(),
    ParamSpec::new(
        "fold",
        ParamKind::Bool,
        Default::Bool(false),
        "moves thresholds into the biases of the head's last layer, so that every server decides as \
         they do: by the likelier of two labels, or by 0.5 where a text may have several. Probabilities shift by as much",
    )
    .late(),
    init(
        "pretrained",
        "initial weights: the checkpoint's, or random ones from its config.json alone; `auto`: \
         random only if the folder holds no weights",
    ),
    ParamSpec::new(
        "head",
        ParamKind::Choice(HeadChoice::WORDS),
        Default::Text("auto"),
        "`auto`: the checkpoint's own classification head if it has the labels of the data, in any \
         order, otherwise a new one; `new`: always a new one",
    ),
    ParamSpec::new(
        "label_map",
        ParamKind::TextMap,
        Default::EmptyMap,
        "maps the label names of the checkpoint's head to those of the data, for instance `irony: \
         SARCASM`, so that training starts from this head",
    ),
    PRECISION,
];

/// The parameters that are not trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freeze {
    None,
    Embeddings,
    /// The embeddings and this many of the lowest layers, at least 1.
    Layers(usize),
    /// Everything but the head.
    All,
}

/// The weights of the classes in the loss.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    None,
    Balanced,
    /// In the order of the labels.
    Given(Vec<f64>),
}

/// The parameters of one `finetune`.
#[derive(Clone, Debug, PartialEq)]
pub struct FinetuneParams {
    pub training: TrainingParams,
    pub length: Length,
    pub batch_size: usize,
    /// `None`: by the memory that is free.
    pub micro_batch: Option<usize>,
    pub layer_decay: f64,
    pub freeze: Freeze,
    pub loss: LossParams,
    /// `None`: the model's own rate.
    pub classifier_dropout: Option<f64>,
    pub pooling: PoolingChoice,
    pub window_pooling: WindowPooling,
    /// `None`: the last label in alphabetical order.
    pub positive: Option<String>,
    pub selection: Selection,
    pub decision: DecisionParams,
    pub head: HeadChoice,
    /// From the label names of the checkpoint's head to those of the data.
    pub label_map: BTreeMap<String, String>,
}

/// The length of the training and of its schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    pub epochs: u64,
    /// `None`: as long as the training.
    pub schedule_epochs: Option<u64>,
}

/// The parameters of the loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LossParams {
    pub label_smoothing: f64,
    pub class_weights: ClassWeights,
    /// Of the rows that have a label, where a text may have several.
    pub positive_weights: ClassWeights,
    pub r_drop: f64,
}

/// How the resulting model is selected from the epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    pub keep: Keep,
    pub metric: Metric,
    /// `None`: the training never ends early.
    pub patience: Option<u64>,
}

/// How the resulting model decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionParams {
    pub calibration: Calibration,
    pub threshold: ThresholdChoice,
    /// Whether thresholds are moved into the head.
    pub fold: bool,
}

impl FinetuneParams {
    pub fn of(params: &Params) -> FinetuneParams {
        FinetuneParams {
            training: TrainingParams::of(params),
            length: Length::of(params),
            batch_size: params.count("batch_size"),
            micro_batch: params.optional_count("micro_batch"),
            layer_decay: params.float("layer_decay"),
            freeze: Freeze::of(params),
            loss: LossParams {
                label_smoothing: params.float("label_smoothing"),
                class_weights: ClassWeights::of(params, "class_weights"),
                positive_weights: ClassWeights::of(params, "pos_weight"),
                r_drop: params.float("r_drop"),
            },
            classifier_dropout: params.optional_float("classifier_dropout"),
            pooling: PoolingChoice::of(params, "pooling"),
            window_pooling: WindowPooling::of(params, "window_pooling"),
            positive: params.optional_text("positive").map(str::to_owned),
            selection: Selection {
                keep: Keep::of(params, "keep"),
                metric: Metric::of(params, "metric"),
                patience: params.optional_int("patience").map(i64::unsigned_abs),
            },
            decision: DecisionParams {
                calibration: Calibration::of(params, "calibrate"),
                threshold: ThresholdChoice::of(params, "threshold"),
                fold: params.bool("fold"),
            },
            head: HeadChoice::of(params, "head"),
            label_map: params.text_map("label_map"),
        }
    }

    /// The parameters that may need validation examples, whether they do, and what for.
    pub fn needs_valid(&self) -> [(&'static str, bool, &'static str); 4] {
        let Selection { keep, patience, .. } = self.selection;
        let DecisionParams { calibration, threshold, .. } = self.decision;
        [
            ("keep", keep == Keep::Best, "to tell which epoch is best"),
            ("patience", patience.is_some(), "to tell when to end"),
            ("threshold", threshold != ThresholdChoice::None, "to choose a threshold"),
            ("calibrate", calibration != Calibration::None, "to choose a temperature"),
        ]
    }
}

impl Length {
    pub fn of(params: &Params) -> Length {
        Length {
            epochs: params.int("epochs").unsigned_abs(),
            schedule_epochs: params.optional_int("schedule_epochs").map(i64::unsigned_abs),
        }
    }

    /// Whether a longer training can continue one with these parameters: only if the learning
    /// rate of a step does not depend on `epochs`.
    pub fn continuation(self, schedule: &ScheduleParams) -> Continuation {
        let parameter = "epochs";
        if self.schedule_epochs.is_some() {
            return Continuation::By(parameter);
        }
        let why = match schedule.decay {
            Decay::Constant if schedule.warmup_ratio == 0.0 => return Continuation::By(parameter),
            Decay::Constant => "the warm-up takes a share of all epochs; give `schedule_epochs`",
            Decay::Linear => {
                "the learning rate falls to 0 over all epochs; give `schedule_epochs`, or \
                 `schedule: constant`"
            }
        };
        Continuation::Not { parameter, why }
    }
}

impl Freeze {
    /// How many of the lowest parts are frozen, the embeddings being the first.
    #[cfg(feature = "model")]
    pub fn parts(self) -> usize {
        match self {
            Freeze::None => 0,
            Freeze::Embeddings => 1,
            Freeze::Layers(layers) => layers.saturating_add(1),
            Freeze::All => usize::MAX,
        }
    }

    fn of(params: &Params) -> Freeze {
        if let Some(layers) = params.optional_count("freeze") {
            return Freeze::Layers(layers);
        }
        match FreezeWord::of(params, "freeze") {
            FreezeWord::None => Freeze::None,
            FreezeWord::Embeddings => Freeze::Embeddings,
            FreezeWord::All => Freeze::All,
        }
    }
}

impl ClassWeights {
    fn of(params: &Params, name: &str) -> ClassWeights {
        if params.optional_text(name).is_none() {
            return ClassWeights::Given(params.floats(name));
        }
        match ClassWeightsWord::of(params, name) {
            ClassWeightsWord::None => ClassWeights::None,
            ClassWeightsWord::Balanced => ClassWeights::Balanced,
        }
    }
}
