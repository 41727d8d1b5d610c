//! How many stages may run at once, and what they hold: a slot each, here or with a scheduler, and
//! units of counted resources.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use crate::run::config::RunConfig;
use crate::run::message::Message;
use crate::run::node::NodeIndex;
use crate::run::units::Units;

/// The slots of a run.
pub struct Slots {
    /// For stages on this machine.
    pub here: SlotQueue,
    /// For stages that a scheduler runs.
    pub elsewhere: SlotQueue,
    /// The counted resources that stages hold while they run.
    pub units: Units,
}

/// Slots of one kind, and the nodes that wait for one.
pub struct SlotQueue {
    pub ready: BTreeSet<NodeIndex>,
    pub running: usize,
    limit: usize,
}

impl SlotQueue {
    fn new(limit: usize) -> SlotQueue {
        SlotQueue { ready: BTreeSet::new(), running: 0, limit: limit.max(1) }
    }

    pub fn has_free(&self) -> bool {
        self.running < self.limit
    }
}

impl Slots {
    pub fn new(config: &RunConfig, locks_folder: PathBuf, sender: Sender<Message>) -> Slots {
        Slots {
            here: SlotQueue::new(config.jobs),
            elsewhere: SlotQueue::new(config.jobs_elsewhere),
            units: Units::new(locks_folder, config.resources.clone(), sender),
        }
    }

    pub fn queue(&mut self, is_elsewhere: bool) -> &mut SlotQueue {
        if is_elsewhere { &mut self.elsewhere } else { &mut self.here }
    }

    pub fn running(&self) -> usize {
        self.here.running + self.elsewhere.running
    }

    /// Takes the first ready node for which a slot is free.
    pub fn take_first(&mut self) -> Option<NodeIndex> {
        let first = |queue: &SlotQueue| queue.ready.first().copied().filter(|_| queue.has_free());
        let node = first(&self.here).into_iter().chain(first(&self.elsewhere)).min()?;
        self.here.ready.remove(&node);
        self.elsewhere.ready.remove(&node);
        Some(node)
    }
}
