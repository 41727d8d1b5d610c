//! Starting a stage whose inputs are known: in the order of the pipeline, as far as there are
//! places and counted things, and under the lock of its key.

use std::path::PathBuf;

use crate::files::lock::Lock;
use crate::plan::reason::Reason;
use crate::plan::{Decision, decide};
use crate::run::Message;
use crate::run::event::RunEvent;
use crate::run::failure::StageFailure;
use crate::run::guarded::guarded;
use crate::run::job::{Job, run_stage};
use crate::run::node::{Ready, State};
use crate::run::schedule::Schedule;
use crate::run::units::{Held, Taken};

impl Schedule<'_, '_> {
    pub(super) fn start_ready(&mut self) {
        while !self.stopping
            && let Some((node, queued)) = self.next_ready()
        {
            if let State::Ready(ready) = self.take(node) {
                self.start(node, *ready, queued);
            }
        }
    }

    /// A stage for which there is a place, those first that have waited for some resource; and
    /// whether it is one of these.
    fn next_ready(&mut self) -> Option<(usize, bool)> {
        let here = self.running - self.running_elsewhere < self.config.jobs.max(1);
        let elsewhere = self.running_elsewhere < self.config.jobs_elsewhere.max(1);
        if !here && !elsewhere {
            return None;
        }
        let (ground, stage_of) = (self.ground, &self.stage_of);
        let wanted = |node: usize, resource: &str| {
            let stage = &ground.pipeline.stages[stage_of[node]];
            if !(if stage.handling.is_elsewhere() { elsewhere } else { here }) {
                // More than there ever is: its turn comes when there is a place.
                return u32::MAX;
            }
            stage.handling.resources.get(resource).copied().unwrap_or(0)
        };
        if let Some(node) = self.units.next(&wanted) {
            return Some((node, true));
        }
        let first_here = here.then(|| self.ready.first()).flatten();
        let first_elsewhere = elsewhere.then(|| self.ready_elsewhere.first()).flatten();
        let node = *first_here.into_iter().chain(first_elsewhere).min()?;
        self.ready.remove(&node);
        self.ready_elsewhere.remove(&node);
        Some((node, false))
    }

    /// Takes the units that a stage holds while it runs. `None`: it waits for some, or has failed.
    fn take_units(&mut self, node: usize, ready: Ready, queued: bool) -> Option<(Ready, Held)> {
        let wanted = &self.stage(node).handling.resources;
        if wanted.is_empty() {
            return Some((ready, Held::new()));
        }
        let queue = self.units.has_queue(wanted).filter(|_| !queued);
        let taken = match queue {
            Some(resource) => {
                self.units.queue(node, resource);
                Taken::Short { resource: resource.to_owned(), newly_foreign: false }
            }
            None => match self.units.take(node, wanted) {
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
                self.nodes[node].state = State::Ready(Box::new(ready));
                None
            }
        }
    }

    /// Takes what the stage needs to be alone with, looks once more whether there is a record by
    /// now, and starts.
    fn start(&mut self, node: usize, ready: Ready, queued: bool) {
        let key = ready.resolved.key;
        if let Some(same) = self.keys.get_mut(&key) {
            same.push(node);
            self.nodes[node].state = State::Parked(Box::new(ready));
            return;
        }
        let Some((ready, held)) = self.take_units(node, ready, queued) else { return };
        let Ready { resolved, reason, lock } = ready;
        let file = self.context.setting.store.lock_file(key);
        let lock = match lock.map_or_else(|| Lock::try_acquire(&file), |lock| Ok(Some(lock))) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                self.units.give_back(held);
                self.nodes[node].state =
                    State::Parked(Box::new(Ready { resolved, reason, lock: None }));
                self.wait_for_lock(node, file);
                return;
            }
            Err(error) => {
                self.units.give_back(held);
                return self.fail(node, error.into());
            }
        };
        let (stage, setting) = (self.stage(node), &self.context.setting);
        let forced = self.nodes[node].forced.is_some();
        let decision = decide(stage, &resolved, forced, self.ground.sources, setting.store);
        if let Decision::Hit(record) = decision {
            drop(lock);
            self.units.give_back(held);
            return self.hit(node, record);
        }
        self.keys.insert(key, Vec::new());
        self.running += 1;
        self.running_elsewhere += usize::from(self.is_elsewhere(node));
        let fresh = reason == Reason::Forced;
        let environment = self.units.environment(&held, setting.device);
        self.nodes[node].state = State::Running { stopper: None, key, held };
        (self.report)(RunEvent::StageStarted { stage: stage.name.clone(), key, reason });
        let (sender, context) = (self.sender.clone(), self.context);
        self.scope.spawn(move || {
            let send = |message| drop(sender.send(message));
            let run = || {
                let environment = &environment;
                let job = Job { stage, resolved: &resolved, fresh, environment };
                run_stage(
                    &job,
                    context,
                    &mut |stopper| send(Message::Started { stage: node, stopper }),
                    &mut |event| send(Message::Says { stage: node, event: event.clone() }),
                    &mut |retry| send(Message::Retried { stage: node, retry }),
                )
            };
            let result =
                guarded(run).unwrap_or_else(|message| Err(StageFailure::Panicked { message }));
            // Whoever waits for the lock finds the record.
            drop(lock);
            send(Message::Finished { stage: node, result: result.map(Box::new) });
        });
    }

    fn wait_for_lock(&mut self, node: usize, file: PathBuf) {
        self.locked_out += 1;
        let message = "another `pipe` is computing the same result".to_owned();
        let stage = self.stage(node).name.clone();
        (self.report)(RunEvent::StageWaiting { stage, message });
        let sender = self.sender.clone();
        // Not in the scope: an interrupted run does not wait for the other process.
        std::thread::spawn(move || {
            let lock = Lock::acquire(&file);
            let _ = sender.send(Message::Locked { stage: node, lock });
        });
    }
}
