//! Runs a stage as the engine does: resolves and checks the parameters, writes a manifest, and
//! collects the events.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use stages::builtin;
use stages::{Events, Manifest, Params, StageError};
use tempfile::TempDir;

/// A stage to run, with the inputs and parameters that a pipeline would give it.
pub struct Run {
    folder: TempDir,
    uses: &'static str,
    params: BTreeMap<String, Value>,
    inputs: BTreeMap<String, PathBuf>,
    device: &'static str,
    threads: usize,
}

/// The result of a run.
pub struct Done {
    folder: TempDir,
    pub result: Result<(), StageError>,
    /// One JSON object for each event.
    pub events: Vec<Value>,
}

impl Run {
    pub fn new(uses: &'static str) -> Run {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("out")).unwrap();
        Run {
            folder,
            uses,
            params: BTreeMap::new(),
            inputs: BTreeMap::new(),
            device: "cpu",
            threads: 1,
        }
    }

    pub fn param(mut self, name: &str, value: impl Into<Value>) -> Run {
        self.params.insert(name.to_owned(), value.into());
        self
    }

    /// An input with this content.
    pub fn input(self, name: &str, content: impl AsRef<[u8]>) -> Run {
        let path = self.folder.path().join(format!("{name}.in"));
        std::fs::write(&path, content).unwrap();
        self.input_path(name, path)
    }

    pub fn input_path(mut self, name: &str, path: PathBuf) -> Run {
        self.inputs.insert(name.to_owned(), path);
        self
    }

    #[cfg(feature = "model")]
    pub fn device(mut self, device: &'static str) -> Run {
        self.device = device;
        self
    }

    pub fn threads(mut self, threads: usize) -> Run {
        self.threads = threads;
        self
    }

    /// The result of the stage's check of parameters and inputs.
    pub fn check(&self) -> Result<(), String> {
        let stage = stages::find(self.uses).unwrap();
        let wired: Vec<&str> = self.inputs.keys().map(String::as_str).collect();
        stage.check(&self.resolved(), &wired).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn resolved(&self) -> Params {
        Params::resolve(stages::find(self.uses).unwrap().params(), &self.params).unwrap()
    }

    #[track_caller]
    pub fn run(self) -> Done {
        let stage = stages::find(self.uses).unwrap();
        self.check().unwrap();
        let wired = |given: Option<&str>| given.is_none_or(|it| self.inputs.contains_key(it));
        let outputs = stage.outputs().iter().filter(|output| wired(output.given));
        let manifest = Manifest {
            stage: self.uses.to_owned(),
            uses: self.uses.to_owned(),
            version: stage.version(),
            params: self.resolved(),
            inputs: self.inputs.clone(),
            outputs: outputs
                .map(|it| (it.name.to_owned(), self.folder.path().join("out").join(it.name)))
                .collect(),
            state: self.folder.path().join("state"),
            device: self.device.to_owned(),
            threads: self.threads,
        };
        let lines = Lines::default();
        let events = Events::new(lines.clone());
        let result = builtin::run(&manifest, &events);
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let events = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Done { folder: self.folder, result, events }
    }
}

impl Done {
    /// The path of an output. The run must have succeeded.
    #[track_caller]
    pub fn path(&self, output: &str) -> PathBuf {
        if let Err(error) = &self.result {
            panic!("{error}");
        }
        self.folder.path().join("out").join(output)
    }

    #[track_caller]
    pub fn text(&self, output: &str) -> String {
        std::fs::read_to_string(self.path(output)).unwrap()
    }

    #[cfg(feature = "model")]
    #[track_caller]
    pub fn bytes(&self, output: &str) -> Vec<u8> {
        std::fs::read(self.path(output)).unwrap()
    }

    #[track_caller]
    pub fn json(&self, output: &str) -> Value {
        serde_json::from_str(&self.text(output)).unwrap()
    }

    /// The rows of a JSONL output.
    #[track_caller]
    pub fn rows(&self, output: &str) -> Vec<Value> {
        self.text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The names of the outputs that exist.
    pub fn written(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("out")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The message of a failed run, without the test's folder.
    #[track_caller]
    pub fn error(&self) -> String {
        let message = self.result.as_ref().unwrap_err().to_string();
        let folder = std::fs::canonicalize(self.folder.path()).unwrap();
        message
            .replace(&format!("{}/", folder.display()), "")
            .replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// The messages of all warnings.
    pub fn warnings(&self) -> Vec<&str> {
        let warnings = self.events.iter().filter(|event| event["event"] == "warning");
        warnings.filter_map(|event| event["message"].as_str()).collect()
    }
}

/// Collects a test's events.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
