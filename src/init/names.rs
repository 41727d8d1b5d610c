//! The names that fields usually have, in the order in which they are preferred.

pub const TEXT_NAMES: [&str; 17] = [
    "text",
    "response",
    "tweet",
    "sentence",
    "comment",
    "message",
    "review",
    "content",
    "body",
    "document",
    "post",
    "utterance",
    "query",
    "question",
    "headline",
    "title",
    "description",
];
pub const LABEL_NAMES: [&str; 17] = [
    "label",
    "labels",
    "class",
    "category",
    "target",
    "sentiment",
    "intent",
    "topic",
    "tag",
    "emotion",
    "annotation",
    "y",
    "polarity",
    "stance",
    "rating",
    "stars",
    "score",
];
/// How many of [`LABEL_NAMES`] hardly name anything else.
pub const SURE_LABEL_NAMES: usize = 2;
pub const ID_NAMES: [&str; 4] = ["id", "tweet_id", "uid", "row_id"];
pub const CONTEXT_NAMES: [&str; 3] = ["context", "conversation", "history"];

/// Whether a header is likely to have this name.
pub fn is_common_name(name: &str) -> bool {
    let names = [&TEXT_NAMES[..], &LABEL_NAMES, &ID_NAMES, &CONTEXT_NAMES];
    names.into_iter().flatten().any(|known| name.trim().eq_ignore_ascii_case(known))
}
