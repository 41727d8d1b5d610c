//! What follows when a stage has ended: publishing, repair, deciding its readers, skipping.

use std::collections::BTreeMap;
use std::path::Path;

use crate::files::digest::{Content, Digest};
use crate::pipeline::Input;
use crate::plan::Frozen;
use crate::plan::reason::Reason;
use crate::run::event::{Outcome, RunEvent, StageFinished};
use crate::run::failure::{Fixed, StageFailure};
use crate::run::node::{NodeIndex, NodeState};
use crate::run::ownership::Target;
use crate::run::publish::{Published, publish};
use crate::run::schedule::Schedule;
use crate::store::intact::Damaged;
use crate::store::record::Record;
use crate::text::variants::family;

impl Schedule<'_, '_> {
    pub(super) fn hit(&mut self, node: NodeIndex, record: Box<Record>) {
        if self.is_outdated(node, &record.fields.inputs) {
            return self.decide_anew(node);
        }
        let stage = self.stage(node);
        if let Some(Frozen { differs }) = self.nodes[node].frozen.take() {
            let (stage, key) = (stage.name.clone(), record.key);
            (self.report)(RunEvent::StageFrozen { stage, key, differs });
        }
        if let Err((output, damaged)) = self.publish(node, &record) {
            return self.repair(node, output, damaged);
        }
        if family(&record.stage) != stage.family() {
            // The record was written under another stage's name; the mark allows later comparison.
            // If it cannot be written, only an explanation is missing.
            let _ = self.context.store.mark_stage(stage.family(), record.key);
        }
        self.summary.hits += 1;
        self.summary.saved_seconds += record.seconds;
        let mut finished = StageFinished::of_record(&stage.name, Outcome::Hit, 0.0, &record);
        if self.nodes[node].pulled
            && let Some(traffic) = &mut self.summary.remote
        {
            traffic.pulled += 1;
            finished.remote = Some(traffic.name.clone());
        }
        self.done(node, record, finished);
    }

    pub(super) fn finished(&mut self, node: NodeIndex, result: Result<Box<Record>, StageFailure>) {
        let is_elsewhere = self.is_elsewhere(node);
        self.slots.queue(is_elsewhere).running -= 1;
        let mut outdated = false;
        if let NodeState::Running { key, held, inputs, .. } = self.take(node) {
            self.slots.units.give_back(held);
            outdated = self.is_outdated(node, &inputs);
            // Stages that wait for the same key: now hits, or, if this stage failed, their turn to
            // run.
            for parked in self.waits.keys.remove(&key).unwrap_or_default() {
                if let NodeState::Parked(ready) = self.take(parked) {
                    self.make_ready(parked, ready);
                }
            }
        }
        if outdated {
            return self.decide_anew(node);
        }
        let record = match result {
            Ok(record) => record,
            Err(failure) => return self.fail(node, failure),
        };
        let stage = self.stage(node);
        if let Err((output, damaged)) = self.publish(node, &record) {
            return self.repair(node, output, damaged);
        }
        self.summary.ran += 1;
        self.upload(&record);
        let finished = StageFinished::of_record(&stage.name, Outcome::Ran, record.seconds, &record);
        self.done(node, record, finished);
    }

    fn done(&mut self, node: NodeIndex, record: Box<Record>, finished: StageFinished) {
        let as_planned = self.nodes[node].as_planned;
        self.nodes[node].outcome = Some(finished.outcome);
        self.nodes[node].state = NodeState::Done(record);
        (self.report)(RunEvent::StageFinished(Box::new(finished)));
        for index in 0..self.nodes[node].readers.len() {
            let reader = self.nodes[node].readers[index];
            if !as_planned && self.nodes[reader].fixed != Some(Fixed::Frozen) {
                self.nodes[reader].planned = None;
            }
            self.nodes[reader].needs.remove(&node);
            self.waits.unsettled.push_back(reader);
            // A repair may have made other bytes than those that this reader has read.
            if let NodeState::Done(record) = &self.nodes[reader].state
                && self.is_outdated(reader, &record.fields.inputs)
            {
                self.uncount(reader);
                self.decide_anew(reader);
            }
        }
    }

    /// Whether a stage has read, or is about to read, other bytes than its makers now stand for. A
    /// maker that is being repaired does not count: when it ends, its readers are asked again.
    pub(super) fn is_outdated(&self, node: NodeIndex, used: &BTreeMap<String, Content>) -> bool {
        if self.nodes[node].fixed == Some(Fixed::Frozen) {
            return false;
        }
        self.stage(node).inputs.iter().any(|(input, wired)| {
            let Input::Artifact { stage: maker, output } = wired else { return false };
            let maker = self.nodes.find(maker).map(|maker| &self.nodes[maker].state);
            let Some(NodeState::Done(record)) = maker else { return false };
            let now = record.outputs.get(output).map(|artifact| artifact.content);
            now.is_some() && now.as_ref() != used.get(input)
        })
    }

    /// Finds the inputs of a stage again, and whether there is a record for them.
    pub(super) fn decide_anew(&mut self, node: NodeIndex) {
        let node_state = &mut self.nodes[node];
        (node_state.planned, node_state.as_planned) = (None, false);
        node_state.state = NodeState::Waiting;
        self.waits.unsettled.push_back(node);
    }

