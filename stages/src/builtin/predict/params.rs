//! The parameters of `predict`: their table, and their values as a typed struct.

use std::collections::BTreeMap;

use crate::model::config::{ModelConfig, WindowPooling};
use crate::model::precision::Precision;
use crate::stage::choice::choice;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::train::params::precision;

pub const PARAMS: &[ParamSpec] = &[
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
        "maps the model's label names to those of the data, for instance `irony: SARCASM`",
    ),
    ParamSpec::new(
        "threshold",
        ParamKind::WordOrFloat { words: ThresholdWord::WORDS, min: 0.0, max: 1.0 },
        Default::Text("auto"),
        "for two labels: predict the last label if its probability is greater; `auto`: the \
         threshold in the model folder, if there is one; `none`: the likelier label. Where a text may \
         have several labels: of each label, those in the model folder or 0.5; `none`: 0.5",
    ),
    ParamSpec::new(
        "window_pooling",
        ParamKind::Choice(WindowPoolingWord::WORDS),
        Default::Text("auto"),
        "how the logits of a text's windows (`window_stride` of `tokenize`) become those of the text: \
         their `mean`, or the largest of each class (`max`); `auto`: as `finetune` did, else the mean",
    )
    .late(),
    precision!(
        Precision::WORDS,
        "; int8 rounds the factors of linear layers to 8-bit integers, which is faster on a CPU and may \
         change a few answers"
    ),
];

choice! {
    /// The words of `window_pooling`.
    pub enum WindowPoolingWord {
        Auto = "auto",
        Mean = "mean",
        Max = "max",
    }
}

choice! {
    /// The words of `threshold`.
    pub enum ThresholdWord {
        Auto = "auto",
        None = "none",
    }
}

/// How a probability becomes one of two labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ThresholdParam {
    /// By the threshold in the model folder, if there is one.
    Auto,
    /// The likelier label.
    None,
    /// The last label if its probability is greater.
    Given(f64),
}

/// The parameters of one `predict`.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictParams {
    pub batch_size: usize,
    /// From the model's label names to those of the data.
    pub label_map: BTreeMap<String, String>,
    pub threshold: ThresholdParam,
    pub window_pooling: WindowPoolingWord,
    #[cfg(feature = "model")]
    pub precision: Precision,
}

impl PredictParams {
    pub fn of(params: &Params) -> PredictParams {
        PredictParams {
            batch_size: params.count("batch_size"),
            label_map: params.text_map("label_map"),
            threshold: ThresholdParam::of(params),
            window_pooling: WindowPoolingWord::of(params, "window_pooling"),
            #[cfg(feature = "model")]
            precision: Precision::of(params, "precision"),
        }
    }
}

impl WindowPoolingWord {
    /// The pooling that it means for a model.
    pub fn pooling(self, config: &ModelConfig) -> WindowPooling {
        match self {
            WindowPoolingWord::Auto => {
                config.head.windows.map_or(WindowPooling::Mean, |windows| windows.pooling)
            }
            WindowPoolingWord::Mean => WindowPooling::Mean,
            WindowPoolingWord::Max => WindowPooling::Max,
        }
    }
}

impl ThresholdParam {
    fn of(params: &Params) -> ThresholdParam {
        if let Some(threshold) = params.optional_float("threshold") {
            return ThresholdParam::Given(threshold);
        }
        match ThresholdWord::of(params, "threshold") {
            ThresholdWord::Auto => ThresholdParam::Auto,
            ThresholdWord::None => ThresholdParam::None,
        }
    }
}
