//! Joins the values that `serde_yaml` reads with the positions that `marks` reads.

use std::collections::HashMap;

use serde_json::{Number, Value};
use serde_yaml::Value as Yaml;

use super::marks::{KeyMark, Mark, MarkKind};
use super::problem::Problems;
use super::yaml::{YamlEntry, YamlNode, YamlValue};

/// Joins a value with its positions. Where the two differ (an alias, a merged key), the nearest
/// known position is used.
pub(super) fn join(value: Yaml, mark: Mark, problems: &mut Problems) -> YamlNode {
    let origin = mark.origin;
    let content = match value {
        Yaml::Null => YamlValue::Scalar(Value::Null),
        Yaml::Bool(value) => YamlValue::Scalar(value.into()),
        Yaml::Number(number) => match json_number(&number) {
            Some(number) => YamlValue::Scalar(Value::Number(number)),
            None => {
                problems.at(origin, format!("`{number}` is not a finite number"));
                YamlValue::Scalar(Value::Null)
            }
        },
        Yaml::String(text) => YamlValue::Scalar(Value::String(text)),
        Yaml::Sequence(items) => {
            let marks = match mark.kind {
                MarkKind::List(marks) => marks,
                _ => Vec::new(),
            };
            let marks = marks.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
            let build = |(item, known): (Yaml, Option<Mark>)| {
                join(item, known.unwrap_or(Mark::leaf(origin)), problems)
            };
            YamlValue::List(items.into_iter().zip(marks).map(build).collect())
        }
        Yaml::Mapping(entries) => {
            let mut marks = match mark.kind {
                MarkKind::Map(marks) => marks,
                _ => Vec::new(),
            };
            let mut built = Vec::with_capacity(entries.len());
            let (mut cursor, mut places) = (0, None);
            for (key, value) in entries {
                let Some(key) = key_text(&key) else {
                    problems
                        .at(origin, "a key is a list or a map".to_owned())
                        .help("write a name before the colon".to_owned());
                    continue;
                };
                // Both passes keep the order of the file, so this is nearly always the next mark.
                let found = match marks.get(cursor) {
                    Some(next) if next.key == key => Some(cursor),
                    _ => place_of(&key, &marks, &mut places),
                };
                let (key_origin, known) = match found {
                    Some(index) => {
                        cursor = index + 1;
                        let taken = std::mem::replace(&mut marks[index].value, Mark::leaf(origin));
                        (marks[index].origin, taken)
                    }
                    None => (origin, Mark::leaf(origin)),
                };
                let value = join(value, known, problems);
                built.push(YamlEntry { key, key_origin, value });
            }
            YamlValue::Map(built)
        }
        Yaml::Tagged(tagged) => {
            problems
                .at(origin, format!("the tag `{}` is not supported", tagged.tag))
                .help("remove it, or put a text that begins with `!` in quotes".to_owned());
            YamlValue::Scalar(Value::Null)
        }
    };
    YamlNode { content, origin, via: Vec::new() }
}

/// The first mark of this key. `places` is filled when it is needed first, since most maps need none.
fn place_of(
    key: &str,
    marks: &[KeyMark],
    places: &mut Option<HashMap<String, usize>>,
) -> Option<usize> {
    let all = marks.iter().enumerate().rev().map(|(place, mark)| (mark.key.clone(), place));
    places.get_or_insert_with(|| all.collect()).get(key).copied()
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

/// A key as text. A number or boolean before a colon (`2020:`, `true:`) is a text as well.
fn key_text(key: &Yaml) -> Option<String> {
    match key {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(value) => Some(value.to_string()),
        Yaml::Null => Some("null".to_owned()),
        Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => None,
    }
}
