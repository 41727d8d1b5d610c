//! The project that most subcommands start from: the pipeline, its graph and its store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::options::Globals;
use crate::console::Console;
use crate::files::file_error::FileError;
use crate::files::place::resolved;
use crate::pipeline::kept_tree::KeptTree;
use crate::pipeline::{
    Input, Overrides, Pipeline, Stage, StageIndex, find_pipeline_file, input_and_entry,
};
use crate::plan::error::PlanError;
use crate::plan::graph::Graph;
use crate::plan::{Decision, Plan, plan};
use crate::run::nested;
use crate::sources::Sources;
use crate::store::Store;
use crate::store::in_use::InUse;
use crate::store::index::Index;
use crate::store::record::{Artifact, Record};
use crate::text::figures::age;
use crate::text::suggest::nearest;
use crate::text::variants::{family, label, matches};

/// A loaded project.
pub struct Project {
    pub pipeline: Pipeline,
    pub graph: Graph,
    pub store: Store,
    /// For the next command that reads the pipeline; a run writes it.
    pub tree: KeptTree,
}

/// The pipeline's folder and its store, found without reading the pipeline: for commands that only
/// look into the store.
pub fn locate(globals: &Globals) -> Result<(PathBuf, Store), Error> {
    let root = root_of(&pipeline_file(globals)?)?;
    let store = store(globals, &root)?;
    Ok((root, store))
}

