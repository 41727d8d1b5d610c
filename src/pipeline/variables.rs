//! `${name}` in the values of a stage: how it is written, what it stands for, and how a value
//! that is nothing but `"${name}"` keeps the variable's type.
//!
//! In the text of a command the shell has `$` too. There `${name}` is the pipeline's, while
//! `$name`, `${IN_x}`, `${OUT_x}`, `${PARAM_x}`, a name listed under `env:` and anything that is
//! more than a name (`${x:-default}`) are the shell's. `$${` is a plain `${` everywhere.
//! `${matrix.axis}`, `${item}` and `${variant}` are variables of a variant, see `matrix`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::marks::Origin;
use super::names::{ITEM, MATRIX, check_name, is_name, is_reserved_variable};
use super::problem::Problems;
use super::yaml::{Via, YamlEntry, YamlNode, YamlValue};

/// A value may not grow beyond this many characters and items by interpolation.
const MAX_SIZE: usize = 1 << 20;

/// The variables of a pipeline with their final values.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(BTreeMap<String, Variable>);

#[derive(Clone, Debug)]
struct Variable {
    value: YamlNode,
    /// Characters and items, to keep doubling variables from filling the memory.
    size: usize,
}

/// Whose `$` it is.
#[derive(Clone, Copy)]
pub(super) enum Dollar<'a> {
    Pipeline,
    /// Shared with the shell, which also has these variables.
    Shell {
        env: &'a [String],
    },
}

