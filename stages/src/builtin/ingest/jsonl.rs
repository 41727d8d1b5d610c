//! Parses one line of JSONL: as an [`Example`], with the field names of the parameters, or as all
//! its fields.

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
    let scalar = |field: &Option<String>, value: Option<&RawValue>| match (field, value) {
        (Some(field), Some(value)) => scalar(line, field, value),
        (None, _) | (_, None) => Ok(None),
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

/// A value as `ingest` would read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// Null or an empty text.
    Empty,
    Text(String),
    /// A number or a truth value, as it is written.
    Scalar(String),
    /// A list of texts.
    Turns,
    /// A list of other things, or an object.
    Other,
}

/// All fields of a JSON object, in their order.
///
/// # Errors
/// The problem in words.
pub fn fields(line: &[u8]) -> Result<Vec<(String, FieldValue)>, String> {
    let problem = |error| json_problem(line, &error);
    let object: RawObject = serde_json::from_slice(line).map_err(problem)?;
    let field = |(name, value): (Name, &RawValue)| {
        let value = match value.get().as_bytes().first() {
            Some(b'"') => match string(line, value)? {
                Some(text) if !text.is_empty() => FieldValue::Text(text),
                _ => FieldValue::Empty,
            },
            Some(b'n') => FieldValue::Empty,
            Some(b'[') => match serde_json::from_str::<Vec<Cow<str>>>(value.get()) {
                Ok(_) => FieldValue::Turns,
                Err(_) => FieldValue::Other,
            },
            Some(b'{') => FieldValue::Other,
            _ => FieldValue::Scalar(value.get().to_owned()),
        };
        Ok((name.0.into_owned(), value))
    };
    object.0.into_iter().map(field).collect()
}

/// The names of an object and its unparsed values.
struct RawObject<'a>(Vec<(Name<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<RawObject<'a>, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawObject<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(RawObject(fields))
            }
        }
        input.deserialize_map(Fields)
    }
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
            let IngestParams { text_field, label_field, id_field, context_field, .. } = self.0;
            let is = |field: &Option<String>| field.as_deref() == Some(name.as_ref());
            let place = if name == *text_field {
                &mut found.text
            } else if is(label_field) {
                &mut found.label
            } else if is(id_field) {
                &mut found.id
            } else if is(context_field) {
                &mut found.context
            } else {
                object.next_value::<IgnoredAny>()?;
                continue;
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

/// A text, or a number or a truth value as it is written, since ids can be longer than a float is
/// exact; `None` for null.
fn scalar(line: &[u8], field: &str, value: &RawValue) -> Result<Option<String>, String> {
    if let Some(text) = string(line, value)? {
        return Ok(Some(text));
    }
    match value.get() {
        "null" => Ok(None),
        json if json.starts_with(['[', '{']) => Err(unfit(field, "a text or a number", value)),
        json => Ok(Some(json.to_owned())),
    }
}

fn turns(line: &[u8], params: &IngestParams, value: &RawValue) -> Result<Vec<String>, String> {
    if value.get() == "null" {
        return Ok(Vec::new());
    }
    if let Some(text) = string(line, value)? {
        return Ok(params.turns(&text));
    }
    let field = params.context_field.as_deref().unwrap_or_default();
    let refuse = || unfit(field, "a list of texts, or a text", value);
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
