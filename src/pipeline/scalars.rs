//! Reads scalars of the YAML file as Rust values. A value of the wrong kind or out of range is
//! `None`; the caller reports it.

use std::time::Duration;

use serde_json::Value;

use super::yaml::{YamlNode, YamlValue};
use crate::text::values::value_text;

pub(super) fn truth(node: &YamlNode) -> Option<bool> {
    match node.content {
        YamlValue::Scalar(Value::Bool(value)) => Some(value),
        _ => None,
    }
}

/// A whole number from `least` to `most`.
pub(super) fn whole(node: &YamlNode, least: u64, most: u64) -> Option<u32> {
    let YamlValue::Scalar(Value::Number(number)) = &node.content else { return None };
    let number = number.as_u64().filter(|number| (least..=most).contains(number))?;
    u32::try_from(number).ok()
}

/// A duration greater than zero, such as `90s` or `2h 15m`.
pub(super) fn duration(node: &YamlNode) -> Option<Duration> {
    humantime::parse_duration(node.as_text()?).ok().filter(|duration| !duration.is_zero())
}

/// The value for a message: a scalar in backticks, else its kind.
pub(super) fn shown(node: &YamlNode) -> String {
    match &node.content {
        YamlValue::Scalar(Value::Null) => "nothing".to_owned(),
        YamlValue::Scalar(value) => format!("`{}`", value_text(value)),
        _ => node.what().to_owned(),
    }
}
