//! Parses one line of JSONL as an [`Example`], with the field names of the parameters.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::params::IngestParams;
use crate::data::example::Example;
use crate::data::lines::{json_problem, missing_field_problem};

/// Parses a JSON object. Other fields are skipped without being parsed. An absent id is empty.
///
/// # Errors
/// The problem in words.
pub fn parse(line: &[u8], params: &IngestParams) -> Result<Example, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let found = FieldsSeed(params)
        .deserialize(&mut deserializer)
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(|error| json_problem(line, &error))?;
    let text = found.text.ok_or_else(|| missing_field_problem(line, &params.text_field))?;
    let scalar = |field: &str, value: Option<&RawValue>| match value {
        Some(value) => scalar(line, field, value),
        None => Ok(None),
    };
    Ok(Example {
        id: scalar(&params.id_field, found.id)?.unwrap_or_default(),
        label: scalar(&params.label_field, found.label)?,
        text: string(line, text)?.ok_or_else(|| unfit(&params.text_field, "a text", text))?,
        context: match found.context {
            Some(value) => turns(line, params, value)?,
            None => Vec::new(),
        },
        line: 0,
    })
}

/// The unparsed values of the four fields.
#[derive(Default)]
struct FieldValues<'a> {
    id: Option<&'a RawValue>,
    label: Option<&'a RawValue>,
    text: Option<&'a RawValue>,
    context: Option<&'a RawValue>,
}

struct FieldsSeed<'a>(&'a IngestParams);

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_> {
    type Value = FieldValues<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        input: D,
    ) -> Result<FieldValues<'de>, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_> {
    type Value = FieldValues<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<FieldValues<'de>, A::Error> {
        let mut found = FieldValues::default();
        while let Some(Name(name)) = object.next_key()? {
            let place = match name.as_ref() {
                name if name == self.0.text_field => &mut found.text,
                name if name == self.0.label_field => &mut found.label,
                name if name == self.0.id_field => &mut found.id,
                name if name == self.0.context_field => &mut found.context,
                _ => {
                    object.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            // Nothing says which of the two is meant.
            if place.replace(object.next_value()?).is_some() {
                return Err(A::Error::custom(format!("the field `{name}` occurs twice")));
            }
        }
        Ok(found)
    }
}

/// The name of a field, borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a JSON string; `None` if the value is something else. A string that is not valid
/// Unicode is an error.
fn string(line: &[u8], value: &RawValue) -> Result<Option<String>, String> {
    let json = value.get();
    if !json.starts_with('"') {
        return Ok(None);
    }
    serde_json::from_str(json).map(Some).map_err(|error| json_problem(line, &error))
}

/// A text, or a number with the digits it is written with, since ids can be longer than a float
/// is exact; `None` for null.
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

fn turns(line: &[u8], params: &IngestParams, value: &RawValue) -> Result<Vec<String>, String> {
    if value.get() == "null" {
        return Ok(Vec::new());
    }
    if let Some(text) = string(line, value)? {
        return Ok(params.turns(&text));
    }
    let refuse = || unfit(&params.context_field, "a list of texts, or a text", value);
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
