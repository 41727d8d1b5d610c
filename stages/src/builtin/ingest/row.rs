//! A row as a source gives it, whatever the format: which fields it has, and the same checks of
//! labels and the same removals for all formats.

use std::collections::BTreeSet;

use crate::data::nearest::list_names;
use crate::stage::params::Params;

/// The four things that `ingest` takes from a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub id: Option<String>,
    pub label: Option<String>,
    pub text: String,
    pub context: Vec<String>,
}

/// Where a row's parts are found, and what is done to them.
#[derive(Clone, Debug)]
pub struct Fields {
    pub id: String,
    pub label: String,
    pub text: String,
    pub context: String,
    /// Splits a context that is one text into turns.
    pub separator: Option<String>,
    remove: Vec<String>,
    /// Empty: any label will do.
    labels: BTreeSet<String>,
}

impl Fields {
    pub fn new(params: &Params) -> Fields {
        Fields {
            id: params.text("id_field").to_owned(),
            label: params.text("label_field").to_owned(),
            text: params.text("text_field").to_owned(),
            context: params.text("context_field").to_owned(),
            separator: params.optional_text("context_separator").map(str::to_owned),
            remove: params.texts("remove"),
            labels: params.texts("labels").into_iter().collect(),
        }
    }

    /// A context given as one text, as turns; none if it is empty.
    pub fn turns(&self, context: &str) -> Vec<String> {
        match &self.separator {
            _ if context.is_empty() => Vec::new(),
            Some(separator) => context.split(separator.as_str()).map(str::to_owned).collect(),
            None => vec![context.to_owned()],
        }
    }

    /// The row with what is to be removed removed, if its label is an allowed one. An empty id
    /// or label counts as absent.
    pub fn checked(&self, mut row: Row, label_required: bool) -> Result<Row, String> {
        row.id = row.id.filter(|id| !id.is_empty());
        row.label = row.label.filter(|label| !label.is_empty());
        match &row.label {
            None if label_required => {
                return Err(format!("no label: the field `{}` is empty or absent", self.label));
            }
            Some(label) if !self.labels.is_empty() && !self.labels.contains(label) => {
                let known = list_names(label, self.labels.iter().map(String::as_str));
                return Err(format!("unknown label `{label}`; `labels` has {known}"));
            }
            _ => {}
        }
        for text in std::iter::once(&mut row.text).chain(&mut row.context) {
            for unwanted in &self.remove {
                if text.contains(unwanted.as_str()) {
                    *text = text.replace(unwanted.as_str(), "");
                }
            }
        }
        Ok(row)
    }
}
