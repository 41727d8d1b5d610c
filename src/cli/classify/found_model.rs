//! Finds the model and the parameters of the stages that made it and use it, so that a text is
//! treated exactly as in the pipeline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stages::Params;
use stages::builtin::classify::TextClassifier;
use stages::builtin::ingest::params::IngestParams;
use stages::model::config::{ModelConfig, TextWindows};

use crate::cli::error::Error;
use crate::cli::linked::LinkedArtifact;
use crate::cli::options::Globals;
use crate::cli::project::{Project, pipeline_file};
use crate::console::Console;
use crate::files::file_error::FileError;
use crate::pipeline::{Input, Overrides, Pipeline, Stage};
use crate::plan::error::PlanError;
use crate::plan::reason::origin;
use crate::store::record::Record;

/// The stages that prepare texts where no pipeline says how: the defaults of the built-ins, but with
/// all turns of a context, since whoever gives one means it.
const DEFAULTS: &str = "
stages:
  ingest: {inputs: {test: texts.jsonl}}
  tokenize: {inputs: {model: model, test: ingest:test}, params: {context: all}}
  predict: {inputs: {model: model, test: tokenize:test}}
";

/// A model, and the parameters that its texts are prepared and classified with.
pub struct FoundModel {
    pub folder: ModelFolder,
    /// The project that it was found in, or whose parameters it uses.
    pub project: Option<Project>,
    /// The parameters of the pipeline's stages, or defaults.
    pub ingest: Params,
    pub tokenize: Params,
    pub predict: Params,
}

impl FoundModel {
    /// The same with another precision, if one is given.
    pub fn with_precision(mut self, precision: Option<&str>) -> FoundModel {
        if let Some(precision) = precision {
            self.predict.0.insert("precision".to_owned(), precision.into());
        }
        self
    }

    /// Loads the model, which stays loaded, and says how its texts are cleaned.
    pub fn open(&self, device: &str) -> Result<(TextClassifier, IngestParams), Error> {
        let folder = self.folder.path();
        let classifier = TextClassifier::open(&folder, &self.tokenize, &self.predict, device);
        let classifier = classifier.map_err(|error| Error::Classify(Box::new(error)))?;
        Ok((classifier, IngestParams::of(&self.ingest)))
    }
}

/// The user's folder, or a temporary folder of links into the store.
pub enum ModelFolder {
    Given(PathBuf),
    Linked(Box<StoredModel>),
}

/// A model of the store.
pub struct StoredModel {
    link: LinkedArtifact,
    /// How it was made.
    pub record: Record,
    pub output: String,
}

impl ModelFolder {
    pub fn path(&self) -> PathBuf {
        match self {
            ModelFolder::Given(path) => path.clone(),
            ModelFolder::Linked(stored) => stored.link.path().to_owned(),
        }
    }
}

/// Finds the model that `wanted` names, or the only one of the pipeline. A model folder needs no
/// pipeline; what a pipeline was made from may be gone.
pub fn find_model(
    wanted: Option<&str>,
    globals: &Globals,
    overrides: &Overrides,
    console: &Console,
) -> Result<FoundModel, Error> {
    let is_folder = |wanted: &&str| Path::new(wanted).is_dir();
    if let Some(path) = wanted.filter(|wanted| wanted.contains('/') && !is_folder(wanted)) {
        // With a slash it can only be a path: report why that cannot be opened.
        let path = Path::new(path);
        std::fs::read_dir(path).map_err(FileError::at("opening the model folder", path))?;
    }
    let given = wanted.filter(is_folder);
    let project = match given {
        Some(_) => project_around(globals, overrides, console)?,
        None => Some(Project::load_for_results(globals, overrides)?),
    };
    // Without a project the overrides are for the defaults.
    let none = Overrides::default();
    let of_defaults = if project.is_some() { &none } else { overrides };
    let defaults = Pipeline::without_file(DEFAULTS, of_defaults)?;
    let pipeline = project.as_ref().map_or(&defaults, |project| &project.pipeline);
    let (predict, folder) = match (given, wanted, &project) {
        (Some(folder), ..) => (reader_of(None, pipeline), ModelFolder::Given(folder.into())),
        (None, Some(artifact), Some(project)) => {
            (reader_of(Some(artifact), pipeline), linked(artifact, project, console)?)
        }
        (None, None, Some(project)) => {
            let (name, model) = only_model(pipeline)?;
            (reader_of(Some(&name), pipeline), folder_of(&model, &name, project, console)?)
        }
        (None, _, None) => return Err(Error::NoModel),
    };
    let tokenize = predict.and_then(|stage| {
        let inputs = ["test", "valid"].into_iter().filter_map(|name| stage.inputs.get(name));
        let mut makers = inputs.filter_map(|input| maker(input, pipeline));
        makers.find(|stage| runs_builtin(stage, "tokenize"))
    });
    let ingest = tokenize.and_then(|stage| ingest_before(stage, pipeline));
    let stage = |builtin: &str, found: Option<&Stage>| {
        let any = |pipeline: &Pipeline| -> Option<Stage> {
            pipeline.stages.iter().find(|stage| runs_builtin(stage, builtin)).cloned()
        };
        found.cloned().or_else(|| any(pipeline)).or_else(|| any(&defaults))
    };
    let params = |builtin: &str, found: Option<&Stage>| {
        Params(stage(builtin, found).map(|stage| stage.params).unwrap_or_default())
    };
    let tokenize = params("tokenize", tokenize);
    let tokenize = match project {
        Some(_) => tokenize,
        None => with_windows(tokenize, &folder.path()),
    };
    let (ingest, predict) = (params("ingest", ingest), params("predict", predict));
    Ok(FoundModel { folder, project, ingest, tokenize, predict })
}

