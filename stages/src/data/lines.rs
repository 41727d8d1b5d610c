//! Reads a text file line by line in bounded memory, and parses JSON lines with errors that name
//! the file, the line and the problem. Every stage that reads lines reads them with
//! [`LineReader`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::data::data_file::DataFile;
use crate::data::data_file::decode::MEANINGLESS;
use crate::data::nearest::list_names;
use crate::stage::error::StageError;

/// The longest line or record of a data file, in bytes. A longer one is not a line of text: the
/// file is of another kind, or a quotation mark was left open.
pub const LINE_LIMIT: usize = 16 << 20;

/// How many bytes are kept of a line that is too long.
pub const BEGINNING: usize = 200;

/// A batch is complete once it has this many lines, or at least this many bytes.
const BATCH_LINES: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;

/// Reads a file line by line. Drops a byte order mark at the start of the file.
pub struct LineReader {
    file: DataFile,
    buffer: Vec<u8>,
    too_long: bool,
    number: u64,
}

/// Consecutive lines of a file without its blank lines, to be worked on in parallel.
#[derive(Default)]
pub struct LineBatch {
    bytes: Vec<u8>,
    /// The number of each line, counted from 1, and its range in `bytes`.
    lines: Vec<(u64, Range<usize>)>,
}

impl LineBatch {
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The number of a line, counted from 1, and its bytes.
    pub fn line(&self, index: usize) -> (u64, &[u8]) {
        let (number, range) = &self.lines[index];
        (*number, &self.bytes[range.clone()])
    }
}

impl LineReader {
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> Result<LineReader, StageError> {
        DataFile::open(path).map(LineReader::of)
    }

    /// Reads the lines of a file that is open already.
    pub fn of(file: DataFile) -> LineReader {
        LineReader { file, buffer: Vec::new(), too_long: false, number: 0 }
    }

