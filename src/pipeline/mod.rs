//! The pipeline as the user means it: read, interpolated, overridden, checked. What the engine
//! goes on with holds no YAML and no variable any more.
//!
//! ```text
//! text ─ document ─ overrides ─ variables, matrix ─ stage, inputs, publish, links ─→ Pipeline
//!        (shape)    (profile,    (${name}, foreach)  (names, types, ranges, paths,
//!                    --set)                            cycles)
//! ```
//!
//! All problems of a file are collected on the way and reported together ([`PipelineError`]);
//! nothing runs unless there are none.

mod document;
mod handling;
mod inputs;
mod links;
mod marks;
mod matrix;
mod names;
mod node;
mod overrides;
mod problem;
mod publish;
pub mod remote_settings;
pub mod remotes;
mod request;
pub mod schema;
mod sets;
mod stage;
pub mod sweeps;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stages::Kind;

pub use document::{STAGE_KEYS, TOP_KEYS};
pub use handling::{GPU, Handling};
pub use names::{INPUT_PREFIX, OUTPUT_PREFIX, PARAM_PREFIX, environment_variable};
pub use problem::{Location, PipelineError, Problem};
pub use request::{ExecutorName, REQUEST_KEYS, Request, Transfer};
pub use sets::input_and_entry;

use crate::pipeline::remote_settings::Declared;
use document::Document;
use problem::Problems;
use sweeps::Assignment;
use variables::{Dollar, Variables};

/// The name of the file that is looked for.
pub const PIPELINE_FILE: &str = "pipeline.yaml";

/// `hub:…` and URLs are inputs of their own kind, so no stage can have these names.
const RESERVED_STAGES: [&str; 3] = ["hub", "http", "https"];

/// A checked pipeline.
#[derive(Default, Clone, Debug)]
pub struct Pipeline {
    /// The YAML file.
    pub file: PathBuf,
    /// The project: the folder of the YAML file, absolute. Relative paths start here.
    pub root: PathBuf,
    /// In the order of the file.
    pub stages: Vec<Stage>,
    /// How many there are of each counted thing, where the file says so.
    pub resources: BTreeMap<String, u32>,
    /// Other places that hold results, as the file declares them.
    pub remotes: BTreeMap<String, Declared>,
    /// Where stages run that do not say so themselves.
    pub executor: Option<ExecutorName>,
    /// The names of the file's profiles, applied or not.
    pub profiles: Vec<String>,
}

/// The position of a stage in [`Pipeline::stages`], which is the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageIndex(pub usize);

impl Index<StageIndex> for Pipeline {
    type Output = Stage;

    /// Panics if the index is that of another, longer pipeline.
    fn index(&self, index: StageIndex) -> &Stage {
        &self.stages[index.0]
    }
}

/// One stage with everything filled in.
#[derive(Clone, Debug)]
pub struct Stage {
    pub name: String,
    /// Where the YAML file declares it, counted from 1.
    pub line: usize,
    pub action: Action,
    /// An entry of a set is called `set/entry`, see [`input_and_entry`].
    pub inputs: BTreeMap<String, Input>,
    /// For a built-in complete and canonical, for a command as given.
    pub params: BTreeMap<String, Value>,
    pub outputs: Vec<Output>,
    /// Output name to a path relative to the root.
    pub publish: BTreeMap<String, PathBuf>,
    /// Names of environment variables that a command declares.
    pub env: Vec<String>,
    pub salt: Option<String>,
    /// How it is run; nothing of it enters the key.
    pub handling: Handling,
}

/// What a stage runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Builtin {
        name: String,
        version: u32,
    },
    /// Given to `sh -c`, in the project's folder.
    Command {
        text: String,
    },
}

impl Action {
    /// The name of the built-in, if it is one.
    pub fn builtin(&self) -> Option<&str> {
        match self {
            Action::Builtin { name, .. } => Some(name),
            Action::Command { .. } => None,
        }
    }
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file or folder; absolute (relative ones are joined to the root when resolved).
    Path(PathBuf),
    /// Downloaded once. Verified against its BLAKE3 digest (hexadecimal); a URL without one names
    /// a Git commit in its path, which pins its content as well.
    Url { url: String, blake3: Option<String> },
    /// A model of the Hugging Face hub.
    Hub { repository: String, revision: String },
    /// An artifact of another stage.
    Artifact { stage: String, output: String },
}

/// An output that a stage makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub name: String,
    /// The file or folder name inside the stage's output folder.
    pub file: String,
    /// `None` for a command: whatever it wrote.
    pub kind: Option<Kind>,
}

/// What is laid over the file: first the profile, then each `--set` in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// A key (`variable`, `stage.parameter`, `stage.inputs.name`) and its value as typed.
    pub set: Vec<(String, String)>,
    /// The name of a profile of the file.
    pub profile: Option<String>,
}

/// As an input is written in YAML; a URL without its digest.
impl fmt::Display for Input {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Input::Path(path) => write!(out, "{}", path.display()),
            Input::Url { url, .. } => out.write_str(url),
            Input::Hub { repository, revision } => write!(out, "hub:{repository}@{revision}"),
            Input::Artifact { stage, output } => write!(out, "{stage}:{output}"),
        }
    }
}

