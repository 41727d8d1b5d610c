//! Why a stage did not come to a record.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::executor::{ExecutorError, ExitStatus};
use crate::files::digest::{Digest, kind_name};
use crate::files::file_error::FileError;
use crate::plan::error::PlanError;
use crate::plan::reason::Reason;
use crate::sources::download_error::DownloadError;
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
    #[error("it wrote to its input `{input}`, so its result was thrown away")]
    WroteToInput { input: String },
    /// Not this stage's fault: the stage that made the object runs again, then this one.
    #[error("its input `{input}` is damaged in the store ({})", digest.short())]
    DamagedInput { input: String, stage: String, digest: Digest },
    #[error("{reason}, and again after it had run")]
    DamagedAgain { reason: Reason },
    #[error("timed out after {}", humantime::format_duration(*limit))]
    Timeout { limit: Duration, log: PathBuf },
    #[error("interrupted")]
    Interrupted { log: Option<PathBuf> },
    /// It would have to run again, and must not.
    #[error("{reason}, and {fixed}")]
    MayNotRun { reason: Reason, fixed: Fixed },
    /// A bug in this program.
    #[error("`pipe` itself failed: {message}")]
    Panicked { message: String },
    /// An input that was there when the run was planned, or has just been downloaded.
    #[error(transparent)]
    Input(#[from] PlanError),
    #[error("{message}")]
    Download { message: String, hint: Option<String> },
    #[error(transparent)]
    Executor(ExecutorError),
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<ExecutorError> for StageFailure {
    fn from(error: ExecutorError) -> StageFailure {
        match error {
            ExecutorError::File(error) => StageFailure::File(error),
            error @ ExecutorError::Slurm(_) => StageFailure::Executor(error),
        }
    }
}

/// Why a stage does not run whatever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fixed {
    #[error("it is frozen")]
    Frozen,
    #[error("it is not among the stages of `--only`")]
    NotAsked,
}

/// Why a download gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Source(#[from] DownloadError),
    #[error("downloading failed in `pipe` itself: {0}")]
    Panicked(String),
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
            StageFailure::WroteToInput { .. } => {
                Some("inputs are only to be read: copy it first, and write to the copy".to_owned())
            }
            StageFailure::Process { status: ExitStatus::OutOfMemory, .. } => Some(
                "fewer stages at once (`--jobs 1`) or smaller batches need less memory".to_owned(),
            ),
            StageFailure::Process { status: ExitStatus::Scheduler(end), .. } => {
                Some(end.hint().to_owned())
            }
            StageFailure::Executor(ExecutorError::Slurm(error)) => error.hint(),
            StageFailure::MayNotRun { fixed: Fixed::Frozen, .. } => {
                Some("run it once without `frozen: true`".to_owned())
            }
            StageFailure::MayNotRun { fixed: Fixed::NotAsked, .. } => {
                Some("run it without `--only`".to_owned())
            }
            StageFailure::Panicked { .. } => {
                Some("what is recorded is intact; please report it".to_owned())
            }
            StageFailure::File(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }

    /// Whether another attempt may go better: a process died or failed without a word. What a
    /// built-in says about its input, or a command that does not exist, would come again.
    pub fn may_pass(&self) -> bool {
        match self {
            StageFailure::Process { status: ExitStatus::Code(126 | 127), .. } => false,
            StageFailure::Process { status: ExitStatus::Scheduler(end), .. } => end.may_pass(),
            StageFailure::Process { .. } | StageFailure::Timeout { .. } => true,
            _ => false,
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
            | StageFailure::Timeout { log, .. }
            | StageFailure::Interrupted { log: Some(log) }
            | StageFailure::NoOutput { log, .. } => Some(log),
            _ => None,
        }
    }

    /// The end of the log, where the failure has not been put into words.
    pub fn last_lines(&self) -> Vec<String> {
        match self {
            StageFailure::Process { log, .. }
            | StageFailure::Timeout { log, .. }
            | StageFailure::Interrupted { log: Some(log) }
            | StageFailure::NoOutput { log, .. } => last_lines(log),
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
