//! Errors that end the program early. A stage that fails is not one of them.

use std::io;
use std::path::PathBuf;

#[cfg(feature = "model")]
use crate::cli::export::error::ExportError;
use crate::cli::resources::ResourceError;
use crate::executor::ExecutorError;
use crate::files::file_error::FileError;
use crate::files::pattern::PatternError;
use crate::init::InitError;
use crate::pipeline::PipelineError;
use crate::plan::error::PlanError;
use crate::remote::RemoteError;
use crate::results::gate::GateError;
use crate::results::race::error::RaceError;
use crate::results::review::ReviewError;
use crate::results::run_log::RunLogError;
use crate::results::show::ShowError;
use crate::results::sweep::SweepError;
use crate::run::event::StageFinished;
use crate::sources::download_error::DownloadError;
use crate::text::suggest::quoted;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("there is no `pipeline.yaml` in `{}` or in a folder above it", folder.display())]
    NoPipeline { folder: PathBuf },
    #[error("there is no stage `{name}`")]
    UnknownStage { name: String, nearest: Option<String> },
    /// The command takes one stage, but the name means several variants.
    #[error("`{name}` means {count} variants, but one stage is needed")]
    ManyVariants { name: String, count: usize, first: String },
    #[error("stage `{stage}` has several outputs")]
    ManyOutputs { stage: String, known: Vec<String> },
    #[error("stage `{stage}` has no output `{output}`")]
    UnknownOutput { stage: String, output: String, known: Vec<String> },
    #[error("there is no built-in stage `{name}`")]
    UnknownBuiltin { name: String, nearest: Option<String> },
    /// The name is not the beginning of exactly one key or digest.
    #[error("`{name}` names {problem}")]
    NoArtifact { name: String, problem: &'static str },
    #[error("`{artifact}` contains no file `{file}`")]
    NoSuchFile { artifact: String, file: String, known: Vec<String> },
    #[error("`{artifact}` does not exist yet: stage `{stage}` has to run first")]
    NotMade { artifact: String, stage: String },
    #[error("stage `{stage}` (line {line}): {problem}")]
    StoreInTheWay { stage: String, line: usize, problem: String },
    #[error("the store cannot be `{}`, which is the project's folder or contains it", folder.display())]
    StoreOverProject { folder: PathBuf },
    #[error("run `{run}` did not publish `{}`", path.display())]
    NotPublished { run: String, path: PathBuf, known: Vec<PathBuf> },
    #[error("`{}` was not written by `{command}`, or was edited since", path.display())]
    NotOurs { path: PathBuf, command: &'static str },
    #[error("stage `{stage}` cannot run: {problem}")]
    NoInputs { stage: String, problem: String },
    #[error("stage `{stage}` has changed since it was submitted")]
    ChangedSinceSubmitted { stage: String },
    #[error("cannot remove anything from the store while a run is in progress")]
    StoreInUse,
    #[error(
        "this command runs inside a stage of the same project, and would wait for that stage to end"
    )]
    InsideStage,
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    RunLog(#[from] RunLogError),
    #[error("changing to the folder of `-C`: {0}")]
    Folder(FileError),
    #[error("{error}")]
    Plan { file: PathBuf, error: Box<PlanError> },
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Resources(#[from] ResourceError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Race(#[from] RaceError),
    #[error("cannot serve the run on port {port} of this machine: {error}")]
    Live { port: u16, error: std::io::Error },
    #[error("no result of this pipeline contains the example `{id}`")]
    NoRow { id: String },
    #[error("no stage of the pipeline uses `audit`")]
    NoAudit,
    #[error(transparent)]
    Gate(#[from] GateError),
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error("reading from standard input: {0}")]
    Input(io::Error),
    #[error("there is no model: no stage uses `predict` or `finetune`")]
    NoModel,
    #[error("the pipeline has {} models: {}", models.len(), quoted(models))]
    ManyModels { models: Vec<String> },
    /// A stage that `verify` reran. It is shown as a run shows it.
    #[error("stage `{}` failed: {}", _0.stage, _0.message.as_deref().unwrap_or_default())]
    StageFailed(Box<StageFinished>),
    #[error("the model would not see the context: `tokenize` has `context: 0`")]
    ContextUnused,
    #[error("classifying: {0}")]
    Classify(Box<stages::StageError>),
    #[cfg(feature = "model")]
    #[error(transparent)]
    Export(#[from] ExportError),
    #[cfg(feature = "serve")]
    #[error(transparent)]
    Serve(#[from] crate::serve::ServeError),
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Show(#[from] ShowError),
    #[error("writing to standard output: {0}")]
    Output(#[from] io::Error),
    #[error("listening for signals: {0}")]
    Signals(io::Error),
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let did_you_mean =
            |name: &Option<String>| name.as_ref().map(|name| format!("did you mean `{name}`?"));
        match self {
            Error::UnknownStage { nearest, .. } | Error::UnknownBuiltin { nearest, .. } => {
                did_you_mean(nearest)
            }
            Error::ManyVariants { first, .. } => Some(format!("name one, such as `{first}`")),
            Error::NoSuchFile { known, .. } if known.is_empty() => {
                Some("it is a single file, not a folder".to_owned())
            }
            Error::NoSuchFile { known, .. } => Some(format!("it has {}", known.join(", "))),
            Error::UnknownOutput { known, .. } | Error::ManyOutputs { known, .. } => {
                Some(format!("it has {}", quoted(known)))
            }
            Error::ManyModels { models } => {
                models.first().map(|first| format!("name one of them, such as `{first}`"))
            }
            Error::NotMade { stage, .. } => Some(format!("run `pipe run {stage}`")),
            Error::Plan { error, .. } => error.hint(),
            Error::Select(error) => Some(error.hint()),
            Error::Resources(error) => Some(error.hint()),
            Error::Sweep(error) => error.hint(),
            Error::Race(error) => error.hint(),
            Error::NotPublished { known, .. } => Some(published(known)),
            Error::NoInputs { stage, .. } => Some(format!("run `pipe run {stage}` first")),
            Error::Remote(error) => error.hint(),
            Error::RunLog(error) => error.hint(),
            Error::Init(error) => error.hint(),
            Error::Pattern(error) => Some(error.help()),
            Error::Download(error) => error.hint(&[]),
            Error::Classify(error) => error.hint(),
            #[cfg(feature = "model")]
            Error::Export(error) => error.hint(),
            #[cfg(feature = "serve")]
            Error::Serve(error) => error.hint(),
            Error::StageFailed(finished) => finished.hint.clone(),
            Error::Gate(error) => error.hint(),
            Error::Review(error) => error.hint(),
            Error::Executor(ExecutorError::Slurm(error)) => error.hint(),
            Error::Executor(ExecutorError::File(error)) | Error::File(error) => {
                error.hint().map(str::to_owned)
            }
            _ => self.advice().map(str::to_owned),
        }
    }

    /// What helps against every error of a kind.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Error::NoPipeline { .. } => {
                Some("change to the project's folder, or name it with `-C DIR` or `-f FILE`")
            }
            Error::NoArtifact { .. } => Some("`pipe cache ls` lists what is in the store"),
            Error::Live { .. } => Some("`--live` alone takes a port that is free"),
            Error::NotOurs { .. } => Some("`--force` overwrites it; `--out` names another place"),
            Error::StoreOverProject { .. } => {
                Some("name a folder for the store alone, such as `cache`")
            }
            Error::StoreInTheWay { .. } => {
                Some("use another path, or move the store with `--cache DIR`")
            }
            Error::ChangedSinceSubmitted { .. } => Some("submit it again"),
            Error::StoreInUse => Some("try again when the run has ended, or add `--wait`"),
            Error::InsideStage => Some(
                "make what it should run stages of the pipeline, and name their outputs as `inputs`",
            ),
            Error::ContextUnused => Some(
                "leave `--context` out, or set how many turns the model has learned to read, as in \
                 `--set tokenize.context=2`",
            ),
            Error::NoRow { .. } => Some(
                "`pipe show ingest:train` and `ingest:test` list ids; stages that have not run have no rows",
            ),
            Error::NoAudit => Some("`pipe init --audit` writes a pipeline with one"),
            Error::NoModel => Some("name one: a folder, or `stage:output`"),
            // Their hints depend on what they hold, or there is none.
            Error::Pipeline(_)
            | Error::UnknownStage { .. }
            | Error::ManyVariants { .. }
            | Error::ManyOutputs { .. }
            | Error::UnknownOutput { .. }
            | Error::UnknownBuiltin { .. }
            | Error::NoSuchFile { .. }
            | Error::NotMade { .. }
            | Error::NotPublished { .. }
            | Error::NoInputs { .. }
            | Error::Remote(_)
            | Error::RunLog(_)
            | Error::Folder(_)
            | Error::Plan { .. }
            | Error::Select(_)
            | Error::Resources(_)
            | Error::Sweep(_)
            | Error::Race(_)
            | Error::Gate(_)
            | Error::Review(_)
            | Error::Input(_)
            | Error::ManyModels { .. }
            | Error::StageFailed(_)
            | Error::Classify(_)
            | Error::Init(_)
            | Error::Pattern(_)
            | Error::Download(_)
            | Error::Executor(_)
            | Error::File(_)
            | Error::Show(_)
            | Error::Output(_)
            | Error::Signals(_) => None,
            #[cfg(feature = "model")]
            Error::Export(_) => None,
            #[cfg(feature = "serve")]
            Error::Serve(_) => None,
        }
    }
}

/// What a run published, in words.
fn published(known: &[PathBuf]) -> String {
    let known: Vec<String> = known.iter().map(|path| path.display().to_string()).collect();
    let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
    format!("it published {known}")
}

/// Why the options select no valid set of stages.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error("no stage lies between `--downstream {from}` and {to}")]
    NothingBetween { from: String, to: String },
    #[error("`--force={stage}`: this stage is not part of the run")]
    NotSelected { stage: String },
    #[error("stage `{stage}` is frozen, so it cannot be forced to run")]
    Frozen { stage: String },
    #[error("`--only {stage}`: it reads from `{maker}`, which is not up to date: {why}")]
    NotUpToDate { stage: String, maker: String, why: String, first: Vec<String> },
}

impl SelectError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            SelectError::NothingBetween { .. } => {
                "`pipe graph` shows which stage reads from which".into()
            }
            SelectError::NotSelected { stage } => format!("add `{stage}` to the stages to run"),
            SelectError::Frozen { .. } => "remove `frozen: true` from the stage".into(),
            SelectError::NotUpToDate { first, .. } => {
                format!("run `pipe run {}` first, or omit `--only`", first.join(" "))
            }
        }
    }
}
