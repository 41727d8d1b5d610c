//! Texts without labels, for `train-tokenizer` and `pretrain`: a plain text file with one a line,
//! or JSON lines as `ingest` writes them.

use std::path::Path;

use serde::Deserialize;

use crate::data::lines::{LineReader, is_blank, json_problem, too_long_problem, utf8_problem};
use crate::stage::error::StageError;
use crate::stage::params::{Default, ParamKind, ParamSpec};

/// The parameter that says what kind of file it is.
pub const FORMAT: ParamSpec = ParamSpec::new(
    "format",
    ParamKind::Choice(&["auto", "text", "jsonl"]),
    Default::Text("auto"),
    "a text a line, or JSON lines with a field `text`; `auto`: JSON lines where the first \
          line is an object with that field",
);

/// What the stages need of a JSON line.
#[derive(Deserialize)]
struct Row {
    text: String,
}

/// Calls `take` with every text of a file that is not blank, in the order of the file. Returns how
/// many there were.
///
/// # Errors
/// A line that is not UTF-8, is too long or, in JSON lines, has no field `text`; what `take` says.
pub fn for_each_text(
    path: &Path,
    format: &str,
    mut take: impl FnMut(&str) -> Result<(), StageError>,
) -> Result<u64, StageError> {
    let mut lines = LineReader::open(path)?;
    let mut is_jsonl = (format != "auto").then_some(format == "jsonl");
    let mut count = 0;
    while lines.advance()? {
        let line = lines.line();
        if is_blank(line) {
            continue;
        }
        if lines.is_too_long() {
            return Err(lines.error(too_long_problem()));
        }
        let parsed = || serde_json::from_slice::<Row>(line);
        if *is_jsonl.get_or_insert_with(|| parsed().is_ok()) {
            let row = parsed().map_err(|error| lines.error(json_problem(line, &error)))?;
            if row.text.trim().is_empty() {
                continue;
            }
            take(&row.text)?;
        } else {
            let text = std::str::from_utf8(line);
            let text = text.map_err(|_| lines.error(utf8_problem(line).unwrap_or_default()))?;
            take(text)?;
        }
        count += 1;
    }
    Ok(count)
}
