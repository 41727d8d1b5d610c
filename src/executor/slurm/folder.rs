//! The folder of a stage that Slurm runs, as both the engine and the node read and write it.
//!
//! | file | written by | content |
//! |---|---|---|
//! | `stage.json`, `in/`, `out/` | [`crate::run::prepare`] | as for every executor |
//! | `job.json` | the engine | the process to start |
//! | `submission.json` | the engine, before it submits | the job's name, and its place in an array |
//! | `started.json` | the node | which start is working here now |
//! | `events.jsonl` | the node | the events of the process, one per line |
//! | `result.json` | the node, by rename | how it ended |
//! | `stop` | the engine | the process must end |
//!
//! An array's `<name>.list` lies beside the folders: the path of one folder per line.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stages::Event;

use crate::executor::status::{Elsewhere, ExitStatus, Stop};
use crate::executor::task::{Task, Work};
use crate::files::disk;
use crate::files::file_error::FileError;

/// The folder of one stage.
#[derive(Clone, Debug)]
pub struct JobFolder(pub PathBuf);

/// `job.json`: a [`Task`] in a form that can be sent to a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobFile {
    pub stage: String,
    pub key: String,
    pub program: String,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Variables that entered the key as unset.
    pub unset: Vec<String>,
    pub working_folder: PathBuf,
    pub log: PathBuf,
    pub output_is_events: bool,
    pub limit_seconds: Option<f64>,
    /// Whether the job asks for another turn when its time is nearly up.
    pub requeue: bool,
    /// For how long the node waits for files that must exist.
    pub late_seconds: f64,
    pub store: PathBuf,
    /// The parcel's name, if the stage travels through a remote.
    #[serde(default)]
    pub parcel: Option<String>,
}

/// `submission.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    pub name: String,
    pub index: Option<u32>,
}

/// `started.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Unique to this start.
    pub token: String,
    pub host: String,
    /// The job's ID in Slurm: `17`, `17_3`.
    pub job: Option<String>,
}

/// `result.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobResult {
    pub status: ExitStatus,
    pub elsewhere: Elsewhere,
    /// The scheduler told it to end; only the scheduler knows why.
    pub told: bool,
}

/// A line of `events.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Began { began: Started },
    Says(Event),
}

impl JobFolder {
    pub fn job_file(&self) -> PathBuf {
        self.0.join("job.json")
    }

    pub fn events_file(&self) -> PathBuf {
        self.0.join("events.jsonl")
    }

    pub fn result_file(&self) -> PathBuf {
        self.0.join("result.json")
    }

    fn stop_file(&self) -> PathBuf {
        self.0.join("stop")
    }

    /// What was submitted for this stage, if anything.
    pub fn submission(&self) -> Option<Submission> {
        read(&self.0.join("submission.json")).ok()?
    }

    /// Written in one piece: a job that starts at once reads it.
    pub fn write_submission(&self, submission: &Submission) -> Result<(), FileError> {
        write(&self.0.join("submission.json"), submission)
    }

    pub fn started(&self) -> Option<Started> {
        read(&self.0.join("started.json")).ok()?
    }

    /// As [`JobFolder::started`], but returns errors of the file system, which may be temporary.
    pub fn try_started(&self) -> io::Result<Option<Started>> {
        read(&self.0.join("started.json"))
    }

    pub fn write_started(&self, started: &Started) -> Result<(), FileError> {
        write(&self.0.join("started.json"), started)
    }

    pub fn result(&self) -> Option<JobResult> {
        read(&self.result_file()).ok()?
    }

    pub fn write_result(&self, result: &JobResult) -> Result<(), FileError> {
        write(&self.result_file(), result)
    }

    /// Writes the result of this start, unless another one has taken the folder over.
    pub fn write_result_of(&self, start: &Started, result: &JobResult) -> Result<(), FileError> {
        match self.started().as_ref() == Some(start) {
            true => self.write_result(result),
            false => Ok(()),
        }
    }

    pub fn job(&self) -> io::Result<Option<JobFile>> {
        read(&self.job_file())
    }

    pub fn write_job(&self, job: &JobFile) -> Result<(), FileError> {
        write(&self.job_file(), job)
    }

