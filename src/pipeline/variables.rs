//! Fills `${name}` into values. A value that is just `"${name}"` takes the type of the variable.
//!
//! In a command, `$` also belongs to the shell. There `${name}` is a variable of the pipeline;
//! `$name`, `${IN_x}`, `${OUT_x}`, `${PARAM_x}`, a name listed under `env:`, and anything more than
//! a name (`${x:-default}`) are left to the shell. `$${` is a plain `${` everywhere.
//! `${matrix.axis}`, `${item}` and `${variant}` exist in variants only, see `matrix`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::marks::Origin;
use super::names::{ITEM, MATRIX, check_name, is_name, is_reserved_variable};
use super::problem::Problems;
use super::yaml::{Via, YamlEntry, YamlNode, YamlValue};

/// Upper bound on a value after interpolation, in bytes of text plus items.
const MAX_SIZE: usize = 1 << 20;

/// The variables of a pipeline with their final values.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(BTreeMap<String, Variable>);

#[derive(Clone, Debug)]
struct Variable {
    value: YamlNode,
    /// Bytes of text plus items. Bounded, so that variables that double cannot fill the memory.
    size: usize,
}

/// Who interprets `$` in a text.
#[derive(Clone, Copy)]
pub(super) enum Dollar<'a> {
    Pipeline,
    /// The pipeline and the shell. `env` names the variables that the shell has.
    Shell {
        env: &'a [String],
    },
}

impl Variables {
    /// Evaluates the section `vars`: fills the variables into each other, in any order.
    pub(super) fn evaluate(vars: Vec<YamlEntry>, problems: &mut Problems) -> Variables {
        let mut waiting: BTreeMap<String, (YamlEntry, Vec<String>)> = BTreeMap::new();
        for entry in vars {
            check_name("variable", &entry.key, entry.key_origin, problems);
            if is_reserved_variable(&entry.key) {
                let message = format!("a variable cannot be called `{}`", entry.key);
                problems.at(entry.key_origin, message).help(
                    "a command finds its inputs, outputs and parameters under `IN_`, `OUT_` and \
                     `PARAM_`"
                        .to_owned(),
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
        // Kahn's algorithm: a variable is ready once every variable that it uses is.
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
        // Variables in a cycle become null, so that their uses are not reported as well.
        for (name, (entry, _)) in waiting {
            let value = YamlNode::scalar(Value::Null, entry.value.origin);
            variables.0.insert(name, Variable { value, size: 0 });
        }
        variables
    }

    /// The value of the variable `name`.
    pub(super) fn get(&self, name: &str) -> Option<&YamlNode> {
        self.0.get(name).map(|variable| &variable.value)
    }

    /// These variables together with those of a variant, which hide others of the same name.
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
            YamlValue::Scalar(Value::String(text)) if text.contains("${") => {
                let text = text.clone();
                if let Some((content, via)) = self.filled(node, &text, dollar, room, problems) {
                    node.content = content;
                    node.via = via;
                }
            }
            YamlValue::Scalar(_) => {}
        }
    }

    /// The value of `text` with its variables filled in, and the variables that went into it. A
    /// mistake is reported, and the value stays as it is.
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
                if dollar.is_declared(name) {
                    filled.push_str(&format!("${{{name}}}"));
                    continue;
                }
                self.report_unknown(name, node, dollar, problems);
                return None;
            };
            if variable.size > *room {
                problems.with(node, format!("with `{name}` filled in, the value is too long"));
                return None;
            }
            *room -= variable.size;
            variable.add_to(&mut via, name);
            if pieces.len() == 1 {
                return Some((variable.value.content.clone(), via));
            }
            match &variable.value.content {
                YamlValue::Scalar(Value::String(text)) => filled.push_str(text),
                YamlValue::Scalar(value) if !value.is_null() => filled.push_str(&value.to_string()),
                _ => {
                    let what = variable.value.what();
                    let message =
                        format!("variable `{name}` is {what} and cannot stand inside a text");
                    problems.with(node, message).help(format!("write `\"${{{name}}}\"` alone"));
                    return None;
                }
            }
        }
        Some((YamlValue::Scalar(Value::String(filled)), via))
    }

    /// Reports a variable that does not exist, with the nearest name or where to declare it.
    fn report_unknown(&self, name: &str, node: &YamlNode, dollar: Dollar, problems: &mut Problems) {
        let problem = problems.with(node, format!("there is no variable `{name}`"));
        problem.nearest(name, self.0.keys().map(String::as_str));
        if problem.help.is_some() {
            return;
        }
        problem.help(match (matrix_axis(name), dollar) {
            _ if name == ITEM => "it comes from `foreach:` of the stage".to_owned(),
            (Some(axis), _) => format!("declare `{axis}` under `matrix:` of the stage"),
            (None, Dollar::Pipeline) => format!("declare `{name}` under `vars:`"),
            (None, Dollar::Shell { .. }) => {
                format!("write `$${{{name}}}` or `${name}` for the shell's variable")
            }
        });
    }
}

