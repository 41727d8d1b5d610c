//! How a stage is run: `frozen`, `always`, `retries`, `timeout`, `resources`, `executor`. None of it
//! enters a key, since none of it can change a result.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::document::{Draft, check_name};
use super::node::{Content, Entry, Node};
use super::problem::Problems;
use super::request::{self, ExecutorName, REQUEST_KEYS, Request};

/// The resource whose units are the GPUs that CUDA counts from 0.
pub const GPU: &str = "gpu";

/// The keys of a stage that are read here.
pub(super) const KEYS: [&str; 6] =
    ["frozen", "always", "retries", "timeout", "resources", "executor"];

/// How a stage is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// It never runs; its newest record counts as its result.
    pub frozen: bool,
    /// It runs each time, whatever its key says.
    pub always: bool,
    /// How often a failed process is started anew.
    pub retries: u32,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How many of each counted thing (`gpu`) it holds while it runs.
    pub resources: BTreeMap<String, u32>,
    /// Who starts its process; `None`: as the pipeline or the command line say.
    pub executor: Option<ExecutorName>,
    /// What it asks of a scheduler, if it goes to one.
    pub request: Request,
}

impl Handling {
    /// Whether a scheduler runs it, once that is settled.
    pub fn is_elsewhere(&self) -> bool {
        self.executor.is_some_and(|executor| executor != ExecutorName::Local)
    }
}

/// More attempts than anybody means.
const MOST_RETRIES: u64 = 1000;
/// So are more than this of a thing: each is a lock file while it is used.
const MOST_UNITS: u64 = 4096;

/// The handling of a stage. What is wrong is reported, and left at its default.
pub(super) fn resolve(draft: &Draft, problems: &mut Problems) -> Handling {
    let mut handling = Handling::default();
    for Entry { key, key_origin, value } in &draft.handling {
        let stage = &draft.name;
        let found = match key.as_str() {
            "frozen" => truth(value).map(|value| handling.frozen = value),
            "always" => truth(value).map(|value| handling.always = value),
            "retries" => whole(value, 0, MOST_RETRIES).map(|retries| handling.retries = retries),
            "timeout" => duration(value).map(|timeout| handling.timeout = Some(timeout)),
            "executor" => {
                let what = format!("`executor` of stage `{stage}`");
                handling.executor = request::executor(value, &what, Some(stage), problems);
                Some(())
            }
            _ => {
                let what = format!("`resources` of stage `{stage}`");
                handling.resources = counts(value, &what, 1, Some(stage), problems);
                for entry in requested(value) {
                    handling.request.read(entry, &what, Some(stage), problems);
                }
                Some(())
            }
        };
        if found.is_none() {
            let expected = match key.as_str() {
                "frozen" | "always" => "`true` or `false`".to_owned(),
                "retries" => format!("a whole number from 0 to {MOST_RETRIES}"),
                _ => "a duration such as `90s`, `30m` or `2h 15m`".to_owned(),
            };
            let message =
                format!("`{key}` of stage `{stage}` is {}, expected {expected}", shown(value));
            problems.with(value, message).stage(stage);
        }
        if handling.frozen && handling.always {
            let message = format!("stage `{stage}` is both `frozen` and `always`");
            let problem = problems.at(*key_origin, message).stage(stage);
            problem.help("keep one: it never runs, or it runs each time".to_owned());
            handling.always = false;
        }
    }
    handling
}

/// What of `resources` is for a scheduler and counts nothing.
fn requested(node: &Node) -> impl Iterator<Item = &Entry> {
    let entries = match &node.content {
        Content::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().filter(|entry| REQUEST_KEYS.contains(&entry.key.as_str()))
}

/// A map from the names of counted things to how many; within a stage, what is for a scheduler is
/// passed over. `stage` is for messages.
pub(super) fn counts(
    node: &Node,
    what: &str,
    least: u64,
    stage: Option<&str>,
    problems: &mut Problems,
) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    let Content::Map(entries) = &node.content else {
        if !node.is_null() {
            let message = format!("{what} must be a map, not {}", node.what());
            let problem = problems.at(node.origin, message).help("write `{gpu: 1}`".to_owned());
            problem.stage = stage.map(str::to_owned);
        }
        return counts;
    };
    let is_counted =
        |entry: &&Entry| stage.is_none() || !REQUEST_KEYS.contains(&entry.key.as_str());
    for Entry { key, key_origin, value } in entries.iter().filter(is_counted) {
        check_name("resource", key, *key_origin, problems);
        match whole(value, least, MOST_UNITS) {
            Some(count) => drop(counts.insert(key.clone(), count)),
            None => {
                let message = format!(
                    "`{key}` in {what} is {}, expected a whole number from {least} to {MOST_UNITS}",
                    shown(value)
                );
                problems.with(value, message).stage = stage.map(str::to_owned);
            }
        }
    }
    counts
}

/// Names that the top of the file does not declare, if it declares any: most likely a typo.
pub(super) fn check_names(
    drafts: &[Draft],
    declared: &BTreeMap<String, u32>,
    problems: &mut Problems,
) {
    if declared.is_empty() {
        return;
    }
    let known: Vec<&str> = declared.keys().map(String::as_str).collect();
    for draft in drafts {
        let of_stage = draft.handling.iter().filter(|entry| entry.key == "resources");
        for resources in of_stage {
            let Content::Map(entries) = &resources.value.content else { continue };
            let is_unknown = |entry: &&Entry| {
                !declared.contains_key(&entry.key) && !REQUEST_KEYS.contains(&entry.key.as_str())
            };
            for entry in entries.iter().filter(is_unknown) {
                let (name, stage) = (&entry.key, &draft.name);
                let message = format!(
                    "stage `{stage}` wants the resource `{name}`, which is not declared under `resources:`"
                );
                problems.at(entry.key_origin, message).stage(stage).nearest_or_all(name, &known);
            }
        }
    }
}

pub(super) fn truth(node: &Node) -> Option<bool> {
    match node.content {
        Content::Scalar(Value::Bool(value)) => Some(value),
        _ => None,
    }
}

pub(super) fn whole(node: &Node, least: u64, most: u64) -> Option<u32> {
    let Content::Scalar(Value::Number(number)) = &node.content else { return None };
    let number = number.as_u64().filter(|number| (least..=most).contains(number))?;
    u32::try_from(number).ok()
}

pub(super) fn duration(node: &Node) -> Option<Duration> {
    humantime::parse_duration(node.as_text()?).ok().filter(|duration| !duration.is_zero())
}

pub(super) fn shown(node: &Node) -> String {
    match &node.content {
        Content::Scalar(Value::Null) => "nothing".to_owned(),
        Content::Scalar(value) => format!("`{}`", crate::text::values::value_text(value)),
        _ => node.what().to_owned(),
    }
}
