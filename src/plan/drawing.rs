//! Drawings of the graph: as text for a terminal, as DOT for Graphviz, as Mermaid for a web page.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::Path;

use crate::pipeline::{Action, Input, Pipeline, Stage, StageIndex, input_and_entry};
use crate::plan::graph::Graph;
use crate::text::terminal::{fit, printable};
use crate::text::variants::{family, label};

/// The format of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Many variants of a stage share one entry.
    Text,
    /// Every stage has its own entry.
    LongText,
    Dot,
    Mermaid,
}

/// From this many on, the variants of a stage, or the entries of a set of inputs, share one line.
const MANY: usize = 4;

/// The width of the text in columns.
const WIDTH: usize = 80;

/// Draws the whole graph. The text ends in a newline.
pub fn render(pipeline: &Pipeline, graph: &Graph, format: Format) -> String {
    match format {
        Format::Text => text(pipeline, graph, MANY),
        Format::LongText => text(pipeline, graph, usize::MAX),
        Format::Dot => dot(pipeline),
        Format::Mermaid => mermaid(pipeline),
    }
}

/// The stages in the order in which they may run, each with its level, its inputs and what it
/// publishes.
///
/// ```text
/// 1  ingest
///    ├ train ← data/train.jsonl
///    └ test ← data/test.jsonl
/// 2  split
///    └ examples ← ingest:train
/// ```
fn text(pipeline: &Pipeline, graph: &Graph, fold_from: usize) -> String {
    let mut out = String::new();
    let mut by_level = graph.order().to_vec();
    by_level.sort_by_key(|index| (graph.level(*index), *index));
    let margin = by_level.last().map_or(1, |last| (graph.level(*last) + 1).to_string().len());
    let mut shown_level = None;
    for (level, stages) in together(&by_level, pipeline, graph, fold_from) {
        let number = if shown_level == Some(level) { String::new() } else { level.to_string() };
        shown_level = Some(level);
        push_line(&mut out, &format!("{number:>margin$}  {}", title(&stages)));
        let lines = lines(&stages, &pipeline.root, fold_from);
        for (index, line) in lines.iter().enumerate() {
            let branch = if index + 1 == lines.len() { '└' } else { '├' };
            push_line(&mut out, &format!("{:>margin$}  {branch} {line}", ""));
        }
    }
    out
}

/// The entries of the text, each with its level from 1: one stage, or all variants of a stage on
/// that level if there are at least `fold_from`.
fn together<'p>(
    order: &[StageIndex],
    pipeline: &'p Pipeline,
    graph: &Graph,
    fold_from: usize,
) -> Vec<(usize, Vec<&'p Stage>)> {
    let place = |index: StageIndex| {
        let stage = &pipeline[index];
        (graph.level(index) + 1, label(&stage.name).map(|_| stage.family()))
    };
    let mut counts: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for (level, family) in order.iter().map(|index| place(*index)) {
        if let Some(family) = family {
            *counts.entry((level, family)).or_default() += 1;
        }
    }
    counts.retain(|_, count| *count >= fold_from);
    let mut shown: Vec<(usize, Vec<&Stage>)> = Vec::new();
    let mut started: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for index in order {
        let (level, family) = place(*index);
        let stage = &pipeline[*index];
        let folded = family.map(|family| (level, family)).filter(|it| counts.contains_key(it));
        match folded.and_then(|it| started.get(&it).copied()) {
            Some(at) => shown[at].1.push(stage),
            None => {
                started.extend(folded.map(|it| (it, shown.len())));
                shown.push((level, vec![stage]));
            }
        }
    }
    shown
}

/// The lines below an entry: where its inputs come from, and what it publishes.
fn lines(stages: &[&Stage], root: &Path, fold_from: usize) -> Vec<String> {
    let mut inputs: BTreeMap<&str, Vec<(&str, &Input)>> = BTreeMap::new();
    let mut published: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for stage in stages {
        for (key, input) in &stage.inputs {
            inputs.entry(input_and_entry(key).0).or_default().push((key, input));
        }
        for (name, path) in &stage.publish {
            published.entry(name).or_default().push(path.display().to_string());
        }
    }
    let mut lines = Vec::new();
    for (name, wired) in inputs {
        if stages.len() == 1 && wired.len() < fold_from {
            lines.extend(wired.iter().map(|(key, it)| format!("{key} ← {}", source(it, root))));
        } else {
            lines.push(format!("{name} ← {}", sources(&wired, root)));
        }
    }
    for (name, paths) in published {
        lines.push(format!("{name} → {}", and_more(paths)));
    }
    lines
}

/// Where many inputs come from, on one line: `train@…:model (12)`.
fn sources(wired: &[(&str, &Input)], root: &Path) -> String {
    let artifact = |input: &Input| match input {
        Input::Artifact { stage, output } if label(stage).is_some() => {
            Some(format!("{}@…:{output}", family(stage)))
        }
        _ => None,
    };
    let mut texts: Vec<String> = wired.iter().map(|(_, input)| source(input, root)).collect();
    texts.sort();
    texts.dedup();
    let first = artifact(wired[0].1);
    let alike = first.is_some() && wired.iter().all(|(_, input)| artifact(input) == first);
    match first.filter(|_| alike && texts.len() > 1) {
        Some(family) => format!("{family} ({})", texts.len()),
        None => and_more(texts),
    }
}

