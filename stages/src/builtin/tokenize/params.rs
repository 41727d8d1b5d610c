//! The parameters of `tokenize`.

use crate::stage::choice::choice;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};

choice! {
    /// How context and response become one sequence.
    pub enum ContextMode {
        /// Two segments: the context, then the response.
        Pair = "pair",
        /// One text.
        Joined = "joined",
    }
}

choice! {
    /// Where the response is, relative to its context.
    pub enum ResponsePlace {
        Last = "last",
        First = "first",
    }
}

choice! {
    /// The side of a text that loses tokens if the text is too long.
    pub enum TruncatedSide {
        Right = "right",
        Left = "left",
    }
}

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "context",
        ParamKind::WordOrInt { words: &["all"], min: 0, max: i64::MAX },
        Default::Int(0),
        "how many turns of context to use, counted from the last",
    ),
    ParamSpec::new(
        "context_mode",
        ParamKind::Choice(ContextMode::WORDS),
        Default::Text("pair"),
        "whether context and response are two segments or one text",
    ),
    ParamSpec::new(
        "turn_separator",
        ParamKind::Text,
        Default::Text(" "),
        "the text between turns; `sep` for the tokenizer's own separator token. Any other text \
              is used as it is, spaces included: ` / `, or a special token such as `</s>`",
    ),
    ParamSpec::new(
        "response",
        ParamKind::Choice(ResponsePlace::WORDS),
        Default::Text("last"),
        "whether the response comes after its context or before it; turns keep their order",
    ),
    ParamSpec::new(
        "partial_turn",
        ParamKind::Bool,
        Default::Bool(false),
        "if the context is too long, whole turns are dropped, oldest first; whether the last \
              one to be dropped keeps as much of its end as fits",
    ),
    ParamSpec::new(
        "max_length",
        ParamKind::WordOrInt { words: &["auto"], min: 3, max: i64::MAX },
        Default::Text("auto"),
        "the longest sequence in tokens, special tokens included; `auto`: the model's limit",
    ),
    ParamSpec::new(
        "truncate",
        ParamKind::Choice(TruncatedSide::WORDS),
        Default::Text("right"),
        "the side on which a text that does not fit by itself loses tokens: the newest turn once \
              the older ones are dropped, and finally the response",
    ),
    ParamSpec::new(
        "window_stride",
        ParamKind::int(0, i64::MAX),
        Default::Null,
        "divides a text that does not fit by itself into overlapping windows of `max_length` tokens, \
              instead of cutting it: how many tokens neighbouring windows share; null: it is cut",
    )
    .late(),
    ParamSpec::new(
        "labels",
        ParamKind::TextList,
        Default::TextList(&[]),
        "label names in the order of their class index; if empty, the labels of `train`, sorted",
    ),
    ParamSpec::new(
        "normalize_tweets",
        ParamKind::Bool,
        Default::Bool(false),
        "whether to normalize tweets as for BERTweet: @USER, HTTPURL, emoji as words",
    ),
];

/// The parameters of `tokenize`, parsed.
#[derive(Clone, Debug)]
pub struct TokenizeParams {
    /// How many of the last turns to use; `None` for all.
    pub context: Option<usize>,
    pub context_mode: ContextMode,
    /// The text between turns, or `sep` for the tokenizer's separator token.
    pub turn_separator: String,
    pub response: ResponsePlace,
    pub partial_turn: bool,
    /// In tokens; `None` for the limit of the model.
    pub max_length: Option<usize>,
    pub truncate: TruncatedSide,
    /// In tokens; `None`: long texts are cut.
    pub window_stride: Option<usize>,
    /// In the order of their class index; empty for those of the examples.
    pub labels: Vec<String>,
    pub normalize_tweets: bool,
}

impl TokenizeParams {
    pub fn of(params: &Params) -> TokenizeParams {
        let number_or_word = |name| {
            let number = params.optional_int(name);
            number.map(|number| usize::try_from(number).unwrap_or(usize::MAX))
        };
        TokenizeParams {
            context: number_or_word("context"),
            context_mode: ContextMode::of(params, "context_mode"),
            turn_separator: params.text("turn_separator").to_owned(),
            response: ResponsePlace::of(params, "response"),
            partial_turn: params.bool("partial_turn"),
            max_length: number_or_word("max_length"),
            truncate: TruncatedSide::of(params, "truncate"),
            window_stride: number_or_word("window_stride"),
            labels: params.texts("labels"),
            normalize_tweets: params.bool("normalize_tweets"),
        }
    }
}