    /// Publishes the outputs. The error names the output whose object is damaged.
    fn publish(&mut self, node: NodeIndex, record: &Record) -> Result<(), (String, Damaged)> {
        let stage = self.stage(node);
        for (output, path) in &stage.publish {
            let Some(artifact) = record.outputs.get(output) else { continue };
            let target = Target { root: &self.context.pipeline.root, path };
            let overwrite =
                self.config.overwrite_published || self.config.forced.contains(&stage.name);
            let index = &self.context.sources.index;
            let scratch = self.context.scratch;
            match publish(artifact, target, overwrite, self.context.store, index, scratch) {
                Ok(Ok((Published::Unchanged, _))) => {}
                Ok(Ok((result, aside))) => {
                    (self.report)(RunEvent::Published {
                        stage: stage.name.clone(),
                        output: output.clone(),
                        path: path.clone(),
                        result,
                    });
                    if let Some(aside) = aside {
                        let (path, aside) = (path.display(), aside.display());
                        let message = format!(
                            "the folder that was at `{path}`, with your own files, is now `{aside}`"
                        );
                        (self.report)(RunEvent::Warning { message });
                    }
                }
                Ok(Err(damaged)) => return Err((output.clone(), damaged)),
                Err(error) => {
                    self.summary.not_published += 1;
                    let hint = error.hint().map(str::to_owned);
                    let message =
                        format!("`{}:{output}` could not be published: {error}", stage.name);
                    (self.report)(RunEvent::Warning { message: with_hint(message, hint) });
                }
            }
        }
        Ok(())
    }

    /// Reruns a stage whose object turned out to be damaged.
    fn repair(&mut self, node: NodeIndex, output: String, damaged: Damaged) {
        let reason = Reason::ObjectDamaged { output, digest: damaged.0 };
        if self.nodes[node].repaired {
            return self.fail(node, StageFailure::DamagedAgain { reason });
        }
        if let Some(fixed) = self.nodes[node].fixed {
            return self.fail(node, StageFailure::MayNotRun { reason, fixed });
        }
        self.nodes[node].repaired = true;
        self.nodes[node].forced = Some(reason);
        self.decide_anew(node);
    }

    /// Lets a stage whose input is damaged wait until the maker of that input has run again. False:
    /// it has waited for this maker before.
    fn await_repair(&mut self, node: NodeIndex, maker: NodeIndex, damaged: (&str, Digest)) -> bool {
        if self.stopping || !self.nodes[node].awaited_repairs.insert(maker) {
            return false;
        }
        let (output, digest) = damaged;
        // Several readers may report the same object, one after the other.
        match &self.nodes[maker].state {
            NodeState::Failed | NodeState::Skipped => return false,
            NodeState::Done(_) if !self.nodes[maker].repaired => {
                self.nodes[node].needs.insert(maker);
                self.uncount(maker);
                // If the maker must not run, this skips its readers.
                self.repair(maker, output.to_owned(), Damaged(digest));
            }
            NodeState::Done(_) => self.decide_anew(node),
            _ => drop(self.nodes[node].needs.insert(maker)),
        }
        true
    }

    pub(super) fn fail(&mut self, node: NodeIndex, failure: StageFailure) {
        let stage = self.stage(node);
        if let StageFailure::DamagedInput { input, digest, .. } = &failure
            && let Some(Input::Artifact { stage: maker, output }) = stage.inputs.get(input)
            && let Some(maker) = self.nodes.find(maker)
            && self.await_repair(node, maker, (output, *digest))
        {
            return;
        }
        let interrupted = self.interrupts > 0 && failure.may_be_by_signal();
        let failure = match interrupted {
            true => StageFailure::Interrupted { log: failure.log().map(Path::to_owned) },
            false => failure,
        };
        self.summary.failed += 1;
        self.summary.stopped += usize::from(interrupted);
        self.nodes[node].state = NodeState::Failed;
        let mut finished = StageFinished::without_record(&stage.name, Outcome::Failed, 0.0);
        finished.message = Some(failure.to_string());
        finished.hint = failure.hint();
        finished.last_lines = failure.last_lines();
        finished.log = failure.log().map(Path::to_owned);
        (self.report)(RunEvent::StageFinished(Box::new(finished)));
        self.stopping |= !self.config.keep_going;
        self.skip_readers(node, &format!("`{}` failed", stage.name));
    }

    /// Takes a stage that was counted as done out of the summary.
    fn uncount(&mut self, node: NodeIndex) {
        match (self.nodes[node].outcome, &self.nodes[node].state) {
            (Some(Outcome::Hit), NodeState::Done(record)) => {
                self.summary.hits -= 1;
                self.summary.saved_seconds -= record.seconds;
            }
            (Some(Outcome::Ran), NodeState::Done(_)) => self.summary.ran -= 1,
            _ => {}
        }
    }

    /// Skips every stage that depends on this one, directly or not.
    fn skip_readers(&mut self, node: NodeIndex, message: &str) {
        let mut next = self.nodes[node].readers.clone();
        while let Some(reader) = next.pop() {
            if matches!(self.nodes[reader].state, NodeState::Waiting) {
                self.skip(reader, message);
                next.extend(&self.nodes[reader].readers);
            }
        }
    }

    fn skip(&mut self, node: NodeIndex, message: &str) {
        self.nodes[node].state = NodeState::Skipped;
        self.summary.skipped += 1;
        let stage = &self.stage(node).name;
        let mut finished = StageFinished::without_record(stage, Outcome::Skipped, 0.0);
        finished.message = Some(message.to_owned());
        (self.report)(RunEvent::StageFinished(Box::new(finished)));
    }

    pub(super) fn skip_the_rest(&mut self) {
        let message = if self.interrupts > 0 { "interrupted" } else { "an earlier stage failed" };
        for node in self.nodes.indices() {
            if !self.nodes[node].state.is_final() {
                self.skip(node, message);
            }
        }
    }
}

fn with_hint(message: String, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{message}; {hint}"),
        None => message,
    }
}
