//! What nearly every subcommand starts from: the pipeline, its graph, its store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::cli::options::Globals;
use crate::console::Console;
use crate::files::file_error::FileError;
use crate::pipeline::{Input, Overrides, Pipeline, Stage, find_pipeline_file, input_and_entry};
use crate::plan::error::PlanError;
use crate::plan::graph::Graph;
use crate::plan::{Decision, Plan, plan};
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
}

/// The folder of the pipeline and its store, whether the pipeline is right or wrong: for commands
/// that look at what is in the store only.
pub fn locate(globals: &Globals) -> Result<(PathBuf, Store), Error> {
    let file = pipeline_file(globals)?;
    let file = std::path::absolute(&file).map_err(FileError::at("locating", &file))?;
    let root = file.parent().unwrap_or(Path::new("/")).to_owned();
    let store = store(globals, &root)?;
    Ok((root, store))
}

/// The pipeline's file: as the options say, or the nearest one.
pub fn pipeline_file(globals: &Globals) -> Result<PathBuf, Error> {
    let found = || find_pipeline_file(Path::new("."));
    globals.file.clone().or_else(found).ok_or_else(|| {
        let folder = std::env::current_dir().unwrap_or_default();
        Error::NoPipeline { folder }
    })
}

fn store(globals: &Globals, root: &Path) -> Result<Store, Error> {
    let folder = match &globals.cache {
        Some(cache) => std::path::absolute(cache).map_err(FileError::at("locating", cache))?,
        None => root.join("cache"),
    };
    Ok(Store::new(&folder))
}

/// Keeps `cache gc` away from a store until the result is dropped.
pub fn use_store(store: &Store, console: &Console) -> Result<InUse, Error> {
    let mut waiting = || console.note("waiting for another `pipe` that has the store alone");
    Ok(InUse::together(store, &mut waiting)?)
}

/// Refuses to publish into the store or over it, and to read a folder that holds it: it changes
/// in every run.
fn check_apart(pipeline: &Pipeline, store: &Path) -> Result<(), Error> {
    for stage in &pipeline.stages {
        let (name, line) = (stage.name.clone(), stage.line);
        let into = |path: &&PathBuf| {
            let target = pipeline.root.join(path);
            target.starts_with(store) || store.starts_with(&target)
        };
        if let Some(path) = stage.publish.values().find(into) {
            let problem = format!("it publishes to `{}`, where the store is", path.display());
            return Err(Error::StoreInTheWay { stage: name, line, problem });
        }
        let holds = |(_, input): &(&String, &Input)| match input {
            Input::Path(path) => store.starts_with(path),
            _ => false,
        };
        if let Some((input, _)) = stage.inputs.iter().find(holds) {
            let input = input_and_entry(input).0;
            let problem = format!("its input `{input}` is a folder that holds the store");
            return Err(Error::StoreInTheWay { stage: name, line, problem });
        }
    }
    Ok(())
}

impl Project {
    /// Reads and checks the pipeline. Nothing is written.
    pub fn load(globals: &Globals, overrides: &Overrides) -> Result<Project, Error> {
        Project::of(globals, Pipeline::load(&pipeline_file(globals)?, overrides)?)
    }

    /// Around a pipeline that is loaded already.
    pub fn of(globals: &Globals, pipeline: Pipeline) -> Result<Project, Error> {
        let graph = Graph::new(&pipeline);
        let store = store(globals, &pipeline.root)?;
        check_apart(&pipeline, store.root())?;
        Ok(Project { pipeline, graph, store })
    }

    /// The pipeline's sources. With `trusted` false every file is read again.
    pub fn sources(&self, trusted: bool, offline: bool) -> Sources {
        let index = Index::load(&self.store.index_file(), trusted);
        Sources::new(index, self.store.root(), offline)
    }

    /// The place of a stage in the pipeline; of several variants one has to be named.
    pub fn stage_index(&self, name: &str) -> Result<usize, Error> {
        let meant = self.stage_indices(name)?;
        match meant[..] {
            [one] => Ok(one),
            _ => Err(Error::ManyVariants {
                name: name.to_owned(),
                count: meant.len(),
                first: self.pipeline.stages[meant[0]].name.clone(),
            }),
        }
    }

