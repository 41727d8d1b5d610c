//! One line of JSONL to a [`Row`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::row::{Fields, Row};
use crate::data::lines::{json_problem, missing_field_problem};

/// Reads a JSON object. Fields that are not asked for are passed over unread.
pub fn parse(line: &[u8], fields: &Fields) -> Result<Row, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let found = FieldsSeed(fields)
        .deserialize(&mut deserializer)
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(|error| json_problem(line, &error))?;
    let text = found.text.ok_or_else(|| missing_field_problem(line, &fields.text))?;
    let scalar = |field: &str, value: Option<&RawValue>| match value {
        Some(value) => scalar(line, field, value),
        None => Ok(None),
    };
    Ok(Row {
        id: scalar(&fields.id, found.id)?,
        label: scalar(&fields.label, found.label)?,
        text: string(line, text)?.ok_or_else(|| unfit(&fields.text, "a text", text))?,
        context: match found.context {
            Some(value) => turns(line, fields, value)?,
            None => Vec::new(),
        },
    })
}

/// The raw values of the fields asked for.
#[derive(Default)]
struct Found<'a> {
    id: Option<&'a RawValue>,
    label: Option<&'a RawValue>,
    text: Option<&'a RawValue>,
    context: Option<&'a RawValue>,
}

struct FieldsSeed<'a>(&'a Fields);

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_> {
    type Value = Found<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<Found<'de>, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_> {
    type Value = Found<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(Name(name)) = object.next_key()? {
            let place = match name.as_ref() {
                name if name == self.0.text => &mut found.text,
                name if name == self.0.label => &mut found.label,
                name if name == self.0.id => &mut found.id,
                name if name == self.0.context => &mut found.context,
                _ => {
                    object.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            // Which of the two was meant is not for a reader to choose.
            if place.replace(object.next_value()?).is_some() {
                return Err(A::Error::custom(format!("the field `{name}` is there twice")));
            }
        }
        Ok(found)
    }
}

/// A field's name, borrowed where it holds no escape.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a JSON string; `None` if the value is something else. An error where the string
/// is no valid Unicode, which only shows when it is read.
fn string(line: &[u8], value: &RawValue) -> Result<Option<String>, String> {
    let json = value.get();
    if !json.starts_with('"') {
        return Ok(None);
    }
    serde_json::from_str(json).map(Some).map_err(|error| json_problem(line, &error))
}

/// A text, or a number in the very digits it is written with (ids are longer than a float is
/// exact); `None` for null.
fn scalar(line: &[u8], field: &str, value: &RawValue) -> Result<Option<String>, String> {
    if let Some(text) = string(line, value)? {
        return Ok(Some(text));
    }
    match value.get() {
        "null" => Ok(None),
        json if json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            Ok(Some(json.to_owned()))
        }
        _ => Err(unfit(field, "a text or a number", value)),
    }
}

fn turns(line: &[u8], fields: &Fields, value: &RawValue) -> Result<Vec<String>, String> {
    if value.get() == "null" {
        return Ok(Vec::new());
    }
    if let Some(text) = string(line, value)? {
        return Ok(fields.turns(&text));
    }
    let refuse = || unfit(&fields.context, "a list of texts, or a text", value);
    let list: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| refuse())?;
    list.into_iter().map(|turn| string(line, turn)?.ok_or_else(refuse)).collect()
}

fn unfit(field: &str, expected: &str, value: &RawValue) -> String {
    let found = match value.get().as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a truth value",
        Some(b'"') => "a text",
        Some(b'[') => "a list of other things",
        Some(b'{') => "an object",
        _ => "a number",
    };
    format!("the field `{field}` is {found}, expected {expected}")
}