    /// What [`JobFolder::tell_to_stop`] has asked for.
    pub fn told_to_stop(&self) -> Option<Stop> {
        let text = fs::read_to_string(self.stop_file()).ok()?;
        Some(if text.starts_with("now") { Stop::Now } else { Stop::Politely })
    }

    /// Asks the job to stop, even when the controller cannot be reached.
    pub fn tell_to_stop(&self, how: Stop) {
        let text = if how == Stop::Now { "now\n" } else { "politely\n" };
        // If this fails, `scancel` still reaches the job.
        let _ = disk::create_file(&self.stop_file())
            .and_then(|file| disk::write_all(&file, text.as_bytes(), &self.stop_file()));
    }

    /// Removes what an earlier start has left, so that another start can begin.
    pub fn clear(&self) -> Result<(), FileError> {
        for file in ["result.json", "stop"].map(|name| self.0.join(name)) {
            match disk::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::at("removing", &file)(error));
                }
                _ => {}
            }
        }
        let outputs = self.0.join("out");
        match disk::remove_folders(&outputs) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::at("removing", &outputs)(error));
            }
            _ => {}
        }
        disk::create_folder(&outputs).map_err(FileError::at("making the folder", &outputs))
    }
}

impl JobFile {
    /// The task in a form that can be sent. `late_seconds`: how long its files may take to become
    /// visible on a node.
    ///
    /// # Errors
    ///
    /// An argument, a variable or a path is not UTF-8.
    pub fn of(task: &Task, store: &Path, late_seconds: f64) -> Result<JobFile, FileError> {
        let text = |text: &std::ffi::OsStr| {
            text.to_str().map(str::to_owned).ok_or_else(|| {
                FileError::found("handing over", Path::new(text), "its name is not UTF-8")
            })
        };
        let Work { stage, key, request, limit, declared, .. } = &task.work;
        let mut environment = Vec::new();
        let mut unset = Vec::new();
        for name in declared {
            match std::env::var_os(name) {
                Some(value) => environment.push((name.clone(), text(&value)?)),
                None => unset.push(name.clone()),
            }
        }
        for (name, value) in &task.environment {
            environment.push((name.clone(), text(value)?));
        }
        Ok(JobFile {
            stage: stage.clone(),
            key: key.to_string(),
            program: text(task.program.as_os_str())?,
            arguments: task.arguments.iter().map(|it| text(it)).collect::<Result<_, _>>()?,
            environment,
            unset,
            working_folder: task.working_folder.clone(),
            log: task.log.clone(),
            output_is_events: task.output_is_events,
            limit_seconds: limit.map(|limit| limit.as_secs_f64()),
            requeue: request.requeue == Some(true),
            late_seconds,
            store: store.to_owned(),
            parcel: None,
        })
    }
}

/// `None` if the file does not exist or is incomplete.
fn read<T: DeserializeOwned>(file: &Path) -> io::Result<Option<T>> {
    match fs::read(file) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write<T: Serialize>(file: &Path, value: &T) -> Result<(), FileError> {
    let text =
        serde_json::to_vec(value).map_err(|error| FileError::at("writing", file)(error.into()))?;
    crate::files::scratch::write_beside(file, &text)
}

/// Reads the new lines of a file that another host writes.
#[derive(Debug, Default)]
pub struct Tail {
    read_bytes: u64,
    /// The beginning of a line whose end has not been written yet.
    partial: Vec<u8>,
}

impl Tail {
    /// The complete lines since the last call. Lines of another format are skipped.
    pub fn lines(&mut self, file: &Path) -> Vec<Line> {
        let length = fs::metadata(file).map_or(0, |metadata| metadata.len());
        if length <= self.read_bytes {
            return Vec::new();
        }
        let mut bytes = Vec::new();
        let read = File::open(file).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read_bytes))?;
            file.take(length - self.read_bytes).read_to_end(&mut bytes)
        });
        self.read_bytes += read.map_or(0, |read| read as u64);
        self.partial.extend_from_slice(&bytes);
        let whole = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.partial.split_off(whole);
        let lines = std::mem::replace(&mut self.partial, rest);
        lines
            .split(|byte| *byte == b'\n')
            .filter_map(|it| serde_json::from_slice(it).ok())
            .collect()
    }
}
