//! What came of each combination, from the events of the run.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::pipeline::Pipeline;
use crate::results::sweep::combine::Row;
use crate::run::event::{Outcome, RunEvent, StageFinished};
use crate::store::key::Key;

/// How the stages of a run have ended, by name.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<String, StageFinished>);

/// One combination at the end of a run.
#[derive(Clone, Debug)]
pub struct Finished {
    /// By the keys of the sweep.
    pub values: Vec<Option<Value>>,
    pub came: Came,
    /// The stage that failed, and why.
    pub problem: Option<(String, String)>,
    /// `stage.metric`.
    pub metrics: BTreeMap<String, f64>,
    /// What its stages took when they ran, shared ones too.
    pub seconds: f64,
    /// A stage of the file, and what it is called in the sweep.
    pub stages: BTreeMap<String, String>,
    /// A stage of the file, and the key of its result.
    pub keys: BTreeMap<String, Key>,
}

/// What a combination came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    Done,
    Failed,
    /// Not all of its stages had their turn.
    Unfinished,
}

impl Seen {
    pub fn take(&mut self, event: &RunEvent) {
        if let RunEvent::StageFinished(finished) = event {
            self.0.insert(finished.stage.clone(), (**finished).clone());
        }
    }

    /// Each combination, in the order of the sweep.
    pub fn rows(&self, rows: &[Row], pipeline: &Pipeline) -> Vec<Finished> {
        rows.iter().map(|row| self.row(row, pipeline)).collect()
    }

    fn row(&self, row: &Row, pipeline: &Pipeline) -> Finished {
        let mut finished = Finished {
            values: row.values.clone(),
            came: Came::Done,
            problem: None,
            metrics: BTreeMap::new(),
            seconds: 0.0,
            stages: BTreeMap::new(),
            keys: BTreeMap::new(),
        };
        for (name, place) in &row.stages {
            let called = pipeline.stages[*place].name.as_str();
            finished.stages.insert(name.clone(), called.to_owned());
            let Some(seen) = self.0.get(called) else {
                finished.came = finished.came.max(Came::Unfinished);
                continue;
            };
            finished.keys.extend(seen.key.map(|key| (name.clone(), key)));
            finished.seconds += seen.saved_seconds.unwrap_or(seen.seconds);
            let metrics = seen.metrics.iter();
            finished.metrics.extend(metrics.map(|(it, value)| (format!("{name}.{it}"), *value)));
            match seen.outcome {
                Outcome::Hit | Outcome::Ran => {}
                Outcome::Skipped => finished.came = finished.came.max(Came::Unfinished),
                Outcome::Failed => {
                    let message = seen.message.clone().unwrap_or_default();
                    finished.problem = Some((called.to_owned(), message));
                }
            }
        }
        if finished.problem.is_some() {
            finished.came = Came::Failed;
        }
        finished
    }
}
