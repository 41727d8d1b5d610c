//! Texts without labels, for `train-tokenizer` and `pretrain`: a plain text file with one text a
//! line, or JSON lines as `ingest` writes them.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;

use crate::data::lines::{LineReader, json_problem, utf8_problem};
use crate::stage::choice::choice;
use crate::stage::error::StageError;
use crate::stage::params::{Default, ParamKind, ParamSpec};

choice! {
    /// How a file holds its texts.
    pub enum CorpusFormat {
        /// JSON lines if the first line is an object with the field `text`, else plain text.
        Auto = "auto",
        Text = "text",
        Jsonl = "jsonl",
    }
}

/// The parameter that names the format of the file.
pub const FORMAT: ParamSpec = ParamSpec::new(
    "format",
    ParamKind::Choice(CorpusFormat::WORDS),
    Default::Text("auto"),
    "`text`: one text a line; `jsonl`: JSON lines with a field `text`; `auto`: `jsonl` if the \
          first line is an object with that field, else `text`",
);

/// Calls `take` with every text of a file that is not blank, in the order of the file, and
/// returns how many there were.
///
/// # Errors
/// A line that is not UTF-8, is too long, or lacks the field `text` in JSON lines; any error of
/// `take`.
pub fn for_each_text(
    path: &Path,
    format: CorpusFormat,
    mut take: impl FnMut(&str) -> Result<(), StageError>,
) -> Result<u64, StageError> {
    let mut lines = LineReader::open(path)?;
    let mut is_jsonl = match format {
        CorpusFormat::Auto => None,
        CorpusFormat::Text => Some(false),
        CorpusFormat::Jsonl => Some(true),
    };
    let mut count = 0;
    while lines.advance_to_text()? {
        let line = lines.line();
        if *is_jsonl.get_or_insert_with(|| text_field(line).is_ok()) {
            let text = text_field(line);
            let text = text.map_err(|error| lines.error(json_problem(line, &error)))?;
            if text.trim().is_empty() {
                continue;
            }
            take(&text)?;
        } else {
            let text = std::str::from_utf8(line);
            take(text.map_err(|_| lines.error(utf8_problem(line).unwrap_or_default()))?)?;
        }
        count += 1;
    }
    Ok(count)
}

/// The field `text` of a JSON object. A corpus needs no other field, not even an id.
fn text_field(line: &[u8]) -> Result<Cow<'_, str>, serde_json::Error> {
    #[derive(Deserialize)]
    struct TextField<'a> {
        #[serde(borrow)]
        text: Cow<'a, str>,
    }
    serde_json::from_slice(line).map(|TextField { text }| text)
}
