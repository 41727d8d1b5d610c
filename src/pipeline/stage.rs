//! Builds one stage: what it runs, its parameters, checked against the table of the built-in, `env`
//! and `salt`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use stages::Params;
use stages::stage::params::ParamError;

use super::document::{Draft, entry};
use super::handling::read_handling;
use super::model::{Action, Input, Stage};
use super::names::{
    INPUT_PREFIX, OUTPUT_PREFIX, PARAM_PREFIX, check_name, environment_variable,
    is_reserved_variable, is_variable_name,
};
use super::outputs::Outputs;
use super::problem::Problems;
use super::values;
use super::variables::{Dollar, Variables};
use super::yaml::{YamlNode, YamlValue};
use crate::text::variants::family;

/// Fills the variables into a stage. Then drops inputs that are null, which is how a profile leaves
/// out an optional input.
pub(super) fn fill_variables(draft: &mut Draft, variables: &Variables, problems: &mut Problems) {
    let own;
    let variables = match draft.locals.is_empty() {
        true => variables,
        false => {
            own = variables.with(&draft.locals);
            &own
        }
    };
    let sections = [&mut draft.inputs, &mut draft.params, &mut draft.publish, &mut draft.handling];
    for entries in sections {
        for entry in entries {
            variables.fill(&mut entry.value, Dollar::Pipeline, problems);
        }
    }
    for node in [&mut draft.salt, &mut draft.env].into_iter().flatten() {
        variables.fill(node, Dollar::Pipeline, problems);
    }
    let env: Vec<String> = match draft.env.as_ref().map(|node| &node.content) {
        Some(YamlValue::List(items)) => {
            items.iter().filter_map(|item| item.as_text().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    };
    if let Some(run) = &mut draft.run {
        variables.fill(run, Dollar::Shell { env: &env }, problems);
    }
    draft.inputs.retain(|input| !input.value.is_null());
}

/// Builds the stage. Mistakes are reported, and replaced by placeholders, which
/// [`Pipeline::load`](super::model::Pipeline::load) never returns.
pub(super) fn build_stage(
    draft: &Draft,
    inputs: BTreeMap<String, Input>,
    publish: BTreeMap<String, PathBuf>,
    outputs: &Outputs,
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) -> Stage {
    let (action, params) = match &draft.run {
        Some(run) => (command(draft, run, problems), command_params(draft)),
        None => builtin(draft, registry, problems),
    };
    Stage {
        name: draft.name.clone(),
        line: draft.origin.line(),
        action,
        inputs,
        params,
        outputs: outputs.get(&draft.name).cloned().unwrap_or_default(),
        publish,
        env: env(draft, problems),
        salt: salt(draft, problems),
        handling: read_handling(draft, problems),
    }
}

fn command(draft: &Draft, run: &YamlNode, problems: &mut Problems) -> Action {
    let stage = &draft.name;
    if let Some(uses) = &draft.uses {
        problems
            .at(uses.origin, format!("stage `{stage}` has both `uses` and `run`"))
            .stage(stage)
            .help("keep one: `uses` runs a built-in, `run` a command".to_owned());
    }
    let text = run.as_text().unwrap_or_default();
    if text.contains('\0') {
        problems
            .with(run, format!("the command of stage `{stage}` contains a NUL character"))
            .stage(stage);
    }
    let groups =
        [("input", INPUT_PREFIX, &draft.inputs), ("parameter", PARAM_PREFIX, &draft.params)];
    for (what, prefix, entries) in groups {
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        let may_be_equal = entries.iter().any(|entry| entry.key.contains('-'));
        for entry in entries {
            check_name(what, &entry.key, entry.key_origin, problems);
            if !may_be_equal {
                continue;
            }
            let variable = environment_variable(prefix, &entry.key);
            if let Some(other) = taken.insert(variable.clone(), &entry.key) {
                let message = format!(
                    "{what}s `{other}` and `{}` of stage `{stage}` would both be `${variable}`",
                    entry.key
                );
                problems.at(entry.key_origin, message).stage(stage);
            }
        }
    }
    if let Some(node) = &draft.outputs {
        report_equal_output_variables(stage, node, problems);
    }
    Action::Command { text: text.to_owned() }
}

fn report_equal_output_variables(stage: &str, node: &YamlNode, problems: &mut Problems) {
    let names: Vec<&str> = match &node.content {
        YamlValue::List(items) => items.iter().filter_map(YamlNode::as_text).collect(),
        YamlValue::Map(entries) => entries.iter().map(|entry| entry.key.as_str()).collect(),
        YamlValue::Scalar(_) => return,
    };
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    let may_be_equal = names.iter().any(|name| name.contains('-'));
    for name in names.into_iter().filter(|_| may_be_equal) {
        let variable = environment_variable(OUTPUT_PREFIX, name);
        if let Some(other) = taken.insert(variable.clone(), name).filter(|other| *other != name) {
            let message = format!(
                "outputs `{other}` and `{name}` of stage `{stage}` would both be `${variable}`"
            );
            problems.at(node.origin, message).stage(stage);
        }
    }
}

fn command_params(draft: &Draft) -> BTreeMap<String, Value> {
    draft.params.iter().map(|param| (param.key.clone(), param.value.to_json())).collect()
}

fn builtin(
    draft: &Draft,
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) -> (Action, BTreeMap<String, Value>) {
    let stage = &draft.name;
    let Some(builtin) = draft.builtin(registry) else {
        let name = draft.uses.as_ref().and_then(YamlNode::as_text).unwrap_or(family(stage));
        let known: Vec<&str> = registry.iter().map(|stage| stage.name()).collect();
        let (origin, message) = match &draft.uses {
            Some(uses) => (uses.origin, format!("there is no built-in stage `{name}`")),
            None => (
                draft.origin,
                format!(
                    "stage `{stage}` has neither `uses` nor `run`, and there is no built-in of that \
                     name"
                ),
            ),
        };
        // An empty `uses` has been reported by `document`.
        if !name.is_empty() {
            problems.at(origin, message).stage(stage).nearest_or_all(name, &known);
        }
        return (Action::Builtin { name: name.to_owned(), version: 0 }, BTreeMap::new());
    };
    let name = builtin.name();
    for (what, node) in [("outputs", &draft.outputs), ("env", &draft.env)] {
        if let Some(node) = node {
            problems
                .at(node.origin, format!("`{what}` of stage `{stage}` is for commands only"))
                .stage(stage)
                .help(match what {
                    "outputs" => format!("the built-in `{name}` names its own outputs"),
                    _ => format!("the built-in `{name}` reads no environment variable"),
                });
        }
    }
    let given: BTreeMap<String, Value> = command_params(draft);
    let params = match Params::resolve(builtin.params(), &given) {
        Ok(params) => params,
        Err(errors) => {
            for error in errors {
                report_param(draft, (builtin, registry), &error, problems);
            }
            return (Action::Builtin { name: name.to_owned(), version: 0 }, given);
        }
    };
    let wired: Vec<&str> = draft.inputs.iter().map(|input| input.key.as_str()).collect();
    if let Err(error) = builtin.check(&params, &wired) {
        let found = error
            .name
            .and_then(|name| entry(&draft.params, name).or_else(|| entry(&draft.inputs, name)));
        let message = format!("stage `{stage}`: {}", error.message);
        let problem = match found {
            Some(entry) => problems.with(&entry.value, message),
            None => problems.at(draft.origin, message),
        };
        problem.stage(stage);
        if let Some(name) = error.name.filter(|name| params.0.contains_key(*name)) {
            problem.parameter(name);
        }
    }
    (Action::Builtin { name: name.to_owned(), version: builtin.version() }, params.0)
}

/// The words of a built-in's parameter that is one of a few.
fn words_of(builtin: &dyn stages::Stage, name: &str) -> Option<&'static [&'static str]> {
    let spec = builtin.params().iter().find(|spec| spec.name == name)?;
    match spec.kind {
        stages::ParamKind::Choice(words) => Some(words),
        _ => None,
    }
}

fn report_param(
    draft: &Draft,
    (builtin, registry): (&dyn stages::Stage, &[&dyn stages::Stage]),
    error: &ParamError,
    problems: &mut Problems,
) {
    let (stage, name) = (&draft.name, error.name());
    let given = entry(&draft.params, name);
    let problem = match (error, given) {
        (ParamError::Unknown { .. }, Some(entry)) => {
            let message = format!("unknown parameter `{name}` of stage `{stage}`");
            let known: Vec<&str> = builtin.params().iter().map(|spec| spec.name).collect();
            let inputs = builtin.inputs().iter().any(|input| input.name == name);
            let problem = problems.at(entry.key_origin, message);
            problem.nearest_or_all(name, &known);
            if inputs {
                problem.help(format!("`{name}` is an input: write it under `inputs:`"));
            }
            problem
        }
        (ParamError::Unfit { found, expected, .. }, Some(entry)) => {
            let message =
                format!("parameter `{name}` of stage `{stage}` is {found}, expected {expected}");
            let problem = problems.with(&entry.value, message);
            let looks_quoted = entry.value.as_text().and_then(|text| {
                let unquoted: Value = serde_json::to_value(values::read(text).1.ok()?.yaml).ok()?;
                let spec = builtin.params().iter().find(|spec| spec.name == name)?;
                (!unquoted.is_string()).then(|| spec.kind.canonical(&unquoted))?.map(|_| text)
            });
            if let Some(text) = looks_quoted {
                problem.help(format!("write {text} without quotes"));
            } else if let (Some(text), Some(words)) =
                (entry.value.as_text(), words_of(builtin, name))
            {
                problem.nearest(text, words.iter().copied());
                if let Some(other) = registry.iter().find(|other| {
                    words_of(**other, name).is_some_and(|words| words.contains(&text))
                }) {
                    problem.help(format!("`{name}: {text}` is for `{}`", other.name()));
                }
            }
            problem
        }
        (ParamError::Missing { expected, .. }, _) => problems
            .at(draft.origin, format!("stage `{stage}` needs the parameter `{name}`: {expected}"))
            .help(format!("add `{name}:` under `params:`")),
        (_, None) => problems.at(draft.origin, format!("stage `{stage}`: {error}")),
    };
    problem.stage(stage).parameter(name);
}

fn env(draft: &Draft, problems: &mut Problems) -> Vec<String> {
    let Some(node) = draft.env.as_ref().filter(|_| draft.run.is_some()) else { return Vec::new() };
    let stage = &draft.name;
    let YamlValue::List(items) = &node.content else {
        let message = format!("`env` of stage `{stage}` must be a list, not {}", node.what());
        let problem = problems.at(node.origin, message).stage(stage);
        problem.help("list the names of environment variables: `[HF_HOME]`".to_owned());
        return Vec::new();
    };
    let mut names: Vec<String> = Vec::new();
    for item in items {
        match item.as_text() {
            Some(name) if is_reserved_variable(name) => {
                let message = format!("`{name}` is a variable that pipe itself sets");
                problems.at(item.origin, message).stage(stage);
            }
            Some(name) if is_variable_name(name) => {
                if names.iter().any(|known| known == name) {
                    let message = format!("`{name}` is listed twice in `env` of stage `{stage}`");
                    problems.at(item.origin, message).stage(stage);
                }
                names.push(name.to_owned());
            }
            _ => {
                let found =
                    item.as_text().map_or(item.what().to_owned(), |text| format!("`{text}`"));
                let message = format!("{found} is not the name of an environment variable");
                problems.at(item.origin, message).stage(stage);
            }
        }
    }
    names
}

fn salt(draft: &Draft, problems: &mut Problems) -> Option<String> {
    let node = draft.salt.as_ref()?;
    match &node.content {
        YamlValue::Scalar(Value::Null) => None,
        YamlValue::Scalar(Value::String(text)) => Some(text.clone()),
        YamlValue::Scalar(Value::Number(number)) if !number.is_f64() => Some(number.to_string()),
        _ => {
            let stage = &draft.name;
            let message = format!("`salt` of stage `{stage}` must be a text, not {}", node.what());
            problems.with(node, message).stage(stage);
            None
        }
    }
}
