//! The log of runs: one small file for each run in which a stage ran or failed, or an output was
//! published. It is written at the end of the run, by rename and with a checksum. A run that had
//! nothing to do leaves no file, nor does a killed run. `pipe log`, `diff` and `restore` read the
//! log; `cache gc` keeps what its newer entries used.
//!
//! An id is the time at which the run began, to the millisecond, in UTC: `261123-154712-483`. Ids
//! sort chronologically. The user names a run by the beginning of its id, by its last three
//! digits, by `last`, `last~1` and so on ([`mod@pick`]), or by a Git branch or commit, of which the newest
//! run is meant.

pub mod find;
pub mod pick;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::Scratch;
use crate::pipeline::{Overrides, Pipeline};
use crate::results::git::{GitState, Looking, look};
use crate::results::sweep::logged::LoggedSweep;
use crate::run::event::{Outcome, RunEvent, StageFinished};
use crate::run::publish::Published;
use crate::store::Store;
use crate::store::key::Key;
use crate::store::record::{Artifact, is_whole, with_check, writable};
use pick::PickError;

/// One run, in `cache/runs/<id>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedRun {
    pub id: String,
    /// When it began, RFC 3339 in UTC.
    pub when: String,
    pub seconds: f64,
    /// What was typed after `pipe`.
    pub command: Vec<String>,
    pub profile: Option<String>,
    pub set: Vec<(String, String)>,
    /// In the order of the pipeline.
    pub stages: Vec<LoggedStage>,
    /// The files that the run published.
    pub published: Vec<LoggedOutput>,
    pub interrupted: bool,
    /// The version of `pipe`.
    pub pipe: String,
    /// Where the Git repository of the project stood when the run began, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitState>,
    /// The combinations of a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<LoggedSweep>,
}

