//! The YAML file as a tree in which every key and value knows where it was written.
//!
//! `serde_yaml` reads the values and decides what is YAML; it gives no positions. A second pass
//! over the same text with `saphyr-parser`, which does, collects them. The two trees are then
//! walked together. Overrides replace nodes of the tree, and bring their own [`Origin`], so that
//! whatever is wrong with a value later points at where that value came from.

use serde_json::Value;

use super::marks::Origin;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct YamlNode {
    pub(super) content: YamlValue,
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
pub(super) enum YamlValue {
    /// Null, a boolean, a number or a text.
    Scalar(Value),
    List(Vec<YamlNode>),
    /// In the order of the file.
    Map(Vec<YamlEntry>),
}

#[derive(Clone, Debug)]
pub(super) struct YamlEntry {
    pub(super) key: String,
    pub(super) key_origin: Origin,
    pub(super) value: YamlNode,
}

impl YamlNode {
    pub(super) fn scalar(value: Value, origin: Origin) -> YamlNode {
        YamlNode { content: YamlValue::Scalar(value), origin, via: Vec::new() }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.content {
            YamlValue::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.content, YamlValue::Scalar(Value::Null))
    }

    /// The value without its origins.
    pub(super) fn to_json(&self) -> Value {
        match &self.content {
            YamlValue::Scalar(value) => value.clone(),
            YamlValue::List(items) => items.iter().map(YamlNode::to_json).collect(),
            YamlValue::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// What it is, in words: "a list".
    pub(super) fn what(&self) -> &'static str {
        match &self.content {
            YamlValue::Scalar(Value::Null) => "nothing",
            YamlValue::Scalar(Value::Bool(_)) => "true or false",
            YamlValue::Scalar(Value::Number(_)) => "a number",
            YamlValue::Scalar(_) => "a text",
            YamlValue::List(_) => "a list",
            YamlValue::Map(_) => "a map",
        }
    }

    /// Whether the value, or a variable in it, was given on the command line.
    pub(super) fn is_from_set(&self) -> bool {
        let from_set = |origin: Origin| matches!(origin, Origin::Set(_) | Origin::Axis(_));
        from_set(self.origin) || self.via.iter().any(|via| from_set(via.origin))
    }
}
