//! Issues: examples that a person should look at, with the person's decisions. `audit` writes them, `pipe
//! review` adds the decisions, `clean` carries them out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An example with a problem. In a file it is one line of JSON with its fields in this order. A person
/// may edit it: only `id` is required.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    /// What to do with the example: `keep`, `drop` or `relabel`; null if nobody has decided.
    #[serde(default)]
    pub decision: Option<Decision>,
    /// The new label, with `relabel`. Without it, `suggested` is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    pub id: String,
    /// The given label.
    #[serde(default)]
    pub label: Option<String>,
    /// The likeliest other label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested: Option<String>,
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// The out-of-fold probability of the given label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_confidence: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalized_margin: Option<f64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probabilities: BTreeMap<String, f64>,
    /// The line of the source file, counted from 1; 0 if unknown.
    #[serde(default)]
    pub line: u64,
    #[serde(default)]
    pub text: String,
    /// The last turn before the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
}

/// What a person decides about an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Keep,
    Drop,
    Relabel,
}

/// What is wrong with an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Confident learning takes the label for wrong.
    Label,
    /// An equal text has another label.
    Conflict,
    /// A near-equal text has another label.
    NearConflict,
    /// The text is a test text.
    InTest,
    /// The text is near-equal to a test text.
    NearTest,
}

impl Problem {
    /// The problem in words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Problem::Label => "suspicious label",
            Problem::Conflict => "an equal text has another label",
            Problem::NearConflict => "a near-equal text has another label",
            Problem::InTest => "the text is in the test part, too",
            Problem::NearTest => "a near-equal text is in the test part",
        }
    }
}

/// An example like the one with the problem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    pub id: String,
    /// `train` or `test`.
    pub part: String,
    #[serde(default)]
    pub label: Option<String>,
    /// From 0 to 1: the share of common 5-grams of a near-equal text, or the cosine of the words.
    pub similarity: f64,
    /// Whether it is an equal or near-equal text.
    #[serde(default)]
    pub near: bool,
    pub text: String,
}

impl Issue {
    /// The label that `relabel` gives.
    ///
    /// # Errors
    /// There is none, or it is the one that the example has: the problem in words.
    pub fn new_label(&self) -> Result<&str, String> {
        let Some(label) = self.to.as_deref().or(self.suggested.as_deref()) else {
            return Err(format!(
                "`{}` is to be relabelled, but neither `to` nor `suggested` says how",
                self.id
            ));
        };
        if label.trim().is_empty() {
            return Err(format!("the new label of `{}` is empty", self.id));
        }
        if self.label.as_deref() == Some(label) {
            return Err(format!("`{}` is to be relabelled as `{label}`, which it has", self.id));
        }
        Ok(label)
    }
}
