//! The graph for people: as text in a terminal, as DOT for Graphviz, as Mermaid for a web page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::graph::Graph;
use crate::pipeline::{Action, Input, Pipeline, Stage};
use crate::show::text::{fit, printable};

/// How a graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Dot,
    Mermaid,
}

/// The text's width in columns.
const WIDTH: usize = 80;

/// The whole graph, ending in a newline.
pub fn render(pipeline: &Pipeline, graph: &Graph, format: Format) -> String {
    match format {
        Format::Text => text(pipeline, graph),
        Format::Dot => dot(pipeline),
        Format::Mermaid => mermaid(pipeline),
    }
}

/// Stages in the order in which they may run, each with its level, where its inputs come from and
/// what it publishes.
///
/// ```text
/// 1  ingest
///    ├ train ← data/train.jsonl
///    └ test ← data/test.jsonl
/// 2  split
///    └ examples ← ingest:train
/// ```
fn text(pipeline: &Pipeline, graph: &Graph) -> String {
    let mut out = String::new();
    let mut by_level = graph.order().to_vec();
    by_level.sort_by_key(|index| (graph.level(*index), *index));
    let margin = by_level.last().map_or(1, |last| (graph.level(*last) + 1).to_string().len());
    let mut shown_level = None;
    for index in by_level {
        let stage = &pipeline.stages[index];
        let level = Some(graph.level(index) + 1);
        let number =
            if level == shown_level { String::new() } else { (graph.level(index) + 1).to_string() };
        shown_level = level;
        push_line(&mut out, &format!("{number:>margin$}  {}", title(stage)));
        let inputs = stage
            .inputs
            .iter()
            .map(|(name, input)| format!("{name} ← {}", source(input, &pipeline.root)));
        let published =
            stage.publish.iter().map(|(name, path)| format!("{name} → {}", path.display()));
        let lines: Vec<String> = inputs.chain(published).collect();
        for (index, line) in lines.iter().enumerate() {
            let branch = if index + 1 == lines.len() { '└' } else { '├' };
            push_line(&mut out, &format!("{:>margin$}  {branch} {line}", ""));
        }
    }
    out
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(fit(&printable(line), WIDTH).trim_end());
    out.push('\n');
}

/// The stage's name, and what it runs where the name does not say it.
fn title(stage: &Stage) -> String {
    match &stage.action {
        Action::Builtin { name, .. } if *name == stage.name => stage.name.clone(),
        Action::Builtin { name, .. } => format!("{} ({name})", stage.name),
        Action::Command { text } => format!("{} $ {}", stage.name, text.trim().replace('\n', "; ")),
    }
}

/// Where an input comes from; what lies in the project relative to it.
fn source(input: &Input, root: &Path) -> String {
    match input {
        Input::Path(path) => {
            let inside = path.strip_prefix(root).ok().filter(|path| !path.as_os_str().is_empty());
            inside.unwrap_or(path).display().to_string()
        }
        Input::Url { .. } | Input::Hub { .. } | Input::Artifact { .. } => input.to_string(),
    }
}

/// What is drawn: stages, sources from outside, and edges from either to a stage.
struct Drawing<'p> {
    /// Each source once, whoever reads it.
    sources: BTreeMap<String, usize>,
    /// From, to, label.
    edges: Vec<(From, usize, &'p str)>,
}

enum From {
    Stage(usize),
    Source(usize),
}

fn drawing(pipeline: &Pipeline) -> Drawing<'_> {
    let stages = pipeline.stages.iter().enumerate();
    let index: BTreeMap<&str, usize> =
        stages.map(|(index, stage)| (stage.name.as_str(), index)).collect();
    let mut drawing = Drawing { sources: BTreeMap::new(), edges: Vec::new() };
    for (reader, stage) in pipeline.stages.iter().enumerate() {
        for (name, input) in &stage.inputs {
            match input {
                Input::Artifact { stage, output } => {
                    if let Some(maker) = index.get(stage.as_str()) {
                        drawing.edges.push((From::Stage(*maker), reader, output));
                    }
                }
                Input::Path(_) | Input::Url { .. } | Input::Hub { .. } => {
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
    for (from, to, label) in &drawing.edges {
        let from = match from {
            From::Stage(index) => format!("stage{index}"),
            From::Source(index) => format!("source{index}"),
        };
        let _ = writeln!(out, "  {from} -> stage{to} [label={}];", dot_quoted(label));
    }
    out.push_str("}\n");
    out
}

/// A quoted string of DOT. In labels a backslash begins an escape, so it is doubled too.
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
    for (from, to, label) in &drawing.edges {
        let from = match from {
            From::Stage(index) => format!("stage{index}"),
            From::Source(index) => format!("source{index}"),
        };
        let _ = writeln!(out, "  {from} -->|{}| stage{to}", mermaid_quoted(label));
    }
    out
}

/// A quoted text of Mermaid, whose only escapes are `#…;` entities.
fn mermaid_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in printable(text).chars() {
        match character {
            // `[` and the like are safe in quotes; these are read as markup or as an entity.
            '"' | '#' | '<' | '>' | '&' | '`' | ';' | '\\' => {
                let _ = write!(quoted, "#{};", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
