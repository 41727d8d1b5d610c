//! What an executor is asked to start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::pipeline::{ExecutorName, Request};
use crate::store::key::Key;

/// One process to start.
#[derive(Clone, Debug)]
pub struct Task {
    /// The stage it belongs to, and where it is to run.
    pub work: Work,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Added to the environment of the engine.
    pub environment: Vec<(String, OsString)>,
    pub working_folder: PathBuf,
    /// Receives standard error, and also standard output unless that carries events.
    pub log: PathBuf,
    pub output_is_events: bool,
    /// If the engine dies, end the process by SIGTERM instead of SIGKILL: a killed `srun` would
    /// leave its step behind.
    pub ends_by_term: bool,
}

/// What an executor knows of a stage besides its process.
#[derive(Clone, Debug)]
pub struct Work {
    pub stage: String,
    pub key: Key,
    /// The folder with everything that belongs to the process: its manifest, its inputs, its
    /// outputs.
    pub folder: PathBuf,
    pub executor: ExecutorName,
    pub request: Request,
    /// How long the stage may take. Only some executors enforce it ([`super::Executor::keeps_time`]).
    pub limit: Option<Duration>,
    /// The names of the environment variables that entered its key.
    pub declared: Vec<String>,
}
