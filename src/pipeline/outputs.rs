//! The outputs of every stage: those of a built-in, or those that a command declares.

use std::collections::BTreeMap;

use super::document::{Draft, entry};
use super::model::Output;
use super::names::check_name;
use super::problem::Problems;
use super::yaml::{YamlEntry, YamlNode, YamlValue};

/// The outputs of every stage, by the name of the stage.
pub(super) type Outputs = BTreeMap<String, Vec<Output>>;

/// The outputs of every stage. A built-in has an optional output only if the input for it is there.
pub(super) fn declared_outputs(
    drafts: &[Draft],
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) -> Outputs {
    let of = |draft: &Draft, problems: &mut Problems| match draft.builtin(registry) {
        Some(builtin) => {
            let made = |output: &&stages::OutputSpec| {
                output.given.is_none_or(|input| entry(&draft.inputs, input).is_some())
            };
            let output = |output: &stages::OutputSpec| Output {
                name: output.name.to_owned(),
                file: output.file.to_owned(),
                kind: Some(output.kind),
            };
            builtin.outputs().iter().filter(made).map(output).collect()
        }
        None => command_outputs(draft, problems),
    };
    drafts.iter().map(|draft| (draft.name.clone(), of(draft, problems))).collect()
}

fn command_outputs(draft: &Draft, problems: &mut Problems) -> Vec<Output> {
    let Some(node) = &draft.outputs else { return Vec::new() };
    let stage = &draft.name;
    let mut outputs: Vec<Output> = Vec::new();
    let mut add = |name: &str, file: &YamlNode, problems: &mut Problems| {
        check_name("output", name, file.origin, problems);
        let Some(file_name) = file.as_text().filter(|text| is_file_name(text)) else {
            problems
                .at(file.origin, format!("output `{name}` of stage `{stage}` needs a file name"))
                .stage(stage)
                .help("a name without `/`, such as `counts.txt`".to_owned());
            return;
        };
        if let Some(other) = outputs.iter().find(|other| other.file == file_name) {
            let message = match other.name == name {
                true => format!("output `{name}` of stage `{stage}` is declared twice"),
                false => format!(
                    "outputs `{}` and `{name}` of stage `{stage}` are both the file `{file_name}`",
                    other.name
                ),
            };
            problems.at(file.origin, message).stage(stage);
            return;
        }
        outputs.push(Output { name: name.to_owned(), file: file_name.to_owned(), kind: None });
    };
    match &node.content {
        YamlValue::List(items) => {
            for item in items {
                match item.as_text() {
                    Some(name) => add(name, item, problems),
                    None => {
                        let message = format!("an output of stage `{stage}` is {}", item.what());
                        problems
                            .at(item.origin, message)
                            .stage(stage)
                            .help("list the names of the outputs".to_owned());
                    }
                }
            }
        }
        YamlValue::Map(entries) => {
            for YamlEntry { key, value, .. } in entries {
                add(key, value, problems);
            }
        }
        YamlValue::Scalar(_) => {
            let message =
                format!("`outputs` of stage `{stage}` must be a list, not {}", node.what());
            problems.at(node.origin, message).stage(stage).help("write `[name]`".to_owned());
        }
    }
    outputs
}

fn is_file_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.len() <= 255 && !text.contains(['/', '\0'])
}