    /// Advances to the next line; `false` at the end of the file. The last line may lack its line
    /// end.
    pub fn advance(&mut self) -> Result<bool, StageError> {
        self.buffer.clear();
        self.too_long = false;
        let mut found = false;
        loop {
            let chunk = self.file.fill()?;
            if chunk.is_empty() {
                break;
            }
            found = true;
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            // The rest of a line that is too long is read and dropped. The limit allows one byte
            // more for the `\r` of a line end.
            self.too_long |= self.buffer.len() + part.len() > LINE_LIMIT + 1;
            if self.too_long {
                self.buffer.truncate(BEGINNING);
            } else {
                self.buffer.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.file.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !found {
            return Ok(false);
        }
        self.number += 1;
        if self.buffer.ends_with(b"\r") {
            self.buffer.pop();
        }
        Ok(true)
    }

    /// The line without its line end (`\n` or `\r\n`), or its first [`BEGINNING`] bytes if it
    /// [is too long](LineReader::is_too_long).
    pub fn line(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether the line is longer than [`LINE_LIMIT`].
    pub fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// The number of the line, counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The bytes read so far, and the size of the file when it was opened.
    pub fn bytes(&self) -> (u64, u64) {
        self.file.bytes()
    }

    /// Advances to the next line that is not blank; `false` at the end of the file.
    ///
    /// # Errors
    /// The line is too long.
    pub fn advance_to_text(&mut self) -> Result<bool, StageError> {
        while self.advance()? {
            if self.too_long {
                return Err(self.error(too_long_problem()));
            }
            if !is_blank(&self.buffer) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the next line that is not blank as JSON; `None` at the end of the file.
    ///
    /// # Errors
    /// The line is too long, or is not the JSON of a `T`.
    pub fn next_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StageError> {
        if !self.advance_to_text()? {
            return Ok(None);
        }
        parse_json(&self.buffer).map(Some).map_err(|problem| self.error(problem))
    }

    /// Replaces the batch with the next lines that are not blank; `false` at the end of the file.
    ///
    /// # Errors
    /// A line is too long.
    pub fn next_batch(&mut self, batch: &mut LineBatch) -> Result<bool, StageError> {
        batch.bytes.clear();
        batch.lines.clear();
        while batch.lines.len() < BATCH_LINES
            && batch.bytes.len() < BATCH_BYTES
            && self.advance_to_text()?
        {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(&self.buffer);
            batch.lines.push((self.number, start..batch.bytes.len()));
        }
        Ok(!batch.is_empty())
    }

    /// An error about the current line.
    pub fn error(&self, problem: String) -> StageError {
        StageError::Line { path: self.file.name().to_owned(), line: self.number, problem }
    }
}

/// Parses a line of JSON. The error is the problem in words, see [`json_problem`].
pub fn parse_json<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| json_problem(line, &error))
}

/// Whether a line is only white space. Every format skips such lines.
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// A field of CSV as RFC 4180 writes it: in quotation marks only if it needs them.
pub fn csv_field(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\n', '\r']) {
        true => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
        false => Cow::Borrowed(text),
    }
}

/// The message for a line longer than [`LINE_LIMIT`].
pub fn too_long_problem() -> String {
    format!("longer than {} MiB", LINE_LIMIT >> 20)
}

/// The message for a line that is not UTF-8; `None` if it is UTF-8.
pub fn utf8_problem(line: &[u8]) -> Option<String> {
    let error = std::str::from_utf8(line).err()?;
    let at = error.valid_up_to();
    if line[at..].starts_with(MEANINGLESS) {
        let problem = "bytes that mean nothing in the encoding of the file, after byte";
        return Some(format!("found {problem} {at} of its text in UTF-8"));
    }
    let byte = line.get(at).copied().unwrap_or_default();
    Some(format!("expected UTF-8, found the byte 0x{byte:02x} at byte {}", at + 1))
}

/// The message for a line that `serde_json` rejects: what was expected, what was found, and at
/// which byte.
pub fn json_problem(line: &[u8], error: &serde_json::Error) -> String {
    if let Some(problem) = utf8_problem(line) {
        return problem;
    }
    if !line.trim_ascii_start().starts_with(b"{") {
        return format!("expected a JSON object, found `{}`", excerpt(line, 0));
    }
    if let Some((column, escape)) = lone_surrogate(line) {
        return format!(
            "expected text that is valid Unicode, found half of a surrogate pair (`{escape}`) \
             at byte {column}"
        );
    }
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(before, _)| before);
    match error.classify() {
        Category::Data => match message.strip_prefix("missing field `") {
            Some(field) => missing_field_problem(line, field.trim_end_matches('`')),
            None => message.to_owned(),
        },
        Category::Eof => "expected a JSON object on one line, but the line ends before the object \
                          does"
            .to_owned(),
        Category::Syntax | Category::Io => {
            let byte = error.column().max(1);
            let found = excerpt(line, byte - 1);
            match message {
                "trailing characters" => {
                    format!("expected one JSON object, found `{found}` after it at byte {byte}")
                }
                "expected `,` or `}`" | "expected `,` or `]`" | "expected `:`" => {
                    format!("not valid JSON: {message} at byte {byte}, found `{found}`")
                }
                "recursion limit exceeded" => format!("nested too deeply at byte {byte}"),
                _ if message.starts_with("control character") => {
                    format!("not valid JSON: a raw control character in a string at byte {byte}")
                }
                _ => format!("not valid JSON at byte {byte}, found `{found}`"),
            }
        }
    }
}

/// At most 20 characters of a line in UTF-8, from a byte on, without control characters.
fn excerpt(line: &[u8], from: usize) -> String {
    let rest = String::from_utf8_lossy(line.get(from..).unwrap_or_default());
    rest.trim().chars().take(20).map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// The message for a JSON object that lacks a required field: the fields that it has.
pub fn missing_field_problem(line: &[u8], field: &str) -> String {
    // Values that cannot be read, such as 1e999, do not hide the names.
    let object: BTreeMap<String, &RawValue> = serde_json::from_slice(line).unwrap_or_default();
    if object.is_empty() {
        return format!("no field `{field}`; the object is empty");
    }
    let mut names = Vec::new();
    for (name, value) in &object {
        let inner: BTreeMap<String, IgnoredAny> = match field.contains('.') {
            true => serde_json::from_str(value.get()).unwrap_or_default(),
            false => BTreeMap::new(),
        };
        match inner.is_empty() {
            true => names.push(name.clone()),
            // Fields in an object are shown to those who look for one.
            false => names.extend(inner.keys().map(|key| format!("{name}.{key}"))),
        }
    }
    format!("no field `{field}`; there are {}", list_names(field, names.iter().map(String::as_str)))
}

/// The first `\ud800`–`\udfff` escape without its other half, and its position in bytes, counted
/// from 1.
pub fn lone_surrogate(line: &[u8]) -> Option<(usize, String)> {
    let unit = |at: usize| -> Option<u16> {
        let digits = line.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut at = 0;
    while at < line.len() {
        if line[at] != b'\\' {
            at += 1;
            continue;
        }
        at += match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                return Some((at + 1, String::from_utf8_lossy(&line[at..at + 6]).into_owned()));
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
    }
    None
}
