//! The YAML file as a tree in which every key and value knows where it was written.
//!
//! `serde_yaml` reads the values but gives no positions. `marks` collects those in a second pass
//! over the same text, and `positions` joins the two trees. An override replaces a node together
//! with its [`Origin`], so that a message about a value points to where the value came from.

use serde_json::Value;

use super::marks::Origin;

/// A value, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct YamlNode {
    pub(super) content: YamlValue,
    pub(super) origin: Origin,
    /// The variables that interpolation filled into this value.
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

    /// The kind of the value in words: "a list".
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

    /// Whether the value, or a variable in it, came from the command line.
    pub(super) fn is_from_set(&self) -> bool {
        let from_set = |origin: Origin| matches!(origin, Origin::Set(_) | Origin::Axis(_));
        from_set(self.origin) || self.via.iter().any(|via| from_set(via.origin))
    }
}
