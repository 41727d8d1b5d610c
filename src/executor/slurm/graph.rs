//! Submits the whole stale part of a pipeline to Slurm at once, for `pipe run --submit`: the engine
//! exits, and Slurm's dependencies keep the order. Each job is `pipe run --only STAGE`: it first
//! computes its own key and ends at once on a hit, so a rebuild stops where its results are
//! unchanged.
//!
//! Stages of the same family and level form an array. If each member of an array reads only from
//! the member with the same index of another array, it waits for that member only (`aftercorr`),
//! otherwise for the whole array (`afterok`).
//!
//! The name of a job contains a digest of the definitions of its stages and of everything upstream.
//! So a stage that is already queued is not submitted again, and a job whose pipeline has changed
//! in the meantime reports that and computes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::executor::ExecutorError;
use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::queue::{self, Unanswered};
use crate::executor::slurm::request::{NO_FOLDER, NO_PROGRAM, batch_options, quoted};
use crate::files::digest::Digest;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::pipeline::{Pipeline, Stage, StageIndex};
use crate::plan::error::PlanError;
use crate::plan::graph::Graph;
use crate::plan::inputs::{FoundInputs, find_inputs};
use crate::plan::{Decision, Plan};
use crate::sources::Sources;
use crate::store::key::KeyFields;

/// What a job runs, except for the stage's name and its definition, which follow.
pub struct JobCommand<'a> {
    pub binary: &'a Path,
    /// Everything after `pipe` except `--defined` and `--only`.
    pub arguments: &'a [String],
    /// Folders of the store: lists go to `jobs`, logs to `logs`.
    pub jobs: &'a Path,
    pub logs: &'a Path,
}

/// Stages that were submitted together.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SubmittedJob {
    /// The job's number in Slurm.
    pub job: String,
    pub name: String,
    pub stages: Vec<String>,
    /// It was already in the queue.
    pub queued_before: bool,
    /// The dependency in Slurm's syntax.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A digest of the definition of every stage and of everything upstream, as far as sources are
/// known: it is the same whether the makers have run or not.
pub fn definitions(
    pipeline: &Pipeline,
    graph: &Graph,
    selected: &BTreeSet<StageIndex>,
    sources: &Sources,
) -> Result<BTreeMap<StageIndex, Digest>, PlanError> {
    let mut definitions: BTreeMap<StageIndex, Digest> = BTreeMap::new();
    for index in graph.order().iter().copied().filter(|index| selected.contains(index)) {
        let stage = &pipeline[index];
        let known = match find_inputs(stage, &|_, _| None, sources)? {
            FoundInputs::All(resolved) => resolved.fields,
            FoundInputs::Incomplete { known, .. } => Arc::new(KeyFields::of(stage, known)),
        };
        let mut text = known.canonical();
        for (input, source) in &stage.inputs {
            text.push_str(&format!("\n{input} {source}"));
        }
        for maker in graph.makers(index) {
            text.push_str(&definitions.get(&maker).map(Digest::to_string).unwrap_or_default());
        }
        definitions.insert(index, Digest::of_bytes(text.as_bytes()));
    }
    Ok(definitions)
}

/// Submits the stages that are not hits. `told` is called for each job as it is submitted, so that
/// no job is lost track of if a later one is refused.
pub fn submit(
    plan: &Plan,
    pipeline: &Pipeline,
    graph: &Graph,
    definitions: &BTreeMap<StageIndex, Digest>,
    command: &JobCommand,
    told: &mut dyn FnMut(&SubmittedJob),
) -> Result<(), ExecutorError> {
    let mut groups: BTreeMap<(usize, String, Vec<String>), Vec<StageIndex>> = BTreeMap::new();
    for planned in &plan.stages {
        if matches!(planned.decision, Decision::Hit(_)) {
            continue;
        }
        let stage = &pipeline[planned.stage];
        let options = options(stage);
        let alike = (graph.level(planned.stage), stage.family().to_owned(), options);
        groups.entry(alike).or_default().push(planned.stage);
    }
    let queued = queue::squeue().map_err(error)?;
    // By stage: its job, its index there, and the size of the array.
    let mut submitted: BTreeMap<StageIndex, (String, usize, usize)> = BTreeMap::new();
    for ((_, family, options), members) in groups {
        let digests: String = members
            .iter()
            .filter_map(|member| definitions.get(member))
            .map(Digest::to_string)
            .collect();
        let unique = format!("{} {digests}", command.jobs.display());
        let family: String = family.chars().take(60).collect();
        let name = format!("pipe-{family}-{}", Digest::of_bytes(unique.as_bytes()).short());
        let after = dependency(&members, graph, &submitted);
        let before = queued.iter().find(|((other, _), row)| *other == name && row.is_active());
        let stages: Vec<String> =
            members.iter().map(|index| pipeline[*index].name.clone()).collect();
        let job = match before {
            Some((_, row)) => row.id.split('_').next().unwrap_or_default().to_owned(),
            None => {
                let defined: Vec<String> = members
                    .iter()
                    .map(|index| definitions.get(index).map(Digest::to_string).unwrap_or_default())
                    .collect();
                let mut all = vec![
                    format!("--job-name={name}"),
                    "--chdir=/".to_owned(),
                    "--nodes=1".to_owned(),
                    "--ntasks=1".to_owned(),
                    "--kill-on-invalid-dep=yes".to_owned(),
                ];
                all.extend(after.iter().map(|after| format!("--dependency={after}")));
                let limit = pipeline[members[0]].handling.request.array_limit;
                all.extend(array(&members, limit));
                let log = if members.len() > 1 { "%x-%A_%a.log" } else { "%x-%j.log" };
                let log = command.logs.join(log);
                all.push(format!("--output={}", log.display()));
                all.extend(options);
                let text = script(command, &name, &stages, &defined, &pipeline[members[0]])?;
                queue::sbatch(&all, &text).map_err(error)?
            }
        };
        for (place, member) in members.iter().enumerate() {
            submitted.insert(*member, (job.clone(), place, members.len()));
        }
        told(&SubmittedJob { job, name, stages, queued_before: before.is_some(), after });
    }
    Ok(())
}

