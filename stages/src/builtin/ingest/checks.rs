//! Checks and cleans a row. The rules are the same for all formats.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::params::{IngestParams, Spaces};
use crate::data::example::Example;
use crate::data::label_names::{is_blank, line_break, look_alike, shown};
use crate::data::marks::collapsed;
use crate::data::nearest::list_names;
use crate::data::target::Target;

/// Replaces the labels as `label_map` says, and adds the replaced ones to `used`.
pub fn mapped(mut example: Example, params: &IngestParams, used: &mut BTreeSet<String>) -> Example {
    let mut of = |label: &mut String| {
        let Some((replaced, meant)) = params.label_map.get_key_value(label) else { return };
        if !used.contains(replaced) {
            used.insert(replaced.clone());
        }
        meant.clone_into(label);
    };
    example.label = example.label.map(|target| match target {
        Target::Label(mut label) => {
            of(&mut label);
            Target::Label(label)
        }
        Target::Labels(mut labels) => {
            labels.iter_mut().for_each(of);
            Target::of_labels(labels)
        }
        number @ Target::Number(_) => number,
    });
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
    example.label = match example.label {
        Some(Target::Label(label)) if is_blank(&label) => None,
        Some(Target::Labels(mut labels)) => {
            labels.retain(|label| !is_blank(label));
            Some(Target::Labels(labels))
        }
        other => other,
    };
    let labels = example.label.as_ref().map_or(&[][..], Target::labels);
    let names = labels.iter().map(|label| ("label", label));
    for (what, name) in std::iter::once(("id", &example.id)).chain(names) {
        if let Some(found) = line_break(name) {
            let name = shown(name);
            return Err(format!(
                "the {what} {name} has {found}, but an answer, `id,LABEL`, is one line"
            ));
        }
    }
    if example.label.is_none() && label_required {
        return Err(match &params.label_field {
            Some(field) => format!("no label: the field `{field}` is empty or absent"),
            None => "no label: the `label_fields` are empty or absent".to_owned(),
        });
    }
    let is_unknown = |label: &&String| !params.labels.is_empty() && !params.labels.contains(*label);
    match labels.iter().find(is_unknown) {
        Some(label) => Err(unknown_label(label, params)),
        None => Ok(cleaned(example, params)),
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
