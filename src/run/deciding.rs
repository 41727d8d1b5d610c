//! Deciding a stage whose makers have finished: a hit, or ready to run.

use crate::files::lock::Lock;
use crate::plan::inputs::{FoundInputs, KeyedStage, find_inputs};
use crate::plan::{Decision, decide};
use crate::run::failure::StageFailure;
use crate::run::node::{NodeIndex, NodeState, Ready};
use crate::run::schedule::Schedule;
use crate::store::record::Artifact;

impl Schedule<'_, '_> {
    /// Decides all stages whose makers have finished since the last call.
    pub(super) fn settle_all(&mut self) {
        while let Some(node) = self.waits.unsettled.pop_front() {
            let waits = matches!(self.nodes[node].state, NodeState::Waiting);
            if waits && self.nodes[node].needs.is_empty() {
                self.settle(node);
            }
        }
    }

    fn settle(&mut self, node: NodeIndex) {
        if let Some(record) = self.nodes[node].planned.take() {
            self.nodes[node].as_planned = true;
            return self.hit(node, record);
        }
        let stage = self.stage(node);
        let artifact = |stage: &str, output: &str| -> Option<Artifact> {
            match &self.nodes[self.nodes.find(stage)?].state {
                NodeState::Done(record) => record.outputs.get(output).copied(),
                _ => None,
            }
        };
        match find_inputs(stage, &artifact, self.context.sources) {
            Err(error) => self.fail(node, StageFailure::Input(error)),
            Ok(FoundInputs::Incomplete { downloads, .. }) => {
                for input in downloads {
                    self.fetch(node, input);
                }
            }
            Ok(FoundInputs::All(resolved)) => self.decide(node, *resolved, None),
        }
    }

    /// Decides whether a stage is a hit or has to run.
    pub(super) fn decide(&mut self, node: NodeIndex, resolved: KeyedStage, lock: Option<Lock>) {
        let forced = self.nodes[node].forced.clone();
        let (stage, store) = (self.stage(node), self.context.store);
        match decide(stage, &resolved, forced.is_some(), self.context.sources, store) {
            Decision::Hit(record) => {
                drop(lock);
                self.hit(node, record);
            }
            Decision::Run { reason, .. } => {
                let reason = forced.unwrap_or(reason);
                if let Some(fixed) = self.nodes[node].fixed {
                    return self.fail(node, StageFailure::MayNotRun { reason, fixed });
                }
                self.look(node, Box::new(Ready { resolved, reason, lock }));
            }
            Decision::Wait(_) => {}
        }
    }

    /// Lets a node wait for a slot.
    pub(super) fn make_ready(&mut self, node: NodeIndex, ready: Box<Ready>) {
        self.nodes[node].state = NodeState::Ready(ready);
        let is_elsewhere = self.is_elsewhere(node);
        self.slots.queue(is_elsewhere).ready.insert(node);
    }
}
