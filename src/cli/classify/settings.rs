//! Which model classifies, and by which parameters: those of the stages that made and use it, so
//! that a text is treated as the pipeline would treat it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stages::Params;

use crate::cli::error::Error;
use crate::cli::linked::LinkedArtifact;
use crate::cli::options::Globals;
use crate::cli::project::{Project, pipeline_file};
use crate::console::Console;
use crate::files::file_error::FileError;
use crate::pipeline::{Input, Overrides, Pipeline, Stage};
use crate::plan::error::PlanError;

/// A model and how to use it.
pub struct Settings {
    pub folder: ModelFolder,
    /// Parameters of the stages of these names, or their defaults.
    pub ingest: Params,
    pub tokenize: Params,
    pub predict: Params,
}

/// A folder of the user's, or links into the store that last as long as this.
pub enum ModelFolder {
    Given(PathBuf),
    Linked(LinkedArtifact),
}

impl ModelFolder {
    pub fn path(&self) -> PathBuf {
        match self {
            ModelFolder::Given(path) => path.clone(),
            ModelFolder::Linked(linked) => linked.path().to_owned(),
        }
    }
}

/// Finds the model that was asked for, or the one that `predict` reads.
pub fn settings(
    wanted: Option<&str>,
    globals: &Globals,
    overrides: &Overrides,
    console: &Console,
) -> Result<Settings, Error> {
    let is_folder = |wanted: &str| Path::new(wanted).is_dir();
    if let Some(path) = wanted.filter(|wanted| wanted.contains('/') && !is_folder(wanted)) {
        // Neither an artifact nor a key is called so.
        let path = Path::new(path);
        std::fs::read_dir(path).map_err(FileError::at("opening the model folder", path))?;
    }
    let project = match wanted {
        // A folder needs no pipeline around it.
        Some(folder) if is_folder(folder) && pipeline_file(globals).is_err() => None,
        _ => Some(Project::load(globals, overrides)?),
    };
    let pipeline = project.as_ref().map(|project| &project.pipeline);
    let predict = pipeline.and_then(|pipeline| reader_of(wanted, pipeline));
    let source = predict.and_then(|stage| stage.inputs.get("model"));
    let folder = match (wanted, source, &project) {
        (Some(folder), ..) if is_folder(folder) => ModelFolder::Given(folder.into()),
        (Some(artifact), _, Some(project)) => linked(artifact, project, console)?,
        (None, Some(Input::Artifact { stage, output }), Some(project)) => {
            linked(&format!("{stage}:{output}"), project, console)?
        }
        (None, Some(source), Some(project)) => {
            let found = project.sources(true, true).find(source).map_err(|source| {
                let (stage, line) =
                    predict.map_or((String::new(), 0), |it| (it.name.clone(), it.line));
                let input = "model".to_owned();
                project.plan_error(PlanError::Input { stage, line, input, source })
            })?;
            ModelFolder::Given(found.ok_or(Error::NoModel)?.path)
        }
        _ => return Err(Error::NoModel),
    };
    let tokenize = predict.zip(pipeline).and_then(|(stage, pipeline)| {
        let inputs = ["test", "valid"].into_iter().filter_map(|name| stage.inputs.get(name));
        inputs.filter_map(|input| maker(input, pipeline)).find(|it| is(it, "tokenize"))
    });
    let ingest = tokenize.zip(pipeline).and_then(|(stage, pipeline)| {
        let mut made_from = stage.inputs.values().filter_map(|input| maker(input, pipeline));
        let direct = made_from.clone().find(|it| is(it, "ingest"));
        direct.or_else(|| {
            let split = made_from.find(|it| is(it, "split"))?;
            split
                .inputs
                .values()
                .filter_map(|input| maker(input, pipeline))
                .find(|it| is(it, "ingest"))
        })
    });
    Ok(Settings {
        folder,
        ingest: params("ingest", ingest),
        tokenize: params("tokenize", tokenize),
        predict: params("predict", predict),
    })
}

/// The stage `predict` that reads this model; of several the first.
fn reader_of<'a>(wanted: Option<&str>, pipeline: &'a Pipeline) -> Option<&'a Stage> {
    let mut readers = pipeline.stages.iter().filter(|stage| is(stage, "predict"));
    match wanted {
        None => readers.next(),
        Some(artifact) => {
            let reads = |stage: &&Stage| match stage.inputs.get("model") {
                Some(Input::Artifact { stage, output }) => format!("{stage}:{output}") == artifact,
                _ => false,
            };
            let exact = readers.clone().find(reads);
            exact.or_else(|| readers.next())
        }
    }
}

fn is(stage: &Stage, builtin: &str) -> bool {
    stage.action.builtin() == Some(builtin)
}

/// The stage that an input comes from.
fn maker<'a>(input: &Input, pipeline: &'a Pipeline) -> Option<&'a Stage> {
    match input {
        Input::Artifact { stage, .. } => pipeline.stage(stage),
        _ => None,
    }
}

/// Those of the stage, or the defaults of the built-in.
fn params(builtin: &str, stage: Option<&Stage>) -> Params {
    let of_stage = stage.map(|stage| Params(stage.params.clone()));
    let specs = stages::find(builtin).map_or(&[][..], |stage| stage.params());
    // None of these built-ins has a parameter that must be given.
    of_stage
        .or_else(|| Params::resolve(specs, &BTreeMap::new()).ok())
        .unwrap_or(Params(BTreeMap::new()))
}

/// An artifact of the store as a folder under its own names.
fn linked(artifact: &str, project: &Project, console: &Console) -> Result<ModelFolder, Error> {
    let (record, output) = project.find(artifact, console)?;
    let (_, artifact) = record.output(output, artifact)?;
    Ok(ModelFolder::Linked(LinkedArtifact::new(artifact.content, "model", &project.store)?))
}
