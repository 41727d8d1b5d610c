//! Which stages a run includes, and which of them it forces to run although they are up to date.

use std::collections::BTreeSet;

use clap::Args;

use crate::cli::error::{Error, SelectError};
use crate::cli::project::Project;
use crate::pipeline::{Pipeline, StageIndex};
use crate::plan::graph::Graph;
use crate::plan::sentence::stage_sentence;
use crate::plan::{Decision, Plan};
use crate::text::suggest::quoted;

/// The options that select stages.
#[derive(Debug, Args)]
pub struct SelectOptions {
    /// Run these stages and the stages that they need. Default: all stages
    stages: Vec<String>,
    /// Run this stage and the stages that it needs, then stop. Same as naming the stage
    #[arg(long, value_name = "STAGE")]
    until: Vec<String>,
    /// Run this stage, all stages downstream of it, and the stages that they need. If stages are
    /// named too, run only what lies between
    #[arg(long, value_name = "STAGE")]
    downstream: Vec<String>,
    /// Run only these stages. The stages that they read from must be up to date
    #[arg(long, value_name = "STAGE", num_args = 1.., conflicts_with_all = ["stages", "until", "downstream"])]
    only: Vec<String>,
    /// Run the named stages, or all, even if they are up to date, and overwrite their published
    /// files even if those were edited. `--force=STAGE` forces that stage only
    #[arg(
        long,
        value_name = "STAGE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = NAMED,
        conflicts_with = "submit"
    )]
    force: Vec<String>,
}

/// The value of `--force` without a stage. It is not a valid stage name.
const NAMED: &str = "*";

/// The stages that the options select.
pub struct Selection {
    pub selected: BTreeSet<StageIndex>,
    pub forced: BTreeSet<String>,
    pub only: Option<BTreeSet<String>>,
    pub overwrite_published: bool,
}

impl SelectOptions {
    /// Applies the options. Unknown stages and contradictory options are errors.
    pub fn select(&self, project: &Project) -> Result<Selection, Error> {
        let (pipeline, graph) = (&project.pipeline, &project.graph);
        let indices = |names: &[String]| -> Result<Vec<StageIndex>, Error> {
            let found: Result<Vec<_>, _> =
                names.iter().map(|name| project.stage_indices(name)).collect();
            Ok(found?.into_iter().flatten().collect())
        };
        let mut ends = indices(&self.stages)?;
        ends.extend(indices(&self.until)?);
        let (starts, only) = (indices(&self.downstream)?, indices(&self.only)?);
        let targets: BTreeSet<StageIndex> =
            match (only.is_empty(), starts.is_empty(), ends.is_empty()) {
                (false, ..) => only.iter().copied().collect(),
                (_, true, true) => pipeline.indices().collect(),
                (_, true, false) => ends.iter().copied().collect(),
                (_, false, true) => graph.downstream(&starts),
                (_, false, false) => &graph.downstream(&starts) & &graph.upstream(&ends),
            };
        if targets.is_empty() {
            let to = quoted(self.stages.iter().chain(&self.until));
            let from = self.downstream.join(" ");
            return Err(SelectError::NothingBetween { from, to }.into());
        }
        let selected = with_needs(pipeline, graph, &targets);
        let named: BTreeSet<StageIndex> =
            [&ends, &starts, &only].into_iter().flatten().copied().collect();
        let forced = self.forced(project, &named, &selected)?;
        let name = |index: &StageIndex| pipeline[*index].name.clone();
        let only = (!only.is_empty()).then(|| only.iter().map(name).collect());
        let overwrite_published = self.force.iter().any(|force| force == NAMED);
        Ok(Selection { selected, forced, only, overwrite_published })
    }

    fn forced(
        &self,
        project: &Project,
        named: &BTreeSet<StageIndex>,
        selected: &BTreeSet<StageIndex>,
    ) -> Result<BTreeSet<String>, Error> {
        let pipeline = &project.pipeline;
        let mut forced = BTreeSet::new();
        for force in &self.force {
            if force == NAMED && named.is_empty() {
                forced.extend(selected.iter().filter(|index| !pipeline[**index].handling.frozen));
            } else if force == NAMED {
                forced.extend(named);
            } else {
                forced.extend(project.stage_indices(force)?);
            }
        }
        let names = forced.into_iter().map(|index| {
            let stage = pipeline[index].name.clone();
            if !selected.contains(&index) {
                return Err(SelectError::NotSelected { stage }.into());
            }
            if pipeline[index].handling.frozen {
                return Err(SelectError::Frozen { stage }.into());
            }
            Ok(stage)
        });
        names.collect()
    }
}

/// These stages and all that they need. A frozen stage needs nothing.
fn with_needs(
    pipeline: &Pipeline,
    graph: &Graph,
    stages: &BTreeSet<StageIndex>,
) -> BTreeSet<StageIndex> {
    let mut found = stages.clone();
    let mut next: Vec<StageIndex> = stages.iter().copied().collect();
    while let Some(stage) = next.pop() {
        if !pipeline[stage].handling.frozen {
            next.extend(graph.makers(stage).into_iter().filter(|maker| found.insert(*maker)));
        }
    }
    found
}

/// Checks that every stage that the stages of `--only` read from is up to date.
pub fn check_only(
    plan: &Plan,
    only: &BTreeSet<String>,
    pipeline: &Pipeline,
    graph: &Graph,
) -> Result<(), SelectError> {
    let name = |index: StageIndex| pipeline[index].name.as_str();
    let not_there = plan.stages.iter().filter(|planned| {
        !matches!(planned.decision, Decision::Hit(_)) && !only.contains(name(planned.stage))
    });
    // A stage of `--only` may read from another: both run.
    let read = not_there.filter_map(|planned| {
        let readers = graph.readers(planned.stage).into_iter();
        let reader = readers.map(name).find(|reader| only.contains(*reader))?;
        Some((reader.to_owned(), planned))
    });
    let read: Vec<_> = read.collect();
    let Some((stage, planned)) = read.first() else { return Ok(()) };
    Err(SelectError::NotUpToDate {
        stage: stage.clone(),
        maker: name(planned.stage).to_owned(),
        why: stage_sentence(planned),
        first: read.iter().map(|(_, planned)| name(planned.stage).to_owned()).collect(),
    })
}
