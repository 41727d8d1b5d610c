//! A stage as the scheduler sees it.

use std::collections::BTreeSet;

use crate::executor::Stopper;
use crate::files::lock::Lock;
use crate::plan::Frozen;
use crate::plan::inputs::KeyedStage;
use crate::plan::reason::Reason;
use crate::run::event::Outcome;
use crate::run::failure::Fixed;
use crate::run::units::Held;
use crate::store::key::Key;
use crate::store::record::Record;

/// One selected stage.
pub struct Node {
    pub state: State,
    /// Makers that have not finished yet.
    pub needs: BTreeSet<usize>,
    /// Selected stages that read its outputs.
    pub readers: Vec<usize>,
    /// Why it runs even if there is a record.
    pub forced: Option<Reason>,
    /// It has run again because its object was damaged; a second time would be a circle.
    pub repaired: bool,
    /// Why it does not run whatever comes.
    pub fixed: Option<Fixed>,
    /// Its result stands, whatever its inputs are.
    pub frozen: Option<Frozen>,
    /// How it was counted, if it is done.
    pub outcome: Option<Outcome>,
    /// A hit already in the plan; holds as long as its makers end as planned.
    pub planned: Option<Box<Record>>,
    /// That hit was taken.
    pub as_planned: bool,
    /// The remote was asked for its key.
    pub looked: bool,
    /// Its result came from there.
    pub pulled: bool,
}

pub enum State {
    /// For makers or downloads.
    Waiting,
    /// Inputs known, not a hit; waits for a place, and for the lock if it is not held yet.
    Ready(Box<Ready>),
    /// The remote is asked for its key.
    Looking(Box<Ready>),
    /// Another process, or another stage, is computing the same key.
    Parked(Box<Ready>),
    Running {
        stopper: Option<Box<dyn Stopper>>,
        key: Key,
        held: Held,
    },
    Done(Box<Record>),
    Failed,
    Skipped,
}

pub struct Ready {
    pub resolved: KeyedStage,
    pub reason: Reason,
    pub lock: Option<Lock>,
}

impl State {
    pub fn is_final(&self) -> bool {
        matches!(self, State::Done(_) | State::Failed | State::Skipped)
    }
}
