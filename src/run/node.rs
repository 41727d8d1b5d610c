//! The selected stages as the scheduler sees them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Index, IndexMut};

use crate::executor::Stopper;
use crate::files::digest::Content;
use crate::files::lock::Lock;
use crate::pipeline::{Stage, StageIndex};
use crate::plan::Frozen;
use crate::plan::inputs::KeyedStage;
use crate::plan::reason::Reason;
use crate::plan::{Plan, PlannedStage};
use crate::run::config::RunConfig;
use crate::run::context::RunContext;
use crate::run::event::Outcome;
use crate::run::failure::Fixed;
use crate::run::unit::Held;
use crate::store::key::Key;
use crate::store::record::Record;

/// The position of a node in a plan. Nodes are in topological order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeIndex(usize);

/// One selected stage.
pub struct Node<'a> {
    pub stage: &'a Stage,
    pub state: NodeState,
    /// Makers of its inputs that have not finished yet.
    pub needs: BTreeSet<NodeIndex>,
    /// Selected stages that read its outputs.
    pub readers: Vec<NodeIndex>,
    /// Why it runs even if there is a record.
    pub forced: Option<Reason>,
    /// It has already rerun because its object was damaged. A second time would be an endless loop.
    pub repaired: bool,
    /// The makers whose repair it has waited for. It waits for each of them once.
    pub awaited_repairs: BTreeSet<NodeIndex>,
    /// Why it must not run.
    pub fixed: Option<Fixed>,
    /// Its newest result is used, whatever its inputs are.
    pub frozen: Option<Frozen>,
    /// How it was counted in the summary, if it is done.
    pub outcome: Option<Outcome>,
    /// The hit from the plan. It holds as long as all makers end as planned.
    pub planned: Option<Box<Record>>,
    /// The hit from the plan was used.
    pub as_planned: bool,
    /// The remote has been asked for its key.
    pub looked: bool,
    /// Its result came from the remote.
    pub pulled: bool,
}

/// How far a node has come.
pub enum NodeState {
    /// Waits for makers or downloads.
    Waiting,
    /// Its inputs are known and it is not a hit. Waits for a slot, and for the lock unless it holds
    /// it.
    Ready(Box<Ready>),
    /// The remote is being asked for its key.
    Looking(Box<Ready>),
    /// Another process or another stage is computing the same key.
    Parked(Box<Ready>),
    Running {
        stopper: Option<Box<dyn Stopper>>,
        key: Key,
        held: Held,
        /// What its inputs were when it started.
        inputs: BTreeMap<String, Content>,
    },
    Done(Box<Record>),
    Failed,
    Skipped,
}

/// What a node that is to run has got so far.
pub struct Ready {
    pub resolved: KeyedStage,
    pub reason: Reason,
    pub lock: Option<Lock>,
}

impl NodeState {
    pub fn is_final(&self) -> bool {
        matches!(self, NodeState::Done(_) | NodeState::Failed | NodeState::Skipped)
    }
}

/// All nodes of a run, in topological order: the order in which stages that are ready start.
pub struct Nodes<'a> {
    list: Vec<Node<'a>>,
    by_name: HashMap<&'a str, NodeIndex>,
}

impl<'a> Nodes<'a> {
    pub fn new(plan: &Plan, config: &RunConfig, context: &'a RunContext<'a>) -> Nodes<'a> {
        let (pipeline, graph) = (context.pipeline, context.graph);
        let positions: HashMap<StageIndex, NodeIndex> = plan
            .stages
            .iter()
            .enumerate()
            .map(|(node, planned)| (planned.stage, NodeIndex(node)))
            .collect();
        let nodes = |stages: Vec<StageIndex>| -> Vec<NodeIndex> {
            stages.into_iter().filter_map(|stage| positions.get(&stage).copied()).collect()
        };
        let make = |planned: &PlannedStage| {
            let stage = &pipeline[planned.stage];
            let is_frozen = planned.frozen.is_some();
            let makers = if is_frozen { Vec::new() } else { graph.makers(planned.stage) };
            let not_asked = config.only.as_ref().is_some_and(|only| !only.contains(&stage.name));
            let fixed = not_asked.then_some(Fixed::NotAsked);
            Node {
                stage,
                state: NodeState::Waiting,
                needs: nodes(makers).into_iter().collect(),
                readers: nodes(graph.readers(planned.stage)),
                forced: config.forced.contains(&stage.name).then_some(Reason::Forced),
                fixed: if is_frozen { Some(Fixed::Frozen) } else { fixed },
                frozen: None,
                repaired: false,
                awaited_repairs: BTreeSet::new(),
                outcome: None,
                planned: None,
                as_planned: false,
                looked: false,
                pulled: false,
            }
        };
        let by_name = positions.iter().map(|(stage, node)| (pipeline[*stage].name.as_str(), *node));
        Nodes { list: plan.stages.iter().map(make).collect(), by_name: by_name.collect() }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The positions of all nodes, in order.
    pub fn indices(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.list.len()).map(NodeIndex)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Node<'a>> {
        self.list.iter()
    }

    /// Takes the results at the end of a run. No node is left.
    pub fn take_results(&mut self) -> Vec<NodeState> {
        let states = std::mem::take(&mut self.list).into_iter().map(|node| node.state);
        states.filter(|state| matches!(state, NodeState::Done(_))).collect()
    }

    /// The node of a stage, if it is selected.
    pub fn find(&self, stage: &str) -> Option<NodeIndex> {
        self.by_name.get(stage).copied()
    }
}

impl<'a> Index<NodeIndex> for Nodes<'a> {
    type Output = Node<'a>;

    fn index(&self, NodeIndex(node): NodeIndex) -> &Node<'a> {
        &self.list[node]
    }
}

impl<'a> IndexMut<NodeIndex> for Nodes<'a> {
    fn index_mut(&mut self, NodeIndex(node): NodeIndex) -> &mut Node<'a> {
        &mut self.list[node]
    }
}
