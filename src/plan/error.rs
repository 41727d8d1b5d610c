//! Why no plan can be made.

use crate::sources::SourceError;

/// What ends planning.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("stage `{stage}` (line {line}), input `{input}`: {source}")]
    Input { stage: String, line: usize, input: String, source: SourceError },
    #[error(
        "stage `{stage}` (line {line}) is frozen, but the store holds no complete result of it"
    )]
    NothingFrozen { stage: String, line: usize },
}

impl PlanError {
    /// The line of the pipeline file that declares the stage.
    pub fn line(&self) -> usize {
        match self {
            PlanError::Input { line, .. } | PlanError::NothingFrozen { line, .. } => *line,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::Input { source, .. } => source.hint(),
            PlanError::NothingFrozen { stage, .. } => {
                Some(format!("run `{stage}` once without `frozen: true`"))
            }
        }
    }
}
