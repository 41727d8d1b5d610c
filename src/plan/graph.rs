//! The graph of the stages, and the order in which they run. Edges come from `stage:output` inputs
//! only; no edge is inferred from paths.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};

use crate::pipeline::{Input, Pipeline, StageIndex};

/// The stages of a pipeline, by index. An edge leads from the stage that makes an artifact to a
/// stage that reads it.
#[derive(Clone, Debug)]
pub struct Graph {
    graph: DiGraph<(), ()>,
    order: Vec<StageIndex>,
    level: Vec<usize>,
}

impl Graph {
    /// The graph of a loaded pipeline. Loading refuses cycles; in a pipeline that was not loaded,
    /// stages on a cycle would be missing from [`Graph::order`].
    pub fn new(pipeline: &Pipeline) -> Graph {
        let stages = &pipeline.stages;
        let index: HashMap<&str, usize> =
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
        let graph = of_edges(stages.len(), &edges);
        let (order, level) = sort(&graph);
        Graph { graph, order: order.into_iter().map(StageIndex).collect(), level }
    }

    /// The stages in the order in which they may run: each after all that it reads from, and
    /// otherwise in the order of the file.
    pub fn order(&self) -> &[StageIndex] {
        &self.order
    }

    /// The length of the longest path that leads to this stage: 0 if it reads from no other.
    pub fn level(&self, stage: StageIndex) -> usize {
        self.level[stage.0]
    }

    /// The stages whose outputs a stage reads, in the order of the file.
    pub fn makers(&self, stage: StageIndex) -> Vec<StageIndex> {
        self.neighbours(stage, Direction::Incoming)
    }

    /// The stages that read a stage's outputs, in the order of the file.
    pub fn readers(&self, stage: StageIndex) -> Vec<StageIndex> {
        self.neighbours(stage, Direction::Outgoing)
    }

    /// These stages and all stages that they need.
    pub fn upstream(&self, stages: &[StageIndex]) -> BTreeSet<StageIndex> {
        let reversed = Reversed(&self.graph);
        let mut search = Dfs::empty(reversed);
        let mut found = BTreeSet::new();
        for stage in stages {
            search.stack.push(NodeIndex::new(stage.0));
            while let Some(node) = search.next(reversed) {
                found.insert(StageIndex(node.index()));
            }
        }
        found
    }

    /// These stages and all stages that need them.
    pub fn downstream(&self, stages: &[StageIndex]) -> BTreeSet<StageIndex> {
        let mut search = Dfs::empty(&self.graph);
        let mut found = BTreeSet::new();
        for stage in stages {
            search.stack.push(NodeIndex::new(stage.0));
            while let Some(node) = search.next(&self.graph) {
                found.insert(StageIndex(node.index()));
            }
        }
        found
    }

    fn neighbours(&self, stage: StageIndex, direction: Direction) -> Vec<StageIndex> {
        let neighbours = self.graph.neighbors_directed(NodeIndex::new(stage.0), direction);
        let mut found: Vec<StageIndex> = neighbours.map(|node| StageIndex(node.index())).collect();
        found.sort_unstable();
        found
    }
}

/// The level of each of `nodes` nodes in the graph with the edges `(maker, reader)`: the length of
/// the longest path that leads to it.
pub fn levels(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    sort(&of_edges(nodes, edges)).1
}

/// The graph of `nodes` nodes with the edges `(maker, reader)`. One that repeats is one edge.
fn of_edges(nodes: usize, edges: &[(usize, usize)]) -> DiGraph<(), ()> {
    let mut graph = DiGraph::with_capacity(nodes, edges.len());
    for _ in 0..nodes {
        graph.add_node(());
    }
    for (maker, reader) in edges {
        graph.update_edge(NodeIndex::new(*maker), NodeIndex::new(*reader), ());
    }
    graph
}

/// The order of the stages, and their levels, by Kahn's algorithm. Among the stages that could come
/// next it takes the first of the file, which `petgraph::algo::toposort` does not promise.
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
