//! What of a pipeline's stage enters its key: the way from [`Stage`] to [`KeyFields`].

use std::collections::BTreeMap;

use crate::files::digest::Content;
use crate::pipeline::{Action, Stage};
use crate::store::key::{ActionField, KeyFields};

impl KeyFields {
    /// The fields of a stage whose inputs hold `inputs`. The environment is this process's.
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

/// The value of an environment variable; bytes that are not UTF-8 are written as escapes, so
/// that two values never look the same.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    Some(
        value
            .into_string()
            .unwrap_or_else(|bytes| format!("bytes {}", bytes.as_encoded_bytes().escape_ascii())),
    )
}