/// The parameters of `tokenize`, with the windows of a model that was trained on those of long texts.
/// What the user gives comes first.
fn with_windows(mut tokenize: Params, folder: &Path) -> Params {
    // A config that cannot be read is reported when the model is loaded.
    let windows = ModelConfig::read(folder).ok().and_then(|config| config.head.windows);
    let Some(TextWindows { length, stride, .. }) = windows else { return tokenize };
    for (name, value) in [("max_length", length), ("window_stride", stride)] {
        if tokenize.optional_int(name).is_none() {
            tokenize.0.insert(name.to_owned(), value.into());
        }
    }
    tokenize
}

/// The pipeline here or above, for its parameters. One that is invalid does not matter to somebody
/// who names a model folder, and neither the pipeline nor anything of it.
fn project_around(
    globals: &Globals,
    overrides: &Overrides,
    console: &Console,
) -> Result<Option<Project>, Error> {
    if globals.file.is_none() && pipeline_file(globals).is_err() {
        return Ok(None);
    }
    match Project::load_for_results(globals, overrides) {
        Ok(project) => Ok(Some(project)),
        Err(error) if globals.file.is_some() || *overrides != Overrides::default() => Err(error),
        Err(_) => {
            console.warning(
                "the pipeline is invalid, so the defaults say how texts are read and tokenized \
                 (`pipe status` shows what is wrong)",
            );
            Ok(None)
        }
    }
}

/// The only model of a pipeline, with its name: the one that all `predict` read, or that the only
/// `finetune` makes.
fn only_model(pipeline: &Pipeline) -> Result<(String, Input), Error> {
    let of = |builtin: &'static str| {
        pipeline.stages.iter().filter(move |stage| runs_builtin(stage, builtin))
    };
    let read = of("predict").filter_map(|stage| stage.inputs.get("model").cloned());
    let mut models: BTreeMap<String, Input> = read.map(|input| (origin(&input), input)).collect();
    if models.is_empty() {
        let made = of("finetune")
            .map(|stage| Input::Artifact { stage: stage.name.clone(), output: "model".to_owned() });
        models = made.map(|input| (origin(&input), input)).collect();
    }
    match models.len() {
        1 => models.pop_first().ok_or(Error::NoModel),
        0 => Err(Error::NoModel),
        _ => Err(Error::ManyModels { models: models.into_keys().collect() }),
    }
}

/// The folder of a model that a pipeline names.
fn folder_of(
    model: &Input,
    name: &str,
    project: &Project,
    console: &Console,
) -> Result<ModelFolder, Error> {
    if let Input::Artifact { .. } = model {
        return linked(name, project, console);
    }
    let found = project.sources(true, true).find(model).map_err(|source| {
        let reader = reader_of(Some(name), &project.pipeline);
        let (stage, line) = reader.map(|it| (it.name.clone(), it.line)).unwrap_or_default();
        project.plan_error(PlanError::Input { stage, line, input: "model".to_owned(), source })
    })?;
    Ok(ModelFolder::Given(found.ok_or(Error::NoModel)?.path))
}

/// The `ingest` whose examples `tokenize` reads, directly or through a `split`.
fn ingest_before<'a>(tokenize: &Stage, pipeline: &'a Pipeline) -> Option<&'a Stage> {
    let makers = |stage: &Stage| -> Vec<&'a Stage> {
        stage.inputs.values().filter_map(|input| maker(input, pipeline)).collect()
    };
    let ingest =
        |stages: Vec<&'a Stage>| stages.into_iter().find(|stage| runs_builtin(stage, "ingest"));
    let made_from = makers(tokenize);
    let split = made_from.iter().find(|stage| runs_builtin(stage, "split")).copied();
    ingest(made_from).or_else(|| ingest(makers(split?)))
}

/// The `predict` stage that reads the model of this name, or else the first one.
fn reader_of<'a>(name: Option<&str>, pipeline: &'a Pipeline) -> Option<&'a Stage> {
    let mut readers = pipeline.stages.iter().filter(|stage| runs_builtin(stage, "predict"));
    let reads = |stage: &&Stage| stage.inputs.get("model").map(origin).as_deref() == name;
    readers.clone().find(reads).or_else(|| readers.next())
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

/// An artifact of the store, linked into a temporary folder under its own file names.
fn linked(artifact: &str, project: &Project, console: &Console) -> Result<ModelFolder, Error> {
    let (record, output) = project.find(artifact, console)?;
    let (output, artifact) = record.output(output, artifact)?;
    let link = LinkedArtifact::new(artifact.content, "model", &project.store)?;
    Ok(ModelFolder::Linked(Box::new(StoredModel { link, record, output })))
}
