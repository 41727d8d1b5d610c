//! The folder in which a stage's process finds everything that it may know: links to its inputs, a
//! place for its outputs, and its manifest or its environment variables.
//!
//! ```text
//! cache/tmp/<process>/<n>/stage.json   for a built-in
//! cache/tmp/<process>/<n>/in/<input>   a link, or a folder for links, to objects or sources; of
//!                                      a set of inputs, a folder with one of these per entry
//! cache/tmp/<process>/<n>/out/<file>   what the stage writes
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stages::{Kind, Manifest, Params};

use crate::executor::task::{Task, Work};
use crate::files::digest::Content;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::pipeline::{
    Action, ExecutorName, INPUT_PREFIX, OUTPUT_PREFIX, PARAM_PREFIX, Stage, environment_variable,
    input_and_entry,
};
use crate::plan::inputs::{InputLocation, KeyedStage};
use crate::run::context::RunContext;
use crate::run::nested;
use crate::store::Store;

/// A stage that is ready to start.
pub struct Prepared {
    pub task: Task,
    /// The path of each output, by the output's name.
    pub outputs: BTreeMap<String, PathBuf>,
}

impl Prepared {
    /// Makes sure that the outputs can be read and moved, whatever permissions the stage gave them,
    /// and that they are still in the folder made for them: a link there would lead to files of the
    /// user, which must not be moved.
    pub fn open_outputs(&self) -> Result<(), FileError> {
        let folder = &self.task.work.folder;
        let outputs = folder.join("out");
        for folder in [folder, &outputs] {
            match disk::allow_owner(folder) {
                // The missing outputs are told by name.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Ok(metadata) if !metadata.is_dir() => {
                    let problem = "the stage has put something else in its place";
                    return Err(FileError::found("reading", folder, problem));
                }
                other => other.map_err(FileError::in_store("opening", folder))?,
            };
        }
        disk::open_up(&outputs).map_err(FileError::in_store("opening", &outputs))
    }
}

/// Prepares `folder`, which must not exist yet.
pub fn prepare(
    stage: &Stage,
    resolved: &KeyedStage,
    folder: &Path,
    context: &RunContext,
) -> Result<Prepared, FileError> {
    let log = context.store.log_file(&stage.name, resolved.key);
    let state = context.store.state_folder(resolved.key);
    prepare_with(stage, resolved, folder, log, state, context)
}

/// As [`prepare`], for a folder that an earlier engine has already prepared.
pub fn prepared_before(
    stage: &Stage,
    resolved: &KeyedStage,
    folder: &Path,
    context: &RunContext,
) -> Prepared {
    let log = context.store.log_file(&stage.name, resolved.key);
    let outputs = output_paths(stage, folder);
    let inputs = input_paths(resolved, folder);
    let task = task(stage, resolved, folder, log, (&inputs, &outputs), context);
    Prepared { task, outputs }
}

/// As [`prepare`], with the log and the checkpoints outside of the store.
pub fn prepare_with(
    stage: &Stage,
    resolved: &KeyedStage,
    folder: &Path,
    log: PathBuf,
    state: PathBuf,
    context: &RunContext,
) -> Result<Prepared, FileError> {
    let (inputs_folder, outputs_folder) = (folder.join("in"), folder.join("out"));
    for made in [folder, &inputs_folder, &outputs_folder] {
        disk::create_folder(made).map_err(FileError::at("making the folder", made))?;
    }
    for (key, place) in &resolved.inputs {
        let link = inputs_folder.join(key);
        if input_and_entry(key).1.is_some() {
            make_parent(&link)?;
        }
        link_input(place, &link, context.store)?;
    }
    let (inputs, outputs) = (input_paths(resolved, folder), output_paths(stage, folder));
    make_parent(&log)?;
    let task = task(stage, resolved, folder, log, (&inputs, &outputs), context);
    if let Action::Builtin { name, version } = &stage.action {
        disk::create_folders(&state).map_err(FileError::at("making the folder", &state))?;
        let manifest = Manifest {
            stage: stage.name.clone(),
            uses: name.clone(),
            version: *version,
            params: Params(stage.params.clone()),
            inputs,
            outputs: outputs.clone(),
            state,
            device: context.device.to_owned(),
            threads: context.threads,
        };
        let file = folder.join(MANIFEST);
        // Paths that are not UTF-8 cannot be written as JSON.
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| FileError::at("writing", &file)(error.into()))?;
        disk::write_new(&file, &text).map_err(FileError::at("writing", &file))?;
    }
    Ok(Prepared { task, outputs })
}

