//! Checks across all stages: cycles, paths that two outputs are published to, and files that one
//! stage publishes and another reads as a plain path, without an edge in the graph.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::document::{Draft, entry};
use super::model::{Input, Pipeline, Stage, StageIndex};
use super::problem::Problems;
use super::yaml::{YamlEntry, YamlNode, YamlValue};
use crate::files::place::{reached_by, real_path, resolved};

/// Checks all stages together. `drafts` are the stages of the pipeline, in the same order.
pub(super) fn check(drafts: &[Draft], pipeline: &Pipeline, problems: &mut Problems) {
    report_cycles(drafts, pipeline, problems);
    let claims = report_equal_claims(drafts, pipeline, problems);
    report_hidden_edges(drafts, pipeline, &claims, problems);
}

fn report_cycles(drafts: &[Draft], pipeline: &Pipeline, problems: &mut Problems) {
    let by_name: HashMap<&str, StageIndex> =
        pipeline.indices().map(|index| (pipeline[index].name.as_str(), index)).collect();
    let stages = pipeline.stages.len();
    let mut graph = DiGraph::<(), ()>::with_capacity(stages, stages);
    for _ in pipeline.indices() {
        graph.add_node(());
    }
    for reader in pipeline.indices() {
        for maker in makers(&pipeline[reader], &by_name) {
            graph.add_edge(NodeIndex::new(maker.0), NodeIndex::new(reader.0), ());
        }
    }
    for mut group in kosaraju_scc(&graph) {
        group.sort();
        let first = group[0];
        if group.len() == 1 && !graph.contains_edge(first, first) {
            continue;
        }
        // Walk from each stage to its first reader in the group until a stage comes up again.
        let mut path = vec![first];
        let cycle = loop {
            let readers = graph.neighbors(path[path.len() - 1]);
            let Some(next) = readers.filter(|next| group.binary_search(next).is_ok()).min() else {
                break Vec::new();
            };
            if let Some(start) = path.iter().position(|known| *known == next) {
                break path.split_off(start);
            }
            path.push(next);
        };
        let Some(start) = (0..cycle.len()).min_by_key(|at| cycle[*at]) else { continue };
        let around = cycle.iter().cycle().skip(start).take(cycle.len() + 1);
        let name = |node: &NodeIndex| pipeline[StageIndex(node.index())].name.as_str();
        let names: Vec<&str> = around.map(name).collect();
        let draft = &drafts[cycle[start].index()];
        let message = match names.as_slice() {
            [one, _] => format!("stage `{one}` reads its own output"),
            _ => format!("the stages form a cycle: {}", names.join(" → ")),
        };
        problems.at(draft.origin, message).stage(&draft.name);
    }
}

/// The stages whose outputs `stage` reads.
fn makers<'a>(
    stage: &'a Stage,
    by_name: &'a HashMap<&str, StageIndex>,
) -> impl Iterator<Item = StageIndex> + 'a {
    stage.inputs.values().filter_map(|input| match input {
        Input::Artifact { stage, .. } => by_name.get(stage.as_str()).copied(),
        Input::Path(_) | Input::Url { .. } | Input::Hub { .. } | Input::HubData { .. } => None,
    })
}

/// From a published path, with its links resolved, to the stage and output that it is published
/// from.
type Claims<'a> = BTreeMap<PathBuf, Claim<'a>>;

/// The stage, its output, and the path as the user knows it.
type Claim<'a> = (&'a Draft, &'a str, &'a Path);