/// How one stage of a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedStage {
    pub stage: String,
    pub outcome: Outcome,
    /// Time spent in this run, which is close to 0 for a cache hit.
    pub seconds: f64,
    pub key: Option<Key>,
    /// Why it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The final metrics. The record has them too, but it may have been removed since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Why it failed or was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The end of the log of a failed process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// One published output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedOutput {
    /// Relative to the folder of the pipeline.
    pub path: PathBuf,
    pub stage: String,
    pub output: String,
    pub key: Key,
    pub artifact: Artifact,
}

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RunLogError {
    #[error("the log of runs is empty")]
    Empty,
    #[error(transparent)]
    Pick(#[from] PickError),
    #[error("the log of run `{id}` is damaged or of another version of `pipe`")]
    Damaged { id: String },
    #[error(transparent)]
    File(#[from] FileError),
}

impl RunLogError {
    pub fn hint(&self) -> Option<String> {
        match self {
            RunLogError::Empty => {
                Some("`pipe run` writes an entry for each run that does something".to_owned())
            }
            RunLogError::Pick(PickError::Ambiguous { .. }) => {
                Some("type more of the id".to_owned())
            }
            RunLogError::Pick(_) => Some("`pipe log` lists the runs".to_owned()),
            RunLogError::Damaged { .. } => {
                Some("`pipe cache verify --repair` removes it".to_owned())
            }
            RunLogError::File(error) => error.hint().map(str::to_owned),
        }
    }
}

/// Collects the events of a run for the log.
pub struct RunLog<'a> {
    pipeline: &'a Pipeline,
    began: SystemTime,
    git: Looking,
    run: LoggedRun,
    /// Index into `run.stages`, by stage. A repaired stage ends twice, and the second end counts.
    ended: BTreeMap<String, usize>,
    /// Why each stage was started.
    reasons: BTreeMap<String, String>,
    /// The stages that publish outputs.
    publishing: BTreeSet<&'a str>,
    /// What they made, by stage and output.
    outputs: BTreeMap<String, BTreeMap<String, Artifact>>,
    left_edited: BTreeSet<(String, String)>,
    eventful: bool,
}

impl<'a> RunLog<'a> {
    /// Begins the log of a run that starts now. `command` is what the user typed after `pipe`.
    pub fn new(
        pipeline: &'a Pipeline,
        command: Vec<String>,
        overrides: &Overrides,
        sweep: Option<LoggedSweep>,
    ) -> RunLog<'a> {
        let began = writable(SystemTime::now());
        let run = LoggedRun {
            id: String::new(),
            when: humantime::format_rfc3339_millis(began).to_string(),
            seconds: 0.0,
            command,
            profile: overrides.profile.clone(),
            set: overrides.set.clone(),
            stages: Vec::new(),
            published: Vec::new(),
            interrupted: false,
            pipe: env!("CARGO_PKG_VERSION").to_owned(),
            git: None,
            sweep,
        };
        let publishing = pipeline.stages.iter().filter(|stage| !stage.publish.is_empty());
        RunLog {
            pipeline,
            began,
            git: look(&pipeline.root),
            run,
            ended: BTreeMap::new(),
            reasons: BTreeMap::new(),
            publishing: publishing.map(|stage| stage.name.as_str()).collect(),
            outputs: BTreeMap::new(),
            left_edited: BTreeSet::new(),
            eventful: false,
        }
    }

    /// Notes an event of the run.
    pub fn take(&mut self, event: &RunEvent) {
        match event {
            RunEvent::StageStarted { stage, reason, .. } => {
                self.reasons.insert(stage.clone(), reason.to_string());
            }
            RunEvent::StageFinished(finished) => {
                self.eventful |= finished.outcome != Outcome::Hit;
                self.stage_ended(finished);
            }
            RunEvent::Published { stage, output, result, .. } => {
                self.eventful |= *result == Published::Written;
                if matches!(result, Published::KeptEdited | Published::KeptForeign) {
                    self.left_edited.insert((stage.clone(), output.clone()));
                }
            }
            RunEvent::RunFinished(summary) => {
                // A race runs in rounds.
                self.run.seconds += summary.seconds;
                self.run.interrupted |= summary.interrupted;
            }
            _ => {}
        }
    }

    fn stage_ended(&mut self, finished: &StageFinished) {
        let stage = LoggedStage {
            stage: finished.stage.clone(),
            outcome: finished.outcome,
            seconds: finished.seconds,
            key: finished.key,
            reason: self.reasons.get(&finished.stage).cloned(),
            metrics: finished.metrics.clone(),
            message: finished.message.clone(),
            hint: finished.hint.clone(),
            last_lines: finished.last_lines.clone(),
        };
        if self.publishing.contains(finished.stage.as_str()) && !finished.outputs.is_empty() {
            self.outputs.insert(finished.stage.clone(), finished.outputs.clone());
        }
        match self.ended.get(&finished.stage) {
            Some(place) => self.run.stages[*place] = stage,
            None => {
                self.ended.insert(finished.stage.clone(), self.run.stages.len());
                self.run.stages.push(stage);
            }
        }
    }

    /// The entry as it would be now.
    pub fn so_far(&self) -> LoggedRun {
        let stages = self.in_order(self.run.stages.clone());
        let seconds = match self.run.seconds > 0.0 {
            true => self.run.seconds,
            false => self.began.elapsed().unwrap_or_default().as_secs_f64(),
        };
        LoggedRun { id: id_of(self.began), seconds, stages, ..self.run.clone() }
    }

    /// Stages that run in parallel end in any order; the log has the order of the pipeline.
    fn in_order(&self, mut stages: Vec<LoggedStage>) -> Vec<LoggedStage> {
        let of_pipeline = self.pipeline.stages.iter().zip(0..);
        let places: BTreeMap<&str, usize> =
            of_pipeline.map(|(stage, place)| (stage.name.as_str(), place)).collect();
        stages.sort_by_key(|stage| places.get(stage.stage.as_str()).copied());
        stages
    }

    /// Writes the file of the run, if the run did anything, and returns the id of the run.
    pub fn write(mut self, store: &Store) -> Result<Option<String>, FileError> {
        if !self.eventful {
            return Ok(None);
        }
        self.run.published = self.published();
        self.run.stages = self.in_order(self.run.stages.clone());
        let scratch = Scratch::new(&store.scratch_folder())?;
        self.run.git = self.git.result();
        let mut began = self.began;
        loop {
            self.run.id = id_of(began);
            let temporary = scratch.path()?;
            with_check(&self.run)
                .map_err(io::Error::from)
                .and_then(|text| disk::write_new(&temporary, text.as_bytes()))
                .map_err(FileError::at("writing", &temporary))?;
            let file = store.run_file(&self.run.id);
            let place = || disk::rename_to_new(&temporary, &file);
            let placed = match place() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let made = file.parent().map_or(Ok(()), disk::create_folders);
                    made.and_then(|()| place())
                }
                // This file system cannot refuse to replace a file: of two runs that began in the
                // same millisecond, one is lost.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    disk::rename(&temporary, &file)
                }
                other => other,
            };
            match placed {
                Ok(()) => return Ok(Some(self.run.id)),
                // Another run began in this millisecond.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    began += Duration::from_millis(1);
                }
                Err(error) => return Err(FileError::at("writing", &file)(error)),
            }
        }
    }

    fn published(&self) -> Vec<LoggedOutput> {
        let mut published = Vec::new();
        for stage in &self.pipeline.stages {
            let Some(outputs) = self.outputs.get(&stage.name) else { continue };
            let key = self.ended.get(&stage.name).and_then(|place| self.run.stages[*place].key);
            let Some(key) = key else { continue };
            for (output, path) in &stage.publish {
                let left = self.left_edited.contains(&(stage.name.clone(), output.clone()));
                if let Some(artifact) = outputs.get(output).filter(|_| !left) {
                    published.push(LoggedOutput {
                        path: path.clone(),
                        stage: stage.name.clone(),
                        output: output.clone(),
                        key,
                        artifact: *artifact,
                    });
                }
            }
        }
        published
    }
}

