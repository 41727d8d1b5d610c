//! The graph of stages with the outcome of each, and the details of each stage: parameters, inputs,
//! outputs, where it ran and for how long.

use std::collections::BTreeMap;

use crate::report::charts::graph::{Node, graph};
use crate::report::charts::interval::bar;
use crate::report::charts::{Figures, Ids};
use crate::report::data::{Provenance, RunSummary, StageSummary};
use crate::report::html::{Html, Tag, tag};
use crate::report::sections::overview::code;
use crate::report::sections::{badge, outcome_words, scrolling, terms, time_words};
use crate::run::event::Outcome;
use crate::text::figures::{bytes, figure, grouped, seconds};
use crate::text::values::value_text;
use crate::text::variants::{family, label};

/// A stage with at least this many variants is drawn as one box.
const MANY: usize = 4;

/// The graph, with a table of its edges.
pub fn drawing(ids: &mut Ids, run: &RunSummary) -> Html {
    let mut variants: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, stage) in run.stages.iter().enumerate() {
        if label(&stage.name).is_some() {
            variants.entry(family(&stage.name)).or_default().push(place);
        }
    }
    variants.retain(|_, places| places.len() >= MANY);
    let (mut groups, mut group_of): (Vec<Vec<&StageSummary>>, Vec<usize>) =
        (Vec::new(), Vec::new());
    let mut started: BTreeMap<&str, usize> = BTreeMap::new();
    for stage in &run.stages {
        let name = family(&stage.name);
        let folded = variants.contains_key(name) && label(&stage.name).is_some();
        let known = if folded { started.get(name).copied() } else { None };
        let group = known.unwrap_or(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        if folded {
            started.insert(name, group);
        }
        groups[group].push(stage);
        group_of.push(group);
    }
    let mut edges: Vec<(usize, usize)> =
        run.edges.iter().map(|(maker, reader)| (group_of[*maker], group_of[*reader])).collect();
    edges.retain(|(maker, reader)| maker != reader);
    edges.sort_unstable();
    edges.dedup();
    let nodes: Vec<Node> = groups.iter().map(|stages| node(stages)).collect();
    let reads = |reader: usize| {
        let makers = edges.iter().filter(|(_, it)| *it == reader);
        let names: Vec<&str> = makers.map(|(maker, _)| nodes[*maker].name.as_str()).collect();
        if names.is_empty() { "–".to_owned() } else { names.join(", ") }
    };
    let rows = nodes.iter().enumerate();
    let figures = Figures {
        head: ["stage", "state", "reads from"].map(str::to_owned).to_vec(),
        rows: rows
            .map(|(index, node)| vec![node.name.clone(), node.state.clone(), reads(index)])
            .collect(),
    };
    graph(ids, &nodes, &edges, figures)
}

fn node(stages: &[&StageSummary]) -> Node {
    if let [stage] = stages {
        let (words, class) = outcome_words(stage.outcome);
        let state = match stage.outcome {
            Outcome::Ran => format!("ran {}", seconds(stage.seconds)),
            _ => words.to_owned(),
        };
        let why = stage.reason.as_ref().or(stage.message.as_ref());
        let words = match why {
            Some(why) => format!("{}: {state}; {why}", stage.name),
            None => format!("{}: {state}", stage.name),
        };
        return Node { name: stage.name.clone(), state, class, words };
    }
    let of = |outcome: Outcome| stages.iter().filter(|it| it.outcome == outcome).count();
    let order = [Outcome::Failed, Outcome::Ran, Outcome::Skipped, Outcome::Hit];
    let found: Vec<Outcome> = order.into_iter().filter(|outcome| of(*outcome) > 0).collect();
    let parts = found.iter().map(|it| format!("{} {}", of(*it), outcome_words(*it).0));
    let state = parts.collect::<Vec<_>>().join(", ");
    let class = found.first().map_or("skipped", |outcome| outcome_words(*outcome).1);
    let name = format!("{} ×{}", family(&stages[0].name), stages.len());
    Node { words: format!("{name}: {state}"), name, state, class }
}

/// A table with a row for each stage.
pub fn table(run: &RunSummary) -> Html {
    let head = ["stage", "state", "reason", "this run", "", "result took", "results"];
    let reason = |stage: &StageSummary| match stage.outcome {
        Outcome::Failed | Outcome::Skipped => stage.message.clone(),
        Outcome::Ran | Outcome::Hit => stage.reason.clone(),
    };
    let any_reason = run.stages.iter().any(|stage| reason(stage).is_some());
    let head = head.iter().zip(0..).filter(|(_, index)| any_reason || *index != 2);
    let head = head.map(|(name, index)| {
        tag("th").attr("scope", "col").class(if index > 2 { "number" } else { "" }).text(name)
    });
    let longest = run.stages.iter().map(|stage| stage.seconds).fold(0.001, f64::max);
    let row = |stage: &StageSummary| {
        let (words, class) = outcome_words(stage.outcome);
        let why = || tag("td").class("words").text(reason(stage).unwrap_or_default());
        // Unknown values sort last.
        let number = |value: Option<f64>, text: fn(f64) -> String| {
            let sort = value.map_or(String::new(), |value| value.to_string());
            let cell = tag("td").class("number").attr("data-sort", sort);
            cell.text(value.map_or("–".to_owned(), text))
        };
        let made = stage.record.as_ref().map(|record| record.bytes as f64);
        let took = stage.record.as_ref().map(|record| record.seconds);
        tag("tr")
            .child(tag("th").attr("scope", "row").text(&stage.name))
            .child(tag("td").child(badge(words, class)))
            .maybe(any_reason.then(why))
            .child(number(Some(stage.seconds), seconds))
            .child(tag("td").child(bar(stage.seconds / longest)))
            .child(number(took, seconds))
            .child(number(made, |it| bytes(it as u64)))
    };
    let table = tag("table")
        .class("sortable")
        .child(tag("thead").child(tag("tr").children(head)))
        .child(tag("tbody").children(run.stages.iter().map(row)));
    folded(scrolling("Stages", table).into(), run.stages.len())
}

