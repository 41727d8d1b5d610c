//! Loads a pipeline: reads the file, applies overrides, fills in variables, expands variants,
//! builds every stage, and checks the stages against each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use super::document::{Document, Draft, FileText};
use super::handling::{check_resource_names, read_counts};
use super::inputs::read_inputs;
use super::kept_tree::KeptTree;
use super::links;
use super::matrix;
use super::model::{Overrides, Pipeline, Stage};
use super::outputs::{Outputs, declared_outputs};
use super::overrides::{self, Assignment};
use super::problem::{PipelineError, Problems};
use super::publications::read_publications;
use super::read_request::{read_executor, read_slurm_defaults};
use super::remotes::project_remotes;
use super::request::Request;
use super::stage::{build_stage, fill_variables};
use super::sweeps::{Combination, read_sweeps};
use super::variables::{Dollar, Variables};
use super::yaml::YamlNode;
use crate::files::threads;
use crate::text::variants::matches;

/// The default name of the pipeline file.
pub const PIPELINE_FILE: &str = "pipeline.yaml";

/// The `pipeline.yaml` in `start`, or in the nearest folder above it.
pub fn find_pipeline_file(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok()?;
    let mut files = start.ancestors().map(|folder| folder.join(PIPELINE_FILE));
    // A folder or a broken link of that name counts, so that loading it reports the error.
    files.find(|file| file.symlink_metadata().is_ok())
}

impl Pipeline {
    /// Reads a pipeline and checks everything that can be checked before a stage runs.
    ///
    /// # Errors
    ///
    /// [`PipelineError::Read`] if the file cannot be read, else [`PipelineError::Invalid`] with
    /// every problem of the file and of the overrides.
    pub fn load(file: &Path, overrides: &Overrides) -> Result<Pipeline, PipelineError> {
        Pipeline::load_with(file, overrides, stages::all())
    }

    /// Like [`Pipeline::load`], with `registry` in place of the built-in stages of this binary.
    pub fn load_with(
        file: &Path,
        overrides: &Overrides,
        registry: &[&dyn stages::Stage],
    ) -> Result<Pipeline, PipelineError> {
        let source = FileText::read(file)?;
        Pipeline::of_text(&source, None, overrides, registry, true)
    }

    /// Like [`Pipeline::load`], from the tree in `kept` where it is that of the file. Unless
    /// `sources_needed`, it is no problem if the sources are gone.
    pub fn load_kept(
        file: &Path,
        kept: &mut KeptTree,
        overrides: &Overrides,
        sources_needed: bool,
    ) -> Result<Pipeline, PipelineError> {
        let source = FileText::read(file)?;
        Pipeline::of_text(&source, Some(kept), overrides, stages::all(), sources_needed)
    }

    /// A pipeline that stands in no file, for its parameters: its sources need not exist.
    pub fn without_file(text: &str, overrides: &Overrides) -> Result<Pipeline, PipelineError> {
        let source = FileText::nowhere(text);
        Pipeline::of_text(&source, None, overrides, stages::all(), false)
    }

    fn of_text(
        source: &FileText,
        kept: Option<&mut KeptTree>,
        overrides: &Overrides,
        registry: &[&dyn stages::Stage],
        sources_needed: bool,
    ) -> Result<Pipeline, PipelineError> {
        let mut problems = Problems::new(&source.text, overrides, &[]);
        problems.sources_needed = sources_needed;
        let document = Document::read(&source.text, kept, &mut problems);
        Ok(build_pipeline(document, &[], overrides, source, registry, problems)?.pipeline)
    }
}

/// The pipeline of one combination of a sweep.
#[derive(Clone, Debug)]
pub struct LoadedCombination {
    pub pipeline: Pipeline,
    /// The final value of each key of the sweep, wherever it was set; `None` if the key names
    /// nothing in this pipeline.
    pub values: Vec<Option<Value>>,
}

/// Loads one pipeline for each combination, with the final values of `keys` in it. `arguments` are
/// the axes as the user typed them, for messages.
///
/// # Errors
///
/// As [`Pipeline::load`], for the first invalid combination.
pub fn load_combinations(
    file: &Path,
    overrides: &Overrides,
    combinations: &[Combination],
    keys: &[String],
    arguments: &[String],
) -> Result<Vec<LoadedCombination>, PipelineError> {
    let source = FileText::read(file)?;
    let registry = stages::all();
    let mut problems = Problems::new(&source.text, overrides, arguments);
    let document = Document::read(&source.text, None, &mut problems);
    if !problems.is_empty() {
        return Err(problems.into_error(file));
    }
    let load = |combination: &Combination| {
        let problems = Problems::new(&source.text, overrides, arguments);
        let document = document.clone();
        let built = build_pipeline(document, combination, overrides, &source, registry, problems)?;
        let values = keys.iter().map(|key| final_value(key, &built)).collect();
        Ok(LoadedCombination { pipeline: built.pipeline, values })
    };
    // Collected before the first error is taken, so that the same error is reported every time.
    let loaded: Vec<Result<_, PipelineError>> = combinations.par_iter().map(load).collect();
    loaded.into_iter().collect()
}

