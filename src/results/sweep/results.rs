//! The result of each combination, collected from the events of the run.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::pipeline::Pipeline;
use crate::results::sweep::combine::SweepRow;
use crate::run::event::{Outcome, RunEvent, StageFinished};
use crate::store::key::Key;

/// The end of each stage of a run, by name.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<String, StageFinished>);

/// One combination at the end of a run.
#[derive(Clone, Debug)]
pub struct Finished {
    /// In the order of the keys of the sweep.
    pub values: Vec<Option<Value>>,
    pub came: Came,
    /// The stage that failed, and why.
    pub problem: Option<(String, String)>,
    /// `stage.metric`.
    pub metrics: BTreeMap<String, f64>,
    /// How long its stages took when they ran, including shared ones.
    pub seconds: f64,
    /// The stages of the file, and the name of each in the sweep.
    pub stages: BTreeMap<String, String>,
    /// The stages of the file, and the key of each result.
    pub keys: BTreeMap<String, Key>,
}

/// How a combination ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    Done,
    Failed,
    /// Some of its stages did not run.
    Unfinished,
}

impl Seen {
    /// Notes an event of the run.
    pub fn take(&mut self, event: &RunEvent) {
        if let RunEvent::StageFinished(finished) = event {
            self.0.insert(finished.stage.clone(), (**finished).clone());
        }
    }

    /// Each combination, in the order of the sweep.
    pub fn rows(&self, rows: &[SweepRow], pipeline: &Pipeline) -> Vec<Finished> {
        rows.iter().map(|row| self.row(row, pipeline)).collect()
    }

    fn row(&self, row: &SweepRow, pipeline: &Pipeline) -> Finished {
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
            let called = pipeline[*place].name.as_str();
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
