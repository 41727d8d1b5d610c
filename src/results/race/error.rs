//! Why a sweep cannot be raced.

use stages::StageError;

use crate::results::row_metric::KNOWN_FIGURES;

#[derive(Debug, thiserror::Error)]
pub enum RaceError {
    #[error("the sweep has no key of seeds or folds over which its configurations could meet")]
    NoMeetings { keys: Vec<String> },
    #[error("a race needs at least two meetings, and {over} has one value")]
    OneMeeting { over: String },
    #[error("a race needs at least two configurations")]
    OneConfiguration,
    #[error("the configurations do not have the same values of {over}")]
    Ragged { over: String },
    #[error("a race looks for the largest value, and the sweep has `order: ascending`")]
    Ascending,
    #[error("no stage scores predictions, or makes any")]
    NoStage,
    #[error("a race cannot be decided by `{metric}`, which is not a figure of labelled rows")]
    OtherMetric { metric: String },
    #[error("stage `{stage}` of a configuration has no predictions of `{input}` with true labels")]
    NoPredictions { stage: String, input: String },
    #[error("the predictions that stage `{stage}` has of `{input}` are no longer in the store")]
    Gone { stage: String, input: String },
    #[error("the predictions of two configurations at the same meeting are of different examples")]
    OtherRows,
    #[error("the predictions of a configuration cannot be read: {0}")]
    Rows(StageError),
}

impl RaceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let known = |keys: &[String]| match keys.is_empty() {
            true => String::new(),
            false => {
                format!(", or name one of the sweep's keys with `--over`: {}", keys.join(", "))
            }
        };
        let hint = match self {
            RaceError::NoMeetings { keys } => format!("add one, such as `seed=1,2,3`{}", known(keys)),
            RaceError::OneMeeting { .. } => "give it several values".to_owned(),
            RaceError::OneConfiguration => {
                "give a key that is not in `--over` several values".to_owned()
            }
            RaceError::Ragged { .. } => {
                "a race needs every configuration at each of them: make them an axis of the sweep".to_owned()
            }
            RaceError::Ascending => "race by accuracy or F1".to_owned(),
            RaceError::NoStage => "add a stage that uses `score`".to_owned(),
            RaceError::OtherMetric { .. } => {
                format!("name it as `--by score.valid_f1`; {KNOWN_FIGURES}")
            }
            RaceError::NoPredictions { .. } => {
                "name a metric of a stage that scores or makes predictions with `--by`".to_owned()
            }
            RaceError::Gone { .. } => "run the race again".to_owned(),
            RaceError::OtherRows => {
                "a key that decides which examples are held out cannot be raced: put it into `--over`, or race \
                 by a metric of the test examples"
                    .to_owned()
            }
            RaceError::Rows(_) => return None,
        };
        Some(hint)
    }
}
