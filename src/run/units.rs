//! `resources:` are counted things, such as the GPUs of a machine. A stage holds some of them while
//! it runs. Each unit is a lock file in `cache/locks`, held through the kernel: the count holds
//! across all engines that share the store, and the units of a dead engine are free at once.
//!
//! A stage takes all its units or none, so two stages never wait for each other. Stages that wait
//! for the same resource get it in the order of the pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use stages::model::accelerator::name::DeviceName;

use crate::files::file_error::FileError;
use crate::files::lock::Lock;
use crate::files::threads;
use crate::pipeline::GPU;
use crate::run::message::Message;
use crate::run::node::NodeIndex;
use crate::run::unit::{Held, Unit};

/// The variable that tells CUDA which GPUs it may use.
pub const VISIBLE_DEVICES: &str = "CUDA_VISIBLE_DEVICES";

/// The resource units of this run.
pub struct Units {
    locks_folder: PathBuf,
    totals: BTreeMap<String, u32>,
    /// Held by stages of this run.
    ours: BTreeSet<Unit>,
    /// Held by another engine; a thread waits for each and sends [`Message::UnitFree`].
    foreign: BTreeSet<Unit>,
    /// Nodes that are ready except for this resource.
    waiting: BTreeMap<String, BTreeSet<NodeIndex>>,
    sender: Sender<Message>,
}

/// The result of asking for units.
pub enum Taken {
    All(Held),
    /// Too few units of this resource are free. `newly_foreign`: another engine was found to hold
    /// some.
    Short {
        resource: String,
        newly_foreign: bool,
    },
}

impl Units {
    pub fn new(
        locks_folder: PathBuf,
        totals: BTreeMap<String, u32>,
        sender: Sender<Message>,
    ) -> Units {
        let (ours, foreign, waiting) = Default::default();
        Units { locks_folder, totals, ours, foreign, waiting, sender }
    }

    /// Takes the wanted number of units of each resource, or notes that the node waits.
    pub fn take(
        &mut self,
        node: NodeIndex,
        wanted: &BTreeMap<String, u32>,
    ) -> Result<Taken, FileError> {
        let mut held = Held::new();
        for (resource, count) in wanted {
            let (mut count, mut newly_foreign) = (*count, false);
            for index in 0..self.total(resource) {
                let unit = (resource.clone(), index);
                // If too few are free, the rest stays free for others.
                if count == 0 || self.free(resource) < wanted[resource] {
                    break;
                }
                if self.ours.contains(&unit) || self.foreign.contains(&unit) {
                    continue;
                }
                match Lock::try_acquire(&self.file(&unit))? {
                    Some(lock) => {
                        held.insert(unit, lock);
                        count -= 1;
                    }
                    None => {
                        self.wait_for(unit)?;
                        newly_foreign = true;
                    }
                }
            }
            if count > 0 {
                self.waiting.entry(resource.clone()).or_default().insert(node);
                return Ok(Taken::Short { resource: resource.clone(), newly_foreign });
            }
        }
        self.ours.extend(held.keys().cloned());
        Ok(Taken::All(held))
    }

    /// Releases the units of a stage that has ended.
    pub fn give_back(&mut self, held: Held) {
        for (unit, lock) in held {
            self.ours.remove(&unit);
            drop(lock);
        }
    }

    /// Another engine has released a unit.
    pub fn freed(&mut self, unit: &Unit) {
        self.foreign.remove(unit);
    }

    /// The first node whose missing resource may be available by now. The node leaves the queue and
    /// has to try again.
    pub fn next(&mut self, wanted: &dyn Fn(NodeIndex, &str) -> u32) -> Option<NodeIndex> {
        let fits = |resource: &str, nodes: &BTreeSet<NodeIndex>| {
            let first = nodes.first()?;
            (self.free(resource) >= wanted(*first, resource)).then_some(*first)
        };
        let found = self.waiting.iter().find_map(|(resource, nodes)| {
            fits(resource, nodes).map(|node| (resource.clone(), node))
        });
        let (resource, node) = found?;
        if let Some(nodes) = self.waiting.get_mut(&resource) {
            nodes.remove(&node);
        }
        Some(node)
    }

    /// The first of these resources for which other nodes already queue; they go first.
    pub fn has_queue<'a>(&self, wanted: &'a BTreeMap<String, u32>) -> Option<&'a str> {
        let is_queue = |name: &str| self.waiting.get(name).is_some_and(|nodes| !nodes.is_empty());
        wanted.keys().map(String::as_str).find(|name| is_queue(name))
    }

    /// Adds a node to the queue of a resource.
    pub fn queue(&mut self, node: NodeIndex, resource: &str) {
        self.waiting.entry(resource.to_owned()).or_default().insert(node);
    }

    /// Whether a node waits for a unit that another engine holds.
    pub fn held_up(&self) -> bool {
        let is_foreign = |resource: &str| self.foreign.iter().any(|(name, _)| name == resource);
        self.waiting.iter().any(|(resource, nodes)| !nodes.is_empty() && is_foreign(resource))
    }

    /// The variables that tell a stage's process which GPUs it holds, if there are several to
    /// choose from. A user who names one with `--device cuda:N` or `vulkan:N` has already chosen.
    pub fn environment(&self, held: &Held, device: &str) -> Vec<(String, OsString)> {
        let gpus: Vec<u32> =
            held.keys().filter(|(name, _)| name == GPU).map(|(_, index)| *index).collect();
        if gpus.is_empty() || self.total(GPU) == 1 || has_number(device) {
            return Vec::new();
        }
        let visible = std::env::var(VISIBLE_DEVICES).ok();
        vec![(VISIBLE_DEVICES.to_owned(), gpu_names(&gpus, visible.as_deref()).into())]
    }

    fn total(&self, resource: &str) -> u32 {
        self.totals.get(resource).copied().unwrap_or(1)
    }

    fn free(&self, resource: &str) -> u32 {
        let taken = self.ours.iter().chain(&self.foreign).filter(|(name, _)| name == resource);
        let taken = taken.filter(|(_, index)| *index < self.total(resource)).count();
        self.total(resource).saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))
    }

    fn file(&self, (resource, index): &Unit) -> PathBuf {
        self.locks_folder.join(format!("resource-{resource}-{index}"))
    }

    fn wait_for(&mut self, unit: Unit) -> Result<(), FileError> {
        let (file, sender) = (self.file(&unit), self.sender.clone());
        let (purpose, foreign) = (file.clone(), unit.clone());
        // Not in the run's scope: an interrupted run does not wait for the other engine.
        threads::spawn(&purpose, move || {
            // The lock is released at once: whoever is first takes it. If waiting failed, taking it
            // shows why.
            let _ = Lock::acquire(&file);
            let _ = sender.send(Message::UnitFree { unit });
        })?;
        self.foreign.insert(foreign);
        Ok(())
    }
}

/// Whether the user picked one of several devices by its number.
fn has_number(device: &str) -> bool {
    device.parse().is_ok_and(DeviceName::has_number)
}

/// The names of these GPUs for CUDA: taken from the GPUs that the engine was given, if it was given
/// any.
fn gpu_names(gpus: &[u32], visible: Option<&str>) -> String {
    let visible: Vec<&str> = visible.map(|list| list.split(',').collect()).unwrap_or_default();
    let name = |gpu: &u32| match visible.get(*gpu as usize) {
        Some(name) => name.trim().to_owned(),
        None => gpu.to_string(),
    };
    gpus.iter().map(name).collect::<Vec<_>>().join(",")
}
