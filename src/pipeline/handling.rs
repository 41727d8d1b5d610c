//! Reads how a stage runs: `frozen`, `always`, `retries`, `timeout`, `resources`, `executor`. None
//! of it enters a key, since none of it can change a result.

use std::collections::BTreeMap;

use super::document::Draft;
use super::model::Handling;
use super::names::check_name;
use super::problem::Problems;
use super::read_request::{read_executor, read_request_key};
use super::request::REQUEST_KEYS;
use super::scalars::{duration, shown, truth, whole};
use super::yaml::{YamlEntry, YamlNode, YamlValue};

/// Upper bound on `retries`: more is surely a typo.
const MOST_RETRIES: u64 = 1000;
/// Upper bound on the units of a resource: each unit in use is a lock file.
const MOST_UNITS: u64 = 4096;

/// Reads how a stage runs. A setting with a mistake is reported and keeps its default.
pub(super) fn read_handling(draft: &Draft, problems: &mut Problems) -> Handling {
    let mut handling = Handling::default();
    for YamlEntry { key, key_origin, value } in &draft.handling {
        let stage = &draft.name;
        let found = match key.as_str() {
            "frozen" => truth(value).map(|value| handling.frozen = value),
            "always" => truth(value).map(|value| handling.always = value),
            "retries" => whole(value, 0, MOST_RETRIES).map(|retries| handling.retries = retries),
            "timeout" => duration(value).map(|timeout| handling.timeout = Some(timeout)),
            "executor" => {
                let what = format!("`executor` of stage `{stage}`");
                handling.executor = read_executor(value, &what, Some(stage), problems);
                Some(())
            }
            _ => {
                let what = format!("`resources` of stage `{stage}`");
                handling.resources = read_counts(value, &what, 1, Some(stage), problems);
                for entry in requested(value) {
                    read_request_key(&mut handling.request, entry, &what, Some(stage), problems);
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
            problem.help(
                "keep one: `frozen` never runs the stage, `always` runs it every time".to_owned(),
            );
            handling.always = false;
        }
    }
    handling
}

/// The entries of `resources` that are requests to a scheduler, not counts.
fn requested(node: &YamlNode) -> impl Iterator<Item = &YamlEntry> {
    let entries = match &node.content {
        YamlValue::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().filter(|entry| REQUEST_KEYS.contains(&entry.key.as_str()))
}

/// Reads a map from resources to counts. Within a `stage`, skips the requests to a scheduler.
pub(super) fn read_counts(
    node: &YamlNode,
    what: &str,
    least: u64,
    stage: Option<&str>,
    problems: &mut Problems,
) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    let YamlValue::Map(entries) = &node.content else {
        if !node.is_null() {
            let message = format!("{what} must be a map, not {}", node.what());
            let problem = problems.at(node.origin, message).help("write `{gpu: 1}`".to_owned());
            problem.stage = stage.map(str::to_owned);
        }
        return counts;
    };
    let is_counted =
        |entry: &&YamlEntry| stage.is_none() || !REQUEST_KEYS.contains(&entry.key.as_str());
    for YamlEntry { key, key_origin, value } in entries.iter().filter(is_counted) {
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

/// Reports resources that the file does not declare under `resources:`, unless it declares none.
pub(super) fn check_resource_names(
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
            let YamlValue::Map(entries) = &resources.value.content else { continue };
            let is_unknown = |entry: &&YamlEntry| {
                !declared.contains_key(&entry.key) && !REQUEST_KEYS.contains(&entry.key.as_str())
            };
            for entry in entries.iter().filter(is_unknown) {
                let (name, stage) = (&entry.key, &draft.name);
                let message = format!(
                    "stage `{stage}` wants the resource `{name}`, which is not declared under \
                     `resources:`"
                );
                problems.at(entry.key_origin, message).stage(stage).nearest_or_all(name, &known);
            }
        }
    }
}
