//! The YAML file as a tree in which every key and value knows where it was written.
//!
//! `serde_yaml` reads the values and decides what is YAML; it gives no positions. A second pass
//! over the same text with `saphyr-parser`, which does, collects them. The two trees are then
//! walked together. Overrides replace nodes of the tree, and bring their own [`Origin`], so that
//! whatever is wrong with a value later points at where that value came from.

use serde_json::{Number, Value};
use serde_yaml::Value as Yaml;

use super::marks::{Mark, MarkKind, Origin};
use super::problem::Problems;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) origin: Origin,
    /// Filled in by interpolation: the variables that went into this value.
    pub(super) via: Vec<Via>,
}

/// A variable that went into a value, for messages about that value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Via {
    pub(super) variable: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Null, a boolean, a number or a text.
    Scalar(Value),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_origin: Origin,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn scalar(value: Value, origin: Origin) -> Node {
        Node { content: Content::Scalar(value), origin, via: Vec::new() }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    /// The value without its origins.
    pub(super) fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Node::to_json).collect(),
            Content::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// What it is, in words: "a list".
    pub(super) fn what(&self) -> &'static str {
        match &self.content {
            Content::Scalar(Value::Null) => "nothing",
            Content::Scalar(Value::Bool(_)) => "true or false",
            Content::Scalar(Value::Number(_)) => "a number",
            Content::Scalar(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// Whether the value, or a variable in it, was given on the command line.
    pub(super) fn is_from_set(&self) -> bool {
        let from_set = |origin: Origin| matches!(origin, Origin::Set(_) | Origin::Axis(_));
        from_set(self.origin) || self.via.iter().any(|via| from_set(via.origin))
    }

    /// Joins what `serde_yaml` read with the positions of `marks`. Where the passes part (an
    /// alias, a merged key) the nearest known position stands in.
    pub(super) fn build(value: Yaml, mark: Mark, problems: &mut Problems) -> Node {
        let origin = mark.origin;
        let content = match value {
            Yaml::Null => Content::Scalar(Value::Null),
            Yaml::Bool(value) => Content::Scalar(value.into()),
            Yaml::Number(number) => match json_number(&number) {
                Some(number) => Content::Scalar(Value::Number(number)),
                None => {
                    problems.at(origin, format!("`{number}` is not a finite number"));
                    Content::Scalar(Value::Null)
                }
            },
            Yaml::String(text) => Content::Scalar(Value::String(text)),
            Yaml::Sequence(items) => {
                let marks = match mark.kind {
                    MarkKind::List(marks) => marks,
                    _ => Vec::new(),
                };
                let marks = marks.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
                let build = |(item, known): (Yaml, Option<Mark>)| {
                    Node::build(item, known.unwrap_or(Mark::leaf(origin)), problems)
                };
                Content::List(items.into_iter().zip(marks).map(build).collect())
            }
            Yaml::Mapping(entries) => {
                let mut marks = match mark.kind {
                    MarkKind::Map(marks) => marks,
                    _ => Vec::new(),
                };
                let mut built = Vec::with_capacity(entries.len());
                let mut cursor = 0;
                for (key, value) in entries {
                    let Some(key) = key_text(&key) else {
                        problems
                            .at(origin, "a key is a list or a map".to_owned())
                            .help("write a name before the colon".to_owned());
                        continue;
                    };
                    // Both passes keep the file's order, so the next mark is nearly always it.
                    let found = match marks.get(cursor) {
                        Some(next) if next.key == key => Some(cursor),
                        _ => marks.iter().position(|known| known.key == key),
                    };
                    let (key_origin, known) = match found {
                        Some(index) => {
                            cursor = index + 1;
                            let taken =
                                std::mem::replace(&mut marks[index].value, Mark::leaf(origin));
                            (marks[index].origin, taken)
                        }
                        None => (origin, Mark::leaf(origin)),
                    };
                    let value = Node::build(value, known, problems);
                    built.push(Entry { key, key_origin, value });
                }
                Content::Map(built)
            }
            Yaml::Tagged(tagged) => {
                problems
                    .at(origin, format!("the tag `{}` means nothing here", tagged.tag))
                    .help("leave it out; put a text that begins with `!` in quotes".to_owned());
                Content::Scalar(Value::Null)
            }
        };
        Node { content, origin, via: Vec::new() }
    }
}

fn json_number(number: &serde_yaml::Number) -> Option<Number> {
    if let Some(number) = number.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = number.as_u64() {
        return Some(number.into());
    }
    Number::from_f64(number.as_f64()?)
}

/// A key as text; `2020:` and `true:` are texts as well when they stand before a colon.
fn key_text(key: &Yaml) -> Option<String> {
    match key {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(value) => Some(value.to_string()),
        Yaml::Null => Some("null".to_owned()),
        Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => None,
    }
}
