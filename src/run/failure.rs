//! Why a stage did not produce a record.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::executor::ExecutorError;
use crate::executor::status::ExitStatus;
use crate::files::digest::{Digest, kind_name};
use crate::files::file_error::FileError;
use crate::pipeline::{OUTPUT_PREFIX, environment_variable};
use crate::plan::error::PlanError;
use crate::plan::folder_change::FolderChange;
use crate::plan::reason::Reason;
use crate::sources::download_error::DownloadError;
use crate::text::figures;
use stages::Kind;

/// How a stage ended without a record.
#[derive(Debug, thiserror::Error)]
pub enum StageFailure {
    /// A built-in stage reported the problem itself.
    #[error("{message}")]
    Said { message: String, hint: Option<String>, log: PathBuf },
    #[error("{status}")]
    Process { status: ExitStatus, log: PathBuf },
    #[error("it did not write its output `{output}`")]
    NoOutput { output: String, at: PathBuf, log: PathBuf },
    #[error("its output `{output}` is a {}, expected a {}", kind_name(*found), kind_name(*expected))]
    WrongKind { output: String, expected: Kind, found: Kind },
    #[error("its input `{input}` ({origin}) {how}, so its result was discarded")]
    SourceChanged { input: String, origin: String, how: SourceChange },
    #[error("it wrote to its input `{input}`, so its result was discarded")]
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
    /// It would have to run again, but is not allowed to.
    #[error("{reason}, and {fixed}")]
    MayNotRun { reason: Reason, fixed: Fixed },
    /// A bug in this program.
    #[error("`pipe` itself failed: {message}")]
    Panicked { message: String },
    /// An input that existed when the run was planned, or was just downloaded, is missing or
    /// unreadable.
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

/// What became of a source while a stage was reading it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceChange {
    #[error("changed while it ran")]
    Changed,
    #[error("changed while it ran (it grew by {})", figures::bytes(*_0))]
    Grew(u64),
    #[error("changed while it ran: {_0}")]
    Files(Box<FolderChange>),
    #[error("was written to while it ran")]
    Written,
    #[error("changed while it ran and cannot be read now ({_0})")]
    Unreadable(String),
}

/// Why a stage must not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fixed {
    #[error("it is frozen")]
    Frozen,
    #[error("it is not named by `--only`")]
    NotAsked,
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Source(#[from] DownloadError),
    #[error("downloading failed in `pipe` itself: {0}")]
    Panicked(String),
}

impl StageFailure {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            StageFailure::Said { hint, .. } | StageFailure::Download { hint, .. } => hint.clone(),
            StageFailure::NoOutput { output, .. } => {
                let variable = environment_variable(OUTPUT_PREFIX, output);
                Some(format!("the command must write it to the path in `${variable}`"))
            }
            StageFailure::SourceChanged { how: SourceChange::Unreadable(_), .. } => None,
            StageFailure::SourceChanged { origin, .. } => Some(format!(
                "run again; if the stage itself writes to `{origin}`, let it write to an output \
                 instead"
            )),
            StageFailure::WroteToInput { .. } => {
                Some("inputs are read-only: copy the input and write to the copy".to_owned())
            }
            StageFailure::Process { status: ExitStatus::OutOfMemory, .. } => Some(
                "to need less memory, run fewer stages at once (`--jobs 1`) or use smaller batches"
                    .to_owned(),
            ),
            StageFailure::Process { status: ExitStatus::Scheduler(end), .. } => {
                Some(end.hint().to_owned())
            }
            StageFailure::Executor(ExecutorError::Slurm(error)) => error.hint(),
            StageFailure::MayNotRun { fixed: Fixed::Frozen, .. } => {
                Some("remove `frozen: true` for one run".to_owned())
            }
            StageFailure::MayNotRun { fixed: Fixed::NotAsked, .. } => {
                Some("run it without `--only`".to_owned())
            }
            StageFailure::Panicked { .. } => {
                Some("please report it; recorded results are intact".to_owned())
            }
            StageFailure::File(error) => error.hint().map(str::to_owned),
            _ => None,
        }
    }

    /// Whether another attempt may succeed: the process died or failed without a message. An error
    /// that a built-in reports about its input, or a missing command, would only occur again.
    pub fn may_pass(&self) -> bool {
        match self {
            StageFailure::Process { status: ExitStatus::Code(126 | 127), .. } => false,
            StageFailure::Process { status: ExitStatus::Scheduler(end), .. } => end.may_pass(),
            StageFailure::Process { .. } | StageFailure::Timeout { .. } => true,
            _ => false,
        }
    }

    /// Whether a stage that was asked to stop fails like this.
    pub fn may_be_by_signal(&self) -> bool {
        matches!(self, StageFailure::Process { .. } | StageFailure::Said { .. })
    }

    /// The log to point to, if it may say more.
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

    /// The end of the log, if the failure does not explain itself.
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

/// The last lines of a file, however long it is. Empty if the file cannot be read.
fn last_lines(log: &Path) -> Vec<String> {
    let Ok(mut file) = File::open(log) else { return Vec::new() };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    if file.seek(SeekFrom::Start(length.saturating_sub(BYTES))).is_err() {
        return Vec::new();
    }
    let mut lines = VecDeque::with_capacity(LINES + 1);
    for line in BufReader::new(file.take(BYTES)).split(b'\n') {
        let Ok(line) = line else { break };
        // A progress bar redraws one line: only its last state matters.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        lines.push_back(printable(text));
        if lines.len() > LINES {
            lines.pop_front();
        }
    }
    lines.into()
}

/// The output of a stage must not control the terminal: control characters become spaces.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
