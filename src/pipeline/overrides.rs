//! Applies overrides to the document: a profile, then a combination of a sweep, then each `--set`.
//! Later ones win.

use serde_json::Value;
use serde_yaml::Value as Yaml;

use super::document::{Document, Draft, Profile, entry};
use super::marks::{Mark, Origin};
use super::model::Overrides;
use super::positions;
use super::problem::Problems;
use super::values;
use super::yaml::{YamlEntry, YamlNode};
use crate::text::variants::{MARK, matches};

/// An override: a key as `--set` takes it, and a value.
#[derive(Clone, Debug)]
pub struct Assignment {
    pub key: String,
    pub(super) origin: Origin,
    pub(super) value: YamlNode,
}

impl Assignment {
    pub fn value(&self) -> Value {
        self.value.to_json()
    }
}

/// An override of single variants, such as `train@seed=1.epochs`. It is applied once the variants
/// exist.
pub(super) struct ForVariant {
    key: String,
    origin: Origin,
    value: YamlNode,
    /// False for a profile that was not chosen: then the key is checked only.
    applies: bool,
}

/// Applies the chosen profile, a combination of a sweep, and every `--set`. Also checks the keys of
/// the other profiles, so that a typo shows before the profile is needed. Returns the overrides of
/// single variants, for [`apply_to_variants`].
pub(super) fn apply(
    document: &mut Document,
    combination: &[Assignment],
    overrides: &Overrides,
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) -> Vec<ForVariant> {
    let mut for_variants = Vec::new();
    let profiles = std::mem::take(&mut document.profiles);
    if let Some(chosen) = &overrides.profile
        && !profiles.iter().any(|profile| profile.name == *chosen)
    {
        let known: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
        let message = format!("there is no profile `{chosen}`");
        problems.at(Origin::Profile, message).nearest_or_all(chosen, &known);
    }
    let mut add = |key: String, origin, value, applies, problems: &mut Problems| {
        if key.contains(MARK) {
            for_variants.push(ForVariant { key, origin, value, applies });
        } else if let Some(target) = find_target(document, &key, origin, registry, problems)
            && applies
        {
            set_target(document, target, origin, value);
        }
    };
    for Profile { name, overrides: entries } in profiles {
        let chosen = overrides.profile.as_deref() == Some(name.as_str());
        for YamlEntry { key, key_origin, value } in entries {
            add(key, key_origin, value, chosen, problems);
        }
    }
    for Assignment { key, origin, value } in combination {
        add(key.clone(), *origin, value.clone(), true, problems);
    }
    for (index, (key, value)) in overrides.set.iter().enumerate() {
        let origin = Origin::Set(index);
        let value = typed(key, value, origin, Some(problems));
        add(key.clone(), origin, value, true, problems);
    }
    for_variants
}

/// Reports a key that names nothing, and returns `None`. Keys of single variants pass: they can
/// only be checked once the variants exist.
pub(super) fn check(
    document: &Document,
    key: &str,
    origin: Origin,
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) -> Option<()> {
    if key.contains(MARK) {
        return Some(());
    }
    find_target(document, key, origin, registry, problems).map(drop)
}

/// Parses a value from the command line. The value of an input is a text unless it is in brackets.
/// Without `problems`, invalid YAML in brackets becomes a text.
pub(super) fn typed(
    key: &str,
    value: &str,
    origin: Origin,
    problems: Option<&mut Problems>,
) -> YamlNode {
    let for_input = matches!(split(key)[..], [_, "inputs", _]);
    if for_input && !value.trim_start().starts_with(['{', '[']) {
        return YamlNode::scalar(Value::String(value.to_owned()), origin);
    }
    parse(value, origin, problems)
}

/// Applies the overrides of single variants, after those of whole stages.
pub(super) fn apply_to_variants(
    document: &mut Document,
    for_variants: Vec<ForVariant>,
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) {
    for ForVariant { key, origin, value, applies } in for_variants {
        let parts = split(&key);
        let meant: Vec<String> = document.stages.iter().map(|draft| draft.name.clone()).collect();
        let meant = meant.iter().filter(|name| matches(parts[0], name));
        let mut keys: Vec<String> =
            meant.map(|name| [&[name.as_str()], &parts[1..]].concat().join(".")).collect();
        if keys.is_empty() {
            // `find_target` reports that there is no such variant.
            keys.push(key.clone());
        }
        for key in keys {
            let target = find_target(document, &key, origin, registry, problems);
            if let Some(target) = target.filter(|_| applies) {
                set_target(document, target, origin, value.clone());
            }
        }
    }
}

/// Splits a key at its dots, except for those in the label of a variant.
pub(super) fn split(key: &str) -> Vec<&str> {
    if !key.contains(MARK) {
        return key.split('.').collect();
    }
    match key.rsplit_once('.') {
        Some((stage, name)) => match stage.strip_suffix(".inputs") {
            Some(stage) => vec![stage, "inputs", name],
            None => vec![stage, name],
        },
        None => vec![key],
    }
}

