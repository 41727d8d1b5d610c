//! The scheduler: owns the state of a run, and starts and ends stages as messages arrive.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::Scope;
use std::time::Instant;

use crate::executor::status::Stop;
use crate::files::threads;
use crate::pipeline::Stage;
use crate::plan::{Decision, Plan};
use crate::run::config::RunConfig;
use crate::run::context::RunContext;
use crate::run::event::{RunEvent, Summary};
use crate::run::message::Message;
use crate::run::node::{NodeIndex, NodeState, Nodes};
use crate::run::remote::Session;
use crate::run::slots::Slots;
use crate::run::waits::Waits;

/// The state of a run. Only the scheduler's thread changes it.
pub struct Schedule<'run, 'scope> {
    pub(super) config: &'scope RunConfig,
    pub(super) context: &'scope RunContext<'scope>,
    /// For the threads of the stages.
    pub(super) scope: &'scope Scope<'scope, 'run>,
    pub(super) sender: Sender<Message>,
    pub(super) receiver: Receiver<Message>,
    pub(super) report: &'run mut dyn FnMut(RunEvent),
    pub(super) nodes: Nodes<'scope>,
    pub(super) slots: Slots,
    pub(super) waits: Waits,
    pub(super) remote: Option<Session>,
    /// How often the user has interrupted the run.
    pub(super) interrupts: usize,
    /// Nothing new starts.
    pub(super) stopping: bool,
    pub(super) summary: Summary,
    began: Instant,
}

impl<'run, 'scope> Schedule<'run, 'scope> {
    pub fn new(
        plan: &Plan,
        config: &'scope RunConfig,
        context: &'scope RunContext<'scope>,
        (sender, receiver): (Sender<Message>, Receiver<Message>),
        remote: Option<Session>,
        scope: &'scope Scope<'scope, 'run>,
        report: &'run mut dyn FnMut(RunEvent),
    ) -> Self {
        Schedule {
            config,
            context,
            scope,
            nodes: Nodes::new(plan, config, context),
            slots: Slots::new(config, context.store.locks_folder(), sender.clone()),
            waits: Waits::default(),
            sender,
            receiver,
            report,
            remote,
            interrupts: 0,
            stopping: false,
            summary: Summary::default(),
            began: Instant::now(),
        }
    }

    /// Carries out the plan.
    pub fn run(&mut self, plan: Plan) -> Summary {
        let (stages, jobs) = (self.nodes.len(), self.config.jobs);
        (self.report)(RunEvent::RunStarted { stages, jobs });
        self.summary.remote = self.traffic();
        for (node, planned) in self.nodes.indices().zip(plan.stages) {
            if let Decision::Hit(record) = planned.decision {
                self.nodes[node].planned = Some(record);
            }
            self.nodes[node].frozen = planned.frozen;
            self.waits.unsettled.push_back(node);
        }
        loop {
            self.settle_all();
            self.start_ready();
            if !self.waits.unsettled.is_empty() {
                continue;
            }
            let elsewhere = self.waits.locked_out > 0 || self.slots.units.held_up();
            let pending = !self.stopping
                && (elsewhere
                    || !self.waits.downloads.is_empty()
                    || !self.waits.looking.is_empty());
            if self.slots.running() == 0 && !pending {
                break;
            }
            // We hold a sender ourselves, so the channel never closes.
            if let Ok(message) = self.receiver.recv() {
                self.handle(message);
            }
        }
        self.skip_the_rest();
        self.finish_uploads();
        self.summary.interrupted = self.interrupts > 0;
        self.summary.seconds = self.began.elapsed().as_secs_f64();
        self.summary.files_read = self.context.sources.index.files_read();
        (self.report)(RunEvent::RunFinished(self.summary.clone()));
        let results = self.nodes.take_results();
        threads::free(results.len(), results);
        self.summary.clone()
    }

    pub(super) fn handle(&mut self, message: Message) {
        match message {
            Message::Started { node, stopper } => {
                match self.interrupts {
                    0 => {}
                    1 => stopper.stop(Stop::Politely),
                    _ => stopper.stop(Stop::Now),
                }
                if let NodeState::Running { stopper: place, .. } = &mut self.nodes[node].state {
                    *place = Some(stopper);
                }
            }
            Message::Says { node, event } => {
                let stage = self.stage(node).name.clone();
                (self.report)(RunEvent::StageSays { stage, said: event });
            }
            Message::Retried { node, retry } => {
                let stage = self.stage(node).name.clone();
                (self.report)(RunEvent::StageRetried { stage, retry });
            }
            Message::Finished { node, result } => self.finished(node, result),
            Message::UnitFree { unit } => self.slots.units.freed(&unit),
            Message::Locked { node, lock } => {
                self.waits.locked_out -= 1;
                let NodeState::Parked(mut ready) = self.take(node) else { return };
                match lock {
                    Ok(lock) => {
                        ready.lock = Some(lock);
                        self.make_ready(node, ready);
                    }
                    Err(error) => self.fail(node, error.into()),
                }
            }
            Message::Fetched { input, result } => self.fetched(&input, result),
            Message::Looked { key, found } => self.looked(key, found),
            Message::Waits { node, message } => {
                let stage = self.stage(node).name.clone();
                (self.report)(RunEvent::StageWaiting { stage, message });
            }
            Message::Warns { message } => (self.report)(RunEvent::Warning { message }),
            Message::Uploaded { key, done } => self.uploaded(key, done),
            Message::Interrupt => self.interrupt(),
        }
    }

    fn interrupt(&mut self) {
        self.interrupts += 1;
        self.stopping = true;
        self.context.interrupted.store(true, Ordering::Relaxed);
        let how = if self.interrupts == 1 { Stop::Politely } else { Stop::Now };
        for node in self.nodes.iter() {
            if let NodeState::Running { stopper: Some(stopper), .. } = &node.state {
                stopper.stop(how);
            }
        }
        if self.interrupts == 1 && self.slots.running() > 0 {
            let message = "stopping the running stages; interrupt again to kill them".to_owned();
            (self.report)(RunEvent::Warning { message });
        }
    }

    pub(super) fn stage(&self, node: NodeIndex) -> &'scope Stage {
        self.nodes[node].stage
    }

    /// Whether a scheduler runs it.
    pub(super) fn is_elsewhere(&self, node: NodeIndex) -> bool {
        self.stage(node).handling.is_elsewhere()
    }

    pub(super) fn take(&mut self, node: NodeIndex) -> NodeState {
        std::mem::replace(&mut self.nodes[node].state, NodeState::Waiting)
    }
}
