//! The run: stages start as soon as their inputs are known and a place is free. A stage that
//! waited gets its key from the same function as in the plan; the same bytes are a hit, and so a
//! rebuilt input that came out the same stops the rebuild there.
//!
//! One thread schedules and owns all state; each stage that runs has a thread, and they talk
//! through one channel. Nothing polls.

pub mod again;
pub mod continuation;
mod ending;
pub mod event;
pub mod failure;
mod guarded;
mod inputs;
pub mod job;
mod node;
pub mod prepare;
pub mod publish;
mod remote;
mod schedule;
mod sharing;
mod shrink;
pub mod signals;
mod starting;
pub mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender};

use stages::Event;

use crate::executor::{Executor, Stopper};
use crate::files::file_error::FileError;
use crate::files::lock::{Lock, remove_free_locks};
use crate::files::scratch::Scratch;
use crate::pipeline::Pipeline;
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::remote::Remote;
use crate::run::event::{Retry, RunEvent, Summary};
use crate::run::failure::{FetchError, StageFailure};
use crate::run::job::JobContext;
use crate::run::prepare::Setting;
use crate::run::remote::Session;
use crate::run::schedule::Schedule;
use crate::run::units::Unit;
use crate::sources::Sources;
use crate::store::key::Key;
use crate::store::record::Record;

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct RunConfig {
    pub jobs: usize,
    /// The same of those that a scheduler runs.
    pub jobs_elsewhere: usize,
    /// After a failure, go on with stages that do not depend on it.
    pub keep_going: bool,
    /// These run even if they are hits.
    pub forced: BTreeSet<String>,
    /// Published files that were edited are overwritten; those of a forced stage in any case.
    pub overwrite_published: bool,
    /// All other stages of the plan must be hits, and none of them runs.
    pub only: Option<BTreeSet<String>>,
    /// How many there are of each counted thing; 1 of one that is not named.
    pub resources: BTreeMap<String, u32>,
}

/// What reaches the scheduler.
pub enum Message {
    Started {
        stage: usize,
        stopper: Box<dyn Stopper>,
    },
    Says {
        stage: usize,
        event: Event,
    },
    /// An attempt has failed, and the next one begins.
    Retried {
        stage: usize,
        retry: Retry,
    },
    Finished {
        stage: usize,
        result: Result<Box<Record>, StageFailure>,
    },
    /// The lock of a key that another process held.
    Locked {
        stage: usize,
        lock: Result<Lock, FileError>,
    },
    Fetched {
        input: String,
        result: Result<(), FetchError>,
    },
    /// What became of asking the remote for a key.
    Looked {
        key: Key,
        /// The result is in the store now.
        found: bool,
    },
    /// Something goes on for a stage before it runs.
    Waits {
        stage: usize,
        message: String,
    },
    Warns {
        message: String,
    },
    Uploaded {
        key: Key,
        done: bool,
    },
    /// Another engine has let go of a unit of some resource.
    UnitFree {
        unit: Unit,
    },
    /// Ctrl-C, or a signal like it.
    Interrupt,
}

/// All that a run stands on.
pub struct Ground<'a> {
    pub pipeline: &'a Pipeline,
    pub graph: &'a Graph,
    pub setting: Setting<'a>,
    pub sources: &'a Sources,
    pub executor: &'a dyn Executor,
    /// Asked before a stage is computed, and given what was.
    pub remote: Option<&'a Arc<Remote>>,
}

/// Carries out a plan and says how it goes. `channel` may bring [`Message::Interrupt`] from
/// outside.
pub fn run(
    plan: Plan,
    config: &RunConfig,
    ground: &Ground,
    channel: (Sender<Message>, Receiver<Message>),
    report: &mut dyn FnMut(RunEvent),
) -> Result<Summary, FileError> {
    let store = ground.setting.store;
    store.prepare()?;
    let scratch = Scratch::new(&store.scratch_folder())?;
    store.hide(&scratch)?;
    let setting = Setting { ..ground.setting };
    let context = JobContext {
        setting,
        scratch: &scratch,
        sources: ground.sources,
        executor: ground.executor,
        interrupted: AtomicBool::new(false),
    };
    let open = |remote| Session::new(remote, store, channel.0.clone());
    let remote = ground.remote.map(open).transpose()?;
    let summary = std::thread::scope(|scope| {
        let mut schedule = Schedule::new(&plan, config, ground, &context, channel, scope, report);
        schedule.remote = remote;
        schedule.run(plan)
    });
    store.remove_finished_states();
    remove_free_locks(&store.locks_folder());
    // The index saves reading only; a project that cannot be written to has none.
    let _ = ground.sources.index.save(&scratch);
    Ok(summary)
}
