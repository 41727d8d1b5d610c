//! The order of the stages, what is upstream and downstream of them, and the drawings.

use std::collections::BTreeSet;

use pipe::pipeline::{Pipeline, StageIndex};
use pipe::plan::drawing::{Format, render};
use pipe::plan::graph::Graph;

use crate::pipeline::load;

/// `d` reads `b` and `c`, which both read `a`; `e` stands alone. The file does not have them in
/// this order.
fn diamond() -> Pipeline {
    let stage = |name: &str, from: &[&str]| {
        let inputs: String = from.iter().map(|from| format!("{from}_in: {from}:o, ")).collect();
        format!("  {name}: {{run: make {name}, inputs: {{{inputs}}}, outputs: [o]}}\n")
    };
    load(&format!(
        "stages:\n{}{}{}{}{}",
        stage("d", &["b", "c"]),
        stage("c", &["a"]),
        stage("e", &[]),
        stage("b", &["a"]),
        stage("a", &[])
    ))
}

fn names(pipeline: &Pipeline, stages: impl IntoIterator<Item = StageIndex>) -> Vec<&str> {
    stages.into_iter().map(|index| pipeline[index].name.as_str()).collect()
}

fn index(pipeline: &Pipeline, name: &str) -> StageIndex {
    pipeline.indices().find(|index| pipeline[*index].name == name).unwrap()
}

#[test]
fn every_stage_comes_after_its_makers_and_ties_keep_the_order_of_the_file() {
    let pipeline = diamond();
    let graph = Graph::new(&pipeline);
    assert_eq!(names(&pipeline, graph.order().to_vec()), ["e", "a", "c", "b", "d"]);
}

#[test]
fn closures_hold_everything_needed_and_everything_needing() {
    let pipeline = diamond();
    let graph = Graph::new(&pipeline);
    let of = |found: BTreeSet<StageIndex>| {
        let mut names = names(&pipeline, found);
        names.sort_unstable();
        names.concat()
    };
    assert_eq!(of(graph.upstream(&[index(&pipeline, "b")])), "ab");
    assert_eq!(of(graph.upstream(&[index(&pipeline, "d")])), "abcd");
    assert_eq!(of(graph.downstream(&[index(&pipeline, "b")])), "bd");
    let both = [index(&pipeline, "b"), index(&pipeline, "e")];
    assert_eq!(of(graph.downstream(&both)), "bde");
    assert_eq!(of(graph.upstream(&[])), "");
}

#[test]
fn neighbours_and_levels_are_known() {
    let pipeline = diamond();
    let graph = Graph::new(&pipeline);
    assert_eq!(names(&pipeline, graph.makers(index(&pipeline, "d"))), ["c", "b"]);
    assert_eq!(names(&pipeline, graph.readers(index(&pipeline, "a"))), ["c", "b"]);
    let level = |name: &str| graph.level(index(&pipeline, name));
    assert_eq!([level("e"), level("a"), level("b"), level("d")], [0, 0, 1, 2]);
}

#[test]
fn a_long_chain_is_sorted_without_recursion() {
    let mut yaml = String::from("stages:\n  s0: {run: x, outputs: [o]}\n");
    for index in 1..5_000 {
        let before = index - 1;
        yaml += &format!("  s{index}: {{run: x, inputs: {{i: s{before}:o}}, outputs: [o]}}\n");
    }
    let pipeline = load(&yaml);
    let graph = Graph::new(&pipeline);
    assert_eq!(graph.order().to_vec(), (0..5_000).map(StageIndex).collect::<Vec<_>>());
    assert_eq!(graph.upstream(&[StageIndex(4_999)]).len(), 5_000);
    assert_eq!(graph.level(StageIndex(4_999)), 4_999);
}

#[test]
fn the_text_shows_levels_sources_and_what_is_published() {
    let pipeline = load(
        "stages:\n  \
         one: {run: \"first\\nsecond\", inputs: {text: data.txt}, outputs: [o]}\n  \
         two: {run: x, inputs: {a: one:o, m: hub:o/n}, outputs: [r], publish: {r: out/r.txt}}\n",
    );
    let text = render(&pipeline, &Graph::new(&pipeline), Format::Text);
    assert_eq!(
        text,
        "1  one $ first; second\n   \
            └ text ← data.txt\n\
         2  two $ x\n   \
            ├ a ← one:o\n   \
            ├ m ← hub:o/n@main\n   \
            └ r → out/r.txt\n"
    );
}

#[test]
fn the_text_fits_eighty_columns() {
    let pipeline = load(&format!("stages: {{s: {{run: \"echo {}\"}}}}", "日本 x".repeat(40)));
    let text = render(&pipeline, &Graph::new(&pipeline), Format::Text);
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line}");
    }
}

/// A path with every character that DOT or Mermaid treats as markup.
const AWKWARD: &str = "a \"b\" <c> & #d; \\e[f].txt";

fn awkward() -> Pipeline {
    let yaml = format!("stages: {{s: {{run: x, inputs: {{i: './{AWKWARD}'}}}}}}");
    let project = crate::pipeline::Project::new(&yaml);
    std::fs::write(project.root().join(AWKWARD), "").unwrap();
    project.load(&pipe::pipeline::Overrides::default()).unwrap()
}

#[test]
fn dot_is_quoted() {
    let pipeline = awkward();
    let dot = render(&pipeline, &Graph::new(&pipeline), Format::Dot);
    assert_eq!(
        dot,
        "digraph pipeline {\n  rankdir=LR;\n  node [shape=box];\n  stage0 [label=\"s\"];\n  \
         source0 [shape=note, label=\"a \\\"b\\\" <c> & #d; \\\\e[f].txt\"];\n  \
         source0 -> stage0 [label=\"i\"];\n}\n"
    );
}

#[test]
fn mermaid_is_quoted() {
    let pipeline = awkward();
    let mermaid = render(&pipeline, &Graph::new(&pipeline), Format::Mermaid);
    assert_eq!(
        mermaid,
        "flowchart LR\n  stage0[\"s\"]\n  \
         source0([\"a #34;b#34; #60;c#62; #38; #35;d#59; #92;e[f].txt\"])\n  \
         source0 -->|\"i\"| stage0\n"
    );
}
