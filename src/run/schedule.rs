//! The scheduler: which stage starts when, and what follows from how it ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, Sender};
use std::thread::Scope;
use std::time::Instant;

use crate::executor::status::Stop;
use crate::files::lock::Lock;
use crate::pipeline::{Input, Stage, input_and_entry};
use crate::plan::inputs::{FoundInputs, KeyedStage, find_inputs};
use crate::plan::reason::Reason;
use crate::plan::{Decision, Plan, PlannedStage, decide};
use crate::run::event::{RunEvent, Summary};
use crate::run::failure::{FetchError, Fixed, StageFailure};
use crate::run::guarded::guarded;
use crate::run::job::JobContext;
use crate::run::node::{Node, Ready, State};
use crate::run::remote::Session;
use crate::run::units::Units;
use crate::run::{Ground, Message, RunConfig};
use crate::sources::downloads::DownloadProgress;
use crate::store::key::Key;
use crate::store::record::Artifact;
use stages::Event;

pub struct Schedule<'run, 'scope> {
    pub(super) config: &'scope RunConfig,
    pub(super) ground: &'scope Ground<'scope>,
    pub(super) context: &'scope JobContext<'scope>,
    pub(super) scope: &'scope Scope<'scope, 'run>,
    pub(super) sender: Sender<Message>,
    pub(super) receiver: Receiver<Message>,
    pub(super) report: &'run mut dyn FnMut(RunEvent),
    /// In topological order, and that is the order in which stages that are ready start.
    pub(super) nodes: Vec<Node>,
    /// The node's place in the pipeline, and back.
    pub(super) stage_of: Vec<usize>,
    pub(super) node_of: BTreeMap<&'scope str, usize>,
    pub(super) ready: BTreeSet<usize>,
    /// The same of those that a scheduler runs: it has places of its own.
    pub(super) ready_elsewhere: BTreeSet<usize>,
    /// Nodes that may have got the last of their inputs.
    pub(super) unsettled: VecDeque<usize>,
    pub(super) running: usize,
    /// How many of them a scheduler runs.
    pub(super) running_elsewhere: usize,
    /// The counted things that stages hold while they run.
    pub(super) units: Units,
    /// Nodes that another process's lock holds up.
    pub(super) locked_out: usize,
    /// Keys that run in this process, with the nodes that want the same.
    pub(super) keys: BTreeMap<Key, Vec<usize>>,
    /// Downloads under way, with the nodes that wait for them.
    pub(super) downloads: BTreeMap<String, Vec<usize>>,
    pub(super) remote: Option<Session>,
    /// Keys that the remote is asked for, with the nodes that want the same.
    pub(super) looking: BTreeMap<Key, Vec<usize>>,
    /// Results on their way to the remote, and what computing each took.
    pub(super) uploads: BTreeMap<Key, f64>,
    pub(super) interrupts: usize,
    /// Nothing new starts.
    pub(super) stopping: bool,
    pub(super) summary: Summary,
    pub(super) began: Instant,
}

