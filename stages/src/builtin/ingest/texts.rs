//! Reads texts to classify outside a run of the pipeline, for `pipe classify`.

use super::params::IngestParams;
use super::reader::InputReader;
use crate::data::data_file::DataFile;
use crate::data::example::Example;
use crate::data::lines::{LineReader, too_long_problem, utf8_problem};
use crate::stage::error::StageError;

pub use super::checks::cleaned;

/// The texts of a file, one after the other, in constant memory. Examples know their line, have the
/// ids of the file, and are not yet [`cleaned`].
///
/// A row that cannot be read is an error that names the file, the line and the field; the row
/// after it can still be read. Bytes that are not UTF-8 and lines of more than 16 MiB are such
/// errors in every format. A byte order mark and the `\r` of `\r\n` are dropped.
pub struct Texts(Source);

enum Source {
    Plain(LineReader),
    Fields(Box<(InputReader, IngestParams)>),
}

impl Texts {
    /// One text a line, without its trailing white space. A blank line is an empty text.
    ///
    /// # Errors
    /// The file cannot be read, or is no text in UTF-8.
    pub fn plain(mut file: DataFile) -> Result<Texts, StageError> {
        file.refuse_foreign()?;
        Ok(Texts(Source::Plain(LineReader::of(file))))
    }

    /// The rows that `ingest` would read with these parameters. Blank lines are no rows.
    ///
    /// # Errors
    /// The file cannot be read, is no text in UTF-8, or lacks the text field.
    pub fn fields(file: DataFile, params: &IngestParams) -> Result<Texts, StageError> {
        let reader = InputReader::of_file(file, params, false)?;
        Ok(Texts(Source::Fields(Box::new((reader, params.clone())))))
    }
}

impl Iterator for Texts {
    type Item = Result<Example, StageError>;

    fn next(&mut self) -> Option<Result<Example, StageError>> {
        match &mut self.0 {
            Source::Plain(lines) => next_line(lines).transpose(),
            Source::Fields(fields) => {
                let (reader, params) = fields.as_mut();
                match reader.next_row(params).map(|row| row.map(|row| row.example)) {
                    Ok(None) => None,
                    Ok(Some(example)) => Some(example.map_err(|problem| reader.error(problem))),
                    Err(error) => Some(Err(error)),
                }
            }
        }
    }
}

fn next_line(lines: &mut LineReader) -> Result<Option<Example>, StageError> {
    if !lines.advance()? {
        return Ok(None);
    }
    if lines.is_too_long() {
        return Err(lines.error(too_long_problem()));
    }
    let text = std::str::from_utf8(lines.line())
        .map_err(|_| lines.error(utf8_problem(lines.line()).unwrap_or_default()))?;
    Ok(Some(Example { line: lines.number(), ..Example::of_text(text.trim_end()) }))
}