/// The folder of a pipeline's file.
pub(super) fn root_of(file: &Path) -> Result<PathBuf, Error> {
    let file = std::path::absolute(file).map_err(FileError::at("locating", file))?;
    Ok(file.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The pipeline's file: the one that `--file` names, or the nearest one.
pub fn pipeline_file(globals: &Globals) -> Result<PathBuf, Error> {
    let found = || find_pipeline_file(Path::new("."));
    globals.file.clone().or_else(found).ok_or_else(|| {
        let folder = std::env::current_dir().unwrap_or_default();
        Error::NoPipeline { folder }
    })
}

/// The store of a project in `root`. A path that the user types starts in the current folder. A path from the environment starts in
/// the project, so that every command finds the same store, wherever it is called.
pub fn store(globals: &Globals, root: &Path) -> Result<Store, Error> {
    let typed = globals.cache.as_ref();
    let typed = typed
        .map(|cache| std::path::absolute(cache).map_err(FileError::at("locating", cache)))
        .transpose()?;
    let from_environment = || std::env::var_os("PIPE_CACHE").filter(|folder| !folder.is_empty());
    let below = || root.join(from_environment().unwrap_or_else(|| "cache".into()));
    let folder = typed.unwrap_or_else(below);
    // Its folders would be mixed with those of the user, and `gc` removes what it does not know.
    if resolved(root).starts_with(resolved(&folder)) {
        return Err(Error::StoreOverProject { folder });
    }
    Ok(Store::new(&folder))
}

/// Holds a shared lock, so that `cache gc` removes nothing from the store until it is dropped.
pub fn use_store(store: &Store, console: &Console) -> Result<InUse, Error> {
    check_not_inside(store)?;
    let mut waiting = || console.note("waiting for another `pipe` that has locked the store");
    Ok(InUse::together(store, &mut waiting)?)
}

/// Refuses to run inside a stage of the same project, which would wait for itself.
pub fn check_not_inside(store: &Store) -> Result<(), Error> {
    if nested::is_inside(store) { Err(Error::InsideStage) } else { Ok(()) }
}

/// Refuses a stage that publishes into the store or over it, or reads a folder that contains it:
/// such an input would change in every run.
fn check_apart(pipeline: &Pipeline, store: &Path) -> Result<(), Error> {
    let store = resolved(store);
    for stage in &pipeline.stages {
        let (name, line) = (stage.name.clone(), stage.line);
        let into = |path: &&PathBuf| {
            let target = resolved(&pipeline.root.join(path));
            target.starts_with(&store) || store.starts_with(&target)
        };
        if let Some(path) = stage.publish.values().find(into) {
            let problem =
                format!("it publishes to `{}`, which overlaps with the store", path.display());
            return Err(Error::StoreInTheWay { stage: name, line, problem });
        }
        let holds = |(_, input): &(&String, &Input)| match input {
            Input::Path(path) => store.starts_with(resolved(path)),
            _ => false,
        };
        if let Some((input, _)) = stage.inputs.iter().find(holds) {
            let input = input_and_entry(input).0;
            let problem = format!("its input `{input}` is a folder that contains the store");
            return Err(Error::StoreInTheWay { stage: name, line, problem });
        }
    }
    Ok(())
}

impl Project {
    /// Reads and checks the pipeline. Nothing is written.
    pub fn load(globals: &Globals, overrides: &Overrides) -> Result<Project, Error> {
        Project::read(globals, overrides, true)
    }

    /// Like [`Project::load`], for commands that look at results: the sources that these were made
    /// from may be gone.
    pub fn load_for_results(globals: &Globals, overrides: &Overrides) -> Result<Project, Error> {
        Project::read(globals, overrides, false)
    }

    fn read(
        globals: &Globals,
        overrides: &Overrides,
        sources_needed: bool,
    ) -> Result<Project, Error> {
        let file = pipeline_file(globals)?;
        let store = store(globals, &root_of(&file)?)?;
        if sources_needed {
            store.read_ahead();
        }
        let mut tree = KeptTree::at(store.tree_file());
        let pipeline = Pipeline::load_kept(&file, &mut tree, overrides, sources_needed)?;
        Project::of(pipeline, store, tree)
    }

    /// Builds the project of a pipeline that is already loaded.
    pub fn of(pipeline: Pipeline, store: Store, tree: KeptTree) -> Result<Project, Error> {
        let graph = Graph::new(&pipeline);
        check_apart(&pipeline, store.root())?;
        Ok(Project { pipeline, graph, store, tree })
    }

    /// The pipeline's sources. Unless `trusted`, every file is read again, whatever its size and
    /// times.
    pub fn sources(&self, trusted: bool, offline: bool) -> Sources {
        let index = Index::load(&self.store.index_file(), trusted);
        Sources::new(index, self.store.root(), &self.pipeline.root, offline)
    }

    /// The index of one stage. A name that means several variants is an error.
    pub fn stage_index(&self, name: &str) -> Result<StageIndex, Error> {
        let meant = self.stage_indices(name)?;
        match meant[..] {
            [one] => Ok(one),
            _ => Err(Error::ManyVariants {
                name: name.to_owned(),
                count: meant.len(),
                first: self.pipeline[meant[0]].name.clone(),
            }),
        }
    }

    /// The named stages and everything upstream of them, or all stages if none is named.
    pub fn select(&self, names: &[String]) -> Result<BTreeSet<StageIndex>, Error> {
        if names.is_empty() {
            return Ok(self.pipeline.indices().collect());
        }
        let mut stages = Vec::new();
        for name in names {
            stages.extend(self.stage_indices(name)?);
        }
        Ok(self.graph.upstream(&stages))
    }

    /// The indices of the stages that a name means: one stage, or all its variants.
    pub fn stage_indices(&self, name: &str) -> Result<Vec<StageIndex>, Error> {
        let is_meant = |index: &StageIndex| matches(name, &self.pipeline[*index].name);
        let meant: Vec<StageIndex> = self.pipeline.indices().filter(is_meant).collect();
        if meant.is_empty() {
            return Err(self.unknown_stage(name));
        }
        Ok(meant)
    }

    pub fn unknown_stage(&self, name: &str) -> Error {
        let names = self.pipeline.stages.iter().flat_map(|stage| [stage.family(), &stage.name]);
        Error::UnknownStage {
            name: name.to_owned(),
            nearest: nearest(name, names).map(str::to_owned),
        }
    }

    pub fn plan(
        &self,
        selected: &BTreeSet<StageIndex>,
        forced: &BTreeSet<String>,
        sources: &Sources,
    ) -> Result<Plan, Error> {
        plan(&self.pipeline, &self.graph, selected, forced, sources, &self.store)
            .map_err(|error| self.plan_error(error))
    }

    /// Adds the pipeline's file to an error of planning.
    pub fn plan_error(&self, error: PlanError) -> Error {
        Error::Plan { file: self.pipeline.file.clone(), error: Box::new(error) }
    }
}

impl Project {
    /// The record that `name` means, and the output if `name` tells it. `name` is `stage:output`, or
    /// the beginning of a key or of a digest, or a stage that has one output. If the stage is not up to
    /// date, this warns and gives its newest record.
    pub fn find(&self, name: &str, console: &Console) -> Result<(Record, Option<String>), Error> {
        match name.split_once(':') {
            Some((stage, output)) if !["file", "folder"].contains(&stage) => {
                let record = self.record_of(stage, output, console)?;
                Ok((record, Some(output.to_owned())))
            }
            _ => self.find_by_prefix(name).or_else(|error| match self.stage_index(name) {
                Ok(index) => self.record_of_only_output(index, console),
                Err(_) => Err(error),
            }),
        }
    }

    fn record_of_only_output(
        &self,
        stage: StageIndex,
        console: &Console,
    ) -> Result<(Record, Option<String>), Error> {
        let Stage { name, outputs, .. } = &self.pipeline[stage];
        let [only] = &outputs[..] else {
            let known = outputs.iter().map(|output| format!("{name}:{}", output.name)).collect();
            return Err(Error::ManyOutputs { stage: name.clone(), known });
        };
        let record = self.record_of(name, &only.name, console)?;
        Ok((record, Some(only.name.clone())))
    }

    fn record_of(&self, stage: &str, output: &str, console: &Console) -> Result<Record, Error> {
        let index = match self.stage_index(stage) {
            Err(unknown) => return self.record_of_sweep(stage, output).ok_or(unknown),
            Ok(index) => index,
        };
        let declared = &self.pipeline[index];
        let stage = declared.name.as_str();
        if declared.output(output).is_none() {
            let known = declared.outputs.iter().map(|output| output.name.clone());
            return Err(Error::UnknownOutput {
                stage: stage.to_owned(),
                output: output.to_owned(),
                known: known.collect(),
            });
        }
        let selected = self.graph.upstream(&[index]);
        let plan = self.plan(&selected, &BTreeSet::new(), &self.sources(true, false));
        // A missing source must not hide the results made from it.
        let planned = plan
            .ok()
            .and_then(|plan| plan.stages.into_iter().find(|planned| planned.stage == index));
        if let Some(Decision::Hit(record)) = planned.map(|planned| planned.decision) {
            return Ok(*record);
        }
        let record = self.newest(declared, output).ok_or_else(|| Error::NotMade {
            artifact: format!("{stage}:{output}"),
            stage: stage.to_owned(),
        })?;
        let when = age(&record.when);
        console.warning(&format!("`{stage}` is not up to date; this is from its run {when} ago"));
        Ok(record)
    }

    /// The newest record of a stage whose outputs are all in the store.
    fn newest(&self, stage: &Stage, output: &str) -> Option<Record> {
        let mut records =
            self.store.results_of(stage).filter(|record| record.outputs.contains_key(output));
        records.find(|record| record.outputs.values().all(|artifact| self.store.holds(artifact)))
    }

    /// The current record of each stage, by stage name: the cache hit of the plan, or else the
    /// newest record.
    pub fn standing(&self) -> BTreeMap<String, Record> {
        let all = self.pipeline.indices().collect();
        // A missing source must not hide the results made from it.
        let plan = self.plan(&all, &BTreeSet::new(), &self.sources(true, true)).ok();
        let mut standing = BTreeMap::new();
        for planned in plan.map(|plan| plan.stages).unwrap_or_default() {
            if let Decision::Hit(record) = planned.decision {
                standing.insert(self.pipeline[planned.stage].name.clone(), *record);
            }
        }
        for stage in &self.pipeline.stages {
            let Some(output) = stage.outputs.first() else { continue };
            if !standing.contains_key(&stage.name)
                && let Some(record) = self.newest(stage, &output.name)
            {
                standing.insert(stage.name.clone(), record);
            }
        }
        standing
    }

    /// The newest record of a variant that a sweep made and the file does not declare.
    fn record_of_sweep(&self, stage: &str, output: &str) -> Option<Record> {
        label(stage)?;
        let records = self.store.records_of_stage(family(stage), usize::MAX).into_iter();
        let mut of_stage = records.filter(|record| record.stage == stage);
        of_stage.find(|record| {
            let complete = record.outputs.values().all(|artifact| self.store.holds(artifact));
            complete && record.outputs.contains_key(output)
        })
    }

    fn find_by_prefix(&self, prefix: &str) -> Result<(Record, Option<String>), Error> {
        let digest = prefix.split_once(':').map_or(prefix, |(_, digest)| digest);
        let matches = |text: String| !digest.is_empty() && text.starts_with(digest);
        let mut found = BTreeMap::new();
        for record in self.store.records() {
            if matches(record.key.to_string()) {
                found.insert(record.key.to_string(), (record, None));
                continue;
            }
            let output = record.outputs.iter().find_map(|(name, artifact)| {
                let digest = artifact.content.digest.to_string();
                matches(digest.clone()).then(|| (name.clone(), digest))
            });
            if let Some((output, digest)) = output {
                found.entry(digest).or_insert((record, Some(output)));
            }
        }
        let name = prefix.to_owned();
        if found.len() > 1 {
            return Err(Error::NoArtifact { name, problem: "several results; give more digits" });
        }
        let only = found.into_values().next();
        only.ok_or(Error::NoArtifact { name, problem: "nothing in the store" })
    }
}

impl Record {
    /// The output of that name, or the only output if `name` is `None`. `target` is what the user
    /// typed, for the error.
    pub(super) fn output(
        &self,
        name: Option<String>,
        target: &str,
    ) -> Result<(String, Artifact), Error> {
        let name = match name {
            None if self.outputs.len() == 1 => self.outputs.keys().next().cloned(),
            other => other,
        };
        let found = name.and_then(|name| self.outputs.get_key_value(&name));
        let problem = "a record with several outputs; name one as `stage:output` or by its digest";
        let missing = || Error::NoArtifact { name: target.to_owned(), problem };
        found.map(|(name, artifact)| (name.clone(), *artifact)).ok_or_else(missing)
    }
}
