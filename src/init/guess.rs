//! Guesses which field is the text and which is the label: by common names, else by the values.

use std::path::Path;

use stages::data::label_names::too_many_labels;

use super::InitError;
use super::survey::{Field, MOST_LABELS, Survey};
use crate::text::suggest::nearest;

const TEXT_NAMES: [&str; 17] = [
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
const LABEL_NAMES: [&str; 12] = [
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
];
const ID_NAMES: [&str; 4] = ["id", "tweet_id", "uid", "row_id"];
const CONTEXT_NAMES: [&str; 3] = ["context", "conversation", "history"];

/// The fields that the user named.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub text: Option<String>,
    pub label: Option<String>,
    pub id: Option<String>,
    pub context: Option<String>,
}

impl Told {
    fn names(&self) -> impl Iterator<Item = &String> {
        [&self.text, &self.label, &self.id, &self.context].into_iter().flatten()
    }
}

/// What each field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub text: String,
    pub label: String,
    pub id: Option<String>,
    pub context: Option<String>,
    /// The labels in the file, in alphabetical order.
    pub labels: Vec<String>,
}

/// Decides what the fields of a file are: as the user said, else by a guess.
///
/// # Errors
///
/// If the user named a field that the file does not have, or the label or text cannot be guessed,
/// or the label has too few or too many values.
pub fn fields(survey: &Survey, told: &Told, path: &Path) -> Result<Fields, InitError> {
    let known: Vec<String> = survey.fields.iter().map(|field| field.name.clone()).collect();
    for name in told.names() {
        if survey.field(name).is_none() {
            let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            let (path, name) = (path.to_owned(), name.clone());
            return Err(InitError::NoField { path, name, known, nearest });
        }
    }
    let not_guessed = |what, option| InitError::NotGuessed {
        path: path.to_owned(),
        what,
        option,
        known: known.clone(),
    };
    let taken = |field: &Field| told.names().any(|name| *name == field.name);
    let free = || survey.fields.iter().filter(|field| !taken(field));
    let label = match &told.label {
        Some(name) => name.clone(),
        None => label(free(), survey.rows).ok_or(not_guessed("label", "--label"))?,
    };
    let text = match &told.text {
        Some(name) => name.clone(),
        None => {
            text(free().filter(|field| field.name != label)).ok_or(not_guessed("text", "--text"))?
        }
    };
    let rest = || free().filter(|field| field.name != label && field.name != text);
    let id = rest()
        .find(|field| called(field, &ID_NAMES) && field.filled == survey.rows && field.lists == 0);
    let context = rest().find(|field| called(field, &CONTEXT_NAMES));
    let name = |field: &Field| field.name.clone();
    let (id, context) =
        (told.id.clone().or(id.map(name)), told.context.clone().or(context.map(name)));
    let values = survey.field(&label).map(|field| field.values.keys().cloned().collect());
    let labels: Vec<String> = values.unwrap_or_default();
    if labels.len() < 2 || labels.len() > MOST_LABELS {
        let problem = match labels.len() {
            0 | 1 => {
                format!("the field `{label}` has fewer than two values, so it cannot be the label")
            }
            _ => format!(
                "the field `{label}` has over {MOST_LABELS} values, so it cannot be the label"
            ),
        };
        return Err(InitError::Line { path: path.to_owned(), line: 1, problem });
    }
    let rows = survey.field(&label).into_iter().flat_map(|field| field.values.values().copied());
    if let Some(found) = too_many_labels(rows) {
        let problem = format!("the field `{label}` has {found}, so it cannot be the label");
        return Err(InitError::Line { path: path.to_owned(), line: 1, problem });
    }
    Ok(Fields { text, label, id, context, labels })
}

/// Whether the field has one of the names, in any case.
fn called(field: &Field, names: &[&str]) -> bool {
    names.iter().any(|name| field.name.eq_ignore_ascii_case(name))
}

/// The label: by name, else the field with the fewest values, if they occur several times each.
fn label<'a>(fields: impl Iterator<Item = &'a Field> + Clone, rows: u64) -> Option<String> {
    let is_label = |field: &&Field| {
        let values = field.values.len() as u64;
        field.lists == 0 && (2..=MOST_LABELS as u64).contains(&values)
    };
    let candidates = || fields.clone().filter(is_label);
    let by_name = LABEL_NAMES.iter().find_map(|name| candidates().find(|it| called(it, &[name])));
    let repeats = |field: &&Field| field.values.len() as u64 * 3 <= rows.max(6);
    let fewest = || candidates().filter(repeats).min_by_key(|field| field.values.len());
    by_name.or_else(fewest).map(|field| field.name.clone())
}

/// The text: by name, else the field with the longest values.
fn text<'a>(fields: impl Iterator<Item = &'a Field> + Clone) -> Option<String> {
    let candidates = || fields.clone().filter(|field| field.filled > 0 && field.lists == 0);
    let by_name = TEXT_NAMES.iter().find_map(|name| candidates().find(|it| called(it, &[name])));
    let longest = || candidates().max_by(|a, b| a.mean_length().total_cmp(&b.mean_length()));
    by_name.or_else(longest).map(|field| field.name.clone())
}
