//! Where the texts come from: arguments, files or standard input. All of them go through the same
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
use crate::cli::error::Error;
use crate::console::Console;
use crate::files::pattern::{is_pattern, matching};

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
    /// A file that is open.
    File(OpenFile),
    /// Several files, which are opened and read one after the other.
    Files {
        paths: Vec<PathBuf>,
        format: InputFormat,
    },
}

pub struct OpenFile {
    file: DataFile,
    format: InputFormat,
    /// Whether no text is waited for.
    whole: bool,
    /// Whether a person types the texts.
    typed: bool,
}

impl Source {
    /// Opens the files; `-` and no file at all are standard input.
    pub fn open(
        texts: &[String],
        inputs: &[PathBuf],
        format: InputFormat,
    ) -> Result<Source, Error> {
        if !texts.is_empty() {
            return Ok(Source::Arguments(texts.to_vec()));
        }
        let failed = |error| Error::Classify(Box::new(error));
        let mut paths = Vec::new();
        for input in inputs {
            match input.to_str().filter(|text| is_pattern(text, Path::new("."))) {
                Some(pattern) => paths.extend(matching(pattern, Path::new("."))?),
                None => paths.push(input.clone()),
            }
        }
        match &paths[..] {
            [] => Ok(Source::File(OpenFile::standard_input(format))),
            [path] => Ok(Source::File(OpenFile::at(path, format).map_err(failed)?)),
            several => {
                several.iter().try_for_each(|path| check(path)).map_err(failed)?;
                Ok(Source::Files { paths, format })
            }
        }
    }

    /// Whether no text is waited for, so that whole batches can be.
    pub fn gives_whole_batches(&self) -> bool {
        match self {
            Source::Arguments(_) => true,
            Source::File(file) => file.whole,
            Source::Files { paths, .. } => paths.iter().all(|path| path.is_file()),
        }
    }

    /// Whether a person types the texts.
    pub fn is_typed(&self) -> bool {
        matches!(self, Source::File(file) if file.typed)
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
        match self {
            Source::Arguments(texts) => {
                texts.iter().for_each(|text| queue.push(line(Example::of_text(text), true)));
                Ok(())
            }
            Source::File(file) => file.read(None, queue, ingest, console),
            Source::Files { paths, format } => paths.iter().try_for_each(|path| {
                let name = path.display().to_string();
                OpenFile::at(path, format)?.read(Some(name), queue, ingest, console)
            }),
        }
    }
}

/// Refuses a file that cannot be opened, before a model is loaded and other files are answered. A pipe
/// can be opened only once, so it is not tried.
fn check(path: &Path) -> Result<(), StageError> {
    if path.is_dir() {
        let problem = "it is a folder; a pattern such as `DIR/*` names its files".to_owned();
        return Err(StageError::File { path: path.to_owned(), problem });
    }
    let is_pipe = path == Path::new("-") || (path.exists() && !path.is_file());
    if is_pipe { Ok(()) } else { DataFile::open(path).map(|_| ()) }
}

impl OpenFile {
    fn standard_input(format: InputFormat) -> OpenFile {
        let (file, stdin) = (DataFile::standard_input(), std::io::stdin());
        OpenFile { file, format, whole: is_regular(&stdin), typed: stdin.is_terminal() }
    }

    /// Opens the file; `-` is standard input.
    fn at(path: &Path, format: InputFormat) -> Result<OpenFile, StageError> {
        if path == Path::new("-") {
            return Ok(OpenFile::standard_input(format));
        }
        let file = DataFile::open(path)?;
        let whole = path.is_file();
        let ending = path.extension().filter(|_| whole);
        let format = match (format, ending) {
            (InputFormat::Auto, Some(it)) if !it.eq_ignore_ascii_case("txt") => InputFormat::Fields,
            (format, _) => format,
        };
        Ok(OpenFile { file, format, whole, typed: false })
    }

    /// Reads all texts into the queue. `name` says which file they are from, if there are several.
    fn read(
        mut self,
        name: Option<String>,
        queue: &Queue,
        ingest: &IngestParams,
        console: &Console,
    ) -> Result<(), StageError> {
        if !self.typed {
            self.file.decode_as(ingest.layout.encoding);
        }
        let plain = match self.format {
            InputFormat::Plain => true,
            InputFormat::Fields => false,
            InputFormat::Auto => {
                let is_text = self.file.binary_kind()?.is_none();
                is_text && !holds_fields(self.file.first_line()?, ingest, console)
            }
        };
        let texts = match plain {
            true => Texts::plain(self.file)?,
            false => Texts::fields(self.file, ingest)?,
        };
        for text in texts {
            queue.push(line(Example { file: name.clone(), ..text? }, plain));
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