fn and_more(texts: Vec<String>) -> String {
    match texts.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(fit(&printable(line), WIDTH).trim_end());
    out.push('\n');
}

/// The stage's name, and what it runs unless the name says that already.
fn title(stages: &[&Stage]) -> String {
    let stage = stages[0];
    let name = match stages.len() {
        1 => stage.name.clone(),
        count => format!("{}@… ({count} variants)", stage.family()),
    };
    match &stage.action {
        Action::Builtin { name: builtin, .. } if *builtin == stage.family() => name,
        Action::Builtin { name: builtin, .. } => format!("{name} ({builtin})"),
        Action::Command { text } => format!("{name} $ {}", text.trim().replace('\n', "; ")),
    }
}

/// Where an input comes from. Paths inside the project are relative to it.
fn source(input: &Input, root: &Path) -> String {
    match input {
        Input::Path(path) => {
            let inside = path.strip_prefix(root).ok().filter(|path| !path.as_os_str().is_empty());
            inside.unwrap_or(path).display().to_string()
        }
        Input::Url { .. } | Input::Hub { .. } | Input::HubData { .. } | Input::Artifact { .. } => {
            input.to_string()
        }
    }
}

/// What DOT and Mermaid draw besides the stages: sources, and edges from a stage or a source to a
/// stage.
struct Drawing<'p> {
    /// Each source with its number. A source that several stages read is drawn once.
    sources: BTreeMap<String, usize>,
    /// From, to, label.
    edges: Vec<(From, StageIndex, &'p str)>,
}

enum From {
    Stage(StageIndex),
    Source(usize),
}

/// The name of the node in DOT and Mermaid.
impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            From::Stage(StageIndex(index)) => write!(f, "stage{index}"),
            From::Source(index) => write!(f, "source{index}"),
        }
    }
}

fn drawing(pipeline: &Pipeline) -> Drawing<'_> {
    let index: BTreeMap<&str, StageIndex> =
        pipeline.indices().map(|index| (pipeline[index].name.as_str(), index)).collect();
    let mut drawing = Drawing { sources: BTreeMap::new(), edges: Vec::new() };
    for reader in pipeline.indices() {
        for (name, input) in &pipeline[reader].inputs {
            match input {
                Input::Artifact { stage, output } => {
                    if let Some(maker) = index.get(stage.as_str()) {
                        drawing.edges.push((From::Stage(*maker), reader, output));
                    }
                }
                Input::Path(_) | Input::Url { .. } | Input::Hub { .. } | Input::HubData { .. } => {
                    let next = drawing.sources.len();
                    let source = source(input, &pipeline.root);
                    let source = *drawing.sources.entry(source).or_insert(next);
                    drawing.edges.push((From::Source(source), reader, name));
                }
            }
        }
    }
    drawing
}

fn dot(pipeline: &Pipeline) -> String {
    let drawing = drawing(pipeline);
    let mut out = String::from("digraph pipeline {\n  rankdir=LR;\n  node [shape=box];\n");
    for (index, stage) in pipeline.stages.iter().enumerate() {
        let _ = writeln!(out, "  stage{index} [label={}];", dot_quoted(&stage.name));
    }
    for (source, index) in &drawing.sources {
        let _ = writeln!(out, "  source{index} [shape=note, label={}];", dot_quoted(source));
    }
    for (from, StageIndex(to), label) in &drawing.edges {
        let _ = writeln!(out, "  {from} -> stage{to} [label={}];", dot_quoted(label));
    }
    out.push_str("}\n");
    out
}

/// A quoted string of DOT. A backslash begins an escape in labels, so it is doubled.
fn dot_quoted(text: &str) -> String {
    format!("\"{}\"", printable(text).replace('\\', "\\\\").replace('"', "\\\""))
}

fn mermaid(pipeline: &Pipeline) -> String {
    let drawing = drawing(pipeline);
    let mut out = String::from("flowchart LR\n");
    for (index, stage) in pipeline.stages.iter().enumerate() {
        let _ = writeln!(out, "  stage{index}[{}]", mermaid_quoted(&stage.name));
    }
    for (source, index) in &drawing.sources {
        let _ = writeln!(out, "  source{index}([{}])", mermaid_quoted(source));
    }
    for (from, StageIndex(to), label) in &drawing.edges {
        let _ = writeln!(out, "  {from} -->|{}| stage{to}", mermaid_quoted(label));
    }
    out
}

/// A quoted string of Mermaid, whose only escapes are `#…;` entities.
fn mermaid_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in printable(text).chars() {
        match character {
            // Even in quotes, Mermaid reads these as markup or as entities.
            '"' | '#' | '<' | '>' | '&' | '`' | ';' | '\\' => {
                let _ = write!(quoted, "#{};", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
