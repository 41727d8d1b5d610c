//! What the scheduler's thread receives from the other threads of a run.

use stages::Event;

use crate::executor::Stopper;
use crate::files::file_error::FileError;
use crate::files::lock::Lock;
use crate::run::event::Retry;
use crate::run::failure::{FetchError, StageFailure};
use crate::run::node::NodeIndex;
use crate::run::unit::Unit;
use crate::store::key::Key;
use crate::store::record::Record;

/// One message to the scheduler.
pub enum Message {
    Started {
        node: NodeIndex,
        stopper: Box<dyn Stopper>,
    },
    Says {
        node: NodeIndex,
        event: Event,
    },
    /// An attempt has failed, and the next one starts.
    Retried {
        node: NodeIndex,
        retry: Retry,
    },
    Finished {
        node: NodeIndex,
        result: Result<Box<Record>, StageFailure>,
    },
    /// The lock of a key that another process held.
    Locked {
        node: NodeIndex,
        lock: Result<Lock, FileError>,
    },
    Fetched {
        input: String,
        result: Result<(), FetchError>,
    },
    /// The remote has been asked for a key.
    Looked {
        key: Key,
        /// The result is in the store now.
        found: bool,
    },
    /// Something delays a stage before it runs.
    Waits {
        node: NodeIndex,
        message: String,
    },
    Warns {
        message: String,
    },
    Uploaded {
        key: Key,
        done: bool,
    },
    /// Another engine has released a unit of a resource.
    UnitFree {
        unit: Unit,
    },
    /// Ctrl-C, or another signal that asks the engine to stop.
    Interrupt,
}
