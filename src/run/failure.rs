//! Why a stage did not come to a record.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::digest::{Digest, kind_name};
use crate::executor::ExitStatus;
use crate::file_error::FileError;
use crate::plan::PlanError;
use crate::reason::Reason;
use stages::Kind;

/// The end of a stage that gives no record.
#[derive(Debug, thiserror::Error)]
pub enum StageFailure {
    /// A built-in has said itself what is wrong.
    #[error("{message}")]
    Said { message: String, hint: Option<String>, log: PathBuf },
    #[error("{status}")]
    Process { status: ExitStatus, log: PathBuf },
    #[error("it did not write its output `{output}`")]
    NoOutput { output: String, at: PathBuf, log: PathBuf },
    #[error("its output `{output}` is a {}, expected a {}", kind_name(*found), kind_name(*expected))]
    WrongKind { output: String, expected: Kind, found: Kind },
    #[error("its input `{input}` ({origin}) changed while it ran, so its result was thrown away")]
    SourceChanged { input: String, origin: String },
    /// Not this stage's fault: the stage that made the object runs again, then this one.
    #[error("its input `{input}` is damaged in the store ({})", digest.short())]
    DamagedInput { input: String, stage: String, digest: Digest },
    #[error("{reason}, and again after it had run")]
    DamagedAgain { reason: Reason },
    #[error("interrupted")]
    Interrupted,
    /// An input that was there when the run was planned, or has just been downloaded.
    #[error(transparent)]
    Input(#[from] PlanError),
    #[error("{message}")]
    Download { message: String, hint: Option<String> },
    #[error(transparent)]
    File(#[from] FileError),
}

impl StageFailure {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            StageFailure::Said { hint, .. } | StageFailure::Download { hint, .. } => hint.clone(),
            StageFailure::NoOutput { output, .. } => {
                let variable = crate::run::prepare::variable_name("OUT", output);
                Some(format!("a command writes it to the path in `${variable}`"))
            }
            StageFailure::SourceChanged { .. } => Some("run again".to_owned()),
            StageFailure::File(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }

    /// Whether this is how a stage looks that was told to end.
    pub fn may_be_by_signal(&self) -> bool {
        matches!(self, StageFailure::Process { .. } | StageFailure::Said { .. })
    }

    /// The log to point at, if it can say more.
    pub fn log(&self) -> Option<&Path> {
        match self {
            StageFailure::Said { log, .. }
            | StageFailure::Process { log, .. }
            | StageFailure::NoOutput { log, .. } => Some(log),
            _ => None,
        }
    }

    /// The end of the log, where the failure has not been put into words.
    pub fn last_lines(&self) -> Vec<String> {
        match self {
            StageFailure::Process { log, .. } | StageFailure::NoOutput { log, .. } => {
                last_lines(log)
            }
            _ => Vec::new(),
        }
    }
}

const LINES: usize = 12;
const BYTES: u64 = 16 * 1024;

/// The last lines of a file, however long it is; none if it cannot be read.
fn last_lines(log: &Path) -> Vec<String> {
    let Ok(mut file) = File::open(log) else { return Vec::new() };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    if file.seek(SeekFrom::Start(length.saturating_sub(BYTES))).is_err() {
        return Vec::new();
    }
    let mut lines = VecDeque::with_capacity(LINES + 1);
    for line in BufReader::new(file.take(BYTES)).split(b'\n') {
        let Ok(line) = line else { break };
        // A progress bar redraws one line: only its last state is of interest.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        lines.push_back(printable(text));
        if lines.len() > LINES {
            lines.pop_front();
        }
    }
    lines.into()
}

/// A stage's words must not drive the terminal: control characters become spaces.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