/// Refuses two outputs that are published to the same path, or one inside the other.
fn report_equal_claims<'a>(
    drafts: &'a [Draft],
    pipeline: &'a Pipeline,
    problems: &mut Problems,
) -> Claims<'a> {
    let mut claims: Claims = BTreeMap::new();
    let mut refused = Vec::new();
    for (draft, stage) in drafts.iter().zip(&pipeline.stages) {
        for given in &draft.publish {
            let Some((output, path)) = stage.publish.get_key_value(&given.key) else { continue };
            let Ok(real) = real_path(&pipeline.root, path) else { continue };
            match claims.get(&real) {
                Some(first) => refused.push((*first, (draft, output.as_str(), path.as_path()))),
                None => {
                    claims.insert(real, (draft, output, path));
                }
            }
        }
    }
    for (path, inner) in &claims {
        let above = path.ancestors().skip(1).find_map(|above| claims.get(above));
        if let Some(outer) = above {
            refused.push((*outer, *inner));
        }
    }
    for ((first_draft, first, _), (draft, output, path)) in refused {
        let Some(given) = entry(&draft.publish, output) else { continue };
        let other = entry(&first_draft.publish, first).map(|other| other.value.origin);
        let other = other.map(|origin| problems.describe(origin)).unwrap_or_default();
        let message = format!(
            "output `{output}` of stage `{}` is published to `{}`, which is already claimed",
            draft.name,
            path.display()
        );
        problems
            .with(&given.value, message)
            .stage(&draft.name)
            .note(format!("output `{first}` of stage `{}` claims it {other}", first_draft.name));
    }
    claims
}

/// Refuses an input that is a file another stage publishes. No edge is inferred from paths, so
/// the reading stage would use whatever the last run left there.
fn report_hidden_edges(
    drafts: &[Draft],
    pipeline: &Pipeline,
    claims: &Claims,
    problems: &mut Problems,
) {
    if claims.is_empty() {
        return;
    }
    let root = pipeline.root.as_path();
    let mut folders = BTreeMap::new();
    for (draft, stage) in drafts.iter().zip(&pipeline.stages) {
        for given in &draft.inputs {
            let name = &given.key;
            // Include paths that do not exist: before the first run nothing is published.
            let paths: Vec<PathBuf> = match (stage.inputs.get(name), &given.value.content) {
                (Some(Input::Path(path)), _) => vec![resolved(path)],
                (Some(_), _) => continue,
                (None, YamlValue::List(items)) => {
                    let texts = items.iter().filter_map(YamlNode::as_text);
                    texts.map(|text| resolved(&root.join(text))).collect()
                }
                (None, _) => {
                    let text = given.value.as_text();
                    text.map(|text| resolved(&root.join(text))).into_iter().collect()
                }
            };
            let claimed = |path: &PathBuf| path.ancestors().find_map(|above| claims.get(above));
            let Some((maker, output, _)) = paths.iter().find_map(claimed) else {
                for path in paths {
                    let reached = folders.entry(path).or_insert_with_key(|path| reached_by(path));
                    report_published_inside(draft, given, reached, claims, problems);
                }
                continue;
            };
            let message = format!(
                "input `{name}` of stage `{}` is a file that stage `{}` publishes",
                draft.name, maker.name
            );
            problems
                .with(&given.value, message)
                .stage(&draft.name)
                .help(format!("write `{}:{output}`", maker.name));
        }
    }
}

/// Refuses an input folder that an output is published into, also through a link in the folder:
/// each run would change it. `reached` is the folder, and where links in it lead.
fn report_published_inside(
    draft: &Draft,
    given: &YamlEntry,
    reached: &BTreeSet<PathBuf>,
    claims: &Claims,
    problems: &mut Problems,
) {
    let inside = |path: &PathBuf| {
        let below = claims.range(path.clone()..).next().filter(|(it, _)| it.starts_with(path));
        let above = || path.ancestors().find_map(|above| claims.get(above));
        below.map(|(_, claim)| claim).or_else(above)
    };
    let Some((maker, output, target)) = reached.iter().find_map(inside) else { return };
    let message = format!(
        "input `{}` of stage `{}` is a folder into which `{}:{output}` is published",
        given.key, draft.name, maker.name
    );
    problems
        .with(&given.value, message)
        .stage(&draft.name)
        .note(format!("it is published to `{}`", target.display()))
        .help("publish it elsewhere, or list the files that the stage reads".to_owned());
}