/// A long list of stages is collapsed.
fn folded(list: Html, stages: usize) -> Html {
    const MANY: usize = 24;
    if stages <= MANY {
        return list;
    }
    let summary = tag("summary").text(format!("All {stages} stages"));
    tag("details").class("more").child(summary).child(list).into()
}

/// The details of each stage, collapsed.
pub fn details(run: &RunSummary) -> Html {
    folded(run.stages.iter().map(detail).collect(), run.stages.len())
}

fn detail(stage: &StageSummary) -> Html {
    let (words, class) = outcome_words(stage.outcome);
    let what = stage.record.as_ref().map(|made| match (&made.builtin, made.version) {
        (Some(name), Some(version)) => format!("built-in {name}, version {version}"),
        _ => "a command".to_owned(),
    });
    let summary = tag("summary")
        .child(tag("span").class("stage").text(&stage.name))
        .child(badge(words, class))
        .child(tag("span").class("quiet").text(what.unwrap_or_default()));
    let mut content = Html::new();
    if let Some(message) = &stage.message {
        content.push(tag("pre").class("message").text(message));
    }
    match &stage.record {
        Some(made) => content.push(made_how(made, stage)),
        None => {
            let why = match stage.outcome {
                Outcome::Hit | Outcome::Ran => "Its record is no longer in the cache.",
                Outcome::Failed | Outcome::Skipped => "It came to no result.",
            };
            content.push(tag("p").class("note").text(why));
            content.push(block("Figures", metrics(stage)));
        }
    }
    tag("details").class("stage").child(summary).child(content).into()
}

fn made_how(made: &Provenance, stage: &StageSummary) -> Html {
    let mut all = Html::new();
    if let Some(command) = &made.command {
        all.push(tag("pre").class("command").attr("tabindex", 0).text(command.trim_end()));
    }
    let params = made.params.iter().map(|(name, value)| vec![name.clone(), value_text(value)]);
    let mut blocks = Html::new();
    blocks.push(block("Parameters", pairs(params.collect())));
    let inputs = made.inputs.iter().map(|input| {
        vec![
            input.name.clone(),
            input.origin.clone().unwrap_or_else(|| "–".into()),
            input.digest.clone(),
        ]
    });
    blocks.push(block("Inputs", pairs(inputs.collect())));
    let outputs = made.outputs.iter().map(|output| {
        let size = bytes(output.bytes);
        let size = if output.kept { size } else { format!("{size}, no longer in the cache") };
        vec![output.name.clone(), size, output.digest.clone()]
    });
    blocks.push(block("Outputs", pairs(outputs.collect())));
    blocks.push(block("Figures", metrics(stage)));
    all.push(tag("div").class("blocks").child(blocks));
    let threads = match made.threads {
        0 => "all cores".to_owned(),
        number => grouped(number as u64),
    };
    let mut entries = vec![
        ("made", Html::text(time_words(&made.when))),
        ("in", Html::text(seconds(made.seconds))),
        ("on", Html::text(&made.machine)),
        ("threads", Html::text(threads)),
        ("by", Html::text(format!("pipe {}", made.pipe))),
    ];
    if let Some(device) = &made.device {
        entries.insert(3, ("device", Html::text(device)));
    }
    if let (Some(builtin), Some(version)) = (&made.builtin, made.version) {
        let mut name = code(builtin);
        name.push(Html::text(format!(" version {version}")));
        entries.push(("built-in", name));
    }
    all.push(terms(entries));
    all
}

fn metrics(stage: &StageSummary) -> Html {
    let rows = stage.metrics.iter().map(|(name, value)| vec![name.clone(), figure(*value)]);
    pairs(rows.collect())
}

fn block(title: &str, table: Html) -> Html {
    if table.is_empty() {
        return table;
    }
    tag("div").class("block").child(tag("h4").text(title)).child(table).into()
}

/// A table of names and values; empty without entries.
fn pairs(rows: Vec<Vec<String>>) -> Html {
    if rows.is_empty() {
        return Html::new();
    }
    let cell = |(index, text): (usize, &String)| -> Tag {
        match index {
            0 => tag("th").attr("scope", "row").text(text),
            _ => tag("td").text(text),
        }
    };
    let row = |cells: &Vec<String>| tag("tr").children(cells.iter().enumerate().map(cell));
    let body = tag("tbody").children(rows.iter().map(row));
    tag("div").class("scroll").child(tag("table").class("pairs").child(body)).into()
}
