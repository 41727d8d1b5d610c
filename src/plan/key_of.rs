//! From a stage of the pipeline to the fields of its key.

use std::collections::BTreeMap;

use serde_json::Value;
use stages::Params;

use crate::files::digest::Content;
use crate::pipeline::{Action, Output, Stage};
use crate::store::key::{ActionField, KeyFields, env_text};

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
        let variable = |name: &str| std::env::var_os(name).map(env_text);
        let files = match &stage.action {
            // Its version stands for the files that it writes.
            Action::Builtin { .. } => BTreeMap::new(),
            Action::Command { .. } => stage.outputs.iter().filter_map(renamed).collect(),
        };
        KeyFields {
            action,
            params: params_of_key(stage),
            inputs,
            outputs: stage.outputs.iter().map(|output| output.name.clone()).collect(),
            files,
            env: stage.env.iter().map(|name| (name.clone(), variable(name))).collect(),
            salt: stage.salt.clone(),
        }
    }
}

/// The parameters of a stage that enter its key.
pub fn params_of_key(stage: &Stage) -> BTreeMap<String, Value> {
    match stage.action.builtin().and_then(stages::find) {
        Some(builtin) => Params::of_key(builtin.params(), stage.params.clone()),
        None => stage.params.clone(),
    }
}

fn renamed(output: &Output) -> Option<(String, String)> {
    (output.file != output.name).then(|| (output.name.clone(), output.file.clone()))
}
