//! What the nodes of a run wait for, besides a slot.

use std::collections::{BTreeMap, VecDeque};

use crate::run::node::NodeIndex;
use crate::store::key::Key;

/// Everything that is under way and that some node, or the end of the run, waits for.
#[derive(Default)]
pub struct Waits {
    /// Nodes whose last input may have arrived.
    pub unsettled: VecDeque<NodeIndex>,
    /// How many nodes wait for a lock that another process holds.
    pub locked_out: usize,
    /// The keys that this process is computing, with the other nodes that have the same key.
    pub keys: BTreeMap<Key, Vec<NodeIndex>>,
    /// The downloads under way, with the nodes that wait for each.
    pub downloads: BTreeMap<String, Vec<NodeIndex>>,
    /// The keys for which the remote is being asked, with the nodes that have each.
    pub looking: BTreeMap<Key, Vec<NodeIndex>>,
    /// The results that are being uploaded, with the seconds that computing each took.
    pub uploads: BTreeMap<Key, f64>,
}
