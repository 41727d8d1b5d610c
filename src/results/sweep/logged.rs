//! What the log of runs keeps of a sweep, so that its combinations can be told apart later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pipeline::Pipeline;
use crate::results::sweep::Asked;
use crate::results::sweep::combine::Row;

/// A sweep's combinations, and by what they were compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedSweep {
    pub keys: Vec<String>,
    /// By what the table was sorted, if it was said.
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
    /// By the keys of the sweep; `None` where one means nothing.
    pub values: Vec<Option<Value>>,
    /// A stage of the file, and what it is called in the run.
    pub stages: BTreeMap<String, String>,
}

impl LoggedSweep {
    /// `rows` are of the combined `pipeline`.
    pub fn of(asked: &Asked, rows: &[Row], pipeline: &Pipeline) -> LoggedSweep {
        let called = |place: &usize| pipeline.stages[*place].name.clone();
        let combination = |row: &Row| LoggedCombination {
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
