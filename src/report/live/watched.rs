//! What is known about a run that is under way, collected from its events.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use stages::Event;

use crate::results::run_log::LoggedRun;
use crate::run::event::{Outcome, RunEvent, StageFinished, Summary};
use crate::run::publish::Published;
use crate::store::record::MetricsRow;
use crate::text::figures::{figures, grouped, seconds};

/// So many lines of the log are kept.
const LINES: usize = 300;

/// A run so far.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// In the order of the plan.
    pub stages: Vec<WatchedStage>,
    pub lines: VecDeque<String>,
    /// The entry that the log would have now, without stages that have not ended.
    pub logged: Option<LoggedRun>,
    /// Set when the run is over.
    pub summary: Option<Summary>,
    /// How many stages have ended, and the end of the run: the report changes with it.
    pub ends: u64,
    /// Index into `stages`.
    places: BTreeMap<String, usize>,
}

/// One stage.
#[derive(Clone, Debug)]
pub struct WatchedStage {
    pub name: String,
    pub state: StageState,
    /// What it is doing, or why it ended so.
    pub words: String,
    /// From 0 to 1, if it is known.
    pub share: Option<f64>,
    /// Its metrics by step.
    pub history: Vec<MetricsRow>,
}

#[derive(Clone, Copy, Debug)]
pub enum StageState {
    Waiting,
    Running { since: Instant },
    Ended { outcome: Outcome, seconds: f64 },
}

impl Watched {
    pub fn new(stages: impl Iterator<Item = String>) -> Watched {
        let stage = |name| WatchedStage {
            name,
            state: StageState::Waiting,
            words: String::new(),
            share: None,
            history: Vec::new(),
        };
        let stages: Vec<WatchedStage> = stages.map(stage).collect();
        let places = stages.iter().zip(0..).map(|(stage, at)| (stage.name.clone(), at)).collect();
        Watched { stages, places, ..Watched::default() }
    }

    /// Notes an event of the run. `logged` is the entry of the log after it.
    pub fn take(&mut self, event: &RunEvent, logged: impl FnOnce() -> LoggedRun) {
        match event {
            RunEvent::RunStarted { .. } => {}
            RunEvent::StageWaiting { stage, message } => {
                self.change(stage, |it| it.words.clone_from(message));
                self.say(format!("{stage}  {message}"));
            }
            RunEvent::StageStarted { stage, reason, .. } => {
                self.change(stage, |it| {
                    it.state = StageState::Running { since: Instant::now() };
                    it.words = reason.to_string();
                });
                self.say(format!("{stage}  runs: {reason}"));
            }
            RunEvent::StageFrozen { stage, .. } => self.say(format!("{stage}  is frozen")),
            RunEvent::StageRetried { stage, retry } => {
                let (attempt, attempts) = (retry.attempt, retry.attempts);
                self.say(format!("{stage}  {}; attempt {attempt} of {attempts}", retry.message));
                self.change(stage, |it| {
                    it.words = format!("attempt {attempt} of {attempts}");
                    (it.share, it.history) = (None, Vec::new());
                });
            }
            RunEvent::StageSays { stage, said } => self.says(stage, said),
            RunEvent::StageFinished(finished) => self.finished(finished, logged),
            RunEvent::Published { path, result: Published::Written, .. } => {
                self.say(format!("published {}", path.display()));
            }
            RunEvent::Published { .. } => {}
            RunEvent::Uploading { remote, results } => {
                self.say(format!("uploading {results} results to {remote}"));
            }
            RunEvent::Warning { message } => self.say(format!("warning: {message}")),
            RunEvent::RunFinished(summary) => {
                self.summary = Some(summary.clone());
                self.logged = Some(logged());
                self.ends += 1;
                self.say(format!("the run ended after {}", seconds(summary.seconds)));
            }
        }
    }

    fn says(&mut self, stage: &str, said: &Event) {
        match said {
            Event::Device { name } => self.say(format!("{stage}  on {name}")),
            Event::Progress { done, total, unit, values } => self.change(stage, |it| {
                let of = total.map_or(String::new(), |total| format!(" of {}", grouped(total)));
                let values = if values.is_empty() {
                    String::new()
                } else {
                    format!(", {}", figures(values, 3))
                };
                it.words = format!("{unit} {}{of}{values}", grouped(*done));
                it.share =
                    total.filter(|total| *total > 0).map(|total| *done as f64 / total as f64);
            }),
            Event::Metrics { step: Some(step), values } => {
                let mut shown = values.clone();
                let name = if shown.remove("epoch").is_some() { "epoch" } else { "step" };
                self.say(format!("{stage}  {name} {step}: {}", figures(&shown, 6)));
                let row = MetricsRow { step: *step, values: values.clone() };
                self.change(stage, |it| it.history.push(row));
            }
            Event::Metrics { step: None, .. } => {}
            Event::Note { message } => self.say(format!("{stage}  {message}")),
            Event::Warning { message } => self.say(format!("{stage}  warning: {message}")),
            Event::Failed { message, .. } => self.say(format!("{stage}  {message}")),
        }
    }

    fn finished(&mut self, finished: &StageFinished, logged: impl FnOnce() -> LoggedRun) {
        let StageFinished { stage, outcome, seconds: took, metrics, message, .. } = finished;
        let words = match outcome {
            Outcome::Ran | Outcome::Hit => figures(metrics, 4),
            Outcome::Failed | Outcome::Skipped => message.clone().unwrap_or_default(),
        };
        let took_words = match outcome {
            Outcome::Ran => format!("done in {}", seconds(*took)),
            Outcome::Hit => "up to date".to_owned(),
            Outcome::Failed => "failed".to_owned(),
            Outcome::Skipped => "skipped".to_owned(),
        };
        let more = if words.is_empty() { String::new() } else { format!(": {words}") };
        self.say(format!("{stage}  {took_words}{more}"));
        for line in &finished.last_lines {
            self.say(format!("{stage}  | {line}"));
        }
        self.change(stage, |it| {
            it.state = StageState::Ended { outcome: *outcome, seconds: *took };
            (it.words, it.share) = (words, None);
        });
        self.logged = Some(logged());
        self.ends += 1;
    }

    fn change(&mut self, stage: &str, change: impl FnOnce(&mut WatchedStage)) {
        if let Some(place) = self.places.get(stage) {
            change(&mut self.stages[*place]);
        }
    }

    fn say(&mut self, line: String) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}