    /// The stages of these names with all that they need; all stages if none is named.
    pub fn select(&self, names: &[String]) -> Result<BTreeSet<usize>, Error> {
        if names.is_empty() {
            return Ok((0..self.pipeline.stages.len()).collect());
        }
        let mut stages = Vec::new();
        for name in names {
            stages.extend(self.stage_indices(name)?);
        }
        Ok(self.graph.upstream(&stages))
    }

    /// The places of the stages that a name means: of all variants, if it has some.
    pub fn stage_indices(&self, name: &str) -> Result<Vec<usize>, Error> {
        let stages = self.pipeline.stages.iter().enumerate();
        let meant = stages.filter(|(_, stage)| matches(name, &stage.name));
        let meant: Vec<usize> = meant.map(|(index, _)| index).collect();
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
        selected: &BTreeSet<usize>,
        forced: &BTreeSet<String>,
        sources: &Sources,
    ) -> Result<Plan, Error> {
        plan(&self.pipeline, &self.graph, selected, forced, sources, &self.store)
            .map_err(|error| self.plan_error(error))
    }

    /// An error of planning, with the file that it is about.
    pub fn plan_error(&self, error: PlanError) -> Error {
        Error::Plan { file: self.pipeline.file.clone(), error: Box::new(error) }
    }
}

impl Project {
    /// The record that `stage:output`, or the beginning of a key or digest, names, and which of
    /// its outputs that is. A stage that is not up to date has its newest record shown, with a
    /// warning.
    pub fn find(&self, name: &str, console: &Console) -> Result<(Record, Option<String>), Error> {
        match name.split_once(':') {
            Some((stage, output)) if !["file", "folder"].contains(&stage) => {
                let record = self.record_of(stage, output, console)?;
                Ok((record, Some(output.to_owned())))
            }
            _ => self.find_by_prefix(name),
        }
    }

    fn record_of(&self, stage: &str, output: &str, console: &Console) -> Result<Record, Error> {
        let index = match self.stage_index(stage) {
            Err(unknown) => return self.record_of_sweep(stage, output).ok_or(unknown),
            Ok(index) => index,
        };
        let declared = &self.pipeline.stages[index];
        let stage = declared.name.as_str();
        if declared.output(output).is_none() {
            let known = declared.outputs.iter().map(|output| format!("`{}`", output.name));
            return Err(Error::UnknownOutput {
                stage: stage.to_owned(),
                output: output.to_owned(),
                known: known.collect(),
            });
        }
        let selected = self.graph.upstream(&[index]);
        let plan = self.plan(&selected, &BTreeSet::new(), &self.sources(true, false));
        // A missing source does not hide what was made from it.
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
        console
            .warning(&format!("`{stage}` is not up to date; this is from its run of {when} ago"));
        Ok(record)
    }

    /// The newest record of a stage whose results are all there.
    fn newest(&self, stage: &Stage, output: &str) -> Option<Record> {
        let mut records =
            self.store.results_of(stage).filter(|record| record.outputs.contains_key(output));
        records.find(|record| record.outputs.values().all(|artifact| self.store.holds(artifact)))
    }

    /// What stands for each stage now, by its name: the record that the plan finds, else its
    /// newest.
    pub fn standing(&self) -> BTreeMap<String, Record> {
        let all = (0..self.pipeline.stages.len()).collect();
        // A missing source does not hide what was made from it.
        let plan = self.plan(&all, &BTreeSet::new(), &self.sources(true, true)).ok();
        let mut standing = BTreeMap::new();
        for planned in plan.map(|plan| plan.stages).unwrap_or_default() {
            if let Decision::Hit(record) = planned.decision {
                standing.insert(self.pipeline.stages[planned.stage].name.clone(), *record);
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

    /// The newest record of a variant that is not in the file: a sweep has made it.
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
            return Err(Error::NoArtifact { name, problem: "more than one: give more digits" });
        }
        let only = found.into_values().next();
        only.ok_or(Error::NoArtifact { name, problem: "nothing in the store" })
    }
}

impl Record {
    /// The output of that name, or the only one, where `target` named the record alone.
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
        let problem =
            "a record with several outputs: say which as `stage:output`, or by its digest";
        let missing = || Error::NoArtifact { name: target.to_owned(), problem };
        found.map(|(name, artifact)| (name.clone(), *artifact)).ok_or_else(missing)
    }
}
