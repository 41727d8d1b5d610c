//! Reading a text file line by line in bounded memory, and JSON lines from it with errors that
//! name the file, the line and what is wrong there.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::data::nearest::list_names;
use crate::stage::error::StageError;

/// No line or record of a data file is longer than this, in bytes; what is longer is no line of
/// text but a file of another kind, or one with a quotation mark left open.
pub const LINE_LIMIT: usize = 16 << 20;

/// What is kept of a line that is too long, in bytes.
pub const BEGINNING: usize = 200;

/// U+FEFF in UTF-8, with which some programs start a file.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file, line by line. A byte order mark at its start is dropped.
pub struct LineReader {
    reader: BufReader<File>,
    path: PathBuf,
    buffer: Vec<u8>,
    too_long: bool,
    number: u64,
    read_bytes: u64,
    total_bytes: u64,
}

impl LineReader {
    pub fn open(path: &Path) -> Result<LineReader, StageError> {
        let file = File::open(path).map_err(StageError::io("opening", path))?;
        let total_bytes = file.metadata().map_err(StageError::io("reading", path))?.len();
        Ok(LineReader {
            reader: BufReader::with_capacity(1 << 16, file),
            path: path.to_owned(),
            buffer: Vec::new(),
            too_long: false,
            number: 0,
            read_bytes: 0,
            total_bytes,
        })
    }

    /// Goes to the next line; `false` at the end. The last line may lack its end.
    pub fn advance(&mut self) -> Result<bool, StageError> {
        self.buffer.clear();
        self.too_long = false;
        let mut found = false;
        loop {
            let chunk = self.reader.fill_buf().map_err(StageError::io("reading", &self.path))?;
            if chunk.is_empty() {
                break;
            }
            found = true;
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            // Once too long, the rest of the line is read and dropped. (The limit grants one
            // byte more for the `\r` of a line end.)
            self.too_long |= self.buffer.len() + part.len() > LINE_LIMIT + 1;
            if self.too_long {
                self.buffer.truncate(BEGINNING);
            } else {
                self.buffer.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.read_bytes += used as u64;
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
        if self.number == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(true)
    }

    /// The line without its end (`\n` or `\r\n`); the first [`BEGINNING`] bytes of it if it
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

    /// How many bytes are read, and how many the file had when it was opened.
    pub fn bytes(&self) -> (u64, u64) {
        (self.read_bytes, self.total_bytes)
    }

    /// Goes to the next line that is not blank and reads it as JSON; `None` at the end.
    pub fn next_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StageError> {
        while self.advance()? {
            if self.too_long {
                return Err(self.error(too_long_problem()));
            }
            if !is_blank(&self.buffer) {
                let value = serde_json::from_slice(&self.buffer)
                    .map_err(|error| self.error(json_problem(&self.buffer, &error)))?;
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// An error about the line read last.
    pub fn error(&self, problem: String) -> StageError {
        StageError::Line { path: self.path.clone(), line: self.number, problem }
    }
}

/// Nothing but white space: passed over in every format.
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// What to say of a line over [`LINE_LIMIT`].
pub fn too_long_problem() -> String {
    format!("longer than {} MiB", LINE_LIMIT >> 20)
}

/// What to say of a line that is not UTF-8; `None` if it is.
pub fn utf8_problem(line: &[u8]) -> Option<String> {
    let error = std::str::from_utf8(line).err()?;
    let at = error.valid_up_to();
    if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
        return Some("expected UTF-8, found the mark of UTF-16: convert the file first".to_owned());
    }
    let byte = line.get(at).copied().unwrap_or_default();
    Some(format!("expected UTF-8, found the byte 0x{byte:02x} at byte {}", at + 1))
}

/// What to say of a line that `serde_json` refuses: what was expected and found, and where.
pub fn json_problem(line: &[u8], error: &serde_json::Error) -> String {
    if let Some(problem) = utf8_problem(line) {
        return problem;
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
        Category::Eof => format!("expected a JSON object, found one that breaks off: {message}"),
        Category::Syntax | Category::Io => {
            format!("expected a JSON object, found at byte {}: {message}", error.column())
        }
    }
}

/// What to say of a JSON object without a field that it needs.
pub fn missing_field_problem(line: &[u8], field: &str) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(line).unwrap_or_default();
    if object.is_empty() {
        return format!("no field `{field}`; the object is empty");
    }
    format!(
        "no field `{field}`; there are {}",
        list_names(field, object.keys().map(String::as_str))
    )
}

/// The first `\ud800`–`\udfff` escape that has no other half, and its place counted from 1.
fn lone_surrogate(line: &[u8]) -> Option<(usize, String)> {
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
