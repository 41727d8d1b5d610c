//! The part of a run's log entry that describes a sweep, so that its combinations can be told apart
//! later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pipeline::{Pipeline, StageIndex};
use crate::results::sweep::Asked;
use crate::results::sweep::combine::SweepRow;

/// The combinations of a sweep, and how they were compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedSweep {
    pub keys: Vec<String>,
    /// The metric by which the table was sorted, if one was named.
    pub metric: Option<String>,
    pub ascending: bool,
    /// The keys over which means are taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<String>,
    pub combinations: Vec<LoggedCombination>,
}

/// One combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedCombination {
    /// In the order of the keys; `None` if a key has no meaning in this combination.
    pub values: Vec<Option<Value>>,
    /// The stages of the file, and the name of each in the run.
    pub stages: BTreeMap<String, String>,
}

impl LoggedSweep {
    /// Describes a sweep. `rows` refer to the combined `pipeline`.
    pub fn of(asked: &Asked, rows: &[SweepRow], pipeline: &Pipeline) -> LoggedSweep {
        let called = |place: &StageIndex| pipeline[*place].name.clone();
        let combination = |row: &SweepRow| LoggedCombination {
            values: row.values.clone(),
            stages: row.stages.iter().map(|(name, place)| (name.clone(), called(place))).collect(),
        };
        LoggedSweep {
            keys: asked.keys.clone(),
            metric: asked.metric.clone(),
            ascending: asked.ascending,
            over: asked.over.clone(),
            combinations: rows.iter().map(combination).collect(),
        }
    }
}