/// The `pipeline.yaml` of a folder, or of the nearest one above it.
pub fn find_pipeline_file(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok()?;
    let mut files = start.ancestors().map(|folder| folder.join(PIPELINE_FILE));
    // A folder or a broken link of that name is an error to be told, not to be passed over.
    files.find(|file| file.symlink_metadata().is_ok())
}

impl Pipeline {
    /// Reads a pipeline and checks everything that can be checked before anything runs.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Read`] if the file cannot be read, else [`PipelineError::Invalid`] with
    /// every problem of the file and of the overrides.
    pub fn load(file: &Path, overrides: &Overrides) -> Result<Pipeline, PipelineError> {
        Pipeline::load_with(file, overrides, stages::all())
    }

    /// As [`Pipeline::load`], with other built-in stages than those of this binary.
    pub fn load_with(
        file: &Path,
        overrides: &Overrides,
        registry: &[&dyn stages::Stage],
    ) -> Result<Pipeline, PipelineError> {
        let place = FileText::of(file)?;
        let mut problems = Problems::new(&place.text, overrides, &[]);
        let document = Document::read(&place.text, &mut problems);
        Ok(resolve(document, &[], overrides, &place, registry, problems)?.pipeline)
    }

    /// The `--set` keys that replace a source, for whoever reads it: `train.inputs.model`.
    pub fn keys_of(&self, source: &Input) -> Vec<String> {
        let readers = self.stages.iter().flat_map(|stage| {
            let wired = stage.inputs.iter().filter(|(_, input)| *input == source);
            wired.map(|(name, _)| format!("{}.inputs.{}", stage.name, input_and_entry(name).0))
        });
        readers.collect()
    }

    /// The stage of that name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}

/// A file's text, and where it lies.
struct FileText {
    file: PathBuf,
    absolute: PathBuf,
    root: PathBuf,
    text: String,
}

impl FileText {
    fn of(file: &Path) -> Result<FileText, PipelineError> {
        let unreadable = |source| PipelineError::Read { file: file.to_owned(), source };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let absolute = std::path::absolute(file).map_err(unreadable)?;
        let root = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(FileText { file: file.to_owned(), absolute, root, text })
    }
}

/// A pipeline, and the final values of its variables.
struct Resolved {
    pipeline: Pipeline,
    variables: Variables,
}

/// From the shape of the file to what it means. `combination` is what a sweep lays over it.
fn resolve(
    mut document: Document,
    combination: &[Assignment],
    overrides: &Overrides,
    place: &FileText,
    registry: &[&dyn stages::Stage],
    mut problems: Problems,
) -> Result<Resolved, PipelineError> {
    let FileText { file, absolute, root, .. } = place;
    let profiles = document.profiles.iter().map(|profile| profile.name.clone()).collect();
    let for_variants =
        overrides::apply(&mut document, combination, overrides, registry, &mut problems);
    let vars = std::mem::take(&mut document.vars);
    let variables = Variables::resolve(vars.clone(), &mut problems);
    if combination.is_empty() {
        document.vars = vars;
        sweeps::sweeps_of(&document, &variables, registry, &mut problems);
    }
    let resources = document.resources.take().map_or_else(BTreeMap::new, |mut node| {
        variables.fill(&mut node, Dollar::Pipeline, &mut problems);
        handling::counts(&node, "`resources`", 0, None, &mut problems)
    });
    let remotes = document.remotes.take().map_or_else(BTreeMap::new, |mut node| {
        variables.fill(&mut node, Dollar::Pipeline, &mut problems);
        remotes::of_project(&node, root, &mut problems)
    });
    let executor = document.executor.take().and_then(|mut node| {
        variables.fill(&mut node, Dollar::Pipeline, &mut problems);
        request::executor(&node, "`executor`", None, &mut problems)
    });
    let asked = document.slurm.take().map_or_else(Request::default, |mut node| {
        variables.fill(&mut node, Dollar::Pipeline, &mut problems);
        request::defaults(&node, &mut problems)
    });
    let before = problems.len();
    document.stages = matrix::expand(document.stages, &variables, &mut problems);
    if problems.len() > before {
        // A stage is missing now: whatever reads from it would be called wrong as well.
        return Err(problems.into_error(file));
    }
    overrides::apply_to_variants(&mut document, for_variants, registry, &mut problems);
    let mut drafts = document.stages;
    for draft in &mut drafts {
        stage::fill_variables(draft, &variables, &mut problems);
    }
    let outputs = stage::declared_outputs(&drafts, registry, &mut problems);
    let mut stages = Vec::with_capacity(drafts.len());
    for draft in &drafts {
        let inputs = inputs::resolve(draft, &outputs, root, registry, &mut problems);
        let publish = publish::resolve(draft, &outputs, root, absolute, &mut problems);
        let mut stage = stage::resolve(draft, inputs, publish, &outputs, registry, &mut problems);
        stage.handling.request = std::mem::take(&mut stage.handling.request).or(&asked);
        stages.push(stage);
    }
    handling::check_names(&drafts, &resources, &mut problems);
    links::check(&drafts, &stages, root, &mut problems);
    if !problems.is_empty() {
        return Err(problems.into_error(file));
    }
    let (file, root) = (absolute.clone(), root.clone());
    let pipeline = Pipeline { file, root, stages, resources, remotes, executor, profiles };
    Ok(Resolved { pipeline, variables })
}

impl Stage {
    /// The output of that name.
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// The name without the label of a variant.
    pub fn family(&self) -> &str {
        crate::text::variants::family(&self.name)
    }
}