/// A pipeline, and the final values of its variables.
struct Built {
    pipeline: Pipeline,
    variables: Variables,
}

/// Builds the pipeline that `document` describes, with a `combination` of a sweep and the
/// overrides applied.
fn build_pipeline(
    mut document: Document,
    combination: &[Assignment],
    overrides: &Overrides,
    source: &FileText,
    registry: &[&dyn stages::Stage],
    mut problems: Problems,
) -> Result<Built, PipelineError> {
    let FileText { file, absolute, root, .. } = source;
    let profiles = document.profiles.iter().map(|profile| profile.name.clone()).collect();
    let for_variants =
        overrides::apply(&mut document, combination, overrides, registry, &mut problems);
    let vars = std::mem::take(&mut document.vars);
    let variables = Variables::evaluate(vars.clone(), &mut problems);
    if combination.is_empty() {
        document.vars = vars;
        read_sweeps(&document, &variables, registry, &mut problems);
    }
    let filled = |section: Option<YamlNode>, problems: &mut Problems| {
        section.map(|mut node| {
            variables.fill(&mut node, Dollar::Pipeline, problems);
            node
        })
    };
    let resources = filled(document.resources.take(), &mut problems)
        .map_or_else(BTreeMap::new, |node| {
            read_counts(&node, "`resources`", 0, None, &mut problems)
        });
    let remotes = filled(document.remotes.take(), &mut problems)
        .map_or_else(BTreeMap::new, |node| project_remotes(&node, root, &mut problems));
    let executor = filled(document.executor.take(), &mut problems)
        .and_then(|node| read_executor(&node, "`executor`", None, &mut problems));
    let slurm_defaults = filled(document.slurm.take(), &mut problems)
        .map_or_else(Request::default, |node| read_slurm_defaults(&node, &mut problems));
    let before = problems.len();
    document.stages = matrix::expand(document.stages, &variables, &mut problems);
    if problems.len() > before {
        // A stage is missing now, and every reference to it would be reported as well.
        return Err(problems.into_error(file));
    }
    overrides::apply_to_variants(&mut document, for_variants, registry, &mut problems);
    let mut drafts = document.stages;
    for draft in &mut drafts {
        fill_variables(draft, &variables, &mut problems);
    }
    let outputs = declared_outputs(&drafts, registry, &mut problems);
    let mut stages = build_stages(&drafts, &outputs, source, registry, &mut problems);
    for stage in &mut stages {
        stage.handling.request = std::mem::take(&mut stage.handling.request).or(&slurm_defaults);
    }
    check_resource_names(&drafts, &resources, &mut problems);
    let (absolute, root) = (absolute.clone(), root.clone());
    let pipeline =
        Pipeline { file: absolute, root, stages, resources, remotes, executor, profiles };
    links::check(&drafts, &pipeline, &mut problems);
    if !problems.is_empty() {
        return Err(problems.into_error(file));
    }
    threads::free(drafts.len(), drafts);
    Ok(Built { pipeline, variables })
}

/// Builds the stages, many of them on several threads.
fn build_stages(
    drafts: &[Draft],
    outputs: &Outputs,
    source: &FileText,
    registry: &[&dyn stages::Stage],
    problems: &mut Problems,
) -> Vec<Stage> {
    /// How many stages take longer to build than it takes to start a thread.
    const WORTH_A_THREAD: usize = 100;
    let FileText { absolute, root, .. } = source;
    let fresh = problems.fresh();
    let build = |drafts: &[Draft]| {
        let mut problems = fresh();
        let each = drafts.iter().map(|draft| {
            let inputs = read_inputs(draft, outputs, root, registry, &mut problems);
            let publish = read_publications(draft, outputs, root, absolute, &mut problems);
            build_stage(draft, inputs, publish, outputs, registry, &mut problems)
        });
        let stages: Vec<Stage> = each.collect();
        (stages, problems)
    };
    let built: Vec<_> = drafts.par_chunks(WORTH_A_THREAD).map(build).collect();
    let mut stages = Vec::with_capacity(drafts.len());
    for (part, found) in built {
        stages.extend(part);
        problems.extend(found);
    }
    stages
}

/// The value of an override key in a pipeline, wherever it was set.
fn final_value(key: &str, built: &Built) -> Option<Value> {
    let stage = |name: &str| {
        let mut stages = built.pipeline.stages.iter();
        stages.find(|stage| matches(name, &stage.name))
    };
    match overrides::split(key)[..] {
        [variable] => built.variables.get(variable).map(YamlNode::to_json),
        [name, "inputs", input] => {
            let input = stage(name)?.inputs.get(input)?;
            Some(input.to_string().into())
        }
        [name, parameter] => stage(name)?.params.get(parameter).cloned(),
        _ => None,
    }
}