impl Variables {
    /// Fills the variables into each other, whatever their order in the file.
    pub(super) fn evaluate(vars: Vec<YamlEntry>, problems: &mut Problems) -> Variables {
        let mut waiting: BTreeMap<String, (YamlEntry, Vec<String>)> = BTreeMap::new();
        for entry in vars {
            check_name("variable", &entry.key, entry.key_origin, problems);
            if is_reserved_variable(&entry.key) {
                let message = format!("a variable cannot be called `{}`", entry.key);
                problems.at(entry.key_origin, message).help(
                    "`IN_`, `OUT_` and `PARAM_` begin the names that a command is given".to_owned(),
                );
            }
            if let YamlValue::Map(_) = entry.value.content {
                let message =
                    format!("variable `{}` must be a scalar or a list, not a map", entry.key);
                problems.with(&entry.value, message);
                continue;
            }
            let uses = used_names(&entry.value);
            waiting.insert(entry.key.clone(), (entry, uses));
        }
        // Kahn's algorithm: a variable is ready when all that it uses are.
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut missing: BTreeMap<String, usize> = BTreeMap::new();
        for (name, (_, uses)) in &waiting {
            let known = uses.iter().filter(|used| waiting.contains_key(*used));
            missing.insert(name.clone(), known.clone().count());
            for used in known {
                users.entry(used.clone()).or_default().push(name.clone());
            }
        }
        let mut ready: Vec<String> = missing
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(name, _)| name.clone())
            .collect();
        let mut variables = Variables::default();
        while let Some(name) = ready.pop() {
            let Some((mut entry, _)) = waiting.remove(&name) else { continue };
            variables.fill(&mut entry.value, Dollar::Pipeline, problems);
            let size = size(&entry.value);
            variables.0.insert(name.clone(), Variable { value: entry.value, size });
            for user in users.remove(&name).unwrap_or_default() {
                if let Some(count) = missing.get_mut(&user) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(user);
                    }
                }
            }
        }
        report_cycle(&waiting, problems);
        // Those that cannot be had are known all the same: one mistake, one message.
        for (name, (entry, _)) in waiting {
            let value = YamlNode::scalar(Value::Null, entry.value.origin);
            variables.0.insert(name, Variable { value, size: 0 });
        }
        variables
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&YamlNode> {
        self.0.get(name).map(|variable| &variable.value)
    }

    /// With the variables that a variant has of its own; those hide others of their name.
    pub(super) fn with(&self, locals: &[(String, YamlNode)]) -> Variables {
        let mut variables = self.clone();
        for (name, value) in locals {
            let (value, size) = (value.clone(), size(value));
            variables.0.insert(name.clone(), Variable { value, size });
        }
        variables
    }

    /// Replaces `${name}` in every text of a value.
    pub(super) fn fill(&self, node: &mut YamlNode, dollar: Dollar, problems: &mut Problems) {
        let mut room = MAX_SIZE;
        self.fill_within(node, dollar, &mut room, problems);
    }

    fn fill_within(
        &self,
        node: &mut YamlNode,
        dollar: Dollar,
        room: &mut usize,
        problems: &mut Problems,
    ) {
        match &mut node.content {
            YamlValue::List(items) => {
                for item in items {
                    self.fill_within(item, dollar, room, problems);
                    for via in item.via.clone() {
                        if !node.via.contains(&via) {
                            node.via.push(via);
                        }
                    }
                }
            }
            YamlValue::Map(entries) => {
                for entry in entries {
                    self.fill_within(&mut entry.value, dollar, room, problems);
                }
            }
            YamlValue::Scalar(Value::String(text)) if text.contains('$') => {
                let text = text.clone();
                if let Some((content, via)) = self.filled(node, &text, dollar, room, problems) {
                    node.content = content;
                    node.via = via;
                }
            }
            YamlValue::Scalar(_) => {}
        }
    }

    fn filled(
        &self,
        node: &YamlNode,
        text: &str,
        dollar: Dollar,
        room: &mut usize,
        problems: &mut Problems,
    ) -> Option<(YamlValue, Vec<Via>)> {
        let pieces = match pieces(text, dollar) {
            Ok(pieces) => pieces,
            Err(found) => {
                problems
                    .with(node, format!("`{found}` is not a variable"))
                    .help("write `${name}`, or `$${` for a plain `${`".to_owned());
                return None;
            }
        };
        let mut via: Vec<Via> = Vec::new();
        let mut filled = String::new();
        for piece in &pieces {
            let name = match piece {
                Piece::Text(text) => {
                    filled.push_str(text);
                    continue;
                }
                Piece::Variable(name) => *name,
            };
            let Some(variable) = self.0.get(name) else {
                if let Dollar::Shell { env } = dollar
                    && env.iter().any(|known| known == name)
                {
                    filled.push_str(&format!("${{{name}}}"));
                    continue;
                }
                let problem = problems.with(node, format!("there is no variable `{name}`"));
                problem.nearest(name, self.0.keys().map(String::as_str));
                if problem.help.is_none() {
                    let of_matrix = name.strip_prefix(MATRIX).and_then(|it| it.strip_prefix('.'));
                    problem.help(match dollar {
                        _ if name == ITEM => "it comes from `foreach:` of the stage".to_owned(),
                        _ if of_matrix.is_some() => {
                            let axis = of_matrix.unwrap_or_default();
                            format!("declare `{axis}` under `matrix:` of the stage")
                        }
                        Dollar::Pipeline => format!("declare `{name}` under `vars:`"),
                        Dollar::Shell { .. } => {
                            format!("write `$${{{name}}}` or `${name}` for the shell's variable")
                        }
                    });
                }
                return None;
            };
            if variable.size > *room {
                problems.with(node, format!("with `{name}` filled in the value is too long"));
                return None;
            }
            *room -= variable.size;
            let known = variable.value.via.iter().cloned();
            let own = Via {
                variable: name.to_owned(),
                value: variable.value.to_json().to_string(),
                origin: variable.value.origin,
            };
            for one in std::iter::once(own).chain(known) {
                if !via.contains(&one) {
                    via.push(one);
                }
            }
            if pieces.len() == 1 {
                return Some((variable.value.content.clone(), via));
            }
            match &variable.value.content {
                YamlValue::Scalar(Value::String(text)) => filled.push_str(text),
                YamlValue::Scalar(value) if !value.is_null() => filled.push_str(&value.to_string()),
                _ => {
                    let what = variable.value.what();
                    let message = format!("variable `{name}` is {what}, it cannot stand in a text");
                    problems.with(node, message).help(format!("write `\"${{{name}}}\"` alone"));
                    return None;
                }
            }
        }
        Some((YamlValue::Scalar(Value::String(filled)), via))
    }
}

