//! Writes runs of the log as files of MLflow's file store: one experiment named after the project, with the
//! parameters of the stages, the metrics by step and the final ones.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use crate::files::digest::Digest;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch;
use crate::results::run_log::LoggedRun;
use crate::run::event::Outcome;
use crate::store::Store;
use crate::text::values::value_text;

/// What MLflow calls the states of a run.
const FINISHED: u8 = 3;
const FAILED: u8 = 4;
const KILLED: u8 = 5;

/// The longest value of a parameter that MLflow reads.
const LONGEST_PARAMETER: usize = 6_000;

/// Writes a run into `folder`. What an earlier call wrote about it is replaced.
pub fn write(
    run: &LoggedRun,
    store: &Store,
    folder: &Path,
    project: &str,
) -> Result<(), FileError> {
    let folder = std::path::absolute(folder).map_err(FileError::at("locating", folder))?;
    // Ids of MLflow are digits for an experiment, and 32 hexadecimal digits for a run.
    let digits = Digest::of_bytes(project.as_bytes()).to_string();
    let digits: String = digits.bytes().map(|byte| char::from(b'0' + byte % 10)).take(18).collect();
    let experiment = folder.join(&digits);
    let began =
        run.began().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let ended = began + Duration::try_from_secs_f64(run.seconds).unwrap_or_default();
    // JSON is YAML.
    put(
        &experiment.join("meta.yaml"),
        &json!({
            "artifact_location": address(&experiment),
            "creation_time": began.as_millis() as u64,
            "experiment_id": digits,
            "last_update_time": began.as_millis() as u64,
            "lifecycle_stage": "active",
            "name": project,
        })
        .to_string(),
    )?;
    let id: String = Digest::of_bytes(run.id.as_bytes()).to_string().chars().take(32).collect();
    let home = experiment.join(&id);
    let failed = run.stages.iter().any(|stage| stage.outcome == Outcome::Failed);
    let status = match (run.interrupted, failed) {
        (true, _) => KILLED,
        (false, true) => FAILED,
        (false, false) => FINISHED,
    };
    put(
        &home.join("meta.yaml"),
        &json!({
            "artifact_uri": address(&home.join("artifacts")),
            "end_time": ended.as_millis() as u64,
            "entry_point_name": "",
            "experiment_id": digits,
            "lifecycle_stage": "active",
            "run_id": id,
            "run_name": run.id,
            "run_uuid": id,
            "source_name": format!("pipe {}", run.command.join(" ")),
            "source_type": 4,
            "source_version": run.git.as_ref().map_or("", |git| &git.commit),
            "start_time": began.as_millis() as u64,
            "status": status,
            "tags": [],
            "user_id": "",
        })
        .to_string(),
    )?;
    for folder in ["metrics", "params", "tags", "artifacts"] {
        let folder = home.join(folder);
        disk::create_folders(&folder).map_err(FileError::at("creating", &folder))?;
    }
    put(&home.join("tags/mlflow.runName"), &run.id)?;
    if let Some(git) = &run.git {
        put(&home.join("tags/mlflow.source.git.commit"), &git.commit)?;
        if let Some(branch) = &git.branch {
            put(&home.join("tags/mlflow.source.git.branch"), branch)?;
        }
    }
    add_stages(run, store, &home, ended.as_millis())
}

fn add_stages(run: &LoggedRun, store: &Store, home: &Path, time: u128) -> Result<(), FileError> {
    for stage in &run.stages {
        let name = plain(&stage.stage);
        let record = stage.key.and_then(|key| store.record(key));
        for (key, value) in record.iter().flat_map(|record| &record.fields.params) {
            let mut value = value_text(value).replace(['\n', '\r'], " ");
            while value.len() > LONGEST_PARAMETER {
                value.pop();
            }
            put(&home.join("params").join(&name).join(plain(key)), &value)?;
        }
        let mut lines: std::collections::BTreeMap<&str, String> = std::collections::BTreeMap::new();
        let history = record.iter().flat_map(|record| &record.history);
        let by_step = history.flat_map(|row| row.values.iter().map(move |value| (value, row.step)));
        let last = stage.metrics.iter().map(|value| (value, 0));
        for ((metric, value), step) in by_step.chain(last) {
            let line = format!("{time} {value} {step}\n");
            lines.entry(metric).or_default().push_str(&line);
        }
        for (metric, lines) in lines {
            put(&home.join("metrics").join(&name).join(plain(metric)), &lines)?;
        }
    }
    Ok(())
}

fn put(file: &Path, text: &str) -> Result<(), FileError> {
    let folder = file.parent().unwrap_or(file);
    disk::create_folders(folder).map_err(FileError::at("creating", folder))?;
    scratch::write_beside(file, text.as_bytes())
}

fn address(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// A name with the characters that MLflow allows.
fn plain(name: &str) -> String {
    let is_allowed = |it: char| it.is_ascii_alphanumeric() || "_-. ".contains(it);
    name.chars().map(|it| if is_allowed(it) { it } else { '_' }).collect()
}