/// `261123-154712-483`.
fn id_of(began: SystemTime) -> String {
    let text = humantime::format_rfc3339_millis(writable(began)).to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).skip(2).collect();
    format!("{}-{}-{}", &digits[..6], &digits[6..12], &digits[12..])
}

impl LoggedRun {
    /// When it began.
    pub fn began(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.when).ok()
    }

    pub fn stage(&self, name: &str) -> Option<&LoggedStage> {
        self.stages.iter().find(|stage| stage.stage == name)
    }

    /// Parses the file of the run with this id; `None` if it is damaged.
    pub fn parse(text: &str, id: &str) -> Option<LoggedRun> {
        is_whole(text).then_some(())?;
        let run: LoggedRun = serde_json::from_str(text).ok()?;
        (run.id == id).then_some(run)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use crate::pipeline::{Overrides, Pipeline};
    use crate::results::run_log::find::ids;
    use crate::results::run_log::{LoggedRun, RunLog, id_of};
    use crate::store::Store;

    #[test]
    fn two_runs_of_one_millisecond_get_two_ids() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pipeline.yaml");
        std::fs::write(&file, "stages: {a: {run: 'true', outputs: [x]}}\n").unwrap();
        let pipeline = Pipeline::load(&file, &Overrides::default()).unwrap();
        let store = Store::new(&folder.path().join("cache"));
        for _ in 0..3 {
            let mut log = RunLog::new(&pipeline, Vec::new(), &Overrides::default(), None);
            log.began = UNIX_EPOCH + Duration::from_millis(1_795_448_832_999);
            log.eventful = true;
            log.write(&store).unwrap().unwrap();
        }
        let expected = ["261123-154712-999", "261123-154713-000", "261123-154713-001"];
        assert_eq!(ids(&store).unwrap(), expected);
        let text = std::fs::read_to_string(store.run_file(expected[2])).unwrap();
        assert!(LoggedRun::parse(&text, expected[2]).is_some());
        assert!(LoggedRun::parse(&text, expected[1]).is_none());
    }

    #[test]
    fn ids_sort_as_the_runs_did() {
        let at = |ms: u64| id_of(UNIX_EPOCH + Duration::from_millis(ms));
        assert_eq!(at(1_795_448_832_483), "261123-154712-483");
        let times = [1_795_448_832_483, 1_795_448_832_484, 1_795_448_833_000, 1_895_448_832_483];
        assert!(times.map(at).is_sorted());
    }
}