#[derive(Debug, PartialEq)]
enum Piece<'t> {
    Text(&'t str),
    Variable(&'t str),
}

/// Cuts a text at its variables; an error is a `${…}` that is none.
fn pieces<'t>(text: &'t str, dollar: Dollar) -> Result<Vec<Piece<'t>>, &'t str> {
    let mut pieces = Vec::new();
    // `text[start..]` has not been put into a piece; `text[start..at]` holds no variable.
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text[at..].find("${") {
        let open = at + found;
        if text[..open].ends_with('$') {
            pieces.push(Piece::Text(&text[start..open - 1]));
            (start, at) = (open, open + 2);
            continue;
        }
        let close = text[open..].find('}').map(|length| open + length);
        let name = close.map(|close| &text[open + 2..close]);
        match (name, close) {
            (Some(name), Some(close)) if is_ours(name, dollar) => {
                pieces.push(Piece::Text(&text[start..open]));
                pieces.push(Piece::Variable(name));
                (start, at) = (close + 1, close + 1);
            }
            _ if matches!(dollar, Dollar::Shell { .. }) => at = open + 2,
            _ => return Err(close.map_or(&text[open..], |close| &text[open..=close])),
        }
    }
    pieces.push(Piece::Text(&text[start..]));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

fn is_ours(name: &str, dollar: Dollar) -> bool {
    let left_to_shell = matches!(dollar, Dollar::Shell { .. }) && is_reserved_variable(name);
    let axis = name.strip_prefix(MATRIX).and_then(|rest| rest.strip_prefix('.'));
    is_name(axis.unwrap_or(name)) && !left_to_shell
}

fn used_names(node: &YamlNode) -> Vec<String> {
    match &node.content {
        YamlValue::Scalar(Value::String(text)) => {
            let pieces = pieces(text, Dollar::Pipeline).unwrap_or_default();
            let name = |piece: Piece| match piece {
                Piece::Variable(name) => Some(name.to_owned()),
                Piece::Text(_) => None,
            };
            pieces.into_iter().filter_map(name).collect()
        }
        YamlValue::Scalar(_) => Vec::new(),
        YamlValue::List(items) => items.iter().flat_map(used_names).collect(),
        YamlValue::Map(entries) => {
            entries.iter().flat_map(|entry| used_names(&entry.value)).collect()
        }
    }
}

fn size(node: &YamlNode) -> usize {
    1 + match &node.content {
        YamlValue::Scalar(Value::String(text)) => text.len(),
        YamlValue::Scalar(_) => 0,
        YamlValue::List(items) => items.iter().map(size).sum(),
        YamlValue::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
    }
}

/// Names one cycle among variables that wait for each other.
fn report_cycle(waiting: &BTreeMap<String, (YamlEntry, Vec<String>)>, problems: &mut Problems) {
    let Some(first) = waiting.keys().next() else { return };
    let mut path = vec![first.as_str()];
    loop {
        let last = path[path.len() - 1];
        // Every variable that still waits uses another one that does.
        let next = waiting[last].1.iter().find(|used| waiting.contains_key(*used));
        let Some(next) = next else { return };
        if let Some(start) = path.iter().position(|name| *name == next.as_str()) {
            path.push(next);
            let cycle = &path[start..];
            let origin: Origin = waiting[cycle[0]].0.value.origin;
            problems.at(origin, format!("variables use each other: {}", cycle.join(" → ")));
            return;
        }
        path.push(next);
    }
}
