//! The key of a stage: a plain struct, written in a canonical form and hashed. Everything that can
//! change the stage's result is a field; nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::{self, Write};
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::digest::{Content, Digest, NotADigest, parsed};

/// BLAKE3 of [`KeyFields`] in canonical form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Digest);

/// Everything that enters a key. See the table in the crate's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyFields {
    pub action: ActionField,
    /// With the defaults of a built-in filled in. Adding a parameter changes the key, whatever its
    /// value, unless it is a late one of a built-in and has its default.
    pub params: BTreeMap<String, Value>,
    pub inputs: BTreeMap<String, Content>,
    /// The names of the declared outputs.
    pub outputs: BTreeSet<String>,
    /// The file names of the outputs of a command, where they are not the names of the outputs: the
    /// command sees them in `$OUT_…`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The values of the declared environment variables, as [`env_text`] writes them; `None` if the
    /// variable is not set.
    pub env: BTreeMap<String, Option<String>>,
    pub salt: Option<String>,
}

/// What the stage runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionField {
    Builtin { name: String, version: u32 },
    Command { text: String },
}

impl ActionField {
    /// The name of the built-in; `None` for a command.
    pub fn builtin(&self) -> Option<&str> {
        match self {
            ActionField::Builtin { name, .. } => Some(name),
            ActionField::Command { .. } => None,
        }
    }
}

impl KeyFields {
    /// The hash of [`KeyFields::canonical`].
    pub fn key(&self) -> Key {
        Key(Digest::of_bytes(self.canonical().as_bytes()))
    }

    /// JSON without spaces, with the keys of every object sorted, after a line that names the
    /// format: if the format ever changes, so do all keys.
    pub fn canonical(&self) -> String {
        let KeyFields { action, params, inputs, outputs, files, env, salt } = self;
        let mut text = String::with_capacity(512);
        text.push_str("pipe key 1\n{\"action\":");
        match action {
            ActionField::Builtin { name, version } => {
                text.push_str("{\"builtin\":{\"name\":");
                write_text(name, &mut text);
                text.push_str(",\"version\":");
                text.push_str(&version.to_string());
            }
            ActionField::Command { text: command } => {
                text.push_str("{\"command\":{\"text\":");
                write_text(command, &mut text);
            }
        }
        text.push_str("}},\"env\":");
        write_map(env.iter(), &mut text, write_optional);
        // Left out where there are none, so that keys stay what they were before it was a field. No
        // two structs have the same text: it is JSON, and `files` is a member of its own.
        if !files.is_empty() {
            text.push_str(",\"files\":");
            write_map(files.iter(), &mut text, |file, text| write_text(file, text));
        }
        text.push_str(",\"inputs\":");
        write_map(inputs.iter(), &mut text, |content, text| {
            // It needs no escapes.
            let _ = write!(text, "\"{content}\"");
        });
        text.push_str(",\"outputs\":[");
        for (index, output) in outputs.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            write_text(output, &mut text);
        }
        text.push_str("],\"params\":");
        write_map(params.iter(), &mut text, write_canonical);
        text.push_str(",\"salt\":");
        write_optional(salt, &mut text);
        text.push('}');
        text
    }
}

/// The value of an environment variable as text. UTF-8 stays what it is. Other bytes are escaped
/// after a NUL character, which no variable can contain, so no two values have the same text.
pub fn env_text(value: OsString) -> String {
    value
        .into_string()
        .unwrap_or_else(|bytes| format!("{NOT_UTF8}{}", bytes.as_encoded_bytes().escape_ascii()))
}

/// A text of [`env_text`] for people.
pub fn shown_env(text: &str) -> String {
    match text.strip_prefix(NOT_UTF8) {
        Some(escaped) => format!("{escaped} (not UTF-8)"),
        None => text.to_owned(),
    }
}

const NOT_UTF8: char = '\0';

/// A JSON string.
fn write_text(value: &str, text: &mut String) {
    // Most texts need no escapes, and every stage has a dozen of them.
    match value.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        true => text.push_str(&Value::from(value).to_string()),
        false => text.extend(["\"", value, "\""]),
    }
}

fn write_optional(value: &Option<String>, text: &mut String) {
    match value {
        Some(value) => write_text(value, text),
        None => text.push_str("null"),
    }
}

/// A JSON object. `entries` are sorted by name.
fn write_map<'a, V: 'a>(
    entries: impl Iterator<Item = (&'a String, &'a V)>,
    text: &mut String,
    write: impl Fn(&V, &mut String),
) {
    text.push('{');
    for (index, (name, value)) in entries.enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_text(name, text);
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

/// A value in the form in which it enters a key: two values are the same for a key if these texts
/// are.
pub fn canonical_value(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

/// Writes a JSON value with the keys of its objects sorted. `serde_json` would sort them too,
/// unless some crate of the build enables its feature `preserve_order`.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            write_map(sorted.into_iter(), text, write_canonical);
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::String(value) => write_text(value, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

impl Key {
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(Digest::from_bytes(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The hexadecimal digits.
    pub(super) fn hex(&self) -> impl Deref<Target = str> {
        self.0.hex()
    }

    /// The first ten hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Key {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Key, NotADigest> {
        text.parse().map(Key)
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        parsed(deserializer)
    }
}
