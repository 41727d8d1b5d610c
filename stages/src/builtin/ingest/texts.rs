//! Texts as `ingest` reads them, outside of a pipeline's run: for `pipe classify`.

use std::path::Path;

use super::row::{Fields, Row};
use super::source::{Format, Source};
use crate::data::lines::{LineReader, is_blank};
use crate::stage::error::StageError;
use crate::stage::params::Params;

/// A text to classify.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    pub id: Option<String>,
    pub text: String,
    /// The turns before it, the oldest first.
    pub context: Vec<String>,
}

/// What a file of texts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// A text a line.
    Plain,
    /// By the parameters of `ingest`.
    Fields,
}

impl Text {
    /// The text after `ingest`, whose parameters these are, has taken out what it takes out.
    pub fn cleaned(self, params: &Params) -> Text {
        let row = Row { text: self.text, context: self.context, ..Row::default() };
        // Only a label can be wrong, and there is none.
        let row = Fields::new(params).checked(row, false).unwrap_or_default();
        Text { id: self.id, text: row.text, context: row.context }
    }
}

/// Reads a file of texts, `chunk` at a time. They are not yet [cleaned](Text::cleaned).
pub fn read_texts(
    path: &Path,
    format: TextFormat,
    params: &Params,
    chunk: usize,
    mut each: impl FnMut(Vec<Text>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let mut texts = Vec::with_capacity(chunk);
    let mut push = |text: Text, texts: &mut Vec<Text>| {
        texts.push(text);
        if texts.len() == chunk { each(std::mem::take(texts)) } else { Ok(()) }
    };
    match format {
        TextFormat::Plain => {
            let mut lines = LineReader::open(path)?;
            while lines.advance()? {
                if is_blank(lines.line()) {
                    continue;
                }
                let text = String::from_utf8_lossy(lines.line()).trim_end().to_owned();
                push(Text { text, ..Text::default() }, &mut texts)?;
            }
        }
        TextFormat::Fields => {
            let fields = Fields::new(params);
            let format = Format::of(params.text("format"), path, &fields)?;
            let mut source = Source::open(path, format, &fields, false)?;
            while let Some(record) = source.next_record(&fields)? {
                let line = record.line;
                let row = record.row.map_err(|problem| StageError::Line {
                    path: path.to_owned(),
                    line,
                    problem,
                })?;
                push(Text { id: row.id, text: row.text, context: row.context }, &mut texts)?;
            }
        }
    }
    if texts.is_empty() { Ok(()) } else { each(texts) }
}
