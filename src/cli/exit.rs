//! The exit status. It is decided here only.

use std::process::ExitCode;

use crate::cli::error::Error;
use crate::remote::RemoteError;
use crate::results::run_log::RunLogError;
use crate::run::event::Summary;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// A stage failed, or the environment did: a full disk, a missing permission.
    Failed,
    /// The pipeline is invalid, or the command line is.
    Wrong,
    /// A gate that the rows cannot decide.
    Undecided,
    Interrupted,
}

impl Exit {
    pub fn of_run(summary: &Summary) -> Exit {
        if summary.interrupted {
            Exit::Interrupted
        } else if summary.failed > 0 || summary.not_published > 0 {
            Exit::Failed
        } else {
            Exit::Done
        }
    }

    pub fn of_error(error: &Error) -> Exit {
        match error {
            #[cfg(feature = "serve")]
            Error::Serve(error) if error.is_usage() => Exit::Wrong,
            #[cfg(feature = "serve")]
            Error::Serve(_) => Exit::Failed,
            #[cfg(feature = "model")]
            Error::Export(error) if error.is_usage() => Exit::Wrong,
            #[cfg(feature = "model")]
            Error::Export(_) => Exit::Failed,
            Error::Remote(RemoteError::Trouble { .. } | RemoteError::Here(_)) => Exit::Failed,
            Error::Pipeline(_)
            | Error::NoPipeline { .. }
            | Error::UnknownStage { .. }
            | Error::ManyVariants { .. }
            | Error::UnknownOutput { .. }
            | Error::ManyOutputs { .. }
            | Error::UnknownBuiltin { .. }
            | Error::NoArtifact { .. }
            | Error::NoSuchFile { .. }
            | Error::NotPublished { .. }
            | Error::NotOurs { .. }
            | Error::StoreInTheWay { .. }
            | Error::StoreOverProject { .. }
            | Error::RunLog(RunLogError::Empty | RunLogError::Pick(_))
            | Error::Folder(_)
            | Error::Plan { .. }
            | Error::Select(_)
            | Error::Sweep(_)
            | Error::Race(_)
            | Error::Live { .. }
            | Error::Init(_)
            | Error::Pattern(_)
            | Error::NoModel
            | Error::ManyModels { .. }
            | Error::NoAudit
            | Error::Gate(_)
            | Error::ContextUnused
            | Error::NoRow { .. }
            | Error::InsideStage
            | Error::Remote(_)
            | Error::Resources(_) => Exit::Wrong,
            Error::File(_)
            | Error::Download(_)
            | Error::Executor(_)
            | Error::StoreInUse
            | Error::ChangedSinceSubmitted { .. }
            | Error::NoInputs { .. }
            | Error::RunLog(RunLogError::Damaged { .. } | RunLogError::File(_))
            | Error::Show(_)
            | Error::Classify(_)
            | Error::StageFailed(_)
            | Error::Review(_)
            | Error::Input(_)
            | Error::Output(_)
            | Error::Signals(_)
            | Error::NotMade { .. } => Exit::Failed,
        }
    }
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Wrong => 2,
            Exit::Undecided => 3,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
