//! Finds the model and the parameters of the stages that made it and use it, so that a text is
//! treated exactly as in the pipeline.

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

/// A model, and the parameters that its texts are prepared and classified with.
pub struct FoundModel {
    pub folder: ModelFolder,
    /// The parameters of the pipeline's stages, or the defaults of the built-ins.
    pub ingest: Params,
    pub tokenize: Params,
    pub predict: Params,
}

/// The user's folder, or a temporary folder of links into the store.
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

/// Finds the model that `wanted` names, or the one that `predict` reads.
pub fn find_model(
    wanted: Option<&str>,
    globals: &Globals,
    overrides: &Overrides,
    console: &Console,
) -> Result<FoundModel, Error> {
    let is_folder = |wanted: &str| Path::new(wanted).is_dir();
    if let Some(path) = wanted.filter(|wanted| wanted.contains('/') && !is_folder(wanted)) {
        // With a slash it can only be a path: report why that cannot be opened.
        let path = Path::new(path);
        std::fs::read_dir(path).map_err(FileError::at("opening the model folder", path))?;
    }
    let project = match wanted {
        // A model folder works without a pipeline.
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
        inputs
            .filter_map(|input| maker(input, pipeline))
            .find(|stage| runs_builtin(stage, "tokenize"))
    });
    let ingest = tokenize.zip(pipeline).and_then(|(stage, pipeline)| {
        let mut made_from = stage.inputs.values().filter_map(|input| maker(input, pipeline));
        let direct = made_from.clone().find(|stage| runs_builtin(stage, "ingest"));
        direct.or_else(|| {
            let split = made_from.find(|stage| runs_builtin(stage, "split"))?;
            split
                .inputs
                .values()
                .filter_map(|input| maker(input, pipeline))
                .find(|stage| runs_builtin(stage, "ingest"))
        })
    });
    Ok(FoundModel {
        folder,
        ingest: params("ingest", ingest),
        tokenize: params("tokenize", tokenize),
        predict: params("predict", predict),
    })
}

/// The `predict` stage that reads this model, or else the first one.
fn reader_of<'a>(wanted: Option<&str>, pipeline: &'a Pipeline) -> Option<&'a Stage> {
    let mut readers = pipeline.stages.iter().filter(|stage| runs_builtin(stage, "predict"));
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

fn runs_builtin(stage: &Stage, builtin: &str) -> bool {
    stage.action.builtin() == Some(builtin)
}

/// The stage whose output an input is.
fn maker<'a>(input: &Input, pipeline: &'a Pipeline) -> Option<&'a Stage> {
    match input {
        Input::Artifact { stage, .. } => pipeline.stage(stage),
        _ => None,
    }
}

/// The parameters of the stage, or the defaults of the built-in.
fn params(builtin: &str, stage: Option<&Stage>) -> Params {
    let of_stage = stage.map(|stage| Params(stage.params.clone()));
    let specs = stages::find(builtin).map_or(&[][..], |stage| stage.params());
    // None of these built-ins has a required parameter.
    of_stage
        .or_else(|| Params::resolve(specs, &BTreeMap::new()).ok())
        .unwrap_or(Params(BTreeMap::new()))
}

/// An artifact of the store, linked into a temporary folder under its own file names.
fn linked(artifact: &str, project: &Project, console: &Console) -> Result<ModelFolder, Error> {
    let (record, output) = project.find(artifact, console)?;
    let (_, artifact) = record.output(output, artifact)?;
    Ok(ModelFolder::Linked(LinkedArtifact::new(artifact.content, "model", &project.store)?))
}
