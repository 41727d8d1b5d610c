//! The view of a single file: its format, and the beginning of its content.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use serde_json::Value;

use super::error::{MAX_LINE, ShowError};
use super::tensors;
use super::view::View;

/// A larger JSON document is shown as text.
const MAX_JSON: u64 = 32 << 20;
/// The number of bytes from which the format is detected.
const HEAD: u64 = 1 << 16;
const SHOWN_BYTES: usize = 32;

/// The view of a file of `bytes` bytes.
pub(super) fn read(path: &Path, bytes: u64, rows: usize) -> Result<View, ShowError> {
    let mut file = File::open(path).map_err(ShowError::io("opening", path))?;
    let mut head = Vec::new();
    let taken = file.by_ref().take(HEAD).read_to_end(&mut head);
    taken.map_err(ShowError::io("reading", path))?;
    if head.is_empty() {
        return Ok(View::Empty);
    }
    file.rewind().map_err(ShowError::io("reading", path))?;
    if tensors::looks_like(&head, bytes) {
        return tensors::read(path, file, bytes, rows).map(View::Safetensors);
    }
    let note = match head.as_slice() {
        [b'P', b'K', 3, 4, ..] => {
            Some("a zip archive, the format of PyTorch checkpoints".to_owned())
        }
        [0x80, 2..=5, ..] => Some("a Python pickle".to_owned()),
        _ => None,
    };
    if note.is_some() || head.contains(&0) {
        let first: Vec<String> =
            head.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
        return Ok(View::Binary { bytes, first: first.join(" "), note });
    }
    let begin = head.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(begin, Some(b'{' | b'[')) {
        // The head may end in the middle of a character, which is no error.
        let foreign = std::str::from_utf8(&head).err().filter(|error| error.error_len().is_some());
        let note = foreign.map(|_| "not UTF-8".to_owned());
        return text(path, file, bytes, rows, note);
    }
    if is_jsonl(&head, bytes) {
        return jsonl(path, file, bytes, rows);
    }
    if bytes > MAX_JSON {
        let note = "a JSON document too large to be shown as such".to_owned();
        return text(path, file, bytes, rows, Some(note));
    }
    let mut whole = Vec::new();
    file.read_to_end(&mut whole).map_err(ShowError::io("reading", path))?;
    match serde_json::from_slice(&whole) {
        Ok(value) => Ok(View::Json { bytes, value }),
        Err(error) => {
            file.rewind().map_err(ShowError::io("reading", path))?;
            text(path, file, bytes, rows, Some(format!("not JSON: {error}")))
        }
    }
}

/// Whether the first line is a complete JSON value and another line follows. A single line is
/// better shown as a document.
fn is_jsonl(head: &[u8], bytes: u64) -> bool {
    let head = head.trim_ascii_start();
    match head.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let more = !head[end..].trim_ascii().is_empty() || bytes > HEAD;
            more && serde_json::from_slice::<Value>(&head[..end]).is_ok()
        }
        // The first line is longer than the head: most probably a document, or one huge row.
        None => false,
    }
}

fn jsonl(path: &Path, file: File, bytes: u64, rows: usize) -> Result<View, ShowError> {
    let mut reader = BufReader::new(file);
    let mut first = Vec::new();
    let (mut seen, mut line) = (0, 0);
    let mut buffer = Vec::new();
    while first.len() < rows {
        buffer.clear();
        let count = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut buffer);
        if count.map_err(ShowError::io("reading", path))? == 0 {
            break;
        }
        line += 1;
        if buffer.len() as u64 == MAX_LINE && !buffer.ends_with(b"\n") {
            return Err(ShowError::LongLine { path: path.to_owned(), line });
        }
        if buffer.trim_ascii().is_empty() {
            continue;
        }
        seen += 1;
        let row = serde_json::from_slice(&buffer);
        first.push(row.map_err(|source| ShowError::Line {
            path: path.to_owned(),
            line,
            source,
        })?);
    }
    let (_, rest) = count_lines(reader).map_err(ShowError::io("reading", path))?;
    Ok(View::Jsonl { bytes, rows: seen + rest, first })
}

fn text(
    path: &Path,
    file: File,
    bytes: u64,
    rows: usize,
    note: Option<String>,
) -> Result<View, ShowError> {
    let mut reader = BufReader::new(file);
    let mut first = Vec::new();
    let mut buffer = Vec::new();
    while first.len() < rows {
        buffer.clear();
        let count = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut buffer);
        if count.map_err(ShowError::io("reading", path))? == 0 {
            break;
        }
        let line = buffer.strip_suffix(b"\n").unwrap_or(&buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        first.push(String::from_utf8_lossy(line).into_owned());
    }
    let (rest, _) = count_lines(reader).map_err(ShowError::io("reading", path))?;
    let lines = first.len() as u64 + rest;
    Ok(View::Text { bytes, lines, first, note })
}

/// The number of remaining lines, and of those that are not blank. The last line may lack its
/// line end.
fn count_lines(mut reader: impl BufRead) -> std::io::Result<(u64, u64)> {
    let (mut lines, mut filled) = (0, 0);
    let (mut begun, mut blank) = (false, true);
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            lines += u64::from(begun);
            filled += u64::from(!blank);
            return Ok((lines, filled));
        }
        for byte in chunk {
            if *byte == b'\n' {
                lines += 1;
                filled += u64::from(!blank);
                (begun, blank) = (false, true);
            } else {
                begun = true;
                blank &= byte.is_ascii_whitespace();
            }
        }
        let length = chunk.len();
        reader.consume(length);
    }
}