/// What an override key names. `stage` is an index into [`Document::stages`].
enum Target {
    Variable { name: String },
    Param { stage: usize, name: String },
    Input { stage: usize, name: String },
}

fn find_target(
    document: &Document,
    key: &str,
    origin: Origin,
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) -> Option<Target> {
    let stage_index = |stage: &str, problems: &mut Problems| {
        let found = document.stages.iter().position(|draft| draft.name == stage);
        if found.is_none() {
            let known = document.stages.iter().map(|draft| draft.name.as_str());
            let known: Vec<&str> = known.collect();
            let message = format!("`{key}`: there is no stage `{stage}`");
            problems.at(origin, message).nearest_or_all(stage, &known);
        }
        found
    };
    match split(key)[..] {
        [name] if !name.contains(MARK) => {
            if entry(&document.vars, name).is_some() {
                return Some(Target::Variable { name: name.to_owned() });
            }
            let known: Vec<&str> = document.vars.iter().map(|var| var.key.as_str()).collect();
            let problem = problems.at(origin, format!("there is no variable `{name}`"));
            problem.nearest_or_all(name, &known);
            if document.stages.iter().any(|draft| draft.name == name) {
                problem.help(format!("`{name}` is a stage; `{name}.parameter` sets a parameter"));
            }
            None
        }
        [stage, name] => {
            let index = stage_index(stage, problems)?;
            let draft = &document.stages[index];
            let known = known_params(draft, registry)?;
            if !known.contains(&name) {
                let message = format!("unknown parameter `{name}` of stage `{stage}`");
                let problem = problems.at(origin, message).stage(stage).parameter(name);
                problem.nearest_or_all(name, &known);
                return None;
            }
            Some(Target::Param { stage: index, name: name.to_owned() })
        }
        [stage, "inputs", name] => {
            let index = stage_index(stage, problems)?;
            let draft = &document.stages[index];
            let known = known_inputs(draft, registry)?;
            if !known.contains(&name) {
                let message = format!("unknown input `{name}` of stage `{stage}`");
                problems.at(origin, message).stage(stage).nearest_or_all(name, &known);
                return None;
            }
            Some(Target::Input { stage: index, name: name.to_owned() })
        }
        _ => {
            problems
                .at(origin, format!("`{key}` names nothing that can be overridden"))
                .help("write `variable`, `stage.parameter` or `stage.inputs.name`".to_owned());
            None
        }
    }
}

/// The parameters that can be overridden. `None` if the built-in is unknown, which `stage` reports.
fn known_params<'a>(draft: &'a Draft, registry: &[&dyn stages::Stage]) -> Option<Vec<&'a str>> {
    if draft.run.is_some() {
        return Some(draft.params.iter().map(|param| param.key.as_str()).collect());
    }
    Some(draft.builtin(registry)?.params().iter().map(|spec| spec.name).collect())
}

/// As [`known_params`], for inputs.
fn known_inputs<'a>(draft: &'a Draft, registry: &[&dyn stages::Stage]) -> Option<Vec<&'a str>> {
    if draft.run.is_some() {
        return Some(draft.inputs.iter().map(|input| input.key.as_str()).collect());
    }
    Some(draft.builtin(registry)?.inputs().iter().map(|spec| spec.name).collect())
}

fn set_target(document: &mut Document, target: Target, key_origin: Origin, value: YamlNode) {
    let (entries, key) = match target {
        Target::Variable { name } => (&mut document.vars, name),
        Target::Param { stage, name } => (&mut document.stages[stage].params, name),
        Target::Input { stage, name } => (&mut document.stages[stage].inputs, name),
    };
    match entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => {
            entry.key_origin = key_origin;
            entry.value = value;
        }
        None => entries.push(YamlEntry { key, key_origin, value }),
    }
}

/// Parses a YAML scalar, `[list]` or `{map}`. Anything else that YAML would see (a comment, a map
/// in `a: b`, null in an empty text) stays the text that was typed.
fn parse(text: &str, origin: Origin, problems: Option<&mut Problems>) -> YamlNode {
    let trimmed = text.trim();
    let plain = YamlNode::scalar(Value::String(text.to_owned()), origin);
    let bracketed = trimmed.starts_with(['[', '{']);
    let quoted = trimmed.starts_with(['"', '\'']);
    let yaml = match values::read(trimmed).1 {
        Ok(values) => values.yaml,
        Err(error) if bracketed => {
            if let Some(problems) = problems {
                problems.at(origin, error.problem.replacen("this", "the value", 1));
            }
            return plain;
        }
        Err(_) => return plain,
    };
    match &yaml {
        Yaml::Null if !matches!(trimmed, "null" | "~") => plain,
        Yaml::String(_) if !quoted => plain,
        Yaml::Sequence(_) | Yaml::Mapping(_) if !bracketed => plain,
        Yaml::Tagged(_) => plain,
        _ => match problems {
            Some(problems) => positions::join(yaml, Mark::leaf(origin), problems),
            None => {
                let overrides = Overrides::default();
                positions::join(yaml, Mark::leaf(origin), &mut Problems::new("", &overrides, &[]))
            }
        },
    }
}
