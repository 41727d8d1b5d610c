//! Where the texts come from: arguments, a file or standard input. All of them go through the same
//! reader.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Map, Value};
use stages::StageError;
use stages::builtin::ingest::params::IngestParams;
use stages::builtin::ingest::texts::Texts;
use stages::data::data_file::DataFile;
use stages::data::example::Example;

use crate::cli::classify::queue::{Line, Queue};
use crate::console::Console;

/// What the lines of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// `fields` for a file whose name has another ending than `.txt`, and where the first line is
    /// a JSON object, or the beginning of a list of objects, and for Parquet and Arrow; otherwise
    /// `plain`
    Auto,
    Plain,
    Fields,
}

/// The texts to classify.
pub enum Source {
    Arguments(Vec<String>),
    File { file: DataFile, format: InputFormat, whole: bool, typed: bool },
}

impl Source {
    /// Opens the file; `-` and no file at all are standard input.
    pub fn open(
        texts: &[String],
        file: Option<&PathBuf>,
        format: InputFormat,
    ) -> Result<Source, StageError> {
        if !texts.is_empty() {
            return Ok(Source::Arguments(texts.to_vec()));
        }
        let Some(path) = file.filter(|path| path.as_path() != Path::new("-")) else {
            let (file, stdin) = (DataFile::standard_input(), std::io::stdin());
            let (whole, typed) = (is_regular(&stdin), stdin.is_terminal());
            return Ok(Source::File { file, format, whole, typed });
        };
        let file = DataFile::open(path)?;
        let whole = path.is_file();
        let ending = path.extension().filter(|_| whole);
        let format = match (format, ending) {
            (InputFormat::Auto, Some(it)) if !it.eq_ignore_ascii_case("txt") => InputFormat::Fields,
            (format, _) => format,
        };
        Ok(Source::File { file, format, whole, typed: false })
    }

    /// Whether no text is waited for, so that whole batches can be.
    pub fn gives_whole_batches(&self) -> bool {
        match self {
            Source::Arguments(_) => true,
            Source::File { whole, .. } => *whole,
        }
    }

    /// Whether a person types the texts.
    pub fn is_typed(&self) -> bool {
        matches!(self, Source::File { typed: true, .. })
    }

    /// Reads all texts into the queue, and ends it.
    pub fn read_into(self, queue: &Queue, ingest: &IngestParams, console: &Console) {
        let _end = EndAfterPanic(queue);
        queue.end(self.read(queue, ingest, console));
    }

    fn read(
        self,
        queue: &Queue,
        ingest: &IngestParams,
        console: &Console,
    ) -> Result<(), StageError> {
        let is_typed = self.is_typed();
        let (mut file, format) = match self {
            Source::Arguments(texts) => {
                texts.iter().for_each(|text| queue.push(line(Example::of_text(text), true)));
                return Ok(());
            }
            Source::File { file, format, .. } => (file, format),
        };
        if !is_typed {
            file.decode_as(ingest.layout.encoding);
        }
        let plain = match format {
            InputFormat::Plain => true,
            InputFormat::Fields => false,
            InputFormat::Auto => {
                let is_text = file.binary_kind()?.is_none();
                is_text && !holds_fields(file.first_line()?, ingest, console)
            }
        };
        let texts = match plain {
            true => Texts::plain(file)?,
            false => Texts::fields(file, ingest)?,
        };
        for text in texts {
            queue.push(line(text?, plain));
        }
        Ok(())
    }
}

/// A blank line of plain text has no answer. A row with an empty text has one, as in the pipeline.
fn line(text: Example, plain: bool) -> Line {
    Some(text).filter(|text| !plain || !text.text.trim().is_empty())
}

/// Whether lines of unknown kind are JSON. Lines that look like CSV are taken as plain texts, but
/// with a warning.
fn holds_fields(start: &[u8], ingest: &IngestParams, console: &Console) -> bool {
    let start = start.trim_ascii_start();
    let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if serde_json::from_slice::<Map<String, Value>>(first).is_ok() {
        return true;
    }
    if let Some(list) = first.trim_ascii_end().strip_prefix(b"[")
        && matches!(list.trim_ascii_start(), [] | [b'{', ..])
    {
        return true;
    }
    let first = String::from_utf8_lossy(first);
    let cells: Vec<&str> = first.trim_end().split([',', ';', '\t', '|']).collect();
    let others = [&ingest.id_field, &ingest.label_field, &ingest.context_field];
    let has = |field: &str| cells.contains(&field);
    if has(&ingest.text_field) && others.into_iter().flatten().any(|field| has(field)) {
        console.warning(
            "the first line looks like a header, but each line is classified as a text; \
             `--format fields` reads CSV",
        );
    }
    false
}

fn is_regular(file: &impl std::os::fd::AsFd) -> bool {
    let kind = |stat: rustix::fs::Stat| rustix::fs::FileType::from_raw_mode(stat.st_mode);
    rustix::fs::fstat(file).is_ok_and(|stat| kind(stat).is_file())
}

/// Ends the queue if the thread that reads panics, so that nobody waits for it.
struct EndAfterPanic<'a>(&'a Queue);

impl Drop for EndAfterPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let problem = "reading it failed; this is a bug of `pipe`".to_owned();
            self.0.end(Err(StageError::File { path: "the texts".into(), problem }));
        }
    }
}