fn error(unanswered: Unanswered) -> ExecutorError {
    match unanswered {
        Unanswered::Away(said) => SlurmError::Unreachable { minutes: 0, said }.into(),
        Unanswered::Final(error) => error.into(),
    }
}

/// Stages that ask for different options do not form an array.
fn options(stage: &Stage) -> Vec<String> {
    batch_options(&stage.handling.request)
}

fn array(members: &[StageIndex], limit: Option<u32>) -> Option<String> {
    let limit = limit.map(|limit| format!("%{limit}")).unwrap_or_default();
    (members.len() > 1).then(|| format!("--array=0-{}{limit}", members.len() - 1))
}

/// What a group waits for, in Slurm's syntax.
fn dependency(
    members: &[StageIndex],
    graph: &Graph,
    submitted: &BTreeMap<StageIndex, (String, usize, usize)>,
) -> Option<String> {
    // By job: for each member the indices that it reads from.
    let mut jobs: BTreeMap<&str, (usize, Vec<BTreeSet<usize>>)> = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        for maker in graph.makers(*member) {
            let Some((job, place, size)) = submitted.get(&maker) else { continue };
            let (_, places) =
                jobs.entry(job).or_insert_with(|| (*size, vec![BTreeSet::new(); members.len()]));
            places[at].insert(*place);
        }
    }
    let one = |(job, (size, places)): (&str, (usize, Vec<BTreeSet<usize>>))| {
        let corresponds = size > 1
            && size == members.len()
            && places.iter().enumerate().all(|(at, read)| read.iter().eq([&at]));
        format!("{}:{job}", if corresponds { "aftercorr" } else { "afterok" })
    };
    let all: Vec<String> = jobs.into_iter().map(one).collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// The script of a job. In an array, each index finds its stage in a list.
fn script(
    command: &JobCommand,
    name: &str,
    stages: &[String],
    defined: &[String],
    first: &Stage,
) -> Result<String, FileError> {
    let making = |folder: &Path| FileError::at("making the folder", folder);
    for folder in [command.jobs, command.logs] {
        disk::create_folders(folder).map_err(making(folder))?;
    }
    let binary = quoted(command.binary);
    let arguments: Vec<String> =
        command.arguments.iter().map(|argument| quoted(Path::new(argument))).collect();
    let arguments = arguments.join(" ");
    let list: PathBuf = command.jobs.join(format!("{name}.list"));
    let which = match (stages, defined) {
        ([stage], [defined]) => format!("stage={}\ndefined={defined}", quoted(Path::new(stage))),
        _ => {
            let lines = defined.iter().zip(stages).map(|(it, stage)| format!("{it} {stage}\n"));
            let lines: String = lines.collect();
            crate::files::scratch::write_beside(&list, lines.as_bytes())?;
            format!(
                "line=$(sed -n \"$((SLURM_ARRAY_TASK_ID+1))p\" {})\n\
                 stage=${{line#* }}\ndefined=${{line%% *}}",
                quoted(&list)
            )
        }
    };
    // With `requeue`, the job asks for another turn when its time is nearly up; without, Slurm ends
    // it.
    let again = match first.handling.request.requeue {
        Some(true) => {
            "id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}\n\
             trap 'trap \"\" USR1; kill -TERM $pid; wait $pid; \
             scontrol requeue \"${id:-$SLURM_JOB_ID}\" && sleep 120; exit 1' USR1\n"
        }
        Some(false) | None => "",
    };
    Ok(format!(
        "#!/bin/sh\n[ -d {} ] || exit {NO_FOLDER}\n[ -x {binary} ] || exit {NO_PROGRAM}\n{which}\n\
         {binary} {arguments} --defined \"$defined\" --only \"$stage\" & pid=$!\n{again}\
         trap 'kill -TERM $pid' TERM\nwait $pid; code=$?\n\
         # A signal that was passed on ends the waiting, not yet the process.\n\
         while kill -0 $pid 2>/dev/null; do wait $pid; code=$?; done\nexit $code\n",
        quoted(command.jobs)
    ))
}
