//! Reads the body of a request: JSON, within its limits of size and time. An object of JSON knows
//! where in the request it is, for messages.

use axum::extract::Request;
use axum::http::header;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use serde_json::{Map, Value};
use stages::data::lines::lone_surrogate;

use crate::serve::refusal::{Kind, Refusal};
use crate::serve::settings::Settings;
use crate::text::suggest::nearest;

/// The whole body. A client that is too slow is refused, and so is a body that is too large, before
/// it is read where its length is known.
pub async fn body(request: Request, settings: &Settings) -> Result<Bytes, Refusal> {
    check_type(&request)?;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let most = settings.max_body;
    let too_large = || {
        let problem = format!("the body has more than {most} bytes (`--max-body`)");
        Refusal::new(Kind::TooLarge, problem)
    };
    if length.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let reading = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(settings.client_timeout, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Refusal::new(Kind::Shape, format!("reading the body: {error}"))),
        Err(_) => {
            let seconds = settings.client_timeout.as_secs();
            let problem = format!("the body did not come within {seconds} s");
            Err(Refusal::new(Kind::TooSlow, problem))
        }
    }
}

/// Web pages can send other types to any address without asking it, so those are refused.
fn check_type(request: &Request) -> Result<(), Refusal> {
    let given = request.headers().get(header::CONTENT_TYPE);
    let given = given.and_then(|given| given.to_str().ok()).unwrap_or("nothing");
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let problem = format!("expected `Content-Type: application/json`, found {given}");
    Err(Refusal::new(Kind::NotJson, problem))
}

/// Why a body cannot be read. Languages with UTF-16 send half of a character if a text was cut within one.
fn not_json(body: &[u8], error: &serde_json::Error) -> String {
    match lone_surrogate(body) {
        Some((byte, escape)) => format!(
            "the body has half of a surrogate pair (`{escape}`) at byte {byte}: a text was cut within a \
             character"
        ),
        None => format!("the body is not JSON: {error}"),
    }
}

/// The fields of an object in a request, which are taken out one by one.
pub struct Fields {
    object: Map<String, Value>,
    /// Where it is, with a final period; empty for the request itself.
    place: String,
    known: Vec<&'static str>,
}

impl Fields {
    /// The object that a body is.
    pub fn of_body(body: &[u8]) -> Result<Fields, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => {
                Ok(Fields { object, place: String::new(), known: Vec::new() })
            }
            Ok(other) => Err(unexpected("the body", "an object", &other)),
            Err(error) => Err(Refusal::new(Kind::Shape, not_json(body, &error))),
        }
    }

    /// The object at a place.
    pub fn of(value: Value, place: &str) -> Result<Fields, Refusal> {
        match value {
            Value::Object(object) => {
                Ok(Fields { object, place: format!("{place}."), known: Vec::new() })
            }
            other => Err(unexpected(&format!("`{place}`"), "an object", &other)),
        }
    }

    /// The place of a field.
    pub fn place(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    /// A field, if it is there; `null` is as if it were not.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// A field that has to be there.
    pub fn need(&mut self, name: &'static str) -> Result<Value, Refusal> {
        let place = self.place(name);
        self.take(name)
            .ok_or_else(|| Refusal::new(Kind::Shape, format!("there is no field `{place}`")))
    }

    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        let place = self.place(name);
        self.take(name).map(|value| string(value, &place)).transpose()
    }

    pub fn switch(&mut self, name: &'static str) -> Result<Option<bool>, Refusal> {
        let place = format!("`{}`", self.place(name));
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(unexpected(&place, "`true` or `false`", &other)),
        }
    }

    /// Refuses fields that nobody has asked for: they may be typos.
    pub fn end(self) -> Result<(), Refusal> {
        let Some((name, _)) = self.object.iter().next() else { return Ok(()) };
        let place = self.place(name);
        let hint =
            nearest(name, self.known.iter().copied()).map(|it| format!("did you mean `{it}`?"));
        let hint = hint.unwrap_or_else(|| format!("there are {}", self.known.join(", ")));
        Err(Refusal::new(Kind::Shape, format!("there is no field `{place}`; {hint}")))
    }
}

/// A value that has to be a string.
pub fn string(value: Value, place: &str) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(unexpected(&format!("`{place}`"), "a string", &other)),
    }
}

/// What is at `place` is of another kind than it should be.
pub fn unexpected(place: &str, expected: &str, found: &Value) -> Refusal {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(list) if list.is_empty() => "an empty list",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal::new(Kind::Shape, format!("{place}: expected {expected}, found {found}"))
}
