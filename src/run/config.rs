//! What the user asked a run to do.

use std::collections::{BTreeMap, BTreeSet};

/// The options of one run.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// How many stages run at once on this machine.
    pub jobs: usize,
    /// The same limit for stages that a scheduler runs.
    pub jobs_elsewhere: usize,
    /// After a failure, continue with the stages that do not depend on it.
    pub keep_going: bool,
    /// These stages run even if they are hits.
    pub forced: BTreeSet<String>,
    /// Overwrite published files that the user has edited. The files of a forced stage are always
    /// overwritten.
    pub overwrite_published: bool,
    /// All other stages of the plan must be hits; none of them runs.
    pub only: Option<BTreeSet<String>>,
    /// How many units of each counted resource exist; 1 if it is not listed.
    pub resources: BTreeMap<String, u32>,
}