/// The manifest's name in the folder of a built-in stage.
const MANIFEST: &str = "stage.json";

/// The process of a stage whose folder is prepared.
fn task(
    stage: &Stage,
    resolved: &KeyedStage,
    folder: &Path,
    log: PathBuf,
    (inputs, outputs): (&BTreeMap<String, PathBuf>, &BTreeMap<String, PathBuf>),
    context: &RunContext,
) -> Task {
    let handling = &stage.handling;
    let work = Work {
        stage: stage.name.clone(),
        key: resolved.key,
        folder: folder.to_owned(),
        executor: handling.executor.unwrap_or(ExecutorName::Local),
        request: handling.request.clone(),
        limit: handling.timeout,
        declared: stage.env.clone(),
    };
    let working_folder = context.pipeline.root.clone();
    match &stage.action {
        Action::Builtin { .. } => Task {
            work,
            program: context.binary.to_owned(),
            arguments: vec!["stage".into(), folder.join(MANIFEST).into()],
            environment: vec![nested::variable(context.store)],
            working_folder,
            log,
            output_is_events: true,
            ends_by_term: false,
        },
        Action::Command { text } => Task {
            work,
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), text.into()],
            environment: environment(stage, inputs, outputs, context.store),
            working_folder,
            log,
            output_is_events: false,
            ends_by_term: false,
        },
    }
}

fn input_paths(resolved: &KeyedStage, folder: &Path) -> BTreeMap<String, PathBuf> {
    let names = resolved.inputs.keys().map(|key| input_and_entry(key).0);
    names.map(|name| (name.to_owned(), folder.join("in").join(name))).collect()
}

fn output_paths(stage: &Stage, folder: &Path) -> BTreeMap<String, PathBuf> {
    let path = |file: &str| folder.join("out").join(file);
    stage.outputs.iter().map(|output| (output.name.clone(), path(&output.file))).collect()
}

fn make_parent(path: &Path) -> Result<(), FileError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    disk::create_folders(folder).map_err(FileError::at("making the folder", folder))
}

fn link_input(place: &InputLocation, link: &Path, store: &Store) -> Result<(), FileError> {
    match place {
        InputLocation::Source(found) => make_link(&found.path, link),
        InputLocation::Object { artifact, .. } => link_artifact(artifact.content, link, store),
    }
}

/// Makes `link` lead to an artifact: a link for a file, a folder of links for a folder.
pub fn link_artifact(content: Content, link: &Path, store: &Store) -> Result<(), FileError> {
    let object = store.object(content);
    if content.kind == Kind::File {
        return make_link(&object, link);
    }
    let tree = store.tree(content);
    let tree = tree.ok_or_else(|| FileError::found("reading", &object, "it is damaged"))?;
    disk::create_folder(link).map_err(FileError::at("making the folder", link))?;
    for (relative, file) in &tree.files {
        let path = link.join(relative);
        make_parent(&path)?;
        make_link(&store.object(file.content()), &path)?;
    }
    for relative in &tree.empty_folders {
        let path = link.join(relative);
        disk::create_folders(&path).map_err(FileError::at("making the folder", &path))?;
    }
    Ok(())
}

fn make_link(target: &Path, link: &Path) -> Result<(), FileError> {
    disk::symlink(target, link).map_err(FileError::at("linking", link))
}

/// The variables `IN_…`, `OUT_…` and `PARAM_…` of a command, and the one that [`nested`] reads.
fn environment(
    stage: &Stage,
    inputs: &BTreeMap<String, PathBuf>,
    outputs: &BTreeMap<String, PathBuf>,
    store: &Store,
) -> Vec<(String, OsString)> {
    let paths = |prefix: &'static str, paths: &BTreeMap<String, PathBuf>| -> Vec<_> {
        paths.iter().map(|(name, path)| (environment_variable(prefix, name), path.into())).collect()
    };
    let mut variables = paths(INPUT_PREFIX, inputs);
    variables.extend(paths(OUTPUT_PREFIX, outputs));
    variables.push(nested::variable(store));
    let params = stage.params.iter();
    variables.extend(params.map(|(name, value)| {
        (environment_variable(PARAM_PREFIX, name), OsString::from(param_text(value)))
    }));
    variables
}

/// A string as it is, an empty string for null, anything else as JSON.
fn param_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
