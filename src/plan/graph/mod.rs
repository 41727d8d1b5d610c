//! Which stage has to run before which. Edges come from `stage:output` inputs only; no edge is
//! inferred from paths.

mod render;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};

pub use render::{Format, render};

use crate::pipeline::{Input, Pipeline};

/// The stages of a pipeline, by their index in [`Pipeline::stages`], and what they hand on.
#[derive(Clone, Debug)]
pub struct Graph {
    graph: DiGraph<(), ()>,
    order: Vec<usize>,
    level: Vec<usize>,
}

impl Graph {
    /// The graph of a loaded pipeline, which has no cycle. Stages on a cycle, which a pipeline put
    /// together by hand could have, would be in no order.
    pub fn new(pipeline: &Pipeline) -> Graph {
        let stages = &pipeline.stages;
        let index: BTreeMap<&str, usize> =
            stages.iter().enumerate().map(|(index, stage)| (stage.name.as_str(), index)).collect();
        let mut edges = Vec::new();
        for (reader, stage) in stages.iter().enumerate() {
            for input in stage.inputs.values() {
                if let Input::Artifact { stage, .. } = input
                    && let Some(maker) = index.get(stage.as_str())
                {
                    edges.push((*maker, reader));
                }
            }
        }
        Graph::of_edges(stages.len(), &edges)
    }

    /// So many stages, and who reads from whom: `(maker, reader)`, once or more.
    pub fn of_edges(stages: usize, edges: &[(usize, usize)]) -> Graph {
        let mut graph = DiGraph::with_capacity(stages, edges.len());
        for _ in 0..stages {
            graph.add_node(());
        }
        for (maker, reader) in edges {
            graph.update_edge(NodeIndex::new(*maker), NodeIndex::new(*reader), ());
        }
        let (order, level) = sort(&graph);
        Graph { graph, order, level }
    }

    /// Every stage after those it reads from; among those that are free, in the order of the file.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// How many stages lie, one behind the other, before this one: 0 for one that reads from none.
    pub fn level(&self, stage: usize) -> usize {
        self.level[stage]
    }

    /// The stages whose outputs a stage reads, in the order of the file.
    pub fn makers(&self, stage: usize) -> Vec<usize> {
        self.neighbours(stage, Direction::Incoming)
    }

    /// The stages that read a stage's outputs, in the order of the file.
    pub fn readers(&self, stage: usize) -> Vec<usize> {
        self.neighbours(stage, Direction::Outgoing)
    }

    /// These stages and everything they need.
    pub fn upstream(&self, stages: &[usize]) -> BTreeSet<usize> {
        let reversed = Reversed(&self.graph);
        let mut search = Dfs::empty(reversed);
        let mut found = BTreeSet::new();
        for stage in stages {
            search.stack.push(NodeIndex::new(*stage));
            while let Some(node) = search.next(reversed) {
                found.insert(node.index());
            }
        }
        found
    }

    /// These stages and everything that needs them.
    pub fn downstream(&self, stages: &[usize]) -> BTreeSet<usize> {
        let mut search = Dfs::empty(&self.graph);
        let mut found = BTreeSet::new();
        for stage in stages {
            search.stack.push(NodeIndex::new(*stage));
            while let Some(node) = search.next(&self.graph) {
                found.insert(node.index());
            }
        }
        found
    }

    fn neighbours(&self, stage: usize, direction: Direction) -> Vec<usize> {
        let neighbours = self.graph.neighbors_directed(NodeIndex::new(stage), direction);
        let found: BTreeSet<usize> = neighbours.map(NodeIndex::index).collect();
        found.into_iter().collect()
    }
}

/// Kahn's algorithm; of several free stages the first in the file goes first, which
/// `petgraph::algo::toposort` does not promise. Also each stage's level.
fn sort(graph: &DiGraph<(), ()>) -> (Vec<usize>, Vec<usize>) {
    let count = graph.node_count();
    let makers =
        |node: usize| graph.neighbors_directed(NodeIndex::new(node), Direction::Incoming).count();
    let mut missing: Vec<usize> = (0..count).map(makers).collect();
    let mut level = vec![0; count];
    let mut free: BinaryHeap<Reverse<usize>> =
        (0..count).filter(|node| missing[*node] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse(node)) = free.pop() {
        order.push(node);
        for reader in graph.neighbors(NodeIndex::new(node)).map(NodeIndex::index) {
            level[reader] = level[reader].max(level[node] + 1);
            missing[reader] -= 1;
            if missing[reader] == 0 {
                free.push(Reverse(reader));
            }
        }
    }
    (order, level)
}
