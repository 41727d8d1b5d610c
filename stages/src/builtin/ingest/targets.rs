//! The label of a row, as the task wants it: one label, a list of labels, or a number.

use serde_json::value::RawValue;

use super::params::IngestParams;
use crate::data::label_names::{is_blank, shown};
use crate::data::target::Target;
use crate::data::task::Task;

/// Makes the label of the task from what is in the label field: a text, which may hold several
/// labels, or a list.
///
/// # Errors
/// The problem in words.
pub fn target(found: Option<Target>, params: &IngestParams) -> Result<Option<Target>, String> {
    let field = || params.label_field.as_deref().unwrap_or_default();
    match (params.form.task, found) {
        (_, None) => Ok(None),
        (Task::Single, Some(Target::Label(label))) => Ok(Some(Target::Label(label))),
        (Task::Single | Task::Regression, Some(Target::Labels(_))) => Err(format!(
            "the field `{}` is a list, expected one label; `task: multi` reads lists of labels",
            field()
        )),
        (Task::Multi, Some(Target::Label(text))) => labels_in(&text, params).map(Some),
        (Task::Multi, Some(labels @ Target::Labels(_))) => Ok(Some(labels)),
        (Task::Regression, Some(Target::Label(text))) if is_blank(&text) => Ok(None),
        (Task::Regression, Some(Target::Label(text))) => {
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            let number = number.map(|number| Some(Target::Number(number)));
            number.ok_or_else(|| {
                format!("the field `{}` is {}, expected a number", field(), shown(&text))
            })
        }
        (_, Some(Target::Number(_))) => Err(format!("the field `{}` is a number", field())),
    }
}

/// The labels in a text: what `label_separator` separates, or a JSON list.
fn labels_in(text: &str, params: &IngestParams) -> Result<Target, String> {
    if is_blank(text) {
        return Ok(Target::Labels(Vec::new()));
    }
    if let Some(separator) = &params.form.separator {
        let labels = text.split(separator.as_str()).map(|label| label.trim().to_owned());
        return Ok(Target::of_labels(labels.filter(|label| !is_blank(label)).collect()));
    }
    let list = serde_json::from_str::<&RawValue>(text).ok().filter(|it| it.get().starts_with('['));
    match list {
        Some(list) => of_list(list).map(Target::of_labels),
        None => Err(format!(
            "the field `{}` is the text {}, expected a list of labels; `label_separator` says what \
             separates the labels in a text",
            params.label_field.as_deref().unwrap_or_default(),
            shown(text)
        )),
    }
}

/// The labels of a JSON list: texts, or numbers or truth values as they are written.
///
/// # Errors
/// The problem in words.
pub fn of_list(list: &RawValue) -> Result<Vec<String>, String> {
    let items: Vec<&RawValue> =
        serde_json::from_str(list.get()).map_err(|error| error.to_string())?;
    let label = |item: &&RawValue| match item.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(item.get()).map_err(|error| error.to_string()),
        Some(b'[' | b'{' | b'n') | None => {
            Err(format!("the list of labels has {}, expected texts", item.get()))
        }
        Some(_) => Ok(item.get().to_owned()),
    };
    items.iter().map(label).collect()
}

/// The labels whose fields have a 1, of `label_fields`, whose values these are in the same order;
/// `None` if all are empty or absent.
///
/// # Errors
/// The problem in words.
pub fn flagged(
    params: &IngestParams,
    values: impl Iterator<Item = Option<String>>,
) -> Result<Option<Target>, String> {
    let (mut labels, mut empty, mut known) = (Vec::new(), None, false);
    for (field, value) in params.form.fields.iter().zip(values) {
        let value = value.unwrap_or_default();
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "null" => empty = Some(field),
            "1" | "1.0" | "true" => {
                known = true;
                labels.push(field.clone());
            }
            "0" | "0.0" | "false" => known = true,
            _ => {
                let value = shown(&value);
                return Err(format!(
                    "the field `{field}` of `label_fields` is {value}, expected 0 or 1"
                ));
            }
        }
    }
    match empty {
        Some(field) if known => Err(format!(
            "the field `{field}` of `label_fields` is empty, but others have a 0 or a 1"
        )),
        Some(_) => Ok(None),
        None => Ok(Some(Target::of_labels(labels))),
    }
}
