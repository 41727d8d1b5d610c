//! Checks and cleans a row. The rules are the same for all formats.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::params::{IngestParams, Spaces};
use crate::data::example::Example;
use crate::data::label_names::{is_blank, line_break, look_alike, shown};
use crate::data::marks::collapsed;
use crate::data::nearest::list_names;

/// Replaces the label as `label_map` says, and adds the replaced one to `used`.
pub fn mapped(mut example: Example, params: &IngestParams, used: &mut BTreeSet<String>) -> Example {
    let found = example.label.as_ref().and_then(|label| params.label_map.get_key_value(label));
    if let Some((label, meant)) = found {
        if !used.contains(label) {
            used.insert(label.clone());
        }
        example.label = Some(meant.clone());
    }
    example
}

/// Checks id and label, and removes the strings that `params` says to remove. A label without any
/// visible character counts as absent.
///
/// # Errors
/// The problem in words: a required label is absent, a label is not allowed, or the id or the label
/// has a line break, which `answer.txt` cannot hold.
pub fn checked(
    mut example: Example,
    params: &IngestParams,
    label_required: bool,
) -> Result<Example, String> {
    example.label = example.label.filter(|label| !is_blank(label));
    let names = [("id", Some(&example.id)), ("label", example.label.as_ref())];
    for (what, name) in names.into_iter().filter_map(|(what, name)| Some((what, name?))) {
        if let Some(found) = line_break(name) {
            let name = shown(name);
            return Err(format!(
                "the {what} {name} has {found}, but an answer, `id,LABEL`, is one line"
            ));
        }
    }
    match &example.label {
        None if label_required => {
            let field = params.label_field.as_deref().unwrap_or_default();
            Err(format!("no label: the field `{field}` is empty or absent"))
        }
        Some(label) if !params.labels.is_empty() && !params.labels.contains(label) => {
            Err(unknown_label(label, params))
        }
        None | Some(_) => Ok(cleaned(example, params)),
    }
}

fn unknown_label(label: &str, params: &IngestParams) -> String {
    let known = params.labels.iter().map(String::as_str);
    match look_alike(label, known.clone()) {
        Some((known, difference)) => format!(
            "unknown label {}; `labels` has {}, which differs only in {difference}: `label_map` can \
             replace it",
            shown(label),
            shown(known)
        ),
        None => {
            format!("unknown label {}; `labels` has {}", shown(label), list_names(label, known))
        }
    }
}

/// The example without the strings and marks to remove, in its text and its context.
pub fn cleaned(mut example: Example, params: &IngestParams) -> Example {
    for text in std::iter::once(&mut example.text).chain(&mut example.context) {
        for unwanted in &params.remove {
            if text.contains(unwanted.as_str()) {
                *text = text.replace(unwanted.as_str(), "");
            }
        }
        for mark in &params.strip {
            if let Cow::Owned(stripped) = mark.strip(text) {
                *text = stripped;
            }
        }
        if params.spaces == Spaces::Collapse {
            *text = collapsed(text);
        }
    }
    example
}
