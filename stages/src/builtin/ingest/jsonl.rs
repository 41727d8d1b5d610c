//! Parses one line of JSONL: as an [`Example`], with the field names of the parameters, or as all
//! its fields.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::params::IngestParams;
use super::targets::{flagged, of_list};
use crate::data::example::Example;
use crate::data::lines::{json_problem, missing_field_problem};
use crate::data::target::Target;

/// Parses a JSON object. Other fields are skipped without being parsed. An absent id is empty.
///
/// # Errors
/// The problem in words.
pub fn parse(line: &[u8], params: &IngestParams) -> Result<Example, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let IngestParams { text_field, label_field, id_field, context_field, .. } = params;
    let [id, label, context] = [id_field, label_field, context_field].map(Option::as_deref);
    let [text, id, label, context] = FieldsSeed([Some(text_field), id, label, context])
        .deserialize(&mut deserializer)
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(|error| json_problem(line, &error))?;
    let text = text.ok_or_else(|| missing_field_problem(line, text_field))?;
    let scalar = |field: &Option<String>, value: Option<&RawValue>| match (field, value) {
        (Some(field), Some(value)) => scalar(line, field, value),
        (None, _) | (_, None) => Ok(None),
    };
    let label = match label {
        _ if !params.form.fields.is_empty() => flagged(params, flags(line, params)?.into_iter())?,
        Some(list) if list.get().starts_with('[') => Some(Target::of_labels(of_list(list)?)),
        label => scalar(label_field, label)?.map(Target::Label),
    };
    Ok(Example {
        id: scalar(id_field, id)?.unwrap_or_default(),
        label,
        text: string(line, text)?.ok_or_else(|| unfit(text_field, "a text", text))?,
        context: match context {
            Some(value) => turns(line, params, value)?,
            None => Vec::new(),
        },
        ..Example::default()
    })
}

/// The values of `label_fields`, as they are written.
fn flags(line: &[u8], params: &IngestParams) -> Result<Vec<Option<String>>, String> {
    const AT_ONCE: usize = 16;
    let mut values = Vec::new();
    for names in params.form.fields.chunks(AT_ONCE) {
        let mut wanted = [None; AT_ONCE];
        wanted.iter_mut().zip(names).for_each(|(wanted, name)| *wanted = Some(name.as_str()));
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let found = FieldsSeed(wanted).deserialize(&mut deserializer);
        let found = found.map_err(|error| json_problem(line, &error))?;
        let text = |value: &RawValue| value.get().trim_matches('"').to_owned();
        values.extend(found.iter().take(names.len()).map(|value| value.map(text)));
    }
    Ok(values)
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
    /// The fields of an object, which may be named by their path.
    Object(Vec<(String, FieldValue)>),
    /// A list of other things, or an object in too many others.
    Other,
}

/// How deep in objects fields are looked for.
const DEPTH: usize = 8;

/// All fields of a JSON object, in their order.
///
/// # Errors
/// The problem in words.
pub fn fields(line: &[u8]) -> Result<Vec<(String, FieldValue)>, String> {
    fields_within(line, DEPTH)
}

fn fields_within(line: &[u8], depth: usize) -> Result<Vec<(String, FieldValue)>, String> {
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
            Some(b'{') if depth > 0 => match fields_within(value.get().as_bytes(), depth - 1) {
                Ok(fields) => FieldValue::Object(fields),
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

/// The unparsed values of the fields that are wanted, in their order.
type Found<'a, const N: usize> = [Option<&'a RawValue>; N];

/// Finds fields of an object. A field whose name has dots may also be a field in an object:
/// `tweet.full_text`. A field that is called so counts before it.
struct FieldsSeed<'a, const N: usize>([Option<&'a str>; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for FieldsSeed<'_, N> {
    type Value = Found<'de, N>;

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<Found<'de, N>, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for FieldsSeed<'_, N> {
    type Value = Found<'de, N>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Found<'de, N>, A::Error> {
        let (mut found, mut found_within) = ([None; N], [None; N]);
        let twice = |field: &str| A::Error::custom(format!("the field `{field}` occurs twice"));
        while let Some(Name(name)) = object.next_key()? {
            if let Some(place) = self.0.iter().position(|field| *field == Some(&*name)) {
                // Nothing says which of the two is meant.
                if found[place].replace(object.next_value()?).is_some() {
                    return Err(twice(&name));
                }
                continue;
            }
            let rest = self.0.map(|field| field?.strip_prefix(&*name)?.strip_prefix('.'));
            if rest.iter().all(Option::is_none) {
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &RawValue = object.next_value()?;
            for (place, path) in rest.iter().enumerate() {
                let within = path.map(|path| within(value, path)).transpose();
                let within = within.map_err(A::Error::custom)?.flatten();
                if within.is_some() && found_within[place].replace(within).is_some() {
                    return Err(twice(self.0[place].unwrap_or_default()));
                }
            }
        }
        for (place, within) in found.iter_mut().zip(found_within) {
            *place = place.or(within.flatten());
        }
        Ok(found)
    }
}

/// The value at a path in a value, if that is an object with it.
fn within<'a>(value: &'a RawValue, path: &str) -> Result<Option<&'a RawValue>, String> {
    if !value.get().starts_with('{') {
        return Ok(None);
    }
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    let found = FieldsSeed([Some(path)]).deserialize(&mut deserializer);
    let problem = |error: serde_json::Error| {
        let text = error.to_string();
        text.split(" at line ").next().unwrap_or_default().to_owned()
    };
    found.map(|[value]| value).map_err(problem)
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