impl<'run, 'scope> Schedule<'run, 'scope> {
    pub fn new(
        plan: &Plan,
        config: &'scope RunConfig,
        ground: &'scope Ground<'scope>,
        context: &'scope JobContext<'scope>,
        channel: (Sender<Message>, Receiver<Message>),
        scope: &'scope Scope<'scope, 'run>,
        report: &'run mut dyn FnMut(RunEvent),
    ) -> Self {
        let stage_of: Vec<usize> = plan.stages.iter().map(|planned| planned.stage).collect();
        let places: BTreeMap<usize, usize> =
            stage_of.iter().enumerate().map(|(node, stage)| (*stage, node)).collect();
        let nodes = |stages: Vec<usize>| -> Vec<usize> {
            stages.into_iter().filter_map(|stage| places.get(&stage).copied()).collect()
        };
        let stages = &ground.pipeline.stages;
        let make = |planned: &PlannedStage| {
            let (stage, name) = (planned.stage, &stages[planned.stage].name);
            let is_frozen = planned.frozen.is_some();
            let makers = if is_frozen { Vec::new() } else { ground.graph.makers(stage) };
            let not_asked = config.only.as_ref().is_some_and(|only| !only.contains(name));
            let fixed = not_asked.then_some(Fixed::NotAsked);
            Node {
                state: State::Waiting,
                needs: nodes(makers).into_iter().collect(),
                readers: nodes(ground.graph.readers(stage)),
                forced: config.forced.contains(name).then_some(Reason::Forced),
                fixed: if is_frozen { Some(Fixed::Frozen) } else { fixed },
                frozen: None,
                repaired: false,
                outcome: None,
                planned: None,
                as_planned: false,
                looked: false,
                pulled: false,
            }
        };
        let locks = ground.setting.store.locks_folder();
        Schedule {
            nodes: plan.stages.iter().map(make).collect(),
            units: Units::new(locks, config.resources.clone(), channel.0.clone()),
            node_of: places
                .iter()
                .map(|(stage, node)| (stages[*stage].name.as_str(), *node))
                .collect(),
            stage_of,
            config,
            ground,
            context,
            scope,
            sender: channel.0,
            receiver: channel.1,
            report,
            ready: BTreeSet::new(),
            ready_elsewhere: BTreeSet::new(),
            unsettled: VecDeque::new(),
            running: 0,
            running_elsewhere: 0,
            locked_out: 0,
            keys: BTreeMap::new(),
            downloads: BTreeMap::new(),
            remote: None,
            looking: BTreeMap::new(),
            uploads: BTreeMap::new(),
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
        for (node, planned) in plan.stages.into_iter().enumerate() {
            if let Decision::Hit(record) = planned.decision {
                self.nodes[node].planned = Some(record);
            }
            self.nodes[node].frozen = planned.frozen;
            self.unsettled.push_back(node);
        }
        loop {
            self.settle_all();
            self.start_ready();
            if !self.unsettled.is_empty() {
                continue;
            }
            let elsewhere = self.locked_out > 0 || self.units.held_up();
            let pending = !self.stopping
                && (elsewhere || !self.downloads.is_empty() || !self.looking.is_empty());
            if self.running == 0 && !pending {
                break;
            }
            // We hold a sender ourselves, so the channel never closes.
            let message: Result<Message, RecvError> = self.receiver.recv();
            if let Ok(message) = message {
                self.handle(message);
            }
        }
        self.skip_the_rest();
        self.finish_uploads();
        self.summary.interrupted = self.interrupts > 0;
        self.summary.seconds = self.began.elapsed().as_secs_f64();
        self.summary.files_read = self.ground.sources.index.files_read();
        (self.report)(RunEvent::RunFinished(self.summary.clone()));
        self.summary.clone()
    }

    pub(super) fn handle(&mut self, message: Message) {
        match message {
            Message::Started { stage: node, stopper } => {
                match self.interrupts {
                    0 => {}
                    1 => stopper.stop(Stop::Politely),
                    _ => stopper.stop(Stop::Now),
                }
                if let State::Running { stopper: place, .. } = &mut self.nodes[node].state {
                    *place = Some(stopper);
                }
            }
            Message::Says { stage: node, event } => {
                let stage = self.stage(node).name.clone();
                (self.report)(RunEvent::StageSays { stage, said: event });
            }
            Message::Retried { stage: node, retry } => {
                let stage = self.stage(node).name.clone();
                (self.report)(RunEvent::StageRetried { stage, retry });
            }
            Message::Finished { stage: node, result } => self.finished(node, result),
            Message::UnitFree { unit } => self.units.freed(&unit),
            Message::Locked { stage: node, lock } => {
                self.locked_out -= 1;
                let State::Parked(mut ready) = self.take(node) else { return };
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
            Message::Waits { stage: node, message } => {
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
        for node in &self.nodes {
            if let State::Running { stopper: Some(stopper), .. } = &node.state {
                stopper.stop(how);
            }
        }
        if self.interrupts == 1 && self.running > 0 {
            let message = "ending the stages that run; once more to kill them".to_owned();
            (self.report)(RunEvent::Warning { message });
        }
    }

    pub(super) fn stage(&self, node: usize) -> &'scope Stage {
        &self.ground.pipeline.stages[self.stage_of[node]]
    }

    /// Whether a scheduler runs it.
    pub(super) fn is_elsewhere(&self, node: usize) -> bool {
        self.stage(node).handling.is_elsewhere()
    }

    pub(super) fn take(&mut self, node: usize) -> State {
        std::mem::replace(&mut self.nodes[node].state, State::Waiting)
    }

    /// Decides all stages whose makers have finished since the last time.
    fn settle_all(&mut self) {
        while let Some(node) = self.unsettled.pop_front() {
            let waits = matches!(self.nodes[node].state, State::Waiting);
            if waits && self.nodes[node].needs.is_empty() {
                self.settle(node);
            }
        }
    }

    fn settle(&mut self, node: usize) {
        if let Some(record) = self.nodes[node].planned.take() {
            self.nodes[node].as_planned = true;
            return self.hit(node, record);
        }
        let stage = self.stage(node);
        let artifact = |stage: &str, output: &str| -> Option<Artifact> {
            match &self.nodes[*self.node_of.get(stage)?].state {
                State::Done(record) => record.outputs.get(output).copied(),
                _ => None,
            }
        };
        match find_inputs(stage, &artifact, self.ground.sources) {
            Err(error) => self.fail(node, StageFailure::Input(error)),
            Ok(FoundInputs::Incomplete { downloads, .. }) => {
                for input in downloads {
                    self.fetch(node, input);
                }
            }
            Ok(FoundInputs::All(resolved)) => self.decide(node, *resolved, None),
        }
    }

    /// A hit, or ready to run.
    pub(super) fn decide(&mut self, node: usize, resolved: KeyedStage, lock: Option<Lock>) {
        let forced = self.nodes[node].forced.clone();
        let (stage, store) = (self.stage(node), self.context.setting.store);
        match decide(stage, &resolved, forced.is_some(), self.ground.sources, store) {
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

    pub(super) fn make_ready(&mut self, node: usize, ready: Box<Ready>) {
        self.nodes[node].state = State::Ready(ready);
        match self.is_elsewhere(node) {
            true => self.ready_elsewhere.insert(node),
            false => self.ready.insert(node),
        };
    }

    fn fetch(&mut self, node: usize, input: Input) {
        if self.stopping {
            return;
        }
        let name = input.to_string();
        let waiting = self.downloads.entry(name.clone()).or_default();
        waiting.push(node);
        if waiting.len() > 1 {
            return;
        }
        let stage = self.stage(node).name.clone();
        (self.report)(RunEvent::StageWaiting { stage, message: format!("downloading {name}") });
        let (downloads, sender) = (self.ground.sources.downloads(), self.sender.clone());
        // Not in the scope: an interrupted run does not wait for a download.
        std::thread::spawn(move || {
            let mut progress = |progress: DownloadProgress| {
                let event = Event::Progress {
                    done: progress.done_bytes,
                    total: progress.total_bytes,
                    unit: format!("bytes of {}", progress.file),
                    values: BTreeMap::new(),
                };
                // The run may have ended meanwhile.
                let _ = sender.send(Message::Says { stage: node, event });
            };
            let fetched = guarded(|| downloads.fetch(&input, &mut progress).map(drop));
            let result = match fetched {
                Ok(result) => result.map_err(FetchError::Source),
                Err(message) => Err(FetchError::Panicked(message)),
            };
            let _ = sender.send(Message::Fetched { input: name, result });
        });
    }

    fn fetched(&mut self, input: &str, result: Result<(), FetchError>) {
        let waiting = self.downloads.remove(input).unwrap_or_default();
        let Err(error) = result else { return self.unsettled.extend(waiting) };
        for node in waiting {
            let stage = self.stage(node);
            let wired = stage.inputs.iter().find(|(_, wired)| wired.to_string() == input);
            let key =
                wired.map(|(name, _)| format!("{}.inputs.{}", stage.name, input_and_entry(name).0));
            let hint = match &error {
                FetchError::Source(error) => {
                    error.hint(&key.as_deref().into_iter().collect::<Vec<_>>())
                }
                FetchError::Panicked(_) => None,
            };
            let message = error.to_string();
            self.fail(node, StageFailure::Download { message, hint });
        }
    }
}