impl Variable {
    /// Adds this variable, and those that went into its own value, to the list for messages.
    fn add_to(&self, via: &mut Vec<Via>, name: &str) {
        let own = Via {
            variable: name.to_owned(),
            value: self.value.to_json().to_string(),
            origin: self.value.origin,
        };
        for one in std::iter::once(own).chain(self.value.via.iter().cloned()) {
            if !via.contains(&one) {
                via.push(one);
            }
        }
    }
}

impl Dollar<'_> {
    /// Whether the shell has a variable of that name that `env:` declares.
    fn is_declared(self, name: &str) -> bool {
        matches!(self, Dollar::Shell { env } if env.iter().any(|known| known == name))
    }
}

/// The axis of `matrix.axis`.
fn matrix_axis(name: &str) -> Option<&str> {
    name.strip_prefix(MATRIX)?.strip_prefix('.')
}

#[derive(Debug, PartialEq)]
enum Piece<'t> {
    Text(&'t str),
    Variable(&'t str),
}

/// Splits a text at its variables. The error is a `${…}` that is not a variable.
fn pieces<'t>(text: &'t str, dollar: Dollar) -> Result<Vec<Piece<'t>>, &'t str> {
    let mut pieces = Vec::new();
    // `text[start..]` is not yet in a piece; `text[start..at]` holds no variable.
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

/// Whether `${name}` is a variable of the pipeline.
fn is_ours(name: &str, dollar: Dollar) -> bool {
    let left_to_shell = matches!(dollar, Dollar::Shell { .. }) && is_reserved_variable(name);
    is_name(matrix_axis(name).unwrap_or(name)) && !left_to_shell
}

/// The names of the variables in a value.
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

/// Bytes of text plus items.
fn size(node: &YamlNode) -> usize {
    1 + match &node.content {
        YamlValue::Scalar(Value::String(text)) => text.len(),
        YamlValue::Scalar(_) => 0,
        YamlValue::List(items) => items.iter().map(size).sum(),
        YamlValue::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
    }
}

/// Reports one cycle among the variables that wait for each other.
fn report_cycle(waiting: &BTreeMap<String, (YamlEntry, Vec<String>)>, problems: &mut Problems) {
    let Some(first) = waiting.keys().next() else { return };
    let mut path = vec![first.as_str()];
    loop {
        let last = path[path.len() - 1];
        // Every waiting variable uses another waiting one.
        let next = waiting[last].1.iter().find(|used| waiting.contains_key(*used));
        let Some(next) = next else { return };
        if let Some(start) = path.iter().position(|name| *name == next.as_str()) {
            path.push(next);
            let cycle = &path[start..];
            let origin: Origin = waiting[cycle[0]].0.value.origin;
            problems.at(origin, format!("the variables form a cycle: {}", cycle.join(" → ")));
            return;
        }
        path.push(next);
    }
}
