//! From a stage of the pipeline to the fields of its key.

use std::collections::BTreeMap;

use crate::files::digest::Content;
use crate::pipeline::{Action, Stage};
use crate::store::key::{ActionField, KeyFields};

impl KeyFields {
    /// The key fields of a stage with these inputs. Environment variables are those of this
    /// process.
    pub fn of(stage: &Stage, inputs: BTreeMap<String, Content>) -> KeyFields {
        let action = match &stage.action {
            Action::Builtin { name, version } => {
                ActionField::Builtin { name: name.clone(), version: *version }
            }
            Action::Command { text } => ActionField::Command { text: text.clone() },
        };
        KeyFields {
            action,
            params: stage.params.clone(),
            inputs,
            outputs: stage.outputs.iter().map(|output| output.name.clone()).collect(),
            env: stage.env.iter().map(|name| (name.clone(), variable(name))).collect(),
            salt: stage.salt.clone(),
        }
    }
}

/// The value of an environment variable. Bytes that are not UTF-8 are escaped, so that two
/// different values never become the same text.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    Some(
        value
            .into_string()
            .unwrap_or_else(|bytes| format!("bytes {}", bytes.as_encoded_bytes().escape_ascii())),
    )
}
