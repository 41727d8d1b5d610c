//! Checks and cleans a row. The rules are the same for all formats.

use super::params::IngestParams;
use crate::data::example::Example;
use crate::data::nearest::list_names;

/// Checks the label and removes the strings that `params` says to remove. An empty label counts
/// as absent.
///
/// # Errors
/// The problem in words: a required label is absent, or a label is not allowed.
pub fn checked(
    mut example: Example,
    params: &IngestParams,
    label_required: bool,
) -> Result<Example, String> {
    example.label = example.label.filter(|label| !label.is_empty());
    match &example.label {
        None if label_required => {
            let field = params.label_field.as_deref().unwrap_or_default();
            Err(format!("no label: the field `{field}` is empty or absent"))
        }
        Some(label) if !params.labels.is_empty() && !params.labels.contains(label) => {
            let known = list_names(label, params.labels.iter().map(String::as_str));
            Err(format!("unknown label `{label}`; `labels` has {known}"))
        }
        None | Some(_) => Ok(cleaned(example, params)),
    }
}

/// The example without the strings to remove, in its text and its context.
pub fn cleaned(mut example: Example, params: &IngestParams) -> Example {
    for text in std::iter::once(&mut example.text).chain(&mut example.context) {
        for unwanted in &params.remove {
            if text.contains(unwanted.as_str()) {
                *text = text.replace(unwanted.as_str(), "");
            }
        }
    }
    example
}
