//! Starting a stage whose inputs are known: in the order of the pipeline, as slots and resources
//! allow, under the lock of its key.

use std::path::{Path, PathBuf};

use crate::files::lock::Lock;
use crate::files::threads;
use crate::plan::reason::Reason;
use crate::plan::{Decision, decide};
use crate::run::event::RunEvent;
use crate::run::failure::StageFailure;
use crate::run::guarded::guarded;
use crate::run::job::{Job, run_stage};
use crate::run::message::Message;
use crate::run::node::{NodeIndex, NodeState, Ready};
use crate::run::schedule::Schedule;
use crate::run::unit::Held;
use crate::run::units::Taken;

impl Schedule<'_, '_> {
    pub(super) fn start_ready(&mut self) {
        while !self.stopping
            && let Some((node, queued)) = self.next_ready()
        {
            if let NodeState::Ready(ready) = self.take(node) {
                self.start(node, *ready, queued);
            }
        }
    }

    /// The next stage that has a slot, and whether it was queued for a resource. Stages that were
    /// queued go first.
    fn next_ready(&mut self) -> Option<(NodeIndex, bool)> {
        let (here, elsewhere) = (self.slots.here.has_free(), self.slots.elsewhere.has_free());
        if !here && !elsewhere {
            return None;
        }
        let nodes = &self.nodes;
        let wanted = |node: NodeIndex, resource: &str| {
            let stage = nodes[node].stage;
            if !(if stage.handling.is_elsewhere() { elsewhere } else { here }) {
                // More than ever exists: its turn comes when it has a slot.
                return u32::MAX;
            }
            stage.handling.resources.get(resource).copied().unwrap_or(0)
        };
        if let Some(node) = self.slots.units.next(&wanted) {
            return Some((node, true));
        }
        Some((self.slots.take_first()?, false))
    }

    /// Takes the units that a stage holds while it runs. `None`: it waits for some, or has failed.
    fn take_units(&mut self, node: NodeIndex, ready: Ready, queued: bool) -> Option<(Ready, Held)> {
        let wanted = &self.stage(node).handling.resources;
        if wanted.is_empty() {
            return Some((ready, Held::new()));
        }
        let queue = self.slots.units.has_queue(wanted).filter(|_| !queued);
        let taken = match queue {
            Some(resource) => {
                self.slots.units.queue(node, resource);
                Taken::Short { resource: resource.to_owned(), newly_foreign: false }
            }
            None => match self.slots.units.take(node, wanted) {
                Ok(taken) => taken,
                Err(error) => {
                    self.fail(node, error.into());
                    return None;
                }
            },
        };
        match taken {
            Taken::All(held) => Some((ready, held)),
            Taken::Short { resource, newly_foreign } => {
                if newly_foreign {
                    let message = format!("another `pipe` holds the resource `{resource}`");
                    let stage = self.stage(node).name.clone();
                    (self.report)(RunEvent::StageWaiting { stage, message });
                }
                self.nodes[node].state = NodeState::Ready(Box::new(ready));
                None
            }
        }
    }

    /// Takes the units and the lock that a stage needs, checks once more whether there is a record
    /// by now, and starts the stage.
    fn start(&mut self, node: NodeIndex, ready: Ready, queued: bool) {
        if self.is_outdated(node, &ready.resolved.fields.inputs) {
            return self.decide_anew(node);
        }
        let key = ready.resolved.key;
        if let Some(same) = self.waits.keys.get_mut(&key) {
            same.push(node);
            self.nodes[node].state = NodeState::Parked(Box::new(ready));
            return;
        }
        let Some((ready, held)) = self.take_units(node, ready, queued) else { return };
        let Ready { resolved, reason, lock } = ready;
        let file = self.context.store.lock_file(key);
        let lock = match lock.map_or_else(|| Lock::try_acquire(&file), |lock| Ok(Some(lock))) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                self.slots.units.give_back(held);
                self.nodes[node].state =
                    NodeState::Parked(Box::new(Ready { resolved, reason, lock: None }));
                self.wait_for_lock(node, file);
                return;
            }
            Err(error) => {
                self.slots.units.give_back(held);
                return self.fail(node, error.into());
            }
        };
        let stage = self.stage(node);
        let forced = self.nodes[node].forced.is_some();
        let decision = decide(stage, &resolved, forced, self.context.sources, self.context.store);
        if let Decision::Hit(record) = decision {
            drop(lock);
            self.slots.units.give_back(held);
            return self.hit(node, record);
        }
        self.waits.keys.insert(key, Vec::new());
        let is_elsewhere = self.is_elsewhere(node);
        self.slots.queue(is_elsewhere).running += 1;
        let fresh = reason == Reason::Forced;
        let environment = self.slots.units.environment(&held, self.context.device);
        let inputs = resolved.fields.inputs.clone();
        self.nodes[node].state = NodeState::Running { stopper: None, key, held, inputs };
        (self.report)(RunEvent::StageStarted { stage: stage.name.clone(), key, reason });
        let (sender, context) = (self.sender.clone(), self.context);
        let started = threads::spawn_scoped(self.scope, Path::new(&stage.name), move || {
            let send = |message| drop(sender.send(message));
            let run = || {
                let environment = &environment;
                let job = Job { stage, resolved: &resolved, fresh, environment };
                run_stage(
                    &job,
                    context,
                    &mut |stopper| send(Message::Started { node, stopper }),
                    &mut |event| send(Message::Says { node, event: event.clone() }),
                    &mut |retry| send(Message::Retried { node, retry }),
                )
            };
            let result =
                guarded(run).unwrap_or_else(|message| Err(StageFailure::Panicked { message }));
            // Anyone who waits for the lock finds the record.
            drop(lock);
            send(Message::Finished { node, result: result.map(Box::new) });
        });
        if let Err(error) = started {
            let _ = self.sender.send(Message::Finished { node, result: Err(error.into()) });
        }
    }

    fn wait_for_lock(&mut self, node: NodeIndex, file: PathBuf) {
        self.waits.locked_out += 1;
        let message = "another `pipe` is computing the same result".to_owned();
        let stage = self.stage(node).name.clone();
        (self.report)(RunEvent::StageWaiting { stage, message });
        let (sender, purpose) = (self.sender.clone(), file.clone());
        // Not in the scope: an interrupted run does not wait for the other process.
        let started = threads::spawn(&purpose, move || {
            let lock = Lock::acquire(&file);
            let _ = sender.send(Message::Locked { node, lock });
        });
        if let Err(error) = started {
            let _ = self.sender.send(Message::Locked { node, lock: Err(error) });
        }
    }
}
